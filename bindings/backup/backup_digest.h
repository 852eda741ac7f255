/* SPDX-License-Identifier: MIT
 *
 * The content of a database, without its rows leaving the server: for every table the
 * count and an order-free digest of its rows, for every sequence its state, one digest
 * for the large objects. Equal on a copy, also where dump and restore change the order
 * of rows and columns.
 */
#ifndef NEAP_BINDINGS_BACKUP_BACKUP_DIGEST_H
#define NEAP_BINDINGS_BACKUP_BACKUP_DIGEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "bindings/pg/pg_client.h"
#include "host/base/error.h"

struct backup_digest_opts {
    /* Of a table with more rows, the digest takes about one row in sixteen, the same ones
     * on every copy: chosen by primary key. All rows are counted. 0: never sample. */
    int64_t sample_rows_over;
    /* After each table, in a loop turn's place; may be NULL. */
    void (*progress)(void *arg, int64_t tables_done, int64_t tables_total);
    void *arg;
};

/* In the client's transaction and snapshot, or outside one in a transaction of its own
 * (repeatable read, read only); the transaction's settings are as before afterwards. A role
 * that row security hides rows from gets an error, never fewer rows. `*out`, a new
 * reference, is
 *   {"tables": {"public.users": {"rows": 3, "digest": "<hex>", "sampled": false}},
 *    "sequences": {"public.users_id_seq": {"last_value": 3, "is_called": true}},
 *    "large_objects": {"count": 0, "digest": "<hex>"},
 *    "not_read": {"public.far": "foreign table"}}
 * Names are quoted as SQL needs it. Partitioned tables are there as their partitions. Not
 * there: the lease, which no backup holds, temporary tables, and what an extension makes
 * for itself. `opts` may be NULL. Waits. */
bool backup_digest_read(struct pg_client *client, const struct backup_digest_opts *opts,
                        json_t **out, struct neap_error *err);

/* A line for each table, sequence and for the large objects that differ, with both sides'
 * counts and digests; what was not read is not compared. NULL when equal; the caller
 * frees. */
char *backup_digest_diff(const json_t *source, const json_t *copy);

#endif
