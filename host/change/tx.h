/* SPDX-License-Identifier: MIT
 *
 * The host's transaction around a step. Private to host/change.
 */
#ifndef NEAP_CHANGE_TX_H
#define NEAP_CHANGE_TX_H

#include "host/change/change.h"
#include "host/change/history.h"

struct neap_tx {
    struct neap_change *change;
    struct pg_client *work;
    struct pg_op *commit; /* once it is sent; owned (commit.h) */
    struct neap_attempt attempt;
    char xid[24]; /* as the server gave it right after BEGIN; "" until its answer */
    int backend_pid;
    bool unreplicated;  /* the server said so while COMMIT waited */
    bool copied;        /* events were queued in this transaction */
    bool unsynced;      /* the journal could not be made durable after COMMIT was sent */
    sig_atomic_t doubt; /* the run's, before COMMIT was sent */
};

/* Queues BEGIN, the limits, the fence and the role on a work session that is as
 * the host set it; does not wait for the answers. `key`: what will be recorded; its
 * attempt is announced before (waits for that). NULL: nothing will be. Behind a
 * COMMIT that was not answered yet (change->pending) it begins with the guard on it. */
bool neap_tx_begin(struct neap_tx *tx, struct neap_change *change,
                   const struct neap_attempt_key *key, int64_t lock_timeout_ms,
                   struct neap_error *err);
/* Queues what must commit with the work: history row, settled steps, events, which
 * are written to the journal before. */
bool neap_tx_record(struct neap_tx *tx, struct neap_history_entry *entry, struct neap_error *err);
/* Adds an event when a session led to a standby promoted in mid-run; once. */
void neap_tx_record_failover(struct neap_change *change);
/* Has the work session's notices told to this transaction. */
void neap_tx_listen(struct neap_tx *tx);
/* Rolls back whatever state it is in; drops the session when that fails. */
void neap_tx_rollback(struct neap_tx *tx);

/* Read-only part of a transaction: between the two nothing can be written, and
 * what was set is put back. The savepoint neap_verify stays: who goes on in the same
 * transaction releases it. */
bool neap_tx_look_begin(struct neap_tx *tx, struct neap_error *err);
bool neap_tx_look_end(struct neap_tx *tx, struct neap_error *err);

/* Readies the work session for a step without a transaction: limits and role for
 * the session, no pipeline. */
bool neap_tx_session(struct neap_change *change, int64_t lock_timeout_ms, struct neap_error *err);

/* A transaction of the work session that can only look, in one snapshot, with limits
 * and role that end with it. Ended in every case, also when begin was refused. */
bool neap_tx_snapshot_begin(struct neap_change *change, int64_t lock_timeout_ms,
                            struct neap_error *err);
void neap_tx_snapshot_end(struct neap_change *change);

/* Records events that do not travel with a transaction: journal durable, copy
 * through the control session as well as it goes. False: audit.journal. */
bool neap_tx_publish(struct neap_change *change, struct neap_error *err);

#endif
