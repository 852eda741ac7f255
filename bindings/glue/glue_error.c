/* SPDX-License-Identifier: MIT
 *
 * Owns the error object at the border: struct neap_error as a userdata, and
 * whatever a script raised as a struct neap_error. It never calls a script's
 * metamethod: an evil __tostring could loop where no hook reaches.
 * Surprise: the error is parked in the context while its userdata is made, so
 * that running out of memory there loses no string.
 */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/glue/glue.h"
#include "host/base/buffer.h"

#define ERROR_CLASS "neap.Error"
#define ERROR_TEXT_MAX ((size_t)16 * 1024) /* a script's 10 MB error string is cut here */
#define TABLE_FIELD_MAX 100                /* how far an error table is searched for its message */

static const struct neap_error *error_check(lua_State *L, int index)
{
    return luaL_checkudata(L, index, ERROR_CLASS);
}

static int push_text(lua_State *L, const char *text)
{
    if (text == NULL || text[0] == '\0')
        lua_pushnil(L);
    else
        lua_pushstring(L, text);
    return 1;
}

static int push_positive(lua_State *L, int number)
{
    if (number > 0)
        lua_pushinteger(L, number);
    else
        lua_pushnil(L);
    return 1;
}

static int push_where(lua_State *L, const struct neap_error *err)
{
    if (err->where_file == NULL)
        lua_pushnil(L);
    else
        lua_pushfstring(L, "%s:%d", err->where_file, err->where_line);
    return 1;
}

static int error_index(lua_State *L)
{
    const struct neap_error *err = error_check(L, 1);
    const char *key = luaL_checkstring(L, 2);
    const struct neap_error_row *row = neap_error_row(err->code);
    const struct {
        const char *name, *text;
    } texts[] = {
        {"code", row->code},       {"message", err->message},
        {"detail", err->detail},   {"hint", err->hint != NULL ? err->hint : row->next},
        {"sql", err->sql},         {"sqlstate", err->sqlstate},
        {"file", err->where_file}, {"traceback", err->traceback},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(key, texts[i].name) == 0)
            return push_text(L, texts[i].text);
    }
    if (strcmp(key, "line") == 0)
        return push_positive(L, err->where_line);
    if (strcmp(key, "position") == 0)
        return push_positive(L, err->sql_position);
    if (strcmp(key, "where") == 0)
        return push_where(L, err);
    lua_pushnil(L);
    return 1;
}

static int error_tostring(lua_State *L)
{
    const struct neap_error *err = error_check(L, 1);
    lua_pushstring(L, err->message != NULL ? err->message : neap_error_row(err->code)->summary);
    return 1;
}

static int error_concat(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    luaL_tolstring(L, 2, NULL);
    lua_concat(L, 2);
    return 1;
}

static int error_newindex(lua_State *L)
{
    return glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT, "an error object cannot be changed");
}

static int error_gc(lua_State *L)
{
    neap_error_clear(lua_touserdata(L, 1));
    return 0;
}

/* | metatable */
static void push_metatable(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"__index", error_index},   {"__tostring", error_tostring},
        {"__concat", error_concat}, {"__newindex", error_newindex},
        {"__gc", error_gc},         {NULL, NULL},
    };
    if (luaL_newmetatable(L, ERROR_CLASS)) {
        luaL_setfuncs(L, methods, 0);
        lua_pushliteral(L, ERROR_CLASS);
        lua_setfield(L, -2, "__metatable");
        /* registry[metatable] = true: glue_error_peek must not make strings. */
        lua_pushvalue(L, -1);
        lua_pushboolean(L, 1);
        lua_rawset(L, LUA_REGISTRYINDEX);
    }
}

void glue_error_push(lua_State *L, struct neap_error *err)
{
    struct neap_error *pending = &glue_context(L)->pending;
    neap_error_move(pending, err);
    luaL_checkstack(L, 4, NULL);
    struct neap_error *object = lua_newuserdatauv(L, sizeof *object, 0);
    memset(object, 0, sizeof *object);
    push_metatable(L);
    lua_setmetatable(L, -2);
    neap_error_move(object, pending);
}

int glue_raise(lua_State *L, struct neap_error *err)
{
    const char *file;
    int line;
    if (err->where_file == NULL && glue_where(L, &file, &line))
        neap_error_where(err, file, line);
    glue_error_push(L, err);
    lua_error(L);
    __builtin_unreachable(); /* lua_error is not declared as what it is */
}

int glue_raise_code(lua_State *L, enum neap_error_code code, const char *format, ...)
{
    struct neap_error err = {0};
    va_list args;
    va_start(args, format);
    /* Formatted by libc: host memory, so the message survives a full script heap. */
    char *message = NULL;
    int length = vasprintf(&message, format, args);
    va_end(args);
    /* Names in it may be a script's own, and ten megabytes long. */
    neap_error_set(&err, code, "%.*s%s", (int)ERROR_TEXT_MAX, length < 0 ? format : message,
                   length > (int)ERROR_TEXT_MAX ? " … (cut)" : "");
    if (length >= 0)
        free(message);
    glue_raise(L, &err);
}

const struct neap_error *glue_error_peek(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TUSERDATA)
        return NULL;
    /* Not luaL_testudata: a raise for want of stack or memory must not happen
     * while an error is being read. */
    if (!lua_checkstack(L, 3) || !lua_getmetatable(L, index))
        return NULL;
    lua_pushvalue(L, -1);
    bool ours = lua_rawget(L, LUA_REGISTRYINDEX) == LUA_TBOOLEAN;
    lua_pop(L, 2);
    return ours ? lua_touserdata(L, index) : NULL;
}

/* The length of a leading "path.lua:12: ", or 0. Only names of script files, which
 * have no space, count: error("a:1: b", 0) is nobody's place. */
static size_t place_length(const char *text, size_t length, size_t *file_length, int *line)
{
    const char *end = memchr(text, '\n', length);
    size_t limit = end != NULL ? (size_t)(end - text) : length;
    for (size_t i = 4; i + 3 < limit; i++) {
        if (text[i] != ':')
            continue;
        if (strncmp(text + i - 4, ".lua", 4) != 0 && strncmp(text + i - 4, ".sql", 4) != 0)
            continue;
        if (memchr(text, ' ', i) != NULL)
            return 0;
        size_t digit = i + 1;
        long number = 0;
        while (digit < limit && text[digit] >= '0' && text[digit] <= '9' && number < 10000000)
            number = number * 10 + (text[digit++] - '0');
        if (digit == i + 1 || digit + 1 >= limit || text[digit] != ':' || text[digit + 1] != ' ')
            continue;
        *file_length = i;
        *line = (int)number;
        return digit + 2;
    }
    return 0;
}

static void error_of_string(const char *text, size_t length, struct neap_error *err)
{
    size_t file_length = 0;
    int line = 0;
    size_t place = place_length(text, length, &file_length, &line);
    const char *message = text + place;
    size_t rest = length - place;
    bool is_cut = rest > ERROR_TEXT_MAX;
    if (strcmp(text, "not enough memory") == 0) {
        neap_error_set(err, NEAP_ERR_SCRIPT_MEMORY, "the script ran out of memory");
        return;
    }
    if (is_cut)
        rest = ERROR_TEXT_MAX;
    const char *newline = memchr(message, '\n', rest);
    size_t first = newline != NULL ? (size_t)(newline - message) : rest;
    if (first == 0)
        neap_error_set(err, NEAP_ERR_SCRIPT_ERROR, "the script raised an empty message");
    else
        neap_error_set(err, NEAP_ERR_SCRIPT_ERROR, "%.*s", (int)first, message);
    if (newline != NULL)
        neap_error_detail(err, "%.*s%s", (int)(rest - first - 1), newline + 1,
                          is_cut ? " … (cut)" : "");
    else if (is_cut)
        neap_error_detail(err, "The message had %zu bytes and was cut to 16 KiB.", length);
    if (place > 0) {
        char file[1024];
        snprintf(file, sizeof file, "%.*s", (int)file_length, text);
        neap_error_where(err, file, line);
    }
}

/* A NUL would end the message for everybody after us: it is shown as U+FFFD. */
static char *without_nul(const char *text, size_t length)
{
    struct neap_buffer out = {0};
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\0')
            neap_buffer_add_text(&out, "\xEF\xBF\xBD");
        else
            neap_buffer_add_char(&out, text[i]);
    }
    return neap_buffer_take(&out);
}

static void error_of_bytes(const char *text, size_t length, struct neap_error *err)
{
    size_t shown = length > ERROR_TEXT_MAX ? ERROR_TEXT_MAX : length;
    if (memchr(text, '\0', shown) == NULL) {
        error_of_string(text, length, err);
        return;
    }
    char *clean = without_nul(text, shown);
    error_of_string(clean, strlen(clean), err);
    free(clean);
}

/* A raised table often carries its text in `message`. Walked with lua_next: a
 * lookup by name would make a string, and that may raise. */
static bool error_of_table(lua_State *L, int index, struct neap_error *err)
{
    bool is_found = false;
    index = lua_absindex(L, index);
    lua_pushnil(L);
    for (int i = 0; i < TABLE_FIELD_MAX && !is_found; i++) {
        if (!lua_next(L, index))
            return false;
        if (lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING &&
            strcmp(lua_tostring(L, -2), "message") == 0) {
            size_t length;
            const char *text = lua_tolstring(L, -1, &length);
            error_of_bytes(text, length, err);
            is_found = true;
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return is_found;
}

void glue_error_of(lua_State *L, int index, struct neap_error *err)
{
    const struct neap_error *object = glue_error_peek(L, index);
    if (object != NULL) {
        neap_error_copy(err, object);
        return;
    }
    int type = lua_type(L, index);
    if (type == LUA_TSTRING) {
        size_t length;
        const char *text = lua_tolstring(L, index, &length);
        error_of_bytes(text, length, err);
    } else if (type == LUA_TTABLE && lua_checkstack(L, 4) && error_of_table(L, index, err)) {
        return;
    } else if (type == LUA_TNUMBER) {
        neap_error_set(err, NEAP_ERR_SCRIPT_ERROR, "the script raised the number %.14g",
                       lua_tonumber(L, index));
    } else {
        neap_error_set(err, NEAP_ERR_SCRIPT_ERROR,
                       "the script raised a %s value instead of a message",
                       lua_typename(L, type < 0 ? LUA_TNIL : type));
    }
}
