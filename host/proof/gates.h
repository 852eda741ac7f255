/* SPDX-License-Identifier: MIT
 *
 * What an environment asks for before and after a change: preflight, a backup that was
 * proved, the rehearsal on its copy, and that what was applied is what was verified. The
 * lease is held from the backup on, so that nobody changes the target in between. Each
 * gate is an event `gate` of the run, also one that was skipped.
 */
#ifndef NEAP_PROOF_GATES_H
#define NEAP_PROOF_GATES_H

#include "bindings/backup/backup_fingerprint.h"
#include "host/proof/preflight.h"
#include "host/proof/proof.h"

/* A way back needs no rehearsal, and a change that stopped halfway passed its gates before it
 * began: the backup of then is its way back, not one of the half. */
enum neap_gates_way { NEAP_GATES_UP, NEAP_GATES_DOWN, NEAP_GATES_RESUME };

struct neap_gates_opts {
    enum neap_gates_way way;
    const char *command;                     /* "up", for hints */
    bool skip_backup, skip_rehearsal, force; /* each with a reason */
    const char *reason, *ticket;
    /* A line of the result for people: "passed", "backup", "20261121T… 34.5 MB in 1.2 s". */
    void (*tell)(void *arg, const char *result, const char *gate, const char *text);
    void *arg;
};

struct neap_gates {
    struct neap_session *session; /* borrowed, as opts */
    const struct neap_gates_opts *opts;
    bool any;     /* the environment asks for one at least */
    json_t *list; /* the events, for --json */
    struct neap_preflight preflight;
    struct backup backup;        /* the way back; id NULL: none */
    char *began;                 /* the run that began what is resumed; NULL: this one */
    struct backup_copy copy;     /* of it, from its proof to its rehearsal */
    json_t *rehearsal;           /* as `neap help json` has it; NULL: none */
    bool was_rehearsed;          /* and it was good */
    char *rehearsed;             /* what the plan did to the schema of the copy; NULL: nothing */
    struct backup_schema before; /* of the target, right before the change; lines NULL: unread */
    size_t validated;            /* units whose verify holds after their COMMIT */
};

/* The session was looked at; it and `opts` are borrowed until clear. */
void neap_gates_init(struct neap_gates *gates, struct neap_session *session,
                     const struct neap_gates_opts *opts);
/* Before the session begins: preflight.failed, unless `force`. */
bool neap_gates_preflight(struct neap_gates *gates, struct neap_error *err);
/* After it has begun and before its first step: backup, its proof, and the rehearsal of the
 * picked items on that copy. Sets the backup id of session->change. False: nothing of the
 * plan was begun; the hint says how to go on. */
bool neap_gates_pass(struct neap_gates *gates, struct neap_plan_item *const *items, size_t count,
                     struct neap_error *err);
/* After the COMMIT of a unit: its verify, as every other session sees the target now.
 * validation.failed. */
bool neap_gates_unit(struct neap_gates *gates, const struct neap_unit *unit,
                     struct neap_error *err);
/* After the last unit: the schema must have changed as it did in the rehearsal. */
bool neap_gates_validate(struct neap_gates *gates, struct neap_error *err);
void neap_gates_clear(struct neap_gates *gates); /* also of zeros */

#endif
