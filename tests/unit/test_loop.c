/* SPDX-License-Identifier: MIT
 *
 * Waits end: by success, by deadline, by signal; and they do not spin.
 */
#include "tests/unit/test_support.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "host/base/clock.h"
#include "host/loop/loop.h"

struct bench {
    struct neap_run run;
    struct neap_loop *loop;
    int count;
    int wanted;
};

static int bench_open(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);

    neap_run_init(&bench->run);
    if (!neap_loop_open(&bench->run, &bench->loop, NULL))
        return -1;
    *state = bench;
    return 0;
}

static int bench_close(void **state)
{
    struct bench *bench = *state;

    neap_loop_close(bench->loop);
    neap_run_clear(&bench->run);
    free(bench);
    return 0;
}

static bool is_enough(void *arg)
{
    const struct bench *bench = arg;

    return bench->count >= bench->wanted;
}

static void on_tick(void *arg)
{
    struct bench *bench = arg;

    bench->count++;
}

static void on_interrupt(void *arg)
{
    (void)arg;
    raise(SIGINT);
}

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void test_loop__timers_turn_it(void **state)
{
    struct bench *bench = *state;
    struct neap_wait wait = {.done = is_enough, .arg = bench};
    struct neap_timer *timer = neap_timer_begin(bench->loop, 1, 1, on_tick, bench);

    bench->wanted = 5;
    assert_true(neap_loop_wait(bench->loop, &wait, NULL));
    assert_true(bench->count >= 5);
    neap_timer_end(timer);
    neap_timer_end(NULL);
    bench->count = 0;
    assert_true(neap_loop_sleep(bench->loop, 20, NULL, NULL));
    assert_int_equal(bench->count, 0);
    neap_timer_begin(bench->loop, 1, 1, on_tick, bench); /* the loop's end frees it */
}

static void test_loop__own_deadline_ends_a_wait(void **state)
{
    struct bench *bench = *state;
    struct neap_wait wait = {.done = is_enough, .arg = bench, .what = "the server"};
    struct neap_error err = {0};
    int64_t begin = neap_clock_ms();

    bench->wanted = 1;
    wait.deadline_ms = begin + 50;
    assert_false(neap_loop_wait(bench->loop, &wait, &err));
    assert_int_equal(err.code, NEAP_ERR_RUN_DEADLINE);
    assert_contains(err.message, "the server");
    assert_in_range(neap_clock_ms() - begin, 50, TEST_HANG_MS);
    assert_false(neap_run_stopping(&bench->run)); /* a limit of its own is no stop */
    neap_error_clear(&err);
}

static void test_loop__run_deadline_ends_a_wait(void **state)
{
    struct bench *bench = *state;
    struct neap_wait wait = {.done = is_enough, .arg = bench, .cleanup = true};
    int64_t begin = neap_clock_ms();
    struct neap_error err = {0};

    bench->run.deadline_ms = begin + 50;
    assert_false(neap_loop_sleep(bench->loop, 60000, NULL, &err));
    assert_int_equal(err.code, NEAP_ERR_RUN_DEADLINE);
    assert_in_range(neap_clock_ms() - begin, 50, TEST_HANG_MS);
    neap_error_clear(&err);
    bench->wanted = 1;
    neap_timer_begin(bench->loop, 50, 0, on_tick, bench);
    assert_true(neap_loop_wait(bench->loop, &wait, NULL)); /* cleanup goes on */
}

static void test_loop__signal_ends_a_wait(void **state)
{
    struct bench *bench = *state;
    struct neap_wait wait = {.done = is_enough, .arg = bench, .cleanup = true};
    int64_t begin = neap_clock_ms();
    struct neap_error err = {0};

    neap_timer_begin(bench->loop, 20, 0, on_interrupt, NULL);
    assert_false(neap_loop_sleep(bench->loop, 60000, NULL, &err));
    assert_int_equal(err.code, NEAP_ERR_RUN_INTERRUPTED);
    assert_true(neap_clock_ms() - begin < TEST_HANG_MS);
    assert_false(neap_loop_sleep(bench->loop, 60000, NULL, NULL)); /* sticky */
    bench->wanted = 1;
    neap_timer_begin(bench->loop, 30, 0, on_tick, bench);
    assert_true(neap_loop_wait(bench->loop, &wait, NULL));
    neap_error_clear(&err);
}

static void test_loop__arms_from_the_handler(void **state)
{
    struct bench *bench = *state;

    bench->run.arm = on_tick;
    bench->run.arm_arg = bench;
    raise(SIGTERM);
    assert_int_equal(bench->count, 1);
    assert_int_equal(bench->run.stop_signal, SIGTERM);
    raise(SIGTERM); /* the same wish, sent to process and group */
    assert_int_equal(bench->run.stop_count, 1);
}

static void test_loop__does_not_spin(void **state)
{
    struct bench *bench = *state;
    double begin = cpu_seconds();

    assert_true(neap_loop_sleep(bench->loop, 700, NULL, NULL));
    assert_true(cpu_seconds() - begin < 0.2);
}

static void on_silence(void *arg, const char *what, int64_t waited_ms)
{
    struct bench *bench = arg;

    assert_string_equal(what, "the lock");
    assert_true(waited_ms >= 1000);
    bench->count++;
}

static void test_loop__breaks_silence_each_second(void **state)
{
    struct bench *bench = *state;

    neap_loop_on_silence(bench->loop, on_silence, bench);
    assert_true(neap_loop_sleep(bench->loop, 2300, "the lock", NULL));
    assert_int_equal(bench->count, 2);
}

static void wait_inside(void *arg)
{
    struct bench *bench = arg;
    struct neap_error err = {0};

    bench->count++;
    assert_false(neap_loop_sleep(bench->loop, 5, NULL, &err));
    assert_int_equal(err.code, NEAP_ERR_INTERNAL_BUG);
    neap_error_clear(&err);
}

static void test_loop__refuses_to_nest(void **state)
{
    struct bench *bench = *state;
    struct neap_run run;
    struct neap_loop *second = NULL;

    neap_timer_begin(bench->loop, 1, 0, wait_inside, bench);
    assert_true(neap_loop_sleep(bench->loop, 30, NULL, NULL));
    assert_int_equal(bench->count, 1);
    neap_run_init(&run);
    assert_false(neap_loop_open(&run, &second, NULL));
    neap_run_clear(&run);
}

static void test_loop__holds_stop_by_terminal(void **state)
{
    struct bench *bench = *state;
    struct test_stderr held = test_stderr_begin();
    char *text = NULL;

    neap_loop_hold_stop(bench->loop, true);
    raise(SIGTSTP);
    text = test_stderr_end(&held);
    assert_contains(text, "does not stop inside a transaction");
    free(text);
    neap_loop_hold_stop(bench->loop, false);
}

static void test_loop__closes_what_others_left(void **unused)
{
    struct neap_run run;
    struct neap_loop *loop = NULL;
    uv_timer_t left;
    struct sigaction before, after;

    (void)unused;
    sigaction(SIGINT, NULL, &before);
    neap_run_init(&run);
    assert_true(neap_loop_open(&run, &loop, NULL));
    uv_timer_init(neap_loop_uv(loop), &left);
    uv_timer_start(&left, NULL, 100000, 0);
    neap_loop_close(loop);
    neap_loop_close(NULL);
    sigaction(SIGINT, NULL, &after);
    assert_true(before.sa_handler == after.sa_handler);
    neap_run_clear(&run);
}

static void test_loop__nohup_holds_and_background_does_not(void **unused)
{
    struct neap_run run;
    struct neap_loop *loop = NULL;

    (void)unused;
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    neap_run_init(&run);
    assert_true(neap_loop_open(&run, &loop, NULL));
    raise(SIGHUP);
    assert_int_equal(run.stop_signal, 0);
    raise(SIGINT);
    assert_int_equal(run.stop_signal, SIGINT);
    neap_loop_close(loop);
    neap_run_clear(&run);
    signal(SIGHUP, SIG_DFL);
    signal(SIGINT, SIG_DFL);
}

static void pause_ms(long ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    while (nanosleep(&pause, &pause) != 0)
        ;
}

/* A child that hangs outside the loop, as a C function may; it gets `number`
 * twice and must end with 128 + number. */
static void check_second(int number)
{
    struct neap_run run;
    struct neap_loop *loop = NULL;
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        neap_run_init(&run);
        if (!neap_loop_open(&run, &loop, NULL))
            _exit(1);
        pause_ms(5000);
        _exit(2);
    }
    pause_ms(300);
    kill(pid, number);
    pause_ms(300);
    kill(pid, number);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 128 + number);
}

static void test_loop__second_signal_ends_at_once(void **unused)
{
    (void)unused;
    check_second(SIGINT);
    check_second(SIGTERM);
}

/* Two pieces of work and the look that finds no more. */
static bool on_idle(void *arg)
{
    struct bench *bench = arg;

    return ++bench->count < 3;
}

static void test_loop__waits_have_time_for_other_work(void **state)
{
    struct bench *bench = *state;
    struct neap_wait wait = {.done = is_enough, .arg = bench};
    double cpu = cpu_seconds();

    neap_loop_on_idle(bench->loop, on_idle, bench);
    assert_int_equal(bench->count, 0); /* in waits alone */
    assert_true(neap_loop_sleep(bench->loop, 300, NULL, NULL));
    assert_int_equal(bench->count, 3);
    assert_true(cpu_seconds() - cpu < 0.15); /* and then it sleeps */
    neap_loop_on_idle(bench->loop, on_idle, bench);
    bench->wanted = 3;
    assert_true(neap_loop_wait(bench->loop, &wait, NULL)); /* done already: nothing is called */
    assert_int_equal(bench->count, 3);
    bench->count = 0;
    bench->wanted = 1;
    assert_true(neap_loop_wait(bench->loop, &wait, NULL));
    assert_int_equal(bench->count, 1); /* no piece more than the wait took */
}

#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, bench_open, bench_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(test_loop__timers_turn_it),
        WITH_LOOP(test_loop__own_deadline_ends_a_wait),
        WITH_LOOP(test_loop__run_deadline_ends_a_wait),
        WITH_LOOP(test_loop__signal_ends_a_wait),
        WITH_LOOP(test_loop__arms_from_the_handler),
        WITH_LOOP(test_loop__does_not_spin),
        WITH_LOOP(test_loop__breaks_silence_each_second),
        WITH_LOOP(test_loop__waits_have_time_for_other_work),
        WITH_LOOP(test_loop__refuses_to_nest),
        WITH_LOOP(test_loop__holds_stop_by_terminal),
        cmocka_unit_test(test_loop__closes_what_others_left),
        cmocka_unit_test(test_loop__nohup_holds_and_background_does_not),
        cmocka_unit_test(test_loop__second_signal_ends_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
