/* SPDX-License-Identifier: MIT
 *
 * Opening and closing a connection. libpq's connection poll may close its socket
 * and open another with the same number, so the loop's handle is made anew
 * around every step. No `options` startup parameter: poolers refuse it.
 */
#include "bindings/pg/pg_internal.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/log.h"
#include "host/base/memory.h"

#define CONNECT_TIMEOUT_MS 10000
#define KEYWORD_MAX 16
#define FULL_PAUSE_FIRST_MS 100
#define FULL_PAUSE_MAX_MS 1600

/* In libpq's array a later keyword beats an earlier one, and the expanded
 * dbname stands in the middle: before it our defaults, after it our rules. */
static PGconn *begin_connect(const struct pg_open_opts *opts)
{
    const char *keywords[KEYWORD_MAX] = {"keepalives", "keepalives_idle", "keepalives_interval",
                                         "keepalives_count", "tcp_user_timeout"};
    const char *values[KEYWORD_MAX] = {"1", "30", "10", "3", "30000"};
    int count = 5;

    if (opts->conninfo) {
        keywords[count] = "dbname";
        values[count++] = opts->conninfo;
    }
    keywords[count] = "client_encoding";
    values[count++] = "UTF8";
    if (opts->application_name) {
        keywords[count] = "application_name";
        values[count++] = opts->application_name;
    }
    return PQconnectStartParams(keywords, values, 1);
}

static void add_secret(const char *text, size_t length)
{
    char *secret = neap_strndup(text, length);

    if (length >= 4)
        neap_redact_add(secret);
    free(secret);
}

/* A password with '/' or '@' that was not percent-encoded makes libpq take the
 * rest of it for a host or a port and print it: every piece of what stands
 * between the first ':' and the last '@' is a secret. */
static void redact_uri(const char *uri)
{
    const char *start = uri ? strstr(uri, "://") : NULL;
    const char *colon = start ? strchr(start + 3, ':') : NULL;
    const char *end = start ? strrchr(start + 3, '@') : NULL;

    if (!colon || !end || colon > end)
        return;
    add_secret(colon + 1, (size_t)(end - colon - 1));
    for (const char *at = colon + 1; at < end;) {
        size_t length = strcspn(at, "@/:?#");

        if (length > (size_t)(end - at))
            length = (size_t)(end - at);
        add_secret(at, length);
        at += length + 1;
    }
}

static char *option_value(PGconn *conn, const char *keyword)
{
    PQconninfoOption *options = PQconninfo(conn);
    char *value = NULL;

    for (PQconninfoOption *at = options; at && at->keyword; at++)
        if (strcmp(at->keyword, keyword) == 0)
            value = neap_strdup(at->val);
    PQconninfoFree(options);
    return value;
}

static void redact_option(PGconn *conn, const char *keyword)
{
    char *value = option_value(conn, keyword);

    if (value && *value)
        neap_redact_add(value);
    free(value);
}

/* Again at each step: another host may have another line in the password file. */
static void redact_passwords(struct pg_client *client)
{
    const char *password = PQpass(client->conn);

    if (password && *password)
        neap_redact_add(password);
}

static const char *or_default(const char *text)
{
    return text && *text ? text : "(default)";
}

static void set_address(struct pg_client *client)
{
    free(client->address);
    client->address = neap_format("%s:%s/%s as %s", or_default(PQhost(client->conn)),
                                  or_default(PQport(client->conn)), or_default(PQdb(client->conn)),
                                  or_default(PQuser(client->conn)));
}

void pg_connect_step(struct pg_client *client)
{
    pg_unwatch(client);
    PostgresPollingStatusType next = PQconnectPoll(client->conn);

    redact_passwords(client);
    switch (next) {
    case PGRES_POLLING_READING:
        client->connect_ended = !pg_watch(client, UV_READABLE);
        break;
    case PGRES_POLLING_WRITING:
        client->connect_ended = !pg_watch(client, UV_WRITABLE);
        break;
    case PGRES_POLLING_ACTIVE:
    case PGRES_POLLING_OK:
    case PGRES_POLLING_FAILED:
        client->connect_ended = true;
        break;
    }
}

static bool has_connected(void *arg)
{
    return ((const struct pg_client *)arg)->connect_ended;
}

static int64_t limit_ms(struct pg_client *client, const struct pg_open_opts *opts)
{
    char *own = option_value(client->conn, "connect_timeout");
    int64_t seconds = own ? strtoll(own, NULL, 10) : 0;

    free(own);
    if (opts->timeout_ms > 0)
        return opts->timeout_ms;
    return seconds > 0 ? seconds * 1000 : CONNECT_TIMEOUT_MS;
}

static bool wait_connected(struct pg_client *client, int64_t timeout_ms, struct neap_error *err)
{
    char *what = neap_format("%s to accept a connection", client->address);
    struct neap_wait wait = {
        .done = has_connected,
        .arg = client,
        .deadline_ms = neap_clock_deadline_ms(timeout_ms),
        .what = what,
    };
    struct neap_error stop = {0};

    /* A new socket counts as writable once; only then is libpq asked. */
    client->connecting = true;
    client->connect_ended = !pg_watch(client, UV_WRITABLE);
    bool ended = neap_loop_wait(client->loop, &wait, &stop);

    pg_unwatch(client);
    client->connecting = false;
    free(what);
    bool stopped = !ended && !neap_run_check(neap_loop_run(client->loop), err);

    neap_error_clear(&stop);
    if (stopped)
        return false;
    set_address(client); /* the host that answered, or the last that did not */
    if (ended && PQstatus(client->conn) == CONNECTION_OK)
        return true;
    if (ended)
        pg_connect_failed(client, err);
    else
        pg_connect_silent(client, timeout_ms, err);
    return false;
}

/* *give_up_ms: 0 at the first attempt, which sets it for all. */
static bool connect_client(struct pg_client *client, const struct pg_open_opts *opts,
                           int64_t *give_up_ms, struct neap_error *err)
{
    redact_uri(opts->conninfo);
    client->conn = begin_connect(opts);
    if (!client->conn) {
        neap_error_set(err, NEAP_ERR_DB_CONNECT, "libpq has no memory for a connection");
        return false;
    }
    redact_option(client->conn, "password");
    redact_option(client->conn, "sslpassword");
    redact_passwords(client);
    set_address(client);
    PQsetNoticeReceiver(client->conn, pg_notice_receive, client);
    PQsetErrorVerbosity(client->conn, PQERRORS_VERBOSE); /* with the code of a refusal */
    if (PQstatus(client->conn) == CONNECTION_BAD || PQsocket(client->conn) < 0) {
        pg_connect_failed(client, err);
        return false;
    }
    int64_t left_ms = *give_up_ms - neap_clock_ms();

    if (*give_up_ms == 0) {
        left_ms = limit_ms(client, opts);
        *give_up_ms = neap_clock_deadline_ms(left_ms);
    }
    if (!wait_connected(client, left_ms, err))
        return false;
    PQsetErrorVerbosity(client->conn, PQERRORS_DEFAULT);
    if (PQsetnonblocking(client->conn, 1) == 0 && pg_watch(client, UV_READABLE))
        return true;
    neap_error_set(err, NEAP_ERR_DB_CONNECT, "the socket of %s cannot be watched", client->address);
    return false;
}

/* False: the refusal in `err` stands, or a stop came and is in `err` now. */
static bool wait_for_room(struct pg_client *client, int64_t pause_ms, int64_t give_up_ms,
                          struct neap_error *err)
{
    struct neap_error stop = {0};

    pause_ms = pause_ms / 2 + neap_clock_us() % (pause_ms / 2 + 1); /* apart from the others */
    if (neap_clock_ms() + pause_ms >= give_up_ms)
        return false;
    neap_log(NEAP_LOG_DEBUG, "db.full", "%s has no connection free; trying again in %lld ms",
             client->address, (long long)pause_ms);
    if (neap_loop_sleep(client->loop, pause_ms, "a free connection", &stop)) {
        neap_error_clear(err);
        return true;
    }
    neap_error_clear(err);
    neap_error_move(err, &stop);
    return false;
}

static bool connect_in_time(struct pg_client *client, const struct pg_open_opts *opts,
                            struct neap_error *err)
{
    int64_t give_up_ms = 0;
    int64_t pause_ms = FULL_PAUSE_FIRST_MS;
    struct neap_error full = {0};

    while (!connect_client(client, opts, &give_up_ms, err)) {
        bool is_full = client->conn && pg_connect_is_full(client);

        if (is_full) {
            neap_error_clear(&full);
            neap_error_copy(&full, err);
        } else if (full.code != NEAP_OK && err->code == NEAP_ERR_DB_CONNECT &&
                   neap_clock_ms() >= give_up_ms) {
            neap_error_clear(err); /* the last try had no time left to be refused in */
            neap_error_move(err, &full);
        }
        if (!is_full || !wait_for_room(client, pause_ms, give_up_ms, err)) {
            neap_error_clear(&full);
            return false;
        }
        PQfinish(client->conn);
        client->conn = NULL;
        pause_ms = pause_ms * 2 > FULL_PAUSE_MAX_MS ? FULL_PAUSE_MAX_MS : pause_ms * 2;
    }
    neap_error_clear(&full);
    return true;
}

bool pg_open(struct neap_loop *loop, const struct pg_open_opts *opts, struct pg_client **out,
             struct neap_error *err)
{
    struct pg_client *client = neap_alloc(sizeof *client);

    *out = NULL;
    client->loop = loop;
    client->name = neap_strdup(opts->name ? opts->name : "database");
    if (!neap_run_check(neap_loop_run(loop), err) || !connect_in_time(client, opts, err)) {
        pg_close(client);
        return false;
    }
    neap_log(NEAP_LOG_DEBUG, "db.connect", "%s: connected to %s (backend %d)", client->name,
             client->address, PQbackendPID(client->conn));
    *out = client;
    return true;
}

/* Callbacks are not called: who closes has given up what they belong to. The
 * gate still hears of each statement. */
void pg_close(struct pg_client *client)
{
    if (!client || client->closed)
        return;
    pg_hold(client);
    client->closed = true;
    while (client->head) {
        struct pg_op *op = client->head;

        if (op->error.code == NEAP_OK && !op->sync) {
            neap_error_set(&op->error, NEAP_ERR_DB_LOST, "the connection to %s was closed",
                           client->address);
            pg_error_place(&op->error, op);
        }
        pg_op_end(client, op);
    }
    pg_unwatch(client);
    neap_timer_end(client->dropped);
    client->lost = true;
    PQfinish(client->conn);
    client->conn = NULL;
    pg_release(client);
}

PGconn *pg_raw(struct pg_client *client)
{
    return client->conn;
}

struct neap_loop *pg_loop(struct pg_client *client)
{
    return client->loop;
}

bool pg_is_lost(const struct pg_client *client)
{
    return client->lost || client->dropped;
}

const char *pg_address(const struct pg_client *client)
{
    return client->address;
}

const struct neap_error *pg_failure(const struct pg_client *client)
{
    return client->failure.code == NEAP_OK ? NULL : &client->failure;
}

void pg_failure_clear(struct pg_client *client)
{
    neap_error_clear(&client->failure);
}

void pg_cleanup(struct pg_client *client, bool on)
{
    client->cleanup = on;
}

PGTransactionStatusType pg_transaction_status(const struct pg_client *client)
{
    return client->lost ? PQTRANS_UNKNOWN : PQtransactionStatus(client->conn);
}
