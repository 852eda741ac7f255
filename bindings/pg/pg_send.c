/* SPDX-License-Identifier: MIT
 *
 * Statements on their way out: what is refused before anything is sent, the
 * parameters' copy, the pipeline and its syncs. Bytes that are not text never
 * leave: libpq would cut them at the first NUL and run the rest of a statement.
 */
#include "bindings/pg/pg_internal.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/base/text.h"

#define PARAM_MAX 65535
#define STACK_PARAMS 16
#define IN_FLIGHT_MAX 1000
#define UNFLUSHED_MAX (4U << 20)
#define TOGETHER_BYTES 4096 /* a server at work keeps up with this */
#define TOGETHER_US 500

static bool check_text(const struct pg_param *param, int number, struct neap_error *err)
{
    size_t length = strlen(param->value);

    if (param->length >= 0 && (size_t)param->length != length) {
        neap_error_set(err, NEAP_ERR_DB_ARGUMENT, "parameter $%d holds a NUL byte", number);
        neap_error_hint(err, "PostgreSQL's text cannot hold one; send it as bytea.");
        return false;
    }
    if (!neap_text_is_utf8(param->value, length)) {
        neap_error_set(err, NEAP_ERR_DB_ARGUMENT, "parameter $%d is not valid UTF-8", number);
        neap_error_hint(err, "Send bytes that are not text as bytea.");
        return false;
    }
    return true;
}

bool pg_params_check(const struct pg_statement *statement, struct neap_error *err)
{
    if (!statement->sql || !neap_text_is_utf8(statement->sql, strlen(statement->sql))) {
        neap_error_set(err, NEAP_ERR_DB_ARGUMENT, "the statement is not valid UTF-8");
        return false;
    }
    if (statement->param_count < 0 || statement->param_count > PARAM_MAX) {
        neap_error_set(err, NEAP_ERR_DB_ARGUMENT, "a statement takes at most %d parameters",
                       PARAM_MAX);
        return false;
    }
    for (int i = 0; i < statement->param_count; i++) {
        const struct pg_param *param = &statement->params[i];

        if (param->value && !param->binary && !check_text(param, i + 1, err))
            return false;
    }
    return true;
}

static size_t param_size(const struct pg_param *param)
{
    if (!param->value)
        return 0;
    return param->binary ? (size_t)param->length : strlen(param->value) + 1;
}

/* One block: the rows, then their bytes. */
struct pg_param *pg_params_pack(const struct pg_param *params, int count)
{
    size_t size = (size_t)count * sizeof *params;

    for (int i = 0; i < count; i++)
        size += param_size(&params[i]);
    struct pg_param *packed = neap_alloc(size);
    char *bytes = (char *)(packed + count);

    for (int i = 0; i < count; i++) {
        packed[i] = params[i];
        if (!params[i].value)
            continue;
        memcpy(bytes, params[i].value, param_size(&params[i]));
        packed[i].value = bytes;
        bytes += param_size(&params[i]);
    }
    return packed;
}

struct arrays {
    const char *values[STACK_PARAMS];
    Oid types[STACK_PARAMS];
    int lengths[STACK_PARAMS];
    int formats[STACK_PARAMS];
};

static int send_many(PGconn *conn, const struct pg_op *op, const struct pg_param *params)
{
    int count = op->param_count;
    size_t each = sizeof(char *) + sizeof(Oid) + 2 * sizeof(int);
    const char **values = neap_alloc((size_t)count * each);
    Oid *types = (Oid *)(values + count);
    int *lengths = (int *)(types + count);
    int *formats = lengths + count;

    for (int i = 0; i < count; i++) {
        values[i] = params[i].value;
        types[i] = params[i].type;
        lengths[i] = params[i].length;
        formats[i] = params[i].binary;
    }
    int sent = PQsendQueryParams(conn, op->sql, count, types, values, lengths, formats, op->binary);

    free(values);
    return sent;
}

static int send_few(PGconn *conn, const struct pg_op *op, const struct pg_param *params)
{
    int count = op->param_count;
    struct arrays at;

    for (int i = 0; i < count; i++) {
        at.values[i] = params[i].value;
        at.types[i] = params[i].type;
        at.lengths[i] = params[i].length;
        at.formats[i] = params[i].binary;
    }
    return PQsendQueryParams(conn, op->sql, count, at.types, at.values, at.lengths, at.formats,
                             op->binary);
}

/* Statements that follow each other at once travel together: a write for each wakes
 * the server for each. What is held back goes with the next turn of the loop. */
static void flush_in_time(struct pg_client *client, int64_t now_us)
{
    bool due = !client->pipeline || client->unflushed_bytes >= TOGETHER_BYTES ||
               now_us - client->flushed_us >= TOGETHER_US;

    if (due) {
        pg_flush(client);
        client->flushed_us = now_us;
    } else {
        client->want_write = true;
        pg_rewatch(client);
    }
}

/* False with op->error filled: the caller ends it. */
bool pg_hand_over(struct pg_client *client, struct pg_op *op, const struct pg_param *params)
{
    int count = op->param_count;
    int64_t now_us = neap_clock_us(); /* the server may have answered before libpq returns */
    int sent = count > STACK_PARAMS ? send_many(client->conn, op, params)
                                    : send_few(client->conn, op, params);

    if (!sent) {
        bool bad = PQstatus(client->conn) == CONNECTION_BAD;

        neap_error_set(&op->error, bad ? NEAP_ERR_DB_LOST : NEAP_ERR_DB_ARGUMENT,
                       "the statement could not be sent");
        neap_error_detail(&op->error, "%s", PQerrorMessage(client->conn));
        pg_error_place(&op->error, op);
        pg_flush(client); /* notes it when libpq closed the socket */
        return false;
    }
    op->sent = true;
    op->sent_us = now_us;
    client->unsent = op->next;
    client->unflushed_bytes += strlen(op->sql);
    for (int i = 0; i < count; i++)
        client->unflushed_bytes += param_size(&params[i]);
    free(op->packed);
    op->packed = NULL;
    client->unsynced = client->pipeline;
    flush_in_time(client, now_us);
    return true;
}

static bool has_room(void *arg)
{
    const struct pg_client *client = arg;

    return client->lost ||
           (client->op_count < IN_FLIGHT_MAX / 2 && client->unflushed_bytes < UNFLUSHED_MAX / 2);
}

void pg_ask(struct pg_client *client)
{
    /* Not a sync: outside a transaction a sync would commit. */
    if (client->pipeline && !client->lost)
        PQsendFlushRequest(client->conn);
    pg_flush(client);
}

void pg_push(struct pg_client *client)
{
    if (client->unflushed_bytes == 0)
        return;
    pg_flush(client);
    client->flushed_us = neap_clock_us();
}

/* Both sides may be full: then we read while we wait to write. A callback must
 * not wait, so what it sends is let in over the mark. */
static bool make_room(struct pg_client *client, const struct pg_statement *statement,
                      struct neap_error *err)
{
    if (client->op_count < IN_FLIGHT_MAX && client->unflushed_bytes < UNFLUSHED_MAX)
        return true;
    if (client->pumping || statement->done)
        return true;
    pg_ask(client);
    client->greedy++;
    bool ok = pg_wait_for(client, has_room, client, NULL, err);

    client->greedy--;
    return ok;
}

static bool is_accepted(struct pg_client *client, struct neap_error *err)
{
    if (client->lost) {
        neap_error_copy(err, &client->loss);
        return false;
    }
    if (client->cleanup)
        return true;
    if (client->failure.code != NEAP_OK) {
        neap_error_copy(err, &client->failure);
        return false;
    }
    if (client->head && (client->head->copy == PG_COPY_OPEN)) {
        neap_error_set(err, NEAP_ERR_DB_ARGUMENT, "a COPY is running on this connection");
        return false;
    }
    return neap_run_check(neap_loop_run(client->loop), err);
}

/* After a failure was cleared, the server still skips until the next sync. */
static bool leave_aborted(struct pg_client *client, struct neap_error *err)
{
    if (!client->pipeline || !client->unsynced)
        return true;
    return PQpipelineStatus(client->conn) != PQ_PIPELINE_ABORTED || pg_sync(client, err);
}

static void refused(struct pg_client *client, const struct pg_statement *statement,
                    const struct neap_error *why)
{
    struct neap_gate_result settled = {
        .call_id = statement->call_id, .row_count = -1, .error = why};

    if (statement->call_id >= 0)
        neap_gate_settle(neap_loop_run(client->loop), &settled);
}

static bool start(struct pg_client *client, struct pg_op *op, const struct pg_param *params,
                  struct neap_error *err)
{
    bool at_once = client->pipeline || !client->head;

    if (!at_once)
        op->packed = pg_params_pack(params, op->param_count);
    pg_op_append(client, op);
    if (!at_once || pg_hand_over(client, op, params))
        return true;
    neap_error_copy(err, &op->error);
    op->owned = false;
    op->done = NULL; /* the caller hears it from us */
    pg_op_end(client, op);
    return false;
}

bool pg_send(struct pg_client *client, const struct pg_statement *statement, struct pg_op **out,
             struct neap_error *err)
{
    struct neap_error why = {0};

    if (out)
        *out = NULL;
    if (!is_accepted(client, &why) || !pg_params_check(statement, &why) ||
        !make_room(client, statement, &why) || !is_accepted(client, &why) ||
        !leave_aborted(client, &why)) {
        if (!why.where_file && statement->where_file)
            neap_error_where(&why, statement->where_file, statement->where_line);
        refused(client, statement, &why);
        if (err)
            neap_error_move(err, &why);
        neap_error_clear(&why);
        return false;
    }
    struct pg_op *op = pg_op_new(statement);

    op->owned = out != NULL;
    if (!start(client, op, statement->params, &why)) {
        if (err)
            neap_error_move(err, &why);
        neap_error_clear(&why);
        return false;
    }
    if (out)
        *out = op;
    return true;
}

bool pg_sync(struct pg_client *client, struct neap_error *err)
{
    if (!client->pipeline)
        return true;
    if (client->lost || !PQpipelineSync(client->conn)) {
        if (client->lost)
            neap_error_copy(err, &client->loss);
        else
            neap_error_set(err, NEAP_ERR_DB_LOST, "the pipeline could not be synchronised");
        pg_flush(client); /* notes it when libpq closed the socket */
        return false;
    }
    struct pg_op *op = pg_op_new(NULL);

    op->sync = true;
    op->sent = true;
    pg_op_append(client, op);
    client->unsynced = false;
    pg_flush(client);
    return true;
}

bool pg_pipeline_begin(struct pg_client *client, struct neap_error *err)
{
    if (client->pipeline)
        return true;
    if (!pg_settle(client, err))
        return false;
    if (client->lost || !PQenterPipelineMode(client->conn)) {
        neap_error_set(err, NEAP_ERR_DB_LOST, "the pipeline could not be begun");
        neap_error_detail(err, "%s", PQerrorMessage(client->conn));
        return false;
    }
    client->pipeline = true;
    client->unsynced = false;
    return true;
}

/* Leaves the pipeline also when a statement failed: it is empty then. */
bool pg_pipeline_end(struct pg_client *client, struct neap_error *err)
{
    if (!client->pipeline)
        return !client->lost || pg_settle(client, err);
    bool ok = pg_settle(client, err);

    if (client->lost || !pg_is_idle(client))
        return false;
    if (!PQexitPipelineMode(client->conn)) {
        neap_error_set(err, NEAP_ERR_INTERNAL_BUG, "the pipeline could not be left: %s",
                       PQerrorMessage(client->conn));
        return false;
    }
    client->pipeline = false;
    return ok;
}

bool pg_exec(struct pg_client *client, const struct pg_statement *statement, struct pg_op **out,
             struct neap_error *err)
{
    struct pg_op *op = NULL;

    if (out)
        *out = NULL;
    if (!pg_send(client, statement, &op, err))
        return false;
    bool ok = pg_wait(client, op, err);

    if (ok && out)
        *out = op;
    else
        pg_op_free(op);
    return ok;
}

static struct pg_param *texts(int count, const char *const *params)
{
    struct pg_param *list = count > 0 ? neap_alloc((size_t)count * sizeof *list) : NULL;

    for (int i = 0; i < count; i++)
        list[i] = (struct pg_param){.value = params[i], .length = -1};
    return list;
}

bool pg_exec_text(struct pg_client *client, const char *sql, int param_count,
                  const char *const *params, struct pg_op **out, struct neap_error *err)
{
    struct pg_param *list = texts(param_count, params);
    struct pg_statement statement = {
        .sql = sql, .params = list, .param_count = param_count, .call_id = -1};
    bool ok = pg_exec(client, &statement, out, err);

    free(list);
    return ok;
}

bool pg_send_text(struct pg_client *client, const char *sql, int param_count,
                  const char *const *params, struct neap_error *err)
{
    struct pg_param *list = texts(param_count, params);
    struct pg_statement statement = {
        .sql = sql, .params = list, .param_count = param_count, .call_id = -1};
    bool ok = pg_send(client, &statement, NULL, err);

    free(list);
    return ok;
}
