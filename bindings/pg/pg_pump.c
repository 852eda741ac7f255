/* SPDX-License-Identifier: MIT
 *
 * Takes results from libpq and gives each to the statement it answers. The one
 * place that calls PQgetResult. Never waits. Single-row mode has to be asked
 * for between a statement's becoming the first and the first look at its
 * answer; that moment exists only here and right after sending.
 */
#include "bindings/pg/pg_internal.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

static bool is_stream(const struct pg_op *op)
{
    return op->streams || (!op->owned && !op->done);
}

/* Rows that nobody will look at are taken one by one too: a discarded SELECT of
 * 5 GB costs no memory. */
static void choose_mode(struct pg_client *client)
{
    struct pg_op *op = client->head;

    if (op && op->sent && !op->sync && !op->answered && !op->single && is_stream(op))
        op->single = PQsetSingleRowMode(client->conn) == 1;
}

static void keep_row(struct pg_op *op, PGresult *result)
{
    op->row_count = (op->row_count < 0 ? 0 : op->row_count) + PQntuples(result);
    if (!op->owned || !op->streams) {
        PQclear(result);
        return;
    }
    struct pg_row *row = neap_alloc(sizeof *row);

    row->result = result;
    op->rows_bytes += PQresultMemorySize(result);
    op->rows_queued++;
    if (op->rows_last)
        op->rows_last->next = row;
    else
        op->rows = row;
    op->rows_last = row;
}

static void keep_success(struct pg_op *op, PGresult *result)
{
    if (op->streams && PQntuples(result) > 0) { /* single-row mode came too late */
        keep_row(op, result);
        return;
    }
    if (!op->streams || op->row_count < 0)
        op->row_count = pg_result_row_count(result);
    PQclear(op->result);
    op->result = result;
}

/* We cancelled it because the run stops: that is why it failed. */
static void name_the_stop(struct pg_client *client, struct pg_op *op)
{
    struct neap_error stop = {0};

    if (!neap_run_check(neap_loop_run(client->loop), &stop)) {
        neap_error_move(&op->error, &stop);
        neap_error_sqlstate(&op->error, "57014");
    }
    neap_error_clear(&stop);
}

static void keep_failure(struct pg_client *client, struct pg_op *op, PGresult *result)
{
    if (op->error.code == NEAP_OK) {
        pg_error_from_result(result, op->sql, &op->error);
        if (client->cancelled && strcmp(op->error.sqlstate, "57014") == 0)
            name_the_stop(client, op);
        pg_error_place(&op->error, op);
    }
    PQclear(op->result);
    op->result = result;
}

static void keep_aborted(struct pg_client *client, struct pg_op *op, PGresult *result)
{
    PQclear(result);
    if (op->error.code != NEAP_OK)
        return;
    neap_error_set(&op->error, NEAP_ERR_DB_ABORTED,
                   "the statement was not run: an earlier one failed");
    if (client->cause)
        neap_error_detail(&op->error, "First failure: %s.", client->cause);
    pg_error_place(&op->error, op);
}

/* A COPY that pg_copy_in and pg_copy_out did not ask for is ended at once: left
 * open, it would swallow every statement after it. */
static void refuse_copy(struct pg_client *client, struct pg_op *op, ExecStatusType status)
{
    if (op->error.code == NEAP_OK) {
        neap_error_set(&op->error, NEAP_ERR_DB_ARGUMENT, "COPY %s is not run as a plain statement",
                       status == PGRES_COPY_IN ? "FROM STDIN" : "TO STDOUT");
        neap_error_hint(&op->error, "Use %s.", status == PGRES_COPY_IN ? "copy_in" : "copy_out");
        pg_error_place(&op->error, op);
    }
    if (client->pipeline || status == PGRES_COPY_BOTH) {
        /* libpq 15 loses count of its syncs when a COPY ends in a pipeline. */
        pg_lose(client, "a COPY was begun in a pipeline, which libpq cannot end in order");
        return;
    }
    op->copy = PG_COPY_DISCARD;
    op->copy_in = status == PGRES_COPY_IN;
    if (op->copy_in)
        PQputCopyEnd(client->conn, "refused by neap: not run as a plain statement");
    pg_flush(client);
}

static void begin_copy(struct pg_client *client, struct pg_op *op, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    bool fits = op->copy == PG_COPY_WANTED && status != PGRES_COPY_BOTH &&
                op->copy_in == (status == PGRES_COPY_IN);

    PQclear(result);
    if (fits)
        op->copy = PG_COPY_OPEN;
    else if (op->copy != PG_COPY_DISCARD || status == PGRES_COPY_BOTH)
        refuse_copy(client, op, status);
}

/* True when the COPY's bytes are over and PQgetResult may be asked again. */
static bool discard_copy(struct pg_client *client, struct pg_op *op)
{
    char *bytes = NULL;
    int length;

    if (op->copy_in)
        return true;
    while ((length = PQgetCopyData(client->conn, &bytes, 1)) > 0)
        PQfreemem(bytes);
    return length < 0;
}

static void take_result(struct pg_client *client, struct pg_op *op, PGresult *result)
{
    bool fatal = pg_result_is_fatal(result);
    /* libpq's own failure: it has dropped an answer for want of memory or of sense,
     * and which answer belongs to which statement is no longer known. */
    bool own = PQresultStatus(result) == PGRES_FATAL_ERROR &&
               PQresultErrorField(result, PG_DIAG_SQLSTATE) == NULL;

    op->answered = true;
    switch (PQresultStatus(result)) {
    case PGRES_SINGLE_TUPLE:
        keep_row(op, result);
        break;
    case PGRES_EMPTY_QUERY:
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
        keep_success(op, result);
        break;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        begin_copy(client, op, result);
        break;
    case PGRES_PIPELINE_ABORTED:
        keep_aborted(client, op, result);
        break;
    case PGRES_PIPELINE_SYNC:
        PQclear(result);
        pg_op_end(client, op);
        break;
    case PGRES_BAD_RESPONSE:
    case PGRES_NONFATAL_ERROR:
    case PGRES_FATAL_ERROR:
        keep_failure(client, op, result);
        break;
    }
    if (fatal || own)
        pg_lose(client, fatal ? "the server ended the session" : NULL);
}

static bool is_open_to_results(const struct pg_client *client)
{
    const struct pg_op *op = client->head;

    if (client->lost || client->closed || !op || !op->sent || op->copy == PG_COPY_OPEN)
        return false;
    if (client->greedy == 0 && op->streams && op->owned &&
        (op->rows_queued >= 256 || op->rows_bytes >= 1U << 20))
        return false;
    return true;
}

/* libpq 15 drops a pipeline's end when it finds no memory to tell of it, stays busy
 * for ever and only says so here, in a line of its own. */
static bool has_dropped_an_answer(struct pg_client *client)
{
    static const char words[] = "out of memory";
    const char *said = PQerrorMessage(client->conn);

    for (const char *at = said; (at = strstr(at, words)) != NULL; at++)
        if ((at == said || at[-1] == '\n') && strchr("\n", at[sizeof words - 1]))
            return true;
    return false;
}

static bool pump_once(struct pg_client *client)
{
    struct pg_op *op = client->head;

    choose_mode(client);
    if (op->copy == PG_COPY_DISCARD && !discard_copy(client, op))
        return false;
    if (PQisBusy(client->conn)) {
        if (has_dropped_an_answer(client))
            pg_lose(client, NULL);
        return false;
    }
    PGresult *result = PQgetResult(client->conn);

    if (result) {
        take_result(client, op, result);
        return true;
    }
    if (!op->answered)
        return false;
    pg_op_end(client, op);
    return true;
}

void pg_pump(struct pg_client *client)
{
    if (client->pumping || client->lost || client->closed)
        return;
    client->pumping = true;
    pg_hold(client);
    while (is_open_to_results(client) && pump_once(client))
        pg_send_next(client);
    client->pumping = false;
    if (!client->closed)
        pg_send_next(client);
    pg_release(client);
}
