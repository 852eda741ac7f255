/* SPDX-License-Identifier: MIT
 *
 * Owns the sandbox's globals: an allow-list, strict and frozen, and the calls
 * that could swallow a stop or an error of the host (pcall, xpcall, neap.try,
 * setmetatable). It knows no binding. Surprise: xpcall calls its handler after
 * the stack has unwound, for hooks are off inside a handler that an error from
 * the hook entered, and a loop there could never be stopped.
 */
#include <lauxlib.h>
#include <string.h>

#include "host/base/log.h"
#include "host/base/text.h"
#include "host/script/script_state.h"

#define GLOBAL_MAX 64

/* A run.* error is nobody's to swallow, also where the run itself goes on (a
 * statement that the server's own timeout ended). */
bool neap_script_is_final(lua_State *L, int index)
{
    const struct neap_error *err = glue_error_peek(L, index);
    return err != NULL && (err->code == NEAP_ERR_DB_TRANSACTION_CONTROL ||
                           strncmp(neap_error_row(err->code)->code, "run.", 4) == 0);
}

/* f results… (with `extra` values below them that are not results) */
static int end_pcall(lua_State *L, int status, lua_KContext extra)
{
    bool is_error = status != LUA_OK && status != LUA_YIELD;
    if (neap_script_is_stopping(L))
        return neap_script_stop_here(L);
    if (!is_error)
        return lua_gettop(L) - (int)extra;
    if (neap_script_is_final(L, -1))
        return lua_error(L);
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

int neap_script_pcall(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 1); /* true f … | */
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, end_pcall);
    return end_pcall(L, status, 0);
}

static int end_handler(lua_State *L, int status, lua_KContext base)
{
    if (neap_script_is_stopping(L))
        return neap_script_stop_here(L);
    if (status != LUA_OK && status != LUA_YIELD && neap_script_is_final(L, -1))
        return lua_error(L);
    return lua_gettop(L) - (int)base;
}

/* f handler true results… | or f handler true error */
static int end_xpcall(lua_State *L, int status, lua_KContext extra)
{
    if (neap_script_is_stopping(L))
        return neap_script_stop_here(L);
    if (status == LUA_OK || status == LUA_YIELD)
        return lua_gettop(L) - (int)extra;
    if (neap_script_is_final(L, -1))
        return lua_error(L);
    lua_pushboolean(L, 0);
    lua_replace(L, 1);
    lua_replace(L, 3);
    lua_settop(L, 3); /* false handler error | */
    status = lua_pcallk(L, 1, LUA_MULTRET, 0, 0, end_handler);
    return end_handler(L, status, 0);
}

int neap_script_xpcall(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushboolean(L, 1);
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2); /* f handler true f … | */
    int status = lua_pcallk(L, lua_gettop(L) - 4, LUA_MULTRET, 0, 2, end_xpcall);
    return end_xpcall(L, status, 2);
}

static int end_try(lua_State *L, int status, lua_KContext extra)
{
    struct neap_error err = {0};
    int count = end_pcall(L, status, extra);
    bool is_error = status != LUA_OK && status != LUA_YIELD;
    if (is_error && glue_error_peek(L, -1) == NULL) {
        glue_error_of(L, -1, &err);
        glue_error_push(L, &err);
        lua_replace(L, -2);
    }
    return is_error ? 2 : count;
}

int neap_script_try(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, end_try);
    if (neap_script_is_stopping(L))
        return neap_script_stop_here(L);
    return end_try(L, status, 0);
}

/* Lua looks for __gc only when a metatable is set: refusing it here is enough,
 * one added later has no effect. */
static int sandbox_setmetatable(lua_State *L)
{
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    if (type == LUA_TTABLE) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT,
                                   "a script's metatable cannot have __gc");
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

static int sandbox_rawset(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    if (glue_is_frozen(L, 1) || lua_topointer(L, 1) == neap_script_state_of(L)->env)
        return glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT, "this table is read-only for scripts");
    lua_rawset(L, 1);
    return 1;
}

static int sandbox_print(lua_State *L)
{
    luaL_Buffer text;
    int count = lua_gettop(L);
    luaL_buffinit(L, &text);
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            luaL_addchar(&text, '\t');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&text);
    }
    luaL_pushresult(&text);
    neap_script_say(NEAP_LOG_INFO, "script.print", lua_tostring(L, -1));
    return 0;
}

/* Reads a name that no global has: an error that names the nearest one. The
 * upvalue is the real globals table. */
static int global_missing(lua_State *L)
{
    const char *names[GLOBAL_MAX + 1] = {NULL};
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);
    size_t count = 0;
    lua_pushnil(L);
    while (lua_next(L, lua_upvalueindex(1))) {
        if (count < GLOBAL_MAX)
            names[count++] = lua_tostring(L, -2);
        lua_pop(L, 1);
    }
    const char *nearest = neap_text_nearest(key, names);
    if (nearest == NULL)
        return glue_raise_code(L, NEAP_ERR_SCRIPT_ERROR, "undefined variable \"%s\"", key);
    return glue_raise_code(L, NEAP_ERR_SCRIPT_ERROR,
                           "undefined variable \"%s\"; did you mean \"%s\"?", key, nearest);
}

static int global_refuse(lua_State *L)
{
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);
    return glue_raise_code(L, NEAP_ERR_SCRIPT_ERROR,
                           "assignment to the global \"%s\"; is \"local\" missing?", key);
}

/* globals | globals */
static void add_stock(lua_State *L)
{
    static const char *const names[] = {"assert",   "error",        "ipairs",   "next",    "pairs",
                                        "rawequal", "rawget",       "rawlen",   "select",  "type",
                                        "tonumber", "getmetatable", "tostring", "_VERSION"};
    lua_pushglobaltable(L);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lua_getfield(L, -1, names[i]);
        lua_setfield(L, -3, names[i]);
    }
    lua_pop(L, 1);
}

/* One library's fields, by name: Debian's Lua has more than the manual's (pow,
 * log10, …), and a newer Lua may bring what nobody has looked at. */
struct library {
    const char *name;
    const char *fields[32];          /* NULL-terminated */
    void (*close_off)(lua_State *L); /* table | frozen table */
};

static const struct library libraries[] = {
    {"string",
     {"byte", "char", "format", "len", "lower", "pack", "packsize", "rep", "reverse", "sub",
      "unpack", "upper"},
     neap_script_string_push},
    {"table",
     {"concat", "insert", "move", "pack", "remove", "sort", "unpack"},
     neap_script_table_push},
    {"math",
     {"abs",  "acos",   "asin",       "atan", "ceil",       "cos", "deg",        "exp",  "floor",
      "fmod", "huge",   "log",        "max",  "maxinteger", "min", "mininteger", "modf", "pi",
      "rad",  "random", "randomseed", "sin",  "sqrt",       "tan", "tointeger",  "type", "ult"},
     glue_freeze},
    {"utf8", {"char", "charpattern", "codepoint", "codes", "len", "offset"}, glue_freeze},
};

/* stock table | stock table */
static void copy_fields(lua_State *L, const char *const *fields)
{
    for (; *fields != NULL; fields++) {
        lua_getfield(L, -2, *fields);
        lua_setfield(L, -2, *fields);
    }
}

/* globals | globals */
static void add_libraries(lua_State *L)
{
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        const struct library *library = &libraries[i];
        lua_getglobal(L, library->name);
        lua_newtable(L);
        copy_fields(L, library->fields);
        lua_remove(L, -2);
        library->close_off(L);
        lua_setfield(L, -2, library->name);
    }
    neap_script_coroutine_push(L);
    lua_setfield(L, -2, "coroutine");
    neap_script_module_push(L);
    lua_setfield(L, -2, "neap");
}

void neap_script_globals_push(lua_State *L)
{
    static const luaL_Reg own[] = {{"pcall", neap_script_pcall},
                                   {"xpcall", neap_script_xpcall},
                                   {"setmetatable", sandbox_setmetatable},
                                   {"rawset", sandbox_rawset},
                                   {"print", sandbox_print},
                                   {"require", neap_script_require},
                                   {NULL, NULL}};
    lua_newtable(L);
    add_stock(L);
    luaL_setfuncs(L, own, 0);
    add_libraries(L);
    neap_script_contract_open(L);
    lua_createtable(L, 0, 1); /* globals metatable | */
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, global_missing, 1);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    glue_freeze(L);
    /* The frozen proxy, with a refusal that speaks of globals. */
    lua_getmetatable(L, -1);
    lua_pushcfunction(L, global_refuse);
    lua_setfield(L, -2, "__newindex");
    lua_pop(L, 1);
    neap_script_state_of(L)->env = lua_topointer(L, -1);
}
