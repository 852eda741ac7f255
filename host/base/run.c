/* SPDX-License-Identifier: MIT
 *
 * The run context and the one gate for effects. The stop is sticky: what was
 * the first reason stays the reason, whatever is tried afterwards.
 */
#include "host/base/run.h"

#include "host/base/clock.h"

#define SIGNAL_PATIENCE_MS 1400 /* three such waits end within the 5 s of a signal */

void neap_run_init(struct neap_run *run)
{
    *run = (struct neap_run){.deadline_ms = NEAP_FOREVER, .allowed = NEAP_ALLOW_ALL};
    neap_run_id(run->id);
}

void neap_run_clear(struct neap_run *run)
{
    neap_error_clear(&run->stop);
}

void neap_run_stop(struct neap_run *run, enum neap_error_code code, const char *message)
{
    if (run->stop.code == NEAP_OK)
        neap_error_set(&run->stop, code, "%s", message ? message : neap_error_row(code)->summary);
}

/* A signal wins over a deadline: it is what the operator did. */
bool neap_run_stopping(struct neap_run *run)
{
    sig_atomic_t number = run->stop_signal;

    if (run->stop.code != NEAP_OK)
        return true;
    if (number == SIGINT)
        neap_run_stop(run, NEAP_ERR_RUN_INTERRUPTED, "interrupted");
    else if (number != 0)
        neap_run_stop(run, NEAP_ERR_RUN_TERMINATED,
                      number == SIGHUP ? "terminated: the terminal is gone" : "terminated");
    else if (run->deadline_ms != NEAP_FOREVER && neap_clock_ms() >= run->deadline_ms)
        neap_run_stop(run, NEAP_ERR_RUN_DEADLINE, "the deadline passed");
    return run->stop.code != NEAP_OK;
}

bool neap_run_check(struct neap_run *run, struct neap_error *err)
{
    if (!neap_run_stopping(run))
        return true;
    neap_error_copy(err, &run->stop);
    return false;
}

int64_t neap_run_patience_ms(const struct neap_run *run, int64_t limit_ms)
{
    return run->stop_signal != 0 && limit_ms > SIGNAL_PATIENCE_MS ? SIGNAL_PATIENCE_MS : limit_ms;
}

void neap_run_rearm(struct neap_run *run)
{
    if (run->stop.code == NEAP_ERR_RUN_DEADLINE)
        neap_error_clear(&run->stop);
}

/* What each effect does, for the sentence "pg.exec may not write in verify". */
static const char *deed_of(enum neap_effect effect)
{
    switch (effect) {
    case NEAP_EFFECT_PURE:
        return "run";
    case NEAP_EFFECT_READ:
        return "read";
    case NEAP_EFFECT_TX:
        return "write";
    case NEAP_EFFECT_WRITE:
        break;
    }
    return "write what no transaction undoes";
}

static const char *remedy_of(unsigned allowed)
{
    if (allowed & NEAP_ALLOW(NEAP_EFFECT_TX))
        return "Here only what the transaction can undo may be done; use `transaction = false` "
               "with `steps` for the rest.";
    if (allowed & NEAP_ALLOW(NEAP_EFFECT_READ))
        return "Here a script may only read.";
    return "Here a script may not touch a server; do it in `up`, `verify` or `down`.";
}

static void refuse(const struct neap_run *run, const struct neap_gate_call *call,
                   struct neap_error *err)
{
    neap_error_set(err, NEAP_ERR_GATE_REFUSED, "%s may not %s %s",
                   call->name ? call->name : "this call", deed_of(call->effect),
                   run->rule ? run->rule : "here");
    neap_error_hint(err, "%s", remedy_of(run->allowed));
    if (call->statement)
        neap_error_sql(err, call->statement, 0);
    if (call->where_file)
        neap_error_where(err, call->where_file, call->where_line);
}

bool neap_gate_pass(struct neap_run *run, const struct neap_gate_call *call, int64_t *call_id,
                    struct neap_error *err)
{
    *call_id = -1;
    if (!neap_run_check(run, err))
        return false;
    if (!(run->allowed & NEAP_ALLOW(call->effect))) {
        refuse(run, call, err);
        return false;
    }
    return !run->gate.record || run->gate.record(run->gate.sink, call, call_id, err);
}

void neap_gate_settle(struct neap_run *run, const struct neap_gate_result *result)
{
    if (run->gate.settle && result->call_id >= 0)
        run->gate.settle(run->gate.sink, result);
}
