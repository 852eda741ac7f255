/* SPDX-License-Identifier: MIT
 *
 * db:copy_in and db:copy_out in constant memory. The client asks for bytes and
 * hands them over by callbacks that must not raise, so every step into Lua is a
 * protected call of its own. Surprise: rows given as tables are written in
 * COPY's text format; for CSV or binary the source gives the bytes itself.
 */
#include <stdio.h>
#include <string.h>

#include "bindings/pg/pg_lua_part.h"

#define CHUNK_BYTES 65536
#define WHOLE_MAX_BYTES (64LL * 1024 * 1024) /* of a copy_out without a sink and a rule */

struct copy_source {
    lua_State *L;
    int index; /* of the source on L's stack */
    struct pg_lua_slot *chunk;
    struct pg_lua_slot *cell;
    lua_Integer next; /* of a list of rows */
    int64_t row;      /* for messages */
    bool is_over;
};

/* ---- in ---- */

static void cell_escape(struct neap_buffer *out, const char *text, size_t length)
{
    static const char from[] = "\\\n\r\t", to[] = "\\nrt";
    for (size_t i = 0; i < length; i++) {
        const char *known = text[i] != '\0' ? strchr(from, text[i]) : NULL;
        if (known != NULL)
            neap_buffer_add_char(out, '\\');
        neap_buffer_add_char(out, known != NULL ? to[known - from] : text[i]);
    }
}

/* … cell | */
static void cell_add(lua_State *L, struct copy_source *source, lua_Integer column)
{
    char what[64];
    if (column > 1)
        neap_buffer_add_char(&source->chunk->buffer, '\t');
    if (glue_is_null(L, -1)) {
        neap_buffer_add_text(&source->chunk->buffer, "\\N");
        return;
    }
    snprintf(what, sizeof what, "value %lld of row %lld", (long long)column,
             (long long)source->row);
    source->cell->buffer.length = 0;
    if (!pg_lua_scalar_add(L, lua_gettop(L), what, source->cell))
        glue_raise_code(L, NEAP_ERR_DB_ARGUMENT, "%s is a %s%s", what, luaL_typename(L, -1),
                        lua_istable(L, -1) ? "; write it with db:array{…} or db:json(…)" : "");
    const struct neap_buffer *cell = &source->cell->buffer;
    pg_lua_slot_count(L, source->chunk, 2 * cell->length + 2);
    cell_escape(&source->chunk->buffer, neap_buffer_text(cell), cell->length);
}

/* … row | */
static void row_add(lua_State *L, struct copy_source *source)
{
    int index = lua_gettop(L);
    lua_Integer count = (lua_Integer)lua_rawlen(L, index), keys = 0;
    source->row++;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        keys++;
    if (keys != count || count == 0)
        glue_raise_code(L, NEAP_ERR_DB_ARGUMENT,
                        "row %d must be a list of values without holes; NULL is neap.null",
                        (int)source->row);
    for (lua_Integer column = 1; column <= count; column++) {
        lua_rawgeti(L, index, column);
        cell_add(L, source, column);
        lua_pop(L, 1);
    }
    neap_buffer_add_char(&source->chunk->buffer, '\n');
}

/* … what the source gave | */
static void piece_add(lua_State *L, struct copy_source *source)
{
    size_t length;
    if (lua_isnil(L, -1)) {
        source->is_over = true;
    } else if (lua_istable(L, -1)) {
        row_add(L, source);
    } else if (lua_type(L, -1) == LUA_TSTRING) {
        const char *bytes = lua_tolstring(L, -1, &length);
        pg_lua_slot_count(L, source->chunk, length);
        neap_buffer_add(&source->chunk->buffer, bytes, length);
    } else {
        glue_raise_code(L, NEAP_ERR_DB_ARGUMENT,
                        "the source of a COPY gave a %s; it gives bytes, a row, or nil at the end",
                        luaL_typename(L, -1));
    }
}

/* source state | -- protected */
static int copy_step(lua_State *L)
{
    struct copy_source *source = lua_touserdata(L, 2);
    bool is_list = lua_istable(L, 1);
    struct neap_error err = {0};
    source->chunk->buffer.length = 0;
    while (!source->is_over && source->chunk->buffer.length < CHUNK_BYTES) {
        if (!neap_run_check(glue_context(L)->run, &err)) /* a source in C gives nothing for ever */
            return glue_raise(L, &err);
        if (is_list) {
            lua_rawgeti(L, 1, source->next++);
        } else {
            lua_pushvalue(L, 1);
            lua_call(L, 0, 1);
        }
        piece_add(L, source);
        lua_settop(L, 2);
    }
    return 0;
}

static bool copy_more(void *arg, const char **bytes, size_t *length, struct neap_error *err)
{
    struct copy_source *source = arg;
    lua_State *L = source->L;
    if (source->is_over)
        return false;
    lua_pushcfunction(L, copy_step);
    lua_pushvalue(L, source->index);
    lua_pushlightuserdata(L, source);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
        glue_error_of(L, -1, err);
        lua_pop(L, 1);
        return false;
    }
    *bytes = neap_buffer_text(&source->chunk->buffer);
    *length = source->chunk->buffer.length;
    return source->chunk->buffer.length > 0;
}

struct copy_whole {
    const char *bytes;
    size_t length;
};

static bool copy_whole_more(void *arg, const char **bytes, size_t *length, struct neap_error *err)
{
    struct copy_whole *whole = arg;
    (void)err;
    if (whole->bytes == NULL)
        return false;
    *bytes = whole->bytes;
    *length = whole->length;
    whole->bytes = NULL;
    return true;
}

/* ---- both ---- */

/* Reads (self, sql, …) and passes the gate; what is in flight has ended. */
static struct pg_lua_conn *copy_begin(lua_State *L, const char *name, struct pg_lua_call *call,
                                      struct pg_sql_class *class)
{
    struct pg_lua_conn *conn = pg_lua_check(L);
    struct neap_error err = {0};
    size_t length;
    const char *sql = glue_check_text(L, 2, "the statement", &length);
    pg_lua_classify(L, conn, sql, length, class);
    if (class->kind != PG_SQL_COPY_STREAM) {
        neap_error_set(&err, NEAP_ERR_DB_ARGUMENT,
                       "the statement is not a COPY … FROM STDIN or TO STDOUT");
        neap_error_sql(&err, sql, 0);
        glue_raise(L, &err);
    }
    *call = (struct pg_lua_call){.name = name, .class = class, .effect = pg_lua_effect(conn)};
    call->statement.sql = sql;
    if (!pg_settle(conn->client, &err))
        glue_raise(L, &err);
    luaL_checkstack(L, 8, "COPY");
    return conn;
}

int pg_lua_copy_in(lua_State *L)
{
    struct pg_lua_call call;
    struct pg_sql_class class = {0};
    struct neap_error err = {0};
    int64_t count = 0;
    int type = lua_type(L, 3);
    struct pg_lua_conn *conn = copy_begin(L, "pg.copy_in", &call, &class);
    if (type != LUA_TSTRING && type != LUA_TFUNCTION && type != LUA_TTABLE)
        return glue_raise_code(L, NEAP_ERR_DB_ARGUMENT,
                               "the source of a COPY is a string, a list of rows or a function, "
                               "not a %s",
                               luaL_typename(L, 3));
    struct pg_lua_slot *chunk = pg_lua_slot_push(L), *cell = pg_lua_slot_push(L);
    struct copy_source source = {L, 3, chunk, cell, 1, 0, false};
    struct copy_whole whole = {NULL, 0};
    struct pg_copy copy = {.statement = &call.statement, .more = copy_more, .arg = &source};
    if (type == LUA_TSTRING) {
        whole.bytes = lua_tolstring(L, 3, &whole.length);
        copy.more = copy_whole_more;
        copy.arg = &whole;
    }
    pg_lua_pass(L, &call);
    conn->copying = true;
    bool ok = pg_copy_in(conn->client, &copy, &count, &err);
    conn->copying = false;
    if (!ok)
        return glue_raise(L, &err);
    lua_pushinteger(L, count);
    return 1;
}

/* ---- out ---- */

struct copy_sink {
    lua_State *L;
    struct neap_buffer *whole; /* NULL: the function at 3 */
    int64_t max_bytes;
};

/* function bytes | -- protected */
static int sink_step(lua_State *L)
{
    const struct copy_whole *piece = lua_touserdata(L, 2);
    lua_pushvalue(L, 1);
    lua_pushlstring(L, piece->bytes, piece->length);
    lua_call(L, 1, 0);
    return 0;
}

static bool copy_take(void *arg, const char *bytes, size_t length, struct neap_error *err)
{
    struct copy_sink *sink = arg;
    struct copy_whole piece = {bytes, length};
    lua_State *L = sink->L;
    if (sink->whole != NULL) {
        if ((int64_t)(sink->whole->length + length) > sink->max_bytes) {
            neap_error_set(err, NEAP_ERR_DB_ROWS, "the COPY is larger than one string may hold");
            neap_error_hint(err, "Give db:copy_out a function that takes it piece by piece.");
            return false;
        }
        neap_buffer_add(sink->whole, bytes, length);
        return true;
    }
    lua_pushcfunction(L, sink_step);
    lua_pushvalue(L, 3);
    lua_pushlightuserdata(L, &piece);
    if (lua_pcall(L, 2, 0, 0) == LUA_OK)
        return true;
    glue_error_of(L, -1, err);
    lua_pop(L, 1);
    return false;
}

int pg_lua_copy_out(lua_State *L)
{
    struct pg_lua_call call;
    struct pg_sql_class class = {0};
    struct neap_error err = {0};
    int64_t count = 0;
    lua_settop(L, 3);
    struct pg_lua_conn *conn = copy_begin(L, "pg.copy_out", &call, &class);
    bool is_whole = lua_isnil(L, 3);
    if (!is_whole)
        luaL_checktype(L, 3, LUA_TFUNCTION);
    if (conn->rule.read_only)
        call.effect = NEAP_EFFECT_READ;
    struct pg_lua_slot *slot = pg_lua_slot_push(L);
    struct copy_sink sink = {L, is_whole ? &slot->buffer : NULL,
                             conn->rule.row_max_bytes > 0 ? conn->rule.row_max_bytes
                                                          : WHOLE_MAX_BYTES};
    const struct pg_copy copy = {.statement = &call.statement, .take = copy_take, .arg = &sink};
    pg_lua_pass(L, &call);
    conn->copying = true;
    bool ok = pg_copy_out(conn->client, &copy, &count, &err);
    conn->copying = false;
    if (!ok)
        return glue_raise(L, &err);
    if (is_whole)
        lua_pushlstring(L, neap_buffer_text(&slot->buffer), slot->buffer.length);
    else
        lua_pushinteger(L, count);
    return 1;
}
