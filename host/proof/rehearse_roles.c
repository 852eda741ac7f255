/* SPDX-License-Identifier: MIT
 *
 * Settings are written into the catalog itself: ALTER ROLE would take a list of names apart
 * another way than it was put together. Libraries that a login loads stay out: they need
 * not be installed here.
 */
#include "host/proof/rehearse_roles.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/memory.h"

/* The three by name, and all that they are members of. */
static const char sql_roles[] =
    "with recursive r (oid) as ("
    "select oid from pg_catalog.pg_roles where rolname = any (array[$1, $2, $3])"
    " union select m.roleid from pg_catalog.pg_auth_members m join r on m.member = r.oid)"
    " select a.rolname, pg_catalog.concat_ws(' ', 'login',"
    " case when a.rolsuper then 'superuser' else 'nosuperuser' end,"
    " case when a.rolinherit then 'inherit' else 'noinherit' end,"
    " case when a.rolcreaterole then 'createrole' else 'nocreaterole' end,"
    " case when a.rolcreatedb then 'createdb' else 'nocreatedb' end,"
    " case when a.rolreplication then 'replication' else 'noreplication' end,"
    " case when a.rolbypassrls then 'bypassrls' else 'nobypassrls' end),"
    " (select s.setconfig from pg_catalog.pg_db_role_setting s"
    " where s.setrole = a.oid and s.setdatabase = 0),"
    " a.rolname ~ '^pg_'"
    " from r join pg_catalog.pg_roles a on a.oid = r.oid order by a.rolname";

static const char sql_members[] =
    "with recursive r (oid) as ("
    "select oid from pg_catalog.pg_roles where rolname = any (array[$1, $2, $3])"
    " union select m.roleid from pg_catalog.pg_auth_members m join r on m.member = r.oid)"
    " select pg_catalog.pg_get_userbyid(m.roleid), pg_catalog.pg_get_userbyid(m.member)"
    " from pg_catalog.pg_auth_members m join r on r.oid = m.member";

static const char sql_exists[] =
    "select pg_catalog.count(*) > 0 from pg_catalog.pg_roles where rolname = $1";

static const char sql_settings[] =
    "insert into pg_catalog.pg_db_role_setting (setdatabase, setrole, setconfig)"
    " select 0, r.oid, pg_catalog.array_agg(c) from pg_catalog.pg_roles r,"
    " pg_catalog.unnest($2::pg_catalog.text[]) c"
    " where r.rolname = $1 and c !~ '_preload_libraries=' group by r.oid";

static const char sql_forget[] =
    "delete from pg_catalog.pg_db_role_setting where setdatabase = 0"
    " and setrole = (select r.oid from pg_catalog.pg_roles r where r.rolname = $1)";

static bool quote(struct pg_client *copy, const char *name, char **out, struct neap_error *err)
{
    return pg_ident(copy, name, strlen(name), out, err);
}

static bool make_role(struct pg_client *copy, const char *name, const char *attributes,
                      struct neap_error *err)
{
    struct pg_op *op = NULL;
    char *ident = NULL;
    bool asked =
        quote(copy, name, &ident, err) && pg_exec_text(copy, sql_exists, 1, &name, &op, err);
    char *sql = asked ? neap_format("%s role %s %s", pg_cell_bool(op, 0, 0) ? "alter" : "create",
                                    ident, attributes)
                      : NULL;
    bool made = asked && pg_exec_text(copy, sql, 0, NULL, NULL, err);
    pg_op_free(op);
    free(sql);
    free(ident);
    return made;
}

/* The copy's own superuser, in whose session this runs, stays as it is. */
static bool is_own(const char *name)
{
    return strcmp(name, "postgres") == 0;
}

static bool make_roles(const struct pg_op *roles, struct pg_client *copy, struct neap_error *err)
{
    bool made = true;
    for (int row = 0; made && row < pg_rows(roles); row++) {
        const char *params[] = {pg_cell(roles, row, 0), pg_cell(roles, row, 2)};
        bool is_predefined = pg_cell_bool(roles, row, 3);
        if (!is_predefined && !is_own(params[0]))
            made = make_role(copy, params[0], pg_cell(roles, row, 1), err);
        if (made && params[1] != NULL)
            made = pg_exec_text(copy, sql_forget, 1, params, NULL, err) &&
                   pg_exec_text(copy, sql_settings, 2, params, NULL, err);
    }
    return made;
}

static bool grant(struct pg_client *copy, const char *role, const char *member,
                  struct neap_error *err)
{
    char *to = NULL, *what = NULL;
    bool quoted = quote(copy, role, &what, err) && quote(copy, member, &to, err);
    char *sql = quoted ? neap_format("grant %s to %s", what, to) : NULL;
    bool granted = quoted && pg_exec_text(copy, sql, 0, NULL, NULL, err);
    free(sql);
    free(what);
    free(to);
    return granted;
}

bool neap_rehearse_roles(struct neap_target *target, struct pg_client *copy, struct neap_error *err)
{
    struct pg_op *roles = NULL, *members = NULL;
    const char *names[] = {target->user, target->work_user, target->env->role};
    bool done = pg_exec_text(target->control, sql_roles, 3, names, &roles, err) &&
                pg_exec_text(target->control, sql_members, 3, names, &members, err) &&
                pg_exec_text(copy, "set allow_system_table_mods = on", 0, NULL, NULL, err) &&
                make_roles(roles, copy, err);
    for (int row = 0; done && row < pg_rows(members); row++)
        done = grant(copy, pg_cell(members, row, 0), pg_cell(members, row, 1), err);
    if (done)
        done = pg_exec_text(copy, "reset allow_system_table_mods", 0, NULL, NULL, err);
    pg_op_free(roles);
    pg_op_free(members);
    return done;
}
