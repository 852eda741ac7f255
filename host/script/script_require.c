/* SPDX-License-Identifier: MIT
 *
 * Owns require: neap.* (bindings and the stdlib in the binary) and the project's
 * lib/ as it was read and hashed with the script; nothing else, and no search
 * path from the environment. Surprise: the stdlib runs with the same frozen
 * globals as scripts do; it has no power of its own.
 */
#include <lauxlib.h>
#include <string.h>

#include "bindings/pg/pg_lua.h"
#include "host/base/embedded.h"
#include "host/base/text.h"
#include "host/script/script_state.h"

#define NAME_SIZE 256
#define NEAREST_MAX 64

static const char loaded_key = 0;  /* registry: table of modules by name */
static const char loading_key = 0; /* the value of a module that is being loaded */

/* | loaded */
static void push_loaded(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &loaded_key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &loaded_key);
}

static const struct neap_source_file *find_lib(lua_State *L, const char *name)
{
    const struct neap_source *source = neap_script_state_of(L)->source;
    for (size_t i = 1; source != NULL && i < source->file_count; i++) {
        if (source->files[i].module != NULL && strcmp(source->files[i].module, name) == 0)
            return &source->files[i];
    }
    return NULL;
}

static const struct neap_embedded *find_stdlib(const char *name)
{
    char path[NAME_SIZE + 8];
    size_t length = strlen(name);
    if (strncmp(name, "neap.", 5) != 0 || name[5] == '_' || length >= NAME_SIZE)
        return NULL;
    for (size_t i = 0; i < length; i++)
        path[i] = name[i] == '.' ? '/' : name[i];
    memcpy(path + length, ".lua", 5);
    return neap_embedded_find(path);
}

static int refuse_missing(lua_State *L, const char *name)
{
    const struct neap_source *source = neap_script_state_of(L)->source;
    const char *names[NEAREST_MAX + 4] = {"neap", "neap.pg", "neap.expect"};
    size_t count = 3;
    for (size_t i = 1; source != NULL && i < source->file_count && count < NEAREST_MAX; i++)
        names[count++] = source->files[i].module;
    const char *nearest = neap_text_nearest(name, names);
    if (nearest != NULL)
        return glue_raise_code(L, NEAP_ERR_SCRIPT_REQUIRE, "no module \"%s\"; did you mean \"%s\"?",
                               name, nearest);
    return glue_raise_code(L, NEAP_ERR_SCRIPT_REQUIRE,
                           "no module \"%s\": require finds neap.* and the project's lib/", name);
}

/* Built-in modules of C. | module, or nothing */
static bool push_binding(lua_State *L, const char *name)
{
    if (strcmp(name, "neap") == 0) {
        neap_script_module_push(L);
        return true;
    }
    if (strcmp(name, "neap.pg") == 0 && !neap_script_state_of(L)->is_config) {
        glue_module_push(L, &pg_lua_module);
        return true;
    }
    return false;
}

/* name loaded … result */
static int end_require(lua_State *L, int status, lua_KContext is_builtin)
{
    (void)status;
    /* The stdlib trusts its own modules: expect_text is what expect fails with. */
    if (is_builtin && lua_istable(L, -1))
        glue_freeze(L);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2); /* name loaded result name result | */
    lua_rawset(L, 2);
    return 1;
}

int neap_script_require(lua_State *L)
{
    const char *name = glue_check_text(L, 1, "the module's name", NULL);
    lua_settop(L, 1);
    push_loaded(L);
    lua_pushvalue(L, 1);
    lua_rawget(L, 2); /* name loaded value | */
    if (lua_touserdata(L, 3) == (const void *)&loading_key)
        return glue_raise_code(L, NEAP_ERR_SCRIPT_REQUIRE, "module \"%s\" requires itself", name);
    if (!lua_isnil(L, 3))
        return 1;
    lua_settop(L, 2);
    if (push_binding(L, name))
        return end_require(L, LUA_OK, 0);
    const struct neap_source_file *lib = find_lib(L, name);
    const struct neap_embedded *builtin = find_stdlib(name);
    if (builtin == NULL && lib == NULL)
        return refuse_missing(L, name);
    lua_pushvalue(L, 1);
    lua_pushlightuserdata(L, (void *)(uintptr_t)&loading_key);
    lua_rawset(L, 2);
    if (builtin != NULL) {
        lua_pushfstring(L, "=%s", name);
        neap_script_stdlib_load(L, builtin, lua_tostring(L, -1));
        lua_remove(L, -2);
    } else {
        neap_script_load_file(L, lib);
    }
    lua_callk(L, 0, 1, builtin != NULL, end_require);
    return end_require(L, LUA_OK, builtin != NULL);
}
