/* SPDX-License-Identifier: MIT
 *
 * Who looks at a run from outside, statement by statement (a rehearsal). With one, the
 * statements of a script are no longer on their way all at once: each may be waited for
 * before the next is sent. Without one nothing is slower or different.
 */
#ifndef NEAP_CHANGE_OBSERVER_H
#define NEAP_CHANGE_OBSERVER_H

#include "host/base/run.h"
#include "host/script/script.h"

/* What came of a statement, when its answer is there. */
struct neap_observed {
    int64_t call_id;
    int64_t row_count; /* -1: not known */
    int64_t duration_us;
    bool failed;
};

struct neap_observer {
    /* A part begins; `transaction`: the host's is around its statements. */
    void (*part_begin)(void *arg, enum neap_script_part part, bool transaction);
    /* A statement is about to be sent; may wait for those before it. False: it is not. */
    bool (*statement)(void *arg, const struct neap_gate_call *call, int64_t call_id,
                      struct neap_error *err);
    /* In a loop turn: must not wait. */
    void (*settled)(void *arg, const struct neap_observed *observed);
    /* The part is over; its statements may still be on their way. May wait. False: it
     * failed after all. `err` NULL: it failed already. */
    bool (*part_end)(void *arg, struct neap_error *err);
    void *arg;
};

#endif
