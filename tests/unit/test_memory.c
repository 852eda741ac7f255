/* SPDX-License-Identifier: MIT
 *
 * host/base/memory and host/base/crash: running out of memory and crashing end the
 * process in one way, whoever ran out or crashed.
 */
#include "tests/unit/test_support.h"

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "host/base/crash.h"
#include "host/base/memory.h"

#define TOO_MUCH (SIZE_MAX / 4)

static void test_memory__nothing_is_something(void **state)
{
    (void)state;
    char *none = neap_alloc(0), *many = neap_alloc_many(3, 0), *zero = neap_alloc_many(2, 2);
    assert_non_null(none);
    assert_non_null(many);
    assert_memory_equal(zero, "\0\0\0\0", 4);
    free(none);
    free(many);
    free(zero);
}

#ifndef NEAP_ASAN
/* Runs `last` in a child; its exit status, and its stderr in `said`. */
static int end_of(void (*last)(void), char said[512])
{
    int ends[2], status = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        dup2(ends[1], STDERR_FILENO);
        last();
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while (length < 511 && (got = read(ends[0], said + length, 511 - length)) > 0)
        length += (size_t)got;
    said[length] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void take_too_much(void)
{
    free(neap_alloc(TOO_MUCH));
}

static void grow_too_much(void)
{
    free(neap_realloc(neap_alloc(1), TOO_MUCH));
}

static void take_too_many(void)
{
    free(neap_alloc_many(TOO_MUCH, 8));
}

static void write_too_much(void)
{
    neap_memory_open();
    json_decref(json_stringn_nocheck("x", TOO_MUCH));
}

static void say_it_ran_out(void)
{
    neap_memory_end();
}

static void test_memory__running_out_ends_the_process(void **state)
{
    static void (*const lasts[])(void) = {take_too_much, grow_too_much, take_too_many,
                                          write_too_much, say_it_ran_out};
    char said[512];
    (void)state;
    for (size_t i = 0; i < sizeof lasts / sizeof *lasts; i++) {
        assert_int_equal(end_of(lasts[i], said), 70);
        assert_contains(said, "error: neap ran out of memory; ");
    }
}

static void break_memory(void)
{
    neap_crash_open();
    raise(SIGSEGV);
}

static void break_promise(void)
{
    neap_crash_open();
    neap_crash_in("libother");
    abort();
}

static void use_the_whole_stack(void)
{
    volatile char room[4096];
    volatile bool more = true;
    room[0] = 1;
    if (more)
        use_the_whole_stack();
    room[1] = room[0];
}

static void break_stack(void)
{
    neap_crash_open();
    use_the_whole_stack();
}

static void test_memory__a_crash_says_so(void **state)
{
    char said[512];
    (void)state;
    assert_int_equal(end_of(break_memory, said), 70);
    assert_contains(said, "error: neap crashed (signal 11), a bug; ");
    assert_int_equal(end_of(break_promise, said), 70);
    assert_contains(said, "(signal 06) in libother, a bug; ");
    assert_int_equal(end_of(break_stack, said), 70);
    assert_contains(said, "(signal 11)");
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory__nothing_is_something),
#ifndef NEAP_ASAN
        cmocka_unit_test(test_memory__running_out_ends_the_process),
        cmocka_unit_test(test_memory__a_crash_says_so),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
