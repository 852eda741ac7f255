/* SPDX-License-Identifier: MIT
 *
 * Between the files of restore: what a restore has in hand. Private to them.
 */
#ifndef NEAP_PROOF_RESTORE_PARTS_H
#define NEAP_PROOF_RESTORE_PARTS_H

#include "bindings/backup/backup_beside.h"
#include "host/base/clock.h"
#include "host/proof/restore.h"

struct restore {
    struct neap_loop *loop;
    const struct neap_project *project;
    const struct neap_restore_opts *opts;
    const struct backup *backup;
    struct neap_session *session; /* of a swap whose target is there, or NULL */
    struct neap_audit *audit;     /* borrowed; NULL before the run has begun */
    struct backup_server server;
    const char *target;        /* whose place is taken, or beside which it is */
    char until[NEAP_UTC_SIZE]; /* when the one that is put aside may go */
    int64_t target_oid;        /* 0: there is none of that name */
    bool swap;
    char *name; /* of the restored database */
    int64_t begun_ms;
    int64_t bytes; /* in it so far, as last seen */
    bool asking;   /* for them */
};

/* It has definitions and rows. */
bool restore_check_kind(const struct backup *backup, struct neap_error *err);
/* Opens the server and looks whether it is the pinned one. */
bool restore_open(struct restore *restore, struct neap_error *err);
/* Removes what killed runs left, and makes, compares and marks the new database: its name
 * is restore->name. On failure nothing stays of it. */
bool restore_make(struct restore *restore, struct neap_error *err);
/* Gives it the target's name. *kept: the old one's name, NULL where there was none; the
 * caller frees. On failure the restored one stays and the hint says how to go on. */
bool restore_swap(struct restore *restore, char **kept, struct neap_error *err);
/* What the comment on the restored one says; state "making" or "whole". New reference. */
json_t *restore_mark(const struct restore *restore, const char *state);
void restore_clear(struct restore *restore);

/* Adds an event; with `sync` it is durable before what it says is done. */
bool restore_record(struct restore *restore, const char *event, json_t *fields, bool sync,
                    struct neap_error *err);
void restore_failed(json_t *fields, const struct neap_error *err); /* ok, error */

#endif
