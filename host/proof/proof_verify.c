/* SPDX-License-Identifier: MIT
 *
 * Proving a backup. Three things must agree: the files with the manifest's hashes, the
 * manifest with the journal that recorded its making, and the restored copy with what
 * the manifest says of the source. Only the last is proof.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_restore.h"
#include "bindings/pg/pg_conninfo.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/proof/proof.h"
#include "host/proof/proof_archive.h"
#include "host/proof/proof_compare.h"
#include "host/proof/proof_run.h"

struct verify {
    struct neap_loop *loop;
    const struct neap_project *project;
    const struct neap_proof_verify_opts *opts;
    const struct backup *backup;
    struct backup_copy *kept; /* NULL: the copy is thrown away */
    struct neap_audit *audit; /* borrowed */
    struct backup_tool pg_restore;
    char *copy_version; /* of the server that it was restored on */
    int64_t begun_ms;
};

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
    const char *conninfo = env->restore != NULL ? env->restore : env->url;
    bool restored = backup_restore_beside(verify->loop, conninfo, target, &verify->pg_restore,
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

/* Nothing is restored here: a whole server's files go where a whole server can. */
static bool check_archive(const struct verify *verify, struct neap_error *err)
{
    if (verify->opts->on_target) {
        neap_error_set(err, NEAP_ERR_BACKUP_UNPROVED,
                       "backup %s is of the whole server, and no database beside the target",
                       verify->backup->id);
        neap_error_hint(err, "`neap backup verify %s` has the tool read it again.",
                        verify->backup->id);
        return false;
    }
    return neap_proof_sums(verify->loop, verify->project, verify->backup, "verify", err) &&
           neap_proof_archive_check(verify->loop, &verify->project->env, verify->backup,
                                    verify->opts->quick, err);
}

static const char *level_of(const struct verify *verify)
{
    if (verify->opts->quick)
        return "quick";
    return backup_is_archive(verify->backup) ? BACKUP_ARCHIVE : "full";
}

/* No quick look takes it away. */
static bool was_read(const struct backup *backup)
{
    const char *level = json_string_value(json_object_get(backup->verified, "level"));
    return json_is_true(json_object_get(backup->verified, "ok")) && level != NULL &&
           strcmp(level, "quick") != 0;
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
    neap_json_set(json, "level", neap_json_text(level_of(verify)));
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
    bool proved = was_read(verify->backup);
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

static bool check_dump(struct verify *verify, struct neap_error *err)
{
    return neap_proof_files(verify->loop, verify->project, verify->backup, "verify",
                            &verify->pg_restore, err) &&
           (verify->opts->quick || check_full(verify, err));
}

static bool check(struct verify *verify, json_t **verified, struct neap_error *err)
{
    struct neap_run *run = neap_loop_run(verify->loop);
    run->deadline_ms = neap_clock_deadline_ms(verify->opts->timeout_ms);
    bool good =
        backup_is_archive(verify->backup) ? check_archive(verify, err) : check_dump(verify, err);
    run->deadline_ms = NEAP_FOREVER;
    /* The copy's server, not the target. */
    if (!good && err->code == NEAP_ERR_DB_CONNECT && !verify->opts->on_target)
        err->code = NEAP_ERR_BACKUP_FAILED;
    if (verify->opts->on_target)
        neap_proof_restore_error(err);
    else
        neap_proof_error(err);
    keep(verify, err, verified);
    return good;
}

static void clear(struct verify *verify)
{
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
    struct neap_proof_run_opts begin = {.project = project,
                                        .backup = backup,
                                        .command = "backup verify",
                                        .reason = opts->reason,
                                        .ticket = opts->ticket};
    struct neap_proof_run run;
    *verified = NULL;
    bool good = neap_proof_run_begin(loop, &begin, &run, err);
    verify.audit = run.audit;
    good = good && check(&verify, verified, err);
    good = neap_proof_run_end(&run, good, err);
    clear(&verify);
    return good;
}
