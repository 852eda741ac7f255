/* SPDX-License-Identifier: MIT
 *
 * Schema neap: its tables and functions, made once per target in one short
 * transaction. The functions raise with SQLSTATEs of our own (NP001 db.escaped,
 * NP002 lease.lost), so that a guard in a pipeline stops what follows it. Each
 * sets its own search_path: it is called inside a script's transaction.
 */
#include "host/change/history.h"

#include <stdlib.h>
#include <string.h>

#include "bindings/lock/lease.h"
#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/change/audit.h"

#define INSTALL_WAIT_MS 15000
#define RETRY_MIN_MS 20
#define RETRY_SPREAD_MS 80
#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

static const char *const schema_sql[] = {
    "create schema neap",
    "create table neap.meta ("
    " version pg_catalog.int4 not null,"
    " installed_at pg_catalog.timestamptz not null default pg_catalog.clock_timestamp(),"
    " installed_by pg_catalog.text not null default session_user,"
    " neap_version pg_catalog.text not null,"
    " environment pg_catalog.text)",
    "create unique index meta_one_row on neap.meta ((true))",
    "create function neap.append_only() returns trigger language plpgsql"
    " set search_path = pg_catalog, pg_temp as $$\n"
    "begin\n"
    "  raise exception 'neap.% is append-only: % is refused', tg_table_name, lower(tg_op)\n"
    "    using errcode = '55000';\n"
    "end $$",
    "create function neap.require_xid(expected pg_catalog.text) returns pg_catalog.text"
    " language plpgsql set search_path = pg_catalog, pg_temp as $$\n"
    "declare current_xid text := pg_current_xact_id()::text;\n"
    "begin\n"
    "  if current_xid <> expected then\n"
    "    raise exception 'the transaction is not the one the host began'\n"
    "      using errcode = 'NP001', detail = format('It is %s; the host began %s.',"
    " current_xid, expected);\n"
    "  end if;\n"
    "  return current_xid;\n"
    "end $$",
    "create table neap.history ("
    " seq pg_catalog.int8 generated always as identity primary key,"
    " attempt pg_catalog.uuid not null unique,"
    " id pg_catalog.text not null,"
    " name pg_catalog.text not null,"
    " action pg_catalog.text not null check (action in ('apply', 'undo', 'baseline', 'accept',"
    " 'repair.applied', 'repair.pending')),"
    " exact_hash pg_catalog.bytea,"
    " token_hash pg_catalog.bytea,"
    " bundle pg_catalog.bytea,"
    " summary pg_catalog.text,"
    " run_id pg_catalog.text not null,"
    " actor pg_catalog.text,"
    " reason pg_catalog.text,"
    " ticket pg_catalog.text,"
    " duration_ms pg_catalog.int8,"
    " lease_token pg_catalog.int8,"
    " xid pg_catalog.text not null,"
    " lsn pg_catalog.pg_lsn,"
    " system_identifier pg_catalog.text not null,"
    " db_user pg_catalog.text not null default session_user,"
    " recorded_at pg_catalog.timestamptz not null default pg_catalog.clock_timestamp())",
    "create index history_id on neap.history (id, seq desc)",
    "create trigger append_only before update or delete or truncate on neap.history"
    " for each statement execute function neap.append_only()",
    "create table neap.step ("
    " seq pg_catalog.int8 generated always as identity primary key,"
    " id pg_catalog.text not null,"
    " step_index pg_catalog.int4 not null,"
    " name pg_catalog.text not null,"
    " state pg_catalog.text not null check (state in ('intent', 'done', 'undo', 'undone',"
    " 'failed')),"
    " token_hash pg_catalog.bytea,"
    " run_id pg_catalog.text not null,"
    " attempt pg_catalog.uuid,"
    " settled pg_catalog.bool not null default false,"
    " recorded_at pg_catalog.timestamptz not null default pg_catalog.clock_timestamp())",
    "create index step_unsettled on neap.step (id, step_index, seq desc) where not settled",
    NULL,
};

/* AccessShare on neap.meta. */
static const char sql_version[] = "select m.version from neap.meta m";

static const char sql_meta[] = "insert into neap.meta (version, neap_version)"
                               " values (" TEXT(NEAP_SCHEMA_VERSION) ", '" NEAP_VERSION "')";

static bool is_state(const struct neap_error *err, const char *const *states)
{
    for (; *states != NULL; states++)
        if (strcmp(err->sqlstate, *states) == 0)
            return true;
    return false;
}

bool neap_history_is_missing(const struct neap_error *err)
{
    static const char *const states[] = {"42P01", "3F000", NULL};
    return is_state(err, states);
}

bool neap_history_check_version(int64_t version, struct neap_error *err)
{
    if (version <= NEAP_SCHEMA_VERSION)
        return true;
    neap_error_set(err, NEAP_ERR_HISTORY_VERSION,
                   "the neap schema is of version %lld, and this neap knows version %d",
                   (long long)version, NEAP_SCHEMA_VERSION);
    return false;
}

/* The rights that are missing, as something to type. */
void neap_history_explain_rights(struct pg_client *control, struct neap_error *err)
{
    if (err == NULL || strcmp(err->sqlstate, "42501") != 0)
        return;
    const char *user = PQuser(pg_raw(control)), *database = PQdb(pg_raw(control));
    neap_error_hint(err,
                    "To install schema neap: GRANT CREATE ON DATABASE \"%s\" TO \"%s\"; to use one "
                    "that another role installed: GRANT USAGE ON SCHEMA neap TO \"%s\", and its "
                    "tables, sequences and functions.",
                    database, user, user);
}

/* 0: not installed. */
static bool load_version(struct pg_client *control, int64_t *version, struct neap_error *err)
{
    struct neap_error cause = {0};
    struct pg_op *op = NULL;
    *version = 0;
    bool loaded = pg_exec_text(control, sql_version, 0, NULL, &op, &cause);
    if (loaded && pg_rows(op) == 1)
        *version = pg_cell_int(op, 0, 0);
    pg_op_free(op);
    if (!loaded && neap_history_is_missing(&cause)) {
        pg_failure_clear(control);
        loaded = true;
    }
    if (!loaded) {
        neap_history_explain_rights(control, &cause);
        neap_error_move(err, &cause);
    }
    neap_error_clear(&cause);
    return loaded;
}

static bool send_all(struct pg_client *control, const char *const *statements,
                     struct neap_error *err)
{
    for (; *statements != NULL; statements++)
        if (!pg_send_text(control, *statements, 0, NULL, err))
            return false;
    return true;
}

/* The whole of it in one pipeline: over a slow link the installation costs a
 * few round trips and holds its locks no longer. */
static bool install_once(struct pg_client *control, struct neap_error *err)
{
    static const char *const begin[] = {"begin", "set local lock_timeout = '2s'",
                                        "set local statement_timeout = '10s'",
                                        "set local search_path = pg_catalog, pg_temp", NULL};
    static const char *const end[] = {sql_meta, "commit", NULL};
    struct neap_error cause = {0};
    bool installed = pg_pipeline_begin(control, &cause) && send_all(control, begin, &cause) &&
                     send_all(control, schema_sql, &cause) &&
                     send_all(control, neap_audit_schema_sql, &cause) &&
                     send_all(control, lease_schema_sql, &cause) && send_all(control, end, &cause);
    installed = pg_pipeline_end(control, installed ? &cause : NULL) && installed;
    if (!installed && cause.code == NEAP_OK && pg_failure(control) != NULL)
        neap_error_copy(&cause, pg_failure(control));
    if (!installed && !pg_is_lost(control)) {
        pg_failure_clear(control);
        pg_cleanup(control, true);
        pg_exec_text(control, "rollback", 0, NULL, NULL, NULL);
        pg_failure_clear(control);
        pg_cleanup(control, false);
    }
    if (!installed)
        neap_error_move(err, &cause);
    neap_error_clear(&cause);
    return installed;
}

/* Another runner was quicker, or is at it: look again. */
static bool is_race(const struct neap_error *err)
{
    static const char *const states[] = {"23505", "42P06", "42P07", "42710", "42723",
                                         "55P03", "40P01", "40001", NULL};
    return is_state(err, states);
}

bool neap_history_install(struct pg_client *control, struct neap_error *err)
{
    int64_t deadline_ms = neap_clock_ms() + INSTALL_WAIT_MS;
    for (;;) {
        int64_t version;
        struct neap_error cause = {0};
        if (!load_version(control, &version, err) || !neap_history_check_version(version, err))
            return false;
        if (version == NEAP_SCHEMA_VERSION || install_once(control, &cause))
            return true;
        bool again = is_race(&cause) && neap_clock_ms() < deadline_ms;
        if (!again) {
            neap_history_explain_rights(control, &cause);
            neap_error_move(err, &cause);
        }
        neap_error_clear(&cause);
        int64_t pause_ms = RETRY_MIN_MS + neap_clock_us() % RETRY_SPREAD_MS;
        if (!again || !neap_loop_sleep(pg_loop(control), pause_ms, "the neap schema", err))
            return false;
    }
}
