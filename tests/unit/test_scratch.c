/* SPDX-License-Identifier: MIT
 *
 * Scratch against the real server: start, find again, stop; and the directories
 * that it must not trust.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <libpq-fe.h>

#include "bindings/scratch/scratch.h"
#include "bindings/scratch/scratch_place.h"
#include "host/base/memory.h"

struct fixture {
    struct neap_run run;
    struct neap_loop *loop;
    struct neap_error err;
    char project[64];
};

static char base[64]; /* of this test program: never the user's */

static int setup(void **state)
{
    struct fixture *f = neap_alloc(sizeof *f);
    neap_run_init(&f->run);
    (void)snprintf(f->project, sizeof f->project, "/tmp/neap-scratch-XXXXXX");
    *state = f;
    return mkdtemp(f->project) != NULL && neap_loop_open(&f->run, &f->loop, &f->err) ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    bool stopped = scratch_stop(f->loop, f->project, NULL);
    (void)rmdir(f->project);
    neap_loop_close(f->loop);
    neap_run_clear(&f->run);
    neap_error_clear(&f->err);
    free(f);
    (void)setenv("NEAP_SCRATCH_DIR", base, 1);
    (void)unsetenv("NEAP_PG_BINDIR");
    return stopped ? 0 : -1;
}

static void check_ok(struct fixture *f, bool ok)
{
    if (!ok)
        fail_msg("%s: %s", f->err.message, f->err.detail == NULL ? "" : f->err.detail);
}

static char *ask(const char *url, const char *sql)
{
    PGconn *conn = PQconnectdb(url);
    PGresult *result = PQexec(conn, sql);
    char *text = PQntuples(result) == 1 ? neap_strdup(PQgetvalue(result, 0, 0)) : neap_strdup("");
    PQclear(result);
    PQfinish(conn);
    return text;
}

static void check_answer(const char *url, const char *sql, const char *expected)
{
    char *text = ask(url, sql);
    assert_string_equal(text, expected);
    free(text);
}

static void test_scratch__start_serves_and_look_finds_it(void **state)
{
    struct fixture *f = *state;
    struct scratch_status first;
    struct scratch_status again;
    check_ok(f, scratch_start(f->loop, f->project, &first, &f->err));
    assert_true(first.running);
    check_answer(first.url, "select current_database()", "neap");
    check_answer(first.url, "show fsync", "off");
    check_answer(first.url, "show listen_addresses", "");
    check_answer(first.url, "show server_encoding", "UTF8");
    check_answer(first.url, "select lower('ÆØÅ')", "æøå");
    char *version = ask(first.url, "select split_part(current_setting('server_version'), ' ', 1)");
    assert_string_equal(first.version, version);
    free(version);
    check_ok(f, scratch_look(f->loop, f->project, &again, &f->err));
    assert_true(again.running);
    assert_int_equal(again.pid, first.pid);
    assert_string_equal(again.url, first.url);
    assert_string_equal(again.version, first.version);
    scratch_status_clear(&again);
    check_ok(f, scratch_start(f->loop, f->project, &again, &f->err));
    assert_int_equal(again.pid, first.pid);
    scratch_status_clear(&again);
    scratch_status_clear(&first);
}

/* What initdb made is made once: a start copies it, with what we leave in it. */
static void test_scratch__start_copies_the_template(void **state)
{
    struct fixture *f = *state;
    struct scratch_status status;
    glob_t found = {0};
    check_ok(f, scratch_start(f->loop, f->project, &status, &f->err)); /* makes the template */
    scratch_status_clear(&status);
    check_ok(f, scratch_stop(f->loop, f->project, &f->err));
    char *pattern = neap_format("%s/pg/template-*", base);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    char *mark = neap_format("%s/mark", found.gl_pathv[0]);
    int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    close(fd);
    check_ok(f, scratch_start(f->loop, f->project, &status, &f->err));
    check_answer(status.url, "select count(*) from pg_ls_dir('.') name where name = 'mark'", "1");
    scratch_status_clear(&status);
    assert_int_equal(unlink(mark), 0);
    globfree(&found);
    free(pattern);
    free(mark);
}

static void test_scratch__stop_removes_its_data(void **state)
{
    struct fixture *f = *state;
    struct scratch_status status;
    check_ok(f, scratch_stop(f->loop, f->project, &f->err)); /* nothing to stop */
    check_ok(f, scratch_start(f->loop, f->project, &status, &f->err));
    check_ok(f, scratch_stop(f->loop, f->project, &f->err));
    assert_int_not_equal(access(status.dir, F_OK), 0);
    scratch_status_clear(&status);
    check_ok(f, scratch_look(f->loop, f->project, &status, &f->err));
    assert_false(status.running);
    scratch_status_clear(&status);
}

static void test_scratch__killed_server_starts_afresh(void **state)
{
    struct fixture *f = *state;
    struct scratch_status status;
    check_ok(f, scratch_start(f->loop, f->project, &status, &f->err));
    free(ask(status.url, "create table left_over ()"));
    int old_pid = status.pid;
    assert_int_equal(kill(old_pid, SIGKILL), 0);
    for (int i = 0; i < 500 && status.running; i++) {
        scratch_status_clear(&status);
        (void)usleep(10000);
        check_ok(f, scratch_look(f->loop, f->project, &status, &f->err));
    }
    assert_false(status.running);
    check_ok(f, scratch_start(f->loop, f->project, &status, &f->err));
    assert_int_not_equal(status.pid, old_pid);
    check_answer(status.url, "select count(*) from pg_class where relname = 'left_over'", "0");
    scratch_status_clear(&status);
}

/* A pid file that names a living process of somebody else. */
static void test_scratch__foreign_pid_is_not_ours(void **state)
{
    struct fixture *f = *state;
    struct scratch_status status;
    struct scratch_place place;
    check_ok(f, scratch_start(f->loop, f->project, &status, &f->err));
    scratch_status_clear(&status);
    check_ok(f, scratch_place_open(f->project, &place, &f->err));
    char *kept = neap_format("%s.kept", place.pid_file);
    assert_int_equal(rename(place.pid_file, kept), 0);
    FILE *file = fopen(place.pid_file, "w");
    assert_non_null(file);
    (void)fprintf(file, "%ld\n%s\n0\n5432\n..\n\n0\nready\n", (long)getpid(), place.data);
    (void)fclose(file);
    check_ok(f, scratch_look(f->loop, f->project, &status, &f->err));
    assert_false(status.running);
    assert_int_equal(rename(kept, place.pid_file), 0);
    free(kept);
    scratch_place_clear(&place);
    scratch_status_clear(&status);
}

static void start_in_child(const char *project)
{
    struct neap_run run;
    struct neap_loop *loop = NULL;
    struct scratch_status status;
    struct neap_error err = {0};
    neap_run_init(&run);
    bool done = neap_loop_open(&run, &loop, &err) && scratch_start(loop, project, &status, &err);
    if (!done)
        print_error("%s: %s\n", err.message, err.detail == NULL ? "" : err.detail);
    _exit(done ? 0 : 1);
}

static void test_scratch__two_at_once_get_one_server(void **state)
{
    struct fixture *f = *state;
    pid_t pids[4];
    neap_loop_close(f->loop); /* one loop a process, and fork copies it */
    f->loop = NULL;
    for (int i = 0; i < 4; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            start_in_child(f->project);
        assert_true(pids[i] > 0);
    }
    for (int i = 0; i < 4; i++) {
        int status = -1;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    check_ok(f, neap_loop_open(&f->run, &f->loop, &f->err));
    struct scratch_status status;
    check_ok(f, scratch_look(f->loop, f->project, &status, &f->err));
    assert_true(status.running);
    scratch_status_clear(&status);
}

static void test_scratch__refuses_a_directory_others_may_write(void **state)
{
    struct fixture *f = *state;
    char dir[] = "/tmp/neap-open-XXXXXX";
    struct scratch_status status;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chmod(dir, 0777), 0);
    (void)setenv("NEAP_SCRATCH_DIR", dir, 1);
    assert_false(scratch_start(f->loop, f->project, &status, &f->err));
    assert_int_equal(f->err.code, NEAP_ERR_FILE_REFUSED);
    (void)setenv("NEAP_SCRATCH_DIR", base, 1);
    assert_int_equal(rmdir(dir), 0);
}

static void test_scratch__refuses_a_link(void **state)
{
    struct fixture *f = *state;
    char dir[] = "/tmp/neap-link-XXXXXX";
    struct scratch_status status;
    assert_non_null(mkdtemp(dir));
    char *link_path = neap_format("%s.link", dir);
    assert_int_equal(symlink(dir, link_path), 0);
    (void)setenv("NEAP_SCRATCH_DIR", link_path, 1);
    assert_false(scratch_start(f->loop, f->project, &status, &f->err));
    assert_int_equal(f->err.code, NEAP_ERR_FILE_REFUSED);
    (void)setenv("NEAP_SCRATCH_DIR", base, 1);
    (void)unlink(link_path);
    free(link_path);
    assert_int_equal(rmdir(dir), 0);
}

static void test_scratch__path_that_holds_no_socket(void **state)
{
    struct fixture *f = *state;
    struct scratch_status status;
    static const char long_path[] =
        "/tmp/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const char *const bad[] = {"relative", "/tmp/with space", "/tmp/with$dollar", long_path};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        (void)setenv("NEAP_SCRATCH_DIR", bad[i], 1);
        assert_false(scratch_start(f->loop, f->project, &status, &f->err));
        assert_int_equal(f->err.code, NEAP_ERR_CONFIG_INVALID);
    }
    (void)setenv("NEAP_SCRATCH_DIR", base, 1);
}

static void test_scratch__no_server_names_the_package(void **state)
{
    struct fixture *f = *state;
    struct scratch_status status;
    (void)setenv("NEAP_PG_BINDIR", "/nonexistent", 1);
    assert_false(scratch_start(f->loop, f->project, &status, &f->err));
    assert_int_equal(f->err.code, NEAP_ERR_CONFIG_TARGET);
    assert_non_null(strstr(f->err.hint, "postgresql"));
}

static void test_scratch__psql_is_of_the_same_installation(void **state)
{
    struct fixture *f = *state;
    char *psql = NULL;
    check_ok(f, scratch_psql(&psql, &f->err));
    assert_int_equal(access(psql, X_OK), 0);
    free(psql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(test_scratch__##name, setup, teardown)
        CASE(start_serves_and_look_finds_it),
        CASE(start_copies_the_template),
        CASE(stop_removes_its_data),
        CASE(killed_server_starts_afresh),
        CASE(foreign_pid_is_not_ours),
        CASE(two_at_once_get_one_server),
        CASE(refuses_a_directory_others_may_write),
        CASE(refuses_a_link),
        CASE(path_that_holds_no_socket),
        CASE(no_server_names_the_package),
        CASE(psql_is_of_the_same_installation),
#undef CASE
    };
    (void)snprintf(base, sizeof base, "/tmp/neap-scratch-base-%ld", (long)getpid());
    (void)setenv("NEAP_SCRATCH_DIR", base, 1);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (fork() == 0) {
        char *command[] = {"rm", "-rf", "--", base, NULL};
        (void)execv("/bin/rm", command);
        _exit(127);
    }
    (void)wait(NULL);
    return failed;
}
