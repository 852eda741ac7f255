/* SPDX-License-Identifier: MIT
 *
 * A backup made a database again, to be looked at and thrown away: on a private server,
 * with the roles, tablespaces and extensions that it needs, or as a database of its own
 * beside the target. Never over anything that lives.
 */
#ifndef NEAP_BINDINGS_BACKUP_BACKUP_RESTORE_H
#define NEAP_BINDINGS_BACKUP_BACKUP_RESTORE_H

#include "bindings/backup/backup_store.h"
#include "bindings/backup/backup_tool.h"
#include "bindings/pg/pg_client.h"
#include "bindings/scratch/scratch_private.h"

struct backup_server;

struct backup_copy {
    struct scratch_private *server; /* its own, or NULL */
    struct backup_server *beside;   /* the target's, where it is beside the target */
    char *database;                 /* its name there */
    struct pg_client *client;       /* a session in the restored database */
};
/* Starts the server and restores the backup, of kind full or schema. backup.role,
 * backup.extension, backup.disk, backup.damaged, else backup.failed with what pg_restore
 * said. Subscriptions and user mappings are not restored: the copy talks to nobody. Waits. */
bool backup_restore(struct neap_loop *loop, const struct backup_tool *pg_restore,
                    const struct backup *backup, struct backup_copy *out, struct neap_error *err);
/* The same with the rows of one table alone, and none of what comes after rows: keys,
 * indexes, triggers. */
struct backup_table {
    const char *schema, *name; /* as they are, not quoted */
};
bool backup_restore_table(struct neap_loop *loop, const struct backup_tool *pg_restore,
                          const struct backup *backup, const struct backup_table *table,
                          struct backup_copy *out, struct neap_error *err);
/* The same as a database beside `target` (never dropped, may be NULL) on the server that
 * `conninfo` leads to, with the roles and extensions that are there. Removes first what
 * killed runs left. */
bool backup_restore_beside(struct neap_loop *loop, const char *conninfo, const char *target,
                           const struct backup_tool *pg_restore, const struct backup *backup,
                           struct backup_copy *out, struct neap_error *err);
const char *backup_copy_version(const struct backup_copy *copy); /* of its server: "15.20" */
/* Has a server of the copy's own write all of its log from here on, as the target does;
 * `client` is another one then. Beside the target there is nothing to do. */
bool backup_copy_enliven(struct backup_copy *copy, struct neap_error *err);
/* The way to the restored database, secrets among it; the caller frees. */
char *backup_copy_url(const struct backup_copy *copy);
/* Lets a copy on a server of its own live on, as one that `project` asked for
 * (scratch_private_keep), and gives the way to it, the caller's to free. On success there is
 * nothing left to end. Not of one beside the target. */
bool backup_copy_keep(struct backup_copy *copy, const char *project, char **url,
                      struct neap_error *err);
/* Removes the copy and ends its server, also after a stop. */
void backup_copy_end(struct backup_copy *copy);

#endif
