/* SPDX-License-Identifier: MIT
 *
 * Lua has no function that gives its release; the header's constants do, and
 * within one soname they are what counts.
 */
#include "host/script/script_version.h"

#include <lua.h>

const char *neap_script_lua_version(void)
{
    return LUA_VERSION_MAJOR "." LUA_VERSION_MINOR "." LUA_VERSION_RELEASE;
}
