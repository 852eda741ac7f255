/* SPDX-License-Identifier: MIT
 *
 * Owns table.* of the sandbox: Lua's own functions behind checks that bound their
 * loops, for no hook fires inside C: table.move({}, 1, 1 << 60, 2) would run for
 * ever. It knows no binding. Surprise: lengths come from __len, so they are
 * bounded too.
 */
#include <lauxlib.h>

#include "host/script/script_state.h"

#define RANGE_MAX 10000000 /* elements one C loop may walk: well under a second */

void neap_script_wrap(lua_State *L, const struct luaL_Reg *functions)
{
    for (; functions->name != NULL; functions++) {
        lua_getfield(L, -1, functions->name);
        lua_pushcclosure(L, functions->func, 1);
        lua_setfield(L, -2, functions->name);
    }
}

/* Calls the stock function with the arguments on the stack. */
static int call_stock(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static void check_range(lua_State *L, const char *name, lua_Integer first, lua_Integer last)
{
    if (last < first)
        return;
    if ((lua_Unsigned)last - (lua_Unsigned)first >= RANGE_MAX)
        glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT, "table.%s over more than 10 million elements",
                        name);
}

static int table_concat(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 4);
    lua_Integer first = luaL_optinteger(L, 3, 1);
    lua_Integer last = lua_isnil(L, 4) ? luaL_len(L, 1) : luaL_checkinteger(L, 4);
    check_range(L, "concat", first, last);
    lua_pushinteger(L, last);
    lua_replace(L, 4);
    return call_stock(L);
}

static int table_insert(lua_State *L)
{
    luaL_checkany(L, 1);
    if (lua_gettop(L) == 3)
        check_range(L, "insert", luaL_checkinteger(L, 2), luaL_len(L, 1));
    return call_stock(L);
}

static int table_remove(lua_State *L)
{
    luaL_checkany(L, 1);
    if (lua_gettop(L) >= 2)
        check_range(L, "remove", luaL_checkinteger(L, 2), luaL_len(L, 1));
    return call_stock(L);
}

static int table_move(lua_State *L)
{
    check_range(L, "move", luaL_checkinteger(L, 2), luaL_checkinteger(L, 3));
    return call_stock(L);
}

static int table_sort(lua_State *L)
{
    luaL_checkany(L, 1);
    check_range(L, "sort", 1, luaL_len(L, 1));
    return call_stock(L);
}

void neap_script_table_push(lua_State *L)
{
    static const luaL_Reg bounded[] = {{"concat", table_concat}, {"insert", table_insert},
                                       {"remove", table_remove}, {"move", table_move},
                                       {"sort", table_sort},     {NULL, NULL}};
    neap_script_wrap(L, bounded);
    glue_freeze(L);
}
