/* SPDX-License-Identifier: MIT
 *
 * BEGIN to COMMIT. Everything up to the end of `up` is pipelined; the host waits
 * where it must know: after the records, and for COMMIT. COMMIT never travels
 * with work (a killed client's server would run on and commit), and its success
 * is the tag and nothing else: COMMIT of a failed transaction answers ROLLBACK
 * without an error.
 */
#include "host/change/tx.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"

#define BACKSTOP_MS 2000      /* the server's limits end after the host's own, with its words */
#define COMMIT_WAIT_MS 10000  /* at least this long for COMMIT's answer, also after a stop */
#define SETTLE_WAIT_MS 30000  /* how long a lost server is asked for the outcome */
#define REFENCE_WAIT_MS 10000 /* how long the old session may take to end */

/* One statement for all limits. LOCAL, so that a pooler cannot hand them on.
 * synchronous_commit is raised, never lowered. The xid forces its assignment:
 * a script that escaped its transaction meets another one at the end. */
static const char sql_limits[] =
    "select pg_catalog.pg_current_xact_id()::pg_catalog.text, pg_catalog.pg_backend_pid(),"
    " pg_catalog.set_config('lock_timeout', $1, true),"
    " pg_catalog.set_config('statement_timeout', $2, true),"
    " pg_catalog.set_config('idle_in_transaction_session_timeout', $2, true),"
    " case when pg_catalog.current_setting('synchronous_commit') in ('off', 'local')"
    " then pg_catalog.set_config('synchronous_commit', 'on', true) end,"
    " case when pg_catalog.current_setting('client_connection_check_interval', true) is not null"
    " then pg_catalog.set_config('client_connection_check_interval', '200', true) end";

static const char sql_session_limits[] =
    "select pg_catalog.pg_backend_pid(),"
    " pg_catalog.set_config('lock_timeout', $1, $3::pg_catalog.bool),"
    " pg_catalog.set_config('statement_timeout', $2, $3::pg_catalog.bool),"
    " case when pg_catalog.current_setting('client_connection_check_interval', true) is not null"
    " then pg_catalog.set_config('client_connection_check_interval', '200', $3::pg_catalog.bool)"
    " end";

static char *limit_ms(const struct neap_run *run)
{
    int64_t left = run->deadline_ms == NEAP_FOREVER ? 0 : run->deadline_ms - neap_clock_ms();
    if (run->deadline_ms != NEAP_FOREVER && left < 1)
        left = 1;
    return neap_format("%lld", left == 0 ? 0LL : (long long)(left + BACKSTOP_MS));
}

static void on_notice(void *arg, const struct pg_notice *notice)
{
    struct neap_tx *tx = arg;
    /* Not localised, unlike the message: the wait for a standby was cut short. */
    if (notice->source_function != NULL &&
        strcmp(notice->source_function, "SyncRepWaitForLSN") == 0)
        tx->unreplicated = true;
    neap_log(NEAP_LOG_INFO, "db.notice", "%s: %s", notice->severity, notice->message);
}

static void on_limits(void *arg, struct pg_op *op)
{
    struct neap_tx *tx = arg;
    if (pg_op_error(op) != NULL || pg_rows(op) != 1)
        return;
    const char *xid = pg_cell(op, 0, 0);
    size_t length = strnlen(xid, sizeof tx->xid - 1);
    memcpy(tx->xid, xid, length);
    tx->xid[length] = '\0';
    tx->backend_pid = (int)pg_cell_int(op, 0, 1);
    neap_watch_backend(tx->change->watch, tx->backend_pid);
}

static bool send_role(struct pg_client *work, const char *role, bool local, struct neap_error *err)
{
    char *ident = NULL;
    if (role == NULL)
        return true;
    if (!pg_ident(work, role, strlen(role), &ident, err))
        return false;
    char *sql = neap_format("set %s role %s", local ? "local" : "session", ident);
    bool sent = pg_send_text(work, sql, 0, NULL, err);
    free(sql);
    free(ident);
    return sent;
}

static bool send_limits(struct neap_tx *tx, int64_t lock_timeout_ms, struct neap_error *err)
{
    char *lock = neap_format("%lld", (long long)lock_timeout_ms);
    char *limit = limit_ms(tx->change->run);
    const struct pg_param params[] = {PG_TEXT(lock), PG_TEXT(limit)};
    struct pg_statement statement = {.sql = sql_limits,
                                     .params = params,
                                     .param_count = 2,
                                     .call_id = -1,
                                     .done = on_limits,
                                     .arg = tx};
    bool sent = pg_send(tx->work, &statement, NULL, err);
    free(lock);
    free(limit);
    return sent;
}

bool neap_tx_begin(struct neap_tx *tx, struct neap_change *change,
                   const struct neap_attempt_key *key, int64_t lock_timeout_ms,
                   struct neap_error *err)
{
    memset(tx, 0, sizeof *tx);
    tx->change = change;
    if (!neap_target_work(change->target, err) ||
        (key != NULL && !neap_attempts_take(&change->attempts, change->target->control,
                                            change->run->id, key, &tx->attempt, err)))
        return false;
    tx->work = change->target->work;
    pg_failure_clear(tx->work);
    pg_on_notice(tx->work, on_notice, tx);
    if (!pg_pipeline_begin(tx->work, err))
        return false;
    /* What a script or a dump set before is gone; through a pooler nothing was
     * set for longer than its transaction (see neap_tx_record). */
    if (change->target->direct &&
        !(pg_send_text(tx->work, "discard all", 0, NULL, err) && pg_sync(tx->work, err)))
        return false;
    return pg_send_text(tx->work, "begin isolation level read committed read write", 0, NULL,
                        err) &&
           /* the sync brings the answers now: the watch needs the process id */
           send_limits(tx, lock_timeout_ms, err) && pg_sync(tx->work, err) &&
           (change->lease == NULL || lease_fence(change->lease, tx->work, err)) &&
           send_role(tx->work, change->env->role, true, err);
}

/* Limits and role of the work session, for as long as it lasts or (`local`) for the
 * transaction that is open. */
static bool set_session(struct neap_change *change, int64_t lock_timeout_ms, bool local,
                        struct neap_error *err)
{
    struct pg_client *work = change->target->work;
    char *lock = neap_format("%lld", (long long)lock_timeout_ms);
    char *limit = limit_ms(change->run);
    const char *params[] = {lock, limit, local ? "true" : "false"};
    struct pg_op *op = NULL;
    bool done = pg_exec_text(work, sql_session_limits, 3, params, &op, err);
    if (done)
        neap_watch_backend(change->watch, (int)pg_cell_int(op, 0, 0));
    pg_op_free(op);
    free(lock);
    free(limit);
    return done && send_role(work, change->env->role, local, err) && pg_settle(work, err);
}

static bool ready_session(struct neap_change *change, struct neap_error *err)
{
    if (!neap_target_work(change->target, err))
        return false;
    struct pg_client *work = change->target->work;
    pg_failure_clear(work);
    pg_on_notice(work, NULL, NULL);
    return pg_pipeline_end(work, err) &&
           (!change->target->direct || pg_exec_text(work, "discard all", 0, NULL, NULL, err));
}

bool neap_tx_session(struct neap_change *change, int64_t lock_timeout_ms, struct neap_error *err)
{
    return ready_session(change, err) && set_session(change, lock_timeout_ms, false, err);
}

bool neap_tx_snapshot_begin(struct neap_change *change, int64_t lock_timeout_ms,
                            struct neap_error *err)
{
    /* LOCAL: a pooler would give the next client what is set for the session.
     * row_security off: an error instead of rows that are silently not seen. */
    return ready_session(change, err) &&
           pg_exec_text(change->target->work, "begin isolation level repeatable read read only", 0,
                        NULL, NULL, err) &&
           set_session(change, lock_timeout_ms, true, err) &&
           pg_exec_text(change->target->work, "set local row_security = off", 0, NULL, NULL, err);
}

void neap_tx_snapshot_end(struct neap_change *change)
{
    struct pg_client *work = change->target->work;
    if (work == NULL)
        return;
    pg_cleanup(work, true);
    pg_failure_clear(work);
    if (!pg_exec_text(work, "rollback", 0, NULL, NULL, NULL))
        neap_target_drop_work(change->target);
    else
        pg_cleanup(work, false);
}

bool neap_tx_look_begin(struct neap_tx *tx, struct neap_error *err)
{
    /* row_security off: an error instead of rows that are silently not seen. */
    return pg_send_text(tx->work, "savepoint neap_verify", 0, NULL, err) &&
           pg_send_text(tx->work, "set local transaction_read_only = on", 0, NULL, err) &&
           pg_send_text(tx->work, "set local row_security = off", 0, NULL, err);
}

bool neap_tx_look_end(struct neap_tx *tx, struct neap_error *err)
{
    return pg_send_text(tx->work, "rollback to savepoint neap_verify", 0, NULL, err) &&
           pg_send_text(tx->work, "release savepoint neap_verify", 0, NULL, err);
}

/* The run's name, which `reset all` took from a pooler's session: a takeover finds
 * the sessions of a run by it. */
static bool send_name(struct neap_tx *tx, struct neap_error *err)
{
    char *name = neap_format("neap:%s", tx->change->run->id);
    const char *params[] = {name};
    bool sent = pg_send_text(
        tx->work, "select pg_catalog.set_config('application_name', $1, false)", 1, params, err);
    free(name);
    return sent;
}

/* Takes the script's role and settings off the transaction, so that the records
 * are written by the login role under a search_path of ours. */
static bool send_own_ground(struct neap_tx *tx, struct neap_error *err)
{
    static const char *const always[] = {"reset session authorization", "set local role none",
                                         "set local search_path = pg_catalog, pg_temp", NULL};
    /* A pooler would give the next client what the script set or listens to. */
    static const char *const pooled[] = {"reset all", "deallocate all", "unlisten *",
                                         "select pg_catalog.pg_advisory_unlock_all()", NULL};
    if (!tx->change->target->direct) {
        for (const char *const *sql = pooled; *sql != NULL; sql++)
            if (!pg_send_text(tx->work, *sql, 0, NULL, err))
                return false;
        if (!send_name(tx, err))
            return false;
    }
    for (const char *const *sql = always; *sql != NULL; sql++)
        if (!pg_send_text(tx->work, *sql, 0, NULL, err))
            return false;
    return true;
}

bool neap_tx_record(struct neap_tx *tx, struct neap_history_entry *entry, struct neap_error *err)
{
    struct neap_change *change = tx->change;
    if (!pg_settle(tx->work, err) || !neap_audit_sync(change->audit, err))
        return false;
    entry->attempt = &tx->attempt;
    entry->xid = tx->xid;
    entry->lease_token = lease_token(change->lease);
    tx->copied = true;
    /* It passes the fence again: the script could reach the lease's row as well. */
    bool sent =
        send_own_ground(tx, err) && neap_history_record(tx->work, entry, change->audit, err);
    neap_hash_wipe(&tx->attempt.secret);
    return sent && pg_settle(tx->work, err);
}

struct commit_wait {
    struct pg_client *work;
    const struct pg_op *op;
};

/* The tag comes before the transaction's state does: an answer is both. */
static bool is_answered(void *arg)
{
    const struct commit_wait *commit = arg;
    return pg_op_is_done(commit->op) &&
           (pg_is_lost(commit->work) || pg_transaction_status(commit->work) != PQTRANS_ACTIVE);
}

static enum neap_commit judge_commit(struct neap_tx *tx, const struct pg_op *op,
                                     struct neap_error *err)
{
    const struct neap_error *failure = pg_op_error(op);
    if (failure == NULL && strcmp(pg_op_tag(op), "COMMIT") == 0 &&
        pg_transaction_status(tx->work) == PQTRANS_IDLE)
        return NEAP_COMMIT_DONE;
    if (pg_is_lost(tx->work)) {
        neap_error_set(err, NEAP_ERR_COMMIT_UNKNOWN, "the connection was lost during COMMIT");
        return NEAP_COMMIT_UNKNOWN;
    }
    if (failure != NULL)
        neap_error_copy(err, failure);
    else
        neap_error_set(err, NEAP_ERR_DB_ABORTED, "the server answered COMMIT with %s",
                       pg_op_tag(op));
    return NEAP_COMMIT_REFUSED;
}

enum neap_commit neap_tx_commit(struct neap_tx *tx, struct neap_error *err)
{
    struct pg_op *op = NULL;
    struct pg_statement statement = {.sql = "commit", .call_id = -1};
    if (!neap_run_check(tx->change->run, err)) /* the last moment to turn back */
        return NEAP_COMMIT_REFUSED;
    pg_cleanup(tx->work, true);
    if (!pg_send(tx->work, &statement, &op, err) || !pg_sync(tx->work, err)) {
        enum neap_commit early = pg_is_lost(tx->work) ? NEAP_COMMIT_UNKNOWN : NEAP_COMMIT_REFUSED;
        pg_op_free(op);
        pg_cleanup(tx->work, false);
        return early;
    }
    int64_t deadline = neap_clock_deadline_ms(COMMIT_WAIT_MS);
    if (tx->change->run->deadline_ms != NEAP_FOREVER && tx->change->run->deadline_ms > deadline)
        deadline = tx->change->run->deadline_ms;
    struct commit_wait commit = {.work = tx->work, .op = op};
    struct neap_wait wait = {.done = is_answered,
                             .arg = &commit,
                             .cleanup = true,
                             .deadline_ms = deadline,
                             .what = "the answer to COMMIT"};
    if (!neap_loop_wait(tx->change->loop, &wait, NULL))
        pg_cancel(tx->work); /* once; then the answer, or a lost connection, decides */
    enum neap_commit result = judge_commit(tx, op, err);
    pg_op_free(op);
    if (!pg_is_lost(tx->work))
        pg_settle(tx->work, NULL);
    pg_cleanup(tx->work, false);
    neap_watch_backend(tx->change->watch, 0);
    return result;
}

/* The control session, or a new one in its place when it was lost as well. */
static bool need_control(struct neap_target *target, struct neap_error *err)
{
    struct pg_client *client = NULL;
    if (target->control != NULL && !pg_is_lost(target->control))
        return true;
    if (!neap_target_session(target, "control", &client, err))
        return false;
    pg_close(target->control);
    target->control = client;
    return true;
}

/* Whoever takes the lease's token, we or another run, waits for the transaction
 * that fenced itself with it: whatever became of COMMIT is decided then. */
static bool ask_attempt(struct neap_tx *tx, bool *committed, struct neap_error *err)
{
    struct neap_change *change = tx->change;
    if (!need_control(change->target, err))
        return false;
    struct pg_client *control = change->target->control;
    pg_cleanup(control, true);
    pg_failure_clear(control);
    bool decided = lease_refence(change->lease, control, REFENCE_WAIT_MS, err) ||
                   err->code == NEAP_ERR_LEASE_LOST;
    pg_failure_clear(control);
    bool asked = decided && neap_history_has_attempt(control, tx->attempt.uuid, committed, err);
    pg_cleanup(control, false);
    return asked;
}

bool neap_tx_settle(struct neap_tx *tx, bool *committed, struct neap_error *err)
{
    struct neap_change *change = tx->change;
    struct neap_error cause = {0};
    neap_target_drop_work(change->target);
    tx->work = NULL;
    int64_t give_up = neap_clock_deadline_ms(SETTLE_WAIT_MS);
    /* COMMIT was sent: that the script's deadline passed is no reason not to ask. */
    neap_run_rearm(change->run);
    change->run->deadline_ms = give_up;
    do {
        neap_log(NEAP_LOG_WARN, "commit.unknown",
                 "the connection was lost during COMMIT; asking the history what became of it");
        neap_error_clear(&cause);
        if (ask_attempt(tx, committed, &cause)) {
            neap_error_clear(&cause);
            neap_error_clear(err);
            return true;
        }
    } while (neap_clock_ms() < give_up &&
             neap_loop_sleep(change->loop, 500, "the server to come back", NULL));
    neap_error_set(err, NEAP_ERR_COMMIT_UNKNOWN,
                   "the connection was lost during COMMIT, and the server cannot be asked");
    neap_error_detail(err, "Asking gave: %s.", cause.message == NULL ? "nothing" : cause.message);
    neap_error_clear(&cause);
    return false;
}

void neap_tx_record_failover(struct neap_change *change)
{
    if (!change->target->failed_over)
        return;
    json_t *fields = json_object();
    neap_json_set(fields, "timeline", neap_json_text(change->target->timeline));
    neap_audit_add(change->audit, "target.failed_over", fields);
    change->target->failed_over = false;
}

void neap_tx_rollback(struct neap_tx *tx)
{
    neap_watch_backend(tx->change->watch, 0);
    if (tx->copied)
        neap_audit_copied(tx->change->audit, false);
    tx->copied = false;
    if (tx->work == NULL)
        return;
    pg_cleanup(tx->work, true);
    if (!pg_is_lost(tx->work) && pg_transaction_status(tx->work) == PQTRANS_ACTIVE)
        pg_cancel(tx->work);
    bool done = false;
    if (!pg_is_lost(tx->work)) {
        pg_settle(tx->work, NULL);
        pg_failure_clear(tx->work);
        done = pg_exec_text(tx->work, "rollback", 0, NULL, NULL, NULL);
        pg_cleanup(tx->work, false);
        pg_on_notice(tx->work, NULL, NULL);
    }
    if (!done) /* a closed session rolls back too */
        neap_target_drop_work(tx->change->target);
    tx->work = NULL;
}

bool neap_tx_publish(struct neap_change *change, struct neap_error *err)
{
    struct pg_client *control = change->target->control;
    if (!neap_audit_sync(change->audit, err))
        return false;
    /* The copy is second: what cannot be copied now, the next run copies. */
    if (control == NULL || pg_is_lost(control) || change->lease == NULL)
        return true;
    pg_cleanup(control, true);
    bool copied = neap_audit_copy(change->audit, control, NULL) && pg_settle(control, NULL);
    neap_audit_copied(change->audit, copied);
    pg_failure_clear(control);
    pg_cleanup(control, false);
    return true;
}
