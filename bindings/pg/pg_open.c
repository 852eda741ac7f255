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

static bool send_first(struct pg_client *client, struct neap_error *err)
{
    struct pg_statement statement = {.sql = client->first_sql, .call_id = -1};

    return pg_send(client, &statement, &client->first, err);
}

/* Nobody may wait for it yet: what is asked first goes out at once. */
static bool make_ready(struct pg_client *client)
{
    PQsetErrorVerbosity(client->conn, PQERRORS_DEFAULT);
    client->connecting = false;
    client->ready = PQsetnonblocking(client->conn, 1) == 0 && pg_watch(client, UV_READABLE);
    if (client->ready && client->first_sql)
        send_first(client, NULL);
    return client->ready;
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
    if (!client->connect_ended)
        return;
    set_address(client); /* the host that answered, or the last that did not */
    if (PQstatus(client->conn) == CONNECTION_OK)
        make_ready(client);
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

/* The first attempt says until when all of them are made. */
static bool start_connect(struct pg_client *client, const struct pg_open_opts *opts,
                          struct neap_error *err)
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
    client->begun_ms = neap_clock_ms();
    if (client->give_up_ms == 0)
        client->give_up_ms = neap_clock_deadline_ms(limit_ms(client, opts));
    /* A new socket counts as writable once; only then is libpq asked. */
    client->connecting = true;
    client->connect_ended = !pg_watch(client, UV_WRITABLE);
    return true;
}

static bool wait_connected(struct pg_client *client, struct neap_error *err)
{
    char *what = neap_format("%s to accept a connection", client->address);
    struct neap_wait wait = {
        .done = has_connected,
        .arg = client,
        .deadline_ms = client->give_up_ms,
        .what = what,
    };
    struct neap_error stop = {0};
    bool ended = neap_loop_wait(client->loop, &wait, &stop);

    free(what);
    neap_error_clear(&stop);
    if (client->ready)
        return true;
    pg_unwatch(client);
    client->connecting = false;
    if (!ended && !neap_run_check(neap_loop_run(client->loop), err))
        return false;
    if (!ended)
        pg_connect_silent(client, client->give_up_ms - client->begun_ms, err);
    else if (PQstatus(client->conn) == CONNECTION_OK)
        neap_error_set(err, NEAP_ERR_DB_CONNECT, "the socket of %s cannot be watched",
                       client->address);
    else
        pg_connect_failed(client, err);
    return false;
}

static bool connect_client(struct pg_client *client, const struct pg_open_opts *opts,
                           struct neap_error *err)
{
    bool begun = client->connecting || client->ready;

    return (begun || start_connect(client, opts, err)) && wait_connected(client, err);
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
    int64_t pause_ms = FULL_PAUSE_FIRST_MS;
    struct neap_error full = {0};

    while (!connect_client(client, opts, err)) {
        bool is_full = client->conn && pg_connect_is_full(client);

        if (is_full) {
            neap_error_clear(&full);
            neap_error_copy(&full, err);
        } else if (full.code != NEAP_OK && err->code == NEAP_ERR_DB_CONNECT &&
                   neap_clock_ms() >= client->give_up_ms) {
            neap_error_clear(err); /* the last try had no time left to be refused in */
            neap_error_move(err, &full);
        }
        if (!is_full || !wait_for_room(client, pause_ms, client->give_up_ms, err)) {
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

static struct pg_client *new_client(struct neap_loop *loop, const struct pg_open_opts *opts)
{
    struct pg_client *client = neap_alloc(sizeof *client);

    client->loop = loop;
    client->name = neap_strdup(opts->name ? opts->name : "database");
    return client;
}

struct pg_client *pg_open_begin(struct neap_loop *loop, const struct pg_open_opts *opts,
                                const char *first_sql)
{
    struct pg_client *client = new_client(loop, opts);

    client->first_sql = first_sql;
    if (!start_connect(client, opts, NULL)) { /* pg_open_end tries again, and tells */
        PQfinish(client->conn);
        client->conn = NULL;
    }
    return client;
}

bool pg_open_end(struct pg_client *client, const struct pg_open_opts *opts, struct pg_op **first,
                 struct neap_error *err)
{
    bool opened = neap_run_check(neap_loop_run(client->loop), err) &&
                  connect_in_time(client, opts, err) &&
                  (client->first || send_first(client, err)) && pg_wait(client, client->first, err);

    if (!opened) {
        pg_close(client);
        return false;
    }
    neap_log(NEAP_LOG_DEBUG, "db.connect", "%s: connected to %s (backend %d)", client->name,
             client->address, PQbackendPID(client->conn));
    *first = client->first;
    client->first = NULL;
    return true;
}

bool pg_open(struct neap_loop *loop, const struct pg_open_opts *opts, struct pg_client **out,
             struct neap_error *err)
{
    struct pg_client *client = new_client(loop, opts);

    *out = NULL;
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
    pg_op_free(client->first);
    client->first = NULL;
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
