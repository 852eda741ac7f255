/* SPDX-License-Identifier: MIT
 *
 * Children: their output, status, limits, environment, and that none is left.
 */
#include "tests/unit/test_support.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "host/base/clock.h"
#include "host/loop/child.h"

struct bench {
    struct neap_run run;
    struct neap_loop *loop;
    struct neap_child_result result;
    struct neap_error err;
    int descriptors;
};

static int count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static int bench_open(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);

    neap_run_init(&bench->run);
    if (!neap_loop_open(&bench->run, &bench->loop, NULL))
        return -1;
    bench->descriptors = count_descriptors();
    *state = bench;
    return 0;
}

static int bench_close(void **state)
{
    struct bench *bench = *state;
    int left = count_descriptors() - bench->descriptors;
    pid_t child = waitpid(-1, NULL, WNOHANG);
    bool reaped = child < 0 && errno == ECHILD;

    neap_loop_close(bench->loop);
    neap_child_result_clear(&bench->result);
    neap_error_clear(&bench->err);
    neap_run_clear(&bench->run);
    free(bench);
    return left == 0 && reaped ? 0 : -1;
}

static bool run_shell(struct bench *bench, const char *script, struct neap_child_opts opts)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};

    opts.argv = argv;
    return neap_child_run(bench->loop, &opts, &bench->result, &bench->err);
}

#define OPTS (struct neap_child_opts)

static void test_child__gives_output_and_status(void **state)
{
    struct bench *bench = *state;

    assert_true(run_shell(bench, "echo out; echo err >&2; exit 7", OPTS{0}));
    assert_int_equal(bench->result.exit_status, 7);
    assert_string_equal(neap_buffer_text(&bench->result.out), "out\n");
    assert_string_equal(neap_buffer_text(&bench->result.err), "err\n");
}

static void test_child__status_of_a_signal(void **state)
{
    struct bench *bench = *state;

    assert_true(run_shell(bench, "kill -9 $$", OPTS{0}));
    assert_int_equal(bench->result.exit_status, 137);
}

static void test_child__finds_programs_on_the_path(void **state)
{
    struct bench *bench = *state;
    const char *argv[] = {"printf", "%s", "$(id); x", NULL};
    struct neap_child_opts opts = {.argv = argv};

    assert_true(neap_child_run(bench->loop, &opts, &bench->result, &bench->err));
    assert_string_equal(neap_buffer_text(&bench->result.out), "$(id); x"); /* no shell */
}

static void test_child__feeds_stdin(void **state)
{
    struct bench *bench = *state;
    size_t size = 1 << 20;
    char *text = malloc(size + 1);

    memset(text, 'x', size);
    text[size] = '\0';
    assert_true(run_shell(bench, "wc -c; echo done", OPTS{.stdin_text = text}));
    assert_string_equal(neap_buffer_text(&bench->result.out), "1048576\ndone\n");
    neap_child_result_clear(&bench->result);
    assert_true(run_shell(bench, "exit 3", OPTS{.stdin_text = text})); /* reads none of it */
    assert_int_equal(bench->result.exit_status, 3);
    neap_child_result_clear(&bench->result);
    assert_true(run_shell(bench, "cat; echo end", OPTS{.stdin_text = ""}));
    assert_string_equal(neap_buffer_text(&bench->result.out), "end\n");
    neap_child_result_clear(&bench->result);
    assert_true(run_shell(bench, "cat; echo end", OPTS{0})); /* /dev/null */
    assert_string_equal(neap_buffer_text(&bench->result.out), "end\n");
    free(text);
}

static void test_child__keeps_no_more_than_it_may(void **state)
{
    struct bench *bench = *state;

    assert_true(run_shell(bench, "head -c 3000000 /dev/zero | tr '\\0' x", OPTS{.output_max = 10}));
    assert_string_equal(neap_buffer_text(&bench->result.out), "xxxxxxxxxx");
    assert_int_equal(bench->result.out_bytes, 3000000);
}

static void test_child__ends_at_its_deadline(void **state)
{
    struct bench *bench = *state;
    int64_t begin = neap_clock_ms();

    assert_false(
        run_shell(bench, "echo begun; sleep 60", OPTS{.deadline_ms = neap_clock_ms() + 200}));
    assert_int_equal(bench->err.code, NEAP_ERR_RUN_DEADLINE);
    assert_string_equal(neap_buffer_text(&bench->result.out), "begun\n");
    assert_true(neap_clock_ms() - begin < TEST_HANG_MS);
}

static void test_child__kills_what_ignores_term(void **state)
{
    struct bench *bench = *state;
    int64_t begin = neap_clock_ms();

    assert_false(run_shell(bench, "trap '' TERM; while :; do sleep 1; done",
                           OPTS{.deadline_ms = neap_clock_ms() + 100}));
    assert_true(neap_clock_ms() - begin >= 2000); /* TERM came first */
    assert_int_equal(bench->result.exit_status, 137);
}

static void test_child__does_not_wait_for_grandchildren(void **state)
{
    struct bench *bench = *state;
    int64_t begin = neap_clock_ms();
    int pid = 0;

    assert_true(run_shell(bench, "sleep 60 & echo $!", OPTS{0}));
    assert_true(neap_clock_ms() - begin < TEST_HANG_MS);
    assert_int_equal(sscanf(neap_buffer_text(&bench->result.out), "%d", &pid), 1);
    for (int i = 0; i < 100 && kill(pid, 0) == 0; i++) { /* until init reaped it */
        char path[64], state_letter = 0;
        FILE *stat_file = NULL;

        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        stat_file = fopen(path, "r");
        if (stat_file && fscanf(stat_file, "%*d %*s %c", &state_letter) != 1)
            state_letter = 'Z';
        if (stat_file)
            fclose(stat_file);
        if (state_letter == 'Z')
            return;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    assert_int_not_equal(kill(pid, 0), 0);
}

static void test_child__gets_a_small_environment(void **state)
{
    struct bench *bench = *state;
    const char *env[] = {"ONLY=this", NULL};

    setenv("PGPASSWORD", "nEaP-CaNaRy", 1);
    setenv("DATABASE_URL", "nEaP-CaNaRy", 1);
    assert_true(run_shell(bench, "env", OPTS{0}));
    assert_lacks(neap_buffer_text(&bench->result.out), "CaNaRy");
    assert_contains(neap_buffer_text(&bench->result.out), "PATH=");
    neap_child_result_clear(&bench->result);
    assert_true(run_shell(bench, "echo $ONLY", OPTS{.env = env}));
    assert_string_equal(neap_buffer_text(&bench->result.out), "this\n");
}

static void test_child__inherits_no_descriptor(void **state)
{
    struct bench *bench = *state;
    int open_end = open("/dev/null", O_RDONLY); /* without O_CLOEXEC, as a library may */

    assert_true(open_end > 2);
    assert_true(run_shell(bench, "ls /proc/self/fd | wc -l", OPTS{0}));
    /* 0, 1, 2 and the directory that ls itself reads */
    assert_string_equal(neap_buffer_text(&bench->result.out), "4\n");
    close(open_end);
}

static void test_child__has_default_signals(void **state)
{
    struct bench *bench = *state;

    signal(SIGPIPE, SIG_IGN);
    assert_true(run_shell(
        bench, "sed -n 's/^Sig\\(Blk\\|Ign\\|Cgt\\):.//p' /proc/self/status | sort -u", OPTS{0}));
    assert_string_equal(neap_buffer_text(&bench->result.out), "0000000000000000\n");
}

static void test_child__says_why_it_did_not_start(void **state)
{
    struct bench *bench = *state;
    const char *argv[] = {"/no/such/program", NULL};
    struct neap_child_opts opts = {.argv = argv};

    assert_false(neap_child_run(bench->loop, &opts, &bench->result, &bench->err));
    assert_int_equal(bench->err.code, NEAP_ERR_FILE_IO);
    assert_contains(bench->err.message, "/no/such/program");
    assert_contains(bench->err.message, "No such file");
    assert_false(run_shell(bench, "true", OPTS{.cwd = "/no/such/dir"}));
    assert_contains(bench->err.message, "/no/such/dir");
    if (geteuid() == 0) {
        assert_false(run_shell(bench, "true", OPTS{.user = "no-such-user"}));
        assert_contains(bench->err.message, "no-such-user");
    }
}

static void test_child__drops_to_a_user(void **state)
{
    struct bench *bench = *state;

    if (geteuid() != 0)
        skip();
    assert_true(
        run_shell(bench, "id -un; id -G; echo $HOME; pwd", OPTS{.user = "nobody", .cwd = "/"}));
    assert_string_equal(neap_buffer_text(&bench->result.out), "nobody\n65534\n/nonexistent\n/\n");
}

static void test_child__ends_with_a_stop(void **state)
{
    struct bench *bench = *state;
    int64_t begin = neap_clock_ms();

    raise(SIGINT);
    assert_false(run_shell(bench, "sleep 60", OPTS{0}));
    assert_int_equal(bench->err.code, NEAP_ERR_RUN_INTERRUPTED);
    assert_true(run_shell(bench, "echo cleaned", OPTS{.cleanup = true}));
    assert_string_equal(neap_buffer_text(&bench->result.out), "cleaned\n");
    assert_true(neap_clock_ms() - begin < TEST_HANG_MS);
}

static void test_child__daemon_leaves_its_children(void **state)
{
    struct bench *bench = *state;
    int pid = 0;

    assert_true(run_shell(bench, "sleep 60 & echo $!", OPTS{.daemon = true}));
    assert_int_equal(sscanf(neap_buffer_text(&bench->result.out), "%d", &pid), 1);
    assert_int_equal(kill(pid, 0), 0);
    assert_int_equal(getsid(pid) != getsid(0), 1);
    kill(pid, SIGKILL);
}

static void test_child__lends_the_terminal(void **state)
{
    struct bench *bench = *state;
    struct sigaction before, after;

    sigaction(SIGINT, NULL, &before);
    assert_true(run_shell(bench, "kill -INT $PPID; exit 5", OPTS{.inherit = true}));
    assert_int_equal(bench->result.exit_status, 5);
    assert_int_equal(bench->run.stop_signal, 0); /* Ctrl-C was the child's */
    sigaction(SIGINT, NULL, &after);
    assert_true(before.sa_handler == after.sa_handler);
}

static void on_storm(int number)
{
    (void)number;
}

static void test_child__survives_a_signal_storm(void **state)
{
    struct bench *bench = *state;
    struct sigaction action = {.sa_handler = on_storm}; /* no SA_RESTART */
    /* fork begins anew at each signal, and valgrind's takes longer than a millisecond. */
    int gap_us = 1000 * (int)test_stride(100);
    struct itimerval storm = {{0, gap_us}, {0, gap_us}}, calm = {{0, 0}, {0, 0}};
    size_t size = 1 << 20;
    char *text = malloc(size + 1);

    memset(text, 'x', size);
    text[size] = '\0';
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &storm, NULL);
    for (int i = 0; i < 20; i++) {
        neap_child_result_clear(&bench->result);
        assert_true(run_shell(bench, "wc -c", OPTS{.stdin_text = text}));
        assert_string_equal(neap_buffer_text(&bench->result.out), "1048576\n");
    }
    setitimer(ITIMER_REAL, &calm, NULL);
    free(text);
}

/* A helper runs `sleep` through neap and is killed: the sleep must not stay. */
static void test_child__dies_with_its_parent(void **unused)
{
    int ends[2];
    char text[32] = "";
    int status = 0;
    pid_t helper = 0;

    (void)unused;
    assert_int_equal(pipe(ends), 0);
    helper = fork();
    if (helper == 0) {
        struct bench *bench = NULL;
        char script[96];

        bench_open((void **)&bench);
        snprintf(script, sizeof script, "echo $$ > /proc/%d/fd/%d; exec sleep 60", (int)getpid(),
                 ends[1]);
        run_shell(bench, script, OPTS{0});
        _exit(0);
    }
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    kill(helper, SIGKILL);
    waitpid(helper, &status, 0);
    close(ends[1]);
    /* The shell wrote through its own opening of the pipe; all that is left to
     * see is that the process goes. */
    for (int i = 0; i < 200; i++) {
        char path[64], letter = 'Z';
        FILE *file = NULL;

        snprintf(path, sizeof path, "/proc/%ld/stat", strtol(text, NULL, 10));
        file = fopen(path, "r");
        if (!file || fscanf(file, "%*d %*s %c", &letter) != 1 || letter == 'Z') {
            if (file)
                fclose(file);
            close(ends[0]);
            return;
        }
        fclose(file);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    fail_msg("process %s outlived its parent", text);
}

#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, bench_open, bench_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(test_child__gives_output_and_status),
        WITH_LOOP(test_child__status_of_a_signal),
        WITH_LOOP(test_child__finds_programs_on_the_path),
        WITH_LOOP(test_child__feeds_stdin),
        WITH_LOOP(test_child__keeps_no_more_than_it_may),
        WITH_LOOP(test_child__ends_at_its_deadline),
        WITH_LOOP(test_child__kills_what_ignores_term),
        WITH_LOOP(test_child__does_not_wait_for_grandchildren),
        WITH_LOOP(test_child__gets_a_small_environment),
        WITH_LOOP(test_child__inherits_no_descriptor),
        WITH_LOOP(test_child__has_default_signals),
        WITH_LOOP(test_child__says_why_it_did_not_start),
        WITH_LOOP(test_child__drops_to_a_user),
        WITH_LOOP(test_child__ends_with_a_stop),
        WITH_LOOP(test_child__daemon_leaves_its_children),
        WITH_LOOP(test_child__lends_the_terminal),
        WITH_LOOP(test_child__survives_a_signal_storm),
        cmocka_unit_test(test_child__dies_with_its_parent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
