/* SPDX-License-Identifier: MIT
 *
 * The restore is --exit-on-error and no single transaction: the whole server is thrown
 * away when it fails, and one transaction for 5,000 tables would run out of locks. It is
 * --create, because a database's own settings, rights and comment come only with it.
 * Subscriptions and user mappings stay out, and out of the list of what is restored: no
 * copy may talk to where its original does, also not while it is restored (a materialized
 * view is filled by its query, which may read a foreign table).
 */
#include "bindings/backup/backup_restore.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings/pg/pg_conninfo.h"
#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/loop/child.h"

#define JOBS_MAX 4
#define LIST_MAX ((size_t)256 << 20)
/* A setting of the database itself must not hold up its restore. */
#define COPY_OPTIONS \
    "&options=-c%20default_transaction_read_only%3Doff%20-c%20statement_timeout%3D0"

struct tool_run {
    const char *const *argv;
    char **env;
    const char *input; /* NULL: none */
};

/* `output` may be NULL. */
static bool run_tool(struct neap_loop *loop, const struct tool_run *run, struct neap_buffer *output,
                     struct neap_error *err)
{
    struct neap_child_opts opts = {.argv = run->argv,
                                   .env = (const char *const *)run->env,
                                   .stdin_text = run->input,
                                   .output_max = output == NULL ? 0 : LIST_MAX,
                                   .deadline_ms = NEAP_FOREVER};
    struct neap_child_result result = {0};
    bool ran = neap_child_run(loop, &opts, &result, err);
    bool passed = ran && result.exit_status == 0;
    if (ran && !passed)
        backup_tool_explain("pg_restore", result.exit_status, neap_buffer_text(&result.err), err);
    if (passed && output != NULL)
        neap_buffer_add(output, result.out.bytes, result.out.length);
    neap_child_result_clear(&result);
    return passed;
}

bool backup_restore_list(struct neap_loop *loop, const struct backup_tool *pg_restore,
                         const struct backup *backup, struct neap_error *err)
{
    char *dump = neap_path_join(backup->path, "dump");
    const char *const argv[] = {pg_restore->path, "--list", "--file=/dev/null", dump, NULL};
    struct tool_run run = {.argv = argv};
    struct neap_error why = {0};
    bool passed = run_tool(loop, &run, NULL, &why);
    if (!passed && why.code == NEAP_ERR_BACKUP_FAILED) {
        neap_error_set(err, NEAP_ERR_BACKUP_DAMAGED, "the archive of backup %s cannot be read",
                       backup->id);
        neap_error_detail(err, "%s", why.detail == NULL ? why.message : why.detail);
    } else if (!passed) {
        neap_error_move(err, &why);
    }
    neap_error_clear(&why);
    free(dump);
    return passed;
}

static bool open_client(struct neap_loop *loop, const struct scratch_private *server,
                        const char *database, const char *name, struct pg_client **out,
                        struct neap_error *err)
{
    char *plain = scratch_private_url(server, database);
    char *url = neap_format("%s%s", plain, COPY_OPTIONS);
    char *application = neap_format("neap:%s", neap_loop_run(loop)->id);
    struct pg_open_opts opts = {.conninfo = url, .application_name = application, .name = name};
    bool opened = pg_open(loop, &opts, out, err);
    free(plain);
    free(url);
    free(application);
    return opened;
}

/* Runs `format` with the quoted name in the place of %I. */
static bool run_named(struct pg_client *client, const char *before, const char *name,
                      const char *after, struct neap_error *err)
{
    char *ident = NULL;
    if (!pg_ident(client, name, strlen(name), &ident, err))
        return false;
    char *sql = neap_format("%s%s%s", before, ident, after);
    bool done = pg_exec_text(client, sql, 0, NULL, NULL, err);
    free(sql);
    free(ident);
    return done;
}

/* Nobody logs in there. Superusers stay what they are: only they may own an event
 * trigger or a foreign-data wrapper. */
static bool make_roles(struct pg_client *client, const json_t *roles, struct neap_error *err)
{
    for (size_t i = 0; i < json_array_size(roles); i++) {
        const json_t *role = json_array_get(roles, i);
        const char *name = json_string_value(json_object_get(role, "name"));
        bool is_superuser = json_is_true(json_object_get(role, "superuser"));
        if (name == NULL || strcmp(name, "postgres") == 0)
            continue;
        if (!run_named(client, "create role ", name, is_superuser ? " superuser" : "", err))
            return false;
    }
    return true;
}

static bool make_tablespaces(struct pg_client *client, const json_t *names, struct neap_error *err)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        if (!run_named(client, "create tablespace ", json_string_value(json_array_get(names, i)),
                       " location ''", err))
            return false;
    return true;
}

static bool check_extensions(struct pg_client *client, const struct scratch_private *server,
                             const json_t *extensions, struct neap_error *err)
{
    static const char sql[] = "select pg_catalog.count(*) > 0"
                              " from pg_catalog.pg_available_extensions where name = $1";
    for (size_t i = 0; i < json_array_size(extensions); i++) {
        const json_t *extension = json_array_get(extensions, i);
        const char *name = json_string_value(json_object_get(extension, "name"));
        struct pg_op *op = NULL;
        bool asked = pg_exec_text(client, sql, 1, &name, &op, err);
        bool there = asked && pg_cell_bool(op, 0, 0);
        pg_op_free(op);
        if (asked && !there) {
            neap_error_set(err, NEAP_ERR_BACKUP_EXTENSION,
                           "the database uses the extension %s, which is not installed here", name);
            neap_error_hint(err,
                            "Install its package for PostgreSQL %s on this machine, then run it "
                            "again.",
                            scratch_private_version(server));
        }
        if (!there)
            return false;
    }
    return true;
}

/* The server's own empty databases give way to the copy. */
static bool make_room(struct pg_client *client, const char *database, struct neap_error *err)
{
    if (strcmp(database, "postgres") != 0 && strcmp(database, "neap") != 0)
        return true;
    return run_named(client, "drop database if exists ", database, "", err);
}

/* 'n; 1417 16390 USER MAPPING - …' */
static bool is_left_out(const char *line)
{
    static const char kind[] = " USER MAPPING ";
    const char *at = line + strcspn(line, ";\n");
    if (*at != ';')
        return false;
    at += 1 + strspn(at + 1, " 0123456789");
    return strncmp(at - 1, kind, sizeof kind - 1) == 0;
}

/* The archive's table of contents, without what no copy may have. */
static bool read_list(struct neap_loop *loop, const struct backup_tool *pg_restore,
                      const char *dump, struct neap_buffer *out, struct neap_error *err)
{
    const char *const argv[] = {pg_restore->path, "--list", "--create", dump, NULL};
    struct tool_run run = {.argv = argv};
    struct neap_buffer all = {0};
    bool passed = run_tool(loop, &run, &all, err);
    for (const char *line = neap_buffer_text(&all); passed && *line != '\0';) {
        size_t length = strcspn(line, "\n");
        length += line[length] == '\n';
        if (!is_left_out(line))
            neap_buffer_add(out, line, length);
        line += length;
    }
    neap_buffer_clear(&all);
    return passed;
}

static bool run_restore(struct neap_loop *loop, const struct backup_tool *pg_restore,
                        const struct backup *backup, struct pg_client *client,
                        struct neap_error *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    char *dump = neap_path_join(backup->path, "dump");
    char *jobs = neap_format("--jobs=%ld", cores < 1 ? 1 : cores > JOBS_MAX ? JOBS_MAX : cores);
    struct neap_buffer list = {0};
    const char *const argv[] = {pg_restore->path,
                                "--create",
                                "--exit-on-error",
                                "--no-password",
                                "--no-subscriptions",
                                "--use-list=/dev/stdin",
                                "--dbname=template1",
                                jobs,
                                dump,
                                NULL};
    struct tool_run run = {.argv = argv};
    bool passed = read_list(loop, pg_restore, dump, &list, err);
    if (passed) {
        run.env = pg_child_env(client, NULL);
        run.input = neap_buffer_text(&list);
        passed = run_tool(loop, &run, NULL, err);
    }
    pg_child_env_free(run.env);
    neap_buffer_clear(&list);
    free(jobs);
    free(dump);
    return passed;
}

bool backup_restore(struct neap_loop *loop, const struct backup_tool *pg_restore,
                    const struct backup *backup, struct backup_copy *out, struct neap_error *err)
{
    const json_t *manifest = backup->manifest;
    const char *database = backup_text(backup, "database");
    int major = (int)(json_integer_value(json_object_get(manifest, "server_version_num")) / 10000);
    struct pg_client *client = NULL;
    *out = (struct backup_copy){0};
    bool restored =
        scratch_private_begin(loop, major, &out->server, err) &&
        open_client(loop, out->server, "template1", "restore", &client, err) &&
        check_extensions(client, out->server, json_object_get(manifest, "extensions"), err) &&
        make_roles(client, json_object_get(manifest, "roles"), err) &&
        make_tablespaces(client, json_object_get(manifest, "tablespaces"), err) &&
        make_room(client, database, err) && run_restore(loop, pg_restore, backup, client, err);
    pg_close(client);
    if (restored && open_client(loop, out->server, database, "copy", &out->client, err))
        return true;
    backup_copy_end(out);
    return false;
}

char *backup_copy_url(const struct backup_copy *copy)
{
    return scratch_private_url(copy->server, PQdb(pg_raw(copy->client)));
}

void backup_copy_end(struct backup_copy *copy)
{
    pg_close(copy->client);
    scratch_private_end(copy->server);
    *copy = (struct backup_copy){0};
}
