/* SPDX-License-Identifier: MIT
 *
 * Attempts: the one-time right to write one row of history. The host announces
 * each over the control session (neap.attempt gets the hash of a random secret),
 * and neap.record(), in the step's own transaction, takes the secret as a bound
 * parameter. A script that calls neap.record() has no secret, and its role no
 * right to announce one (HAZARDS A11).
 */
#ifndef NEAP_CHANGE_ATTEMPT_H
#define NEAP_CHANGE_ATTEMPT_H

#include "bindings/pg/pg_client.h"
#include "host/base/hash.h"

struct neap_attempt {
    char uuid[NEAP_UUID_SIZE]; /* how an unknown COMMIT is settled */
    struct neap_hash secret;   /* never printed, never in SQL text, wiped after use */
};

/* What a row will be about. Borrowed. */
struct neap_attempt_key {
    const char *id, *action;
};

struct neap_attempts_item;
/* The announced ones that were not used yet. Zero is empty. */
struct neap_attempts {
    struct neap_attempts_item *items;
    size_t count, capacity, next;
    struct pg_op *sent; /* the last announcement, while its answer is not known */
};

/* Announces an attempt for each key (one at least) in one statement on `control`, of
 * run `run_id`, without waiting: a plan of a thousand costs one round trip, and a
 * script's first statement hides it. */
bool neap_attempts_announce(struct neap_attempts *attempts, struct pg_client *control,
                            const char *run_id, const struct neap_attempt_key *keys, size_t count,
                            struct neap_error *err);
/* Takes one for the key, announcing it now when none is left (a retry); waits until
 * the server has it. Before BEGIN: through a pooler of one session the control
 * session's statement would wait for the work session's transaction. */
bool neap_attempts_take(struct neap_attempts *attempts, struct pg_client *control,
                        const char *run_id, const struct neap_attempt_key *key,
                        struct neap_attempt *out, struct neap_error *err);
/* Wipes and frees all. */
void neap_attempts_clear(struct neap_attempts *attempts);

#endif
