/* SPDX-License-Identifier: MIT
 *
 * Promise 3: no script outlives its deadline, whatever it catches or loops in.
 * Each row of `traps` once defeated some way of stopping Lua.
 */
#include "tests/unit/script_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#define DEADLINE_MS 60

#define LOOP "while true do end"
#define TRAP "setmetatable({}, { __close = function() while true do end end })"

static const struct {
    const char *name, *body;
} traps[] = {
    {"loop", LOOP},
    {"pcall loop", "while true do pcall(function() " LOOP " end) end"},
    {"pcall in pcall", "local function f() while true do pcall(f) end end f()"},
    {"neap.try loop", "while true do neap.try(function() " LOOP " end) end"},
    {"xpcall handler", "xpcall(function() " LOOP " end, function() " LOOP " end)"},
    {"xpcall handler of an error", "xpcall(error, function() " LOOP " end)"},
    {"close", "local x <close> = " TRAP " " LOOP},
    {"close in pcall",
     "while true do pcall(function() local x <close> = " TRAP " " LOOP " end) end"},
    {"close after error", "pcall(function() local x <close> = " TRAP " error 'x' end)"},
    {"wrap", "while true do pcall(coroutine.wrap(function() " LOOP " end)) end"},
    {"resume", "while true do coroutine.resume(coroutine.create(function() " LOOP " end)) end"},
    {"wrap with close",
     "while true do pcall(coroutine.wrap(function() local x <close> = " TRAP " " LOOP " end)) end"},
    {"nested coroutines", "local function f() local c = coroutine.wrap(f) while true do pcall(c) "
                          "end end f()"},
    {"coroutine.close", "local c = coroutine.create(function() local x <close> = " TRAP
                        " coroutine.yield() end) coroutine.resume(c) coroutine.close(c)"},
    {"coroutine.close in pcall", "while true do local c = coroutine.create(function() local x "
                                 "<close> = setmetatable({}, { __close = function() while true do "
                                 "pcall(function() " LOOP " end) end end }) coroutine.yield() "
                                 "end) coroutine.resume(c) pcall(coroutine.close, c) end"},
    {"yields", "local c = coroutine.wrap(function() while true do coroutine.yield() end end) "
               "while true do c() end"},
    {"sort", "while true do pcall(table.sort, { 3, 2, 1 }, function() " LOOP " end) end"},
    {"sort and catch",
     "table.sort({ 3, 2, 1 }, function() while true do pcall(function() " LOOP " end) end end)"},
    {"gsub", "while true do pcall(string.gsub, 'x', 'x', function() " LOOP " end) end"},
    {"gsub in coroutine",
     "while true do pcall(coroutine.wrap(function() string.gsub('x', 'x', "
     "function() while true do pcall(function() " LOOP " end) end end) end)) end"},
    {"gsub table", "local t = setmetatable({}, { __index = function() " LOOP " end }) "
                   "while true do pcall(string.gsub, 'x', 'x', t) end"},
    {"metamethods", "local f = function() " LOOP " end local t = setmetatable({}, { __index = f, "
                    "__eq = f, __concat = f, __lt = f, __le = f, __len = f, __call = f, "
                    "__newindex = f, __add = f }) while true do pcall(function() return t.x end) "
                    "pcall(function() return t .. 'x' end) pcall(function() return t < t end) "
                    "pcall(function() return #t end) pcall(t) pcall(function() t.x = 1 end) end"},
    {"tostring", "while true do pcall(tostring, setmetatable({}, { __tostring = function() " LOOP
                 " end })) end"},
    {"print", "print(setmetatable({}, { __tostring = function() " LOOP " end }))"},
    {"error object", "error(setmetatable({}, { __tostring = function() " LOOP " end }))"},
    {"iterator", "for _ in function() return 1 end do end"},
    {"goto", "::again:: goto again"},
    {"tail calls", "local function f() return f() end f()"},
    {"for", "for i = 1, math.maxinteger do end"},
    {"repeat", "local n = 0 repeat n = n + 1 until n < 0"},
    {"recursion", "local function f() f() end while true do pcall(f) end"},
    {"pattern", "string.find(('a'):rep(200000), ('.-'):rep(30) .. 'b')"},
    {"pattern in pcall", "while true do pcall(string.match, ('a'):rep(40), ('a?'):rep(40) .. "
                         "('a'):rep(40) .. 'b') end"},
    {"gmatch", "for _ in ('a'):rep(200000):gmatch(('a*'):rep(20) .. 'b') do end"},
    {"gsub pattern", "('a'):rep(200000):gsub(('a*'):rep(20) .. 'b', '')"},
    {"rep", "while true do ('x'):rep(100000) end"},
    {"concat", "table.concat(setmetatable({}, { __len = function() return 9000000 end, __index = "
               "function() " LOOP " end }))"},
    {"ipairs", "for _ in ipairs(setmetatable({}, { __index = function() return 1 end })) do end"},
    {"pairs", "for _ in pairs(setmetatable({}, { __pairs = function() " LOOP " end })) do end"},
    {"garbage", "while true do local t = {} for i = 1, 100 do t[i] = {} end end"},
    {"require", "require 'looping'"},
};

static void test_script_stop__defeats_every_trap(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof traps / sizeof *traps; i++) {
        struct script_fixture fixture;
        script_begin(&fixture);
        script_file(&fixture, 1, "looping", LOOP);
        int64_t begin_ms = neap_clock_ms();
        fixture.run.deadline_ms = begin_ms + DEADLINE_MS;
        bool is_done = script_up(&fixture, traps[i].body);
        int64_t took_ms = neap_clock_ms() - begin_ms;
        if (is_done || fixture.err.code != NEAP_ERR_RUN_DEADLINE)
            fail_msg("%s: %s", traps[i].name, is_done ? "ended" : fixture.err.message);
        if (took_ms < DEADLINE_MS || took_ms > TEST_HANG_MS)
            fail_msg("%s: took %d ms", traps[i].name, (int)took_ms);
        script_end(&fixture);
    }
}

static void test_script_stop__says_where(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    fixture.run.deadline_ms = neap_clock_ms() + DEADLINE_MS;
    assert_raises(&fixture, "local function spin()\n" LOOP "\nend\nspin()", NEAP_ERR_RUN_DEADLINE,
                  "deadline");
    assert_string_equal(fixture.err.where_file, SCRIPT_PATH);
    assert_int_equal(fixture.err.where_line, 3);
    assert_contains(fixture.err.traceback, SCRIPT_PATH ":5: ");
    script_end(&fixture);
}

/* The parent of a killed coroutine once ran on for 166 calls of bindings. */
static void test_script_stop__runs_nothing_afterwards(void **state)
{
    static const char *const bodies[] = {
        "pcall(coroutine.wrap(function() " LOOP " end)) print 'afterwards'",
        "pcall(function() " LOOP " end) print 'afterwards'",
        "xpcall(function() " LOOP " end, function() print 'afterwards' end)",
        "local x <close> = setmetatable({}, { __close = function() print 'afterwards' end }) " LOOP,
        "pcall(table.sort, { 2, 1 }, function() " LOOP " end) print 'afterwards'",
        "coroutine.wrap(function() local x <close> = setmetatable({}, { __close = function() print "
        "'afterwards' end }) " LOOP " end)()",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct script_fixture fixture;
        script_begin(&fixture);
        fixture.run.deadline_ms = neap_clock_ms() + DEADLINE_MS;
        struct test_stderr held = test_stderr_begin();
        bool is_done = script_up(&fixture, bodies[i]);
        char *text = test_stderr_end(&held);
        assert_false(is_done);
        assert_lacks(text, "afterwards");
        free(text);
        script_end(&fixture);
    }
}

static void test_script_stop__while_loading(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    fixture.run.deadline_ms = neap_clock_ms() + DEADLINE_MS;
    assert_null(script_open(&fixture, "while true do pcall(function() " LOOP " end) end"));
    assert_int_equal(fixture.err.code, NEAP_ERR_RUN_DEADLINE);
    script_end(&fixture);
}

static void test_script_stop__cpu_while_loading(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    assert_null(script_open(&fixture, "while true do pcall(function() " LOOP " end) end"));
    assert_int_equal(fixture.err.code, NEAP_ERR_RUN_DEADLINE);
    assert_contains(fixture.err.message, "CPU");
    script_end(&fixture);
}

static void *interrupt(void *arg)
{
    const struct timespec pause = {.tv_nsec = DEADLINE_MS * 1000000L};
    (void)arg;
    nanosleep(&pause, NULL);
    kill(getpid(), SIGINT);
    return NULL;
}

static void test_script_stop__by_signal(void **state)
{
    struct script_fixture fixture;
    pthread_t thread;
    (void)state;
    script_begin(&fixture);
    assert_int_equal(pthread_create(&thread, NULL, interrupt, NULL), 0);
    bool is_done = script_up(&fixture, "while true do pcall(function() " LOOP " end) end");
    pthread_join(thread, NULL);
    assert_false(is_done);
    assert_int_equal(fixture.err.code, NEAP_ERR_RUN_INTERRUPTED);
    script_end(&fixture);
}

static void test_script_stop__is_sticky(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    neap_run_stop(&fixture.run, NEAP_ERR_LEASE_LOST, "another run took the lease");
    assert_raises(&fixture, "print 'afterwards'", NEAP_ERR_LEASE_LOST, "another run");
    script_end(&fixture);
}

static int last_word(void *arg)
{
    const int *pipe_end = arg;
    return write(*pipe_end, "!", 1) == 1 ? 77 : 78;
}

/* In a child: sorts ten million elements that C functions give; no hook fires. */
static void run_unstoppable(int pipe_end)
{
    struct script_fixture fixture;
    script_begin(&fixture);
    fixture.opts.grace_ms = 100;
    fixture.opts.last_word = last_word;
    fixture.opts.last_word_arg = &pipe_end;
    struct neap_script *script =
        script_open(&fixture, "return migration { summary = 'a test', verify = unverified 'a test',"
                              " down = irreversible 'a test', up = function() table.sort("
                              "setmetatable({}, { __len = function() return 9999999 end, "
                              "__index = type, __newindex = type })) end }");
    /* Set now: loading may take longer, and the deadline is to come while it sorts. */
    fixture.run.deadline_ms = neap_clock_ms() + 10 * DEADLINE_MS;
    neap_script_call(script, 0, NEAP_PART_UP, NULL, &fixture.err);
    print_message("the script ended: %s\n", fixture.err.message);
    _exit(1);
}

/* First of all: a child has no watchdog that its parent had begun. */
static void test_script_stop__watchdog_ends_the_process(void **state)
{
    int ends[2], status = 0;
    char word = 0;
    (void)state;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        run_unstoppable(ends[1]);
    close(ends[1]);
    assert_int_equal(read(ends[0], &word, 1), 1);
    assert_int_equal(word, '!');
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 77);
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_script_stop__watchdog_ends_the_process),
        cmocka_unit_test(test_script_stop__defeats_every_trap),
        cmocka_unit_test(test_script_stop__says_where),
        cmocka_unit_test(test_script_stop__runs_nothing_afterwards),
        cmocka_unit_test(test_script_stop__while_loading),
        cmocka_unit_test(test_script_stop__cpu_while_loading),
        cmocka_unit_test(test_script_stop__by_signal),
        cmocka_unit_test(test_script_stop__is_sticky),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
