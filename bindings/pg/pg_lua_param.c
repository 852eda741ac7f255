/* SPDX-License-Identifier: MIT
 *
 * Lua values on their way to the server: parameters, array literals, bytea. It
 * knows no connection. Everything goes as text whose type the server infers,
 * except bytea, which goes binary with its type: a bytes value that meets a text
 * column is then an error and not a column full of "\x00…".
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_lua_part.h"
#include "host/base/text.h"

#define BYTEA_CLASS "neap.pg.Bytea"
#define OID_BYTEA 17
#define NUMBER_SIZE 32
#define ARRAY_DEPTH_MAX 6 /* PostgreSQL's MAXDIM */

/* Room for one parameter that has no Lua string of its own. */
struct param_cell {
    struct pg_param param;
    char number[NUMBER_SIZE];
};

static void number_text(lua_State *L, int index, char text[NUMBER_SIZE])
{
    if (lua_isinteger(L, index)) {
        snprintf(text, NUMBER_SIZE, "%lld", (long long)lua_tointeger(L, index));
        return;
    }
    double number = lua_tonumber(L, index);
    if (isnan(number) || isinf(number)) {
        snprintf(text, NUMBER_SIZE, "%s",
                 isnan(number) ? "NaN"
                 : number < 0  ? "-Infinity"
                               : "Infinity");
        return;
    }
    /* The shortest text that reads back the same: 0.1 stays 0.1 in a numeric. */
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, NUMBER_SIZE, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            return;
    }
}

static void text_check(lua_State *L, const char *text, size_t length, const char *what)
{
    if (memchr(text, '\0', length) != NULL)
        glue_raise_code(L, NEAP_ERR_DB_ARGUMENT,
                        "%s contains a NUL byte; text cannot, db:bytea(…) can", what);
    if (!neap_text_is_utf8(text, length))
        glue_raise_code(L, NEAP_ERR_DB_ARGUMENT, "%s is not valid UTF-8; bytes go as db:bytea(…)",
                        what);
    if (length > INT32_MAX)
        glue_raise_code(L, NEAP_ERR_DB_ARGUMENT, "%s is longer than 2 GB", what);
}

static int refuse(lua_State *L, int index, const char *what)
{
    int type = lua_type(L, index);
    if (type == LUA_TNIL)
        return glue_raise_code(L, NEAP_ERR_DB_ARGUMENT, "%s is nil; NULL is neap.null", what);
    if (type == LUA_TTABLE)
        return glue_raise_code(
            L, NEAP_ERR_DB_ARGUMENT,
            "%s is a table; pass db:array{…}, db:json(…) or the values one by one", what);
    return glue_raise_code(L, NEAP_ERR_DB_ARGUMENT, "%s is a %s, which SQL has no value for", what,
                           luaL_typename(L, index));
}

static void param_check(lua_State *L, int index, int number, struct param_cell *cell)
{
    char what[32];
    struct pg_param *param = &cell->param;
    size_t length = 0;
    snprintf(what, sizeof what, "parameter $%d", number);
    *param = (struct pg_param){0};
    if (glue_is_null(L, index))
        return;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        param->value = lua_tolstring(L, index, &length);
        text_check(L, param->value, length, what);
        break;
    case LUA_TNUMBER:
        number_text(L, index, cell->number);
        param->value = cell->number;
        length = strlen(cell->number);
        break;
    case LUA_TBOOLEAN:
        param->value = lua_toboolean(L, index) ? "true" : "false";
        length = strlen(param->value);
        break;
    default:
        param->value = pg_lua_bytea_peek(L, index, &length);
        if (param->value == NULL)
            refuse(L, index, what);
        param->type = OID_BYTEA;
        param->binary = true;
    }
    param->length = (int)length;
}

const struct pg_param *pg_lua_params_check(lua_State *L, int first, int *count)
{
    int top = lua_gettop(L);
    *count = top >= first ? top - first + 1 : 0;
    if (*count == 0)
        return NULL;
    if (*count > 65535)
        glue_raise_code(L, NEAP_ERR_DB_ARGUMENT, "%d parameters; a statement takes at most 65535",
                        *count);
    size_t number = (size_t)*count;
    char *block =
        lua_newuserdatauv(L, number * (sizeof(struct pg_param) + sizeof(struct param_cell)), 0);
    struct param_cell *cells = (void *)block;
    struct pg_param *params = (void *)(block + number * sizeof *cells);
    size_t total = 0;
    for (int i = 0; i < *count; i++) {
        param_check(L, first + i, i + 1, &cells[i]);
        params[i] = cells[i].param;
        total += (size_t)params[i].length;
        /* libpq copies them: one string a thousand times is a thousand strings there. */
        if (!glue_memory_charge(L, total))
            glue_raise_code(L, NEAP_ERR_SCRIPT_MEMORY,
                            "the parameters need more memory than the script may use");
        glue_memory_release(L, total);
    }
    return params;
}

/* ---- bytea ---- */

static int bytea_tostring(lua_State *L)
{
    lua_pushfstring(L, "%s (%I bytes)", BYTEA_CLASS, (LUAI_UACINT)lua_rawlen(L, 1));
    return 1;
}

static int bytea_eq(lua_State *L)
{
    size_t a_length = 0;
    size_t b_length = 0;
    const char *a = pg_lua_bytea_peek(L, 1, &a_length);
    const char *b = pg_lua_bytea_peek(L, 2, &b_length);
    lua_pushboolean(L,
                    a != NULL && b != NULL && a_length == b_length && memcmp(a, b, a_length) == 0);
    return 1;
}

int pg_lua_bytea(lua_State *L)
{
    size_t length;
    const char *bytes = luaL_checklstring(L, lua_gettop(L), &length);
    char *copy = lua_newuserdatauv(L, length, 0);
    memcpy(copy, bytes, length);
    if (luaL_newmetatable(L, BYTEA_CLASS)) {
        lua_pushcfunction(L, bytea_tostring);
        lua_setfield(L, -2, "__tostring");
        lua_pushcfunction(L, bytea_eq);
        lua_setfield(L, -2, "__eq");
        lua_pushliteral(L, BYTEA_CLASS);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    return 1;
}

const char *pg_lua_bytea_peek(lua_State *L, int index, size_t *length)
{
    const char *bytes = luaL_testudata(L, index, BYTEA_CLASS);
    if (bytes != NULL)
        *length = lua_rawlen(L, index);
    return bytes;
}

/* ---- scalars and arrays as text ---- */

bool pg_lua_scalar_add(lua_State *L, int index, const char *what, struct pg_lua_slot *slot)
{
    struct neap_buffer *out = &slot->buffer;
    static const char hex[] = "0123456789abcdef";
    size_t length = 0;
    const char *bytes = pg_lua_bytea_peek(L, index, &length);
    char number[NUMBER_SIZE];
    if (bytes != NULL) {
        pg_lua_slot_count(L, slot, 2 * length + 2);
        neap_buffer_add_text(out, "\\x");
        for (size_t i = 0; i < length; i++) {
            neap_buffer_add_char(out, hex[(unsigned char)bytes[i] >> 4]);
            neap_buffer_add_char(out, hex[(unsigned char)bytes[i] & 15]);
        }
        return true;
    }
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        bytes = lua_tolstring(L, index, &length);
        text_check(L, bytes, length, what);
        pg_lua_slot_count(L, slot, length);
        neap_buffer_add(out, bytes, length);
        return true;
    case LUA_TNUMBER:
        number_text(L, index, number);
        neap_buffer_add_text(out, number);
        return true;
    case LUA_TBOOLEAN:
        neap_buffer_add_text(out, lua_toboolean(L, index) ? "true" : "false");
        return true;
    default:
        return false;
    }
}

/* Every element is quoted: an empty string, the word NULL and spaces survive. */
static void element_quote(struct neap_buffer *out, const char *text, size_t length)
{
    neap_buffer_add_char(out, '"');
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"' || text[i] == '\\')
            neap_buffer_add_char(out, '\\');
        neap_buffer_add_char(out, text[i]);
    }
    neap_buffer_add_char(out, '"');
}

static void array_add(lua_State *L, int index, int depth, struct pg_lua_slot *slot);

static void element_add(lua_State *L, int depth, lua_Integer number, struct pg_lua_slot *slot)
{
    char what[48];
    int top = lua_gettop(L);
    snprintf(what, sizeof what, "array element %lld", (long long)number);
    pg_lua_slot_count(L, slot, 8);
    if (glue_is_null(L, top)) {
        neap_buffer_add_text(&slot->buffer, "NULL");
    } else if (lua_type(L, top) == LUA_TTABLE) {
        array_add(L, top, depth + 1, slot);
    } else {
        size_t before = slot->buffer.length;
        if (!pg_lua_scalar_add(L, top, what, slot))
            refuse(L, top, what);
        size_t length = slot->buffer.length - before;
        char *text = lua_newuserdatauv(L, length + 1, 0);
        memcpy(text, neap_buffer_text(&slot->buffer) + before, length);
        slot->buffer.length = before;
        pg_lua_slot_count(L, slot, 2 * length + 2);
        element_quote(&slot->buffer, text, length);
    }
    lua_settop(L, top - 1);
}

static void array_add(lua_State *L, int index, int depth, struct pg_lua_slot *slot)
{
    if (depth > ARRAY_DEPTH_MAX)
        glue_raise_code(L, NEAP_ERR_DB_ARGUMENT, "an array has at most %d dimensions",
                        ARRAY_DEPTH_MAX);
    luaL_checkstack(L, 6, "array");
    lua_Integer count = (lua_Integer)lua_rawlen(L, index), keys = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        keys++;
    if (keys != count)
        glue_raise_code(L, NEAP_ERR_DB_ARGUMENT,
                        "an array must be a list without holes or names; NULL is neap.null");
    neap_buffer_add_char(&slot->buffer, '{');
    for (lua_Integer i = 1; i <= count; i++) {
        if (i > 1)
            neap_buffer_add_char(&slot->buffer, ',');
        lua_rawgeti(L, index, i);
        element_add(L, depth, i, slot);
    }
    neap_buffer_add_char(&slot->buffer, '}');
}

int pg_lua_array(lua_State *L)
{
    int index = lua_gettop(L);
    luaL_checktype(L, index, LUA_TTABLE);
    struct pg_lua_slot *slot = pg_lua_slot_push(L);
    array_add(L, index, 1, slot);
    lua_pushlstring(L, neap_buffer_text(&slot->buffer), slot->buffer.length);
    return 1;
}
