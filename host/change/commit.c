/* SPDX-License-Identifier: MIT
 *
 * Sends COMMIT, hears of it, and finds out when nobody heard. Surprising: the next
 * unit may be on its way before the answer came. Between the two stands a sync,
 * which ends an error's reach, so the next transaction begins with a guard that
 * raises unless this one's row is in history (FACTS V4).
 */
#include "host/change/commit.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/change/unit.h"

#define COMMIT_WAIT_MS 10000  /* at least this long for COMMIT's answer, also after a stop */
#define SETTLE_WAIT_MS 30000  /* how long a lost server is asked for the outcome */
#define REFENCE_WAIT_MS 10000 /* how long the old session may take to end */
#define LEAVE_WAIT_MS 2000    /* how long before it is ended */

enum verdict { COMMIT_DONE, COMMIT_REFUSED, COMMIT_UNKNOWN };

bool neap_commit_send(struct neap_tx *tx, struct neap_error *err)
{
    struct pg_statement statement = {.sql = "commit", .call_id = -1, .shielded = true};
    struct neap_run *run = tx->change->run;
    if (!neap_run_check(run, err)) /* the last moment to turn back */
        return false;
    tx->doubt = run->doubt;
    run->doubt = NEAP_ERR_COMMIT_UNKNOWN;
    if (!pg_send(tx->work, &statement, &tx->commit, err)) {
        run->doubt = tx->doubt;
        return false;
    }
    pg_sync(tx->work, NULL); /* lost: the wait for the answer says so */
    tx->unsynced = !neap_audit_sync_begin(tx->change->audit, NULL);
    return true;
}

/* The tag comes before the transaction's state does: an answer is both, unless more
 * was sent behind it. */
static bool is_answered(void *arg)
{
    const struct neap_tx *tx = arg;
    bool follows = tx->change->pending != NULL;
    return pg_op_is_done(tx->commit) &&
           (follows || pg_is_lost(tx->work) || pg_transaction_status(tx->work) != PQTRANS_ACTIVE);
}

static enum verdict judge(const struct neap_tx *tx, struct neap_error *err)
{
    const struct neap_error *failure = pg_op_error(tx->commit);
    bool follows = tx->change->pending != NULL;
    if (failure == NULL && strcmp(pg_op_tag(tx->commit), "COMMIT") == 0 &&
        (follows || pg_transaction_status(tx->work) == PQTRANS_IDLE))
        return COMMIT_DONE;
    const struct neap_error *first = pg_failure(tx->work);
    /* A session's last word answers what was not answered yet, be it done or not. */
    bool is_last_word = first != NULL && first->code == NEAP_ERR_DB_LOST;
    if (failure != NULL && failure->code == NEAP_ERR_DB_ABORTED && first != NULL && !is_last_word)
        failure = first; /* a record before it failed: COMMIT was not run */
    else if (pg_is_lost(tx->work) || is_last_word) {
        neap_error_set(err, NEAP_ERR_COMMIT_UNKNOWN, "the connection was lost during COMMIT");
        return COMMIT_UNKNOWN;
    }
    if (failure != NULL)
        neap_error_copy(err, failure);
    else
        neap_error_set(err, NEAP_ERR_DB_ABORTED, "the server answered COMMIT with %s",
                       pg_op_tag(tx->commit));
    return COMMIT_REFUSED;
}

static enum verdict await(struct neap_tx *tx, struct neap_error *err)
{
    bool follows = tx->change->pending != NULL;
    int64_t deadline = neap_clock_deadline_ms(COMMIT_WAIT_MS);
    if (tx->change->run->deadline_ms != NEAP_FOREVER && tx->change->run->deadline_ms > deadline)
        deadline = tx->change->run->deadline_ms;
    struct neap_wait wait = {.done = is_answered,
                             .arg = tx,
                             .cleanup = true,
                             .deadline_ms = deadline,
                             .what = "the answer to COMMIT"};
    pg_cleanup(tx->work, true);
    if (!is_answered(tx) && !neap_loop_wait(tx->change->loop, &wait, NULL))
        pg_cancel(tx->work); /* once; then the answer, or a lost connection, decides */
    enum verdict verdict = judge(tx, err);
    pg_op_free(tx->commit);
    tx->commit = NULL;
    if (!pg_is_lost(tx->work) && !follows)
        pg_settle(tx->work, NULL);
    pg_cleanup(tx->work, false);
    return verdict;
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

/* In the middle of a pipeline no timeout of the server's runs: a session whose network
 * fell silent keeps its transaction. Only one that waits for us is ended, because what
 * is at COMMIT gets there; and not through a pooler, whose sessions are others' too. */
static void end_session(const struct neap_tx *tx, struct pg_client *control)
{
    static const char sql[] =
        "select pg_catalog.pg_terminate_backend(a.pid) from pg_catalog.pg_stat_activity a"
        " where a.pid = $1::pg_catalog.int4 and a.application_name = $2"
        " and a.wait_event = 'ClientRead'";
    if (!tx->change->target->direct || tx->backend_pid == 0)
        return;
    char *pid = neap_format("%d", tx->backend_pid);
    char *name = neap_format("neap:%s", tx->change->run->id);
    const char *params[] = {pid, name};
    pg_exec_text(control, sql, 2, params, NULL, NULL); /* no right to: it is waited for */
    pg_failure_clear(control);
    free(pid);
    free(name);
}

/* Whoever takes the lease's token, we or another run, waits for the transaction
 * that fenced itself with it: whatever became of COMMIT is decided then. */
static bool is_decided(const struct neap_tx *tx, struct pg_client *control, int64_t wait_ms,
                       struct neap_error *err)
{
    bool decided =
        lease_refence(tx->change->lease, control, wait_ms, err) || err->code == NEAP_ERR_LEASE_LOST;
    pg_failure_clear(control);
    return decided;
}

static bool ask_attempt(struct neap_tx *tx, bool *committed, struct neap_error *err)
{
    struct neap_change *change = tx->change;
    if (!need_control(change->target, err))
        return false;
    struct pg_client *control = change->target->control;
    pg_cleanup(control, true);
    pg_failure_clear(control);
    bool decided = is_decided(tx, control, LEAVE_WAIT_MS, err);
    if (!decided && !pg_is_lost(control)) {
        neap_error_clear(err);
        end_session(tx, control);
        decided = is_decided(tx, control, REFENCE_WAIT_MS, err);
    }
    bool asked = decided && neap_history_has_attempt(control, tx->attempt.uuid, committed, err);
    pg_cleanup(control, false);
    return asked;
}

static bool settle(struct neap_tx *tx, bool *committed, struct neap_error *err)
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

static bool is_committed(struct neap_tx *tx, struct neap_error *err)
{
    bool committed = false;
    switch (await(tx, err)) {
    case COMMIT_DONE:
        return true;
    case COMMIT_REFUSED:
        return false;
    case COMMIT_UNKNOWN:
        break;
    }
    if (!settle(tx, &committed, err))
        return false;
    if (!committed)
        neap_error_set(err, NEAP_ERR_DB_LOST,
                       "the connection was lost during COMMIT; it did not take effect");
    return committed;
}

bool neap_commit_end(struct neap_tx *tx, const struct neap_unit *unit, struct neap_outcome *outcome,
                     struct neap_error *err)
{
    struct neap_change *change = tx->change;
    bool committed = is_committed(tx, err);
    if (committed || err->code != NEAP_ERR_COMMIT_UNKNOWN)
        change->run->doubt = committed ? NEAP_OK : tx->doubt;
    if (!committed)
        return false;
    neap_error_clear(err);
    if (change->pending == NULL)
        change->target->tidy = tx->work != NULL; /* put back what it set: neap_tx_record */
    neap_audit_copied(change->audit, true);
    tx->copied = false;
    tx->unsynced = !neap_audit_sync_end(change->audit, NULL) || tx->unsynced;
    outcome->unreplicated = tx->unreplicated;
    neap_tx_record_failover(change);
    json_t *fields = neap_unit_fields(unit);
    neap_json_set(fields, "attempt", neap_json_text(tx->attempt.uuid));
    if (tx->unreplicated)
        neap_json_set(fields, "unreplicated", json_true());
    neap_audit_add(change->audit, "step.committed", fields);
    outcome->audit_incomplete = !neap_audit_write(change->audit, NULL) || tx->unsynced;
    return true;
}

bool neap_commit_may_wait(const struct neap_change *change, const struct neap_unit *unit)
{
    /* A pooler may give the two transactions to two sessions; a standby's answer may
     * take any time, and the next unit's deadline is not to pay for it. */
    return unit->more && unit->direction == NEAP_UP && change->target->direct &&
           !change->target->awaited;
}

void neap_commit_defer(struct neap_tx *tx, const struct neap_unit *unit,
                       const struct neap_outcome *outcome, int64_t began_ms)
{
    struct neap_commit_pending *pending = neap_alloc(sizeof *pending);
    *pending = (struct neap_commit_pending){
        .tx = *tx, .unit = *unit, .outcome = *outcome, .began_ms = began_ms};
    pending->unit.source = NULL;
    neap_tx_listen(&pending->tx);
    tx->change->target->tidy = true; /* when it is committed; else it all rolls back */
    tx->change->pending = pending;
}

bool neap_commit_confirm(struct neap_change *change, struct neap_error *err)
{
    struct neap_commit_pending *pending = change->pending;
    bool committed = neap_commit_end(&pending->tx, &pending->unit, &pending->outcome, err);
    change->pending = NULL;
    pending->outcome.duration_ms = neap_clock_ms() - pending->began_ms;
    if (!committed)
        neap_tx_rollback(&pending->tx);
    else if (change->confirmed != NULL)
        change->confirmed(change->confirmed_arg, &pending->outcome);
    free(pending);
    return committed;
}
