/* SPDX-License-Identifier: MIT
 *
 * Owns what an error of a script says besides its message: the place, and a
 * traceback of script lines only (no C, no stdlib, no host). Surprise: a raised
 * table's __tostring is a script's code, so it runs in a coroutine of its own
 * under the same deadline.
 */
#include <lauxlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/script/script_state.h"

#define TRACE_MAX 20 /* script lines of a traceback */

/* Lua cuts a long chunk name to "...the/end.lua" in messages. */
static bool is_cut_name_of(const char *cut, const char *path)
{
    size_t length = strlen(path);
    if (strncmp(cut, "...", 3) != 0)
        return false;
    size_t rest = strlen(cut + 3);
    return rest <= length && strcmp(path + length - rest, cut + 3) == 0;
}

static void add_frame(struct neap_buffer *text, const lua_Debug *frame)
{
    neap_buffer_add_format(text, "%s%s:%d: ", text->length > 0 ? "\n" : "", frame->source + 1,
                           frame->currentline);
    if (frame->what[0] == 'm')
        neap_buffer_add_text(text, "in the main chunk");
    else if (frame->name != NULL)
        neap_buffer_add_format(text, "in %s '%s'", frame->namewhat, frame->name);
    else
        neap_buffer_add_format(text, "in the function of line %d", frame->linedefined);
}

void neap_script_trace(lua_State *thread, struct neap_error *err)
{
    struct neap_buffer text = {0};
    lua_Debug frame;
    int count = 0;
    for (int level = 0; count < TRACE_MAX && lua_getstack(thread, level, &frame); level++) {
        if (!lua_getinfo(thread, "Sln", &frame) || frame.currentline <= 0 || frame.source[0] != '@')
            continue;
        if (err->where_file == NULL)
            neap_error_where(err, frame.source + 1, frame.currentline);
        else if (is_cut_name_of(err->where_file, frame.source + 1))
            neap_error_where(err, frame.source + 1, err->where_line);
        add_frame(&text, &frame);
        count++;
    }
    if (count > 0 && err->traceback == NULL)
        neap_error_traceback(err, neap_buffer_text(&text));
    neap_buffer_clear(&text);
}

static int entry_tostring(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    return 1;
}

static int make_describer(lua_State *L)
{
    lua_State *thread = lua_tothread(L, 1);
    lua_State *describer = lua_newthread(L);
    lua_pushcfunction(describer, entry_tostring);
    lua_pushvalue(thread, -1);
    lua_xmove(thread, describer, 1);
    return 1;
}

void neap_script_describe(struct neap_script_state *state, lua_State *thread,
                          struct neap_error *err)
{
    lua_State *L = state->L;
    int count = 0;
    struct neap_error told = {0};
    int type = lua_type(thread, -1);
    if ((type != LUA_TTABLE && type != LUA_TUSERDATA) || !lua_checkstack(thread, 4) ||
        !luaL_getmetafield(thread, -1, "__tostring"))
        return;
    lua_pop(thread, 1);
    lua_pushcfunction(L, make_describer);
    lua_pushthread(thread);
    lua_xmove(thread, L, 1);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK) {
        lua_State *describer = lua_tothread(L, -1);
        state->context.running = describer;
        neap_script_stop_recheck(describer);
        if (lua_resume(describer, L, 1, &count) == LUA_OK &&
            lua_type(describer, -1) == LUA_TSTRING) {
            glue_error_of(describer, -1, &told);
            neap_error_move(err, &told);
        }
        state->context.running = thread;
    }
    lua_settop(L, 1);
}
