/* SPDX-License-Identifier: MIT
 *
 * COPY both ways in constant memory: a chunk is handed to libpq only when the
 * one before it left, and rows are read only when they are taken. Whatever the
 * callbacks do, the COPY is ended on the server before we return.
 */
#include "bindings/pg/pg_internal.h"

#include "host/base/clock.h"

#define CHUNK_BYTES 65536
#define TURN_BYTES (1U << 20)
#define TURN_MS 20

static bool is_open_or_over(void *arg)
{
    const struct pg_op *op = arg;

    return op->ended || op->copy == PG_COPY_OPEN;
}

static bool is_flushed(void *arg)
{
    const struct pg_client *client = arg;

    return client->lost || !client->want_write;
}

/* False: stopped (and cancelled). */
static bool flush_out(struct pg_client *client, struct pg_op *op, struct neap_error *err)
{
    pg_flush(client);
    return pg_wait_for(client, is_flushed, client, op, err);
}

static bool put(struct pg_client *client, struct pg_op *op, const char *bytes, size_t length,
                struct neap_error *err)
{
    while (length > 0 && !client->lost) {
        int part = length > CHUNK_BYTES ? CHUNK_BYTES : (int)length;
        int taken = PQputCopyData(client->conn, bytes, part);

        if (taken < 0) {
            pg_lose(client, NULL);
            return true; /* the operation has the error */
        }
        if (taken > 0) {
            bytes += part;
            length -= (size_t)part;
        }
        if (!flush_out(client, op, err))
            return false;
    }
    return true;
}

/* `reason` NULL: success. Afterwards the pump takes the server's verdict. */
static bool put_end(struct pg_client *client, struct pg_op *op, const char *reason,
                    struct neap_error *err)
{
    int taken = 0;

    if (op->ended || client->lost)
        return true;
    while ((taken = PQputCopyEnd(client->conn, reason)) == 0)
        if (!flush_out(client, op, err))
            return false;
    op->copy = PG_COPY_DISCARD;
    if (taken < 0)
        pg_lose(client, NULL);
    else
        pg_flush(client);
    return true;
}

/* A socket that takes everything never makes us wait; the timers and the news
 * that the server is gone must come through all the same. */
struct pace {
    size_t since_turn;
    int64_t turn_ms;
};

static void keep_pace(struct pg_client *client, struct pace *pace, size_t length)
{
    pace->since_turn += length;
    if (pace->since_turn < TURN_BYTES && neap_clock_ms() - pace->turn_ms < TURN_MS)
        return;
    neap_loop_turn(client->loop);
    pace->since_turn = 0;
    pace->turn_ms = neap_clock_ms();
}

static bool feed(struct pg_client *client, const struct pg_copy *copy, struct pg_op *op,
                 struct neap_error *err)
{
    struct neap_error failed = {0};
    const char *bytes = NULL;
    struct pace pace = {.turn_ms = neap_clock_ms()};
    size_t length = 0;

    while (!op->ended && copy->more(copy->arg, &bytes, &length, &failed)) {
        if (!put(client, op, bytes, length, err))
            return false;
        keep_pace(client, &pace, length);
        if (!pg_go_on(client, err)) {
            neap_error_clear(&failed);
            return false;
        }
    }
    if (failed.code != NEAP_OK && !op->ended)
        neap_error_move(&op->error, &failed); /* what the server says of it comes second */
    neap_error_clear(&failed);
    return put_end(client, op, op->error.code != NEAP_OK ? "the client gave up" : NULL, err);
}

struct input {
    const struct pg_client *client;
    unsigned seen;
};

static bool has_input(void *arg)
{
    const struct input *input = arg;

    return input->client->lost || input->client->input_count != input->seen;
}

static bool wait_input(struct pg_client *client, struct pg_op *op, struct neap_error *err)
{
    struct input input = {client, client->input_count};

    if (!pg_go_on(client, err))
        return false;
    client->reading++;
    bool ok = pg_wait_for(client, has_input, &input, op, err);

    client->reading--;
    pg_rewatch(client);
    return ok;
}

/* The rows that were not taken yet are dropped, not read to their end. */
static bool drain(struct pg_client *client, const struct pg_copy *copy, struct pg_op *op,
                  struct neap_error *err)
{
    struct neap_error failed = {0};

    while (!op->ended && failed.code == NEAP_OK) {
        char *bytes = NULL;
        int length = PQgetCopyData(client->conn, &bytes, 1);

        if (length < 0)
            break;
        if (length == 0 && !wait_input(client, op, err))
            return false;
        if (length > 0 && !copy->take(copy->arg, bytes, (size_t)length, &failed) &&
            failed.code == NEAP_OK)
            neap_error_set(&failed, NEAP_ERR_DB_QUERY, "the reader of a COPY gave up");
        PQfreemem(bytes);
    }
    if (op->ended)
        return true;
    op->copy = PG_COPY_DISCARD;
    if (failed.code != NEAP_OK) {
        neap_error_move(&op->error, &failed);
        pg_cancel(client);
    }
    return true;
}

static bool run(struct pg_client *client, const struct pg_copy *copy, struct pg_op *op,
                struct neap_error *err)
{
    if (!pg_wait_for(client, is_open_or_over, op, op, err))
        return false;
    if (op->ended && op->error.code == NEAP_OK)
        neap_error_set(&op->error, NEAP_ERR_DB_ARGUMENT, "the statement is not a COPY %s",
                       op->copy_in ? "FROM STDIN" : "TO STDOUT");
    if (op->ended)
        return pg_wait(client, op, err);
    bool moved = op->copy_in ? feed(client, copy, op, err) : drain(client, copy, op, err);

    return moved && pg_wait(client, op, err);
}

static bool copy_alone(struct pg_client *client, const struct pg_copy *copy, bool in,
                       int64_t *row_count, struct neap_error *err)
{
    struct pg_op *op = NULL;

    if (!pg_settle(client, err) || !pg_send(client, copy->statement, &op, err))
        return false;
    op->copy = PG_COPY_WANTED;
    op->copy_in = in;
    pg_hold(client);
    bool ok = run(client, copy, op, err);

    if (ok && row_count)
        *row_count = pg_op_row_count(op);
    pg_op_free(op);
    pg_release(client);
    return ok;
}

static bool copy_any(struct pg_client *client, const struct pg_copy *copy, bool in,
                     int64_t *row_count, struct neap_error *err)
{
    bool piped = client->pipeline;

    if (piped && !pg_pipeline_end(client, err))
        return false;
    bool ok = copy_alone(client, copy, in, row_count, err);

    /* Back as it was, also with a failure: the queue is empty. */
    if (piped && !client->lost && PQenterPipelineMode(client->conn)) {
        client->pipeline = true;
        client->unsynced = false;
    }
    return ok;
}

bool pg_copy_in(struct pg_client *client, const struct pg_copy *copy, int64_t *row_count,
                struct neap_error *err)
{
    return copy_any(client, copy, true, row_count, err);
}

bool pg_copy_out(struct pg_client *client, const struct pg_copy *copy, int64_t *row_count,
                 struct neap_error *err)
{
    return copy_any(client, copy, false, row_count, err);
}
