/* SPDX-License-Identifier: MIT
 *
 * A migration without a transaction: a list of steps, each journalled before and
 * after. A step in doubt (begun, no end known) is settled by its own verify:
 * true means done, false means it is run again. A step that fails is undone by
 * its own `down`; what cannot be undone stops as partial with the next commands.
 */
#include "host/change/unit.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/change/commit.h"

/* One walk over the steps. */
struct walk {
    struct neap_change *change;
    const struct neap_unit *unit;
    struct neap_script *script;
    const struct neap_script_def *def;
    struct neap_step_rows rows;
    char attempt[NEAP_UUID_SIZE];
};

static const struct neap_step_row *row_of(const struct walk *walk, size_t index)
{
    for (size_t i = 0; i < walk->rows.count; i++)
        if ((size_t)walk->rows.rows[i].index == index)
            return &walk->rows.rows[i];
    return NULL;
}

static const char *state_of(const struct walk *walk, size_t index)
{
    const struct neap_step_row *row = row_of(walk, index);
    return row == NULL ? "" : row->state;
}

static bool is_state(const struct walk *walk, size_t index, const char *state)
{
    return strcmp(state_of(walk, index), state) == 0;
}

/* Done by its own word; or by history's, when it has none (its down stopped before
 * it came to this step). */
static bool is_done(const struct walk *walk, size_t index)
{
    const struct neap_step_row *row = row_of(walk, index);
    return row == NULL ? walk->unit->applied : strcmp(row->state, "done") == 0;
}

/* Begun in either direction, and its end is not known. */
static bool is_in_doubt(const struct walk *walk, size_t index)
{
    return is_state(walk, index, "intent") || is_state(walk, index, "undo") ||
           is_state(walk, index, "failed");
}

static void set_state(struct walk *walk, size_t index, const char *state)
{
    for (size_t i = 0; i < walk->rows.count; i++)
        if ((size_t)walk->rows.rows[i].index == index) {
            free(walk->rows.rows[i].state);
            walk->rows.rows[i].state = neap_strdup(state);
            return;
        }
    walk->rows.rows =
        neap_realloc(walk->rows.rows, (walk->rows.count + 1) * sizeof *walk->rows.rows);
    struct neap_step_row *row = &walk->rows.rows[walk->rows.count++];
    memset(row, 0, sizeof *row);
    row->index = (int)index;
    row->state = neap_strdup(state);
    row->token = walk->unit->source->token;
}

static bool any_done(const struct walk *walk)
{
    for (size_t i = 0; i < walk->def->step_count; i++)
        if (is_done(walk, i) || is_in_doubt(walk, i))
            return true;
    return false;
}

/* What the walk leaves behind when it fails: some of it, or nothing. */
static bool is_halfway(const struct walk *walk)
{
    if (walk->unit->direction == NEAP_UP)
        return any_done(walk);
    for (size_t i = 0; i < walk->def->step_count; i++)
        if (!is_done(walk, i))
            return true;
    return false;
}

/* What a second signal may say from now on. */
static void set_doubt(const struct walk *walk)
{
    walk->change->run->doubt = is_halfway(walk) ? NEAP_ERR_STEP_PARTIAL : NEAP_OK;
}

/* Journal first (durable), then neap.step: a step's effect is never older than
 * the record that it was meant to be. */
static bool record(struct walk *walk, size_t index, const char *state, struct neap_error *err)
{
    struct neap_change *change = walk->change;
    json_t *fields = neap_unit_fields(walk->unit);
    char *event = neap_format("step.%s", state);
    neap_json_set(fields, "step", neap_json_text(walk->def->steps[index].name));
    neap_json_set(fields, "index", json_integer((json_int_t)index));
    if (walk->def->steps[index].irreversible != NULL)
        neap_json_set(fields, "irreversible", neap_json_text(walk->def->steps[index].irreversible));
    neap_audit_add(change->audit, event, fields);
    free(event);
    char *id = neap_strdup(walk->unit->id);
    char *name = neap_strdup(walk->def->steps[index].name);
    char *text = neap_strdup(state);
    struct neap_step_row row = {.id = id,
                                .index = (int)index,
                                .name = name,
                                .state = text,
                                .run_id = change->run->id,
                                .attempt = walk->attempt,
                                .token = walk->unit->source->token};
    change->run->doubt = NEAP_ERR_STEP_PARTIAL;
    pg_cleanup(change->target->control, true);
    bool recorded =
        neap_tx_publish(change, err) && neap_history_step(change->target->control, &row, err);
    pg_cleanup(change->target->control, false);
    free(id);
    free(name);
    free(text);
    if (recorded) {
        set_state(walk, index, state);
        set_doubt(walk);
    }
    return recorded;
}

static void arm_deadline(struct walk *walk)
{
    neap_run_rearm(walk->change->run);
    walk->change->run->deadline_ms =
        neap_clock_deadline_ms(neap_unit_timeout_ms(walk->change, walk->def));
}

static bool call_part(struct walk *walk, size_t index, enum neap_script_part part, bool index_ours,
                      struct neap_error *err)
{
    struct neap_part_call call = {
        .script = walk->script, .index = index, .part = part, .index_ours = index_ours};
    return neap_tx_session(walk->change, neap_unit_lock_timeout_ms(walk->change, walk->def), err) &&
           neap_unit_call(walk->change, &call, err);
}

/* In a snapshot of its own that nothing can be written in. */
static bool call_verify(struct walk *walk, size_t index, struct neap_error *err)
{
    struct neap_part_call call = {
        .script = walk->script, .index = index, .part = NEAP_PART_VERIFY, .transaction = true};
    struct neap_change *change = walk->change;
    bool done = neap_tx_snapshot_begin(change, neap_unit_lock_timeout_ms(change, walk->def), err) &&
                neap_unit_call(change, &call, err);
    neap_tx_snapshot_end(change);
    return done;
}

/* "Does not exist" (class 42, undefined object): in verify an answer, that the step is
 * not done; after an interrupted down whose verify is false, that it had been done. */
static bool is_undefined(const struct neap_error *err)
{
    static const char *const states[] = {"42P01", "42703", "42704", "42883", "3F000", NULL};
    for (const char *const *state = states; *state != NULL; state++)
        if (strcmp(err->sqlstate, *state) == 0)
            return true;
    return false;
}

/* False, or an error of its own, or that what it looks at is not there. Any other error
 * of the server's (a right, a value) says nothing of the step. */
static bool is_answer(const struct neap_error *err)
{
    return err->code == NEAP_ERR_VERIFY_FAILED && (err->sqlstate[0] == '\0' || is_undefined(err));
}

/* *done: what verify says. False: verify could not be asked. */
static bool settle_doubt(struct walk *walk, size_t index, bool *done, struct neap_error *err)
{
    const struct neap_step_def *step = &walk->def->steps[index];
    if (step->unverified != NULL) {
        neap_error_set(err, NEAP_ERR_STEP_DOUBT,
                       "step %s of migration %s was interrupted, and it has no verify: %s",
                       step->name, walk->unit->id, step->unverified);
        neap_error_hint(err,
                        "Look at the target, then say what it is: `neap repair %s --mark applied "
                        "--reason TEXT` or `neap repair %s --mark pending --reason TEXT`.",
                        walk->unit->id, walk->unit->id);
        neap_error_where(err, walk->unit->source->files[0].path, 0);
        return false;
    }
    arm_deadline(walk);
    *done = call_verify(walk, index, err);
    if (!*done && !is_answer(err))
        return false;
    neap_log(NEAP_LOG_INFO, "step.settled", "step %s was interrupted; its verify says it is %s",
             step->name, *done ? "done" : "not done");
    neap_error_clear(err);
    return true;
}

void neap_unit_partial(const char *id, const char *where, const char *what, struct neap_error *err)
{
    struct neap_error cause = {0};
    neap_error_move(&cause, err);
    neap_error_copy(err, &cause);
    err->code = NEAP_ERR_STEP_PARTIAL;
    free(err->message);
    err->message = neap_format("migration %s stopped %s: %s", id, where, cause.message);
    neap_error_detail(err, "%s%s%s", what, cause.detail == NULL ? "" : " ",
                      cause.detail == NULL ? "" : cause.detail);
    neap_error_hint(err,
                    "Mend the cause, then `neap resume`. To go back: `neap down --only %s`. If you "
                    "settled it by hand: `neap repair %s --mark applied|pending --reason TEXT`.",
                    id, id);
    neap_error_clear(&cause);
}

static bool has_way_back(const struct walk *walk)
{
    for (size_t i = 0; i < walk->def->step_count; i++)
        if (walk->def->steps[i].irreversible != NULL)
            return false;
    return true;
}

static void say_partial(const struct walk *walk, size_t index, const char *what,
                        struct neap_error *err)
{
    char *where = neap_format("at step %s", walk->def->steps[index].name);
    neap_unit_partial(walk->unit->id, where, what, err);
    free(where);
    if (!has_way_back(walk))
        neap_error_hint(err,
                        "Mend the cause, then `neap resume`. There is no way back. If you settled "
                        "it by hand: `neap repair %s --mark applied|pending --reason TEXT`.",
                        walk->unit->id);
}

/* Nothing was done, so `down` may not run: it would undo somebody else's work (the
 * table was there already, and that is why the step failed). */
static void leave_alone(struct walk *walk, size_t index, struct neap_error *err)
{
    struct neap_error second = {0};
    neap_log(NEAP_LOG_WARN, "step.refused", "step %s failed (%s); it had changed nothing",
             walk->def->steps[index].name, err->message);
    if (!record(walk, index, "undone", &second))
        say_partial(walk, index, "It had changed nothing, but that could not be recorded.", err);
    else if (any_done(walk))
        say_partial(walk, index, "The step changed nothing; the steps before it stand.", err);
    neap_error_clear(&second);
}

static void tell_down(struct walk *walk, const struct neap_way_back_place *place,
                      const char *result, const char *text)
{
    struct neap_way_back_turn turn = {"down", result, text};
    neap_way_back_turn(walk->change, place, &turn);
}

/* Undoes the step that failed. Leaves `err` the cause, as partial when something
 * stays behind. */
static void compensate(struct walk *walk, size_t index, struct neap_error *err)
{
    struct neap_error second = {0};
    struct neap_way_back_place place = {walk->unit->id, walk->def->steps[index].name};
    if (walk->def->steps[index].irreversible != NULL) {
        tell_down(walk, &place, "none", walk->def->steps[index].irreversible);
        record(walk, index, "failed", NULL);
        say_partial(walk, index, "The step has no way back, so what it did stays.", err);
        neap_way_back_stop(walk->change, &place, NULL, err);
        return;
    }
    arm_deadline(walk);
    if (!neap_run_check(walk->change->run, NULL)) {
        say_partial(walk, index, "Interrupted; the step's verify settles it in the next run.", err);
        return;
    }
    neap_log(NEAP_LOG_WARN, "step.undo", "step %s failed (%s); undoing it",
             walk->def->steps[index].name, err->message);
    bool down = record(walk, index, "undo", &second) &&
                call_part(walk, index, NEAP_PART_DOWN, true, &second);
    const char *why = second.message == NULL ? "no reason given" : second.message;
    tell_down(walk, &place, down ? "undone" : "failed", down ? "it is undone" : why);
    bool undone = down && neap_way_back_compare(walk->change, &place, &second) &&
                  record(walk, index, "undone", &second);
    if (!undone) {
        record(walk, index, "failed", NULL);
        char *what = neap_format("Undoing it failed too: %s.", second.message);
        say_partial(walk, index, what, err);
        neap_way_back_stop(walk->change, &place, &second, err);
        free(what);
    } else if (any_done(walk)) {
        say_partial(walk, index, "The step was undone; the steps before it stand.", err);
    }
    neap_error_clear(&second);
}

static bool fence(struct walk *walk, struct neap_error *err)
{
    struct pg_client *control = walk->change->target->control;
    return lease_fence(walk->change->lease, control, err) && pg_settle(control, err);
}

/* Another run has the lease: it settles the step, and nothing may be undone or
 * recorded here. `err` becomes lease.lost then. */
static bool is_taken(struct walk *walk, size_t index, struct neap_error *err)
{
    struct neap_change *change = walk->change;
    struct neap_error cause = {0};
    bool taken = err->code == NEAP_ERR_LEASE_LOST || lease_is_lost(change->lease);
    if (!taken && !pg_is_lost(change->target->control)) {
        pg_cleanup(change->target->control, true);
        taken = !fence(walk, &cause) && cause.code == NEAP_ERR_LEASE_LOST;
        pg_failure_clear(change->target->control);
        pg_cleanup(change->target->control, false);
    }
    neap_error_clear(&cause);
    if (!taken)
        return false;
    neap_error_move(&cause, err);
    neap_error_set(err, NEAP_ERR_LEASE_LOST,
                   "another run took the lease while step %s of migration %s was under way",
                   walk->def->steps[index].name, walk->unit->id);
    neap_error_detail(err, "That run settles the step. Here it ended with: %s.", cause.message);
    neap_error_clear(&cause);
    return true;
}

static bool run_step(struct walk *walk, size_t index, bool again, struct neap_error *err)
{
    int64_t effects = walk->change->recorder.effect_count;
    arm_deadline(walk);
    if (!neap_way_back_before(walk->change, again, err) || !fence(walk, err) ||
        !record(walk, index, "intent", err))
        return false;
    neap_log(NEAP_LOG_INFO, "step.begin", "%s %s: step %s", walk->unit->id, walk->unit->name,
             walk->def->steps[index].name);
    bool done = call_part(walk, index, NEAP_PART_UP, again, err) && call_verify(walk, index, err);
    if (done)
        return record(walk, index, "done", err);
    if (is_taken(walk, index, err))
        return false;
    bool is_untouched = !again && walk->change->recorder.effect_count == effects;
    if (neap_unit_is_retryable(err)) {
        if (is_untouched) /* else it stays in doubt: the next attempt settles it */
            record(walk, index, "undone", NULL);
        return false;
    }
    if (is_untouched)
        leave_alone(walk, index, err);
    else
        compensate(walk, index, err);
    return false;
}

static bool walk_up(struct walk *walk, struct neap_error *err)
{
    for (size_t i = 0; i < walk->def->step_count; i++) {
        bool again = is_in_doubt(walk, i);
        bool done = is_done(walk, i);
        if (again && !settle_doubt(walk, i, &done, err)) {
            if (err->code != NEAP_ERR_STEP_DOUBT && !neap_unit_is_retryable(err))
                say_partial(walk, i, "The step is in doubt.", err);
            return false;
        }
        if (again && done && !record(walk, i, "done", err))
            return false;
        if (!done && !run_step(walk, i, again, err))
            return false;
    }
    return true;
}

static bool undo_step(struct walk *walk, size_t index, struct neap_error *err)
{
    bool still_there = true;
    bool again = is_in_doubt(walk, index);
    if (again && walk->def->steps[index].unverified == NULL &&
        !settle_doubt(walk, index, &still_there, err))
        return false;
    arm_deadline(walk);
    if (!fence(walk, err) || !record(walk, index, "undo", err))
        return false;
    if (!call_part(walk, index, NEAP_PART_DOWN, again, err)) {
        if (!again || still_there || !is_undefined(err))
            return false;
        neap_error_clear(err);
    }
    return record(walk, index, "undone", err);
}

static bool walk_down(struct walk *walk, struct neap_error *err)
{
    for (size_t i = walk->def->step_count; i-- > 0;) {
        if (!is_done(walk, i) && !is_in_doubt(walk, i))
            continue;
        if (undo_step(walk, i, err))
            continue;
        if (!is_taken(walk, i, err) && !neap_unit_is_retryable(err))
            say_partial(walk, i, "Steps after it were undone.", err);
        return false;
    }
    return true;
}

/* The whole is done: one row in history, and its steps are settled. */
static bool record_whole(struct walk *walk, int64_t began_ms, struct neap_outcome *outcome,
                         struct neap_error *err)
{
    struct neap_tx tx;
    struct neap_history_entry entry;
    void *bundle = NULL;
    arm_deadline(walk);
    struct neap_attempt_key key = {walk->unit->id, neap_unit_action(walk->unit->direction)};
    int64_t lock_timeout_ms = neap_unit_lock_timeout_ms(walk->change, walk->def);
    bool done = neap_tx_begin(&tx, walk->change, &key, lock_timeout_ms, err);
    neap_unit_entry(walk->change, walk->unit, walk->def, &entry, &bundle);
    if (done) {
        entry.duration_ms = neap_clock_ms() - began_ms;
        entry.settle_steps = true;
        done = neap_tx_record(&tx, &entry, err) && neap_commit_send(&tx, err) &&
               neap_commit_end(&tx, walk->unit, outcome, err);
    }
    if (!done)
        neap_tx_rollback(&tx);
    free(bundle);
    return done;
}

/* A step that is done stays done when the file is mended afterwards, as long as it
 * is still the step of that name in that place. */
static bool is_adoptable(const struct walk *walk, const struct neap_step_row *row)
{
    return strcmp(row->state, "done") == 0 && (size_t)row->index < walk->def->step_count &&
           strcmp(walk->def->steps[row->index].name, row->name) == 0;
}

static void adopt(const struct walk *walk, const struct neap_step_row *row)
{
    json_t *fields = neap_unit_fields(walk->unit);
    neap_json_set(fields, "step", neap_json_text(row->name));
    neap_audit_add(walk->change->audit, "step.adopted", fields);
    neap_log(NEAP_LOG_WARN, "step.adopted",
             "migration %s was changed after its step %s was done; the step is taken as done",
             walk->unit->id, row->name);
}

/* A step in doubt is settled by the verify of the script that began it, and by no
 * other. */
static bool check_rows(const struct walk *walk, struct neap_error *err)
{
    for (size_t i = 0; i < walk->rows.count; i++) {
        const struct neap_step_row *row = &walk->rows.rows[i];
        if (strcmp(row->state, "undone") == 0 ||
            neap_hash_equal(&row->token, &walk->unit->source->token))
            continue;
        if (is_adoptable(walk, row)) {
            adopt(walk, row);
            continue;
        }
        neap_error_set(err, NEAP_ERR_HISTORY_CHANGED,
                       "migration %s was changed while its step %s is %s", walk->unit->id,
                       row->name, strcmp(row->state, "done") == 0 ? "done" : "in doubt");
        neap_error_hint(err,
                        "Restore the file as it was, then `neap resume`; or settle it: `neap "
                        "repair %s --mark applied|pending --reason TEXT`.",
                        walk->unit->id);
        return false;
    }
    return true;
}

static bool check_walk(const struct walk *walk, struct neap_error *err)
{
    if (walk->change->target->direct)
        return check_rows(walk, err);
    neap_error_set(err, NEAP_ERR_DB_POOLER,
                   "migration %s runs without a transaction, which a pooler cannot carry",
                   walk->unit->id);
    neap_error_hint(err, "Connect to the server itself for this one.");
    return false;
}

/* Whatever the reason, "nothing changed" would be a lie. What is tried again keeps
 * its own code until the attempts are given up. */
static void tell_halfway(const struct walk *walk, struct neap_outcome *outcome,
                         struct neap_error *err)
{
    static const enum neap_error_code own[] = {NEAP_ERR_STEP_PARTIAL,   NEAP_ERR_STEP_DOUBT,
                                               NEAP_ERR_COMMIT_UNKNOWN, NEAP_ERR_HISTORY_CHANGED,
                                               NEAP_ERR_DB_POOLER,      NEAP_ERR_LEASE_LOST};
    if (!is_halfway(walk))
        return;
    outcome->unchanged = false;
    bool has_words = neap_unit_is_retryable(err);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        has_words = has_words || err->code == own[i];
    if (!has_words)
        neap_unit_partial(walk->unit->id, "halfway", "What was done before stands.", err);
}

bool neap_steps_run(struct neap_change *change, const struct neap_unit *unit,
                    struct neap_script *script, struct neap_outcome *outcome,
                    struct neap_error *err)
{
    struct walk walk = {
        .change = change, .unit = unit, .script = script, .def = neap_script_def(script)};
    int64_t began_ms = neap_clock_ms();
    neap_uuid(walk.attempt);
    neap_recorder_begin(&change->recorder, change->run, unit->source, true);
    bool done = neap_history_steps(change->target->control, unit->id, &walk.rows, err) &&
                check_walk(&walk, err);
    if (done)
        set_doubt(&walk);
    done = done && (unit->direction == NEAP_UP ? walk_up(&walk, err) : walk_down(&walk, err));
    outcome->statements = change->recorder.statement_count;
    outcome->rows = change->recorder.row_count;
    neap_recorder_end(&change->recorder, change->run);
    if (done)
        done = record_whole(&walk, began_ms, outcome, err);
    if (!done)
        tell_halfway(&walk, outcome, err);
    neap_step_rows_clear(&walk.rows);
    return done;
}
