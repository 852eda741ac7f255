/* SPDX-License-Identifier: MIT
 *
 * Owns string.find, match, gmatch and gsub of the sandbox, on neap's own matcher.
 * It knows no binding. Surprise: a plain find uses memmem, for Lua's own search
 * is quadratic on hostile input.
 */
#include <lauxlib.h>
#include <string.h>

#include "host/script/script_match.h"
#include "host/script/script_state.h"

static void init(struct neap_match *match, lua_State *L, const char **pattern, bool *is_anchored)
{
    size_t text_length, pattern_length;
    match->L = L;
    match->step_count = 0;
    match->text = luaL_checklstring(L, 1, &text_length);
    match->text_end = match->text + text_length;
    *pattern = luaL_checklstring(L, 2, &pattern_length);
    match->pattern_end = *pattern + pattern_length;
    *is_anchored = pattern_length > 0 && **pattern == '^';
}

/* 0-based start from argument 3; past the end gives length + 1. */
static size_t start_of(lua_State *L, size_t length)
{
    lua_Integer start = luaL_optinteger(L, 3, 1);
    if (start > 0)
        return (lua_Unsigned)start > length + 1 ? length + 1 : (size_t)start - 1;
    if (start == 0 || start < -(lua_Integer)length)
        return 0;
    return length - (size_t)-start;
}

static bool has_specials(const char *pattern, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (pattern[i] != '\0' && strchr("^$*+?.([%-", pattern[i]) != NULL)
            return true;
    }
    return false;
}

static int find_plain(lua_State *L, const struct neap_match *match, const char *from,
                      const char *pattern)
{
    size_t length = (size_t)(match->pattern_end - pattern);
    const char *found = memmem(from, (size_t)(match->text_end - from), pattern, length);
    if (found == NULL) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, found - match->text + 1);
    lua_pushinteger(L, found - match->text + (lua_Integer)length);
    return 2;
}

static int find_or_match(lua_State *L, bool is_find)
{
    struct neap_match match;
    const char *pattern;
    bool is_anchored;
    init(&match, L, &pattern, &is_anchored);
    size_t length = (size_t)(match.text_end - match.text), start = start_of(L, length);
    if (start > length) {
        lua_pushnil(L);
        return 1;
    }
    const char *at = match.text + start;
    if (is_find &&
        (lua_toboolean(L, 4) || !has_specials(pattern, (size_t)(match.pattern_end - pattern))))
        return find_plain(L, &match, at, pattern);
    for (;; at++) {
        const char *end = neap_match_at(&match, at, pattern + is_anchored);
        if (end != NULL && !is_find)
            return neap_match_push_all(&match, at, end);
        if (end != NULL) {
            lua_pushinteger(L, at - match.text + 1);
            lua_pushinteger(L, end - match.text);
            return neap_match_push_all(&match, NULL, NULL) + 2;
        }
        if (is_anchored || at == match.text_end)
            break;
    }
    lua_pushnil(L);
    return 1;
}

static int pattern_find(lua_State *L)
{
    return find_or_match(L, true);
}

static int pattern_match(lua_State *L)
{
    return find_or_match(L, false);
}

/* Upvalues: text, pattern, where to go on, end of the last match (or -1). */
static int gmatch_next(lua_State *L)
{
    struct neap_match match;
    const char *pattern;
    bool is_anchored;
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, lua_upvalueindex(2));
    init(&match, L, &pattern, &is_anchored);
    lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));
    for (const char *at = match.text + lua_tointeger(L, lua_upvalueindex(3)); at <= match.text_end;
         at++) {
        const char *end = neap_match_at(&match, at, pattern);
        if (end == NULL || end - match.text == last)
            continue;
        lua_pushinteger(L, end - match.text);
        lua_pushvalue(L, -1);
        lua_replace(L, lua_upvalueindex(3));
        lua_replace(L, lua_upvalueindex(4));
        return neap_match_push_all(&match, at, end);
    }
    return 0;
}

static int pattern_gmatch(lua_State *L)
{
    size_t length;
    luaL_checklstring(L, 1, &length);
    luaL_checkstring(L, 2);
    size_t start = start_of(L, length);
    lua_settop(L, 2);
    lua_pushinteger(L, (lua_Integer)start);
    lua_pushinteger(L, -1);
    lua_pushcclosure(L, gmatch_next, 4);
    return 1;
}

/* Adds the replacement string at 3 with its %0…%9 filled in. */
static void add_string(struct neap_match *match, luaL_Buffer *out, const char *start,
                       const char *end)
{
    size_t length;
    const char *text = lua_tolstring(match->L, 3, &length);
    for (size_t i = 0; i < length; i++) {
        if (text[i] != '%') {
            luaL_addchar(out, text[i]);
            continue;
        }
        char kind = ++i < length ? text[i] : '\0';
        if (kind == '%') {
            luaL_addchar(out, '%');
        } else if (kind == '0') {
            luaL_addlstring(out, start, (size_t)(end - start));
        } else if (kind >= '1' && kind <= '9') {
            neap_match_push(match, kind - '1', start, end);
            luaL_tolstring(match->L, -1, NULL);
            lua_remove(match->L, -2);
            luaL_addvalue(out);
        } else {
            luaL_error(match->L, "invalid use of '%%' in replacement string");
        }
    }
}

/* Adds what stands for the match; argument 3 is a string, a table or a function. */
static void add_value(struct neap_match *match, luaL_Buffer *out, const char *start,
                      const char *end)
{
    lua_State *L = match->L;
    int type = lua_type(L, 3);
    if (type == LUA_TSTRING || type == LUA_TNUMBER) {
        add_string(match, out, start, end);
        return;
    }
    if (type == LUA_TTABLE) {
        neap_match_push(match, 0, start, end);
        lua_gettable(L, 3);
    } else {
        lua_pushvalue(L, 3);
        lua_call(L, neap_match_push_all(match, start, end), 1);
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(out, start, (size_t)(end - start));
        return;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(out);
}

static int pattern_gsub(lua_State *L)
{
    struct neap_match match;
    const char *pattern;
    bool is_anchored;
    luaL_Buffer out;
    init(&match, L, &pattern, &is_anchored);
    int type = lua_type(L, 3);
    luaL_argexpected(L,
                     type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION ||
                         type == LUA_TTABLE,
                     3, "string/function/table");
    lua_Integer limit = luaL_optinteger(L, 4, match.text_end - match.text + 1), count = 0;
    const char *at = match.text, *last = NULL;
    luaL_buffinit(L, &out);
    while (count < limit) {
        const char *end = neap_match_at(&match, at, pattern + is_anchored);
        if (end != NULL && end != last) {
            count++;
            add_value(&match, &out, at, end);
            at = last = end;
        } else if (at < match.text_end) {
            luaL_addchar(&out, *at++);
        } else {
            break;
        }
        if (is_anchored)
            break;
    }
    luaL_addlstring(&out, at, (size_t)(match.text_end - at));
    luaL_pushresult(&out);
    lua_pushinteger(L, count);
    return 2;
}

void neap_script_match_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"find", pattern_find},
                                         {"match", pattern_match},
                                         {"gmatch", pattern_gmatch},
                                         {"gsub", pattern_gsub},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
