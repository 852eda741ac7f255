/* SPDX-License-Identifier: MIT
 *
 * Proving a backup. Three things must agree: the files with the manifest's hashes, the
 * manifest with the journal that recorded its making, and the restored copy with what
 * the manifest says of the source. Only the last is proof.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_archive.h"
#include "bindings/backup/backup_restore.h"
#include "bindings/pg/pg_conninfo.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/proof/proof.h"
#include "host/proof/proof_compare.h"

struct verify {
    struct neap_loop *loop;
    const struct neap_project *project;
    const struct neap_proof_verify_opts *opts;
    const struct backup *backup;
    struct backup_copy *kept; /* NULL: the copy is thrown away */
    struct neap_audit *audit;
    struct neap_actor actor;
    struct backup_tool pg_restore;
    char *copy_version; /* of the server that it was restored on */
    int64_t begun_ms;
    int64_t hashed_bytes, told_ms;
};

static json_t *begin_fields(const struct verify *verify)
{
    static const char *const keys[] = {"identity", "environment", "database", NULL};
    json_t *fields = json_object();
    for (const char *const *key = keys; *key != NULL; key++)
        neap_json_set(fields, *key, neap_json_text(backup_text(verify->backup, *key)));
    neap_json_set(fields, "command", neap_json_text("backup verify"));
    neap_json_set(fields, "backup", neap_json_text(verify->backup->id));
    neap_json_set(fields, "neap_version", neap_json_text(NEAP_VERSION));
    neap_json_set(fields, "actor", neap_json_text(verify->actor.name));
    neap_json_set(fields, "who", json_incref(verify->actor.fields));
    neap_json_set(fields, "reason", neap_json_text(verify->opts->reason));
    neap_json_set(fields, "ticket", neap_json_text(verify->opts->ticket));
    return fields;
}

/* The journal that knows the target, without the target. */
static bool begin_run(struct verify *verify, struct neap_error *err)
{
    struct neap_audit_opts opts = {
        .state_dir = verify->project->state_dir,
        .identity = backup_text(verify->backup, "identity"),
        .run_id = neap_loop_run(verify->loop)->id,
        .signing_key = verify->project->signing_key,
    };
    neap_actor_open(&verify->actor);
    return neap_audit_open(&opts, &verify->audit, err) &&
           neap_audit_begin(verify->audit, "", begin_fields(verify), err);
}

static bool end_run(struct verify *verify, const struct neap_error *err)
{
    json_t *fields = json_object();
    neap_json_set(fields, "exit_status",
                  json_integer(err->code == NEAP_OK ? 0 : neap_error_exit_status(err)));
    if (err->code != NEAP_OK)
        neap_json_set(fields, "error", neap_json_error(err));
    neap_audit_add(verify->audit, "run.end", fields);
    return neap_audit_sync(verify->audit, NULL);
}

static void on_hashed(void *arg, int64_t bytes)
{
    struct verify *verify = arg;
    char done[NEAP_PROOF_SIZE], total[NEAP_PROOF_SIZE];
    verify->hashed_bytes += bytes;
    neap_loop_turn(verify->loop); /* a lease must be renewed meanwhile */
    if (neap_clock_ms() - verify->told_ms < 1000)
        return;
    verify->told_ms = neap_clock_ms();
    neap_proof_size(verify->hashed_bytes, done);
    neap_proof_size(json_integer_value(json_object_get(verify->backup->manifest, "bytes")), total);
    neap_log_progress("verify: hashing, %s of %s", done, total);
}

/* What the journal noted when the backup was made. */
struct noted {
    const char *id;
    char *sha256; /* NULL: it knows nothing of this backup */
};

static bool on_event(void *arg, const char *hash, const json_t *event)
{
    struct noted *noted = arg;
    const json_t *fields = json_object_get(event, "data");
    const char *id = json_string_value(json_object_get(fields, "id"));
    const char *sha256 = json_string_value(json_object_get(fields, "manifest_sha256"));
    const char *name = json_string_value(json_object_get(event, "event"));
    (void)hash;
    if (name == NULL || strcmp(name, "backup.end") != 0 || id == NULL || sha256 == NULL ||
        strcmp(id, noted->id) != 0)
        return true;
    free(noted->sha256);
    noted->sha256 = neap_strdup(sha256);
    return true;
}

/* Hashes that lie beside what they are of show accidents. Who changes a dump on purpose
 * changes them too, but not the journal. */
static bool check_journal(const struct verify *verify, struct neap_error *err)
{
    const struct backup *backup = verify->backup;
    struct noted noted = {.id = backup->id};
    if (!neap_audit_read(verify->project->state_dir, backup_text(backup, "identity"),
                         backup_text(backup, "run_id"), on_event, &noted, err))
        return false;
    bool same = noted.sha256 == NULL || strcmp(noted.sha256, backup->manifest_sha256) == 0;
    if (noted.sha256 == NULL)
        neap_log(NEAP_LOG_WARN, "backup.foreign",
                 "the journal here does not know backup %s, so that nothing but its own manifest "
                 "speaks for it",
                 backup->id);
    if (!same) {
        neap_error_set(err, NEAP_ERR_BACKUP_DAMAGED,
                       "the manifest of backup %s is not the one that was written", backup->id);
        neap_error_detail(err, "The journal of the run that made it has another SHA-256 of it.");
    }
    free(noted.sha256);
    return same;
}

static bool check_quick(struct verify *verify, struct neap_error *err)
{
    const json_t *manifest = verify->backup->manifest;
    int major = (int)(json_integer_value(json_object_get(manifest, "server_version_num")) / 10000);
    int dumped_by = (int)strtol(backup_text(verify->backup, "pg_dump_version"), NULL, 10);
    struct backup_watch watch = {
        .run = neap_loop_run(verify->loop), .progress = on_hashed, .arg = verify};
    bool good = check_journal(verify, err) && backup_check(verify->backup, &watch, err);
    neap_log_progress_end();
    return good &&
           backup_tool_find(verify->loop, "pg_restore", dumped_by > major ? dumped_by : major,
                            &verify->pg_restore, err) &&
           backup_archive_list(verify->loop, &verify->pg_restore, verify->backup, err);
}

/* Definitions read otherwise in another major version: equal would prove little, and
 * different nothing. */
static bool check_version(struct verify *verify, struct neap_error *err)
{
    json_int_t number =
        json_integer_value(json_object_get(verify->backup->manifest, "server_version_num"));
    int major = (int)(number / 10000);
    struct backup_tool server;
    bool found = backup_tool_find(verify->loop, "postgres", major, &server, err);
    bool same = found && server.major == major;
    if (found && !same) {
        neap_error_set(err, NEAP_ERR_BACKUP_VERSION,
                       "the backup is of PostgreSQL %d, and the server here is %s", major,
                       server.version);
        neap_error_hint(err,
                        "Install the package postgresql-%d, or set NEAP_PG_BINDIR to its "
                        "directory.",
                        major);
    }
    if (same)
        verify->copy_version = neap_strdup(server.version);
    backup_tool_clear(&server);
    return same;
}

/* On a server of its own, or beside the target. */
static bool restore(struct verify *verify, struct backup_copy *out, struct neap_error *err)
{
    const struct neap_environment *env = &verify->project->env;
    if (!verify->opts->on_target)
        return check_version(verify, err) &&
               backup_restore(verify->loop, &verify->pg_restore, verify->backup, out, err);
    char *target = pg_conninfo_database(env->url);
    bool restored = backup_restore_beside(verify->loop, env->url, target, &verify->pg_restore,
                                          verify->backup, out, err);
    if (restored)
        verify->copy_version = neap_strdup(backup_copy_version(out));
    free(target);
    return restored;
}

static bool check_full(struct verify *verify, struct neap_error *err)
{
    struct backup_copy copy = {0};
    if (strcmp(backup_text(verify->backup, "kind"), "data") == 0) {
        neap_error_set(err, NEAP_ERR_BACKUP_UNPROVED,
                       "backup %s has data and no schema, so it cannot be restored alone",
                       verify->backup->id);
        return false;
    }
    bool restored = restore(verify, &copy, err);
    bool same = restored && neap_proof_compare(verify->backup, copy.client, "verify", err);
    if (same && verify->kept != NULL)
        *verify->kept = copy;
    else if (restored)
        backup_copy_end(&copy);
    return same;
}

/* Of the backup itself, and not of the place where it was checked. */
static bool is_verdict(const struct neap_error *err)
{
    return err->code == NEAP_OK || err->code == NEAP_ERR_BACKUP_DAMAGED ||
           err->code == NEAP_ERR_BACKUP_DIFFERS;
}

static json_t *verdict(const struct verify *verify, const struct neap_error *err)
{
    json_t *json = json_object();
    char now[NEAP_UTC_SIZE];
    bool ok = err->code == NEAP_OK;
    neap_clock_utc(now);
    neap_json_set(json, "level", neap_json_text(verify->opts->quick ? "quick" : "full"));
    neap_json_set(json, "ok", json_boolean(ok));
    neap_json_set(json, "at", neap_json_text(now));
    neap_json_set(json, "seconds",
                  json_real((double)(neap_clock_ms() - verify->begun_ms) / 1000.0));
    neap_json_set(json, "server_version", neap_json_text(verify->copy_version));
    neap_json_set(json, "error", ok ? json_null() : neap_json_error(err));
    neap_json_set(json, "run_id", neap_json_text(neap_loop_run(verify->loop)->id));
    return json;
}

/* A quick look that finds nothing takes no proof away. */
static void keep(struct verify *verify, const struct neap_error *found, json_t **out)
{
    struct neap_error err = {0};
    bool proved = backup_is_proved(verify->backup);
    json_t *json = verdict(verify, found);
    json_t *fields = json_deep_copy(json);
    neap_json_set(fields, "id", neap_json_text(verify->backup->id));
    neap_audit_add(verify->audit, "backup.verified", fields);
    if (!is_verdict(found)) {
        json_decref(json);
        return;
    }
    *out = json_incref(json);
    if (verify->opts->quick && found->code == NEAP_OK && proved) {
        json_decref(json);
        return;
    }
    if (!backup_mark(verify->backup, json, &err))
        neap_log(NEAP_LOG_WARN, "backup.unmarked", "what was found is not kept: %s", err.message);
    neap_error_clear(&err);
}

static bool check(struct verify *verify, json_t **verified, struct neap_error *err)
{
    struct neap_run *run = neap_loop_run(verify->loop);
    run->deadline_ms = neap_clock_deadline_ms(verify->opts->timeout_ms);
    bool good = check_quick(verify, err) && (verify->opts->quick || check_full(verify, err));
    run->deadline_ms = NEAP_FOREVER;
    /* The copy's server, not the target. */
    if (!good && err->code == NEAP_ERR_DB_CONNECT && !verify->opts->on_target)
        err->code = NEAP_ERR_BACKUP_FAILED;
    neap_proof_error(err);
    keep(verify, err, verified);
    return good;
}

static void clear(struct verify *verify)
{
    neap_actor_clear(&verify->actor);
    backup_tool_clear(&verify->pg_restore);
    free(verify->copy_version);
}

bool neap_proof_verify_in(struct neap_session *session, const struct neap_proof_verify_opts *opts,
                          const struct backup *backup, struct backup_copy *kept, json_t **verified,
                          struct neap_error *err)
{
    struct verify verify = {.loop = session->loop,
                            .project = session->project,
                            .opts = opts,
                            .backup = backup,
                            .kept = kept,
                            .audit = session->audit,
                            .begun_ms = neap_clock_ms()};
    *verified = NULL;
    /* What this run recorded of the backup is looked for in the journal. */
    bool good = neap_audit_sync(session->audit, err) && check(&verify, verified, err);
    clear(&verify);
    return good;
}

bool neap_proof_verify(struct neap_loop *loop, const struct neap_project *project,
                       const struct neap_proof_verify_opts *opts, const struct backup *backup,
                       json_t **verified, struct neap_error *err)
{
    struct verify verify = {.loop = loop,
                            .project = project,
                            .opts = opts,
                            .backup = backup,
                            .begun_ms = neap_clock_ms()};
    *verified = NULL;
    bool good = begin_run(&verify, err);
    if (good) {
        good = check(&verify, verified, err);
        if (!end_run(&verify, err) && good) {
            neap_error_set(err, NEAP_ERR_AUDIT_INCOMPLETE,
                           "the end of this run could not be written to the journal");
            good = false;
        }
    }
    neap_audit_close(verify.audit);
    clear(&verify);
    return good;
}
