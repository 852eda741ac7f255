/* SPDX-License-Identifier: MIT
 *
 * The database that is backed up, held still: every table is locked in ACCESS SHARE
 * before the snapshot is taken and until the backup has ended. Without these locks a
 * TRUNCATE or a rewriting ALTER between snapshot and dump would empty a table in the
 * eyes of the snapshot, and the dump would agree with the count.
 */
#ifndef NEAP_BINDINGS_BACKUP_BACKUP_SOURCE_H
#define NEAP_BINDINGS_BACKUP_BACKUP_SOURCE_H

#include <jansson.h>

#include "bindings/pg/pg_client.h"

struct backup_source {
    struct pg_client *client; /* borrowed; in the snapshot's transaction */
    char *snapshot;           /* for pg_dump --snapshot */
    json_t *sizes;            /* "schema.table" -> bytes, of tables with data */
    json_t *facts;            /* fields of the manifest */
    int64_t table_count, table_bytes;
};

/* Locks, takes and exports the snapshot, reads the facts. `lock_wait_ms`: for all locks;
 * then backup.locked, naming who is in the way. */
bool backup_source_begin(struct pg_client *client, int64_t lock_wait_ms, struct backup_source *out,
                         struct neap_error *err);
/* Ends the transaction; `client` sees the present again. */
bool backup_source_end(struct backup_source *source, struct neap_error *err);
void backup_source_clear(struct backup_source *source);

#endif
