/* SPDX-License-Identifier: MIT
 *
 * COMMIT and what becomes of it. Private to host/change. It travels behind the
 * records, when the answers to all work are known, and never with work: a killed
 * client's server would run on and commit. Its success is the tag and nothing
 * else. What nobody heard is found out from history.
 */
#ifndef NEAP_CHANGE_COMMIT_H
#define NEAP_CHANGE_COMMIT_H

#include "host/change/tx.h"

/* Queues COMMIT; the last moment to turn back is before it. Does not wait for the
 * answer; the journal is made durable while the server is at it, and is when
 * neap_commit_end returns. */
bool neap_commit_send(struct neap_tx *tx, struct neap_error *err);
/* Waits for the answer, settles one that nobody heard, and records the event. True:
 * committed. False: it was not (the server's word), or commit.unknown: the server
 * could not be asked. */
bool neap_commit_end(struct neap_tx *tx, const struct neap_unit *unit, struct neap_outcome *outcome,
                     struct neap_error *err);

/* One whose answer nobody has waited for yet. */
struct neap_commit_pending {
    struct neap_tx tx;
    struct neap_unit unit; /* id and name are the plan's; no source */
    struct neap_outcome outcome;
    int64_t began_ms;
};
/* May the answer to the unit's COMMIT wait until the next unit's first answer? */
bool neap_commit_may_wait(const struct neap_change *change, const struct neap_unit *unit);
/* Takes the transaction over as change->pending. */
void neap_commit_defer(struct neap_tx *tx, const struct neap_unit *unit,
                       const struct neap_outcome *outcome, int64_t began_ms);
/* neap_commit_end for change->pending, which is not NULL and is over afterwards; tells
 * change->confirmed, or rolls back. */
bool neap_commit_confirm(struct neap_change *change, struct neap_error *err);

#endif
