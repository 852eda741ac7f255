/* SPDX-License-Identifier: MIT
 *
 * A private server has nothing that a backup needs but what is made here first: its roles,
 * without passwords, and its tablespaces. A server that lives has them or has not.
 */
#include "bindings/backup/backup_restore.h"

#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_archive.h"
#include "bindings/backup/backup_beside.h"
#include "bindings/backup/backup_properties.h"
#include "bindings/pg/pg_conninfo.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"

/* A setting of the database itself must not hold up its restore. */
#define COPY_OPTIONS \
    "&options=-c%20default_transaction_read_only%3Doff%20-c%20statement_timeout%3D0"

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

/* The archive's client is filled in here. */
static bool restore_private(struct neap_loop *loop, struct backup_archive_opts *archive,
                            struct backup_copy *out, struct neap_error *err)
{
    const struct backup *backup = archive->backup;
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
        make_room(client, database, err);
    archive->client = client;
    restored = restored && backup_archive_restore(loop, archive, err);
    pg_close(client);
    if (restored && open_client(loop, out->server, database, "copy", &out->client, err))
        return true;
    backup_copy_end(out);
    return false;
}

bool backup_restore(struct neap_loop *loop, const struct backup_tool *pg_restore,
                    const struct backup *backup, struct backup_copy *out, struct neap_error *err)
{
    struct backup_archive_opts archive = {.pg_restore = pg_restore, .backup = backup};
    return restore_private(loop, &archive, out, err);
}

bool backup_restore_table(struct neap_loop *loop, const struct backup_tool *pg_restore,
                          const struct backup *backup, const struct backup_table *table,
                          struct backup_copy *out, struct neap_error *err)
{
    struct backup_archive_opts archive = {
        .pg_restore = pg_restore, .backup = backup, .schema = table->schema, .table = table->name};
    return restore_private(loop, &archive, out, err);
}

/* Where the role may not: the copy is compared all the same. */
static void lend(const struct backup_server *server, const char *from, const char *to)
{
    struct neap_error why = {0};
    if (from == NULL || backup_properties_lend(server->client, from, to, &why))
        return;
    neap_log(NEAP_LOG_WARN, "backup.settings",
             "the copy lacks settings or rights of database %s: %s", from, why.message);
    neap_error_clear(&why);
    pg_failure_clear(server->client);
}

bool backup_restore_beside(struct neap_loop *loop, const char *conninfo, const char *target,
                           const struct backup_tool *pg_restore, const struct backup *backup,
                           struct backup_copy *out, struct neap_error *err)
{
    struct backup_server *server = neap_alloc(sizeof *server);
    struct backup_archive_opts archive = {.pg_restore = pg_restore, .backup = backup};
    json_t *mark = json_object();
    *out = (struct backup_copy){0};
    neap_json_set(mark, "backup", neap_json_text(backup->id));
    if (!backup_server_open(loop, conninfo, target, server, err)) {
        free(server);
    } else {
        out->beside = server;
        if (backup_beside_sweep(server, err) && backup_server_check(server, backup->manifest, err))
            (void)backup_beside_restore(server, BACKUP_BESIDE_COPY, &archive, mark, &out->database,
                                        err);
    }
    json_decref(mark);
    if (out->database != NULL)
        lend(server, target, out->database);
    if (out->database != NULL && backup_server_copy(server, out->database, &out->client, err))
        return true;
    backup_copy_end(out);
    return false;
}

bool backup_copy_enliven(struct backup_copy *copy, struct neap_error *err)
{
    struct neap_loop *loop = pg_loop(copy->client);
    if (copy->server == NULL)
        return true;
    char *database = neap_strdup(PQdb(pg_raw(copy->client)));
    pg_close(copy->client);
    copy->client = NULL;
    bool lives = scratch_private_restart(copy->server, err) &&
                 open_client(loop, copy->server, database, "copy", &copy->client, err);
    free(database);
    return lives;
}

bool backup_copy_keep(struct backup_copy *copy, const char *project, char **url,
                      struct neap_error *err)
{
    char *database = neap_strdup(PQdb(pg_raw(copy->client)));
    pg_close(copy->client);
    copy->client = NULL;
    bool kept = scratch_private_keep(copy->server, project, database, url, err);
    if (kept)
        copy->server = NULL;
    free(database);
    return kept;
}

char *backup_copy_url(const struct backup_copy *copy)
{
    if (copy->beside != NULL)
        return backup_server_conninfo(copy->beside, copy->database);
    return scratch_private_url(copy->server, PQdb(pg_raw(copy->client)));
}

const char *backup_copy_version(const struct backup_copy *copy)
{
    return copy->beside != NULL ? copy->beside->version : scratch_private_version(copy->server);
}

/* A copy that stays is named with the command that is allowed to remove it. */
static void end_beside(struct backup_copy *copy)
{
    struct neap_error err = {0};
    if (copy->database != NULL && !backup_beside_drop(copy->beside, copy->database, &err))
        neap_log(NEAP_LOG_WARN, "backup.left",
                 "database %s cannot be removed now, which the next `neap backup verify --on "
                 "target` tries again: %s",
                 copy->database, err.message);
    neap_error_clear(&err);
    backup_server_close(copy->beside);
    free(copy->beside);
}

void backup_copy_end(struct backup_copy *copy)
{
    pg_close(copy->client);
    scratch_private_end(copy->server);
    if (copy->beside != NULL)
        end_beside(copy);
    free(copy->database);
    *copy = (struct backup_copy){0};
}
