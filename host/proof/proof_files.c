/* SPDX-License-Identifier: MIT
 *
 * Hashes that lie beside what they are of show accidents. Who changes a dump on purpose
 * changes them too, but not the journal.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_archive.h"
#include "host/base/clock.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/proof/proof.h"
#include "host/proof/proof_run.h"

struct files {
    struct neap_loop *loop;
    const char *state_dir;
    const struct backup *backup;
    const char *command;
    int64_t hashed_bytes, told_ms;
};

static void on_hashed(void *arg, int64_t bytes)
{
    struct files *files = arg;
    char done[NEAP_PROOF_SIZE], total[NEAP_PROOF_SIZE];
    files->hashed_bytes += bytes;
    neap_loop_turn(files->loop); /* a lease must be renewed meanwhile */
    if (neap_clock_ms() - files->told_ms < 1000)
        return;
    files->told_ms = neap_clock_ms();
    neap_proof_size(files->hashed_bytes, done);
    neap_proof_size(json_integer_value(json_object_get(files->backup->manifest, "bytes")), total);
    neap_log_progress("%s: hashing, %s of %s", files->command, done, total);
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

static bool check_journal(const struct files *files, struct neap_error *err)
{
    const struct backup *backup = files->backup;
    struct noted noted = {.id = backup->id};
    if (!neap_audit_read(files->state_dir, backup_text(backup, "identity"),
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

bool neap_proof_sums(struct neap_loop *loop, const struct neap_project *project,
                     const struct backup *backup, const char *command, struct neap_error *err)
{
    struct files files = {.loop = loop,
                          .state_dir = project->state_dir,
                          .backup = backup,
                          .command = command,
                          .told_ms = neap_clock_ms()};
    struct backup_watch watch = {.run = neap_loop_run(loop), .progress = on_hashed, .arg = &files};
    bool good = check_journal(&files, err) && backup_check(backup, &watch, err);
    neap_log_progress_end();
    return good;
}

bool neap_proof_files(struct neap_loop *loop, const struct neap_project *project,
                      const struct backup *backup, const char *command,
                      struct backup_tool *pg_restore, struct neap_error *err)
{
    int major =
        (int)(json_integer_value(json_object_get(backup->manifest, "server_version_num")) / 10000);
    int dumped_by = (int)strtol(backup_text(backup, "pg_dump_version"), NULL, 10);
    return neap_proof_sums(loop, project, backup, command, err) &&
           backup_tool_find(loop, "pg_restore", dumped_by > major ? dumped_by : major, pg_restore,
                            err) &&
           backup_archive_list(loop, pg_restore, backup, err);
}
