/* SPDX-License-Identifier: MIT
 *
 * The server itself writes the statements, quoting with its own functions. A setting that
 * is a list is stored as quoted identifiers, and taken apart as SplitGUCList does: set as
 * one literal it would become a list of one.
 */
#include "bindings/backup/backup_properties.h"

#include <string.h>

#include "host/base/memory.h"

/* $1 has them, $2 gets them, or with $3 settings and rights alone. AccessShare on shared catalogs.
 * The owner comes first, whose rights then are those of an owner; the former's (ours) end with the
 * second line. */
static const char sql_statements[] =
    "with d as (select * from pg_catalog.pg_database where datname = $1),"
    " setting as (select case when s.setrole = 0 then pg_catalog.format('database %I', $2::text)"
    "   else pg_catalog.format('role %I in database %I', pg_catalog.pg_get_userbyid(s.setrole),"
    "     $2::text) end as of,"
    "   pg_catalog.split_part(e, '=', 1) as name,"
    "   pg_catalog.substr(e, pg_catalog.strpos(e, '=') + 1) as value"
    " from d join pg_catalog.pg_db_role_setting s on s.setdatabase = d.oid"
    " cross join pg_catalog.unnest(s.setconfig) e)"
    " select step, sql from (select 1 as step, pg_catalog.format('alter database %I owner to %I', "
    "$2::text,"
    "   pg_catalog.pg_get_userbyid(datdba)) as sql from d"
    " union all select 2, pg_catalog.format('revoke all on database %I from %I', $2::text,"
    "   pg_catalog.pg_get_userbyid(datdba)) from d"
    " union all select 3, pg_catalog.format('grant %s on database %I to %s%s', a.privilege_type,"
    "   $2::text, case a.grantee when 0 then 'public'"
    "     else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) end,"
    "   case when a.is_grantable then ' with grant option' else '' end)"
    "   from d cross join pg_catalog.aclexplode(coalesce(d.datacl,"
    "     pg_catalog.acldefault('d', d.datdba))) a"
    " union all select 4, pg_catalog.format('alter database %I connection limit %s', $2::text,"
    "   datconnlimit) from d"
    " union all select 5, pg_catalog.format('alter %s set %s to %s', of,"
    "   pg_catalog.quote_ident(name), case when name in ('local_preload_libraries', 'search_path',"
    "     'session_preload_libraries', 'shared_preload_libraries', 'temp_tablespaces',"
    "     'unix_socket_directories')"
    "   then coalesce((select pg_catalog.string_agg(pg_catalog.quote_literal(coalesce(m[2],"
    "     pg_catalog.replace(m[1], '\"\"', '\"'))), ', ')"
    "     from pg_catalog.regexp_matches(value,"
    "       '\"((?:[^\"]|\"\")*)\"|([^\",[:space:]][^,[:space:]]*)', 'g') m), '''''')"
    "   else pg_catalog.quote_literal(value) end) from setting"
    " union all select 6, pg_catalog.format('comment on database %I is %L', $2::text,"
    "   pg_catalog.shobj_description(oid, 'pg_database')) from d"
    " ) x where step in (3, 5) or not $3::bool order by 1, 2";

static bool copy(struct pg_client *client, const char *const *params, struct neap_error *err)
{
    struct pg_op *op = NULL;
    bool done = pg_exec_text(client, sql_statements, 3, params, &op, err);
    for (int i = 0; done && i < pg_rows(op); i++)
        done = pg_exec_text(client, pg_cell(op, i, 1), 0, NULL, NULL, err);
    pg_op_free(op);
    return done;
}

bool backup_properties_copy(struct pg_client *client, const char *from, const char *to,
                            struct neap_error *err)
{
    const char *params[] = {from, to, "false"};
    return copy(client, params, err);
}

bool backup_properties_lend(struct pg_client *client, const char *from, const char *to,
                            struct neap_error *err)
{
    const char *params[] = {from, to, "true"};
    return copy(client, params, err);
}

static const char sql_bonds[] =
    "with d as (select * from pg_catalog.pg_database where datname = $1)"
    " select pg_catalog.string_agg(line, e'\\n' order by line) from ("
    " select pg_catalog.format('replication slot %s (%s)', slot_name, case when active"
    "   then 'in use' else 'not in use' end) as line"
    "   from pg_catalog.pg_replication_slots where database = $1"
    " union all select pg_catalog.format('subscription %s', subname)"
    "   from pg_catalog.pg_subscription s join d on d.oid = s.subdbid"
    " union all select pg_catalog.format('prepared transaction %L of %s since %s', gid, owner,"
    "   pg_catalog.date_trunc('second', prepared))"
    "   from pg_catalog.pg_prepared_xacts where database = $1"
    " union all select pg_catalog.format('security label of provider %s', l.provider)"
    "   from pg_catalog.pg_shseclabel l join d on l.objoid = d.oid"
    "   and l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass) x";

bool backup_properties_bonds(struct pg_client *client, const char *database, char **out,
                             struct neap_error *err)
{
    struct pg_op *op = NULL;
    bool asked = pg_exec_text(client, sql_bonds, 1, &database, &op, err);
    *out = asked ? neap_strdup(pg_cell(op, 0, 0)) : NULL;
    pg_op_free(op);
    return asked;
}
