/* SPDX-License-Identifier: MIT
 *
 * What pg_restore makes of a backup's archive: its table of contents, and a database
 * with all of it or with one table's rows. Of this folder, but for the list.
 */
#ifndef NEAP_BINDINGS_BACKUP_BACKUP_ARCHIVE_H
#define NEAP_BINDINGS_BACKUP_BACKUP_ARCHIVE_H

#include "bindings/backup/backup_store.h"
#include "bindings/backup/backup_tool.h"
#include "bindings/pg/pg_client.h"

/* Reads the archive's table of contents. Proves nothing about what it holds: a dump cut
 * in half lists as a whole one does. */
bool backup_archive_list(struct neap_loop *loop, const struct backup_tool *pg_restore,
                         const struct backup *backup, struct neap_error *err);

struct backup_archive_opts {
    const struct backup_tool *pg_restore;
    const struct backup *backup;
    struct pg_client *client;   /* the way to the server; borrowed */
    const char *database;       /* an empty one of neap's; NULL: made, as its original was called */
    bool mappings;              /* also user mappings: it reads what its original reads */
    const char *schema, *table; /* definitions, and the rows of this one alone; NULL: all */
};
/* backup.role, backup.extension, backup.disk, backup.damaged, else backup.failed with what
 * pg_restore said. What it made until then stays. Waits. */
bool backup_archive_restore(struct neap_loop *loop, const struct backup_archive_opts *opts,
                            struct neap_error *err);

#endif
