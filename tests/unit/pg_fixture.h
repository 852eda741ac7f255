/* SPDX-License-Identifier: MIT
 *
 * A private PostgreSQL for a C unit test: one server per test program, on a unix
 * socket in a directory of its own, as user postgres when we are root, ended by
 * its pid. A header of static functions, because each test is one program.
 */
#ifndef NEAP_TESTS_UNIT_PG_FIXTURE_H
#define NEAP_TESTS_UNIT_PG_FIXTURE_H

#include "tests/unit/test_support.h"

#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bindings/pg/pg_client.h"
#include "host/base/clock.h"
#include "host/base/crash.h"
#include "host/base/memory.h"

struct pg_fixture {
    char dir[64];
    char bin[256];
    char conninfo[256];
    pid_t server;
};

static struct pg_fixture pg_fixture;

static void pg_fixture_become(const char *dir)
{
    struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;

    if (user &&
        (setgid(user->pw_gid) || initgroups("postgres", user->pw_gid) || setuid(user->pw_uid)))
        _exit(126);
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    if (chdir(dir) != 0)
        _exit(126);
    if (!freopen("log", "a", stdout) || dup2(1, 2) < 0)
        _exit(126);
}

/* argv[0] becomes the whole path: initdb looks for postgres beside it. */
static pid_t pg_fixture_spawn(const char *program, char **argv)
{
    char path[320];
    pid_t pid = 0;

    snprintf(path, sizeof path, "%s/%s", pg_fixture.bin, program);
    pid = fork();
    if (pid == 0) {
        pg_fixture_become(pg_fixture.dir);
        argv[0] = path;
        execv(path, argv);
        _exit(127);
    }
    return pid;
}

static void pg_fixture_find(void)
{
    glob_t found = {0};

    assert_int_equal(glob("/usr/lib/postgresql/*/bin", 0, NULL, &found), 0);
    snprintf(pg_fixture.bin, sizeof pg_fixture.bin, "%s", found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
}

static int pg_fixture_is_up(void)
{
    char conninfo[320];

    snprintf(conninfo, sizeof conninfo, "%s connect_timeout=2", pg_fixture.conninfo);
    return PQping(conninfo) == PQPING_OK;
}

/* `extra`: one more argument for the server ("-clog_lock_waits=on"), or NULL. */
static void pg_fixture_start(const char *extra)
{
    char data[] = "data", here[80];
    char *init[] = {(char[]){"initdb"},     data,
                    (char[]){"-Upostgres"}, (char[]){"-EUTF8"},
                    (char[]){"--locale=C"}, (char[]){"-Atrust"},
                    (char[]){"--no-sync"},  NULL};
    struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    int status = 0;

    pg_fixture_find();
    snprintf(pg_fixture.dir, sizeof pg_fixture.dir, "/tmp/neap-unit-XXXXXX");
    assert_non_null(mkdtemp(pg_fixture.dir));
    if (user)
        assert_int_equal(chown(pg_fixture.dir, user->pw_uid, user->pw_gid), 0);
    snprintf(pg_fixture.conninfo, sizeof pg_fixture.conninfo,
             "host=%s user=postgres dbname=postgres", pg_fixture.dir);
    assert_int_equal(waitpid(pg_fixture_spawn("initdb", init), &status, 0) > 0, 1);
    assert_int_equal(status, 0);
    snprintf(here, sizeof here, "-k%s", pg_fixture.dir);
    char *serve[] = {(char[]){"postgres"},
                     (char[]){"-Ddata"},
                     here,
                     (char[]){"-clisten_addresses="},
                     (char[]){"-cfsync=off"},
                     (char[]){"-cautovacuum=off"},
                     extra ? neap_strdup(extra) : NULL,
                     NULL};

    pg_fixture.server = pg_fixture_spawn("postgres", serve);
    free(serve[6]);
    for (int i = 0; i < 200 && !pg_fixture_is_up(); i++)
        usleep(50000);
    assert_true(pg_fixture_is_up());
}

static void pg_fixture_stop(void)
{
    char path[128];

    if (pg_fixture.server > 0) {
        kill(pg_fixture.server, SIGQUIT);
        waitpid(pg_fixture.server, NULL, 0);
    }
    snprintf(path, sizeof path, "%s", pg_fixture.dir);
    pid_t pid = fork();

    if (pid == 0) {
        char rm[] = "rm", rf[] = "-rf";
        char *argv[] = {rm, rf, path, NULL};
        execv("/bin/rm", argv);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

/* Setup and teardown of a group of tests, for cmocka_run_group_tests. */
static inline int pg_fixture_begin(void **state)
{
    (void)state;
    pg_fixture_start(NULL);
    return 0;
}

static inline int pg_fixture_end(void **state)
{
    (void)state;
    pg_fixture_stop();
    return 0;
}

/* What each test has: a run, a loop, a client. */
struct pg_scene {
    struct neap_run run;
    struct neap_loop *loop;
    struct pg_client *client;
    struct neap_error err;
};

static struct pg_client *pg_fixture_open(struct pg_scene *scene)
{
    struct pg_open_opts opts = {
        .conninfo = pg_fixture.conninfo, .application_name = "neap:test", .timeout_ms = 10000};
    struct pg_client *client = NULL;

    if (!pg_open(scene->loop, &opts, &client, &scene->err))
        fail_msg("%s", scene->err.message);
    return client;
}

static int pg_scene_begin(void **state)
{
    struct pg_scene *scene = neap_alloc(sizeof *scene);

    neap_run_init(&scene->run);
    assert_true(neap_loop_open(&scene->run, &scene->loop, &scene->err));
    scene->client = pg_fixture_open(scene);
    *state = scene;
    return 0;
}

static int pg_scene_end(void **state)
{
    struct pg_scene *scene = *state;

    pg_close(scene->client);
    neap_loop_close(scene->loop);
    neap_run_clear(&scene->run);
    neap_error_clear(&scene->err);
    free(scene);
    return 0;
}

/* A test on a scene of its own. */
#define PG_SCENE(name) cmocka_unit_test_setup_teardown(name, pg_scene_begin, pg_scene_end)

static inline void pg_scene_do(struct pg_scene *scene, const char *sql)
{
    if (!pg_exec_text(scene->client, sql, 0, NULL, NULL, &scene->err))
        fail_msg("%s: %s", sql, scene->err.message);
}

static inline int64_t pg_scene_int(struct pg_scene *scene, const char *sql)
{
    struct pg_op *op = NULL;

    if (!pg_exec_text(scene->client, sql, 0, NULL, &op, &scene->err))
        fail_msg("%s: %s", sql, scene->err.message);
    int64_t value = pg_cell_int(op, 0, 0);

    pg_op_free(op);
    return value;
}

/* Kilobytes of memory this process has touched at most. 0 under ASan, which keeps freed memory:
 * what is compared then always holds. */
static inline long pg_fixture_peak_kb(void)
{
#ifdef NEAP_ASAN
    return 0;
#else
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kb = 0;

    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "VmHWM:", 6) == 0)
            kb = strtol(line + 6, NULL, 10);
    if (file)
        fclose(file);
    return kb;
#endif
}

#endif
