/* SPDX-License-Identifier: MIT
 *
 * A run about a backup that needs no target: the journal alone records it, since the
 * target may be what is lost.
 */
#ifndef NEAP_PROOF_PROOF_RUN_H
#define NEAP_PROOF_PROOF_RUN_H

#include "bindings/backup/backup_store.h"
#include "bindings/backup/backup_tool.h"
#include "host/change/actor.h"
#include "host/change/audit.h"
#include "host/loop/loop.h"
#include "host/project/project.h"

struct neap_proof_run {
    struct neap_loop *loop;
    struct neap_audit *audit;
    struct neap_actor actor;
    char *state_dir;            /* of its journal */
    struct neap_report *report; /* of its events */
};

struct neap_proof_run_opts {
    const struct neap_project *project;
    const struct backup *backup; /* whose target's journal it is */
    const char *command, *reason, *ticket;
};
/* run.begin; durable on return. To be ended also when this fails. */
bool neap_proof_run_begin(struct neap_loop *loop, const struct neap_proof_run_opts *opts,
                          struct neap_proof_run *out, struct neap_error *err);
/* run.end with what `err` says, the run's report, and frees. False with audit.incomplete when all
 * went well and this could not be written; `good` is given back else. */
bool neap_proof_run_end(struct neap_proof_run *run, bool good, struct neap_error *err);

/* The files of a backup are those that were written: the hashes of the manifest, and the
 * manifest's own hash in the journal of the run that made it. `command` is whose progress
 * is told. Waits. */
bool neap_proof_sums(struct neap_loop *loop, const struct neap_project *project,
                     const struct backup *backup, const char *command, struct neap_error *err);
/* The same, and the archive lists. No proof. *pg_restore can read it; the caller's to clear,
 * also on failure. */
bool neap_proof_files(struct neap_loop *loop, const struct neap_project *project,
                      const struct backup *backup, const char *command,
                      struct backup_tool *pg_restore, struct neap_error *err);

#endif
