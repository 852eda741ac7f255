/* SPDX-License-Identifier: MIT
 *
 * `db`, neap.pg and expect on a real PostgreSQL. The cases are Lua, in
 * tests/unit/pg_lua/: each file returns a list of { name, rule, function }, and
 * each case gets a fresh state, a fresh session and what its rule says. Here is
 * what only C can see: handles after their end, the gate, memory, the line that
 * an error of a pipelined statement names.
 */
#include "tests/unit/pg_fixture.h"

#include <lauxlib.h>
#include <lualib.h>

#include "bindings/pg/pg_lua.h"
#include "host/base/embedded.h"
#include "host/script/script_state.h"
#include "host/script/source_parts.h"
#include "tests/unit/test_support.h"

#define CASE_MAX 200

struct world {
    struct pg_scene *scene;
    struct pg_client *control;
    lua_State *L;
    struct glue_context context;
    struct neap_source_file file;
    int pass_count, settle_count, failed_count;
    char last_name[64];
};

/* ---- the state, as host/script makes it in what matters here ---- */

static bool is_unlooked(void *arg, const char *file, int line)
{
    struct world *world = arg;
    return strcmp(file, world->file.path) == 0 && neap_source_exec_unlooked(&world->file, line);
}

static bool gate_record(void *sink, const struct neap_gate_call *call, int64_t *call_id,
                        struct neap_error *err)
{
    struct world *world = sink;
    (void)err;
    *call_id = ++world->pass_count;
    snprintf(world->last_name, sizeof world->last_name, "%s", call->name);
    return true;
}

static void gate_settle(void *sink, const struct neap_gate_result *result)
{
    struct world *world = sink;
    world->settle_count++;
    world->failed_count += result->error != NULL;
}

static int test_require(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    char path[128];
    lua_settop(L, 1);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "test.loaded");
    if (lua_getfield(L, 2, name) != LUA_TNIL)
        return 1;
    snprintf(path, sizeof path, "neap/%s.lua", name + strlen("neap."));
    const struct neap_embedded *file = neap_embedded_find(path);
    if (strcmp(name, "neap.pg") == 0) {
        glue_module_push(L, &pg_lua_module);
    } else {
        if (file == NULL)
            return luaL_error(L, "no module %s", name);
        lua_pushfstring(L, "=%s", name);
        if (luaL_loadbuffer(L, file->bytes, file->length, lua_tostring(L, -1)) != LUA_OK)
            return lua_error(L);
        lua_call(L, 0, 1);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, 2, name);
    return 1;
}

static int test_embedded(lua_State *L)
{
    const struct neap_embedded *file = neap_embedded_find(luaL_checkstring(L, 1));
    if (file == NULL)
        return 0;
    lua_pushlstring(L, file->bytes, file->length);
    return 1;
}

/* classes[name][function] = arguments */
static void push_classes(lua_State *L)
{
    static const struct glue_class *const classes[] = {&pg_lua_conn, &pg_lua_rows, &pg_lua_module,
                                                       &neap_script_module, NULL};
    lua_newtable(L);
    for (size_t i = 0; classes[i] != NULL; i++) {
        lua_newtable(L);
        for (const struct glue_function *row = classes[i]->functions; row->name; row++) {
            lua_pushstring(L, row->arguments);
            lua_setfield(L, -2, row->name);
        }
        lua_setfield(L, -2, classes[i]->name);
    }
}

static int test_counts(lua_State *L)
{
    struct world *world = lua_touserdata(L, lua_upvalueindex(1));
    lua_pushinteger(L, world->pass_count);
    lua_pushinteger(L, world->settle_count);
    lua_pushinteger(L, world->failed_count);
    lua_pushstring(L, world->last_name);
    return 4;
}

/* ASan keeps freed memory: there the peak says nothing. */
static int test_peak_kb(lua_State *L)
{
#ifdef NEAP_ASAN
    lua_pushinteger(L, 0);
#else
    lua_pushinteger(L, pg_fixture_peak_kb());
#endif
    return 1;
}

static void state_open(struct world *world)
{
    lua_State *L = luaL_newstate();
    world->L = L;
    world->context = (struct glue_context){.run = &world->scene->run, .loop = world->scene->loop};
    glue_context_open(L, &world->context);
    luaL_openlibs(L);
    pg_lua_open(L);
    neap_script_module_push(L);
    lua_setglobal(L, "neap");
    lua_register(L, "require", test_require);
    lua_register(L, "embedded", test_embedded);
    lua_register(L, "peak_kb", test_peak_kb);
    lua_pushlightuserdata(L, world);
    lua_pushcclosure(L, test_counts, 1);
    lua_setglobal(L, "gate_counts");
    push_classes(L);
    lua_setglobal(L, "classes");
}

static void check(struct world *world, int status)
{
    struct neap_error err = {0};
    if (status == LUA_OK)
        return;
    glue_error_of(world->L, -1, &err);
    neap_error_move(&world->scene->err, &err); /* freed with the scene */
    const struct neap_error *it = &world->scene->err;
    fail_msg("%s:%d: %s: %s (%s)", it->where_file ? it->where_file : "?", it->where_line,
             neap_error_row(it->code)->code, it->message, it->sql ? it->sql : "");
}

/* | the list of cases */
static void load_cases(struct world *world, const char *path)
{
    world->file.path = neap_strdup(path);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    world->file.text = neap_alloc(1 << 20);
    world->file.length = fread(world->file.text, 1, 1 << 20, file);
    fclose(file);
    source_exec_look(&world->file);
    check(world, luaL_loadfile(world->L, path));
    check(world, lua_pcall(world->L, 0, 1, 0));
}

static void world_open(struct world *world, struct pg_scene *scene)
{
    *world = (struct world){.scene = scene};
    scene->run.gate = (struct neap_gate_sink){gate_record, gate_settle, world};
    state_open(world);
}

static void world_close(struct world *world)
{
    pg_lua_retire(world->L);
    lua_close(world->L);
    glue_context_clear(&world->context);
    pg_close(world->control);
    free(world->file.path);
    free(world->file.text);
    free(world->file.unlooked);
    world->scene->run.gate = (struct neap_gate_sink){0};
}

static struct pg_lua_rule rule_begin(struct world *world, const char *word)
{
    struct pg_scene *scene = world->scene;
    struct pg_lua_rule rule = {
        .transaction = strcmp(word, "alone") != 0,
        .read_only = strcmp(word, "verify") == 0,
        .conninfo = pg_fixture.conninfo,
        .row_max_bytes = 4 << 20,
        .unlooked = is_unlooked,
        .unlooked_arg = world,
    };
    if (rule.transaction) {
        pg_scene_do(scene, rule.read_only ? "begin read only" : "begin");
        assert_true(pg_pipeline_begin(scene->client, &scene->err));
    } else {
        world->control = pg_fixture_open(scene);
        rule.control = world->control;
    }
    scene->run.allowed = rule.read_only     ? NEAP_ALLOW_READ
                         : rule.transaction ? NEAP_ALLOW_TX
                                            : NEAP_ALLOW_ALL;
    scene->run.rule = rule.read_only ? "in verify" : "in a transaction";
    return rule;
}

static void rule_end(struct world *world, bool transaction)
{
    struct pg_client *client = world->scene->client;
    if (!transaction)
        return;
    pg_cleanup(client, true);
    (void)pg_pipeline_end(client, NULL);
    pg_failure_clear(client);
    pg_scene_do(world->scene, "rollback");
    pg_cleanup(client, false);
}

/* What the host says of the function's end: "" or "code place message". */
static void outcome(struct world *world, char *text, size_t size)
{
    struct neap_error err = {0};
    text[0] = '\0';
    if (!pg_settle(world->scene->client, &err))
        snprintf(text, size, "%s %s:%d %s", neap_error_row(err.code)->code,
                 err.where_file ? err.where_file : "?", err.where_line, err.message);
    neap_error_clear(&err);
}

/* Runs case `number` of `path`; it returns a pattern for what the host then hears. */
static void run_case(struct world *world, const char *path, int number)
{
    struct pg_scene *scene = world->scene;
    char ended[1024];
    lua_State *L = world->L;
    load_cases(world, path);
    lua_rawgeti(L, -1, number);
    lua_rawgeti(L, -1, 2);
    struct pg_lua_rule rule = rule_begin(world, lua_tostring(L, -1));
    lua_rawgeti(L, -2, 3);
    pg_lua_push(L, scene->client, &rule);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "neap.expect");
    check(world, lua_pcall(L, 1, 1, 0));
    lua_pushvalue(L, -2);
    check(world, lua_pcall(L, 1, 1, 0));
    check(world, lua_pcall(L, 2, 1, 0));
    outcome(world, ended, sizeof ended);
    lua_getglobal(L, "string");
    lua_getfield(L, -1, "find");
    lua_pushstring(L, ended);
    lua_pushstring(L, lua_isstring(L, -4) ? lua_tostring(L, -4) : "^$");
    check(world, lua_pcall(L, 2, 1, 0));
    if (!lua_toboolean(L, -1))
        fail_msg("the host heard: %s", ended);
    assert_int_equal(world->pass_count, world->settle_count);
    rule_end(world, rule.transaction);
}

struct case_state {
    const char *path;
    int number;
    void *scene;
    struct world world;
};

static int case_begin(void **state)
{
    struct case_state *this = *state;
    pg_scene_begin(&this->scene);
    world_open(&this->world, this->scene);
    return 0;
}

static void test_case(void **state)
{
    struct case_state *this = *state;
    run_case(&this->world, this->path, this->number);
}

static int case_end(void **state)
{
    struct case_state *this = *state;
    world_close(&this->world);
    return pg_scene_end(&this->scene);
}

/* ---- what only C sees ---- */

static void test_pg_lua__a_retired_handle_is_closed(void **state)
{
    struct pg_scene *scene = *state;
    struct world world;
    world_open(&world, scene);
    lua_State *L = world.L;
    const struct pg_lua_rule rule = {.conninfo = pg_fixture.conninfo};
    pg_lua_push(L, scene->client, &rule);
    lua_setglobal(L, "db");
    check(&world, luaL_dostring(L, "other = db:connect()\n"
                                   "assert(other:value 'select 1' == 1)\n"
                                   "iterator = db:rows 'select generate_series(1, 10)'\n"
                                   "iterator()"));
    pg_lua_retire(L);
    check(&world,
          luaL_dostring(L, "for _, f in ipairs { function() db:exec 'select 1' end,\n"
                           "  function() other:exec 'select 1' end, function() db:ident 'x' end,\n"
                           "  function() iterator() end } do\n"
                           "  local ok, err = pcall(f)\n"
                           "  assert(not ok and err.code == 'handle.closed', tostring(err))\n"
                           "end"));
    /* A new handle in the same state works, and the session is free. */
    pg_lua_push(L, scene->client, &rule);
    lua_setglobal(L, "db");
    check(&world, luaL_dostring(L, "assert(db:value 'select 2' == 2)"));
    world_close(&world);
}

static void test_pg_lua__a_stop_reaches_every_call(void **state)
{
    struct pg_scene *scene = *state;
    struct world world;
    world_open(&world, scene);
    const struct pg_lua_rule rule = {0};
    pg_lua_push(world.L, scene->client, &rule);
    lua_setglobal(world.L, "db");
    neap_run_stop(&scene->run, NEAP_ERR_RUN_DEADLINE, "the deadline passed");
    check(&world,
          luaL_dostring(world.L,
                        "for _, name in ipairs { 'exec', 'query', 'row', 'value', 'rows' } do\n"
                        "  local ok, err = pcall(db[name], db, 'select 1')\n"
                        "  assert(not ok and err.code == 'run.deadline', name)\n"
                        "end"));
    assert_int_equal(world.pass_count, 0);
    world_close(&world);
}

static void test_pg_lua__a_state_closes_with_everything_open(void **state)
{
    struct pg_scene *scene = *state;
    struct world world;
    world_open(&world, scene);
    const struct pg_lua_rule rule = {.conninfo = pg_fixture.conninfo};
    pg_lua_push(world.L, scene->client, &rule);
    lua_setglobal(world.L, "db");
    check(&world,
          luaL_dostring(world.L, "a = db:connect{ timeout = '5s' } b = db:connect()\n"
                                 "rows = a:rows 'select generate_series(1, 100000)' rows()\n"
                                 "co = coroutine.wrap(function()\n"
                                 "  for row in b:rows 'select 1' do coroutine.yield(row) end\n"
                                 "end) co()"));
    lua_close(world.L);
    world.L = luaL_newstate();
    glue_context_open(world.L, &world.context);
    pg_lua_open(world.L);
    world_close(&world);
}

/* ---- */

static struct CMUnitTest *add_cases(struct CMUnitTest *tests, const char *path)
{
    lua_State *L = luaL_newstate();
    char name[256];
    luaL_openlibs(L);
    lua_newtable(L);
    lua_setglobal(L, "neap");
    if (luaL_dofile(L, path) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        exit(1);
    }
    for (int i = 1; lua_rawgeti(L, -1, i) == LUA_TTABLE; i++) {
        struct case_state *this = neap_alloc(sizeof *this);
        *this = (struct case_state){.path = path, .number = i};
        lua_rawgeti(L, -1, 1);
        snprintf(name, sizeof name, "test_pg_lua__%s", lua_tostring(L, -1));
        for (char *at = name; *at != '\0'; at++)
            *at = *at == ' ' ? '_' : *at;
        *tests++ = (struct CMUnitTest){neap_strdup(name), test_case, case_begin, case_end, this};
        lua_pop(L, 2);
    }
    lua_close(L);
    return tests;
}

int main(int argc, char **argv)
{
    static struct CMUnitTest tests[CASE_MAX] = {
        cmocka_unit_test_setup_teardown(test_pg_lua__a_retired_handle_is_closed, pg_scene_begin,
                                        pg_scene_end),
        cmocka_unit_test_setup_teardown(test_pg_lua__a_stop_reaches_every_call, pg_scene_begin,
                                        pg_scene_end),
        cmocka_unit_test_setup_teardown(test_pg_lua__a_state_closes_with_everything_open,
                                        pg_scene_begin, pg_scene_end),
    };
    struct CMUnitTest *end = tests + 3;
    end = add_cases(end, "tests/unit/pg_lua/values.lua");
    end = add_cases(end, "tests/unit/pg_lua/statements.lua");
    end = add_cases(end, "tests/unit/pg_lua/pipeline.lua");
    end = add_cases(end, "tests/unit/pg_lua/expectations.lua");
    end = add_cases(end, "tests/unit/pg_lua/editor_types.lua");
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    int failed = _cmocka_run_group_tests("pg_lua", tests, (size_t)(end - tests), pg_fixture_begin,
                                         pg_fixture_end);
    for (struct CMUnitTest *test = tests + 3; test < end; test++) {
        free(test->initial_state);
        free((void *)(uintptr_t)test->name);
    }
    return failed;
}
