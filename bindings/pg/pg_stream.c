/* SPDX-License-Identifier: MIT
 *
 * Rows one by one, in constant memory: at most 256 of them, or about 1 MB, wait
 * here; then the socket is not read until some are taken. Waiting for a later
 * statement of the same client reads the rest of the stream into memory.
 */
#include "bindings/pg/pg_internal.h"

#include <stdlib.h>

static bool has_row(void *arg)
{
    const struct pg_op *op = arg;

    return op->rows || op->ended;
}

static PGresult *take_row(struct pg_op *op)
{
    struct pg_row *row = op->rows;
    PGresult *result = row->result;

    op->rows = row->next;
    if (!op->rows)
        op->rows_last = NULL;
    op->rows_queued--;
    op->rows_bytes -= PQresultMemorySize(result);
    free(row);
    return result;
}

static bool wait_row(struct pg_client *client, struct pg_op *op, struct neap_error *err)
{
    bool behind = client->head != op;

    if (!pg_go_on(client, err) || (client->unsynced && !pg_sync(client, err)))
        return false;
    client->greedy += behind;
    bool ok = pg_wait_for(client, has_row, op, op, err);

    client->greedy -= behind;
    return ok;
}

bool pg_next_row(struct pg_client *client, struct pg_op *op, PGresult **row, struct neap_error *err)
{
    *row = NULL;
    if (!has_row(op) && !wait_row(client, op, err))
        return false;
    if (op->rows) {
        *row = take_row(op);
        return true;
    }
    if (op->error.code == NEAP_OK)
        return true;
    if (err)
        neap_error_copy(err, &op->error);
    return false;
}
