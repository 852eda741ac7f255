/* SPDX-License-Identifier: MIT
 *
 * What going back to a backup would lose: the database as it is now against the manifest.
 */
#ifndef NEAP_BINDINGS_BACKUP_BACKUP_LOSS_H
#define NEAP_BINDINGS_BACKUP_BACKUP_LOSS_H

#include "bindings/backup/backup_store.h"
#include "bindings/pg/pg_client.h"

/* In the session's database, outside a transaction:
 *   {"age_ms": 5000,            since the backup was begun
 *    "wal_bytes": 4096,         the server wrote since; null: not known (another server)
 *    "exact": true,             every table was digested: what is not listed is the same
 *    "tables": [{"table": "public.users", "backup": 3, "now": 5, "exact": true}],
 *    "migrations": ["0007 apply"]}   recorded in history since
 * Tables that differ alone, without those of schema neap; `backup` null: it is not in the
 * backup; `now` null: it is not there now. Where all of a large database would have to be
 * read, small tables are counted and large ones estimated (exact false). New reference in
 * *out. Waits. */
bool backup_loss_read(struct pg_client *client, const struct backup *backup, json_t **out,
                      struct neap_error *err);
/* "public.users: 3 rows in the backup, 5 now", one line each; "" when there is none. The
 * caller frees. */
char *backup_loss_text(const json_t *loss);

#endif
