/* SPDX-License-Identifier: MIT
 *
 * Owns running neap.lua: the same sandbox without bindings, plus env "NAME", and
 * its table as JSON. It knows no key of the configuration. Surprise: the table is
 * walked raw; a configuration's metamethods are never called.
 */
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/json.h"
#include "host/base/text.h"
#include "host/script/script_state.h"

#define DEPTH_MAX 20
#define VALUE_MAX 100000
#define CONFIG_MEMORY_BYTES (32LL * 1024 * 1024)

struct config {
    const struct neap_source_file *file;
    json_t *unset;
};

static int config_env(lua_State *L)
{
    const char *name = glue_check_text(L, 1, "the variable's name", NULL);
    const char *value = getenv(name);
    const struct config *config = lua_touserdata(L, lua_upvalueindex(1));
    if (value == NULL || value[0] == '\0') { /* an empty one was forgotten, not meant */
        neap_json_set(config->unset, name, json_true());
        lua_pushnil(L);
    } else
        lua_pushstring(L, value);
    return 1;
}

/* env | env: the chunk's _ENV: `env` and, behind it, the frozen globals. */
static void push_config_env(lua_State *L, struct config *config)
{
    lua_newtable(L);
    lua_pushlightuserdata(L, config);
    lua_pushcclosure(L, config_env, 1);
    lua_setfield(L, -2, "env");
    lua_getmetatable(L, -2); /* globals env globals' metatable | */
    lua_createtable(L, 0, 3);
    lua_getfield(L, -2, "__newindex");
    lua_setfield(L, -2, "__newindex");
    lua_pushvalue(L, -4);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -3);
    lua_pop(L, 1);
    neap_script_state_of(L)->env = lua_topointer(L, -1);
}

static int end_config(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    if (!lua_istable(L, -1))
        return glue_raise_code(L, NEAP_ERR_CONFIG_INVALID,
                               "the file must return a table; it returned %s",
                               lua_isnil(L, -1) ? "nothing" : luaL_typename(L, -1));
    return 1;
}

static int entry_config(lua_State *L)
{
    struct config *config = lua_touserdata(L, 1);
    neap_script_load_file(L, config->file);
    lua_getupvalue(L, -1, 1); /* chunk globals | */
    push_config_env(L, config);
    lua_setupvalue(L, -3, 1);
    lua_pop(L, 1);
    lua_callk(L, 0, 1, 0, end_config);
    return end_config(L, LUA_OK, 0);
}

struct walk {
    lua_State *L;
    int depth, count;
    struct neap_error *err;
};

static json_t *value_of(struct walk *walk);

/* `type` NULL, or the Lua type that was found instead. */
static json_t *refuse(struct walk *walk, const char *why, const char *type)
{
    neap_error_set(walk->err, NEAP_ERR_CONFIG_INVALID, "%s%s%s", why, type ? ", not a " : "",
                   type ? type : "");
    return NULL;
}

static json_t *list_of(struct walk *walk, lua_Integer length)
{
    json_t *list = json_array();
    for (lua_Integer i = 1; i <= length; i++) {
        lua_rawgeti(walk->L, -1, i);
        json_t *item = value_of(walk);
        lua_pop(walk->L, 1);
        if (item == NULL) {
            json_decref(list);
            return NULL;
        }
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *object_of(struct walk *walk)
{
    json_t *object = json_object();
    lua_pushnil(walk->L);
    while (lua_next(walk->L, -2)) {
        size_t length = 0;
        const char *key =
            lua_type(walk->L, -2) == LUA_TSTRING ? lua_tolstring(walk->L, -2, &length) : NULL;
        json_t *item = key == NULL || strlen(key) != length || !neap_text_is_utf8(key, length)
                           ? refuse(walk, "a key must be a name", luaL_typename(walk->L, -2))
                           : value_of(walk);
        lua_pop(walk->L, 1);
        if (item == NULL) {
            if (key != NULL && walk->err != NULL && walk->err->detail == NULL)
                neap_error_detail(walk->err, "The key is \"%s\".", key);
            lua_pop(walk->L, 1);
            json_decref(object);
            return NULL;
        }
        json_object_set_new(object, key, item);
    }
    return object;
}

static json_t *table_of(struct walk *walk)
{
    if (walk->depth >= DEPTH_MAX || !lua_checkstack(walk->L, 4))
        return refuse(walk, "tables are nested too deeply", NULL);
    walk->depth++;
    lua_Integer length = (lua_Integer)lua_rawlen(walk->L, -1);
    json_t *json =
        length > 0 ? list_of(walk, length < VALUE_MAX ? length : VALUE_MAX) : object_of(walk);
    walk->depth--;
    return json;
}

static json_t *text_of(struct walk *walk)
{
    size_t length;
    const char *text = lua_tolstring(walk->L, -1, &length);
    if (strlen(text) != length || !neap_text_is_utf8(text, length))
        return refuse(walk, "a text must be UTF-8 without NUL bytes", NULL);
    return json_string(text);
}

/* The value at the top, left there. NULL with the error. */
static json_t *value_of(struct walk *walk)
{
    lua_State *L = walk->L;
    if (++walk->count > VALUE_MAX)
        return refuse(walk, "the table has too many values", NULL);
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN:
        return json_boolean(lua_toboolean(L, -1));
    case LUA_TNUMBER:
        if (lua_isinteger(L, -1))
            return json_integer(lua_tointeger(L, -1));
        return isfinite(lua_tonumber(L, -1)) ? json_real(lua_tonumber(L, -1))
                                             : refuse(walk, "a number must be finite", NULL);
    case LUA_TSTRING:
        return text_of(walk);
    case LUA_TTABLE:
        return table_of(walk);
    default:
        return refuse(walk, "a value must be a text, a number, true, false or a table",
                      luaL_typename(L, -1));
    }
}

bool neap_script_config(struct neap_loop *loop, const struct neap_source_file *file, json_t **out,
                        json_t **unset, struct neap_error *err)
{
    struct neap_script_opts opts = {.loop = loop, .memory_bytes = CONFIG_MEMORY_BYTES};
    struct neap_script_state state;
    struct config config = {file, json_object()};
    struct neap_error own = {0};
    lua_State *thread;
    *out = *unset = NULL;
    if (neap_script_state_open(&state, &opts, NULL, true, &own)) {
        if (neap_script_state_run(&state, entry_config, &config, NEAP_SCRIPT_LOAD_CPU_MS, &thread,
                                  &own)) {
            struct walk walk = {.L = thread, .err = &own};
            *out = value_of(&walk);
        }
        neap_script_state_close(&state);
    }
    if (*out != NULL) {
        *unset = config.unset;
        return true;
    }
    json_decref(config.unset);
    if (strncmp(neap_error_row(own.code)->code, "run.", 4) != 0)
        own.code = NEAP_ERR_CONFIG_INVALID;
    if (own.where_file == NULL)
        neap_error_where(&own, file->path, 0);
    if (err != NULL)
        neap_error_move(err, &own);
    neap_error_clear(&own);
    return false;
}
