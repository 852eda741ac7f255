/* SPDX-License-Identifier: MIT
 *
 * What would fail after an hour of copying is looked at first: the stanza is this server's,
 * and its WAL arrives. The record is made last, when the tool itself lists the backup.
 */
#include "host/proof/proof_archive.h"

#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_pitr.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/path.h"
#include "host/proof/proof_manifest.h"

struct archive {
    struct neap_session *session;
    const struct neap_proof_create_opts *opts;
    const struct backup_pitr *rule;
    struct backup_part part;
    json_t *manifest;
    char sha256[NEAP_HASH_HEX_SIZE]; /* of the manifest */
    int64_t begun_ms;
};

static const char *const not_included[] = {"the files, which the tool keeps and expires",
                                           "what was written since and did not reach its archive",
                                           NULL};

static void on_progress(void *arg, double percent)
{
    const struct archive *archive = arg;
    char spent[NEAP_DURATION_SIZE], done[16] = "";
    neap_duration_text(neap_clock_ms() - archive->begun_ms, spent);
    if (percent >= 0)
        (void)snprintf(done, sizeof done, "%.0f %%, ", percent);
    neap_log_progress("backup: %s, %s%s", backup_pitr_name(archive->rule->tool), done, spent);
}

static void on_silence(void *arg, const char *what, int64_t waited_ms)
{
    (void)what;
    (void)waited_ms;
    on_progress(arg, -1);
}

static void set_text(json_t *object, const char *key, const char *text)
{
    if (text != NULL)
        neap_json_set(object, key, neap_json_text(text));
}

static json_t *set_json(const struct backup_pitr *rule, const struct backup_pitr_set *set)
{
    json_t *json = json_object();
    set_text(json, "tool", backup_pitr_name(rule->tool));
    set_text(json, "server", rule->server);
    set_text(json, "label", set->label);
    set_text(json, "type", set->type);
    set_text(json, "start_lsn", set->start_lsn);
    set_text(json, "end_lsn", set->end_lsn);
    set_text(json, "start_wal", set->start_wal);
    set_text(json, "end_wal", set->end_wal);
    set_text(json, "directory", set->directory);
    neap_json_set(json, "timeline", json_integer(set->timeline));
    return json;
}

static void begin_manifest(struct archive *archive)
{
    const struct neap_target *target = archive->session->target;
    json_t *manifest = archive->manifest =
        neap_proof_manifest(archive->session, archive->opts, BACKUP_ARCHIVE, not_included);
    neap_json_set(manifest, "database", neap_json_text(target->database));
    neap_json_set(manifest, "server_version", neap_json_text(target->server_version));
    neap_json_set(manifest, "server_version_num", json_integer(target->server_version_num));
}

/* The same as in the manifest, for a store without a file is none. */
static bool write_record(struct archive *archive, struct neap_error *err)
{
    char *path = neap_path_join(archive->part.path, "archive.json");
    char *text = neap_json_pretty(json_object_get(archive->manifest, "archive"));
    bool written = backup_file_write(path, text, strlen(text), err);
    free(text);
    free(path);
    return written;
}

static bool seal(struct archive *archive, const struct backup_pitr_set *set, struct neap_error *err)
{
    struct backup_watch watch = {.run = neap_loop_run(archive->session->loop), .sync = true};
    neap_json_set(archive->manifest, "archive", set_json(archive->rule, set));
    neap_json_set(archive->manifest, "database_bytes", json_integer(set->database_bytes));
    neap_proof_manifest_end(archive->manifest, archive->begun_ms, set->bytes);
    return write_record(archive, err) &&
           backup_part_end(&archive->part, archive->manifest, &watch, archive->sha256, err);
}

static bool make(struct archive *archive, struct neap_error *err)
{
    struct neap_session *session = archive->session;
    struct backup_pitr_watch watch = {.progress = on_progress, .arg = archive};
    struct backup_pitr_set set = {0};
    if (!backup_part_begin(archive->opts->dir, neap_loop_run(session->loop)->id, &archive->part,
                           err))
        return false;
    begin_manifest(archive);
    bool made =
        neap_proof_record_begin(session, archive->manifest, archive->part.dir, err) &&
        backup_pitr_check(session->loop, archive->rule, session->target->system_identifier, err) &&
        backup_pitr_create(session->loop, archive->rule, &watch, &set, err) &&
        seal(archive, &set, err);
    backup_pitr_set_clear(&set);
    return made;
}

bool neap_proof_archive(struct neap_session *session, const struct neap_proof_create_opts *opts,
                        struct backup *out, struct neap_error *err)
{
    struct archive archive = {.session = session,
                              .opts = opts,
                              .rule = session->project->env.archive,
                              .part = {.fd = -1},
                              .begun_ms = neap_clock_ms()};
    int64_t limit_ms = opts->timeout_ms == 0 ? archive.rule->timeout_ms : opts->timeout_ms;
    neap_loop_on_silence(session->loop, on_silence, &archive);
    neap_loop_run(session->loop)->deadline_ms = neap_clock_deadline_ms(limit_ms);
    bool made = make(&archive, err);
    neap_log_progress_end();
    neap_loop_run(session->loop)->deadline_ms = NEAP_FOREVER;
    neap_watch_tell(session->watch);
    if (!made)
        neap_proof_error(err);
    if (archive.manifest != NULL)
        neap_proof_record_end(session, archive.manifest, archive.sha256, made ? NULL : err);
    if (made)
        neap_proof_give(&archive.part, archive.manifest, archive.sha256, out);
    backup_part_clear(&archive.part);
    json_decref(archive.manifest);
    return made;
}

/* How the tool is run stands in the project, never in a record: who can write the store
 * would choose a program. */
const struct backup_pitr *neap_proof_archive_rule(const struct neap_environment *env,
                                                  const struct backup *backup,
                                                  struct neap_error *err)
{
    const struct backup_pitr *rule = env->archive;
    if (rule != NULL &&
        strcmp(backup_pitr_name(rule->tool), backup_archive_text(backup, "tool")) == 0 &&
        strcmp(rule->server, backup_archive_text(backup, "server")) == 0)
        return rule;
    neap_error_set(err, NEAP_ERR_ARCHIVE_FAILED,
                   "backup %s is in the archive %s of %s, which %s%s does not name", backup->id,
                   backup_archive_text(backup, "server"), backup_archive_text(backup, "tool"),
                   env->name == NULL ? "neap.lua" : "environment ",
                   env->name == NULL ? "" : env->name);
    neap_error_hint(err, "Give `-e %s`, or see its `archive` in neap.lua.",
                    backup_text(backup, "environment"));
    return NULL;
}

bool neap_proof_archive_check(struct neap_loop *loop, const struct neap_environment *env,
                              const struct backup *backup, bool quick, struct neap_error *err)
{
    const struct backup_pitr *rule = neap_proof_archive_rule(env, backup, err);
    const char *label = backup_archive_text(backup, "label");
    if (rule == NULL)
        return false;
    if (!backup_pitr_is_word(label)) {
        neap_error_set(err, NEAP_ERR_BACKUP_DAMAGED, "the record of backup %s has no label",
                       backup->id);
        return false;
    }
    if (neap_loop_run(loop)->deadline_ms == NEAP_FOREVER)
        neap_loop_run(loop)->deadline_ms = neap_clock_deadline_ms(rule->timeout_ms);
    return quick ? backup_pitr_find(loop, rule, label, err)
                 : backup_pitr_verify(loop, rule, label, err);
}
