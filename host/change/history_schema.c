/* SPDX-License-Identifier: MIT
 *
 * Schema neap: its tables and functions, made once per target in one short
 * transaction. The functions raise with SQLSTATEs of our own (NP001 db.escaped,
 * NP002 lease.lost, NP003 history.forged), so that a guard in a pipeline stops what
 * follows it. Each sets its own search_path: it is called inside a script's
 * transaction. What that transaction writes of ours goes through functions of
 * the schema's owner, so that the role that runs scripts needs no right on a table.
 */
#include "host/change/history.h"

#include <stdlib.h>
#include <string.h>

#include "bindings/lock/lease.h"
#include "host/base/buffer.h"
#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/change/audit.h"

#define INSTALL_WAIT_MS 15000
#define RETRY_MIN_MS 20
#define RETRY_SPREAD_MS 80
#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

/* Version 1. A version that was installed somewhere is not edited: the next one
 * alters it, and a new target goes through them all. */
static const char *const tables_sql[] = {
    "create schema neap",
    "create table neap.meta ("
    "\n  version pg_catalog.int4 not null,"
    "\n  installed_at pg_catalog.timestamptz not null default pg_catalog.clock_timestamp(),"
    "\n  installed_by pg_catalog.text not null default session_user,"
    "\n  neap_version pg_catalog.text not null,"
    "\n  environment pg_catalog.text)",
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
    "\n  seq pg_catalog.int8 generated always as identity primary key,"
    "\n  attempt pg_catalog.uuid not null unique,"
    "\n  id pg_catalog.text not null,"
    "\n  name pg_catalog.text not null,"
    "\n  action pg_catalog.text not null check (action in ('apply', 'undo', 'baseline', 'accept',"
    " 'repair.applied', 'repair.pending')),"
    "\n  exact_hash pg_catalog.bytea,"
    "\n  token_hash pg_catalog.bytea,"
    "\n  bundle pg_catalog.bytea,"
    "\n  summary pg_catalog.text,"
    "\n  run_id pg_catalog.text not null,"
    "\n  actor pg_catalog.text,"
    "\n  reason pg_catalog.text,"
    "\n  ticket pg_catalog.text,"
    "\n  duration_ms pg_catalog.int8,"
    "\n  lease_token pg_catalog.int8,"
    "\n  xid pg_catalog.text not null,"
    "\n  lsn pg_catalog.pg_lsn,"
    "\n  system_identifier pg_catalog.text not null,"
    "\n  db_user pg_catalog.text not null default session_user,"
    "\n  recorded_at pg_catalog.timestamptz not null default pg_catalog.clock_timestamp())",
    "create index history_id on neap.history (id, seq desc)",
    "create trigger append_only before update or delete or truncate on neap.history"
    " for each statement execute function neap.append_only()",
    "create table neap.step ("
    "\n  seq pg_catalog.int8 generated always as identity primary key,"
    "\n  id pg_catalog.text not null,"
    "\n  step_index pg_catalog.int4 not null,"
    "\n  name pg_catalog.text not null,"
    "\n  state pg_catalog.text not null check (state in ('intent', 'done', 'undo', 'undone',"
    " 'failed')),"
    "\n  token_hash pg_catalog.bytea,"
    "\n  run_id pg_catalog.text not null,"
    "\n  attempt pg_catalog.uuid,"
    "\n  settled pg_catalog.bool not null default false,"
    "\n  recorded_at pg_catalog.timestamptz not null default pg_catalog.clock_timestamp())",
    "create index step_unsettled on neap.step (id, step_index, seq desc) where not settled",
    NULL,
};

/* Version 2: a row of history needs a one-time secret, whose hash the host gave to
 * neap.attempt over the control session, and which is good while the run that
 * announced it holds the lease. Rows from before get an attempt that no secret
 * fits. */
static const char *const attempts_sql[] = {
    "create table neap.attempt ("
    "\n  attempt pg_catalog.uuid primary key,"
    "\n  secret_hash pg_catalog.bytea not null,"
    "\n  run_id pg_catalog.text not null,"
    "\n  id pg_catalog.text not null,"
    "\n  action pg_catalog.text not null,"
    "\n  registered_by pg_catalog.text not null default session_user,"
    "\n  registered_at pg_catalog.timestamptz not null default pg_catalog.clock_timestamp())",
    "create trigger append_only before update or delete or truncate on neap.attempt"
    " for each statement execute function neap.append_only()",
    "insert into neap.attempt (attempt, secret_hash, run_id, id, action)"
    " select h.attempt, '', h.run_id, h.id, h.action from neap.history h",
    "create function neap.record_events(of_attempt pg_catalog.uuid, secret pg_catalog.bytea,"
    " seqs pg_catalog._int8, hashes pg_catalog._text, bodies pg_catalog._text)"
    " returns pg_catalog.void language plpgsql security definer"
    " set search_path = pg_catalog, pg_temp as $$\n"
    "declare own_run text := (select a.run_id from neap.attempt a\n"
    "                         where a.attempt = of_attempt and a.secret_hash = sha256(secret));\n"
    "begin\n"
    "  if own_run is null then\n"
    "    raise exception 'the record was not announced by the host' using errcode = 'NP003';\n"
    "  end if;\n"
    "  insert into neap.event (run_id, seq, hash, body)\n"
    "    select own_run, unnest(seqs), unnest(hashes), unnest(bodies)\n"
    "    on conflict (run_id, seq) do nothing;\n"
    "end $$",
    /* One statement for all that commits with the work. The lease's row and the attempt
     * are asked for at once, and why they were not found only then. */
    "create function neap.record(new_attempt pg_catalog.uuid, secret pg_catalog.bytea,"
    " new_id pg_catalog.text, new_name pg_catalog.text, new_action pg_catalog.text,"
    " new_exact pg_catalog.bytea, new_token pg_catalog.bytea, new_bundle pg_catalog.bytea,"
    " new_summary pg_catalog.text, new_actor pg_catalog.text, new_reason pg_catalog.text,"
    " new_ticket pg_catalog.text, new_duration_ms pg_catalog.int8, held pg_catalog.int8,"
    " began_xid pg_catalog.text, settles pg_catalog.bool, seqs pg_catalog._int8,"
    " hashes pg_catalog._text, bodies pg_catalog._text)"
    " returns pg_catalog.void language plpgsql security definer"
    " set search_path = pg_catalog, pg_temp as $$\n"
    "declare\n"
    "  own_run text;\n"
    "  system_id text := (pg_control_system()).system_identifier::text;\n"
    "  kept bool := false;\n"
    "begin\n"
    "  select l.run_id into own_run\n"
    "    from neap.lease l join neap.attempt a on a.run_id = l.run_id\n"
    "    where l.token = held and l.released_at is null and a.attempt = new_attempt\n"
    "      and a.secret_hash = sha256(secret) and a.id = new_id and a.action = new_action\n"
    "    for key share of l;\n"
    "  if not found then\n"
    "    perform neap.fence(held);\n"
    "  else\n"
    "    if pg_current_xact_id()::text <> began_xid then\n"
    "      perform neap.require_xid(began_xid);\n"
    "    end if;\n"
    "    insert into neap.history (attempt, id, name, action, exact_hash, token_hash, bundle,\n"
    "        summary, run_id, actor, reason, ticket, duration_ms, lease_token, xid,\n"
    "        system_identifier)\n"
    "      values (new_attempt, new_id, new_name, new_action, new_exact, new_token, new_bundle,\n"
    "        new_summary, own_run, new_actor, new_reason, new_ticket, new_duration_ms, held,\n"
    "        pg_current_xact_id()::text, system_id);\n"
    "    kept := found;\n"
    "  end if;\n"
    "  if not kept then\n"
    "    raise exception 'the record was not announced by the host' using errcode = 'NP003',\n"
    "      detail = format('It is %s of %s.', new_action, new_id);\n"
    "  end if;\n"
    /* A trigger that a script put there may have changed it. */
    "  perform from neap.history h where h.attempt = new_attempt and h.id = new_id\n"
    "    and h.action = new_action and h.token_hash is not distinct from new_token;\n"
    "  if not found then\n"
    "    raise exception 'the history row was not kept as it was written'\n"
    "      using errcode = 'NP003', detail = 'Look for a trigger on neap.history.';\n"
    "  end if;\n"
    "  if settles then\n"
    "    update neap.step s set settled = true\n"
    "      where not s.settled and ltrim(s.id, '0') = ltrim(new_id, '0');\n"
    "  end if;\n"
    "  insert into neap.event (run_id, seq, hash, body)\n"
    "    select own_run, unnest(seqs), unnest(hashes), unnest(bodies)\n"
    "    on conflict (run_id, seq) do nothing;\n"
    "end $$",
    /* Begins a unit's transaction: its limits, all LOCAL, so that a pooler cannot hand
     * them on; the fence; and behind a COMMIT whose answer is not known yet the guard on
     * it. synchronous_commit is raised, never lowered. The xid forces its assignment: a
     * script that escaped its transaction meets another one at the end. */
    "create function neap.enter(held pg_catalog.int8, predecessor pg_catalog.uuid,"
    " lock_limit pg_catalog.text, time_limit pg_catalog.text)"
    " returns pg_catalog.text language plpgsql security definer"
    " set search_path = pg_catalog, pg_temp as $$\n"
    "declare\n"
    "  value text := set_config('lock_timeout', lock_limit, true);\n"
    "  follows bool;\n"
    "begin\n"
    "  value := set_config('statement_timeout', time_limit, true);\n"
    "  value := set_config('idle_in_transaction_session_timeout', time_limit, true);\n"
    "  if current_setting('synchronous_commit') in ('off', 'local') then\n"
    "    value := set_config('synchronous_commit', 'on', true);\n"
    "  end if;\n"
    "  if current_setting('client_connection_check_interval', true) is not null then\n"
    "    value := set_config('client_connection_check_interval', '200', true);\n"
    "  end if;\n"
    "  select predecessor is null\n"
    "      or exists (select from neap.history h where h.attempt = predecessor)\n"
    "    into follows from neap.lease l where l.token = held for key share of l;\n"
    "  if not found then\n"
    "    perform neap.fence(held);\n"
    "  elsif not follows then\n"
    "    raise exception 'the migration before this one was not committed'\n"
    "      using errcode = 'NP004';\n"
    "  end if;\n"
    "  return concat(pg_current_xact_id(), ' ', pg_backend_pid());\n"
    "end $$",
    /* What DISCARD ALL does, but for the plans, and as part of a transaction. As its
     * caller, and without a search_path of its own: RESET ALL gives it one. */
    "create function neap.tidy() returns pg_catalog.void language plpgsql as $$\n"
    "begin\n"
    "  reset all;\n"
    "  execute 'close all';\n"
    "  deallocate all;\n"
    "  unlisten *;\n"
    "  discard temp;\n"
    "  discard sequences;\n"
    "  perform pg_catalog.pg_advisory_unlock_all(),\n"
    "    pg_catalog.set_config('role', 'none', true),\n"
    "    pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);\n"
    "  if pg_catalog.current_setting('synchronous_commit') operator(pg_catalog.=)\n"
    "      any ('{off,local}'::pg_catalog._text) then\n"
    "    set local synchronous_commit = on;\n"
    "  end if;\n"
    "end $$",
    "revoke all on all functions in schema neap from public",
    NULL,
};

/* Version 3: where in the server's WAL each row was written, and on which timeline: what a
 * recovery to a point in time stops before. Rows from before have none. */
static const char *const places_sql[] = {
    "alter table neap.history add column timeline pg_catalog.int4",
    "alter table neap.history"
    " alter column lsn set default pg_catalog.pg_current_wal_insert_lsn(),"
    " alter column timeline set default " HISTORY_TIMELINE(
        "pg_catalog.pg_current_wal_insert_lsn()"),
    NULL,
};

/* In the order of a new target. The version is set at the end of each. */
static const struct schema_part {
    int version;
    const char *const *sql;
} schema_parts[] = {
    {1, tables_sql}, {1, neap_audit_schema_sql}, {2, lease_schema_sql}, {2, attempts_sql},
    {3, places_sql},
};

/* AccessShare on neap.meta. */
static const char sql_version[] = "select m.version from neap.meta m";

static const char sql_meta[] =
    "insert into neap.meta (version, neap_version)"
    " values (" TEXT(NEAP_SCHEMA_VERSION) ", '" NEAP_VERSION "')"
                                          " on conflict ((true)) do update"
                                          " set version = excluded.version, neap_version = "
                                          "excluded.neap_version";

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
    if (err == NULL || strcmp(err->sqlstate, "42501") != 0 || err->hint != NULL)
        return;
    const char *user = PQuser(pg_raw(control)), *database = PQdb(pg_raw(control));
    neap_error_hint(err,
                    "A superuser makes and upgrades schema neap and its roles with `neap help "
                    "roles | psql -X -d %s`; use neap_host as `control` and neap_migrator as `url` "
                    "then. With one role: GRANT CREATE ON DATABASE \"%s\" TO \"%s\" to install "
                    "it; GRANT USAGE ON SCHEMA neap TO \"%s\", and its tables, sequences and "
                    "functions, to use one that another role installed.",
                    database, database, user, user);
}

bool neap_history_version(struct pg_client *control, int64_t *version, struct neap_error *err)
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

static bool send_parts(struct pg_client *control, int64_t version, struct neap_error *err)
{
    bool sent = true;
    for (size_t i = 0; sent && i < sizeof schema_parts / sizeof schema_parts[0]; i++)
        sent = schema_parts[i].version <= version || send_all(control, schema_parts[i].sql, err);
    return sent;
}

/* What `version` lacks, in one pipeline: over a slow link the installation costs a
 * few round trips and holds its locks no longer. */
static bool install_once(struct pg_client *control, int64_t version, struct neap_error *err)
{
    static const char *const begin[] = {"begin",
                                        "set local lock_timeout = '2s'",
                                        "set local statement_timeout = '10s'",
                                        "set local client_min_messages = 'warning'",
                                        "set local search_path = pg_catalog, pg_temp",
                                        NULL};
    static const char *const end[] = {sql_meta, "commit", NULL};
    struct neap_error cause = {0};
    bool installed = pg_pipeline_begin(control, &cause) && send_all(control, begin, &cause) &&
                     send_parts(control, version, &cause) && send_all(control, end, &cause);
    installed = pg_pipeline_end(control, installed ? &cause : NULL) && installed;
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

static void add_part(struct neap_buffer *script, const char *const *statements)
{
    for (; *statements != NULL; statements++)
        neap_buffer_add_format(script, "%s;\n\n", *statements);
}

char *neap_history_schema_script(void)
{
    struct neap_buffer script = {0};
    neap_buffer_add_text(&script, "select 0 as neap_version \\gset\n"
                                  "select pg_catalog.to_regclass('neap.meta') is not null as "
                                  "neap_is_there \\gset\n\\if :neap_is_there\n"
                                  "select m.version as neap_version from neap.meta m \\gset\n"
                                  "\\endif\n\n");
    for (int version = 1; version <= NEAP_SCHEMA_VERSION; version++) {
        neap_buffer_add_format(&script,
                               "select :neap_version < %d as neap_is_older \\gset\n"
                               "\\if :neap_is_older\n\n",
                               version);
        for (size_t i = 0; i < sizeof schema_parts / sizeof schema_parts[0]; i++)
            if (schema_parts[i].version == version)
                add_part(&script, schema_parts[i].sql);
        if (version == NEAP_SCHEMA_VERSION)
            neap_buffer_add_format(&script, "%s;\n\n", sql_meta);
        neap_buffer_add_text(&script, "\\endif\n\n");
    }
    return neap_buffer_take(&script);
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
        if (!neap_history_version(control, &version, err) ||
            !neap_history_check_version(version, err))
            return false;
        if (version == NEAP_SCHEMA_VERSION || install_once(control, version, &cause))
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
