/* SPDX-License-Identifier: MIT
 *
 * The server's cells as Lua values, without loss: integers of every width are
 * Lua integers, floats are floats, numeric and everything unknown stay text,
 * bytea is the bytes. It knows no connection. Surprise: NULL is nil in a row,
 * and a row knows its columns, so that a NULL and a misspelt name differ; in an
 * array NULL is neap.null, since nil would take its place away.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_lua_part.h"
#include "host/base/text.h"

enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_OID = 26,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
};

/* Arrays whose elements neap converts; box[] is left out: its delimiter is ';'. */
static const struct {
    Oid array, element;
} array_types[] = {
    {1000, OID_BOOL},
    {1001, OID_BYTEA},
    {1005, OID_INT2},
    {1007, OID_INT4},
    {1016, OID_INT8},
    {1028, OID_OID},
    {1021, OID_FLOAT4},
    {1022, OID_FLOAT8},
    {1231, OID_TEXT} /* numeric */,
    {1009, OID_TEXT},
    {1015, OID_TEXT} /* varchar */,
    {1014, OID_TEXT} /* bpchar */,
    {1002, OID_TEXT} /* "char" */,
    {1003, OID_TEXT} /* name */,
    {199, OID_TEXT} /* json */,
    {3807, OID_TEXT} /* jsonb */,
    {2951, OID_TEXT} /* uuid */,
    {1182, OID_TEXT} /* date */,
    {1115, OID_TEXT} /* timestamp */,
    {1185, OID_TEXT} /* …tz */,
    {1183, OID_TEXT} /* time */,
    {1270, OID_TEXT} /* timetz */,
    {1187, OID_TEXT} /* interval */,
    {1041, OID_TEXT} /* inet */,
    {651, OID_TEXT} /* cidr */,
    {1040, OID_TEXT} /* macaddr */,
    {1561, OID_TEXT} /* bit */,
    {1563, OID_TEXT} /* varbit */,
    {2210, OID_TEXT} /* regclass */,
    {1008, OID_TEXT} /* regproc */,
    {2211, OID_TEXT} /* regtype */,
    {143, OID_TEXT} /* xml */,
    {791, OID_TEXT} /* money */,
    {1263, OID_TEXT} /* cstring */,
};

static Oid element_type(Oid type)
{
    for (size_t i = 0; i < sizeof array_types / sizeof *array_types; i++) {
        if (array_types[i].array == type)
            return array_types[i].element;
    }
    return 0;
}

/* ---- scalars ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : 0;
}

/* bytea_output = escape: a script may have set it. */
static size_t bytea_unescape(const char *text, size_t length, char *out)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] != '\\') {
            out[count++] = text[i];
        } else if (i + 3 < length && text[i + 1] != '\\') {
            int byte = (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
            out[count++] = (char)byte;
            i += 3;
        } else {
            out[count++] = text[i++];
        }
    }
    return count;
}

static void bytea_push(lua_State *L, const char *text, size_t length)
{
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(L, &buffer, length + 1);
    size_t count = 0;
    if (length < 2 || text[0] != '\\' || text[1] != 'x') {
        count = bytea_unescape(text, length, out);
    } else {
        for (size_t i = 2; i + 1 < length; i += 2)
            out[count++] = (char)(hex_digit(text[i]) << 4 | hex_digit(text[i + 1]));
    }
    luaL_pushresultsize(&buffer, count);
}

static void float_push(lua_State *L, const char *text)
{
    if (strcmp(text, "NaN") == 0)
        lua_pushnumber(L, (lua_Number)NAN);
    else if (strcmp(text, "Infinity") == 0 || strcmp(text, "-Infinity") == 0)
        lua_pushnumber(L, text[0] == '-' ? -(lua_Number)INFINITY : (lua_Number)INFINITY);
    else
        lua_pushnumber(L, strtod(text, NULL));
}

static void scalar_push(lua_State *L, const char *text, size_t length, Oid type)
{
    switch (type) {
    case OID_BOOL:
        lua_pushboolean(L, text[0] == 't');
        break;
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_OID:
        lua_pushinteger(L, strtoll(text, NULL, 10));
        break;
    case OID_FLOAT4:
    case OID_FLOAT8:
        float_push(L, text);
        break;
    case OID_BYTEA:
        bytea_push(L, text, length);
        break;
    default:
        lua_pushlstring(L, text, length);
    }
}

void pg_lua_cell_push(lua_State *L, const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column)) {
        lua_pushnil(L);
        return;
    }
    const char *text = PQgetvalue(result, row, column);
    Oid type = PQftype(result, column), element = element_type(type);
    if (element != 0)
        pg_lua_array_push(L, text, element);
    else
        scalar_push(L, text, (size_t)PQgetlength(result, row, column), type);
}

/* ---- arrays ---- */

/* Copies a quoted element without its quotes; returns what follows it. */
static const char *quoted_read(lua_State *L, const char *at, Oid type)
{
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    for (at++; *at != '\0' && *at != '"'; at++) {
        if (*at == '\\' && at[1] != '\0')
            at++;
        luaL_addchar(&buffer, *at);
    }
    luaL_pushresult(&buffer);
    size_t length;
    const char *text = lua_tolstring(L, -1, &length);
    if (type != OID_TEXT) {
        scalar_push(L, text, length, type);
        lua_remove(L, -2);
    }
    return *at == '"' ? at + 1 : at;
}

static const char *bare_read(lua_State *L, const char *at, Oid type)
{
    char word[64];
    size_t length = strcspn(at, ",}");
    if (length == 4 && strncmp(at, "NULL", 4) == 0) {
        glue_push_null(L);
    } else if (length < sizeof word) {
        memcpy(word, at, length); /* number readers want their text to end */
        word[length] = '\0';
        scalar_push(L, word, length, type);
    } else {
        scalar_push(L, at, length, type);
    }
    return at + length;
}

/* Pushes a table; `at` is its '{'. Returns what follows its '}'. */
static const char *array_read(lua_State *L, const char *at, Oid type)
{
    lua_Integer count = 0;
    luaL_checkstack(L, 6, "array");
    lua_newtable(L);
    at++;
    while (*at != '\0' && *at != '}') {
        if (*at == '{')
            at = array_read(L, at, type);
        else if (*at == '"')
            at = quoted_read(L, at, type);
        else
            at = bare_read(L, at, type);
        lua_rawseti(L, -2, ++count);
        if (*at == ',')
            at++;
    }
    return *at == '}' ? at + 1 : at;
}

void pg_lua_array_push(lua_State *L, const char *text, Oid type)
{
    const char *open = strchr(text, '{');
    /* "[0:1]={…}": bounds other than 1 are not kept; a Lua list begins at 1. */
    if (open == NULL)
        lua_pushstring(L, text);
    else
        (void)array_read(L, open, type);
}

int pg_lua_decode_array(lua_State *L)
{
    const char *text = glue_check_text(L, lua_gettop(L), "an array", NULL);
    if (text[0] != '{' && text[0] != '[')
        return glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT, "this is not the text of an array");
    int depth = 0;
    for (const char *at = text; *at == '{'; at++)
        depth++;
    if (depth > 6)
        return glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT, "an array has at most 6 dimensions");
    pg_lua_array_push(L, text, OID_TEXT);
    return 1;
}

/* ---- rows ---- */

#define NAMES_MAX 256 /* columns among which the nearest is looked for */

/* __index of a row: what is not in the table is NULL or no column at all. */
static int row_missing(lua_State *L)
{
    const char *names[NAMES_MAX + 1] = {NULL};
    size_t count = 0;
    lua_pushvalue(L, 2);
    if (!lua_isnil(L, 2) && lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) {
        lua_pushnil(L);
        return 1;
    }
    if (lua_type(L, 2) != LUA_TSTRING)
        return glue_raise_code(L, NEAP_ERR_DB_ARGUMENT,
                               "a row is read by column name, not by %s; db:value gives one value",
                               luaL_typename(L, 2));
    lua_settop(L, 2);
    for (lua_pushnil(L); count < NAMES_MAX && lua_next(L, lua_upvalueindex(1)); lua_pop(L, 1))
        names[count++] = lua_tostring(L, -2);
    const char *key = lua_tostring(L, 2), *nearest = neap_text_nearest(key, names);
    if (nearest == NULL)
        return glue_raise_code(L, NEAP_ERR_DB_ARGUMENT, "the result has no column \"%s\"", key);
    return glue_raise_code(L, NEAP_ERR_DB_ARGUMENT,
                           "the result has no column \"%s\"; did you mean \"%s\"?", key, nearest);
}

static int refuse_duplicate(lua_State *L, const char *name)
{
    struct neap_error err = {0};
    neap_error_set(&err, NEAP_ERR_DB_ARGUMENT, "the result has two columns \"%s\"", name);
    neap_error_hint(&err, "Give each column a name of its own with AS.");
    return glue_raise(L, &err);
}

/* | metatable: the names by number, __index */
void pg_lua_shape_push(lua_State *L, const PGresult *result)
{
    int count = PQnfields(result);
    luaL_checkstack(L, 8, "row");
    lua_createtable(L, count, 2);
    lua_createtable(L, 0, count);
    for (int column = 0; column < count; column++) {
        lua_pushstring(L, PQfname(result, column)); /* shape set name | */
        lua_pushvalue(L, -1);
        lua_rawseti(L, -4, column + 1);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) != LUA_TNIL)
            refuse_duplicate(L, PQfname(result, column));
        lua_pop(L, 1);
        lua_pushboolean(L, true);
        lua_rawset(L, -3);
    }
    lua_pushcclosure(L, row_missing, 1);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "neap.pg.Row");
    lua_setfield(L, -2, "__metatable");
}

void pg_lua_row_push(lua_State *L, const PGresult *result, int row, int shape)
{
    int count = PQnfields(result);
    luaL_checkstack(L, 8, "row");
    lua_createtable(L, 0, count);
    for (int column = 0; column < count; column++) {
        lua_rawgeti(L, shape, column + 1);
        pg_lua_cell_push(L, result, row, column);
        lua_rawset(L, -3);
    }
    lua_pushvalue(L, shape);
    lua_setmetatable(L, -2);
}
