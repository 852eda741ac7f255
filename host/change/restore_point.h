/* SPDX-License-Identifier: MIT
 *
 * Where in the server's WAL a run begins to change the target: what a recovery to that
 * point in time stops at. Only environments that have gates or an archive are marked:
 * the rest would pay two round trips for what nobody uses.
 */
#ifndef NEAP_CHANGE_RESTORE_POINT_H
#define NEAP_CHANGE_RESTORE_POINT_H

#include "host/change/change.h"

/* Makes the restore point neap_<run id> where the environment asks for it and the role may,
 * and records it in the event `restore_point` {name, lsn, timeline, why}, durable on return.
 * Where it may not, name is null and why says so: the LSN is a target too. Before the first
 * unit, outside a transaction; waits. False: the server or the journal is lost. */
bool neap_restore_point(struct neap_change *change, struct neap_error *err);

#endif
