/* SPDX-License-Identifier: MIT
 *
 * Owns the contract: migration{}, runbook{}, irreversible and unverified, checked
 * where they are called, so that an error has the script's line. It touches no
 * server. Surprise: the definition lives in a userdata that is owner before
 * anything is read into it; every raise on the way loses nothing.
 */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/base/text.h"
#include "host/script/script_state.h"

#define STEP_MAX 10000

static const struct glue_function no_functions[] = {{0}};

struct reason {
    char *why;
    bool is_irreversible;
};

static void reason_close(void *handle)
{
    struct reason *reason = handle;
    free(reason->why);
    reason->why = NULL;
}

void neap_script_def_clear(struct neap_script_def *def)
{
    char *texts[] = {def->summary, def->ticket, def->phase, def->why, def->risk, def->locks};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    for (size_t i = 0; def->requires != NULL && def->requires[i] != NULL; i++)
        free(def->requires[i]);
    free(def->requires);
    for (size_t i = 0; i < def->step_count; i++) {
        free(def->steps[i].name);
        free(def->steps[i].irreversible);
        free(def->steps[i].unverified);
    }
    free(def->steps);
    *def = (struct neap_script_def){0};
}

static void contract_close(void *handle)
{
    struct neap_script_contract *contract = handle;
    neap_script_def_clear(&contract->def);
}

static const struct glue_class reason_class = {"neap.Reason", "Why a part is missing.",
                                               no_functions, reason_close, sizeof(struct reason)};
static const struct glue_class contract_class = {
    "neap.Migration", "What migration{} and runbook{} return.", no_functions, contract_close,
    sizeof(struct neap_script_contract)};

struct neap_script_contract *neap_script_contract_at(lua_State *L, int index)
{
    return luaL_testudata(L, index, contract_class.name);
}

/* Every key of the table at `index` must be one of `keys`. */
static void check_keys(lua_State *L, int index, const char *what, const char *const *keys)
{
    lua_pushnil(L);
    while (lua_next(L, index)) {
        size_t i = 0;
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT,
                            "%s takes named keys only; found one of type %s", what,
                            luaL_typename(L, -1));
        const char *key = lua_tostring(L, -1);
        while (keys[i] != NULL && strcmp(keys[i], key) != 0)
            i++;
        const char *nearest = keys[i] == NULL ? neap_text_nearest(key, keys) : NULL;
        if (nearest != NULL)
            glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT,
                            "%s has no key \"%s\"; did you mean \"%s\"?", what, key, nearest);
        if (keys[i] == NULL)
            glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT, "%s has no key \"%s\"", what, key);
    }
}

/* Pushes table[key]; its type. */
static int push_field(lua_State *L, int index, const char *key)
{
    lua_pushstring(L, key);
    return lua_rawget(L, index);
}

static void read_text(lua_State *L, int index, const char *key, char **out)
{
    int type = push_field(L, index, key);
    if (type != LUA_TNIL) {
        size_t length = 0;
        const char *text = type == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;
        if (text == NULL || length == 0 || memchr(text, '\0', length) != NULL)
            glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT, "%s must be a non-empty string", key);
        *out = neap_strdup(text);
    }
    lua_pop(L, 1);
}

static void read_duration(lua_State *L, int index, const char *key, int64_t *out)
{
    struct neap_error err = {0};
    int type = push_field(L, index, key);
    if (type != LUA_TNIL && type != LUA_TSTRING)
        glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT,
                        "%s must be a duration with its unit, such as \"30s\"; got a %s", key,
                        lua_typename(L, type));
    if (type == LUA_TSTRING && !neap_duration_parse(lua_tostring(L, -1), key, out, &err)) {
        err.code = NEAP_ERR_SCRIPT_CONTRACT;
        glue_raise(L, &err);
    }
    lua_pop(L, 1);
}

static void read_requires(lua_State *L, int index, struct neap_script_def *def)
{
    int type = push_field(L, index, "requires");
    if (type != LUA_TNIL && type != LUA_TTABLE)
        glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT, "requires must be a list of ids: {\"0001\"}");
    size_t count = type == LUA_TTABLE ? (size_t)lua_rawlen(L, -1) : 0;
    if (count > STEP_MAX)
        glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT, "requires has too many ids");
    def->requires = neap_alloc((count + 1) * sizeof *def->requires);
    for (size_t i = 0; i < count; i++) {
        int item = lua_rawgeti(L, -1, (lua_Integer)i + 1);
        const char *id = item == LUA_TSTRING ? lua_tostring(L, -1) : "";
        if (id[0] == '\0' || strspn(id, "0123456789") != strlen(id))
            glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT,
                            "requires must be a list of ids as strings of digits: {\"0001\"}");
        def->requires[i] = neap_strdup(id);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* parts | parts: reads table[key] into parts[key], a function, or the reason for
 * having none into *why (NULL: a function is the only choice). */
static void read_part(lua_State *L, int index, const char *key, bool irreversible, char **why)
{
    int type = push_field(L, index, key);
    struct reason *reason = luaL_testudata(L, -1, reason_class.name);
    if (type == LUA_TFUNCTION) {
        lua_setfield(L, -2, key);
        return;
    }
    if (reason != NULL && why != NULL && reason->is_irreversible == irreversible) {
        *why = neap_strdup(reason->why);
        lua_pop(L, 1);
        return;
    }
    const char *other = why == NULL    ? ""
                        : irreversible ? ", or irreversible \"why\""
                                       : ", or unverified \"why\"";
    if (type == LUA_TNIL)
        glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT, "%s is missing: give a function%s", key,
                        other);
    glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT, "%s must be a function%s; got a %s", key, other,
                    reason != NULL ? "reason for another key" : lua_typename(L, type));
}

/* list | list: appends the parts of the table at `index`. */
static void read_parts(lua_State *L, int index, struct neap_step_def *step, size_t number)
{
    lua_createtable(L, 0, 3);
    read_part(L, index, "up", false, NULL);
    read_part(L, index, "verify", false, &step->unverified);
    read_part(L, index, "down", true, &step->irreversible);
    lua_rawseti(L, -2, (lua_Integer)number);
}

static void check_name(lua_State *L, const struct neap_script_def *def, size_t last)
{
    for (size_t i = 0; i < last; i++) {
        if (strcmp(def->steps[i].name, def->steps[last].name) == 0)
            glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT, "two steps are named \"%s\"",
                            def->steps[i].name);
    }
}

/* list steps | list steps */
static void read_steps(lua_State *L, struct neap_script_def *def)
{
    static const char *const keys[] = {"name", "up", "verify", "down", NULL};
    int steps = lua_gettop(L);
    size_t count = (size_t)lua_rawlen(L, steps);
    if (count == 0 || count > STEP_MAX)
        glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT, "steps must be a list of at least one step");
    def->steps = neap_alloc(count * sizeof *def->steps);
    for (size_t i = 0; i < count; i++) {
        def->step_count = i + 1;
        if (lua_rawgeti(L, steps, (lua_Integer)i + 1) != LUA_TTABLE)
            glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT, "steps[%zu] must be a table", i + 1);
        check_keys(L, steps + 1, "a step", keys);
        read_text(L, steps + 1, "name", &def->steps[i].name);
        if (def->steps[i].name == NULL)
            glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT, "steps[%zu] needs a name", i + 1);
        check_name(L, def, i);
        lua_pushvalue(L, steps - 1);
        read_parts(L, steps + 1, &def->steps[i], i + 1);
        lua_settop(L, steps);
    }
}

/* table … list | : steps when transaction = false, else one step of its own. */
static void read_body(lua_State *L, struct neap_script_def *def)
{
    static const char *const parts[] = {"up", "verify", "down"};
    int type = push_field(L, 1, "steps");
    if (type != LUA_TNIL && def->transaction)
        glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT, "steps need `transaction = false`");
    if (def->transaction) {
        lua_pop(L, 1);
        def->steps = neap_alloc(sizeof *def->steps);
        def->step_count = 1;
        def->steps[0].name = neap_strdup("up");
        read_parts(L, 1, &def->steps[0], 1);
        return;
    }
    if (type != LUA_TTABLE)
        glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT,
                        "`transaction = false` needs steps = { { name = …, up = …, verify = …, "
                        "down = … } }");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (push_field(L, 1, parts[i]) != LUA_TNIL)
            glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT,
                            "with `transaction = false`, %s belongs into a step", parts[i]);
        lua_pop(L, 1);
    }
    read_steps(L, def);
    lua_pop(L, 1);
}

static void read_head(lua_State *L, struct neap_script_def *def)
{
    read_text(L, 1, "summary", &def->summary);
    if (def->summary == NULL)
        glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT, "summary is missing: say what changes");
    read_text(L, 1, "ticket", &def->ticket);
    read_text(L, 1, "phase", &def->phase);
    if (def->phase != NULL && strcmp(def->phase, "expand") != 0 &&
        strcmp(def->phase, "contract") != 0)
        glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT,
                        "phase must be \"expand\" or \"contract\", not \"%s\"", def->phase);
    read_duration(L, 1, "timeout", &def->timeout_ms);
    read_duration(L, 1, "lock_timeout", &def->lock_timeout_ms);
    read_requires(L, 1, def);
    int type = push_field(L, 1, "transaction");
    if (type != LUA_TNIL && type != LUA_TBOOLEAN)
        glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT, "transaction must be true or false");
    def->transaction = type == LUA_TNIL || lua_toboolean(L, -1);
    lua_pop(L, 1);
}

static void check_table(lua_State *L, const char *what)
{
    lua_settop(L, 1);
    if (lua_type(L, 1) != LUA_TTABLE)
        glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT, "%s takes a table, got %s", what,
                        luaL_typename(L, 1));
}

static int contract_migration(lua_State *L)
{
    static const char *const keys[] = {"summary",      "ticket",      "phase", "timeout",
                                       "lock_timeout", "transaction", "steps", "requires",
                                       "up",           "verify",      "down",  NULL};
    check_table(L, "migration");
    check_keys(L, 1, "migration", keys);
    struct neap_script_contract *contract = glue_handle_push(L, &contract_class);
    read_head(L, &contract->def);
    lua_newtable(L); /* table contract list | */
    read_body(L, &contract->def);
    lua_setiuservalue(L, 2, 1);
    return 1;
}

static int contract_runbook(lua_State *L)
{
    check_table(L, "runbook");
    struct neap_script_contract *contract = glue_handle_push(L, &contract_class);
    contract->is_runbook = true;
    return 1;
}

static int push_reason(lua_State *L, const char *what, bool is_irreversible)
{
    size_t length = 0;
    if (lua_type(L, 1) != LUA_TSTRING || (lua_tolstring(L, 1, &length), length == 0))
        return glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT, "%s needs a reason: %s \"why\"", what,
                               what);
    const char *why = glue_check_text(L, 1, "the reason", NULL);
    struct reason *reason = glue_handle_push(L, &reason_class);
    reason->is_irreversible = is_irreversible;
    reason->why = neap_strdup(why);
    return 1;
}

static int contract_irreversible(lua_State *L)
{
    return push_reason(L, "irreversible", true);
}

static int contract_unverified(lua_State *L)
{
    return push_reason(L, "unverified", false);
}

void neap_script_contract_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"migration", contract_migration},
                                         {"runbook", contract_runbook},
                                         {"irreversible", contract_irreversible},
                                         {"unverified", contract_unverified},
                                         {NULL, NULL}};
    if (!neap_script_state_of(L)->is_config)
        luaL_setfuncs(L, functions, 0);
}
