/* SPDX-License-Identifier: MIT
 *
 * A backup made a database again: on a private server that is thrown away, with the
 * roles, tablespaces and extensions that it needs. Never over anything that lives.
 */
#ifndef NEAP_BINDINGS_BACKUP_BACKUP_RESTORE_H
#define NEAP_BINDINGS_BACKUP_BACKUP_RESTORE_H

#include "bindings/backup/backup_store.h"
#include "bindings/backup/backup_tool.h"
#include "bindings/pg/pg_client.h"
#include "bindings/scratch/scratch_private.h"

/* Reads the archive's table of contents. Proves nothing about what it holds: a dump cut
 * in half lists as a whole one does. */
bool backup_restore_list(struct neap_loop *loop, const struct backup_tool *pg_restore,
                         const struct backup *backup, struct neap_error *err);

struct backup_copy {
    struct scratch_private *server;
    struct pg_client *client; /* a session in the restored database */
};
/* Starts the server and restores the backup, of kind full or schema. backup.role,
 * backup.extension, backup.disk, backup.damaged, else backup.failed with what pg_restore
 * said. Subscriptions and user mappings are not restored: the copy talks to nobody. Waits. */
bool backup_restore(struct neap_loop *loop, const struct backup_tool *pg_restore,
                    const struct backup *backup, struct backup_copy *out, struct neap_error *err);
/* A libpq URI of the restored database; the caller frees. */
char *backup_copy_url(const struct backup_copy *copy);
/* Ends the server and removes the copy, also after a stop. */
void backup_copy_end(struct backup_copy *copy);

#endif
