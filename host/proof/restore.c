/* SPDX-License-Identifier: MIT
 *
 * What every restore does: the server, the room there, the files, the new database, the
 * comparison. Who uses it next has statistics to plan with: ANALYZE is part of it.
 */
#include "host/proof/restore.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_conninfo.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/proof/proof.h"
#include "host/proof/proof_compare.h"
#include "host/proof/proof_run.h"
#include "host/proof/restore_parts.h"

bool restore_record(struct restore *restore, const char *event, json_t *fields, bool sync,
                    struct neap_error *err)
{
    neap_audit_add(restore->audit, event, fields);
    return !sync || neap_audit_sync(restore->audit, err);
}

void restore_failed(json_t *fields, const struct neap_error *err)
{
    neap_json_set(fields, "ok", json_boolean(err->code == NEAP_OK));
    if (err->code != NEAP_OK)
        neap_json_set(fields, "error", neap_json_error(err));
}

void restore_clear(struct restore *restore)
{
    backup_server_close(&restore->server);
    free(restore->name);
}

/* The role that restores may be another than the scripts'; only then it may be one whom no
 * rule holds. */
static bool check_role(const struct restore *restore, struct neap_error *err)
{
    const struct neap_environment *env = &restore->project->env;
    if (!restore->server.superuser || !env->is_protected || env->allow_superuser ||
        env->restore != NULL)
        return true;
    neap_error_set(err, NEAP_ERR_POLICY_REFUSED,
                   "%s is a superuser, and environment %s is protected", restore->server.user,
                   env->name);
    neap_error_hint(err, "Name the role that restores in the environment: `restore = env "
                         "\"RESTORE_URL\"`; it may be a superuser. See `neap help restore`.");
    return false;
}

static bool check_pin(const struct restore *restore, struct neap_error *err)
{
    const struct neap_environment *env = &restore->project->env;
    const char *wanted = restore->session != NULL && restore->session->target != NULL
                             ? restore->session->target->system_identifier
                             : env->system_identifier;
    if (env->scratch || wanted == NULL || strcmp(wanted, restore->server.system_identifier) == 0)
        return true;
    neap_error_set(err, NEAP_ERR_TARGET_WRONG, "environment %s is server %s, and %s is server %s",
                   env->name, wanted, pg_address(restore->server.client),
                   restore->server.system_identifier);
    return false;
}

bool restore_open(struct restore *restore, struct neap_error *err)
{
    const struct neap_environment *env = &restore->project->env;
    const char *conninfo = env->restore != NULL ? env->restore : env->url;
    return backup_server_open(restore->loop, conninfo, restore->target, &restore->server, err) &&
           check_role(restore, err) && check_pin(restore, err) &&
           backup_server_find(&restore->server, restore->target, &restore->target_oid, err);
}

static int64_t number_of(const struct restore *restore, const char *key)
{
    return json_integer_value(json_object_get(restore->backup->manifest, key));
}

/* Known only where the server is on this machine and the role may know where. */
static bool check_room(struct restore *restore, struct neap_error *err)
{
    static const char sql[] = "select setting from pg_catalog.pg_settings"
                              " where name = 'data_directory' and inet_server_addr() is null";
    struct pg_op *op = NULL;
    double bytes = 0;
    char needed[NEAP_PROOF_SIZE], there[NEAP_PROOF_SIZE];
    if (!pg_exec_text(restore->server.client, sql, 0, NULL, &op, err))
        return false;
    const char *dir = pg_rows(op) == 1 ? pg_cell(op, 0, 0) : NULL;
    int64_t size = number_of(restore, "database_bytes");
    bool room = dir == NULL || !neap_path_free_bytes(dir, &bytes) || bytes > (double)size;
    if (!room) {
        neap_proof_size(size, needed);
        neap_proof_size((int64_t)bytes, there);
        neap_error_set(err, NEAP_ERR_BACKUP_DISK,
                       "%s are free at %s, and the backup is of a database of %s", there, dir,
                       needed);
        neap_error_hint(err, "Make room there: the target stays beside what is restored.");
    }
    pg_op_free(op);
    return room;
}

bool restore_check_kind(const struct backup *backup, struct neap_error *err)
{
    const char *kind = backup_text(backup, "kind");
    if (strcmp(kind, "full") == 0)
        return true;
    neap_error_set(err, NEAP_ERR_BACKUP_UNPROVED, "backup %s has the %s alone", backup->id, kind);
    neap_error_hint(err, "Take a full one: `neap backup list` shows them.");
    return false;
}

static void on_bytes(void *arg, struct pg_op *op)
{
    struct restore *restore = arg;
    if (pg_op_error(op) == NULL && pg_rows(op) == 1)
        restore->bytes = pg_cell_int(op, 0, 0);
    restore->asking = false;
}

/* Once a second while pg_restore is at work: asks for the next time, tells the last. */
static void on_silence(void *arg, const char *what, int64_t waited_ms)
{
    struct restore *restore = arg;
    struct pg_client *client = restore->server.client;
    struct pg_param run = PG_TEXT(neap_loop_run(restore->loop)->id);
    struct pg_statement statement = {
        .sql = "select pg_catalog.pg_database_size(oid) from pg_catalog.pg_database"
               " where datname = 'neap_restore_' || pg_catalog.lower("
               "pg_catalog.translate($1, '-', '_'))",
        .params = &run,
        .param_count = 1,
        .call_id = -1,
        .done = on_bytes,
        .arg = restore};
    char done[NEAP_PROOF_SIZE], total[NEAP_PROOF_SIZE], spent[NEAP_DURATION_SIZE];
    (void)what;
    (void)waited_ms;
    if (!restore->asking && !pg_is_lost(client) && pg_transaction_status(client) == PQTRANS_IDLE)
        restore->asking = pg_send(client, &statement, NULL, NULL);
    neap_proof_size(restore->bytes, done);
    neap_proof_size(number_of(restore, "database_bytes"), total);
    neap_duration_text(neap_clock_ms() - restore->begun_ms, spent);
    neap_log_progress("restore: %s of about %s, %s", done, total, spent);
}

json_t *restore_mark(const struct restore *restore, const char *state)
{
    json_t *mark = json_object();
    neap_json_set(mark, "backup",
                  neap_json_text(restore->backup == NULL ? NULL : restore->backup->id));
    neap_json_set(mark, "target", neap_json_text(restore->target));
    neap_json_set(mark, "target_oid", json_integer(restore->target_oid));
    neap_json_set(mark, "swap", json_boolean(restore->swap));
    neap_json_set(mark, "state", neap_json_text(state));
    return mark;
}

static bool fill(struct restore *restore, const struct backup_tool *pg_restore,
                 struct neap_error *err)
{
    struct backup_archive_opts archive = {
        .pg_restore = pg_restore, .backup = restore->backup, .mappings = restore->swap};
    json_t *mark = restore_mark(restore, "making");
    neap_loop_on_silence(restore->loop, on_silence, restore);
    bool filled = backup_beside_restore(&restore->server, BACKUP_BESIDE_RESTORE, &archive, mark,
                                        &restore->name, err);
    neap_log_progress_end();
    if (restore->session != NULL && restore->session->watch != NULL)
        neap_watch_tell(restore->session->watch);
    else
        neap_loop_on_silence(restore->loop, NULL, NULL);
    json_decref(mark);
    return filled;
}

/* In a session of its own, which is gone when the database is renamed. */
static bool prove(struct restore *restore, struct neap_error *err)
{
    struct pg_client *client = NULL;
    bool same = backup_server_copy(&restore->server, restore->name, &client, err) &&
                neap_proof_compare(restore->backup, client, "restore", err) &&
                pg_exec_text(client, "analyze", 0, NULL, NULL, err);
    pg_close(client);
    return same;
}

static void drop(struct restore *restore)
{
    struct neap_error err = {0};
    if (!backup_beside_drop(&restore->server, restore->name, &err))
        neap_log(NEAP_LOG_WARN, "backup.left",
                 "database %s cannot be removed now; the next `neap restore` tries again: %s",
                 restore->name, err.message);
    neap_error_clear(&err);
    free(restore->name);
    restore->name = NULL;
}

static bool make(struct restore *restore, struct neap_error *err)
{
    struct backup_tool pg_restore = {0};
    json_t *mark = restore_mark(restore, "whole");
    bool made = neap_proof_files(restore->loop, restore->project, restore->backup, "restore",
                                 &pg_restore, err) &&
                backup_beside_sweep(&restore->server, err) && check_room(restore, err) &&
                fill(restore, &pg_restore, err);
    if (made && (!prove(restore, err) || !backup_beside_mark(&restore->server, restore->name,
                                                             BACKUP_BESIDE_RESTORE, mark, err))) {
        drop(restore);
        made = false;
    }
    json_decref(mark);
    backup_tool_clear(&pg_restore);
    return made;
}

bool restore_make(struct restore *restore, struct neap_error *err)
{
    json_t *fields = json_object();
    bool made = make(restore, err);
    neap_log_progress_end();
    if (!made)
        neap_proof_restore_error(err);
    neap_json_set(fields, "backup", neap_json_text(restore->backup->id));
    neap_json_set(fields, "database", neap_json_text(restore->name));
    neap_json_set(fields, "ms", json_integer(neap_clock_ms() - restore->begun_ms));
    restore_failed(fields, err);
    if (!restore_record(restore, "restore.copy", fields, made, made ? err : NULL) && made) {
        drop(restore);
        made = false;
    }
    return made;
}

/* "shop_restored_20261121t064453" */
static char *name_new(const struct restore *restore)
{
    const char *database = backup_text(restore->backup, "database");
    char *name = neap_format("%.40s_restored_%.15s", database, neap_loop_run(restore->loop)->id);
    char *at = strrchr(name, 'T');
    if (at != NULL)
        *at = 't';
    return name;
}

static bool check_free(const struct restore *restore, const char *name, struct neap_error *err)
{
    int64_t oid = 0;
    if (!backup_server_find(&restore->server, name, &oid, err) || oid == 0)
        return err->code == NEAP_OK;
    neap_error_set(err, NEAP_ERR_RESTORE_EXISTS, "there is a database %s already", name);
    neap_error_hint(err, "Give another name with `--into NAME`. To put a backup in the place of "
                         "the target: `--swap`.");
    return false;
}

/* Whole and compared: only now it is called as somebody expects. */
static bool give_name(struct restore *restore, const char *name, struct neap_error *err)
{
    struct pg_client *client = restore->server.client;
    char *ident = NULL;
    bool given = pg_ident(client, name, strlen(name), &ident, err) &&
                 pg_exec_text(client, "begin", 0, NULL, NULL, err);
    char *rename = neap_format("alter database %s rename to %s", restore->name, ident);
    char *limit = neap_format("alter database %s connection limit -1", ident);
    given = given && pg_exec_text(client, rename, 0, NULL, NULL, err) &&
            pg_exec_text(client, limit, 0, NULL, NULL, err) &&
            pg_exec_text(client, "commit", 0, NULL, NULL, err);
    free(rename);
    free(limit);
    free(ident);
    if (!given) {
        pg_cleanup(client, true);
        pg_failure_clear(client);
        (void)pg_exec_text(client, "rollback", 0, NULL, NULL, NULL);
        pg_cleanup(client, false);
        drop(restore);
        return false;
    }
    free(restore->name);
    restore->name = neap_strdup(name);
    return true;
}

static json_t *begin_fields(const struct restore *restore, const char *name)
{
    json_t *fields = json_object();
    neap_json_set(fields, "backup", neap_json_text(restore->backup->id));
    neap_json_set(fields, "manifest_sha256", neap_json_text(restore->backup->manifest_sha256));
    neap_json_set(fields, "into", neap_json_text(name));
    return fields;
}

static bool restore_named(struct restore *restore, const char *name, struct neap_error *err)
{
    bool done = restore_check_kind(restore->backup, err) && restore_open(restore, err) &&
                check_free(restore, name, err) &&
                backup_server_check(&restore->server, restore->backup->manifest, err) &&
                restore_record(restore, "restore.begin", begin_fields(restore, name), true, err) &&
                restore_make(restore, err) && give_name(restore, name, err);
    json_t *fields = json_object();
    neap_json_set(fields, "database", neap_json_text(done ? name : NULL));
    restore_failed(fields, err);
    (void)restore_record(restore, "restore.end", fields, false, NULL);
    return done;
}

bool neap_restore_into(struct neap_loop *loop, const struct neap_project *project,
                       const struct neap_restore_opts *opts, const struct backup *backup,
                       json_t **out, struct neap_error *err)
{
    struct neap_proof_run_opts begin = {.project = project,
                                        .backup = backup,
                                        .command = "restore",
                                        .reason = opts->reason,
                                        .ticket = opts->ticket};
    struct neap_proof_run run;
    char *target = pg_conninfo_database(project->env.url);
    struct restore restore = {.loop = loop,
                              .project = project,
                              .opts = opts,
                              .backup = backup,
                              .target = target,
                              .begun_ms = neap_clock_ms()};
    char *name = opts->into != NULL ? neap_strdup(opts->into) : name_new(&restore);
    bool good = neap_proof_run_begin(loop, &begin, &run, err);
    restore.audit = run.audit;
    neap_loop_run(loop)->deadline_ms = neap_clock_deadline_ms(opts->timeout_ms);
    good = good && restore_named(&restore, name, err);
    neap_loop_run(loop)->deadline_ms = NEAP_FOREVER;
    if (good) {
        *out = json_object();
        neap_json_set(*out, "database", neap_json_text(name));
        neap_json_set(*out, "backup", neap_json_text(backup->id));
        neap_json_set(*out, "server", neap_json_text(pg_address(restore.server.client)));
        neap_json_set(*out, "duration_ms", json_integer(neap_clock_ms() - restore.begun_ms));
    }
    good = neap_proof_run_end(&run, good, err);
    restore_clear(&restore);
    free(name);
    free(target);
    return good;
}
