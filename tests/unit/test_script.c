/* SPDX-License-Identifier: MIT
 *
 * The sandbox: what a script can reach, what it cannot change, and what its
 * errors say.
 */
#include "tests/unit/script_fixture.h"

#include <lauxlib.h>
#include <lualib.h>

/* Every reachable global and library field, sorted, one a line. */
#define LIST_GLOBALS                                                                  \
    "local names = {}\n"                                                              \
    "for name, value in pairs(_ENV) do\n"                                             \
    "  names[#names + 1] = name\n"                                                    \
    "  if type(value) == 'table' then\n"                                              \
    "    for field in pairs(value) do names[#names + 1] = name .. '.' .. field end\n" \
    "  end\n"                                                                         \
    "end\n"                                                                           \
    "table.sort(names)\n"                                                             \
    "return table.concat(names, '\\n') .. '\\n'"

static void test_script__has_exactly_these_globals(void **state)
{
    struct script_fixture fixture;
    char golden[8192] = {0};
    (void)state;
    FILE *file = fopen("tests/spec/globals.txt", "r");
    assert_non_null(file); /* run from the project's directory */
    assert_true(fread(golden, 1, sizeof golden - 1, file) > 0);
    fclose(file);
    script_begin(&fixture);
    assert_value(&fixture, LIST_GLOBALS, golden);
    script_end(&fixture);
}

static void test_script__cannot_reach_the_outside(void **state)
{
    static const char *const names[] = {
        "io",     "os",       "debug",          "package", "load", "loadstring",
        "dofile", "loadfile", "collectgarbage", "warn",    "_G"};
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *body = neap_format("return %s", names[i]);
        assert_raises(&fixture, body, NEAP_ERR_SCRIPT_ERROR, "undefined variable");
        free(body);
    }
    assert_value(&fixture, "return string.dump", "nil");
    assert_value(&fixture, "return ('').dump", "nil");
    assert_value(&fixture, "return getmetatable('')", "false");
    assert_value(&fixture, "return getmetatable(string)", "false");
    assert_value(&fixture, "return getmetatable(_ENV)", "false");
    assert_null(script_open(&fixture, "\x1bLuaT"));
    assert_int_equal(fixture.err.code, NEAP_ERR_SCRIPT_SYNTAX);
    script_end(&fixture);
}

static void test_script__is_strict(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    assert_raises(&fixture, "return tostrng(1)", NEAP_ERR_SCRIPT_ERROR,
                  "undefined variable \"tostrng\"; did you mean \"tostring\"?");
    assert_int_equal(fixture.err.where_line, 2);
    assert_raises(&fixture, "count = 1", NEAP_ERR_SCRIPT_ERROR,
                  "assignment to the global \"count\"; is \"local\" missing?");
    assert_raises(&fixture, "neap.nul = 1", NEAP_ERR_SCRIPT_ARGUMENT, "read-only");
    assert_value(&fixture, "local _ENV = { x = 7 } return x", "7");
    script_end(&fixture);
}

static void test_script__libraries_are_frozen(void **state)
{
    static const char *const bodies[] = {
        "string.format = nil",
        "string.x = 1",
        "rawset(string, 'x', 1)",
        "rawset(_ENV, 'x', 1)",
        "setmetatable(string, {})",
        "setmetatable(_ENV, {})",
        "table.insert(table, 1)",
        "table.move({ 1 }, 1, 1, 1, math)",
        "neap.null = 1",
        "rawset(neap, 'null', 1)",
        "coroutine.yield = 1",
        ("table.sort(setmetatable({}, { __index = string, __newindex = string,"
         " __len = function() return 3 end }))"),
        "print = 1",
        "utf8.x = 1"};
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        if (script_up(&fixture, bodies[i]))
            fail_msg("allowed: %s", bodies[i]);
    }
    assert_value(&fixture,
                 "for _, t in ipairs { string, table, math, _ENV } do "
                 "for k, v in pairs(t) do if type(v) == 'table' then pcall(rawset, v, 'x', 1) "
                 "end end end return next(string)",
                 "nil");
    script_end(&fixture);
}

static void test_script__refuses_finalizers(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    assert_raises(&fixture, "setmetatable({}, { __gc = function() end })", NEAP_ERR_SCRIPT_ARGUMENT,
                  "__gc");
    /* Added later it has no effect, also when the state closes. */
    assert_true(script_up(&fixture, "local m = {} for i = 1, 1000 do setmetatable({}, m) end "
                                    "m.__gc = function() error 'ran' end "
                                    "for i = 1, 10000 do local t = {} end"));
    script_end(&fixture);
}

static void test_script__each_has_a_fresh_state(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    script_file(&fixture, 1, "shared", "return { n = 0 }");
    for (int i = 0; i < 2; i++)
        assert_value(&fixture, "local s = require 'shared' s.n = s.n + 1 return s.n", "1");
    script_end(&fixture);
}

static const struct {
    const char *body, *message, *detail;
} errors[] = {
    {"error 'plain'", "plain", NULL},
    {"error('no place', 0)", "no place", NULL},
    {"error('first\\nsecond\\nthird', 0)", "first", "second\nthird"},
    {"error()", "the script raised a nil value instead of a message", NULL},
    {"error(nil)", "the script raised a nil value instead of a message", NULL},
    {"error {}", "the script raised a table value instead of a message", NULL},
    {"error { message = 'in a table', code = 5 }", "in a table", NULL},
    {"error(true)", "the script raised a boolean value instead of a message", NULL},
    {"error(42)", "the script raised the number 42", NULL},
    {"error(print)", "the script raised a function value instead of a message", NULL},
    {"error(neap.null)", "null", NULL},
    {"error((coroutine.running()))", "the script raised a thread value instead of a message", NULL},
    {"error(setmetatable({}, { __tostring = function() return 'told' end }))", "told", NULL},
    {"error(setmetatable({}, { __tostring = function() error 'evil' end }))",
     "the script raised a table value instead of a message", NULL},
    {"error(setmetatable({}, { __tostring = function() return {} end }))",
     "the script raised a table value instead of a message", NULL},
    {"error(setmetatable({}, { __name = 5, __index = function() error 'evil' end }))",
     "the script raised a table value instead of a message", NULL},
    {"error('', 0)", "the script raised an empty message", NULL},
    {"local t t.x = 1", "attempt to index a nil value (local 't')", NULL},
    {"coroutine.yield()", "attempt to yield from outside a coroutine", NULL},
    {"coroutine.wrap(function() error 'inner' end)()", "inner", NULL},
};

static void test_script__errors_survive(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        assert_false(script_up(&fixture, errors[i].body));
        assert_string_equal(fixture.err.message, errors[i].message);
        assert_int_equal(fixture.err.code, NEAP_ERR_SCRIPT_ERROR);
        assert_string_equal(fixture.err.where_file, SCRIPT_PATH);
        assert_int_equal(fixture.err.where_line, 2);
        if (errors[i].detail != NULL)
            assert_string_equal(fixture.err.detail, errors[i].detail);
    }
    assert_false(script_up(&fixture, "error(('x'):rep(10000000), 0)"));
    assert_int_equal(strlen(fixture.err.message), 16 * 1024);
    assert_contains(fixture.err.detail, "cut to 16 KiB");
    script_end(&fixture);
}

static void test_script__traceback_has_script_lines_only(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    script_file(&fixture, 1, "deep",
                "return { fail = function(f)\n  table.sort({ 2, 1 }, f)\nend }");
    assert_raises(&fixture,
                  "local function inner()\nerror 'deep down'\nend\n"
                  "require('deep').fail(inner)",
                  NEAP_ERR_SCRIPT_ERROR, "deep down");
    assert_int_equal(fixture.err.where_line, 3);
    assert_contains(fixture.err.traceback, SCRIPT_PATH ":3: ");
    assert_contains(fixture.err.traceback, "lib/deep.lua:2: ");
    assert_contains(fixture.err.traceback, SCRIPT_PATH ":5: ");
    assert_lacks(fixture.err.traceback, "[C]");
    script_end(&fixture);
}

static void test_script__syntax_errors_have_a_place(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    assert_null(script_open(&fixture, "\xEF\xBB\xBF#!/usr/bin/neap\nlocal x = = 1"));
    assert_int_equal(fixture.err.code, NEAP_ERR_SCRIPT_SYNTAX);
    assert_string_equal(fixture.err.where_file, SCRIPT_PATH);
    assert_contains(fixture.err.message, "unexpected symbol");
    script_end(&fixture);
}

static void test_script__error_objects(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    assert_value(&fixture,
                 "local ok, e = pcall(neap.duration, '30') return tostring(ok) .. ' ' .. "
                 "e.code .. ' ' .. type(e) .. ' ' .. tostring(e.nothing)",
                 "false script.argument userdata nil");
    assert_value(&fixture,
                 "local ok, e = pcall(neap.duration, 30) "
                 "return tostring(e) == e.message and 'got: ' .. e",
                 "got: the duration must be a string, got number");
    assert_value(&fixture, "local ok, e = neap.try(error, 'x') return e.code .. e.message",
                 "script.errorx");
    assert_value(&fixture, "return tostring(neap.try(error, 'x'))", "false");
    assert_value(&fixture, "return select('#', neap.try(error, 'x'))", "2");
    assert_value(&fixture, "return select('#', neap.try(function() return 1, nil, nil end))", "4");
    assert_value(&fixture,
                 "local _, e = pcall(neap.size, 1) local _, f = pcall(error, e) "
                 "return rawequal(e, f)",
                 "true");
    assert_raises(&fixture, "local _, e = pcall(neap.size, 1) error(e)", NEAP_ERR_SCRIPT_ARGUMENT,
                  "the size must be a string");
    assert_value(&fixture,
                 "local _, e = pcall(neap.size, 1) return pcall(function() e.code = 1 "
                 "end)",
                 "false");
    script_end(&fixture);
}

static void test_script__pcall_and_kin(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    assert_value(&fixture,
                 "return table.concat({ select(2, pcall(function(...) return ... end, "
                 "1, 2, 3)) }, ' ')",
                 "1 2 3");
    assert_value(&fixture, "return select('#', pcall(function() end))", "1");
    assert_value(&fixture,
                 "return table.concat({ select(2, xpcall(function(...) return ... end, "
                 "print, 4, 5)) }, ' ')",
                 "4 5");
    assert_value(&fixture,
                 "local ok, a = xpcall(error, function(e) return e .. '!' end, 'x') "
                 "return tostring(ok) .. a",
                 "falsex!");
    assert_value(&fixture,
                 "local ok, a = xpcall(error, function() error('y', 0) end, 'x') "
                 "return tostring(ok) .. a",
                 "falsey");
    assert_value(&fixture,
                 "local c = coroutine.wrap(function() local ok, e = pcall(function() "
                 "coroutine.yield(1) error('e', 0) end) coroutine.yield(e) return 3 end) "
                 "return c() .. c() .. c()",
                 "1e3");
    assert_value(&fixture,
                 "local c = coroutine.wrap(function() return xpcall(function() "
                 "coroutine.yield(1) error('e', 0) end, function(e) coroutine.yield(2) "
                 "return e end) end) local a, b = c(), c() return a .. b .. "
                 "select(2, c())",
                 "12e");
    assert_value(&fixture, "return select(2, coroutine.running())", "true");
    assert_value(&fixture, "return coroutine.isyieldable()", "false");
    assert_value(&fixture,
                 "local c = coroutine.create(function() local x <close> = setmetatable({},"
                 " { __close = function() error('c', 0) end }) coroutine.yield() end) "
                 "coroutine.resume(c) local ok, e = coroutine.close(c) "
                 "return tostring(ok) .. e .. coroutine.status(c)",
                 "falsecdead");
    assert_value(&fixture,
                 "local c = coroutine.create(error) local ok, e = coroutine.resume(c, 'x')"
                 " return tostring(ok) .. e .. coroutine.status(c) .. "
                 "tostring(coroutine.close(c))",
                 "falsexdeadfalse");
    assert_value(&fixture, "return select(2, coroutine.resume(coroutine.running()))",
                 "cannot resume non-suspended coroutine");
    script_end(&fixture);
}

static void test_script__c_loops_are_bounded(void **state)
{
    static const char *const bodies[] = {
        "string.rep('', 1 << 62)",
        "('x'):rep(1 << 40)",
        "table.move({}, 1, 1 << 60, 2)",
        "table.concat({}, '', 1, 1 << 60)",
        "table.unpack({}, 1, 1 << 60)",
        "table.insert(setmetatable({}, { __len = function() return 1 << 60 end }), 1, 1)",
        "table.remove(setmetatable({}, { __len = function() return 1 << 60 end }), 1)",
        "table.concat(setmetatable({}, { __len = function() return 1 << 60 end, __index = type }))",
        "table.sort(setmetatable({}, { __len = function() return 1 << 30 end, __index = type }))",
        "table.move({}, math.mininteger, math.maxinteger, 2)"};
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    int64_t begin_ms = neap_clock_ms();
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        if (script_up(&fixture, bodies[i]))
            fail_msg("allowed: %s", bodies[i]);
    }
    assert_true(neap_clock_ms() - begin_ms < TEST_HANG_MS);
    assert_value(&fixture,
                 "local t = { 1, 2 } table.insert(t, 3) table.insert(t, 1, 0) "
                 "table.remove(t) table.move(t, 1, 2, 2) table.sort(t) "
                 "return table.concat(t, ',', 1, #t)",
                 "0,0,1");
    script_end(&fixture);
}

static void test_script__require(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    script_file(&fixture, 1, "a", "local b = require 'b' return { name = 'a' .. b }");
    script_file(&fixture, 2, "b", "return 'b'");
    assert_value(&fixture, "return require('a').name .. tostring(require 'a' == require 'a')",
                 "abtrue");
    assert_value(&fixture, "return require('neap').null == neap.null", "true");
    assert_raises(&fixture, "require 'neap.expct'", NEAP_ERR_SCRIPT_REQUIRE, "neap.expect");
    assert_raises(&fixture, "require 'io'", NEAP_ERR_SCRIPT_REQUIRE, "no module \"io\"");
    assert_raises(&fixture, "require '../a'", NEAP_ERR_SCRIPT_REQUIRE, "no module");
    assert_raises(&fixture, "require 'neap._meta.pg'", NEAP_ERR_SCRIPT_REQUIRE, "no module");
    assert_raises(&fixture, "require 'a\\0b'", NEAP_ERR_SCRIPT_ARGUMENT, "NUL");
    script_file(&fixture, 2, "b", "return require 'a'");
    assert_raises(&fixture, "require 'a'", NEAP_ERR_SCRIPT_REQUIRE, "requires itself");
    assert_string_equal(fixture.err.where_file, "lib/b.lua");
    script_end(&fixture);
}

/* The same expressions in stock Lua: neap's matcher must agree. */
static const char *const patterns[] = {
    "return ('hello world'):find 'wor'",
    "return ('hello'):find('l+')",
    "return ('a.b'):find('.', 1, true)",
    "return ('hello'):find('')",
    "return ('hello'):find('', 6)",
    "return ('hello'):find('', 7)",
    "return ('hello'):find('l', -2)",
    "return ('hello'):find('xyz', 1, true)",
    "return ('a\\0b'):find '\\0'",
    "return ('key = value'):match '^(%w+)%s*=%s*(%w+)$'",
    "return ('  trim  '):match '^%s*(.-)%s*$'",
    "return ('2026-11-20'):match '(%d+)-(%d+)-(%d+)'",
    "return ('abc'):match '()b()'",
    "return ('f(a(b)c)d'):match '%b()'",
    "return ('f(a(b'):match '%b()'",
    "return ('THE (quick) fox'):find '%((%a+)%)'",
    "return ('THE (quick) fox'):gsub('%f[%a]%a+', string.lower)",
    "return ('xaax'):match '(a)%1'",
    "return ('[[x]]'):match '%[%[(.-)%]%]'",
    "return ('a-b-c'):gsub('-', '+')",
    "return ('a]b'):match '[]]'",
    "return ('a^b'):match '[b^]'",
    "return ('x-z'):match '[a%-]+'",
    "return ('az09_'):match '[%w_]+'",
    "return ('az09_'):match '[^a-f]+'",
    "return ('abc'):gsub('', '-')",
    "return ('abc'):gsub('%w', '%0%0')",
    "return ('abc'):gsub('(%w)(%w)', '%2%1')",
    "return ('hello'):gsub('l', { l = 'L' })",
    "return ('hello'):gsub('l', { l = false })",
    "return ('hello'):gsub('l', function() return nil end)",
    "return ('hello'):gsub('l', 'x', 1)",
    "return ('hello'):gsub('^h', 'j')",
    "return ('aaa'):gsub('^a', 'b')",
    "return ('abc'):gsub('b*', 'x')",
    "return ('hello'):gsub('()', '%1')",
    "return ('a,b,,c'):gsub(',', ';')",
    "local t = {} for k, v in ('a=1, b=2'):gmatch '(%w+)=(%w+)' do t[#t + 1] = k .. v end return "
    "table.concat(t, ' ')",
    "local t = {} for w in ('one two'):gmatch '%a*' do t[#t + 1] = '<' .. w .. '>' end return "
    "table.concat(t)",
    "local t = {} for w in ('abc'):gmatch('%a', 2) do t[#t + 1] = w end return table.concat(t)",
    "local t = {} for p in ('abc'):gmatch '()' do t[#t + 1] = p end return table.concat(t)",
    "return ('x'):match 'x?x?x'",
    "return ('xyz'):match 'x?y?z?$'",
    "return ('a$'):match 'a$'",
    "return ('a$b'):match 'a$b'",
    "return ('\\n\\t x'):match '%c+'",
    "return ('dead BEEF'):match '%x+'",
    "return ('a.b!'):gsub('%p', '%%')",
    "return ('aXb'):match '%u'",
    "return ('aXb'):match '%U+'",
    "return ('\\200'):match '%g'",
    "return ('ab12'):match '%D*'",
    "return ('a'):match '('",
    "return ('a'):match ')'",
    "return ('a'):match '%'",
    "return ('a'):match '[a'",
    "return ('a'):match '[^'",
    "return ('a'):match '%f'",
    "return ('a'):match '%b'",
    "return ('a'):match '(a)%2'",
    "return ('a'):gsub('a', '%2')",
    "return ('a'):gsub('a', '%x')",
    "return ('a'):gsub('a', function() return {} end)",
    "return ('a'):match '(()'",
    "return ('a'):gsub('a', nil)",
    "return ('a'):match '[]'",
    "return ('a'):match '[%'",
    "return ('aaa'):match('a-', 2)",
    "return ('aaab'):match 'a-b'",
    "return ('x'):rep(3, ',')",
    "return ('x'):rep(-1)",
    "return ('x'):rep(0, 'yy')",
    "return string.format('%q %5.2f %s', 'a', 1.5, 'b')",
    "return ('abc'):sub(-2)",
    "return string.find('a\\nb', '.b')",
    "return ('äö'):len()",
    "return ('abc'):byte(1, -1)",
    "return ('x'):find('x', 1e9 // 1 | 0)",
};

/* Results joined, or the error without its place. The caller frees. */
static char *stock_value(const char *expression)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    char *text =
        neap_format("local function join(ok, ...) local t = table.pack(...) for i = 1, t.n do "
                    "t[i] = tostring(t[i]) end return tostring(ok) .. ' ' .. "
                    "table.concat(t, ' ') end return join(pcall(function() %s end))",
                    expression);
    assert_int_equal(luaL_dostring(L, text), LUA_OK);
    char *value = strdup(lua_tostring(L, -1));
    free(text);
    lua_close(L);
    return value;
}

static void drop_place(char *value)
{
    char *place = strstr(value, "]:1: ");
    if (place == NULL)
        place = strstr(value, ".lua:2: ");
    if (strncmp(value, "false", 5) == 0 && place != NULL)
        memmove(value + 6, strstr(place, ": ") + 2, strlen(strstr(place, ": ") + 2) + 1);
}

static void test_script__patterns_are_lua_s(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char *text =
            neap_format("local function join(ok, ...) local t = table.pack(...) for i = 1, "
                        "t.n do t[i] = tostring(t[i]) end return tostring(ok) .. ' ' .. "
                        "table.concat(t, ' ') end return join(pcall(function() %s end))",
                        patterns[i]);
        char *ours = script_value(&fixture, text), *theirs = stock_value(patterns[i]);
        drop_place(ours);
        drop_place(theirs);
        if (strcmp(ours, theirs) != 0)
            fail_msg("%s: ours \"%s\", Lua's \"%s\"", patterns[i], ours, theirs);
        free(theirs);
        free(ours);
        free(text);
    }
    script_end(&fixture);
}

static void test_script__print_goes_to_the_log(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    struct test_stderr held = test_stderr_begin();
    bool is_done = script_up(&fixture, "print('one', 2, nil) neap.log('careful', 'warn')");
    char *text = test_stderr_end(&held);
    assert_true(is_done);
    assert_contains(text, "one");
    assert_contains(text, "careful");
    free(text);
    script_end(&fixture);
}

static json_t *config_of(struct script_fixture *fixture, const char *text)
{
    json_t *json = NULL, *unset = NULL;
    char path[] = "neap.lua";
    struct neap_source_file file = {
        .path = path, .text = (char *)(uintptr_t)text, .length = strlen(text)};
    neap_error_clear(&fixture->err);
    neap_script_config(fixture->loop, &file, &json, &unset, &fixture->err);
    json_decref(unset);
    return json;
}

static void test_script__config(void **state)
{
    static const struct {
        const char *text, *message;
    } mistakes[] = {
        {"return 5", "must return a table; it returned number"},
        {"x = 1 return {}", "assignment to the global \"x\""},
        {"return { a = print }", "not a function"},
        {"return { a = 0 / 0 }", "finite"},
        {"return { [true] = 1 }", "a key must be a name"},
        {"return { a = '\\xff' }", "UTF-8"},
        {"local t = {} t.t = t return t", "nested too deeply"},
        {"return os.getenv 'HOME'", "undefined variable \"os\""},
        {"return migration {}", "undefined variable \"migration\""},
        {"return require 'neap.pg'", "no module"},
        {"return {", "expected"},
    };
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    setenv("NEAP_TEST_URL", "postgres://x", 1);
    json_t *json =
        config_of(&fixture, "local function e(n) return { url = env(n), n = 5, on = true }"
                            " end\nreturn { environments = { a = e 'NEAP_TEST_URL' }, "
                            "list = { 1, 'two' }, none = env 'NEAP_TEST_NONE' }");
    assert_non_null(json);
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, "{\"environments\":{\"a\":{\"n\":5,\"on\":true,\"url\":"
                              "\"postgres://x\"}},\"list\":[1,\"two\"]}");
    free(text);
    json_decref(json);
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        assert_null(config_of(&fixture, mistakes[i].text));
        assert_contains(fixture.err.message, mistakes[i].message);
        assert_int_equal(fixture.err.code, NEAP_ERR_CONFIG_INVALID);
        assert_string_equal(fixture.err.where_file, "neap.lua");
    }
    script_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_script__has_exactly_these_globals),
        cmocka_unit_test(test_script__cannot_reach_the_outside),
        cmocka_unit_test(test_script__is_strict),
        cmocka_unit_test(test_script__libraries_are_frozen),
        cmocka_unit_test(test_script__refuses_finalizers),
        cmocka_unit_test(test_script__each_has_a_fresh_state),
        cmocka_unit_test(test_script__errors_survive),
        cmocka_unit_test(test_script__traceback_has_script_lines_only),
        cmocka_unit_test(test_script__syntax_errors_have_a_place),
        cmocka_unit_test(test_script__error_objects),
        cmocka_unit_test(test_script__pcall_and_kin),
        cmocka_unit_test(test_script__c_loops_are_bounded),
        cmocka_unit_test(test_script__require),
        cmocka_unit_test(test_script__patterns_are_lua_s),
        cmocka_unit_test(test_script__print_goes_to_the_log),
        cmocka_unit_test(test_script__config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
