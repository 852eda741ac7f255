/* SPDX-License-Identifier: MIT
 *
 * An fdatasync that nobody has to stand still for. Internal to the audit; called
 * by one thread.
 */
#ifndef NEAP_CHANGE_AUDIT_SYNC_H
#define NEAP_CHANGE_AUDIT_SYNC_H

#include <stdbool.h>

struct neap_audit_syncer;

/* Begins to sync what was written to `fd` by now, behind the sync before it, which it
 * waits for. The first one makes the thread; freed with neap_audit_syncer_free. False:
 * there is no thread or no descriptor for it, and nothing was begun. */
bool neap_audit_syncer_begin(struct neap_audit_syncer **syncer, int fd);
/* Waits for the sync under way. The errno of the first one that failed; 0: what was
 * begun is durable. NULL: 0. */
int neap_audit_syncer_end(struct neap_audit_syncer *syncer);
/* Waits for it, and ends the thread. NULL: nothing. */
void neap_audit_syncer_free(struct neap_audit_syncer *syncer);

#endif
