/* SPDX-License-Identifier: MIT
 *
 * Owns module neap, the global of every script: neap.null, neap.try, log, time and
 * units. It touches no server.
 */
#include <lauxlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/log.h"
#include "host/script/script_state.h"

#define LINE_MAX_BYTES 16384 /* of what a script says at once; the log holds it several times */

void neap_script_say(enum neap_log_level level, const char *event, const char *text)
{
    size_t length = strnlen(text, LINE_MAX_BYTES + 1);
    bool is_cut = length > LINE_MAX_BYTES;
    neap_log(level, event, "%.*s%s", (int)(is_cut ? LINE_MAX_BYTES : length), text,
             is_cut ? " … (cut)" : "");
}

static int module_log(lua_State *L)
{
    static const char *const levels[] = {"error", "warn", "info", "detail", "debug", NULL};
    static const enum neap_log_level values[] = {NEAP_LOG_ERROR, NEAP_LOG_WARN, NEAP_LOG_INFO,
                                                 NEAP_LOG_DETAIL, NEAP_LOG_DEBUG};
    int level = luaL_checkoption(L, 2, "info", levels);
    luaL_checkany(L, 1);
    neap_script_say(values[level], "script.log", luaL_tolstring(L, 1, NULL));
    return 0;
}

static int module_now(lua_State *L)
{
    char text[NEAP_UTC_SIZE];
    neap_clock_utc(text);
    lua_pushstring(L, text);
    return 1;
}

static int push_unit(lua_State *L, bool is_size)
{
    struct neap_error err = {0};
    int64_t value = 0;
    const char *text = glue_check_text(L, 1, is_size ? "the size" : "the duration", NULL);
    bool is_read = is_size ? neap_size_parse(text, "the size", &value, &err)
                           : neap_duration_parse(text, "the duration", &value, &err);
    if (!is_read) {
        err.code = NEAP_ERR_SCRIPT_ARGUMENT;
        return glue_raise(L, &err);
    }
    lua_pushinteger(L, value);
    return 1;
}

static int module_duration(lua_State *L)
{
    return push_unit(L, false);
}

static int module_size(lua_State *L)
{
    return push_unit(L, true);
}

static const struct glue_function functions[] = {
    {"try", NEAP_EFFECT_PURE, neap_script_try, "f: function, ...: any", "boolean, any",
     "Calls f and returns true and its results, or false and the error object; a run.* error "
     "(deadline, signal) is never swallowed."},
    {"log", NEAP_EFFECT_PURE, module_log, "text: any, level: string?", "",
     "Writes a line to the log; level is error, warn, info (default), detail or debug."},
    {"now", NEAP_EFFECT_PURE, module_now, "", "string",
     "Returns the UTC time of the host as RFC 3339 text with microseconds."},
    {"duration", NEAP_EFFECT_PURE, module_duration, "text: string", "integer",
     "Returns the milliseconds of a duration such as \"1h30min\"."},
    {"size", NEAP_EFFECT_PURE, module_size, "text: string", "integer",
     "Returns the bytes of a size such as \"64MB\"."},
    {0}};

const struct glue_class neap_script_module = {
    .name = "neap", .doc = "What every script has without require.", .functions = functions};

/* | module: frozen, with the values that are no functions */
void neap_script_module_push(lua_State *L)
{
    lua_newtable(L);
    for (const struct glue_function *row = functions; row->name != NULL; row++) {
        lua_pushcfunction(L, row->call);
        lua_setfield(L, -2, row->name);
    }
    glue_push_null(L);
    lua_setfield(L, -2, "null");
    lua_pushliteral(L, NEAP_VERSION);
    lua_setfield(L, -2, "version");
    glue_freeze(L);
}
