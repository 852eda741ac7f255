/* SPDX-License-Identifier: MIT
 *
 * The queue of statements: joining it, leaving it, and waiting for it. A wait
 * ends with the answer, with the loss of the connection, or with the stop; in
 * the last case the statement is cancelled on the server before we return.
 */
#include "bindings/pg/pg_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/memory.h"

#define TURN_MS 20
#define CLEANUP_WAIT_MS 5000 /* nothing but this ends a cleanup when the server is silent */

struct pg_op *pg_op_new(const struct pg_statement *statement)
{
    struct pg_op *op = neap_alloc(sizeof *op);

    op->call_id = -1;
    op->row_count = -1;
    op->sent_us = neap_clock_us();
    if (!statement)
        return op;
    op->sql = neap_strdup(statement->sql);
    op->where_file = neap_strdup(statement->where_file);
    op->where_line = statement->where_line;
    op->param_count = statement->param_count;
    op->call_id = statement->call_id;
    op->streams = statement->rows;
    op->shielded = statement->shielded;
    op->binary = statement->binary;
    op->done = statement->done;
    op->arg = statement->arg;
    return op;
}

void pg_op_append(struct pg_client *client, struct pg_op *op)
{
    op->client = client;
    if (client->tail)
        client->tail->next = op;
    else
        client->head = op;
    client->tail = op;
    client->op_count++;
    if (!op->sent && !client->unsent)
        client->unsent = op;
}

static void rows_clear(struct pg_op *op)
{
    while (op->rows) {
        struct pg_row *row = op->rows;

        op->rows = row->next;
        PQclear(row->result);
        free(row);
    }
    op->rows_last = NULL;
    op->rows_queued = 0;
    op->rows_bytes = 0;
}

void pg_op_dispose(struct pg_op *op)
{
    rows_clear(op);
    PQclear(op->result);
    neap_error_clear(&op->error);
    free(op->packed);
    free(op->sql);
    free(op->where_file);
    free(op);
}

void pg_op_free(struct pg_op *op)
{
    if (!op)
        return;
    op->owned = false;
    rows_clear(op);
    if (op->called) /* freed by its own callback: the queue does it after that */
        return;
    if (op->ended) {
        pg_op_dispose(op);
        return;
    }
    op->done = NULL;
    pg_rewatch(op->client);
}

static void unlink_op(struct pg_client *client, struct pg_op *op)
{
    struct pg_op *before = NULL;

    for (struct pg_op *at = client->head; at != op; at = at->next)
        before = at;
    if (before)
        before->next = op->next;
    else
        client->head = op->next;
    if (client->tail == op)
        client->tail = before;
    if (client->unsent == op)
        client->unsent = op->next;
    op->next = NULL;
    op->client = NULL;
    client->op_count--;
}

/* db.aborted is a consequence, never a first failure: it may come in after the
 * cause was cleared for a savepoint. */
static void remember_failure(struct pg_client *client, const struct pg_op *op)
{
    if (op->error.code == NEAP_OK || op->error.code == NEAP_ERR_DB_ABORTED)
        return;
    if (client->failure.code != NEAP_OK)
        return;
    neap_error_copy(&client->failure, &op->error);
    free(client->cause);
    client->cause =
        op->where_file ? neap_format("%s:%d: %s", op->where_file, op->where_line, op->error.message)
                       : neap_strdup(op->error.message);
}

static void settle_call(struct pg_client *client, const struct pg_op *op)
{
    struct neap_gate_result settled = {
        .call_id = op->call_id,
        .row_count = op->row_count,
        .duration_us = op->duration_us,
        .error = op->error.code == NEAP_OK ? NULL : &op->error,
    };

    if (op->call_id >= 0 && !op->sync)
        neap_gate_settle(neap_loop_run(client->loop), &settled);
}

void pg_op_end(struct pg_client *client, struct pg_op *op)
{
    unlink_op(client, op);
    op->ended = true;
    op->duration_us = neap_clock_us() - op->sent_us;
    remember_failure(client, op);
    settle_call(client, op);
    if (op->done && !client->closed) {
        op->called = true;
        op->done(op->arg, op);
        op->called = false;
    }
    if (!op->owned)
        pg_op_dispose(op);
}

void pg_drop_unsent(struct pg_client *client, const struct neap_error *why)
{
    while (client->unsent) {
        struct pg_op *op = client->unsent;

        if (why)
            neap_error_copy(&op->error, why);
        else
            neap_error_set(&op->error, NEAP_ERR_DB_ABORTED,
                           "the statement was not sent: an earlier one failed");
        if (!why && client->cause)
            neap_error_detail(&op->error, "First failure: %s.", client->cause);
        pg_error_place(&op->error, op);
        pg_op_end(client, op);
    }
}

void pg_send_next(struct pg_client *client)
{
    /* What waits behind a failure was written by someone who did not know of it. */
    if (client->unsent && client->failure.code != NEAP_OK && !client->cleanup)
        pg_drop_unsent(client, NULL);
    while (!client->lost && !client->closed && client->unsent && client->unsent == client->head) {
        struct pg_op *op = client->unsent;

        if (pg_hand_over(client, op, op->packed))
            return;
        pg_op_end(client, op);
    }
}

bool pg_is_idle(const struct pg_client *client)
{
    return !client->head;
}

/* The first words of the statement: enough to know it by, never a value. */
static const char *waits_for(struct pg_client *client, const struct pg_op *op)
{
    const struct pg_op *at = op ? op : client->head;
    const char *sql = at && at->sql ? at->sql : "";
    size_t length = 0;

    while (isspace((unsigned char)*sql))
        sql++;
    while (length < 40 &&
           (isalpha((unsigned char)sql[length]) || sql[length] == ' ' || sql[length] == '_'))
        length++;
    free(client->waits_for);
    if (!at || length < 2)
        client->waits_for = neap_strdup("the server");
    else if (at->where_file)
        client->waits_for = neap_format("the server: %.*s (%s:%d)", (int)length, sql,
                                        at->where_file, at->where_line);
    else
        client->waits_for = neap_format("the server: %.*s", (int)length, sql);
    return client->waits_for;
}

static void set_stop(struct pg_client *client, const char *what, const struct pg_op *op,
                     struct neap_error *err)
{
    if (!err)
        return;
    if (!err->detail)
        neap_error_detail(err, "It waited for %s (%s).", what, client->address);
    if (op && !op->sync)
        pg_error_place(err, op);
}

/* A busy socket may answer before each wait begins; the loop's timers must run
 * all the same. Inside a turn this does nothing. */
static void keep_turning(struct pg_client *client)
{
    int64_t now_ms = neap_clock_ms();

    if (now_ms - client->turned_ms < TURN_MS)
        return;
    client->turned_ms = now_ms;
    neap_loop_turn(client->loop);
}

static bool is_unshielded(void *arg)
{
    const struct pg_client *client = arg;

    for (const struct pg_op *op = client->head; op; op = op->next)
        if (op->shielded)
            return false;
    return true;
}

/* A cancel ends whatever the server is at: what must not be cut short comes first. */
static void stop(struct pg_client *client)
{
    int64_t patience_ms = neap_run_patience_ms(neap_loop_run(client->loop), CLEANUP_WAIT_MS);
    struct neap_wait wait = {.done = is_unshielded,
                             .arg = client,
                             .deadline_ms = neap_clock_deadline_ms(patience_ms),
                             .cleanup = true,
                             .what = "the answer to COMMIT"};

    if (!is_unshielded(client))
        neap_loop_wait(client->loop, &wait, NULL);
    pg_cancel(client);
}

bool pg_go_on(struct pg_client *client, struct neap_error *err)
{
    if (client->cleanup || neap_run_check(neap_loop_run(client->loop), err))
        return true;
    stop(client);
    return false;
}

bool pg_wait_for(struct pg_client *client, bool (*done)(void *arg), void *arg, struct pg_op *op,
                 struct neap_error *err)
{
    struct neap_error why = {0};

    if (done(arg))
        return true;
    int64_t patience_ms = neap_run_patience_ms(neap_loop_run(client->loop), CLEANUP_WAIT_MS);
    struct neap_wait wait = {
        .done = done,
        .arg = arg,
        .deadline_ms = client->cleanup ? neap_clock_deadline_ms(patience_ms) : NEAP_FOREVER,
        .cleanup = client->cleanup,
        .what = waits_for(client, op),
    };

    pg_hold(client);
    pg_rewatch(client);
    keep_turning(client);
    pg_catch_up(client);
    bool over = done(arg) || neap_loop_wait(client->loop, &wait, &why);

    if (!over) {
        set_stop(client, client->waits_for, op, &why);
        stop(client);
    }
    pg_release(client);
    if (!over && err)
        neap_error_move(err, &why);
    neap_error_clear(&why);
    return over;
}

static bool op_is_over(void *arg)
{
    return ((const struct pg_op *)arg)->ended;
}

static bool client_is_idle(void *arg)
{
    return pg_is_idle(arg);
}

bool pg_wait(struct pg_client *client, struct pg_op *op, struct neap_error *err)
{
    bool over = op->ended;

    if (!over) {
        client->greedy++;
        over = (!client->unsynced || pg_sync(client, err)) &&
               pg_wait_for(client, op_is_over, op, op, err);
        client->greedy--;
    }
    if (!over)
        return false;
    if (op->error.code != NEAP_OK && err)
        neap_error_copy(err, &op->error);
    return op->error.code == NEAP_OK;
}

bool pg_settle(struct pg_client *client, struct neap_error *err)
{
    bool over = true;

    /* Idle and unsynced: the answers came by a flush; after an error among them
     * the server skips everything, a ROLLBACK too, until it sees a sync. */
    if (!pg_is_idle(client) || (client->unsynced && !client->lost)) {
        client->greedy++;
        over = (!client->unsynced || pg_sync(client, err)) &&
               pg_wait_for(client, client_is_idle, client, NULL, err);
        client->greedy--;
    }
    if (!over)
        return false;
    const struct neap_error *why =
        client->lost && client->failure.code == NEAP_OK ? &client->loss : &client->failure;

    if (why->code != NEAP_OK && err)
        neap_error_copy(err, why);
    return why->code == NEAP_OK;
}
