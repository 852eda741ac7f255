/* SPDX-License-Identifier: MIT
 *
 * Owns classes, modules, handles and the freeze, all made from one table of rows.
 * It knows no service. Surprise: a frozen table is an empty proxy; the real one
 * is an upvalue or the __index of a locked metatable, so that neither rawset nor
 * table.insert nor next can reach it.
 */
#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

#include "bindings/glue/glue.h"
#include "host/base/text.h"

#define NAME_MAX_COUNT 128 /* functions of one class, for the nearest name */

static const char null_key = 0;

/* A pointer to a static const row as an upvalue: Lua has no const light userdata. */
static void push_class(lua_State *L, const struct glue_class *class)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t) class);
}

static const struct glue_class *class_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* __index of a class or module after its functions: the name does not exist. */
static int class_missing(lua_State *L)
{
    const struct glue_class *class = class_of(L);
    const char *names[NAME_MAX_COUNT + 1] = {NULL};
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);
    size_t count = 0;
    for (const struct glue_function *row = class->functions; row->name != NULL; row++) {
        if (count < NAME_MAX_COUNT)
            names[count++] = row->name;
    }
    const char *nearest = neap_text_nearest(key, names);
    if (nearest == NULL)
        return glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT, "%s has no \"%s\"", class->name, key);
    return glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT, "%s has no \"%s\"; did you mean \"%s\"?",
                           class->name, key, nearest);
}

/* | functions */
static void push_functions(lua_State *L, const struct glue_class *class)
{
    lua_newtable(L);
    for (const struct glue_function *row = class->functions; row->name != NULL; row++) {
        lua_pushcfunction(L, row->call);
        lua_setfield(L, -2, row->name);
    }
    lua_createtable(L, 0, 1); /* functions metatable | */
    push_class(L, class);
    lua_pushcclosure(L, class_missing, 1);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

static int class_close(lua_State *L)
{
    const struct glue_class *class = class_of(L);
    void *handle = lua_touserdata(L, 1);
    /* __close is called as fn(value, error); a script may call neither directly,
     * for both live only in the locked metatable. */
    if (class->close != NULL && handle != NULL)
        class->close(handle);
    return 0;
}

static int class_tostring(lua_State *L)
{
    lua_pushfstring(L, "%s: %p", class_of(L)->name, lua_topointer(L, 1));
    return 1;
}

static int frozen_refuse(lua_State *L)
{
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);
    return glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT,
                           "cannot set \"%s\": this table is read-only for scripts", key);
}

void glue_class_register(lua_State *L, const struct glue_class *class)
{
    static const luaL_Reg methods[] = {{"__gc", class_close},
                                       {"__close", class_close},
                                       {"__tostring", class_tostring},
                                       {NULL, NULL}};
    luaL_checkstack(L, 6, NULL);
    if (luaL_newmetatable(L, class->name)) {
        push_class(L, class);
        luaL_setfuncs(L, methods, 1);
        push_functions(L, class);
        lua_setfield(L, -2, "__index");
        lua_pushcfunction(L, frozen_refuse);
        lua_setfield(L, -2, "__newindex");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_pop(L, 1);
}

void *glue_handle_push(lua_State *L, const struct glue_class *class)
{
    luaL_checkstack(L, 4, NULL);
    void *handle = lua_newuserdatauv(L, class->size, 1);
    memset(handle, 0, class->size);
    if (luaL_getmetatable(L, class->name) != LUA_TTABLE) {
        lua_pop(L, 1);
        glue_class_register(L, class);
        luaL_getmetatable(L, class->name);
    }
    lua_setmetatable(L, -2);
    return handle;
}

void *glue_handle_check(lua_State *L, int index, const struct glue_class *class)
{
    void *handle = luaL_testudata(L, index, class->name);
    if (handle == NULL)
        glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT,
                        "%s expected, got %s; call its functions with a colon: object:name(…)",
                        class->name, luaL_typename(L, index));
    return handle;
}

void glue_module_push(lua_State *L, const struct glue_class *module)
{
    luaL_checkstack(L, 6, NULL);
    push_functions(L, module);
    glue_freeze(L);
}

static int frozen_next(lua_State *L)
{
    lua_settop(L, 2);
    if (lua_next(L, lua_upvalueindex(1)))
        return 2;
    lua_pushnil(L);
    return 1;
}

/* The iterator closes over the real table, which thus never is a value that the
 * script sees. */
static int frozen_pairs(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushcclosure(L, frozen_next, 1);
    return 1;
}

static int frozen_length(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, lua_upvalueindex(1)));
    return 1;
}

/* real | proxy */
void glue_freeze(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"__pairs", frozen_pairs}, {"__len", frozen_length}, {NULL, NULL}};
    luaL_checkstack(L, 5, NULL);
    lua_newtable(L);
    lua_createtable(L, 0, 5); /* real proxy metatable | */
    lua_pushvalue(L, -3);
    luaL_setfuncs(L, methods, 1);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, frozen_refuse);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_remove(L, -2);
}

bool glue_is_frozen(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    lua_pushliteral(L, "__newindex");
    lua_rawget(L, -2);
    bool is_frozen = lua_tocfunction(L, -1) == frozen_refuse;
    lua_pop(L, 2);
    return is_frozen;
}

static int null_tostring(lua_State *L)
{
    lua_pushliteral(L, "null");
    return 1;
}

void glue_push_null(lua_State *L)
{
    luaL_checkstack(L, 4, NULL);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &null_key) == LUA_TUSERDATA)
        return;
    lua_pop(L, 1);
    lua_newuserdatauv(L, 0, 0);
    lua_createtable(L, 0, 3); /* null metatable | */
    lua_pushcfunction(L, null_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "neap.null");
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &null_key);
}

bool glue_is_null(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TUSERDATA)
        return false;
    index = lua_absindex(L, index);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &null_key);
    bool is_null = lua_rawequal(L, index, -1);
    lua_pop(L, 1);
    return is_null;
}
