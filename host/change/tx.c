/* SPDX-License-Identifier: MIT
 *
 * BEGIN to the records. All of it is pipelined; the host waits where a script looks
 * at a result and once at the end of the work. COMMIT is commit.c's.
 */
#include "host/change/tx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/change/commit.h"

#define BACKSTOP_MS 2000 /* the server's limits end after the host's own, with its words */

/* One statement for all limits, as neap.enter sets them: this one where there is no
 * lease, or no schema. One call of a function costs the server least to plan. */
static const char sql_limits[] =
    "select pg_catalog.concat(pg_catalog.pg_current_xact_id(), ' ', pg_catalog.pg_backend_pid()),"
    " pg_catalog.set_config('lock_timeout', $1, true),"
    " pg_catalog.set_config('statement_timeout', $2, true),"
    " pg_catalog.set_config('idle_in_transaction_session_timeout', $2, true),"
    " case when pg_catalog.current_setting('synchronous_commit') in ('off', 'local')"
    " then pg_catalog.set_config('synchronous_commit', 'on', true) end,"
    " case when pg_catalog.current_setting('client_connection_check_interval', true) is not null"
    " then pg_catalog.set_config('client_connection_check_interval', '200', true) end";
static const char sql_enter[] = "select neap.enter($3, $4, $1, $2)";

static const char sql_session_limits[] =
    "select pg_catalog.pg_backend_pid(),"
    " pg_catalog.set_config('lock_timeout', $1, $3::pg_catalog.bool),"
    " pg_catalog.set_config('statement_timeout', $2, $3::pg_catalog.bool),"
    " case when pg_catalog.current_setting('client_connection_check_interval', true) is not null"
    " then pg_catalog.set_config('client_connection_check_interval', '200', $3::pg_catalog.bool)"
    " end";

static char *limit_ms(const struct neap_run *run)
{
    int64_t left = run->deadline_ms - neap_clock_ms();
    bool limited = run->deadline_ms != NEAP_FOREVER;
    return neap_format("%lld", limited ? (long long)((left > 0 ? left : 0) + BACKSTOP_MS) : 0LL);
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
    const char *xid = pg_cell(op, 0, 0); /* "xid pid" */
    size_t length = strcspn(xid, " ");
    snprintf(tx->xid, sizeof tx->xid, "%.*s", (int)length, xid);
    tx->backend_pid = (int)strtol(xid + length, NULL, 10);
    neap_watch_backend(tx->change->watch, tx->backend_pid);
}

static bool send_role(struct pg_client *work, const char *role, bool local, struct neap_error *err)
{
    const char *params[] = {role, local ? "true" : "false"};
    return role == NULL ||
           pg_send_text(work, "select pg_catalog.set_config('role', $1, $2::pg_catalog.bool)", 2,
                        params, err);
}

static bool send_limits(struct neap_tx *tx, int64_t lock_timeout_ms, struct neap_error *err)
{
    const struct neap_change *change = tx->change;
    if (change->lease != NULL && !lease_check(change->lease, err))
        return false;
    char *lock = neap_format("%lld", (long long)lock_timeout_ms);
    char *limit = limit_ms(change->run);
    char *token =
        change->lease == NULL ? NULL : neap_format("%lld", (long long)lease_token(change->lease));
    const char *earlier = change->pending == NULL ? NULL : change->pending->tx.attempt.uuid;
    const struct pg_param params[] = {PG_TYPED(lock, PG_TYPE_TEXT), PG_TYPED(limit, PG_TYPE_TEXT),
                                      PG_TYPED(token, PG_TYPE_INT8),
                                      PG_TYPED(earlier, PG_TYPE_UUID)};
    struct pg_statement statement = {.sql = token == NULL ? sql_limits : sql_enter,
                                     .params = params,
                                     .param_count = token == NULL ? 2 : 4,
                                     .call_id = -1,
                                     .done = on_limits,
                                     .arg = tx};
    bool sent = pg_send(tx->work, &statement, NULL, err);
    free(lock);
    free(limit);
    free(token);
    return sent;
}

void neap_tx_listen(struct neap_tx *tx)
{
    pg_on_notice(tx->work, on_notice, tx);
}

/* A session that nothing was sent on since its last answer, or (`follows`) one that
 * is at a COMMIT: whatever comes of that is its failure, and stays known. */
static bool take_session(struct neap_tx *tx, bool follows, struct neap_error *err)
{
    struct neap_target *target = tx->change->target;
    if (!follows && !neap_target_work(target, err))
        return false;
    tx->work = target->work;
    if (!follows)
        pg_failure_clear(tx->work);
    neap_tx_listen(tx);
    return follows || pg_pipeline_begin(tx->work, err);
}

bool neap_tx_begin(struct neap_tx *tx, struct neap_change *change,
                   const struct neap_attempt_key *key, int64_t lock_timeout_ms,
                   struct neap_error *err)
{
    memset(tx, 0, sizeof *tx);
    tx->change = change;
    if (!take_session(tx, change->pending != NULL, err) ||
        (key != NULL && !neap_attempts_take(&change->attempts, change->target->control,
                                            change->run->id, key, &tx->attempt, err)))
        return false;
    /* A unit that was committed has put back what it set; after anything else the
     * session is made as new. */
    if (change->target->direct && !change->target->tidy &&
        !(pg_send_text(tx->work, "discard all", 0, NULL, err) && pg_sync(tx->work, err)))
        return false;
    change->target->tidy = false;
    static const char begin[] = "begin isolation level read committed read write";
    if (!pg_send_text(tx->work, begin, 0, NULL, err) || !send_limits(tx, lock_timeout_ms, err))
        return false;
    /* The watch needs the process id now; a pooler's is known by the answer alone. No
     * sync: had BEGIN failed, what follows would be run behind it, each in a transaction
     * of its own. */
    if (change->target->direct)
        neap_watch_backend(change->watch, PQbackendPID(pg_raw(tx->work)));
    else
        pg_ask(tx->work);
    return send_role(tx->work, change->env->role, true, err);
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
    change->target->tidy = false;
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
    static const char sql[] = "select pg_catalog.set_config('transaction_read_only', 'on', true),"
                              " pg_catalog.set_config('row_security', 'off', true)";
    return pg_send_text(tx->work, "savepoint neap_verify", 0, NULL, err) &&
           pg_send_text(tx->work, sql, 0, NULL, err);
}

bool neap_tx_look_end(struct neap_tx *tx, struct neap_error *err)
{
    return pg_send_text(tx->work, "rollback to savepoint neap_verify", 0, NULL, err);
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

bool neap_tx_record(struct neap_tx *tx, struct neap_history_entry *entry, struct neap_error *err)
{
    struct neap_change *change = tx->change;
    bool known = tx->xid[0] != '\0' || pg_settle(tx->work, err); /* nobody waited yet */
    if (!known || !neap_audit_write(change->audit, err))
        return false;
    entry->attempt = &tx->attempt;
    entry->xid = tx->xid;
    entry->lease_token = lease_token(change->lease);
    tx->copied = true;
    /* By the login role, which ends the script's own as well; the record does the rest,
     * and passes the fence again: the script could reach the lease's row as well. */
    bool sent = pg_send_text(tx->work, "reset session authorization", 0, NULL, err) &&
                neap_history_record(tx->work, entry, change->audit, err) &&
                (change->target->direct || send_name(tx, err));
    neap_hash_wipe(&tx->attempt.secret);
    return sent;
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
    pg_op_free(tx->commit);
    tx->commit = NULL;
    if (tx->work != tx->change->target->work) /* dropped meanwhile: it rolled back */
        tx->work = NULL;
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
    struct pg_client *control = change->target == NULL ? NULL : change->target->control;
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
