/* SPDX-License-Identifier: MIT
 *
 * The classes that scripts see as `db` and neap.pg: rows, registration, and the
 * life of handles. It sends nothing itself. Surprise: a handle is made stale by
 * taking its client away, so no generation has to be compared, and every handle
 * of a state is in one list for the moment when the host retires them.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_lua_part.h"

#define SLOT_STEP_BYTES 65536 /* charged ahead: not each piece asks */

struct pg_lua_state {
    struct pg_lua_conn *conns;
};

static const char state_key = 0;

/* ---- owners ---- */

static void slot_close(void *handle)
{
    struct pg_lua_slot *slot = handle;
    pg_op_free(slot->op);
    PQclear(slot->result);
    free(slot->text);
    neap_buffer_clear(&slot->buffer);
    if (slot->counted > 0)
        (void)slot->context->charge(slot->context, -(int64_t)slot->counted);
    slot->counted = 0;
    slot->op = NULL;
    slot->result = NULL;
    slot->text = NULL;
}

static const struct glue_function no_functions[] = {{0}};
static const struct glue_class slot_class = {"neap.pg.Slot", "Owns what C holds during one call.",
                                             no_functions, slot_close, sizeof(struct pg_lua_slot)};

struct pg_lua_slot *pg_lua_slot_push(lua_State *L)
{
    struct pg_lua_slot *slot = glue_handle_push(L, &slot_class);
    slot->context = glue_context(L);
    lua_toclose(L, -1);
    return slot;
}

void pg_lua_slot_count(lua_State *L, struct pg_lua_slot *slot, size_t length)
{
    struct glue_context *context = slot->context;
    struct neap_error err = {0};
    if (slot->buffer.length + length <= slot->counted)
        return;
    if (!neap_run_check(context->run, &err))
        glue_raise(L, &err);
    size_t more = slot->buffer.length + length - slot->counted + SLOT_STEP_BYTES;
    if (context->charge == NULL)
        return;
    if (!context->charge(context, (int64_t)more))
        glue_raise_code(L, NEAP_ERR_SCRIPT_MEMORY,
                        "the value needs more memory than the script may use");
    slot->counted += more;
}

static void conn_unlink(struct pg_lua_conn *conn)
{
    if (conn->link == NULL)
        return;
    *conn->link = conn->next;
    if (conn->next != NULL)
        conn->next->link = conn->link;
    conn->link = NULL;
    conn->next = NULL;
}

/* Ends what the handle holds; what it opened itself is closed. */
static void conn_retire(struct pg_lua_conn *conn)
{
    while (conn->rows != NULL) {
        conn->rows->is_stale = true;
        pg_lua_rows_close(conn->rows);
    }
    if (conn->owned)
        pg_close(conn->client);
    conn->client = NULL;
    conn->streaming = NULL;
}

void pg_lua_conn_close(void *handle)
{
    struct pg_lua_conn *conn = handle;
    conn_retire(conn);
    conn_unlink(conn);
}

/* The state closes: its handles may be collected in any order after it. */
static void state_close(void *handle)
{
    struct pg_lua_state *state = handle;
    while (state->conns != NULL)
        pg_lua_conn_close(state->conns);
}

static const struct glue_class state_class = {"neap.pg.State", "Lists the handles of a state.",
                                              no_functions, state_close,
                                              sizeof(struct pg_lua_state)};

/* ---- handles ---- */

struct pg_lua_conn *pg_lua_conn_push(lua_State *L, const struct pg_lua_rule *rule)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key);
    struct pg_lua_state *state = lua_touserdata(L, -1);
    struct pg_lua_conn *conn = glue_handle_push(L, &pg_lua_conn);
    conn->rule = *rule;
    conn->next = state->conns;
    conn->link = &state->conns;
    if (state->conns != NULL)
        state->conns->link = &conn->next;
    state->conns = conn;
    lua_remove(L, -2);
    return conn;
}

struct pg_lua_conn *pg_lua_check_any(lua_State *L)
{
    struct pg_lua_conn *conn = glue_handle_check(L, 1, &pg_lua_conn);
    if (conn->client == NULL)
        glue_raise_code(L, NEAP_ERR_HANDLE_CLOSED,
                        "the connection is used after the function it was given to has ended");
    if (conn->copying)
        glue_raise_code(L, NEAP_ERR_DB_ARGUMENT,
                        "the connection is inside a COPY; use it again when the COPY has ended");
    return conn;
}

struct pg_lua_conn *pg_lua_check(lua_State *L)
{
    struct pg_lua_conn *conn = pg_lua_check_any(L);
    if (conn->streaming != NULL)
        glue_raise_code(L, NEAP_ERR_DB_ARGUMENT,
                        "the connection is streaming rows; end the loop over db:rows first, or "
                        "read them with db:query");
    return conn;
}

enum neap_effect pg_lua_effect(const struct pg_lua_conn *conn)
{
    return conn->rule.transaction ? NEAP_EFFECT_TX : NEAP_EFFECT_WRITE;
}

void pg_lua_pass(lua_State *L, struct pg_lua_call *call)
{
    struct neap_error err = {0};
    const char *file = NULL;
    int line = 0;
    if (glue_where(L, &file, &line)) {
        call->statement.where_file = file;
        call->statement.where_line = line;
    }
    const struct neap_gate_call gate = {
        .effect = call->effect,
        .name = call->name,
        .statement = call->statement.sql,
        .fingerprint = call->class != NULL && call->class->fingerprint[0] != '\0'
                           ? call->class->fingerprint
                           : NULL,
        .where_file = file,
        .where_line = line,
        .param_count = call->statement.param_count,
    };
    if (!neap_gate_pass(glue_context(L)->run, &gate, &call->statement.call_id, &err))
        glue_raise(L, &err);
}

/* ---- small methods ---- */

static int conn_close(lua_State *L)
{
    struct pg_lua_conn *conn = glue_handle_check(L, 1, &pg_lua_conn);
    if (conn->client != NULL && !conn->owned)
        return glue_raise_code(L, NEAP_ERR_DB_ARGUMENT,
                               "the host's connection is not the script's to close");
    pg_lua_conn_close(conn);
    return 0;
}

static int conn_ident(lua_State *L)
{
    struct pg_lua_conn *conn = pg_lua_check_any(L);
    struct neap_error err = {0};
    int top = lua_gettop(L);
    if (top < 2)
        return glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT, "db:ident needs a name");
    struct pg_lua_slot *slot = pg_lua_slot_push(L);
    for (int i = 2; i <= top; i++) {
        size_t length;
        const char *name = glue_check_text(L, i, "an identifier", &length);
        if (!pg_ident(conn->client, name, length, &slot->text, &err))
            return glue_raise(L, &err);
        pg_lua_slot_count(L, slot, strlen(slot->text) + 1);
        if (i > 2)
            neap_buffer_add_char(&slot->buffer, '.');
        neap_buffer_add_text(&slot->buffer, slot->text);
        free(slot->text);
        slot->text = NULL;
    }
    lua_pushlstring(L, neap_buffer_text(&slot->buffer), slot->buffer.length);
    return 1;
}

static int conn_literal(lua_State *L)
{
    struct pg_lua_conn *conn = pg_lua_check_any(L);
    struct neap_error err = {0};
    size_t length;
    const char *text = glue_check_text(L, 2, "a literal", &length);
    struct pg_lua_slot *slot = pg_lua_slot_push(L);
    if (!pg_literal(conn->client, text, length, &slot->text, &err))
        return glue_raise(L, &err);
    lua_pushstring(L, slot->text);
    return 1;
}

/* Waits for what was sent without waiting, so that its errors come here. */
static int conn_wait(lua_State *L)
{
    struct pg_lua_conn *conn = pg_lua_check(L);
    struct neap_error err = {0};
    if (!pg_settle(conn->client, &err))
        return glue_raise(L, &err);
    return 0;
}

static int conn_status(lua_State *L)
{
    struct pg_lua_conn *conn = pg_lua_check_any(L);
    static const char *const words[] = {"idle", "active", "transaction", "failed", "unknown"};
    if (pg_is_lost(conn->client))
        lua_pushliteral(L, "lost");
    else
        lua_pushstring(L, words[pg_transaction_status(conn->client)]);
    return 1;
}

static int conn_server_version(lua_State *L)
{
    struct pg_lua_conn *conn = pg_lua_check_any(L);
    lua_pushinteger(L, PQserverVersion(pg_raw(conn->client)));
    return 1;
}

/* The stdlib has no error object to raise but this one. */
static int expectation_failed(lua_State *L)
{
    struct neap_error err = {0};
    const char *message = luaL_checkstring(L, 1), *hint = luaL_optstring(L, 2, NULL);
    neap_error_set(&err, NEAP_ERR_EXPECT_FAILED, "%s", message);
    if (hint != NULL)
        neap_error_hint(&err, "%s", hint);
    return glue_raise(L, &err);
}

/* ---- the rows ---- */

/* Values for parameters: db has them, and so has require "neap.pg", for a module of
 * lib/ that is given no db. */
/* clang-format off */
#define VALUE_FUNCTIONS                                                                \
    {"array", NEAP_EFFECT_PURE, pg_lua_array, "list: table", "string",                 \
     "Writes a list as an array parameter."},                                          \
    {"json", NEAP_EFFECT_PURE, pg_lua_json, "value: any, opts?: neap.pg.JsonOpts",     \
     "string", "Writes a Lua value as a JSON parameter."},                             \
    {"bytea", NEAP_EFFECT_PURE, pg_lua_bytea, "bytes: string", "neap.pg.Bytea",        \
     "Marks a string as bytes, for a bytea parameter."}
/* clang-format on */

static const struct glue_function conn_functions[] = {
    {"exec", NEAP_EFFECT_TX, pg_lua_exec, "sql: string, ...: neap.pg.Param", "integer",
     "Runs one statement and gives the number of rows it affected."},
    {"query", NEAP_EFFECT_READ, pg_lua_query, "sql: string, ...: neap.pg.Param", "neap.pg.Row[]",
     "Runs one statement and gives all its rows."},
    {"row", NEAP_EFFECT_READ, pg_lua_row, "sql: string, ...: neap.pg.Param", "neap.pg.Row|nil",
     "Runs one statement and gives its only row, or nil when there is none."},
    {"value", NEAP_EFFECT_READ, pg_lua_value, "sql: string, ...: neap.pg.Param", "any",
     "Runs one statement and gives the first column of its only row."},
    {"rows", NEAP_EFFECT_READ, pg_lua_rows_open, "sql: string, ...: neap.pg.Param",
     "fun(): neap.pg.Row|nil", "Streams the rows of one statement through a for loop."},
    {"copy_in", NEAP_EFFECT_TX, pg_lua_copy_in,
     "sql: string, source: string|table|fun(): string|table|nil", "integer",
     "Sends the bytes or rows of `source` to a COPY … FROM STDIN."},
    {"copy_out", NEAP_EFFECT_READ, pg_lua_copy_out, "sql: string, sink?: fun(bytes: string)",
     "string|integer", "Reads a COPY … TO STDOUT into `sink`, or as one string."},
    {"savepoint", NEAP_EFFECT_TX, pg_lua_savepoint, "fn: fun(db: neap.pg.Conn, ...: any), ...: any",
     "boolean, any", "Runs `fn` so that a failing statement undoes only what `fn` did."},
    {"wait", NEAP_EFFECT_READ, conn_wait, "", "nil",
     "Waits until every statement sent so far has succeeded."},
    {"ident", NEAP_EFFECT_PURE, conn_ident, "name: string, ...: string", "string",
     "Quotes an identifier, or several as one qualified name."},
    {"literal", NEAP_EFFECT_PURE, conn_literal, "text: string", "string",
     "Quotes a text as an SQL literal, where parameters are not allowed."},
    VALUE_FUNCTIONS,
    {"listen", NEAP_EFFECT_WRITE, pg_lua_listen, "channel: string", "nil",
     "Begins to listen on a channel."},
    {"unlisten", NEAP_EFFECT_WRITE, pg_lua_unlisten, "channel?: string", "nil",
     "Ends listening on a channel, or on all of them."},
    {"notify", NEAP_EFFECT_TX, pg_lua_notify, "channel: string, payload?: string", "nil",
     "Notifies those who listen on a channel."},
    {"wait_notification", NEAP_EFFECT_READ, pg_lua_wait_notification, "opts?: neap.pg.WaitOpts",
     "neap.pg.Notification|nil", "Waits for a notification, or gives nil when the time is over."},
    {"connect", NEAP_EFFECT_WRITE, pg_lua_connect, "opts?: neap.pg.ConnectOpts", "neap.pg.Conn",
     "Opens another connection to the same target, outside any transaction."},
    {"close", NEAP_EFFECT_PURE, conn_close, "", "nil",
     "Closes a connection that db:connect opened."},
    {"status", NEAP_EFFECT_PURE, conn_status, "", "string",
     "Says whether the session is idle, active, in a transaction, failed or lost."},
    {"server_version", NEAP_EFFECT_PURE, conn_server_version, "", "integer",
     "Gives the server's version as a number, 150020 for 15.20."},
    {0}};

const struct glue_class pg_lua_conn = {"neap.pg.Conn", "A session with the target's PostgreSQL.",
                                       conn_functions, pg_lua_conn_close,
                                       sizeof(struct pg_lua_conn)};

static int rows_close(lua_State *L)
{
    pg_lua_rows_close(glue_handle_check(L, 1, &pg_lua_rows));
    return 0;
}

static const struct glue_function rows_functions[] = {
    {"close", NEAP_EFFECT_PURE, rows_close, "", "nil", "Ends the stream before its last row."},
    {0}};

const struct glue_class pg_lua_rows = {"neap.pg.Rows", "The rows of db:rows, as they come.",
                                       rows_functions, pg_lua_rows_close,
                                       sizeof(struct rows_handle)};

static const struct glue_function module_functions[] = {
    VALUE_FUNCTIONS,
    {"decode_json", NEAP_EFFECT_PURE, pg_lua_decode_json, "text: string", "any",
     "Reads JSON: integers stay integers, other numbers are strings, null is neap.null."},
    {"decode_array", NEAP_EFFECT_PURE, pg_lua_decode_array, "text: string", "table",
     "Reads the text of an array whose element type neap does not know."},
    {"expectation_failed", NEAP_EFFECT_PURE, expectation_failed, "message: string, hint?: string",
     "nil", "Raises expect.failed at the line of the script: for expectations of your own."},
    {0}};

const struct glue_class pg_lua_module = {"neap.pg", "PostgreSQL values for parameters.",
                                         module_functions, NULL, 0};

/* ---- the host's side ---- */

void pg_lua_open(lua_State *L)
{
    glue_class_register(L, &pg_lua_conn);
    glue_class_register(L, &pg_lua_rows);
    glue_class_register(L, &slot_class);
    glue_class_register(L, &state_class);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key) == LUA_TNIL) {
        (void)glue_handle_push(L, &state_class);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &state_key);
    }
    lua_pop(L, 1);
}

void pg_lua_push(lua_State *L, struct pg_client *client, const struct pg_lua_rule *rule)
{
    pg_lua_conn_push(L, rule)->client = client;
}

void pg_lua_retire(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key);
    struct pg_lua_state *state = lua_touserdata(L, -1);
    lua_pop(L, 1);
    for (struct pg_lua_conn *conn = state != NULL ? state->conns : NULL; conn != NULL;
         conn = conn->next)
        conn_retire(conn);
}
