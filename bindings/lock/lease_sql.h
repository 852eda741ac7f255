/* SPDX-License-Identifier: MIT
 *
 * The SQL of neap.lease: how it is made, looked at, claimed and kept. Internal
 * to the lease.
 */
#ifndef NEAP_BINDINGS_LOCK_LEASE_SQL_H
#define NEAP_BINDINGS_LOCK_LEASE_SQL_H

#include "bindings/lock/lease.h"

/* What a look finds, beside the holder. */
struct lease_row {
    struct lease_holder holder;
    bool released;
    int session_count; /* of the holder's run and of those it was taken from, without ours
                          and a pooler's idle ones */
    int earlier_count; /* of session_count, those of the runs it was taken from */
    char *sessions;    /* "pid 12 (active), pid 13 (idle)", or NULL */
};
void lease_row_clear(struct lease_row *row);

/* *there false: no row, or no schema. Takes no lock on the row. */
bool lease_sql_look(struct pg_client *control, const char *identity, bool *there,
                    struct lease_row *out, struct neap_error *err);

/* Counts the sessions again, of row->holder's run and of the runs that the lease as
 * it is now was taken from. */
bool lease_sql_sessions(struct pg_client *control, struct lease_row *row, struct neap_error *err);

/* Takes the lease when it still is the token that was seen (0: no row) and is
 * free by the server's own look; `gone`: the holder's backend is known to be
 * gone. *token 0: it was not free. Waits for a transaction that holds the fence
 * at most half a second, then lock.timeout. */
bool lease_sql_claim(struct pg_client *control, const struct lease_opts *opts, int64_t seen,
                     bool gone, int64_t *token, struct neap_error *err);
/* A new token whoever holds it; the row stays the holder's, and expired. */
bool lease_sql_break(struct pg_client *control, int64_t seen, int64_t *token,
                     struct neap_error *err);
/* Ends the sessions of a run and of those the lease was taken from, but not this
 * one. */
bool lease_sql_terminate(struct pg_client *control, const char *run_id, struct neap_error *err);

extern const char lease_sql_beat[];    /* $1 token, $2 ttl in ms */
extern const char lease_sql_release[]; /* $1 token */
extern const char lease_sql_fence[];   /* $1 token */

#endif
