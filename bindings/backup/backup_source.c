/* SPDX-License-Identifier: MIT
 *
 * LOCK TABLE is the one statement that takes no snapshot, so that in REPEATABLE READ
 * the snapshot comes after the locks. A table that was made between the list and the
 * snapshot is in the snapshot and not locked: then all is begun anew.
 */
#include "bindings/backup/backup_source.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/json.h"
#include "host/base/memory.h"

#define TRIES_MAX 5

/* Every session that reads content; row_security off: an error instead of fewer rows. */
static const char *const sql_session[] = {
    "set row_security = off",
    "set statement_timeout = 0",
    "set idle_in_transaction_session_timeout = 0",
    "set search_path = pg_catalog",
    NULL,
};

/* What LOCK TABLE takes and pg_dump will lock, leaving out extensions' own objects, which
 * come with their extension unless it marked their rows for the dump. AccessShare on
 * catalogs. */
static const char sql_tables[] =
    "select pg_catalog.format('%I.%I', n.nspname, c.relname)"
    " from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
    " where c.relkind in ('r', 'p') and c.relpersistence <> 't'"
    " and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"
    " and not (n.nspname = 'neap' and c.relname = 'lease')"
    " order by c.oid";

/* Of tables and matviews' data, for progress. */
static const char sql_sizes[] =
    "select n.nspname || '.' || c.relname, pg_catalog.pg_table_size(c.oid)"
    " from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
    " where c.relkind = 'r' and c.relpersistence <> 't'"
    " and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"
    " and not (n.nspname = 'neap' and c.relname = 'lease')";

static const char sql_facts[] =
    "select d.datname, pg_catalog.pg_database_size(d.oid),"
    " pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,"
    " pg_catalog.current_setting('server_version'),"
    " pg_catalog.current_setting('server_version_num')::int,"
    " case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()"
    " else pg_catalog.pg_current_wal_lsn() end::text,"
    " (select pg_catalog.count(*) from pg_catalog.pg_foreign_table),"
    " coalesce(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale'),"
    " (select t.spcname from pg_catalog.pg_tablespace t"
    " where t.oid = d.dattablespace and t.spcname <> 'pg_default')"
    " from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()";

static const char sql_extensions[] =
    "select extname, extversion from pg_catalog.pg_extension order by extname";

/* Owners, grantees and whom policies name; the superuser of initdb, on whom nothing is
 * noted as depending; and those with settings in this database. */
static const char sql_roles[] =
    "select r.rolname, r.rolsuper from pg_catalog.pg_roles r"
    " where r.rolname !~ '^pg_' and (r.oid = 10 or r.oid in ("
    "select s.refobjid from pg_catalog.pg_shdepend s, pg_catalog.pg_database d"
    " where d.datname = pg_catalog.current_database()"
    " and s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass"
    " and (s.dbid = d.oid or (s.dbid = 0"
    " and s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass and s.objid = d.oid))"
    " union all select x.setrole from pg_catalog.pg_db_role_setting x, pg_catalog.pg_database d"
    " where d.datname = pg_catalog.current_database() and x.setdatabase = d.oid))"
    " order by r.rolname";

static const char sql_tablespaces[] =
    "select spcname from pg_catalog.pg_tablespace where spcname !~ '^pg_' and oid in ("
    "select reltablespace from pg_catalog.pg_class"
    " union all select dattablespace from pg_catalog.pg_database"
    " where datname = pg_catalog.current_database()) order by spcname";

/* Who holds what the LOCK waited for: strong locks on tables of this database. */
static const char sql_blockers[] =
    "select pg_catalog.format('%I.%I: pid %s (%s, %s) since %s, %s', n.nspname, c.relname, a.pid,"
    " a.usename, coalesce(nullif(a.application_name, ''), 'no name'),"
    " pg_catalog.date_trunc('second', a.xact_start), pg_catalog.\"left\"(a.query, 120))"
    " from pg_catalog.pg_locks l join pg_catalog.pg_class c on c.oid = l.relation"
    " join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
    " join pg_catalog.pg_stat_activity a on a.pid = l.pid"
    " where l.granted and l.mode = 'AccessExclusiveLock' and l.pid <> pg_catalog.pg_backend_pid()"
    " and l.database = (select oid from pg_catalog.pg_database"
    " where datname = pg_catalog.current_database())"
    " and n.nspname !~ '^pg_' order by 1 limit 5";

static bool run(struct pg_client *client, const char *sql, struct pg_op **op,
                struct neap_error *err)
{
    return pg_exec_text(client, sql, 0, NULL, op, err);
}

static bool read_tables(struct pg_client *client, char **out, struct neap_error *err)
{
    struct pg_op *op = NULL;
    struct neap_buffer list = {0};
    bool done = run(client, sql_tables, &op, err);
    for (int i = 0; done && i < pg_rows(op); i++)
        neap_buffer_add_format(&list, "%s%s", i == 0 ? "" : ", ", pg_cell(op, i, 0));
    pg_op_free(op);
    *out = neap_buffer_take(&list);
    return done;
}

/* The transaction failed; who was in the way can only be asked outside of it. */
static void explain_lock(struct pg_client *client, struct neap_error *err)
{
    struct pg_op *op = NULL;
    struct neap_buffer who = {0};
    if (err->code != NEAP_ERR_LOCK_TIMEOUT)
        return;
    pg_failure_clear(client);
    if (run(client, "rollback", NULL, NULL) && run(client, sql_blockers, &op, NULL))
        for (int i = 0; i < pg_rows(op); i++)
            neap_buffer_add_format(&who, "%s%s", i == 0 ? "" : "\n", pg_cell(op, i, 0));
    pg_op_free(op);
    neap_error_set(err, NEAP_ERR_BACKUP_LOCKED,
                   "a table is locked by a session that changes it, so it cannot be read");
    if (who.length > 0)
        neap_error_detail(err, "%s", neap_buffer_text(&who));
    neap_buffer_clear(&who);
}

static bool lock_tables(struct pg_client *client, const char *tables, int64_t lock_wait_ms,
                        struct neap_error *err)
{
    char *timeout = neap_format("set local lock_timeout = %lld", (long long)lock_wait_ms);
    char *lock = neap_format("lock table %s in access share mode", tables);
    bool locked = run(client, "begin isolation level repeatable read read only", NULL, err) &&
                  run(client, timeout, NULL, err) &&
                  (tables[0] == '\0' || run(client, lock, NULL, err));
    free(timeout);
    free(lock);
    if (!locked && err != NULL)
        explain_lock(client, err);
    return locked;
}

/* *again: a table came in between. */
static bool take_snapshot(struct backup_source *source, int64_t lock_wait_ms, bool *again,
                          struct neap_error *err)
{
    struct pg_client *client = source->client;
    struct pg_op *op = NULL;
    char *before = NULL, *now = NULL;
    bool taken = read_tables(client, &before, err) &&
                 lock_tables(client, before, lock_wait_ms, err) &&
                 run(client, "select pg_catalog.pg_export_snapshot()", &op, err) &&
                 read_tables(client, &now, err);
    *again = taken && strcmp(before, now) != 0;
    if (*again)
        taken = run(client, "rollback", NULL, err);
    else if (taken)
        source->snapshot = neap_strdup(pg_cell(op, 0, 0));
    pg_op_free(op);
    free(before);
    free(now);
    return taken;
}

static bool read_facts(struct backup_source *source, struct neap_error *err)
{
    struct pg_op *op = NULL;
    json_t *facts = source->facts;
    if (!run(source->client, sql_facts, &op, err))
        return false;
    neap_json_set(facts, "database", neap_json_text(pg_cell(op, 0, 0)));
    neap_json_set(facts, "database_bytes", json_integer(pg_cell_int(op, 0, 1)));
    neap_json_set(facts, "encoding", neap_json_text(pg_cell(op, 0, 2)));
    neap_json_set(facts, "collate", neap_json_text(pg_cell(op, 0, 3)));
    neap_json_set(facts, "ctype", neap_json_text(pg_cell(op, 0, 4)));
    neap_json_set(facts, "server_version", neap_json_text(pg_cell(op, 0, 5)));
    neap_json_set(facts, "server_version_num", json_integer(pg_cell_int(op, 0, 6)));
    neap_json_set(facts, "snapshot_lsn", neap_json_text(pg_cell(op, 0, 7)));
    neap_json_set(facts, "foreign_tables", json_integer(pg_cell_int(op, 0, 8)));
    neap_json_set(facts, "icu_locale", neap_json_text(pg_cell(op, 0, 9)));
    neap_json_set(facts, "tablespace", neap_json_text(pg_cell(op, 0, 10)));
    pg_op_free(op);
    return true;
}

/* [{name, KEY: second column}, …]; without `key` the names alone. */
static bool read_list(struct backup_source *source, const char *sql, const char *field,
                      const char *key, bool is_bool, struct neap_error *err)
{
    struct pg_op *op = NULL;
    json_t *list = json_array();
    bool done = run(source->client, sql, &op, err);
    for (int i = 0; done && i < pg_rows(op); i++) {
        json_t *item = neap_json_text(pg_cell(op, i, 0));
        if (key != NULL) {
            json_t *object = json_object();
            neap_json_set(object, "name", item);
            neap_json_set(object, key,
                          is_bool ? json_boolean(pg_cell_bool(op, i, 1))
                                  : neap_json_text(pg_cell(op, i, 1)));
            item = object;
        }
        json_array_append_new(list, item);
    }
    pg_op_free(op);
    neap_json_set(source->facts, field, list);
    return done;
}

static bool read_sizes(struct backup_source *source, struct neap_error *err)
{
    struct pg_op *op = NULL;
    if (!run(source->client, sql_sizes, &op, err))
        return false;
    source->table_count = pg_rows(op);
    for (int i = 0; i < pg_rows(op); i++) {
        int64_t bytes = pg_cell_int(op, i, 1);
        source->table_bytes += bytes;
        neap_json_set(source->sizes, pg_cell(op, i, 0), json_integer(bytes));
    }
    pg_op_free(op);
    return true;
}

bool backup_source_begin(struct pg_client *client, int64_t lock_wait_ms, struct backup_source *out,
                         struct neap_error *err)
{
    bool again = true, taken = true;
    *out = (struct backup_source){.client = client, .sizes = json_object(), .facts = json_object()};
    for (const char *const *sql = sql_session; *sql != NULL; sql++)
        if (!run(client, *sql, NULL, err))
            return false;
    for (int i = 0; taken && again && i < TRIES_MAX; i++)
        taken = take_snapshot(out, lock_wait_ms, &again, err);
    if (taken && again) {
        neap_error_set(err, NEAP_ERR_BACKUP_CHANGED,
                       "tables are made or dropped so often that no moment could be held still");
        return false;
    }
    return taken && read_facts(out, err) &&
           read_list(out, sql_extensions, "extensions", "version", false, err) &&
           read_list(out, sql_roles, "roles", "superuser", true, err) &&
           read_list(out, sql_tablespaces, "tablespaces", NULL, false, err) && read_sizes(out, err);
}

bool backup_source_end(struct backup_source *source, struct neap_error *err)
{
    return run(source->client, "commit", NULL, err);
}

void backup_source_clear(struct backup_source *source)
{
    free(source->snapshot);
    json_decref(source->sizes);
    json_decref(source->facts);
    memset(source, 0, sizeof *source);
}
