/* SPDX-License-Identifier: MIT
 *
 * Owns coroutine.* of the sandbox: Lua's, except that a stop passes through every
 * resume, wrap and close to the host. It knows no binding. Surprise: after a stop
 * no coroutine is closed, for its __close functions would run with hooks off
 * (the stock wrap lets a parent go on for hundreds of calls).
 */
#include <lauxlib.h>

#include "host/script/script_state.h"

enum { RESUME_ERROR = -1, RESUME_STOP = -2 };

static lua_State *check_thread(lua_State *L)
{
    lua_State *thread = lua_tothread(L, 1);
    luaL_argexpected(L, thread != NULL, 1, "coroutine");
    return thread;
}

static const char *status_of(const lua_State *L, lua_State *thread)
{
    lua_Debug frame;
    if (L == thread)
        return "running";
    switch (lua_status(thread)) {
    case LUA_YIELD:
        return "suspended";
    case LUA_OK:
        if (lua_getstack(thread, 0, &frame))
            return "normal";
        return lua_gettop(thread) == 0 ? "dead" : "suspended";
    default:
        return "dead";
    }
}

/* Resumes with the stop's hook following; the stack of L keeps the arguments. */
static int switch_to(lua_State *L, lua_State *thread, int argument_count, int *result_count)
{
    struct glue_context *context = glue_context(L);
    lua_State *before = context->running;
    context->running = thread;
    neap_script_stop_recheck(thread);
    int status = lua_resume(thread, L, argument_count, result_count);
    context->running = before;
    neap_script_stop_recheck(L);
    return status;
}

/* The number of results moved to L; RESUME_ERROR with the error on L. */
static int resume(lua_State *L, lua_State *thread, int argument_count)
{
    int count = 0;
    if (neap_script_is_stopping(L))
        return RESUME_STOP;
    if (!lua_checkstack(thread, argument_count)) {
        lua_pushliteral(L, "too many arguments to resume");
        return RESUME_ERROR;
    }
    if (lua_status(thread) == LUA_OK && lua_gettop(thread) == 0) {
        lua_pushliteral(L, "cannot resume dead coroutine");
        return RESUME_ERROR;
    }
    lua_xmove(L, thread, argument_count);
    int status = switch_to(L, thread, argument_count, &count);
    if (neap_script_is_stopping(L))
        return RESUME_STOP;
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(thread, L, 1);
        return RESUME_ERROR;
    }
    if (!lua_checkstack(L, count + 1)) {
        lua_pop(thread, count);
        lua_pushliteral(L, "too many results to resume");
        return RESUME_ERROR;
    }
    lua_xmove(thread, L, count);
    return count;
}

static int coroutine_resume(lua_State *L)
{
    lua_State *thread = check_thread(L);
    int count = resume(L, thread, lua_gettop(L) - 1);
    if (count == RESUME_STOP)
        return neap_script_stop_here(L);
    if (count == RESUME_ERROR && neap_script_is_final(L, -1))
        return lua_error(L);
    lua_pushboolean(L, count >= 0);
    lua_insert(L, count >= 0 ? -(count + 1) : -2);
    return count >= 0 ? count + 1 : 2;
}

/* Runs pending __close functions of a coroutine, with the hook following. */
static int close_thread(lua_State *L, lua_State *thread)
{
    struct glue_context *context = glue_context(L);
    lua_State *before = context->running;
    context->running = thread;
    neap_script_stop_recheck(thread);
    int status = lua_resetthread(thread);
    context->running = before;
    neap_script_stop_recheck(L);
    return status;
}

static int wrap_call(lua_State *L)
{
    lua_State *thread = lua_tothread(L, lua_upvalueindex(1));
    int count = resume(L, thread, lua_gettop(L));
    if (count >= 0)
        return count;
    if (count == RESUME_STOP)
        return neap_script_stop_here(L);
    int status = lua_status(thread);
    if (status != LUA_OK && status != LUA_YIELD && !neap_script_is_final(L, -1)) {
        lua_pop(L, 1);
        close_thread(L, thread);
        if (neap_script_is_stopping(L))
            return neap_script_stop_here(L);
        lua_xmove(thread, L, 1); /* the error, or what a __close raised instead */
    }
    return lua_error(L);
}

static int coroutine_create(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *thread = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, thread, 1);
    return 1;
}

static int coroutine_wrap(lua_State *L)
{
    coroutine_create(L);
    lua_pushcclosure(L, wrap_call, 1);
    return 1;
}

static int coroutine_yield(lua_State *L)
{
    if (L == neap_script_state_of(L)->thread)
        return luaL_error(L, "attempt to yield from outside a coroutine");
    return lua_yield(L, lua_gettop(L));
}

static int coroutine_status(lua_State *L)
{
    lua_pushstring(L, status_of(L, check_thread(L)));
    return 1;
}

static int coroutine_running(lua_State *L)
{
    int is_main = L == neap_script_state_of(L)->thread;
    lua_pushthread(L);
    lua_pushboolean(L, is_main);
    return 2;
}

static int coroutine_isyieldable(lua_State *L)
{
    lua_State *thread = lua_isnone(L, 1) ? L : check_thread(L);
    bool is_top = thread == neap_script_state_of(L)->thread;
    lua_pushboolean(L, !is_top && lua_isyieldable(thread));
    return 1;
}

static int coroutine_close(lua_State *L)
{
    lua_State *thread = check_thread(L);
    const char *status = status_of(L, thread);
    if (neap_script_is_stopping(L))
        return neap_script_stop_here(L);
    if (status[0] != 's' && status[0] != 'd')
        return luaL_error(L, "cannot close a %s coroutine", status);
    bool is_clean = close_thread(L, thread) == LUA_OK;
    if (neap_script_is_stopping(L))
        return neap_script_stop_here(L);
    lua_pushboolean(L, is_clean);
    if (is_clean)
        return 1;
    lua_xmove(thread, L, 1);
    return 2;
}

void neap_script_coroutine_push(lua_State *L)
{
    static const luaL_Reg functions[] = {{"create", coroutine_create},
                                         {"wrap", coroutine_wrap},
                                         {"resume", coroutine_resume},
                                         {"yield", coroutine_yield},
                                         {"status", coroutine_status},
                                         {"running", coroutine_running},
                                         {"close", coroutine_close},
                                         {"isyieldable", coroutine_isyieldable},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    glue_freeze(L);
}
