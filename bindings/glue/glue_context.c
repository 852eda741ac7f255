/* SPDX-License-Identifier: MIT
 *
 * Owns the tie between a Lua state and its run: one pointer in the state's
 * extra space, which every coroutine inherits and which reading cannot raise.
 * It knows no binding. Surprise: a script's position is the nearest frame whose
 * chunk name begins with '@'; the stdlib's do not, so they are never blamed.
 */
#include "bindings/glue/glue.h"

#include <string.h>

struct glue_context *glue_context(lua_State *L)
{
    struct glue_context *context;
    memcpy(&context, lua_getextraspace(L), sizeof(struct glue_context *));
    return context;
}

void glue_context_open(lua_State *L, struct glue_context *context)
{
    memcpy(lua_getextraspace(L), &context, sizeof(struct glue_context *));
    context->main = L;
    context->running = NULL;
}

void glue_context_clear(struct glue_context *context)
{
    neap_error_clear(&context->pending);
    context->main = NULL;
    context->running = NULL;
}

bool glue_memory_charge(lua_State *L, size_t size_bytes)
{
    struct glue_context *context = glue_context(L);
    if (size_bytes > INT64_MAX)
        return false;
    return context->charge == NULL || context->charge(context, (int64_t)size_bytes);
}

void glue_memory_release(lua_State *L, size_t size_bytes)
{
    struct glue_context *context = glue_context(L);
    if (context->charge != NULL)
        (void)context->charge(context, -(int64_t)size_bytes);
}

bool glue_where(lua_State *L, const char **file, int *line)
{
    lua_Debug frame;
    for (int level = 0; lua_getstack(L, level, &frame); level++) {
        if (!lua_getinfo(L, "Sl", &frame) || frame.currentline <= 0 || frame.source[0] != '@')
            continue;
        *file = frame.source + 1;
        *line = frame.currentline;
        return true;
    }
    return false;
}
