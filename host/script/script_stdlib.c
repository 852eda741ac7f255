/* SPDX-License-Identifier: MIT
 *
 * The stdlib's modules for a script's state. Each attempt has a state of its own,
 * and compiling the stdlib took two thirds of neap's own time in a run of small
 * migrations: so a module is compiled once in a process, and later states get what
 * lua_dump gave. That is bytecode of our own making; a script's is refused.
 */
#include <lauxlib.h>
#include <stdlib.h>

#include "host/base/buffer.h"
#include "host/base/embedded.h"
#include "host/base/memory.h"
#include "host/script/script_state.h"

/* By the row of the embedded file; grows when the first is asked for. */
static struct neap_buffer *compiled;

static int keep_piece(lua_State *L, const void *bytes, size_t length, void *buffer)
{
    (void)L;
    neap_buffer_add(buffer, bytes, length);
    return 0;
}

void neap_script_stdlib_load(lua_State *L, const struct neap_embedded *file, const char *chunk_name)
{
    size_t row = (size_t)(file - neap_embedded_all());
    if (compiled == NULL)
        compiled = neap_alloc(neap_embedded_count * sizeof *compiled);
    struct neap_buffer *code = &compiled[row];
    if (code->length == 0) {
        neap_script_load(L, file->bytes, file->length, chunk_name);
        lua_dump(L, keep_piece, code, 0);
        return;
    }
    if (luaL_loadbufferx(L, neap_buffer_text(code), code->length, chunk_name, "b") != LUA_OK)
        lua_error(L); /* memory alone: it was compiled before */
    neap_script_env_set(L);
}
