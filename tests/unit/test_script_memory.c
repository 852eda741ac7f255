/* SPDX-License-Identifier: MIT
 *
 * The cap on a script's memory: running out is an ordinary error, at every
 * allocation.
 */
#include "tests/unit/script_fixture.h"

#include "host/script/script_state.h"

#define MB (1024LL * 1024)

static void test_script_memory__is_capped(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    fixture.opts.memory_bytes = 16 * MB;
    assert_raises(&fixture, "local t = {} while true do t[#t + 1] = {} end", NEAP_ERR_SCRIPT_MEMORY,
                  "16 MB");
    assert_string_equal(fixture.err.where_file, SCRIPT_PATH);
    assert_raises(&fixture, "return ('x'):rep(2 ^ 30 // 1 | 0)", NEAP_ERR_SCRIPT_MEMORY, "memory");
    assert_raises(&fixture, "local s = 'xxxxxxxx' while true do s = s .. s end",
                  NEAP_ERR_SCRIPT_MEMORY, "memory");
    assert_raises(&fixture,
                  "local t = {} for i = 1, 5 do t[i] = ('x'):rep(1000000 * i) end\n"
                  "table.concat(t) t[6] = table.concat(t, ('y'):rep(1000000))",
                  NEAP_ERR_SCRIPT_MEMORY, "memory");
    script_end(&fixture);
}

/* The reserve lets a script, and the host after it, still say what happened. */
static void test_script_memory__leaves_a_reserve(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    fixture.opts.memory_bytes = 8 * MB;
    assert_raises(&fixture,
                  "local t = {}\n"
                  "local ok, err = pcall(function() while true do t[#t + 1] = {} end end)\n"
                  "assert(not ok)\n"
                  "error('said: ' .. tostring(err))",
                  NEAP_ERR_SCRIPT_ERROR, "said: ");
    script_end(&fixture);
}

static void test_script_memory__is_given_back(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    fixture.opts.memory_bytes = 16 * MB;
    assert_true(script_up(&fixture, "for i = 1, 200 do local s = ('x'):rep(1000000 + i) end"));
    script_end(&fixture);
}

static void test_script_memory__counts_what_is_held_outside(void **state)
{
    struct neap_script_memory memory;
    (void)state;
    neap_script_memory_init(&memory, 8 * MB);
    assert_true(neap_script_memory_count(&memory, 4 * MB));
    assert_int_equal(memory.used, 4 * MB);
    assert_false(neap_script_memory_count(&memory, 4 * MB));
    assert_int_equal(memory.used, 4 * MB);
    assert_null(neap_script_memory_alloc(&memory, NULL, 0, (size_t)(5 * MB)));
    assert_true(neap_script_memory_count(&memory, -4 * MB));
    void *block = neap_script_memory_alloc(&memory, NULL, 5, (size_t)(5 * MB));
    assert_non_null(block);
    assert_int_equal(memory.used, 5 * MB);
    block = neap_script_memory_alloc(&memory, block, (size_t)(5 * MB), 10);
    assert_int_equal(memory.used, 10);
    assert_null(neap_script_memory_alloc(&memory, block, 10, 0));
    assert_int_equal(memory.used, 0);
}

/* Only Lua's retry of the same request opens the reserve. */
static void test_script_memory__opens_the_reserve_at_the_retry(void **state)
{
    struct neap_script_memory memory;
    (void)state;
    neap_script_memory_init(&memory, 8 * MB);
    void *block = neap_script_memory_alloc(&memory, NULL, 0, (size_t)(7 * MB));
    assert_non_null(block);
    assert_null(neap_script_memory_alloc(&memory, NULL, 0, 1000));
    assert_null(neap_script_memory_alloc(&memory, NULL, 0, 2000));
    assert_null(neap_script_memory_alloc(&memory, NULL, 0, 2000));
    void *small = neap_script_memory_alloc(&memory, NULL, 0, 2000);
    assert_non_null(small);
    neap_script_memory_alloc(&memory, small, 2000, 0);
    neap_script_memory_alloc(&memory, block, (size_t)(7 * MB), 0);
    assert_false(memory.is_reserve_open);
}

/* Every cap from hopeless to enough: an error or success, never a crash. */
static void test_script_memory__fails_at_every_allocation(void **state)
{
    static const char *const body =
        "local ok, err = pcall(error, { message = 'x' })\n"
        "local c = coroutine.wrap(function() coroutine.yield(('x'):gsub('x', '%0%0')) end) c()\n"
        "local r, e = neap.try(function() string.rep('x', -1) error('a' .. 'b') end)\n"
        "assert(e.code) table.concat({ 'a', 'b' }, ', ')";
    struct script_fixture fixture;
    int failure_count = 0, success_count = 0;
    (void)state;
    script_begin(&fixture);
    for (int64_t cap = 1024; cap < 200 * 1024; cap += 509) {
        fixture.opts.memory_bytes = cap;
        bool is_done = script_up(&fixture, body);
        if (!is_done)
            assert_int_equal(fixture.err.code, NEAP_ERR_SCRIPT_MEMORY);
        failure_count += !is_done;
        success_count += is_done;
    }
    assert_true(failure_count > 20);
    assert_true(success_count > 20);
    script_end(&fixture);
}

static const char everything[] =
    "local t = {} for i = 1, 40 do t[i] = { i, ('s' .. i):rep(3), [i .. 'k'] = i } end\n"
    "table.sort(t, function(a, b) return a[1] > b[1] end) assert(t[1][1] == 40)\n"
    "local function counter() local n = 0 return function() n = n + 1 return n end end\n"
    "local c = counter() c() assert(c() == 2)\n"
    "local co = coroutine.create(function(...) local a <close> = setmetatable({}, { __close =\n"
    "  function() t.closed = true end }) coroutine.yield(select('#', ...)) end)\n"
    "assert(select(2, coroutine.resume(co, 1, nil)) == 2) coroutine.close(co) assert(t.closed)\n"
    "assert(not pcall(error, { message = 'x' }))\n"
    "local ok, said = xpcall(function() local x = nil + 1 end, function(m) return 'h: ' .. m end)\n"
    "assert(not ok and said:find '^h: ')\n"
    "assert(('a1b22'):gsub('%d+', function(d) return '<' .. d .. '>' end) == 'a<1>b<22>')\n"
    "local ok2, e = neap.try(function() error 'tried' end) assert(ok2 == false)\n"
    "assert(e.message:find 'tried') assert(#table.concat({ 'a', 'b' }, (','):rep(50)) == 52)\n"
    "assert(require 'a'.b == 1) assert(#string.format('%q', 'z') > "
    "2)";

/* Not one chosen allocation but each, with its retry: loading, running and closing
 * end in an error that says memory, or in success where the script caught it. */
static void test_script_memory__each_allocation_fails(void **state)
{
    struct script_fixture fixture;
    int64_t left = 0;
    int failure_count = 0, n = 1;
    (void)state;
    script_begin(&fixture);
    fixture.opts.memory_fail_in = &left;
    script_file(&fixture, 1, "a", "return { b = 1 }");
    for (bool is_over = false; !is_over; n++) {
        left = n;
        bool is_done = script_up(&fixture, everything);
        is_over = left > 0;
        if (is_over && !is_done)
            fail_msg("line %d: %s", fixture.err.where_line, fixture.err.message);
        if (!is_done && fixture.err.code != NEAP_ERR_SCRIPT_MEMORY &&
            (fixture.err.code != NEAP_ERR_SCRIPT_ERROR ||
             strstr(fixture.err.traceback ? fixture.err.traceback : "", "0001") == NULL))
            fail_msg("allocation %d: %s", n, fixture.err.message);
        failure_count += !is_done;
        if (!is_done)
            assert_non_null(fixture.err.message);
    }
    print_message("%d allocations, %d failures\n", n - 2, failure_count);
    assert_true(n > 500);
    assert_true(failure_count > n / 2);
    script_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_script_memory__is_capped),
        cmocka_unit_test(test_script_memory__leaves_a_reserve),
        cmocka_unit_test(test_script_memory__is_given_back),
        cmocka_unit_test(test_script_memory__counts_what_is_held_outside),
        cmocka_unit_test(test_script_memory__opens_the_reserve_at_the_retry),
        cmocka_unit_test(test_script_memory__fails_at_every_allocation),
        cmocka_unit_test(test_script_memory__each_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
