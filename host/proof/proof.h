/* SPDX-License-Identifier: MIT
 *
 * Runs that make and prove backups: the session, the events, the order of the parts
 * in bindings/backup. A backup takes no lease: it changes nothing, and may be needed
 * while another run holds it.
 */
#ifndef NEAP_PROOF_PROOF_H
#define NEAP_PROOF_PROOF_H

#include "bindings/backup/backup_dump.h"
#include "bindings/backup/backup_restore.h"
#include "bindings/backup/backup_store.h"
#include "host/base/clock.h"
#include "host/migrate/session.h"

struct neap_proof_create_opts {
    const char *dir; /* of the store */
    enum backup_kind kind;
    int jobs;             /* 0: one file */
    int sample_rows_over; /* backup_digest.h; 0: every row is digested */
    bool archive;         /* of the whole server, by the environment's `archive` */
    const char *tag, *reason, *ticket;
    int64_t timeout_ms; /* of the whole; 0: none */
};
/* A backup of the target of a session that has begun, in a session of its own as the
 * environment's `backup` role, or by the tool that archives the server. *out has its manifest.
 * False: nothing is left of it, and the events say why. */
bool neap_proof_create_in(struct neap_session *session, const struct neap_proof_create_opts *opts,
                          struct backup *out, struct neap_error *err);
/* The same as a run of its own: the session was looked at, and is begun here. */
bool neap_proof_create(struct neap_session *session, const struct neap_proof_create_opts *opts,
                       struct backup *out, struct neap_error *err);

struct neap_proof_verify_opts {
    const char *reason, *ticket;
    bool quick;     /* hashes and structure alone: no proof */
    bool on_target; /* restored beside the environment's target, not on a server of its own */
    int64_t timeout_ms;
};
/* Proves the backup, or says what is wrong with it, in a run that has begun. *verified is
 * what was kept beside the manifest (a new reference), NULL where nothing was. On success
 * `kept`, unless NULL, is the copy (of a full verify), the caller's to end. */
bool neap_proof_verify_in(struct neap_session *session, const struct neap_proof_verify_opts *opts,
                          const struct backup *backup, struct backup_copy *kept, json_t **verified,
                          struct neap_error *err);
/* The same in a run of its own: the journal alone records it, since the target may be what
 * is lost. */
bool neap_proof_verify(struct neap_loop *loop, const struct neap_project *project,
                       const struct neap_proof_verify_opts *opts, const struct backup *backup,
                       json_t **verified, struct neap_error *err);

/* Gives an error that came from below the code of a failed backup (exit 11), unless it is
 * the target's, the journal's or a stop. */
void neap_proof_error(struct neap_error *err);
/* The same of a restore on the target's server, whose role may be short of rights there. */
void neap_proof_restore_error(struct neap_error *err);
#define NEAP_PROOF_SIZE NEAP_SIZE_SIZE
/* For people: "34.5 MB". */
void neap_proof_size(int64_t bytes, char text[NEAP_PROOF_SIZE]);

#endif
