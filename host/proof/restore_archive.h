/* SPDX-License-Identifier: MIT
 *
 * Going back in time with a whole server: neap says how, and never does it. The targets are
 * the restore points of its own runs, as the journal has them.
 */
#ifndef NEAP_PROOF_RESTORE_ARCHIVE_H
#define NEAP_PROOF_RESTORE_ARCHIVE_H

#include "bindings/backup/backup_store.h"
#include "host/project/project.h"

/* A point before a run. */
struct neap_restore_place {
    char *run, *name, *lsn, *at; /* name NULL: no restore point, only the LSN */
    int64_t timeline;
};

struct neap_restore_archive {
    char *line;                              /* for a shell, on the server's machine */
    const struct neap_restore_place *chosen; /* NULL: to the end of the backup itself */
    struct neap_restore_place *places;       /* all that can be reached, oldest first */
    size_t count;
};

/* `run`: the place before that run. NULL: before the run that made the backup, else before
 * the last run there was. usage.arguments when it cannot be reached from this backup. */
bool neap_restore_archive(const struct neap_project *project, const struct backup *backup,
                          const char *run, struct neap_restore_archive *out,
                          struct neap_error *err);
void neap_restore_archive_clear(struct neap_restore_archive *archive);

#endif
