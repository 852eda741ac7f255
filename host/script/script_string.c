/* SPDX-License-Identifier: MIT
 *
 * Owns string.* of the sandbox: no dump, a bounded rep, and the string metatable,
 * private and locked: a script that could change getmetatable("").__index would
 * change every string method of what runs after it. It knows no binding.
 */
#include <lauxlib.h>

#include "host/script/script_state.h"

#define REPEAT_MAX 100000000 /* also of nothing: rep("", 1 << 62) would never end */

static int string_rep(lua_State *L)
{
    size_t length, gap;
    luaL_checklstring(L, 1, &length);
    lua_Integer count = luaL_checkinteger(L, 2);
    luaL_optlstring(L, 3, "", &gap);
    size_t left = neap_script_memory_left(&neap_script_state_of(L)->memory);
    if (count > 0 && length + gap > left / (size_t)count)
        return glue_raise_code(L, NEAP_ERR_SCRIPT_MEMORY,
                               "string.rep would use more memory than the script may");
    if (count > REPEAT_MAX)
        return glue_raise_code(L, NEAP_ERR_SCRIPT_ARGUMENT,
                               "string.rep of more than 100 million copies");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* string table (a copy without dump) | proxy */
void neap_script_string_push(lua_State *L)
{
    static const luaL_Reg bounded[] = {{"rep", string_rep}, {NULL, NULL}};
    neap_script_wrap(L, bounded);
    neap_script_match_open(L);
    lua_pushliteral(L, "");
    if (lua_getmetatable(L, -1)) {
        lua_pushvalue(L, -3); /* string "" metatable string | */
        lua_setfield(L, -2, "__index");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    glue_freeze(L);
}
