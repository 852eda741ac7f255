/* SPDX-License-Identifier: MIT
 *
 * The socket's side of the client: what is asked of the loop, what happens when
 * the socket answers, and how a client is lost or freed. It knows no statement.
 * The uv_poll handle lives on its own, because libuv frees it a turn later.
 */
#include "bindings/pg/pg_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "host/base/memory.h"

static void on_socket(uv_poll_t *poll, int status, int events);

static void on_poll_closed(uv_handle_t *handle)
{
    free(handle);
}

void pg_unwatch(struct pg_client *client)
{
    if (!client->poll)
        return;
    client->poll->data = NULL;
    uv_close((uv_handle_t *)client->poll, on_poll_closed);
    client->poll = NULL;
    client->poll_events = 0;
}

bool pg_watch(struct pg_client *client, int events)
{
    uv_loop_t *loop = neap_loop_uv(client->loop);

    pg_unwatch(client);
    client->poll = neap_alloc(sizeof *client->poll);
    if (uv_poll_init(loop, client->poll, PQsocket(client->conn)) != 0) {
        free(client->poll);
        client->poll = NULL;
        return false;
    }
    client->poll->data = client;
    client->poll_events = events;
    return uv_poll_start(client->poll, events, on_socket) == 0;
}

/* A stream that nobody takes, or a COPY whose reader is busy, stops the reading:
 * the kernel's buffers then hold the server back, and memory stays constant. */
static bool stands_still(const struct pg_client *client)
{
    const struct pg_op *op = client->head;

    if (!op || client->greedy > 0)
        return false;
    if (op->copy == PG_COPY_OPEN && !op->copy_in)
        return client->reading == 0;
    return op->streams && op->owned && (op->rows_queued >= 256 || op->rows_bytes >= 1U << 20);
}

/* Answers and last words that came before the end count. */
static void lose_after_input(struct pg_client *client)
{
    pg_pump(client);
    pg_notify_take(client);
    pg_lose(client, NULL);
}

static void lose_if_bad(struct pg_client *client)
{
    if (client->lost || client->closed || PQstatus(client->conn) != CONNECTION_BAD)
        return;
    lose_after_input(client);
}

static void on_dropped(void *arg)
{
    struct pg_client *client = arg;

    pg_hold(client);
    lose_if_bad(client);
    pg_release(client);
}

/* libpq reads while it writes, and closes the socket when that read finds the
 * end: no event will ever tell us. The statements end in a turn of the loop,
 * because whoever sends does not expect callbacks. */
static void note_drop(struct pg_client *client)
{
    if (PQstatus(client->conn) != CONNECTION_BAD || client->dropped)
        return;
    pg_unwatch(client);
    client->dropped = neap_timer_begin(client->loop, 0, 0, on_dropped, client);
}

void pg_rewatch(struct pg_client *client)
{
    int events = stands_still(client) ? 0 : UV_READABLE;

    if (!client->poll || client->connecting)
        return;
    note_drop(client);
    if (!client->poll)
        return;
    if (client->want_write)
        events |= UV_WRITABLE;
    if (events == client->poll_events)
        return;
    client->poll_events = events;
    if (events)
        uv_poll_start(client->poll, events, on_socket);
    else
        uv_poll_stop(client->poll);
}

void pg_flush(struct pg_client *client)
{
    if (client->lost || client->closed)
        return;
    client->want_write = PQflush(client->conn) == 1;
    if (!client->want_write)
        client->unflushed_bytes = 0;
    note_drop(client);
    pg_rewatch(client);
}

/* OpenSSL may hold the rest of a record that no socket event announces; a
 * record is 16 kB and libpq reads at least 8 kB at a time. */
static bool consume(struct pg_client *client)
{
    int turns = PQsslInUse(client->conn) ? 3 : 1;

    for (int i = 0; i < turns; i++) {
        if (client->lost || client->closed)
            return true;
        if (!PQconsumeInput(client->conn))
            return false;
        client->input_count++;
        pg_pump(client);
    }
    return true;
}

static void serve(struct pg_client *client, int status, int events)
{
    /* At a socket's error libuv stops watching; what the server said before it
     * is still to be read, one buffer in a turn, and then the end. */
    if (status < 0)
        client->poll_events = 0;
    if ((events & UV_WRITABLE) && status >= 0)
        pg_flush(client);
    if ((events & UV_READABLE) || status < 0) {
        if (!consume(client))
            lose_after_input(client);
    }
    /* on_socket holds the client, which the analyzer cannot count up to. */
    lose_if_bad(client);   /* NOLINT(clang-analyzer-unix.Malloc) */
    if (!client->closed) { /* NOLINT(clang-analyzer-unix.Malloc) */
        pg_notify_take(client);
        pg_notice_deliver(client);
    }
    if (!client->closed)
        pg_rewatch(client);
}

void pg_catch_up(struct pg_client *client)
{
    if (client->lost || client->closed || client->pumping)
        return;
    pg_hold(client);
    if (PQsslInUse(client->conn))
        serve(client, 0, UV_READABLE);
    else
        pg_pump(client);
    lose_if_bad(client);
    pg_release(client);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct pg_client *client = poll->data;

    if (!client)
        return;
    pg_hold(client);
    if (client->connecting)
        pg_connect_step(client);
    else
        serve(client, status, events);
    pg_release(client);
}

void pg_hold(struct pg_client *client)
{
    client->holds++;
}

void pg_release(struct pg_client *client)
{
    if (--client->holds > 0 || !client->closed)
        return;
    pg_notice_clear(client);
    neap_error_clear(&client->failure);
    neap_error_clear(&client->loss);
    neap_error_clear(&client->fatal);
    free(client->cause);
    free(client->name);
    free(client->address);
    free(client->waits_for);
    free(client);
}

/* The server's last word explains more than "closed the connection". */
static void set_loss(struct pg_client *client, const char *why)
{
    const char *words = why ? why : PQerrorMessage(client->conn);

    if (client->failure.code == NEAP_ERR_DB_LOST) {
        neap_error_copy(&client->loss, &client->failure);
        return;
    }
    if (client->fatal.code != NEAP_OK) {
        neap_error_move(&client->loss, &client->fatal);
        return;
    }
    neap_error_set(&client->loss, NEAP_ERR_DB_LOST, "the connection to %s was lost",
                   client->address);
    if (words && *words)
        neap_error_detail(&client->loss, "%.*s.", (int)strcspn(words, "\n"), words);
}

void pg_lose(struct pg_client *client, const char *why)
{
    if (client->lost)
        return;
    client->lost = true;
    pg_unwatch(client);
    neap_timer_end(client->dropped);
    client->dropped = NULL;
    set_loss(client, why);
    /* The server learns of it now; the object stays, because others hold it. */
    if (PQsocket(client->conn) >= 0)
        shutdown(PQsocket(client->conn), SHUT_RDWR);
    client->want_write = false;
    client->pipeline = false;
    pg_hold(client);
    while (client->head && !client->closed) {
        struct pg_op *op = client->head;

        if (op->error.code == NEAP_OK && !op->sync) {
            neap_error_copy(&op->error, &client->loss);
            pg_error_place(&op->error, op);
        }
        pg_op_end(client, op);
    }
    if (!client->closed && client->failure.code == NEAP_OK)
        neap_error_copy(&client->failure, &client->loss);
    pg_release(client);
}
