/* SPDX-License-Identifier: MIT
 *
 * The databases of the backup's tests: `wide` has one of everything, `copy` is what dump
 * and restore make of it.
 */
#ifndef NEAP_TESTS_UNIT_BACKUP_FIXTURE_H
#define NEAP_TESTS_UNIT_BACKUP_FIXTURE_H

#include "tests/unit/pg_fixture.h"

/* Runs a program of PostgreSQL's on the server; the last argument is NULL. */
static void backup_fixture_run(const char *program, const char *const *arguments)
{
    char host[80];
    char *argv[16] = {neap_strdup(program), host, (char[]){"-Upostgres"}};
    int count = 3, status = 0;

    snprintf(host, sizeof host, "-h%s", pg_fixture.dir);
    for (; *arguments; arguments++)
        argv[count++] = neap_strdup(*arguments);
    pid_t pid = pg_fixture_spawn(program, argv);

    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0)
        fail_msg("%s: status %d; see the server's log", program, status);
    free(argv[0]);
    for (int i = 3; i < count; i++)
        free(argv[i]);
}

#define BACKUP_RUN(program, ...) \
    backup_fixture_run((program), (const char *const[]){__VA_ARGS__, NULL})

/* By a copy, which the server's user can read wherever the tree is. */
static void backup_fixture_load(const char *path)
{
    char target[128];
    char *text = NULL;
    size_t length = 0;

    assert_true(neap_path_read(path, NULL, 1 << 20, &text, &length, NULL));
    snprintf(target, sizeof target, "%s/load.sql", pg_fixture.dir);
    FILE *file = fopen(target, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
    free(text);
    BACKUP_RUN("psql", "-Xq", "-vON_ERROR_STOP=1", "-dwide", "-fload.sql");
}

static int backup_fixture_begin(void **state)
{
    (void)state;
    pg_fixture_start("-cmax_locks_per_transaction=16");
    BACKUP_RUN("createdb", "-Ttemplate0", "wide");
    backup_fixture_load("tests/unit/backup/wide.sql");
    backup_fixture_load("tests/unit/backup/wide_data.sql");
    BACKUP_RUN("pg_dump", "-Fc", "-fdump", "--exclude-table-data=neap.lease", "wide");
    BACKUP_RUN("createdb", "-Ttemplate0", "copy");
    BACKUP_RUN("pg_restore", "-e", "-1", "--no-subscriptions", "-dcopy", "dump");
    return 0;
}

static inline struct pg_client *backup_fixture_open(struct pg_scene *scene, const char *database)
{
    char *conninfo = neap_format("host=%s user=postgres dbname=%s", pg_fixture.dir, database);
    struct pg_open_opts opts = {
        .conninfo = conninfo, .application_name = "neap:test", .timeout_ms = 10000};
    struct pg_client *client = NULL;

    if (!pg_open(scene->loop, &opts, &client, &scene->err))
        fail_msg("%s", scene->err.message);
    free(conninfo);
    return client;
}

/* A scene whose client is in `wide`. */
static inline int backup_scene_begin(void **state)
{
    pg_scene_begin(state);
    struct pg_scene *scene = *state;

    pg_close(scene->client);
    scene->client = backup_fixture_open(scene, "wide");
    return 0;
}

#define BACKUP_SCENE(name) cmocka_unit_test_setup_teardown(name, backup_scene_begin, pg_scene_end)

#endif
