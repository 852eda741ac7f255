/* SPDX-License-Identifier: MIT
 *
 * The lease: the right to be the one runner on a target, with a fencing token,
 * kept in neap.lease of the target. Acquired and renewed by short transactions
 * on a control connection; never an open transaction, never an advisory lock
 * (FACTS P1, P2, P6). Works through a transaction pooler, by expiry alone.
 *
 * The row's unique key is the token. A heartbeat changes no key, so it passes
 * the FOR KEY SHARE that a step's transaction holds; a takeover changes the
 * token, so it waits for that transaction, and afterwards the stale holder's
 * fence finds no row.
 */
#ifndef NEAP_BINDINGS_LOCK_LEASE_H
#define NEAP_BINDINGS_LOCK_LEASE_H

#include "bindings/pg/pg_client.h"

struct lease_holder {
    int64_t token;
    char *run_id, *actor, *host;
    int backend_pid;                /* 0 through a pooler */
    char *acquired_at, *expires_at; /* UTC, the server's clock */
    bool expired;                   /* by the server's clock */
    bool backend_gone;              /* known only on a direct connection */
    bool foreign;                   /* written on another server or database: history, no lock */
};
void lease_holder_clear(struct lease_holder *holder);

struct lease_opts {
    const char *run_id;
    const char *actor;
    const char *host;
    const char *identity; /* "<system identifier>/<database oid>" */
    bool direct;          /* false: through a pooler, expiry decides alone */
    int64_t ttl_ms;       /* how long it is ours without a heartbeat; default 30 s */
    int64_t wait_ms;      /* how long to wait for a holder; 0: not at all */
};

struct lease;

/* Claims the lease, waiting at most wait_ms and saying for whom each second. A
 * takeover first waits until backends of the earlier run (application_name
 * "neap:<run id>"), and of those that one waited for, have ended; of a run through
 * a pooler, those that are idle belong to the pool and are not waited for. Errors:
 * lease.held with the holder (run id, actor, host, pid, since, expiry). `control`
 * is borrowed until release. */
bool lease_claim(struct pg_client *control, const struct lease_opts *opts, struct lease **out,
                 struct neap_error *err);
int64_t lease_token(const struct lease *lease);
/* Heartbeat every ttl/3 from a loop timer. The run is stopped with lease.lost when
 * the row is no longer ours; when validity (measured on the monotonic clock from
 * before sending) is over while the loop ran; and, when it was the loop that did
 * not run, unless the next beat finds our token still there and renews it. */
/* For who must know why a session was lost: waits (at most 2 s) for the beat in
 * flight. Once lost, the run is stopped with lease.lost. */
bool lease_is_lost(struct lease *lease);
/* False, and lease.lost, once it is known to be lost; asks nobody. */
bool lease_check(const struct lease *lease, struct neap_error *err);
/* Queues the fence on `work`, inside its transaction: `select … for key share`
 * of our token; raises on the server when it is gone (SQLSTATE NP002, so that
 * nothing after it in the pipeline runs): lease.lost. Does not wait. */
bool lease_fence(struct lease *lease, struct pg_client *work, struct neap_error *err);
/* After a COMMIT whose answer was lost: takes a new token for the same run, which
 * waits (at most wait_ms, then lock.timeout) until no transaction fenced with the
 * old one is left. What it did is then visible, or never happened. `control` may
 * be another session than before and is borrowed from now on. lease.lost when
 * another run has it. */
bool lease_refence(struct lease *lease, struct pg_client *control, int64_t wait_ms,
                   struct neap_error *err);
/* Lets go of it; best effort, at most 2 s. Frees. NULL is allowed. */
void lease_release(struct lease *lease);

/* *found false: nobody holds it (or never did). A run that ended while it waited
 * for an older one's sessions is its holder until these have ended. */
bool lease_look(struct pg_client *control, const char *identity, bool *found,
                struct lease_holder *out, struct neap_error *err);
/* Ends another's lease whatever its expiry: a new token, then waits for (and
 * with `terminate` ends) the holder's backends, at most opts->wait_ms. When they
 * do not end: lease.held; the lease is expired then, and the next claim waits for
 * them too. Nobody holds it and no session outlived its run: nothing is done. */
bool lease_break(struct pg_client *control, const struct lease_opts *opts, bool terminate,
                 struct neap_error *err);

/* DDL of neap.lease, for host/change's schema. One statement each, NULL-ended. */
extern const char *const lease_schema_sql[];

#endif
