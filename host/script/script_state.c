/* SPDX-License-Identifier: MIT
 *
 * Owns the sandboxed Lua state: made fresh for each script, run only in a
 * coroutine under the watch, closed whatever happened. It knows no binding.
 * Surprise: nothing here calls Lua outside a protected call, not even to make a
 * coroutine: making one may run out of the script's memory.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/log.h"
#include "host/script/script_state.h"

static const char env_key = 0;

struct neap_script_state *neap_script_state_of(lua_State *L)
{
    return glue_context(L)->host;
}

static int on_panic(lua_State *L)
{
    struct neap_error err = {0};
    glue_error_of(L, -1, &err);
    err.code = NEAP_ERR_INTERNAL_BUG;
    neap_log_error(&err);
    exit(neap_error_exit_status(&err));
}

static bool charge(struct glue_context *context, int64_t bytes)
{
    struct neap_script_state *state = context->host;
    return neap_script_memory_count(&state->memory, bytes);
}

static int open_sandbox(lua_State *L)
{
    static const luaL_Reg libraries[] = {{"_G", luaopen_base},     {"string", luaopen_string},
                                         {"table", luaopen_table}, {"math", luaopen_math},
                                         {"utf8", luaopen_utf8},   {NULL, NULL}};
    for (const luaL_Reg *library = libraries; library->name != NULL; library++) {
        luaL_requiref(L, library->name, library->func, 1);
        lua_pop(L, 1);
    }
    neap_script_globals_push(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &env_key);
    return 0;
}

bool neap_script_state_open(struct neap_script_state *state, const struct neap_script_opts *opts,
                            const struct neap_source *source, bool is_config,
                            struct neap_error *err)
{
    *state = (struct neap_script_state){.opts = opts, .source = source, .is_config = is_config};
    neap_script_memory_init(&state->memory, opts->memory_bytes);
    state->memory.fail_in = opts->memory_fail_in;
    state->run = neap_loop_run(opts->loop);
    state->context.run = state->run;
    state->context.loop = opts->loop;
    state->context.host = state;
    state->context.charge = charge;
    state->L = lua_newstate(neap_script_memory_alloc, &state->memory);
    if (state->L == NULL) {
        neap_error_set(err, NEAP_ERR_SCRIPT_MEMORY, "a script needs more memory than the cap");
        return false;
    }
    lua_atpanic(state->L, on_panic);
    glue_context_open(state->L, &state->context);
    lua_pushcfunction(state->L, open_sandbox);
    if (lua_pcall(state->L, 0, 0, 0) != LUA_OK) {
        glue_error_of(state->L, -1, err);
        neap_script_state_close(state);
        return false;
    }
    return true;
}

void neap_script_state_close(struct neap_script_state *state)
{
    /* After a stop as well: no finalizer is a script's (setmetatable refuses
     * __gc), and abandoned coroutines do not run their __close. */
    if (state->L != NULL)
        lua_close(state->L);
    glue_context_clear(&state->context);
    neap_error_clear(&state->stop_place);
    state->L = NULL;
}

static int make_thread(lua_State *L)
{
    lua_newthread(L);
    return 1;
}

/* Fills `err` from how the coroutine ended. */
static void explain(struct neap_script_state *state, lua_State *thread, int status,
                    bool is_stopping, struct neap_error *err)
{
    const struct neap_error *raised =
        status == LUA_OK || status == LUA_YIELD ? NULL : glue_error_peek(thread, -1);
    if (is_stopping) {
        neap_run_check(state->run, err);
        if (!state->is_stopped && raised != NULL && raised->code == err->code)
            neap_error_copy(err, raised); /* a binding's, which says more */
        if (state->stop_place.where_file != NULL) {
            neap_error_where(err, state->stop_place.where_file, state->stop_place.where_line);
            neap_error_traceback(err, state->stop_place.traceback);
        }
        neap_script_trace(thread, err);
    } else if (status == LUA_YIELD) {
        neap_error_set(err, NEAP_ERR_SCRIPT_ERROR, "the script yielded outside a coroutine");
    } else if (status == LUA_ERRMEM) {
        neap_error_set(err, NEAP_ERR_SCRIPT_MEMORY, "the script used more than %zu MB of memory",
                       state->memory.cap / 1048576);
        neap_script_trace(thread, err);
    } else {
        glue_error_of(thread, -1, err);
        if (raised == NULL)
            neap_script_describe(state, thread, err);
        neap_script_trace(thread, err);
        /* A __tostring that looped until the deadline ends as the stop it is. */
        if (neap_script_is_stopping(state->L))
            neap_run_check(state->run, err);
    }
}

bool neap_script_state_run(struct neap_script_state *state, lua_CFunction entry, void *arg,
                           int64_t cpu_limit_ms, lua_State **out, struct neap_error *err)
{
    lua_State *L = state->L;
    int count = 0;
    lua_settop(L, 0);
    lua_pushcfunction(L, make_thread);
    if (lua_pcall(L, 0, 1, 0) != LUA_OK) {
        glue_error_of(L, -1, err);
        return false;
    }
    lua_State *thread = lua_tothread(L, -1);
    lua_pushcfunction(thread, entry);
    lua_pushlightuserdata(thread, arg);
    if (!neap_script_watch_begin(state, cpu_limit_ms, err))
        return false;
    state->thread = thread;
    state->is_stopped = false;
    neap_error_clear(&state->stop_place);
    state->context.running = thread;
    neap_script_stop_recheck(thread);
    int status = lua_resume(thread, L, 1, &count);
    bool is_stopping = neap_script_is_stopping(L);
    bool is_done = status == LUA_OK && !is_stopping;
    if (!is_done)
        explain(state, thread, status, is_stopping, err);
    state->context.running = NULL;
    neap_script_watch_end(state);
    *out = thread;
    return is_done;
}

void neap_script_env_set(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &env_key);
    lua_setupvalue(L, -2, 1);
}

void neap_script_load(lua_State *L, const char *text, size_t length, const char *chunk_name)
{
    struct neap_error err = {0};
    int status = luaL_loadbufferx(L, text, length, chunk_name, "t");
    if (status == LUA_ERRMEM)
        lua_error(L);
    if (status != LUA_OK) {
        glue_error_of(L, -1, &err);
        err.code = NEAP_ERR_SCRIPT_SYNTAX;
        if (chunk_name[0] == '@')
            neap_error_where(&err, chunk_name + 1, err.where_line);
        glue_raise(L, &err);
    }
    neap_script_env_set(L);
}

void neap_script_load_file(lua_State *L, const struct neap_source_file *file)
{
    const char *text = file->text;
    size_t length = file->length;
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        length -= 3;
    }
    /* The newline stays, so that lines keep their numbers. */
    while (length > 0 && file->text[0] == '#' && text[0] != '\n') {
        text++;
        length--;
    }
    lua_pushfstring(L, "@%s", file->path);
    neap_script_load(L, text, length, lua_tostring(L, -1));
    lua_remove(L, -2);
}
