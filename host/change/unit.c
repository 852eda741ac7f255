/* SPDX-License-Identifier: MIT
 *
 * One migration in one direction, in one transaction: attempts, their order and
 * their end. Each attempt begins with a fresh script, so that nothing of a
 * failed one is left. Knows neither history's plan nor the command line.
 */
#include "host/change/unit.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/change/commit.h"

#define PAUSE_FIRST_MS 100 /* doubled each time … */
#define PAUSE_MAX_MS 5000  /* … up to this; half of it is jitter */

int64_t neap_unit_timeout_ms(const struct neap_change *change, const struct neap_script_def *def)
{
    return def->timeout_ms > 0 ? def->timeout_ms : change->env->timeout_ms;
}

int64_t neap_unit_lock_timeout_ms(const struct neap_change *change,
                                  const struct neap_script_def *def)
{
    return def->lock_timeout_ms > 0 ? def->lock_timeout_ms : change->env->lock_timeout_ms;
}

bool neap_unit_is_retryable(const struct neap_error *err)
{
    return err->code == NEAP_ERR_LOCK_TIMEOUT || err->code == NEAP_ERR_LOCK_DEADLOCK ||
           err->code == NEAP_ERR_DB_SERIALIZATION;
}

json_t *neap_unit_fields(const struct neap_unit *unit)
{
    json_t *fields = json_object();
    neap_json_set(fields, "id", neap_json_text(unit->id));
    neap_json_set(fields, "name", neap_json_text(unit->name));
    neap_json_set(fields, "direction", neap_json_text(unit->direction == NEAP_UP ? "up" : "down"));
    return fields;
}

const char *neap_unit_action(enum neap_direction direction)
{
    return direction == NEAP_UP ? "apply" : "undo";
}

void neap_unit_entry(const struct neap_change *change, const struct neap_unit *unit,
                     const struct neap_script_def *def, struct neap_history_entry *entry,
                     void **bundle)
{
    size_t length = 0;
    *bundle = NULL;
    if (unit->direction == NEAP_UP)
        neap_source_bundle(unit->source, bundle, &length);
    *entry = (struct neap_history_entry){
        .id = unit->id,
        .name = unit->name,
        .action = neap_unit_action(unit->direction),
        .actor = change->actor->name,
        .reason = change->reason,
        .ticket = change->ticket != NULL ? change->ticket : def->ticket,
        .summary = def->summary,
        .exact = &unit->source->exact,
        .token = &unit->source->token,
        .bundle = *bundle,
        .bundle_length = length,
    };
}

bool neap_unit_call(struct neap_change *change, const struct neap_part_call *call,
                    struct neap_error *err)
{
    bool verify = call->part == NEAP_PART_VERIFY;
    struct neap_run *run = change->run;
    run->allowed = verify ? NEAP_ALLOW_READ : call->transaction ? NEAP_ALLOW_TX : NEAP_ALLOW_ALL;
    run->rule = verify              ? "in verify"
                : call->transaction ? "in a transaction"
                                    : "in a step without a transaction";
    struct neap_script_db db = {
        .client = change->target->work,
        .control = change->target->control,
        .conninfo = change->env->url,
        .transaction = call->transaction,
        .read_only = verify,
        .index_ours = call->index_ours,
        .goes_on = call->goes_on,
    };
    const struct neap_observer *observer = change->recorder.observer;
    if (observer != NULL)
        observer->part_begin(observer->arg, call->part, call->transaction);
    bool done = neap_script_call(call->script, call->index, call->part, &db, err);
    if (observer != NULL)
        done = observer->part_end(observer->arg, done ? err : NULL) && done;
    run->allowed = NEAP_ALLOW_ALL;
    run->rule = NULL;
    return done;
}

/* What goes wrong at the end of `up` speaks in the middle of verify, whose fault it is
 * not: nobody waited for its answer before. That is a statement, or a deferred
 * constraint that does not hold. */
static void name_deferred(const struct neap_tx *tx, const struct neap_unit *unit,
                          const struct pg_op *deferred, struct neap_error *err)
{
    const struct neap_error *cause = pg_op_error(deferred);
    const struct neap_error *first = pg_failure(tx->work);
    if (cause == NULL || !pg_op_is_done(deferred) || cause->code == NEAP_ERR_DB_LOST)
        return;
    bool is_statement = cause->code == NEAP_ERR_DB_ABORTED;
    bool is_echo = err->code == NEAP_ERR_VERIFY_FAILED || err->code == NEAP_ERR_DB_ABORTED ||
                   err->code == cause->code;
    if ((is_statement && first == NULL) || !is_echo)
        return; /* a stop, a lost lease: it says itself what it is */
    neap_error_clear(err);
    neap_error_copy(err, is_statement ? first : cause);
    if (is_statement)
        return;
    neap_error_where(err, unit->source->files[0].path, 0);
    neap_error_hint(err,
                    "A deferred constraint does not hold at the end of `%s`; mend the script, "
                    "then run it again.",
                    unit->direction == NEAP_UP ? "up" : "down");
}

/* Deferred constraints speak now, not at COMMIT, where nobody could be named. */
static bool send_deferred(struct neap_tx *tx, struct pg_op **out, struct neap_error *err)
{
    struct pg_statement statement = {.sql = "set constraints all immediate", .call_id = -1};
    return pg_send(tx->work, &statement, out, err);
}

static bool run_body(struct neap_tx *tx, const struct neap_unit *unit, struct neap_script *script,
                     struct neap_error *err)
{
    struct pg_op *deferred = NULL;
    struct neap_part_call call = {.script = script,
                                  .transaction = true,
                                  .part =
                                      unit->direction == NEAP_UP ? NEAP_PART_UP : NEAP_PART_DOWN,
                                  .goes_on = true};
    if (!neap_unit_call(tx->change, &call, err))
        return false;
    if (!send_deferred(tx, &deferred, err))
        return false;
    call.part = NEAP_PART_VERIFY;
    call.goes_on = false;
    bool looked = unit->direction == NEAP_DOWN || neap_tx_look_begin(tx, err);
    pg_push(tx->work); /* the server is at `up` while verify is made ready */
    if (unit->direction == NEAP_UP)
        looked = looked && neap_unit_call(tx->change, &call, err) && neap_tx_look_end(tx, err);
    bool done = looked && pg_wait(tx->work, deferred, err); /* without a verify nobody waited */
    if (!done)
        name_deferred(tx, unit, deferred, err);
    pg_op_free(deferred);
    return done;
}

static void record_failure(struct neap_change *change, const struct neap_unit *unit,
                           const struct neap_outcome *outcome, const struct neap_error *cause)
{
    neap_recorder_flush(&change->recorder);
    neap_tx_record_failover(change);
    json_t *fields = neap_unit_fields(unit);
    neap_json_set(fields, "attempt_number", json_integer(outcome->attempts));
    neap_json_set(fields, "duration_ms", json_integer(outcome->duration_ms));
    neap_json_set(fields, "error", neap_json_error(cause));
    neap_json_set(fields, "waited_ms", json_integer(neap_watch_take_waited_ms(change->watch)));
    neap_json_set(fields, "blockers", neap_watch_blockers_json(change->watch));
    neap_audit_add(change->audit, "step.failed", fields);
    if (!neap_tx_publish(change, NULL))
        neap_log(NEAP_LOG_ERROR, "audit.journal",
                 "the failure could not be recorded in the journal");
}

/* What became of the unit before this one. False: it failed, and this one with it;
 * `err` is the earlier one's then. */
static bool confirm_earlier(struct neap_change *change, struct neap_outcome *outcome,
                            struct neap_error *err)
{
    struct neap_error cause = {0};
    if (change->pending == NULL)
        return true;
    struct neap_unit earlier = change->pending->unit;
    struct neap_outcome earlier_outcome = change->pending->outcome;
    bool confirmed = neap_commit_confirm(change, &cause);
    if (!confirmed) {
        neap_error_clear(err);
        neap_error_move(err, &cause);
        outcome->earlier = true;
        outcome->again = neap_unit_is_retryable(err);
        outcome->unchanged = err->code != NEAP_ERR_COMMIT_UNKNOWN;
        record_failure(change, &earlier, &earlier_outcome, err);
    }
    neap_error_clear(&cause);
    return confirmed;
}

/* What is about to be committed, and what it took. */
static void add_commit(const struct neap_tx *tx, const struct neap_unit *unit,
                       const struct neap_script_def *def, const struct neap_history_entry *entry,
                       const struct neap_outcome *outcome)
{
    const struct neap_step_def *step = &def->steps[0];
    json_t *fields = neap_unit_fields(unit);
    neap_recorder_flush(&tx->change->recorder);
    neap_json_set(fields, "attempt", neap_json_text(tx->attempt.uuid));
    neap_json_set(fields, "xid", neap_json_text(tx->xid));
    neap_json_set(fields, "attempt_number", json_integer(outcome->attempts));
    neap_json_set(fields, "duration_ms", json_integer(entry->duration_ms));
    neap_json_set(fields, "statement_count", json_integer(outcome->statements));
    neap_json_set(fields, "row_count", json_integer(outcome->rows));
    neap_json_set(fields, "unverified", neap_json_text(step->unverified));
    neap_json_set(fields, "irreversible", neap_json_text(step->irreversible));
    neap_audit_add(tx->change->audit, "step.commit", fields);
}

/* Records and COMMIT. */
static bool end_transaction(struct neap_tx *tx, const struct neap_unit *unit,
                            struct neap_history_entry *entry, struct neap_outcome *outcome,
                            struct neap_error *err)
{
    struct neap_change *change = tx->change;
    if (!neap_tx_record(tx, entry, err) || !neap_commit_send(tx, err))
        return false;
    outcome->unconfirmed = neap_commit_may_wait(change, unit);
    if (outcome->unconfirmed)
        neap_commit_defer(tx, unit, outcome, neap_clock_ms() - entry->duration_ms);
    return outcome->unconfirmed || neap_commit_end(tx, unit, outcome, err);
}

static bool try_transaction(struct neap_change *change, const struct neap_unit *unit,
                            struct neap_script *script, struct neap_outcome *outcome,
                            struct neap_error *err)
{
    const struct neap_script_def *def = neap_script_def(script);
    struct neap_tx tx;
    struct neap_history_entry entry;
    void *bundle = NULL;
    int64_t began_ms = neap_clock_ms();
    change->run->deadline_ms = neap_clock_deadline_ms(neap_unit_timeout_ms(change, def));
    neap_recorder_begin(&change->recorder, change->run, unit->source, false);
    struct neap_attempt_key key = {unit->id, neap_unit_action(unit->direction)};
    bool done = neap_tx_begin(&tx, change, &key, neap_unit_lock_timeout_ms(change, def), err);
    /* Now, while the server is at the COMMIT before, and not between the last answer
     * and the records. */
    neap_unit_entry(change, unit, def, &entry, &bundle);
    done = done && run_body(&tx, unit, script, err);
    outcome->statements = change->recorder.statement_count;
    outcome->rows = change->recorder.row_count;
    done = confirm_earlier(change, outcome, err) && done;
    if (done) {
        entry.duration_ms = neap_clock_ms() - began_ms;
        add_commit(&tx, unit, def, &entry, outcome);
        done = end_transaction(&tx, unit, &entry, outcome, err);
    }
    if (!done)
        neap_tx_rollback(&tx);
    free(bundle);
    return done;
}

static bool check_requires(const struct neap_change *change, const struct neap_unit *unit,
                           const struct neap_script_def *def, struct neap_error *err)
{
    if (unit->direction == NEAP_DOWN || def->requires == NULL || change->is_applied == NULL)
        return true;
    for (char **id = def->requires; *id != NULL; id++) {
        if (change->is_applied(change->arg, *id))
            continue;
        neap_error_set(err, NEAP_ERR_HISTORY_REQUIRES,
                       "migration %s requires %s, which is not applied", unit->id, *id);
        neap_error_hint(err, "Apply %s first: `neap up --only %s`.", *id, *id);
        neap_error_where(err, unit->source->files[0].path, 0);
        return false;
    }
    return true;
}

static bool check_reversible(const struct neap_unit *unit, const struct neap_script_def *def,
                             struct neap_error *err)
{
    if (unit->direction == NEAP_UP)
        return true;
    for (size_t i = 0; i < def->step_count; i++) {
        if (def->steps[i].irreversible == NULL)
            continue;
        neap_error_set(err, NEAP_ERR_POLICY_REFUSED, "migration %s has no way back: %s", unit->id,
                       def->steps[i].irreversible);
        neap_error_hint(err, "Write a new migration that goes forward instead.");
        neap_error_where(err, unit->source->files[0].path, 0);
        return false;
    }
    return true;
}

bool neap_unit_check(const struct neap_change *change, const struct neap_unit *unit,
                     const struct neap_script_def *def, struct neap_error *err)
{
    return check_requires(change, unit, def, err) && check_reversible(unit, def, err);
}

static int last_word(void *arg)
{
    struct neap_change *change = arg;
    neap_audit_last_word(change->audit, "run.killed",
                         "the script did not stop at its deadline; the watchdog ended the process");
    enum neap_error_code code = NEAP_ERR_RUN_DEADLINE;
    if (change->recorder.durable) /* the step stays in doubt: the next run settles it */
        code = NEAP_ERR_STEP_PARTIAL;
    else if (change->run->doubt != NEAP_OK) /* the COMMIT before, whose answer nobody read */
        code = (enum neap_error_code)change->run->doubt;
    return neap_error_row(code)->exit_status;
}

static bool run_script(struct neap_change *change, const struct neap_unit *unit,
                       struct neap_script *script, struct neap_outcome *outcome,
                       struct neap_error *err)
{
    const struct neap_script_def *def = neap_script_def(script);
    if (!neap_unit_check(change, unit, def, err))
        return false;
    if (def->transaction)
        return try_transaction(change, unit, script, outcome, err);
    return confirm_earlier(change, outcome, err) &&
           neap_steps_run(change, unit, script, outcome, err);
}

static bool try_once(struct neap_change *change, const struct neap_unit *unit,
                     struct neap_outcome *outcome, struct neap_error *err)
{
    struct neap_run *run = change->run;
    neap_run_rearm(run);
    run->deadline_ms = neap_clock_deadline_ms(change->env->timeout_ms);
    struct neap_script_opts opts = {.loop = change->loop,
                                    .memory_bytes = change->env->memory_bytes,
                                    .last_word = last_word,
                                    .last_word_arg = change};
    struct neap_script *script = NULL;
    bool down = unit->direction == NEAP_DOWN;
    bool done = neap_run_check(run, err) && (down || neap_way_back_first(change, err)) &&
                neap_script_open(&opts, unit->source, &script, err) &&
                run_script(change, unit, script, outcome, err);
    neap_script_close(script);
    neap_recorder_end(&change->recorder, run);
    run->deadline_ms = NEAP_FOREVER;
    if (!outcome->unconfirmed)
        confirm_earlier(change, outcome, err); /* what failed here never came to it */
    return done;
}

static int64_t pause_ms(int attempt)
{
    int64_t pause = PAUSE_FIRST_MS;
    for (int i = 1; i < attempt && pause < PAUSE_MAX_MS; i++)
        pause = pause * 2 < PAUSE_MAX_MS ? pause * 2 : PAUSE_MAX_MS;
    struct neap_hash hash;
    int64_t seed[2] = {neap_clock_us(), attempt};
    neap_hash_bytes(seed, sizeof seed, &hash); /* jitter, so that two runs part ways */
    return pause / 2 + (int64_t)hash.bytes[0] * pause / 512;
}

/* A stop during the pause is the reason, and not what the attempt failed with. */
static void give_up_stopped(const struct neap_change *change, struct neap_error *err)
{
    struct neap_error cause = {0};
    neap_error_move(&cause, err);
    neap_run_check(change->run, err);
    neap_error_detail(err, "It waited for another attempt after: %s.", cause.message);
    neap_error_clear(&cause);
}

static void give_up(const struct neap_change *change, const struct neap_unit *unit,
                    const struct neap_outcome *outcome, struct neap_error *err)
{
    char spent[NEAP_DURATION_SIZE];
    const char *blockers = neap_watch_blockers(change->watch);
    int attempts = outcome->attempts;
    neap_duration_text(outcome->duration_ms, spent);
    if (neap_run_stopping(change->run))
        give_up_stopped(change, err);
    else
        neap_error_detail(err, "Gave up after %d %s in %s.%s%s", attempts,
                          attempts == 1 ? "attempt" : "attempts", spent,
                          blockers == NULL ? "" : " Blocked by ", blockers == NULL ? "" : blockers);
    if (!outcome->unchanged) /* steps without a transaction */
        neap_unit_partial(unit->id, "halfway", "What was done before stands.", err);
}

/* False when the budget is spent or the run is to stop. */
static bool wait_for_retry(struct neap_change *change, const struct neap_unit *unit, int attempt,
                           int64_t budget_end_ms, const struct neap_error *cause)
{
    int64_t pause = pause_ms(attempt);
    if (neap_clock_ms() + pause >= budget_end_ms)
        return false;
    const char *blockers = neap_watch_blockers(change->watch);
    neap_log(NEAP_LOG_WARN, "lock.retry",
             "%s %s: attempt %d: %s; trying again in %lld ms; blocked by %s", unit->id, unit->name,
             attempt, cause->message, (long long)pause,
             blockers == NULL ? "nobody who was still there" : blockers);
    bool slept = neap_loop_sleep(change->loop, pause, "the next attempt", NULL);
    neap_watch_paused(change->watch, pause);
    return slept;
}

static void record_wait(struct neap_change *change, const struct neap_unit *unit)
{
    int64_t waited_ms = neap_watch_take_waited_ms(change->watch);
    if (waited_ms == 0)
        return;
    json_t *fields = neap_unit_fields(unit);
    neap_json_set(fields, "what", neap_json_text("lock"));
    neap_json_set(fields, "ms", json_integer(waited_ms));
    neap_json_set(fields, "blockers", neap_watch_blockers_json(change->watch));
    neap_audit_add(change->audit, "step.waited", fields);
}

/* A server that answered neither the statement nor its cancel is closed; what
 * ended the run is still the signal, or the deadline. And who takes over a lease
 * may end the sessions of the run that had it: then that is the reason. */
static void blame_stop(struct neap_change *change, struct neap_error *err)
{
    struct neap_error lost = {0};
    if (err->code != NEAP_ERR_DB_LOST || (change->run->stop.code == NEAP_OK &&
                                          (change->lease == NULL || !lease_is_lost(change->lease))))
        return;
    neap_error_move(&lost, err);
    neap_run_check(change->run, err);
    neap_error_detail(err, "Then %s.", lost.message);
    neap_error_clear(&lost);
}

bool neap_change_step(struct neap_change *change, const struct neap_unit *unit,
                      struct neap_outcome *outcome, struct neap_error *err)
{
    memset(outcome, 0, sizeof *outcome);
    neap_watch_forget(change->watch);
    int64_t began_ms = neap_clock_ms();
    int64_t budget_end_ms = neap_clock_deadline_ms(change->env->lock_budget_ms);
    neap_log_context(change->run->id, unit->source->files[0].path,
                     unit->direction == NEAP_UP ? "up" : "down");
    bool done = false;
    for (;;) {
        outcome->attempts++;
        outcome->unchanged = true;
        done = try_once(change, unit, outcome, err);
        outcome->duration_ms = neap_clock_ms() - began_ms;
        if (done || outcome->earlier)
            break;
        blame_stop(change, err);
        if (err->code == NEAP_ERR_COMMIT_UNKNOWN || err->code == NEAP_ERR_STEP_PARTIAL ||
            err->code == NEAP_ERR_STEP_DOUBT)
            outcome->unchanged = false;
        record_failure(change, unit, outcome, err);
        if (!neap_unit_is_retryable(err))
            break;
        if (!wait_for_retry(change, unit, outcome->attempts, budget_end_ms, err)) {
            give_up(change, unit, outcome, err);
            break;
        }
        neap_error_clear(err);
    }
    if (done)
        record_wait(change, unit);
    neap_log_context(change->run->id, NULL, NULL);
    return done;
}
