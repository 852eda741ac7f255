/* SPDX-License-Identifier: MIT
 *
 * Locks and rewrites of a statement that no transaction can be put around (CREATE INDEX
 * CONCURRENTLY, VACUUM, …): they are gone when it ends, so that another session looks
 * while it runs. What it holds for less than a look is not seen. Private to host/proof.
 */
#ifndef NEAP_PROOF_REHEARSE_ALONE_H
#define NEAP_PROOF_REHEARSE_ALONE_H

#include "bindings/pg/pg_client.h"

struct neap_alone_seen {
    char oid[16];
    int rank; /* of the strongest lock, as in sql_look of rehearse_measure.c; 0: none */
    bool rewritten;
};

struct neap_alone {
    struct pg_client *watcher;
    struct neap_timer *timer;
    char *pid;         /* of the session that runs it */
    char *oids, *node; /* arrays: relations that were there before, and their files */
    bool asking;
    struct neap_alone_seen *seen;
    size_t count, capacity;
};

/* Before it is sent. */
bool neap_alone_begin(struct neap_alone *alone, struct pg_client *watcher, int pid,
                      struct neap_error *err);
/* It has ended: `seen` is filled. */
bool neap_alone_end(struct neap_alone *alone, struct neap_error *err);
void neap_alone_clear(struct neap_alone *alone);

#endif
