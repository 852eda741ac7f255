/* SPDX-License-Identifier: MIT
 *
 * The border between C and Lua: errors both ways, options, classes, freezing.
 */
#include "tests/unit/test_support.h"

#include <lauxlib.h>
#include <lualib.h>

#include "bindings/glue/glue.h"

struct handle {
    int *close_count;
};

static void handle_close(void *arg)
{
    struct handle *handle = arg;
    if (handle->close_count != NULL)
        ++*handle->close_count;
    handle->close_count = NULL;
}

static int handle_answer(lua_State *L);
static int module_fail(lua_State *L);

static const struct glue_function handle_functions[] = {
    {"answer", NEAP_EFFECT_PURE, handle_answer, "", "integer", "Gives the answer."}, {0}};
static const struct glue_class handle_class = {"test.Handle", "A handle.", handle_functions,
                                               handle_close, sizeof(struct handle)};
static const struct glue_function module_functions[] = {
    {"fail", NEAP_EFFECT_PURE, module_fail, "", "", "Raises a whole error."}, {0}};
static const struct glue_class module_class = {"test", "A module.", module_functions, NULL, 0};

static int handle_answer(lua_State *L)
{
    glue_handle_check(L, 1, &handle_class);
    lua_pushinteger(L, 42);
    return 1;
}

static int module_fail(lua_State *L)
{
    struct neap_error err = {0};
    neap_error_set(&err, NEAP_ERR_DB_QUERY, "relation does not exist");
    neap_error_detail(&err, "There is none.");
    neap_error_hint(&err, "Make one.");
    neap_error_sqlstate(&err, "42P01");
    neap_error_sql(&err, "select 1 from nothing", 15);
    return glue_raise(L, &err);
}

struct options {
    bool wait;
    int64_t row_max, timeout_ms, size_bytes;
    const char *name;
};
static const struct glue_opt option_rows[] = {
    {"wait", GLUE_OPT_BOOL, offsetof(struct options, wait)},
    {"row_max", GLUE_OPT_INTEGER, offsetof(struct options, row_max)},
    {"timeout", GLUE_OPT_DURATION, offsetof(struct options, timeout_ms)},
    {"size", GLUE_OPT_SIZE, offsetof(struct options, size_bytes)},
    {"name", GLUE_OPT_TEXT, offsetof(struct options, name)},
    {0}};
static struct options options;

static int read_options(lua_State *L)
{
    options = (struct options){.row_max = 7};
    glue_opt_read(L, 1, option_rows, &options);
    return 0;
}

static int check_text(lua_State *L)
{
    size_t length;
    lua_pushstring(L, glue_check_text(L, 1, "sql", &length));
    return 1;
}

static struct glue_context context;
static lua_State *state;
static int closes;

static int begin(void **unused)
{
    (void)unused;
    closes = 0;
    context = (struct glue_context){0};
    state = luaL_newstate();
    luaL_openlibs(state);
    glue_context_open(state, &context);
    glue_class_register(state, &handle_class);
    glue_class_register(state, &handle_class);
    glue_module_push(state, &module_class);
    lua_setglobal(state, "test");
    lua_register(state, "options", read_options);
    lua_register(state, "text", check_text);
    glue_push_null(state);
    lua_setglobal(state, "null");
    lua_newtable(state);
    lua_pushinteger(state, 1);
    lua_setfield(state, -2, "one");
    glue_freeze(state);
    lua_setglobal(state, "frozen");
    lua_register(state, "handle", handle_answer);
    ((struct handle *)glue_handle_push(state, &handle_class))->close_count = &closes;
    lua_setglobal(state, "h");
    return 0;
}

static int end(void **unused)
{
    (void)unused;
    if (state != NULL)
        lua_close(state);
    glue_context_clear(&context);
    return 0;
}

/* Runs a chunk "@migrations/0001_x.lua"; its error in *err. */
static bool run(const char *text, struct neap_error *err)
{
    lua_settop(state, 0);
    neap_error_clear(err);
    assert_int_equal(luaL_loadbuffer(state, text, strlen(text), "@migrations/0001_x.lua"), LUA_OK);
    if (lua_pcall(state, 0, LUA_MULTRET, 0) == LUA_OK)
        return true;
    glue_error_of(state, -1, err);
    return false;
}

static void assert_fails(const char *text, enum neap_error_code code, const char *part)
{
    struct neap_error err = {0};
    assert_false(run(text, &err));
    assert_contains(err.message, part);
    assert_int_equal(err.code, code);
    neap_error_clear(&err);
}

static void assert_true_of(const char *text)
{
    struct neap_error err = {0};
    if (!run(text, &err))
        fail_msg("%s: %s", text, err.message);
    assert_true(lua_toboolean(state, -1));
}

static void test_glue__raises_and_catches_whole_errors(void **unused)
{
    struct neap_error err = {0};
    (void)unused;
    assert_false(run("local x = 1\ntest.fail()", &err));
    assert_int_equal(err.code, NEAP_ERR_DB_QUERY);
    assert_string_equal(err.message, "relation does not exist");
    assert_string_equal(err.detail, "There is none.");
    assert_string_equal(err.hint, "Make one.");
    assert_string_equal(err.sqlstate, "42P01");
    assert_string_equal(err.sql, "select 1 from nothing");
    assert_int_equal(err.sql_position, 15);
    assert_string_equal(err.where_file, "migrations/0001_x.lua");
    assert_int_equal(err.where_line, 2);
    neap_error_clear(&err);
}

static void test_glue__shows_errors_to_scripts(void **unused)
{
    (void)unused;
    assert_true_of("local ok, e = pcall(test.fail) return e.code == 'db.query' and e.sqlstate == "
                   "'42P01' and e.position == 15 and e.hint == 'Make one.' and e.other == nil and "
                   "tostring(e) == e.message and ('x' .. e) == 'x' .. e.message");
    assert_true_of("local ok, e = pcall(function() test.fail() end) "
                   "return e.file == 'migrations/0001_x.lua' and e.line == 1 and "
                   "e.where == 'migrations/0001_x.lua:1'");
    assert_true_of("local ok, e = pcall(test.fail) return not pcall(setmetatable, e, {}) and "
                   "not pcall(function() e.code = 1 end) and getmetatable(e) == 'neap.Error'");
}

static void test_glue__catches_any_value(void **unused)
{
    struct neap_error err = {0};
    (void)unused;
    assert_fails("error('plain', 0)", NEAP_ERR_SCRIPT_ERROR, "plain");
    assert_fails("error({ message = 'm' })", NEAP_ERR_SCRIPT_ERROR, "m");
    assert_fails("error(nil)", NEAP_ERR_SCRIPT_ERROR, "nil value");
    assert_fails("error(io.stdout)", NEAP_ERR_SCRIPT_ERROR, "userdata value");
    assert_fails("error(setmetatable({}, { __tostring = function() while true do end end, "
                 "__index = error, __name = 'x' }))",
                 NEAP_ERR_SCRIPT_ERROR, "table value");
    assert_fails("error('not enough memory', 0)", NEAP_ERR_SCRIPT_MEMORY, "memory");
    assert_false(run("\n\nerror 'third'", &err));
    assert_string_equal(err.message, "third");
    assert_int_equal(err.where_line, 3);
    assert_false(run("error('a b.lua:1: c', 0)", &err));
    assert_string_equal(err.message, "a b.lua:1: c");
    assert_null(err.where_file);
    assert_null(glue_error_peek(state, 100));
    neap_error_clear(&err);
}

static void test_glue__reads_options(void **unused)
{
    (void)unused;
    assert_true_of("options() options(nil) options {} return true");
    assert_int_equal(options.row_max, 7);
    assert_true_of("options { wait = true, row_max = 3, timeout = '2s', size = '1kB', name = 'n' } "
                   "return true");
    assert_true(options.wait);
    assert_int_equal(options.row_max, 3);
    assert_int_equal(options.timeout_ms, 2000);
    assert_int_equal(options.size_bytes, 1024);
    assert_fails("options { timout = '2s' }", NEAP_ERR_SCRIPT_ARGUMENT,
                 "unknown option \"timout\"; did you mean \"timeout\"?");
    assert_fails("options { timeout = 2 }", NEAP_ERR_SCRIPT_ARGUMENT, "with its unit");
    assert_fails("options { timeout = '2' }", NEAP_ERR_SCRIPT_ARGUMENT, "timeout");
    assert_fails("options { size = 2 }", NEAP_ERR_SCRIPT_ARGUMENT, "size");
    assert_fails("options { wait = 1 }", NEAP_ERR_SCRIPT_ARGUMENT, "true or false");
    assert_fails("options { row_max = 1.5 }", NEAP_ERR_SCRIPT_ARGUMENT, "an integer");
    assert_fails("options { row_max = '5' }", NEAP_ERR_SCRIPT_ARGUMENT, "an integer");
    assert_fails("options { name = 'a\\0b' }", NEAP_ERR_SCRIPT_ARGUMENT, "NUL");
    assert_fails("options { 1 }", NEAP_ERR_SCRIPT_ARGUMENT, "options are named");
    assert_fails("options 'x'", NEAP_ERR_SCRIPT_ARGUMENT, "options must be a table");
}

static void test_glue__checks_text(void **unused)
{
    (void)unused;
    assert_true_of("return text 'x' == 'x'");
    assert_fails("text(1)", NEAP_ERR_SCRIPT_ARGUMENT, "sql must be a string, got number");
    assert_fails("text()", NEAP_ERR_SCRIPT_ARGUMENT, "sql must be a string, got no value");
    assert_fails("text 'DELETE FROM h\\0 WHERE'", NEAP_ERR_SCRIPT_ARGUMENT, "NUL byte");
}

static void test_glue__handles_close_once(void **unused)
{
    (void)unused;
    assert_true_of("return h:answer() == 42 and tostring(h):match '^test.Handle: '");
    assert_fails("h.answer()", NEAP_ERR_SCRIPT_ARGUMENT, "with a colon");
    assert_fails("h.answer(io.stdout)", NEAP_ERR_SCRIPT_ARGUMENT, "test.Handle expected");
    assert_fails("h:anser()", NEAP_ERR_SCRIPT_ARGUMENT, "did you mean \"answer\"?");
    assert_fails("h.x = 1", NEAP_ERR_SCRIPT_ARGUMENT, "read-only");
    assert_true_of("return getmetatable(h) == false");
    assert_true_of("do local c <close> = h end return true");
    assert_int_equal(closes, 1);
    lua_close(state);
    state = NULL;
    assert_int_equal(closes, 1);
}

static void test_glue__closes_what_is_collected(void **unused)
{
    (void)unused;
    assert_true_of("h = nil collectgarbage() collectgarbage() return true");
    assert_int_equal(closes, 1);
}

static void test_glue__freezes(void **unused)
{
    (void)unused;
    assert_true_of("return frozen.one == 1 and frozen.two == nil and next(frozen) == nil");
    assert_true_of("local n = 0 for k, v in pairs(frozen) do n = n + v end return n == 1");
    assert_true_of("return getmetatable(frozen) == false and #frozen == 0");
    assert_fails("frozen.one = 2", NEAP_ERR_SCRIPT_ARGUMENT, "cannot set \"one\"");
    assert_fails("setmetatable(frozen, {})", NEAP_ERR_SCRIPT_ERROR, "protected metatable");
    assert_fails("return test.fial", NEAP_ERR_SCRIPT_ARGUMENT, "did you mean \"fail\"?");
    lua_getglobal(state, "frozen");
    assert_true(glue_is_frozen(state, -1));
    lua_newtable(state);
    assert_false(glue_is_frozen(state, -1));
}

static void test_glue__has_one_null(void **unused)
{
    (void)unused;
    glue_push_null(state);
    lua_getglobal(state, "null");
    assert_true(glue_is_null(state, -1));
    assert_true(lua_rawequal(state, -1, -2));
    lua_pushnil(state);
    assert_false(glue_is_null(state, -1));
    assert_true_of("return tostring(null) == 'null' and null ~= nil");
}

static bool charge(struct glue_context *unused, int64_t bytes)
{
    (void)unused;
    return bytes <= 100;
}

static void test_glue__charges_memory(void **unused)
{
    (void)unused;
    assert_true(glue_memory_charge(state, 1000));
    context.charge = charge;
    assert_true(glue_memory_charge(state, 100));
    assert_false(glue_memory_charge(state, 101));
    assert_false(glue_memory_charge(state, SIZE_MAX));
    glue_memory_release(state, 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_glue__raises_and_catches_whole_errors),
        TEST(test_glue__shows_errors_to_scripts),
        TEST(test_glue__catches_any_value),
        TEST(test_glue__reads_options),
        TEST(test_glue__checks_text),
        TEST(test_glue__handles_close_once),
        TEST(test_glue__closes_what_is_collected),
        TEST(test_glue__freezes),
        TEST(test_glue__has_one_null),
        TEST(test_glue__charges_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
