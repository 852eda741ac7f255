/* SPDX-License-Identifier: MIT
 *
 * db:exec, query, row and value: classify, pass the gate, send, read. Every
 * result is read row by row, so that a missing WHERE meets the cap and not the
 * machine's memory. Surprise: an exec whose result nobody looks at is sent
 * without waiting; its error comes where the host waits next, and still names
 * the line that sent it.
 */
#include <string.h>

#include "bindings/pg/pg_index.h"
#include "bindings/pg/pg_lua_part.h"

#define DRAIN_ROWS 1000 /* unwanted rows worth reading to spare the transaction a cancel */

static void refuse(lua_State *L, enum neap_error_code code, const char *sql,
                   const struct pg_sql_class *class, const char *why)
{
    struct neap_error err = {0};
    neap_error_set(&err, code, "%s %s", class->verb != NULL ? class->verb : "the statement", why);
    neap_error_sql(&err, sql, 0);
    glue_raise(L, &err);
}

void pg_lua_classify(lua_State *L, const struct pg_lua_conn *conn, const char *sql, size_t length,
                     struct pg_sql_class *out)
{
    struct neap_error err = {0};
    if (!pg_sql_classify(sql, length, out, &err))
        glue_raise(L, &err);
    bool is_alone = out->kind == PG_SQL_NO_TRANSACTION || out->kind == PG_SQL_INDEX_CONCURRENTLY;
    if (out->kind == PG_SQL_TRANSACTION_CONTROL)
        refuse(L, NEAP_ERR_DB_TRANSACTION_CONTROL, sql, out,
               "is not the script's: the host begins and ends transactions");
    if (is_alone && conn->rule.transaction)
        refuse(L, NEAP_ERR_DB_NO_TRANSACTION, sql, out,
               "cannot run in a transaction; write `transaction = false` with `steps`");
}

/* What a read-only session answers without changing anything; it enforces the
 * rest itself. Nothing else is trusted for its first word. */
static bool is_question(const struct pg_sql_class *class)
{
    const char *verb = class->verb != NULL ? class->verb : "";
    return class->kind == PG_SQL_SELECT || strcmp(verb, "EXPLAIN") == 0 ||
           strcmp(verb, "SHOW") == 0;
}

struct pg_lua_conn *pg_lua_call_check(lua_State *L, const char *name, bool reads,
                                      struct pg_lua_call *call, struct pg_sql_class *class)
{
    struct pg_lua_conn *conn = pg_lua_check(L);
    size_t length;
    const char *sql = glue_check_text(L, 2, "the statement", &length);
    pg_lua_classify(L, conn, sql, length, class);
    if (class->kind == PG_SQL_COPY_STREAM)
        refuse(L, NEAP_ERR_DB_ARGUMENT, sql, class, "streams; use db:copy_in or db:copy_out");
    *call = (struct pg_lua_call){.name = name, .class = class, .effect = pg_lua_effect(conn)};
    if (class->kind == PG_SQL_COPY_PROGRAM)
        call->effect = NEAP_EFFECT_WRITE;
    else if (conn->rule.read_only && reads && is_question(class))
        call->effect = NEAP_EFFECT_READ;
    call->statement.sql = sql;
    call->statement.params = pg_lua_params_check(L, 3, &call->statement.param_count);
    return conn;
}

/* ---- exec ---- */

/* True when the calling line does not look at what db:exec gives. */
static bool is_unlooked(lua_State *L, const struct pg_lua_conn *conn)
{
    lua_Debug frame;
    const struct pg_lua_rule *rule = &conn->rule;
    if (!rule->transaction || rule->unlooked == NULL)
        return false;
    if (!lua_getstack(L, 0, &frame) || !lua_getinfo(L, "t", &frame) || frame.istailcall)
        return false;
    if (!lua_getstack(L, 1, &frame) || !lua_getinfo(L, "Sl", &frame))
        return false;
    if (frame.what[0] == 'C' || frame.source[0] != '@' || frame.currentline <= 0)
        return false;
    return rule->unlooked(rule->unlooked_arg, frame.source + 1, frame.currentline);
}

void pg_lua_index_build(lua_State *L, struct pg_lua_conn *conn, struct pg_lua_call *call)
{
    struct neap_error err = {0};
    if (call->class->index_name[0] == '\0')
        refuse(L, NEAP_ERR_DB_ARGUMENT, call->statement.sql, call->class,
               "needs a name for the index; name it, so that a leftover can be told and dropped");
    pg_lua_pass(L, call);
    const struct pg_index_build build = {
        .work = conn->client,
        .control = conn->owned ? NULL : conn->rule.control,
        .statement = &call->statement,
        .class = call->class,
        .ours = conn->rule.index_ours,
    };
    if (!pg_index_build(&build, &err))
        glue_raise(L, &err);
}

/* Reads and drops the rows of a SELECT that is run for what it does. */
static int64_t rows_discard(lua_State *L, struct pg_lua_conn *conn, struct pg_lua_slot *slot)
{
    struct neap_error err = {0};
    int64_t count = 0;
    for (;;) {
        if (!pg_next_row(conn->client, slot->op, &slot->result, &err))
            glue_raise(L, &err);
        if (slot->result == NULL)
            return count;
        PQclear(slot->result);
        slot->result = NULL;
        count++;
    }
}

static int64_t exec_wait(lua_State *L, struct pg_lua_conn *conn, struct pg_lua_call *call)
{
    struct neap_error err = {0};
    struct pg_lua_slot *slot = pg_lua_slot_push(L);
    call->statement.rows = call->class->kind == PG_SQL_SELECT;
    if (!pg_send(conn->client, &call->statement, &slot->op, &err))
        glue_raise(L, &err);
    if (call->statement.rows)
        return rows_discard(L, conn, slot);
    if (!pg_wait(conn->client, slot->op, &err))
        glue_raise(L, &err);
    int64_t count = pg_op_row_count(slot->op);
    return count < 0 ? 0 : count;
}

int pg_lua_exec(lua_State *L)
{
    struct pg_sql_class class = {0};
    struct pg_lua_call call;
    struct neap_error err = {0};
    struct pg_lua_conn *conn = pg_lua_call_check(L, "pg.exec", false, &call, &class);
    if (class.kind == PG_SQL_INDEX_CONCURRENTLY) {
        pg_lua_index_build(L, conn, &call);
        lua_pushinteger(L, 0);
        return 1;
    }
    pg_lua_pass(L, &call);
    if (class.kind != PG_SQL_SELECT && is_unlooked(L, conn)) {
        if (!pg_send(conn->client, &call.statement, NULL, &err))
            return glue_raise(L, &err);
        return 0;
    }
    lua_pushinteger(L, exec_wait(L, conn, &call));
    return 1;
}

/* ---- rows ---- */

/* Cancels what is left of `op`, unless little of it is. */
static void give_up(struct pg_lua_conn *conn, struct pg_op *op, const struct neap_error *why)
{
    PGresult *row = NULL;
    for (int i = 0; i < DRAIN_ROWS; i++) {
        if (!pg_next_row(conn->client, op, &row, NULL) || row == NULL)
            return;
        PQclear(row);
    }
    pg_cancel_because(conn->client, why);
}

/* Sends what (self, sql, …) asks for; the slot owns the operation. */
static struct pg_lua_conn *send_rows(lua_State *L, const char *name, struct pg_lua_slot **slot)
{
    struct pg_sql_class class = {0};
    struct pg_lua_call call;
    struct neap_error err = {0};
    struct pg_lua_conn *conn = pg_lua_call_check(L, name, true, &call, &class);
    if (class.kind == PG_SQL_INDEX_CONCURRENTLY)
        refuse(L, NEAP_ERR_DB_ARGUMENT, call.statement.sql, &class, "gives no rows; use db:exec");
    *slot = pg_lua_slot_push(L);
    pg_lua_pass(L, &call);
    call.statement.rows = true;
    if (!pg_send(conn->client, &call.statement, &(*slot)->op, &err))
        glue_raise(L, &err);
    return conn;
}

/* False at the end; the slot owns the row. */
static bool next_row(lua_State *L, struct pg_lua_conn *conn, struct pg_lua_slot *slot)
{
    struct neap_error err = {0};
    PQclear(slot->result);
    slot->result = NULL;
    if (!pg_next_row(conn->client, slot->op, &slot->result, &err))
        glue_raise(L, &err);
    return slot->result != NULL;
}

static int64_t row_bytes(const PGresult *row)
{
    int64_t bytes = 0;
    for (int column = 0; column < PQnfields(row); column++)
        bytes += PQgetlength(row, 0, column);
    return bytes;
}

static int refuse_rows(lua_State *L, struct pg_lua_conn *conn, struct pg_lua_slot *slot,
                       const char *message, const char *hint)
{
    struct neap_error err = {0};
    const char *file;
    int line;
    PQclear(slot->result);
    slot->result = NULL;
    neap_error_set(&err, NEAP_ERR_DB_ROWS, "%s", message);
    neap_error_hint(&err, "%s", hint);
    neap_error_sql(&err, lua_tostring(L, 2), 0);
    if (glue_where(L, &file, &line))
        neap_error_where(&err, file, line);
    give_up(conn, slot->op, &err);
    return glue_raise(L, &err);
}

/* self sql … slot rows shape | */
int pg_lua_query(lua_State *L)
{
    struct pg_lua_slot *slot;
    struct pg_lua_conn *conn = send_rows(L, "pg.query", &slot);
    int64_t bytes = 0;
    lua_Integer count = 0;
    lua_newtable(L);
    int rows = lua_gettop(L);
    while (next_row(L, conn, slot)) {
        bytes += row_bytes(slot->result);
        if (conn->rule.row_max_bytes > 0 && bytes > conn->rule.row_max_bytes)
            return refuse_rows(L, conn, slot, "the result is larger than db:query may hold",
                               "Stream it with db:rows, or ask for fewer rows.");
        if (count == 0)
            pg_lua_shape_push(L, slot->result);
        pg_lua_row_push(L, slot->result, 0, rows + 1);
        lua_rawseti(L, rows, ++count);
    }
    lua_pushvalue(L, rows);
    return 1;
}

static void refuse_second(lua_State *L, struct pg_lua_conn *conn, struct pg_lua_slot *slot,
                          const char *message)
{
    if (next_row(L, conn, slot))
        refuse_rows(L, conn, slot, message, "Say which with WHERE, or take all with db:query.");
}

int pg_lua_row(lua_State *L)
{
    struct pg_lua_slot *slot;
    struct pg_lua_conn *conn = send_rows(L, "pg.row", &slot);
    if (!next_row(L, conn, slot)) {
        lua_pushnil(L);
        return 1;
    }
    pg_lua_shape_push(L, slot->result);
    pg_lua_row_push(L, slot->result, 0, lua_gettop(L));
    refuse_second(L, conn, slot, "db:row wants at most one row and the statement gave more");
    return 1;
}

int pg_lua_value(lua_State *L)
{
    struct pg_lua_slot *slot;
    struct pg_lua_conn *conn = send_rows(L, "pg.value", &slot);
    if (!next_row(L, conn, slot)) {
        lua_pushnil(L);
        return 1;
    }
    if (PQnfields(slot->result) == 0)
        lua_pushnil(L);
    else
        pg_lua_cell_push(L, slot->result, 0, 0);
    refuse_second(L, conn, slot, "db:value wants at most one row and the statement gave more");
    return 1;
}
