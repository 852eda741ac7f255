/* SPDX-License-Identifier: MIT
 *
 * The SQL of neap.lease. The table is unlogged: after a server crash it is
 * empty, and so free; the tokens come from a logged sequence and never go back.
 * Claims are functions, because a function can have its own lock_timeout in one
 * statement, and a pooler gives us no more than that.
 */
#include "bindings/lock/lease_sql.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

/* Over an earlier version too: nothing in the row outlives a run, and a run of an
 * earlier neap that is under way loses the lease by it. The tokens go on. */
const char *const lease_schema_sql[] = {
    "create sequence if not exists neap.lease_token as pg_catalog.int8 minvalue 1",
    "drop table if exists neap.lease",
    "drop function if exists neap.claim_lease, neap.break_lease, neap.fence",
    "create unlogged table neap.lease ("
    "\n  slot pg_catalog.bool not null default true unique check (slot),"
    "\n  token pg_catalog.int8 primary key,"
    "\n  identity pg_catalog.text not null,"
    "\n  run_id pg_catalog.text not null,"
    /* Runs it was taken from whose sessions had not ended: whoever comes next waits
     * for them too, also when this run ends before they do. Of a run through a
     * pooler only transactions are left, and the claim waited for those. */
    "\n  earlier pg_catalog._text not null default '{}',"
    "\n  actor pg_catalog.text,"
    "\n  host pg_catalog.text,"
    "\n  backend_pid pg_catalog.int4 not null,"
    "\n  backend_start pg_catalog.timestamptz,"
    "\n  acquired_at pg_catalog.timestamptz not null default pg_catalog.clock_timestamp(),"
    "\n  beat_at pg_catalog.timestamptz not null default pg_catalog.clock_timestamp(),"
    "\n  expires_at pg_catalog.timestamptz not null,"
    "\n  released_at pg_catalog.timestamptz)",
    /* The update changes the key, so it waits for everyone who holds the fence. */
    "create function neap.claim_lease(seen pg_catalog.int8, gone pg_catalog.bool,"
    " own_identity pg_catalog.text, own_run pg_catalog.text, own_actor pg_catalog.text,"
    " own_host pg_catalog.text, direct pg_catalog.bool, ttl_ms pg_catalog.int8)"
    " returns pg_catalog.int8 language plpgsql"
    " set search_path = pg_catalog, pg_temp set lock_timeout = '500ms' as $$\n"
    "declare\n"
    "  fresh int8 := nextval('neap.lease_token');\n"
    "  own_pid int4 := case when direct then pg_backend_pid() else 0 end;\n"
    "  own_start timestamptz := (select a.backend_start from pg_stat_activity a\n"
    "                            where direct and a.pid = pg_backend_pid());\n"
    "  expiry timestamptz := clock_timestamp() + ttl_ms * interval '1 millisecond';\n"
    "begin\n"
    "  if seen = 0 then\n"
    "    insert into neap.lease (token, identity, run_id, actor, host, backend_pid,\n"
    "        backend_start, expires_at)\n"
    "      values (fresh, own_identity, own_run, own_actor, own_host, own_pid, own_start, expiry)\n"
    "      on conflict do nothing;\n"
    "  else\n"
    "    update neap.lease l set token = fresh, identity = own_identity, run_id = own_run,\n"
    "        earlier = array(select r\n"
    "          from unnest(l.earlier || case when l.backend_pid <> 0 then l.run_id end) r\n"
    "          where r <> own_run and exists (select from pg_stat_activity a\n"
    "            where a.application_name = 'neap:' || r and a.datname = current_database())),\n"
    "        actor = own_actor, host = own_host, backend_pid = own_pid,\n"
    "        backend_start = own_start, acquired_at = clock_timestamp(),\n"
    "        beat_at = clock_timestamp(), expires_at = expiry, released_at = null\n"
    "      where l.token = seen and (gone or l.released_at is not null\n"
    "        or l.expires_at < clock_timestamp() or l.identity <> own_identity\n"
    "        or l.run_id = own_run);\n"
    "  end if;\n"
    "  return case when found then fresh else 0 end;\n"
    "end $$",
    "create function neap.break_lease(seen pg_catalog.int8) returns pg_catalog.int8"
    " language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '500ms' as $$\n"
    "declare fresh int8 := nextval('neap.lease_token');\n"
    "begin\n"
    "  update neap.lease l set token = fresh, expires_at = '-infinity', released_at = null\n"
    "    where l.token = seen;\n"
    "  return case when found then fresh else 0 end;\n"
    "end $$",
    "create function neap.fence(held pg_catalog.int8) returns pg_catalog.void language plpgsql"
    " security definer set search_path = pg_catalog, pg_temp as $$\n"
    "begin\n"
    "  perform 1 from neap.lease l where l.token = held for key share;\n"
    "  if not found then\n"
    "    raise exception 'another run took the lease' using errcode = 'NP002',\n"
    "      detail = format('Its token was %s.', held);\n"
    "  end if;\n"
    "end $$",
    NULL,
};

/* RowExclusive on neap.lease; no key changes, so it passes the fence. */
const char lease_sql_beat[] =
    "update neap.lease set beat_at = pg_catalog.clock_timestamp(), expires_at ="
    " pg_catalog.clock_timestamp() operator(pg_catalog.+) ($2::pg_catalog.float8"
    " operator(pg_catalog.*) '1 millisecond'::pg_catalog.interval)"
    " where token operator(pg_catalog.=) $1::pg_catalog.int8 and released_at is null";

const char lease_sql_release[] = "update neap.lease set released_at = pg_catalog.clock_timestamp()"
                                 " where token operator(pg_catalog.=) $1::pg_catalog.int8";

/* RowShare on neap.lease, KEY SHARE on its row. */
const char lease_sql_fence[] = "select neap.fence($1::pg_catalog.int8)";

#define UTC(column)                                              \
    "pg_catalog.to_char(pg_catalog.timezone('UTC', " column ")," \
    " 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

/* backend_start of another role's session may be hidden: then only a pid that is
 * not there at all is known to be gone. */
#define IS_GONE                                                                      \
    "l.backend_pid operator(pg_catalog.<>) 0::pg_catalog.int4 and not exists ("      \
    "select from pg_catalog.pg_stat_activity a"                                      \
    " where a.pid operator(pg_catalog.=) l.backend_pid and (a.backend_start is null" \
    " or a.backend_start operator(pg_catalog.=) l.backend_start))"

#define OF_EARLIER(earlier)                                                    \
    "a.application_name operator(pg_catalog.=) any (select pg_catalog.concat(" \
    "'neap:', r) from pg_catalog.unnest(" earlier ") r)"
#define OF_RUN(run) "a.application_name operator(pg_catalog.=) pg_catalog.concat('neap:', " run ")"
#define EARLIER "(select l.earlier from neap.lease l)"

/* The sessions of `run` and of the runs in `earlier` that may still do something. An
 * idle one that a pooler keeps has the name of whom it served last, long after that
 * run's end. */
#define SESSIONS(earlier, run, pooled)                                                   \
    "select pg_catalog.count(*) as count, pg_catalog.string_agg(pg_catalog.concat("      \
    "'pid ', a.pid, ' (', coalesce(a.state, '?'), ')'), ', ') as list,"                  \
    " pg_catalog.count(*) filter (where " OF_EARLIER(                                    \
        earlier) ") as earlier"                                                          \
                 " from pg_catalog.pg_stat_activity a"                                   \
                 " where a.datname operator(pg_catalog.=) pg_catalog.current_database()" \
                 " and a.pid operator(pg_catalog.<>) pg_catalog.pg_backend_pid()"        \
                 " and (" OF_EARLIER(earlier) " or " OF_RUN(                             \
                     run) " and not (" pooled                                            \
                          " and coalesce(a.state, '?') operator(pg_catalog.=) 'idle'))"

static const char sql_look[] =
    "select l.token, l.run_id, l.actor, l.host, l.backend_pid, " UTC("l.acquired_at") ", " UTC(
        "l.expires_at") ", l.expires_at operator(pg_catalog.<) "
                        "pg_catalog.clock_timestamp(), " IS_GONE
                        ", l.identity operator(pg_catalog.<>) $1::pg_catalog.text,"
                        " l.released_at is not null, s.count, s.list, s.earlier from neap.lease l, "
                        "lateral "
                        "(" SESSIONS(
                            "l.earlier", "l.run_id",
                            "l.backend_pid operator(pg_catalog.=) 0::pg_catalog.int4") ") s";

static const char sql_sessions[] = SESSIONS(EARLIER, "$1::pg_catalog.text", "$2::pg_catalog.bool");

static const char sql_claim[] =
    "select neap.claim_lease($1::pg_catalog.int8, $2::pg_catalog.bool, $3::pg_catalog.text,"
    " $4::pg_catalog.text, $5::pg_catalog.text, $6::pg_catalog.text, $7::pg_catalog.bool,"
    " $8::pg_catalog.int8)";

static const char sql_break[] = "select neap.break_lease($1::pg_catalog.int8)";

static const char sql_terminate[] =
    "select pg_catalog.count(pg_catalog.pg_terminate_backend(a.pid))"
    " from pg_catalog.pg_stat_activity a"
    " where a.datname operator(pg_catalog.=) pg_catalog.current_database()"
    " and a.pid operator(pg_catalog.<>) pg_catalog.pg_backend_pid()"
    " and (" OF_EARLIER(EARLIER) " or " OF_RUN("$1::pg_catalog.text") ")";

static char *copy_cell(const struct pg_op *op, int column)
{
    return neap_strdup(pg_cell(op, 0, column));
}

static void read_row(const struct pg_op *op, struct lease_row *out)
{
    *out = (struct lease_row){
        .holder = {.token = pg_cell_int(op, 0, 0),
                   .run_id = copy_cell(op, 1),
                   .actor = copy_cell(op, 2),
                   .host = copy_cell(op, 3),
                   .backend_pid = (int)pg_cell_int(op, 0, 4),
                   .acquired_at = copy_cell(op, 5),
                   .expires_at = copy_cell(op, 6),
                   .expired = pg_cell_bool(op, 0, 7),
                   .backend_gone = pg_cell_bool(op, 0, 8),
                   .foreign = pg_cell_bool(op, 0, 9)},
        .released = pg_cell_bool(op, 0, 10),
        .session_count = (int)pg_cell_int(op, 0, 11),
        .sessions = copy_cell(op, 12),
        .earlier_count = (int)pg_cell_int(op, 0, 13),
    };
}

static bool is_missing(const struct neap_error *err)
{
    return strcmp(err->sqlstate, "42P01") == 0 || strcmp(err->sqlstate, "3F000") == 0;
}

bool lease_sql_look(struct pg_client *control, const char *identity, bool *there,
                    struct lease_row *out, struct neap_error *err)
{
    const char *params[] = {identity};
    struct neap_error cause = {0};
    struct pg_op *op = NULL;
    *out = (struct lease_row){0};
    *there = false;
    bool looked = pg_exec_text(control, sql_look, 1, params, &op, &cause);
    if (looked && pg_rows(op) > 0) {
        *there = true;
        read_row(op, out);
    }
    pg_op_free(op);
    if (!looked && is_missing(&cause)) {
        pg_failure_clear(control);
        looked = true;
    }
    if (!looked)
        neap_error_move(err, &cause);
    neap_error_clear(&cause);
    return looked;
}

bool lease_sql_sessions(struct pg_client *control, struct lease_row *row, struct neap_error *err)
{
    const char *params[] = {row->holder.run_id, row->holder.backend_pid == 0 ? "true" : "false"};
    struct pg_op *op = NULL;
    bool counted = pg_exec_text(control, sql_sessions, 2, params, &op, err);
    free(row->sessions);
    row->session_count = counted ? (int)pg_cell_int(op, 0, 0) : 0;
    row->sessions = counted ? copy_cell(op, 1) : NULL;
    pg_op_free(op);
    return counted;
}

static bool ask_token(struct pg_client *control, const char *sql, int count,
                      const char *const *params, int64_t *token, struct neap_error *err)
{
    struct pg_op *op = NULL;
    struct neap_error cause = {0};
    bool asked = pg_exec_text(control, sql, count, params, &op, &cause);
    *token = asked ? pg_cell_int(op, 0, 0) : 0;
    pg_op_free(op);
    if (!asked && cause.code == NEAP_ERR_LOCK_TIMEOUT)
        pg_failure_clear(control); /* the caller asks again */
    if (!asked)
        neap_error_move(err, &cause);
    neap_error_clear(&cause);
    return asked;
}

bool lease_sql_claim(struct pg_client *control, const struct lease_opts *opts, int64_t seen,
                     bool gone, int64_t *token, struct neap_error *err)
{
    char *seen_text = neap_format("%lld", (long long)seen);
    char *ttl_text = neap_format("%lld", (long long)opts->ttl_ms);
    const char *params[] = {
        seen_text,  gone ? "true" : "false",         opts->identity, opts->run_id, opts->actor,
        opts->host, opts->direct ? "true" : "false", ttl_text};
    bool asked = ask_token(control, sql_claim, 8, params, token, err);
    free(seen_text);
    free(ttl_text);
    return asked;
}

bool lease_sql_break(struct pg_client *control, int64_t seen, int64_t *token,
                     struct neap_error *err)
{
    char *seen_text = neap_format("%lld", (long long)seen);
    const char *params[] = {seen_text};
    bool asked = ask_token(control, sql_break, 1, params, token, err);
    free(seen_text);
    return asked;
}

bool lease_sql_terminate(struct pg_client *control, const char *run_id, struct neap_error *err)
{
    const char *params[] = {run_id};
    return pg_exec_text(control, sql_terminate, 1, params, NULL, err);
}

void lease_row_clear(struct lease_row *row)
{
    lease_holder_clear(&row->holder);
    free(row->sessions);
    row->sessions = NULL;
}
