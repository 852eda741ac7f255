/* SPDX-License-Identifier: MIT
 *
 * What the server said: the one classifier of SQLSTATEs, and cells for the
 * host's own queries. It decides by SQLSTATE; by words only where PostgreSQL
 * has one code for two meanings (57014), and then an unknown language falls to
 * the harmless side.
 */
#include "bindings/pg/pg_internal.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

#define WORDS_MAX 16384 /* of each field of a server's error */

static const struct {
    const char *sqlstate; /* or a class of two characters */
    enum neap_error_code code;
    const char *words; /* in plain words, or NULL: the server's */
} classes[] = {
    {"55P03", NEAP_ERR_LOCK_TIMEOUT, NULL},
    {"40P01", NEAP_ERR_LOCK_DEADLOCK, NULL},
    {"40001", NEAP_ERR_DB_SERIALIZATION, NULL},
    {"25P02", NEAP_ERR_DB_ABORTED, NULL},
    {"25P03", NEAP_ERR_DB_LOST, "the server ended the session: idle in transaction for too long"},
    {"25P04", NEAP_ERR_DB_LOST, "the server ended the session: the transaction took too long"},
    {"57P01", NEAP_ERR_DB_LOST, "the server ended the session: by an administrator or a shutdown"},
    {"57P02", NEAP_ERR_DB_LOST, "the server ended the session: another server process crashed"},
    {"57P03", NEAP_ERR_DB_LOST, "the server does not accept connections now"},
    {"57P04", NEAP_ERR_DB_LOST, "the server ended the session: the database was dropped"},
    {"57P05", NEAP_ERR_DB_LOST, "the server ended the session: idle for too long"},
    {"08", NEAP_ERR_DB_LOST, NULL},
    {"NP001", NEAP_ERR_DB_ESCAPED, NULL}, /* raised by schema neap's own functions */
    {"NP002", NEAP_ERR_LEASE_LOST, NULL},
    {"NP003", NEAP_ERR_HISTORY_FORGED, NULL},
};

static const char *field(const PGresult *result, int code)
{
    return result ? PQresultErrorField(result, code) : NULL;
}

bool pg_result_is_fatal(const PGresult *result)
{
    const char *severity = field(result, PG_DIAG_SEVERITY_NONLOCALIZED);

    return severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

/* A server's words may be a script's own, and a hundred megabytes long. */
static int shown(const char *words)
{
    return (int)strnlen(words, WORDS_MAX);
}

static enum neap_error_code classify(const char *sqlstate, const char *message, const char **words)
{
    /* A class of lost connections, but this one lives on: the count of parameters. */
    if (strcmp(sqlstate, "08P01") == 0 && strncmp(message, "bind message supplies", 21) == 0)
        return NEAP_ERR_DB_ARGUMENT;
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (strncmp(sqlstate, classes[i].sqlstate, strlen(classes[i].sqlstate)) == 0) {
            *words = classes[i].words;
            return classes[i].code;
        }
    }
    if (strcmp(sqlstate, "57014") == 0 && strstr(message, "statement timeout"))
        return NEAP_ERR_RUN_DEADLINE;
    if (strcmp(sqlstate, "25001") == 0 && strstr(message, "inside a transaction block"))
        return NEAP_ERR_DB_NO_TRANSACTION;
    return NEAP_ERR_DB_QUERY;
}

static void add_line(struct neap_buffer *text, const char *label, const char *words)
{
    if (!words || !*words)
        return;
    if (text->length)
        neap_buffer_add_char(text, '\n');
    neap_buffer_add_text(text, label);
    neap_buffer_add(text, words, (size_t)shown(words));
}

/* The server's hint mends a statement; what it says of a deadlock ("See server log")
 * must not hide the row's own next command. */
static void set_detail(const PGresult *result, const char *own_words, struct neap_error *err)
{
    const char *hint = field(result, PG_DIAG_MESSAGE_HINT);
    bool has_next = neap_error_row(err->code)->next[0] != '\0';
    struct neap_buffer text = {0};

    add_line(&text, "", own_words);
    add_line(&text, "", field(result, PG_DIAG_MESSAGE_DETAIL));
    add_line(&text, "Internal query: ", field(result, PG_DIAG_INTERNAL_QUERY));
    add_line(&text, "Context: ", field(result, PG_DIAG_CONTEXT));
    add_line(&text, "Hint: ", has_next ? hint : NULL);
    if (text.length)
        neap_error_detail(err, "%s", neap_buffer_text(&text));
    if (hint && !has_next)
        neap_error_hint(err, "%.*s", shown(hint), hint);
    neap_buffer_clear(&text);
}

/* libpq's own failures have no SQLSTATE: the connection broke, or memory ended. */
static void set_without_sqlstate(const PGresult *result, const char *sql, struct neap_error *err)
{
    const char *words = result ? PQresultErrorMessage(result) : "";
    size_t length = strcspn(words, "\n");

    neap_error_set(err, NEAP_ERR_DB_LOST, "%.*s", length ? (int)length : 24,
                   length ? words : "the server sent no answer");
    if (sql)
        neap_error_sql(err, sql, 0);
}

void pg_error_from_result(const PGresult *result, const char *sql, struct neap_error *err)
{
    const char *sqlstate = field(result, PG_DIAG_SQLSTATE);
    const char *message = field(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *position = field(result, PG_DIAG_STATEMENT_POSITION);
    const char *words = NULL;

    if (!sqlstate) {
        set_without_sqlstate(result, sql, err);
        return;
    }
    message = message ? message : "the server refused a statement";
    enum neap_error_code code = classify(sqlstate, message, &words);

    neap_error_set(err, code, "%.*s", shown(words ? words : message), words ? words : message);
    neap_error_sqlstate(err, sqlstate);
    set_detail(result, words ? message : NULL, err);
    if (sql)
        neap_error_sql(err, sql, position ? (int)strtol(position, NULL, 10) : 0);
}

void pg_error_place(struct neap_error *err, const struct pg_op *op)
{
    if (err && op->sql && !err->sql)
        neap_error_sql(err, op->sql, 0);
    if (err && op->where_file && !err->where_file)
        neap_error_where(err, op->where_file, op->where_line);
}

int64_t pg_result_row_count(const PGresult *result)
{
    /* libpq wants it without const, and only reads. */
    union {
        const PGresult *in; /* cppcheck-suppress unusedStructMember; initialised below */
        PGresult *out;
    } same = {.in = result};
    const char *count = PQcmdTuples(same.out);

    if (*count)
        return strtoll(count, NULL, 10);
    return PQresultStatus(result) == PGRES_TUPLES_OK ? PQntuples(result) : -1;
}

bool pg_op_is_done(const struct pg_op *op)
{
    return op->ended;
}

const PGresult *pg_op_result(const struct pg_op *op)
{
    return op->ended ? op->result : NULL;
}

const struct neap_error *pg_op_error(const struct pg_op *op)
{
    return op->error.code == NEAP_OK ? NULL : &op->error;
}

int64_t pg_op_row_count(const struct pg_op *op)
{
    return op->row_count < 0 ? 0 : op->row_count;
}

const char *pg_op_tag(const struct pg_op *op)
{
    return op->ended && op->result ? PQcmdStatus(op->result) : "";
}

int64_t pg_op_duration_us(const struct pg_op *op)
{
    return op->duration_us;
}

int pg_rows(const struct pg_op *op)
{
    return op->ended && op->result ? PQntuples(op->result) : 0;
}

const char *pg_cell(const struct pg_op *op, int row, int column)
{
    const PGresult *result = pg_op_result(op);

    if (!result || row < 0 || column < 0 || row >= PQntuples(result) ||
        column >= PQnfields(result) || PQgetisnull(result, row, column))
        return NULL;
    return PQgetvalue(result, row, column);
}

int64_t pg_cell_int(const struct pg_op *op, int row, int column)
{
    const char *text = pg_cell(op, row, column);

    return text ? strtoll(text, NULL, 10) : 0;
}

bool pg_cell_bool(const struct pg_op *op, int row, int column)
{
    const char *text = pg_cell(op, row, column);

    return text && text[0] == 't';
}

const char *pg_cell_bytes(const struct pg_op *op, int row, int column, size_t *length)
{
    const char *bytes = pg_cell(op, row, column);

    *length = bytes ? (size_t)PQgetlength(op->result, row, column) : 0;
    return bytes;
}

/* The network's byte order, the sign in the first. */
int64_t pg_cell_number(const struct pg_op *op, int row, int column)
{
    size_t length = 0;
    const char *bytes = pg_cell_bytes(op, row, column, &length);
    uint64_t number = length > 0 && (bytes[0] & 0x80) ? UINT64_MAX : 0;

    for (size_t i = 0; i < length; i++)
        number = number << 8 | (unsigned char)bytes[i];
    return (int64_t)number;
}

bool pg_cell_truth(const struct pg_op *op, int row, int column)
{
    const char *bytes = pg_cell(op, row, column);

    return bytes && bytes[0] == 1;
}
