/* SPDX-License-Identifier: MIT
 *
 * Where the copy comes from. A dump of the live schema lies in a place that is locked while
 * neap uses it, so that the next rehearsal removes what a killed one left.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_dump.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/proof/proof.h"
#include "host/proof/rehearse.h"
#include "host/proof/rehearse_place.h"

static const char live_schema[] = "live-schema";

static bool is_restorable(const struct backup *backup)
{
    return backup->manifest != NULL && !backup_is_archive(backup) &&
           strcmp(backup_text(backup, "kind"), "data") != 0;
}

/* By its whole id, so that another lookup gives the same. */
static bool find_newest(const struct neap_session *target, const char *store, char **id,
                        struct neap_error *err)
{
    struct backup *backups = NULL;
    size_t count = 0;
    const char *environment = target->project->env.name;
    if (!backup_list(store, &backups, &count, err))
        return false;
    for (size_t i = 0; *id == NULL && i < count; i++)
        if (is_restorable(&backups[i]) &&
            strcmp(backup_text(&backups[i], "environment"), environment) == 0)
            *id = neap_strdup(backups[i].id);
    backup_list_free(backups, count);
    if (*id != NULL)
        return true;
    neap_error_set(err, NEAP_ERR_BACKUP_UNKNOWN,
                   "there is no backup of %s with a schema in %s to rehearse on", environment,
                   store);
    neap_error_hint(err, "Make one: `neap backup create`; or rehearse on the schema alone, which "
                         "predicts no times: `neap rehearse --from live-schema`.");
    return false;
}

static bool find_backup(const struct neap_session *target, const char *store, const char *from,
                        struct backup *out, struct neap_error *err)
{
    char *newest = NULL;
    bool is_latest = from == NULL || strcmp(from, "latest") == 0;
    bool found = (!is_latest || find_newest(target, store, &newest, err)) &&
                 backup_find(store, is_latest ? newest : from, NULL, out, err);
    free(newest);
    if (found && !is_restorable(out)) {
        neap_error_set(err, NEAP_ERR_BACKUP_UNPROVED,
                       "backup %s has data and no schema, so that nothing can be rehearsed on it",
                       out->id);
        found = false;
    }
    return found;
}

static void warn_of(const struct neap_session *target, const struct backup *backup)
{
    if (!backup_is_proved(backup))
        neap_log(NEAP_LOG_WARN, "rehearsal.unproved",
                 "backup %s was never proved: `neap backup verify %s`", backup->id, backup->id);
    if (strcmp(backup_text(backup, "identity"), target->target->identity) != 0)
        neap_log(NEAP_LOG_WARN, "rehearsal.foreign",
                 "backup %s is of another database than the target: %s on %s", backup->id,
                 backup_text(backup, "database"), backup_text(backup, "address"));
}

static bool restore_with(struct neap_session *target, const struct backup_tool *pg_restore,
                         const struct backup *backup, bool on_target, struct backup_copy *out,
                         struct neap_error *err)
{
    const struct neap_environment *env = &target->project->env;
    if (!on_target)
        return backup_restore(target->loop, pg_restore, backup, out, err);
    const char *conninfo = env->restore != NULL ? env->restore : env->url;
    return backup_restore_beside(target->loop, conninfo, target->target->database, pg_restore,
                                 backup, out, err);
}

static bool restore(struct neap_session *target, const struct backup *backup, bool on_target,
                    struct neap_rehearse_copy *out, struct neap_error *err)
{
    struct backup_tool pg_restore = {0};
    json_int_t number = json_integer_value(json_object_get(backup->manifest, "server_version_num"));
    int major = (int)(number / 10000);
    int dumped_by = (int)strtol(backup_text(backup, "pg_dump_version"), NULL, 10);
    out->from = neap_strdup(backup->id);
    out->has_rows = strcmp(backup_text(backup, "kind"), "full") == 0;
    out->proved = backup_is_proved(backup);
    bool restored = backup_tool_find(target->loop, "pg_restore",
                                     dumped_by > major ? dumped_by : major, &pg_restore, err) &&
                    restore_with(target, &pg_restore, backup, on_target, &out->copy, err);
    backup_tool_clear(&pg_restore);
    return restored;
}

static bool restore_backup(struct neap_session *target, const struct neap_rehearse_source *source,
                           struct neap_rehearse_copy *out, struct neap_error *err)
{
    struct backup backup = {0};
    struct backup_watch watch = {.run = neap_loop_run(target->loop)};
    bool restored = find_backup(target, source->store, source->from, &backup, err);
    if (restored)
        warn_of(target, &backup);
    restored = restored && backup_check(&backup, &watch, err) &&
               restore(target, &backup, source->on_target, out, err);
    backup_clear(&backup);
    return restored;
}

static bool dump_schema(struct neap_session *target, const struct neap_rehearse_place *place,
                        struct backup_source *source, struct neap_error *err)
{
    struct backup_tool pg_dump = {0};
    struct backup_dump *dump = NULL;
    struct pg_client *client = NULL; /* of the role that may read it all */
    char *path = neap_rehearse_path(place, "dump");
    int64_t wait_ms = target->project->env.lock_budget_ms;
    int major = target->target->server_version_num / 10000;
    bool dumped = neap_target_session(target->target, "backup", &client, err) &&
                  backup_tool_find(target->loop, "pg_dump", major, &pg_dump, err) &&
                  backup_source_begin(client, wait_ms, source, err);
    struct backup_dump_opts opts = {.tool = &pg_dump,
                                    .source = source,
                                    .path = path,
                                    .kind = BACKUP_SCHEMA,
                                    .lock_wait_ms = wait_ms};
    dumped =
        dumped && backup_dump_begin(target->loop, &opts, &dump, err) && backup_dump_end(dump, err);
    if (dumped)
        neap_json_set(source->facts, "pg_dump_version", neap_json_text(pg_dump.version));
    pg_close(client); /* and with it the locks */
    backup_tool_clear(&pg_dump);
    free(path);
    return dumped;
}

static bool restore_live(struct neap_session *target, bool on_target,
                         struct neap_rehearse_copy *out, struct neap_error *err)
{
    struct neap_rehearse_place place;
    struct backup_source source = {0};
    bool made = neap_rehearse_place_begin(target, "dump", &place, err) &&
                dump_schema(target, &place, &source, err);
    if (made) {
        neap_json_set(source.facts, "kind", neap_json_text("schema"));
        struct backup live = {.id = (char *)(uintptr_t)live_schema,
                              .path = place.part.path,
                              .manifest = source.facts};
        made = restore(target, &live, on_target, out, err);
    }
    backup_source_clear(&source);
    neap_rehearse_place_end(&place);
    return made;
}

bool neap_rehearse_copy_begin(struct neap_session *target,
                              const struct neap_rehearse_source *source,
                              struct neap_rehearse_copy *out, struct neap_error *err)
{
    *out = (struct neap_rehearse_copy){.from = NULL};
    bool live = source->from != NULL && strcmp(source->from, live_schema) == 0;
    neap_log_progress("rehearsal: restoring %s", live ? "the schema of the target" : "the backup");
    bool made = live ? restore_live(target, source->on_target, out, err)
                     : restore_backup(target, source, out, err);
    neap_log_progress_end();
    if (!made) {
        bool own = !live && !source->on_target; /* the copy's server, not the target */
        if (err->code == NEAP_ERR_DB_CONNECT && own)
            err->code = NEAP_ERR_BACKUP_FAILED;
        if (source->on_target)
            neap_proof_restore_error(err);
        else
            neap_proof_error(err);
        neap_rehearse_copy_end(out);
    }
    return made;
}

void neap_rehearse_copy_end(struct neap_rehearse_copy *copy)
{
    backup_copy_end(&copy->copy);
    free(copy->from);
    *copy = (struct neap_rehearse_copy){.from = NULL};
}
