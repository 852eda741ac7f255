/* SPDX-License-Identifier: MIT
 *
 * What each statement of a rehearsal costs and holds: time, rows, WAL, the locks it took
 * on relations that were there before, what it read in full and what it wrote anew. Private
 * to host/proof.
 */
#ifndef NEAP_PROOF_REHEARSE_MEASURE_H
#define NEAP_PROOF_REHEARSE_MEASURE_H

#include <jansson.h>

#include "host/change/observer.h"
#include "host/change/target.h"

struct neap_measure;

/* `copy` is the target that scripts run on; `watcher` another session there, idle between
 * the calls, that sees what is committed. Both borrowed. */
struct neap_measure *neap_measure_new(struct neap_target *copy, struct pg_client *watcher);
void neap_measure_free(struct neap_measure *measure); /* NULL is allowed */
/* On a copy beside the target: a script that changes what the whole server shares (roles,
 * databases, their settings) is refused, before it is committed. */
void neap_measure_guard(struct neap_measure *measure, bool on);
/* For struct neap_recorder, between begin and end. */
const struct neap_observer *neap_measure_observer(const struct neap_measure *measure);

/* One migration in one direction begins: nothing is known. */
bool neap_measure_begin(struct neap_measure *measure, struct neap_error *err);
/* It is over. Sets up_ms, verify_ms, locks, wal_bytes and temp_bytes of `unit`, or of the way
 * back down_ms and down_locks; adds to its statements. Also after a failure, of what was
 * seen until then. */
bool neap_measure_end(struct neap_measure *measure, enum neap_script_part part, json_t *unit,
                      struct neap_error *err);

#endif
