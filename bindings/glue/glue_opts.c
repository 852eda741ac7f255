/* SPDX-License-Identifier: MIT
 *
 * Owns reading a script's arguments: options tables by rows, and text. A typo is
 * an error that names the nearest option: {timeout = "5s"} misspelt must not mean
 * "no limit". It knows no service. Surprise: a bare number is refused where a
 * duration or a size is read, because it does not say its unit.
 */
#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

#include "bindings/glue/glue.h"
#include "host/base/clock.h"
#include "host/base/text.h"

#define OPTION_MAX 64 /* rows of one options table, for the nearest name */

const char *glue_check_text(lua_State *L, int index, const char *what, size_t *length)
{
    size_t size;
    if (lua_type(L, index) != LUA_TSTRING)
        glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT, "%s must be a string, got %s", what,
                        luaL_typename(L, index));
    const char *text = lua_tolstring(L, index, &size);
    if (memchr(text, '\0', size) != NULL)
        glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT, "%s contains a NUL byte", what);
    if (length != NULL)
        *length = size;
    return text;
}

static int refuse_type(lua_State *L, const struct glue_opt *row, const char *wanted)
{
    return glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT, "option \"%s\" must be %s, got %s",
                           row->name, wanted, luaL_typename(L, -1));
}

static void read_unit(lua_State *L, const struct glue_opt *row, int64_t *out)
{
    struct neap_error err = {0};
    bool is_size = row->kind == GLUE_OPT_SIZE;
    if (lua_type(L, -1) != LUA_TSTRING) {
        refuse_type(L, row,
                    is_size ? "a size with its unit (\"64MB\")"
                            : "a duration with its unit (\"30s\")");
        return;
    }
    const char *text = glue_check_text(L, -1, row->name, NULL);
    bool is_read = is_size ? neap_size_parse(text, row->name, out, &err)
                           : neap_duration_parse(text, row->name, out, &err);
    if (!is_read) {
        err.code = NEAP_ERR_SCRIPT_ARGUMENT;
        glue_raise(L, &err);
    }
}

/* … key value | */
static void read_option(lua_State *L, const struct glue_opt *row, void *opts)
{
    void *field = (char *)opts + row->offset;
    int is_integer = 0;
    switch (row->kind) {
    case GLUE_OPT_BOOL:
        if (lua_type(L, -1) != LUA_TBOOLEAN)
            refuse_type(L, row, "true or false");
        *(bool *)field = lua_toboolean(L, -1) != 0;
        return;
    case GLUE_OPT_INTEGER:
        if (lua_type(L, -1) == LUA_TNUMBER)
            *(int64_t *)field = lua_tointegerx(L, -1, &is_integer);
        if (!is_integer)
            refuse_type(L, row, "an integer");
        return;
    case GLUE_OPT_TEXT:
        *(const char **)field = glue_check_text(L, -1, row->name, NULL);
        return;
    case GLUE_OPT_DURATION:
    case GLUE_OPT_SIZE:
        read_unit(L, row, field);
        return;
    }
}

static int refuse_key(lua_State *L, const struct glue_opt *rows)
{
    const char *names[OPTION_MAX + 1] = {NULL};
    if (lua_type(L, -2) != LUA_TSTRING)
        return glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT,
                               "options are named; found a key of type %s", luaL_typename(L, -2));
    for (size_t i = 0; i < OPTION_MAX && rows[i].name != NULL; i++)
        names[i] = rows[i].name;
    const char *key = lua_tostring(L, -2);
    const char *nearest = neap_text_nearest(key, names);
    if (nearest == NULL)
        return glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT, "unknown option \"%s\"", key);
    return glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT,
                           "unknown option \"%s\"; did you mean \"%s\"?", key, nearest);
}

static const struct glue_opt *find_row(const struct glue_opt *rows, const char *key)
{
    for (; key != NULL && rows->name != NULL; rows++) {
        if (strcmp(rows->name, key) == 0)
            return rows;
    }
    return NULL;
}

void glue_opt_read(lua_State *L, int index, const struct glue_opt *rows, void *opts)
{
    if (lua_isnoneornil(L, index))
        return;
    if (lua_type(L, index) != LUA_TTABLE)
        glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT, "options must be a table, got %s",
                        luaL_typename(L, index));
    index = lua_absindex(L, index);
    luaL_checkstack(L, 4, NULL);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        const struct glue_opt *row = find_row(rows, key);
        if (row == NULL)
            refuse_key(L, rows);
        else
            read_option(L, row, opts);
        lua_pop(L, 1);
    }
}
