/* SPDX-License-Identifier: MIT
 *
 * Removes backups whose time is over. Each removal is recorded, in the journal of the
 * database that the backup is of, before it happens.
 */
#ifndef NEAP_PROOF_PRUNE_H
#define NEAP_PROOF_PRUNE_H

#include "host/loop/loop.h"
#include "host/project/project.h"
#include "host/proof/retention.h"

struct neap_prune {
    struct backup *backups; /* of the store, newest first */
    size_t count;
    struct neap_retention *verdicts; /* of each */
    bool *removed;
};

/* What becomes of each backup of the store (of backup_list), into *out of as many. */
bool neap_prune_judge(const struct neap_project *project, const struct backup *backups,
                      size_t count, struct neap_retention *out, struct neap_error *err);
/* What would go, by the retention of the project's environment, and why the rest stays. */
bool neap_prune_look(const struct neap_project *project, const char *store, struct neap_prune *out,
                     struct neap_error *err);

struct neap_prune_opts {
    const char *store;
    const char *reason, *ticket;
};
/* Looks, and removes, oldest first. One that somebody uses stays for the next time. False:
 * it stopped; what is marked as removed is. */
bool neap_prune_run(struct neap_loop *loop, const struct neap_project *project,
                    const struct neap_prune_opts *opts, struct neap_prune *out,
                    struct neap_error *err);
void neap_prune_clear(struct neap_prune *prune);

#endif
