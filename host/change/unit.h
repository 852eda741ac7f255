/* SPDX-License-Identifier: MIT
 *
 * What unit.c and steps.c share. Private to host/change.
 */
#ifndef NEAP_CHANGE_UNIT_H
#define NEAP_CHANGE_UNIT_H

#include "host/change/tx.h"

/* Calls one part with the run's rule, limits and database set for it. */
struct neap_part_call {
    struct neap_script *script;
    size_t index;
    enum neap_script_part part;
    bool transaction;
    bool index_ours;
    bool goes_on; /* as in neap_script_db */
};
bool neap_unit_call(struct neap_change *change, const struct neap_part_call *call,
                    struct neap_error *err);

/* The event's common fields: id, name, direction. New reference. */
json_t *neap_unit_fields(const struct neap_unit *unit);
/* Fills what a history row says of the unit; *bundle is the caller's to free. */
void neap_unit_entry(const struct neap_change *change, const struct neap_unit *unit,
                     const struct neap_script_def *def, struct neap_history_entry *entry,
                     void **bundle);
/* What must hold before anything of the unit is sent: what it requires is applied,
 * and there is a way back where it is to go back. */
bool neap_unit_check(const struct neap_change *change, const struct neap_unit *unit,
                     const struct neap_script_def *def, struct neap_error *err);
/* Lock timeout, deadlock, serialization: worth another attempt. */
bool neap_unit_is_retryable(const struct neap_error *err);
/* The step's limits: its own, else the environment's. */
int64_t neap_unit_timeout_ms(const struct neap_change *change, const struct neap_script_def *def);
int64_t neap_unit_lock_timeout_ms(const struct neap_change *change,
                                  const struct neap_script_def *def);

/* Turns the cause in `err` into "stopped <where>", as partial, with the commands
 * that go on; `what` stands. (In steps.c.) */
void neap_unit_partial(const char *id, const char *where, const char *what, struct neap_error *err);

/* steps.c: the unit without a transaction. */
bool neap_steps_run(struct neap_change *change, const struct neap_unit *unit,
                    struct neap_script *script, struct neap_outcome *outcome,
                    struct neap_error *err);

#endif
