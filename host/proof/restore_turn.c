/* SPDX-License-Identifier: MIT
 *
 * The turn: one transaction renames the old database away and the new one into its place.
 * ALTER DATABASE RENAME locks the name against whoever connects, and waits up to 5 s for
 * the sessions that are there; from a second session these are ended, but not before the
 * lock is ours. Nothing but COMMIT changes what a client finds: a kill at any instant
 * leaves the old database as it was, with its doors open, or the new one. Our own session
 * in the old one, with the lease, goes the moment after the lock is ours, so that no other
 * run can come between.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_properties.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/proof/restore_parts.h"

#define POLL_MS 50
#define PAUSE_MS 500
#define NAME_MAX_BYTES 63

struct turn {
    struct restore *restore;
    struct pg_client *client;    /* of the transaction: the server's session */
    struct pg_client *other;     /* that looks, and ends the sessions */
    char *target, *fresh, *kept; /* as identifiers */
    char *kept_name;
    char *pid, *oid;
    int64_t old_oid, new_oid; /* old 0: there is none */
    bool locked;              /* nobody connects to the old one any more */
    char *in_the_way;         /* of the lock, or that could not be ended */
};

static bool run(struct turn *turn, char *sql, struct neap_error *err)
{
    bool done = pg_exec_text(turn->client, sql, 0, NULL, NULL, err);
    free(sql);
    return done;
}

/* "shop_before_20261121t064453_ab12cd34ef"; 63 bytes are what a name may have. */
static char *name_kept(const struct restore *restore)
{
    char *tail = neap_format("_before_%s", neap_loop_run(restore->loop)->id);
    size_t room = NAME_MAX_BYTES - strlen(tail), length = strlen(restore->target);
    for (char *at = tail; *at != '\0'; at++)
        *at = *at == 'T' ? 't' : *at == '-' ? '_' : *at;
    if (length > room) /* never in the middle of a character */
        for (length = room; length > 0 && (restore->target[length] & 0xc0) == 0x80;)
            length--;
    char *name = neap_format("%.*s%s", (int)length, restore->target, tail);
    free(tail);
    return name;
}

static bool quote(struct turn *turn, const char *name, char **out, struct neap_error *err)
{
    return pg_ident(turn->client, name, strlen(name), out, err);
}

static void note(struct turn *turn, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    free(turn->in_the_way);
    turn->in_the_way = neap_strdup(text);
}

static const char sql_locked[] =
    "select exists (select from pg_catalog.pg_locks where pid = $1::int4 and granted"
    " and locktype = 'object' and classid = 'pg_catalog.pg_database'::pg_catalog.regclass"
    " and objid = $2::oid and mode = 'AccessExclusiveLock'),"
    " (select pg_catalog.string_agg(pg_catalog.format('pid %s (%s, %s, in database %s)', a.pid,"
    " a.usename, coalesce(nullif(a.application_name, ''), 'no name'), a.datname), '; ')"
    " from pg_catalog.pg_stat_activity a where a.pid = any "
    "(pg_catalog.pg_blocking_pids($1::int4)))";

/* What autovacuum does there the server itself ends. The type of another's session may be
 * hidden from us. */
static const char sql_sessions[] =
    "select pid::text, pg_catalog.format('pid %s (%s, %s)', pid, usename,"
    " coalesce(nullif(application_name, ''), backend_type, 'no name'))"
    " from pg_catalog.pg_stat_activity where datid = $1::oid and pid <> $2::int4"
    " and coalesce(backend_type, '') <> 'autovacuum worker' order by pid";

/* One that we may not end stays, and is named. */
static bool end_sessions(struct turn *turn, struct neap_error *err)
{
    const char *params[] = {turn->oid, turn->pid};
    struct neap_buffer stuck = {0};
    struct pg_op *op = NULL;
    bool asked = pg_exec_text(turn->other, sql_sessions, 2, params, &op, err);
    for (int i = 0; asked && i < pg_rows(op); i++) {
        const char *pid = pg_cell(op, i, 0);
        struct neap_error why = {0};
        bool ended = pg_exec_text(turn->other, "select pg_catalog.pg_terminate_backend($1::int4)",
                                  1, &pid, NULL, &why);
        neap_buffer_add_format(&stuck, "%s%s%s%s", i == 0 ? "" : "; ", pg_cell(op, i, 1),
                               ended ? "" : ": ", ended ? "" : why.message);
        if (!ended)
            pg_failure_clear(turn->other);
        neap_error_clear(&why);
    }
    pg_op_free(op);
    if (asked)
        note(turn, neap_buffer_text(&stuck));
    neap_buffer_clear(&stuck);
    return asked && !pg_is_lost(turn->other);
}

static bool look_lock(struct turn *turn, struct neap_error *err)
{
    const char *params[] = {turn->pid, turn->oid};
    struct pg_op *op = NULL;
    if (!pg_exec_text(turn->other, sql_locked, 2, params, &op, err))
        return false;
    if (pg_cell_bool(op, 0, 0)) {
        turn->locked = true;
        free(turn->in_the_way);
        turn->in_the_way = NULL;
        if (turn->restore->session != NULL)
            neap_session_leave(turn->restore->session);
    } else {
        note(turn, pg_cell(op, 0, 1));
    }
    pg_op_free(op);
    return true;
}

/* While the rename waits: first for the lock, then for the sessions. */
static bool attend(struct turn *turn, struct pg_op *op, struct neap_error *err)
{
    while (!pg_op_is_done(op)) {
        bool looked = turn->locked ? end_sessions(turn, err) : look_lock(turn, err);
        if (!looked ||
            (!turn->locked &&
             !neap_loop_sleep(turn->restore->loop, POLL_MS, "the database's lock", err)) ||
            (turn->locked &&
             !neap_loop_sleep(turn->restore->loop, POLL_MS, "the sessions to end", err)))
            return false;
    }
    return true;
}

static bool put_aside(struct turn *turn, struct neap_error *err)
{
    char *sql = neap_format("alter database %s rename to %s", turn->target, turn->kept);
    struct pg_statement statement = {.sql = sql, .call_id = -1};
    struct pg_op *op = NULL;
    bool done = pg_send(turn->client, &statement, &op, err) && attend(turn, op, err) &&
                pg_wait(turn->client, op, err);
    pg_op_free(op);
    free(sql);
    return done;
}

/* The kept one's own comment is in the new one's, and in its mark. */
static bool mark_kept(struct turn *turn, struct neap_error *err)
{
    const struct restore *restore = turn->restore;
    json_t *mark = json_object();
    neap_json_set(mark, "target", neap_json_text(restore->target));
    neap_json_set(mark, "backup",
                  neap_json_text(restore->backup == NULL ? NULL : restore->backup->id));
    neap_json_set(mark, "until", neap_json_text(restore->until));
    char *sql =
        backup_beside_mark_sql(&restore->server, turn->kept_name, BACKUP_BESIDE_KEPT, mark, err);
    json_decref(mark);
    return sql != NULL &&
           run(turn, neap_format("alter database %s allow_connections false", turn->kept), err) &&
           run(turn, sql, err);
}

/* The names lead where they should: whoever renamed one of them meanwhile is seen here. */
static bool check_names(struct turn *turn, struct neap_error *err)
{
    int64_t now = 0, kept = 0;
    const struct backup_server *server = &turn->restore->server;
    if (!backup_server_find(server, turn->restore->target, &now, err) ||
        (turn->old_oid != 0 && !backup_server_find(server, turn->kept_name, &kept, err)))
        return false;
    if (now == turn->new_oid && kept == turn->old_oid)
        return true;
    neap_error_set(err, NEAP_ERR_DB_SERIALIZATION,
                   "somebody else renamed databases of this server meanwhile");
    return false;
}

static bool take_place(struct turn *turn, struct neap_error *err)
{
    struct restore *restore = turn->restore;
    if (!run(turn, neap_format("alter database %s rename to %s", turn->fresh, turn->target), err))
        return false;
    if (turn->old_oid == 0)
        return run(turn, neap_format("alter database %s connection limit -1", turn->target), err) &&
               run(turn,
                   neap_format("grant connect, temporary on database %s to public", turn->target),
                   err) &&
               run(turn, neap_format("comment on database %s is null", turn->target), err);
    return backup_properties_copy(turn->client, turn->kept_name, restore->target, err) &&
           mark_kept(turn, err);
}

static bool begin(struct turn *turn, struct neap_error *err)
{
    int64_t lock_ms = turn->restore->project->env.lock_timeout_ms;
    return run(turn, neap_strdup("begin"), err) &&
           run(turn, neap_strdup("set local synchronous_commit = on"), err) &&
           run(turn, neap_format("set local lock_timeout = %lld", (long long)lock_ms), err);
}

static void roll_back(struct turn *turn)
{
    pg_cleanup(turn->client, true);
    pg_failure_clear(turn->client);
    (void)pg_exec_text(turn->client, "rollback", 0, NULL, NULL, NULL);
    pg_failure_clear(turn->client);
    pg_cleanup(turn->client, false);
}

static bool has_ended(const struct pg_client *client, const char *pid)
{
    static const char sql[] = "select not exists (select from pg_catalog.pg_stat_activity"
                              " where pid = $1::int4)";
    struct pg_op *op = NULL;
    bool ended = pg_exec_text((struct pg_client *)(uintptr_t)client, sql, 1, &pid, &op, NULL) &&
                 pg_cell_bool(op, 0, 0);
    pg_op_free(op);
    return ended;
}

/* The answer to COMMIT did not come: when the backend that was to give it has ended, the
 * name tells. */
static bool settle(struct turn *turn, bool *done, struct neap_error *err)
{
    struct backup_server *server = &turn->restore->server;
    int64_t limit_ms = neap_clock_deadline_ms(turn->restore->project->env.connect_timeout_ms);
    int64_t oid = 0;
    pg_close(server->client);
    server->client = NULL;
    while (server->client == NULL && neap_clock_ms() < limit_ms) {
        struct neap_error why = {0};
        if (!backup_server_session(server, "postgres", "server", &server->client, &why) &&
            !neap_loop_sleep(turn->restore->loop, PAUSE_MS, "the server", NULL))
            limit_ms = 0;
        neap_error_clear(&why);
    }
    turn->client = server->client;
    while (turn->client != NULL && neap_clock_ms() < limit_ms &&
           !has_ended(turn->client, turn->pid))
        if (!neap_loop_sleep(turn->restore->loop, PAUSE_MS, "the server", NULL))
            limit_ms = 0;
    bool known = turn->client != NULL && has_ended(turn->client, turn->pid) &&
                 backup_server_find(server, turn->restore->target, &oid, NULL);
    *done = known && oid == turn->new_oid;
    if (known)
        return true;
    neap_error_clear(err);
    neap_error_set(err, NEAP_ERR_COMMIT_UNKNOWN,
                   "it is not known which database is %s now, the old or the restored one",
                   turn->restore->target);
    neap_error_hint(err, "`neap restore --list` shows it when the server answers; then "
                         "`neap restore --resume` goes on.");
    return false;
}

static bool commit(struct turn *turn, struct neap_error *err)
{
    struct pg_statement statement = {.sql = "commit", .call_id = -1, .shielded = true};
    struct neap_run *state = neap_loop_run(turn->restore->loop);
    struct pg_op *op = NULL;
    bool done = false;
    state->doubt = NEAP_ERR_COMMIT_UNKNOWN;
    bool answered = pg_exec(turn->client, &statement, &op, err);
    if (answered)
        done = strcmp(pg_op_tag(op), "COMMIT") == 0;
    pg_op_free(op);
    if (answered && !done)
        neap_error_set(err, NEAP_ERR_DB_ABORTED, "the server rolled the swap back");
    if (!answered && pg_is_lost(turn->client) && settle(turn, &done, err) && done)
        neap_error_clear(err);
    state->doubt = NEAP_OK;
    return done;
}

static bool try_once(struct turn *turn, struct neap_error *err)
{
    bool ready = begin(turn, err) && (turn->old_oid == 0 || put_aside(turn, err)) &&
                 take_place(turn, err) && check_names(turn, err);
    if (!ready) {
        roll_back(turn);
        return false;
    }
    if (commit(turn, err))
        return true;
    if (turn->client != NULL)
        roll_back(turn);
    return false;
}

/* Only while nothing was touched: afterwards the lease is gone. */
static bool is_again(const struct turn *turn, const struct neap_error *err, int64_t limit_ms)
{
    return !turn->locked && turn->client != NULL && !pg_is_lost(turn->client) &&
           (err->code == NEAP_ERR_LOCK_TIMEOUT || err->code == NEAP_ERR_LOCK_DEADLOCK) &&
           neap_clock_ms() < limit_ms;
}

static void explain(struct turn *turn, struct neap_error *err)
{
    const char *who = turn->in_the_way;
    if (err->code == NEAP_ERR_COMMIT_UNKNOWN)
        return;
    if (strcmp(err->sqlstate, "55006") == 0)
        neap_error_set(err, NEAP_ERR_RESTORE_SESSIONS,
                       "sessions in database %s did not end, so that it could not be put aside",
                       turn->restore->target);
    if (who != NULL)
        neap_error_detail(err, "In the way: %s", who);
    neap_error_hint(err,
                    "Nothing was changed: %s is what it was. The restored copy stays as %s: "
                    "`neap restore --resume` goes on with it.",
                    turn->restore->target, turn->restore->name);
}

static bool try_all(struct turn *turn, struct neap_error *err)
{
    int64_t limit_ms = neap_clock_deadline_ms(turn->restore->project->env.lock_budget_ms);
    for (;;) {
        if (try_once(turn, err))
            return true;
        if (!is_again(turn, err, limit_ms))
            return false;
        neap_log_progress("restore: waiting for the lock of database %s; in the way: %s",
                          turn->restore->target,
                          turn->in_the_way == NULL ? "nobody now" : turn->in_the_way);
        neap_error_clear(err);
        if (!neap_loop_sleep(turn->restore->loop, PAUSE_MS, "the database's lock", err))
            return false;
    }
}

static bool prepare(struct turn *turn, struct neap_error *err)
{
    struct restore *restore = turn->restore;
    turn->client = restore->server.client;
    turn->kept_name = name_kept(restore);
    turn->pid = neap_format("%d", PQbackendPID(pg_raw(turn->client)));
    bool found = backup_server_find(&restore->server, restore->target, &turn->old_oid, err) &&
                 backup_server_find(&restore->server, restore->name, &turn->new_oid, err) &&
                 quote(turn, restore->target, &turn->target, err) &&
                 quote(turn, restore->name, &turn->fresh, err) &&
                 quote(turn, turn->kept_name, &turn->kept, err);
    turn->oid = neap_format("%lld", (long long)turn->old_oid);
    return found && backup_server_session(&restore->server, PQdb(pg_raw(turn->client)), "turn",
                                          &turn->other, err);
}

static json_t *fields_of(const struct turn *turn)
{
    const struct restore *restore = turn->restore;
    json_t *fields = json_object();
    neap_json_set(fields, "database", neap_json_text(restore->target));
    neap_json_set(fields, "restored", neap_json_text(restore->name));
    neap_json_set(fields, "restored_oid", json_integer(turn->new_oid));
    neap_json_set(fields, "kept", neap_json_text(turn->old_oid == 0 ? NULL : turn->kept_name));
    neap_json_set(fields, "kept_oid",
                  turn->old_oid == 0 ? json_null() : json_integer(turn->old_oid));
    return fields;
}

bool restore_swap(struct restore *restore, char **kept, struct neap_error *err)
{
    struct turn turn = {.restore = restore};
    bool done = prepare(&turn, err) &&
                restore_record(restore, "restore.swap", fields_of(&turn), true, err) &&
                try_all(&turn, err);
    neap_log_progress_end();
    if (!done)
        explain(&turn, err);
    json_t *fields = fields_of(&turn);
    restore_failed(fields, err);
    (void)restore_record(restore, "restore.swapped", fields, true, NULL);
    *kept = done && turn.old_oid != 0 ? neap_strdup(turn.kept_name) : NULL;
    pg_close(turn.other);
    char *const owned[] = {turn.target, turn.fresh, turn.kept,      turn.kept_name,
                           turn.pid,    turn.oid,   turn.in_the_way};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
    return done;
}
