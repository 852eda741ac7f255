/* SPDX-License-Identifier: MIT
 *
 * db:rows: a result of any size in constant memory. In a transaction it is a
 * server-side cursor, read in batches whose size follows the rows' width, and
 * other statements may run in between; outside one it is libpq's single-row
 * mode, which keeps the connection busy. Surprise: the words INTO, INSERT,
 * UPDATE, DELETE and MERGE anywhere in a SELECT choose single-row mode, since a
 * cursor refuses SELECT INTO and writing CTEs.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bindings/pg/pg_lua_part.h"

#define BATCH_FIRST 64
#define BATCH_MAX 1000
#define BATCH_BYTES ((size_t)4 * 1024 * 1024)

static unsigned cursor_count;

/* ---- the end ---- */

static void rows_unlink(struct rows_handle *rows)
{
    if (rows->link != NULL)
        *rows->link = rows->next;
    if (rows->next != NULL)
        rows->next->link = rows->link;
    rows->link = NULL;
    rows->next = NULL;
}

void pg_lua_rows_forget(struct rows_handle *rows)
{
    if (rows->conn != NULL && rows->conn->streaming == rows)
        rows->conn->streaming = NULL;
    pg_op_free(rows->op);
    PQclear(rows->result);
    rows->op = NULL;
    rows->result = NULL;
    rows->cursor[0] = '\0';
    rows->conn = NULL;
    rows_unlink(rows);
}

/* An open cursor would keep its tables "used by active queries": no DDL. The
 * CLOSE is not waited for; in a failed transaction it is refused and not needed. */
void pg_lua_rows_close(void *handle)
{
    struct rows_handle *rows = handle;
    struct pg_lua_conn *conn = rows->conn;
    char sql[64];
    if (conn != NULL && conn->client != NULL && rows->cursor[0] != '\0' && !conn->copying) {
        const struct pg_statement statement = {.sql = sql, .call_id = -1};
        snprintf(sql, sizeof sql, "CLOSE %s", rows->cursor);
        (void)pg_send(conn->client, &statement, NULL, NULL);
    }
    pg_lua_rows_forget(rows);
}

/* ---- the beginning ---- */

static bool word_is_at(const char *text, const char *word, size_t length)
{
    return strncasecmp(text, word, length) == 0 && !isalnum((unsigned char)text[length]) &&
           text[length] != '_';
}

/* Too careful on purpose: a column named "update" costs only the cursor. */
static bool may_write(const char *sql)
{
    static const char *const words[] = {"into", "insert", "update", "delete", "merge", NULL};
    for (const char *at = sql; *at != '\0'; at++) {
        if (at > sql && (isalnum((unsigned char)at[-1]) || at[-1] == '_'))
            continue;
        for (const char *const *word = words; *word != NULL; word++) {
            if (word_is_at(at, *word, strlen(*word)))
                return true;
        }
    }
    return false;
}

static void cursor_open(lua_State *L, struct pg_lua_conn *conn, struct pg_lua_call *call,
                        struct rows_handle *rows)
{
    struct neap_error err = {0};
    char name[sizeof rows->cursor];
    const char *sql = call->statement.sql;
    snprintf(name, sizeof name, "neap_rows_%u", ++cursor_count);
    const char *declare = lua_pushfstring(L, "DECLARE %s NO SCROLL CURSOR FOR ", name);
    int prefix = (int)strlen(declare);
    call->statement.sql = lua_pushfstring(L, "%s%s", declare, sql);
    if (!pg_exec(conn->client, &call->statement, NULL, &err)) {
        if (err.sql_position > prefix)
            neap_error_sql(&err, sql, err.sql_position - prefix);
        glue_raise(L, &err);
    }
    memcpy(rows->cursor, name, sizeof name);
    rows->batch_size = BATCH_FIRST;
}

/* self sql … rows | iterator nil nil rows */
int pg_lua_rows_open(lua_State *L)
{
    struct pg_sql_class class = {0};
    struct pg_lua_call call;
    struct neap_error err = {0};
    struct pg_lua_conn *conn = pg_lua_call_check(L, "pg.rows", true, &call, &class);
    struct rows_handle *rows = glue_handle_push(L, &pg_lua_rows);
    int index = lua_gettop(L);
    pg_lua_pass(L, &call);
    rows->conn = conn;
    rows->depth = conn->savepoint_depth;
    rows->next = conn->rows;
    rows->link = &conn->rows;
    if (conn->rows != NULL)
        conn->rows->link = &rows->next;
    conn->rows = rows;
    if (conn->rule.transaction && class.kind == PG_SQL_SELECT && !may_write(call.statement.sql)) {
        cursor_open(L, conn, &call, rows);
    } else {
        call.statement.rows = true;
        if (!pg_send(conn->client, &call.statement, &rows->op, &err))
            return glue_raise(L, &err);
        conn->streaming = rows;
    }
    lua_pushvalue(L, index);
    lua_pushnil(L);      /* the shape, once a row came */
    lua_pushvalue(L, 1); /* the connection lives as long as its rows */
    lua_pushcclosure(L, pg_lua_rows_next, 3);
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushvalue(L, index);
    return 4;
}

/* ---- one row ---- */

/* The next batch follows the width of this one. */
static void batch_resize(struct rows_handle *rows, const PGresult *result)
{
    int count = PQntuples(result);
    if (count == 0)
        return;
    size_t wide = PQresultMemorySize(result) / (size_t)count + 1;
    size_t fits = BATCH_BYTES / wide;
    rows->batch_size = fits < 1 ? 1 : fits > BATCH_MAX ? BATCH_MAX : (int)fits;
}

static void batch_fetch(lua_State *L, struct rows_handle *rows)
{
    struct neap_error err = {0};
    char sql[80];
    const char *file = NULL;
    int line = 0;
    struct pg_statement statement = {.sql = sql, .call_id = -1};
    if (rows->conn->streaming != NULL || rows->conn->copying)
        glue_raise_code(L, NEAP_ERR_DB_ARGUMENT, "the connection is busy with another stream");
    if (glue_where(L, &file, &line)) {
        statement.where_file = file;
        statement.where_line = line;
    }
    snprintf(sql, sizeof sql, "FETCH FORWARD %d FROM %s", rows->batch_size, rows->cursor);
    pg_op_free(rows->op);
    rows->op = NULL;
    if (!pg_exec(rows->conn->client, &statement, &rows->op, &err)) {
        rows->cursor[0] = '\0';
        glue_raise(L, &err);
    }
    const PGresult *result = pg_op_result(rows->op);
    rows->is_last = PQntuples(result) < rows->batch_size;
    rows->batch_row = 0;
    batch_resize(rows, result);
}

/* The result that holds the next row, and which row; NULL at the end. */
static const PGresult *row_take(lua_State *L, struct rows_handle *rows, int *row)
{
    struct neap_error err = {0};
    *row = 0;
    if (rows->cursor[0] == '\0') {
        PQclear(rows->result);
        rows->result = NULL;
        if (!pg_next_row(rows->conn->client, rows->op, &rows->result, &err)) {
            pg_lua_rows_close(rows);
            glue_raise(L, &err);
        }
        return rows->result;
    }
    bool is_used_up = rows->op == NULL || rows->batch_row >= pg_rows(rows->op);
    if (is_used_up && rows->op != NULL && rows->is_last)
        return NULL;
    if (is_used_up)
        batch_fetch(L, rows);
    if (rows->batch_row >= pg_rows(rows->op))
        return NULL;
    *row = rows->batch_row++;
    return pg_op_result(rows->op);
}

int pg_lua_rows_next(lua_State *L)
{
    struct rows_handle *rows = lua_touserdata(L, lua_upvalueindex(1));
    int row;
    if (rows->is_stale)
        return glue_raise_code(
            L, NEAP_ERR_HANDLE_CLOSED,
            "the rows are read after the function that asked for them has ended");
    if (rows->conn == NULL)
        return 0;
    const PGresult *result = row_take(L, rows, &row);
    if (result == NULL) {
        pg_lua_rows_close(rows);
        return 0;
    }
    if (lua_isnil(L, lua_upvalueindex(2))) {
        pg_lua_shape_push(L, result);
        lua_replace(L, lua_upvalueindex(2));
    }
    lua_pushvalue(L, lua_upvalueindex(2));
    pg_lua_row_push(L, result, row, lua_gettop(L));
    return 1;
}
