/* SPDX-License-Identifier: MIT
 *
 * The gate of the backup where a tool archives the whole server. With its WAL a backup is
 * the way back to any moment after it, so that a young one is taken again whatever changed
 * since: what must hold is that WAL still arrives.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_pitr.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/proof/gates_parts.h"
#include "host/proof/proof_archive.h"

static const struct backup_pitr *rule_of(const struct neap_gates *gates)
{
    return gates->session->project->env.archive;
}

static bool was_read(const struct neap_gates *gates, const struct backup *backup)
{
    const char *level = json_string_value(json_object_get(backup->verified, "level"));
    if (!rule_of(gates)->verify)
        return backup->verified == NULL || json_is_true(json_object_get(backup->verified, "ok"));
    return json_is_true(json_object_get(backup->verified, "ok")) && level != NULL &&
           strcmp(level, BACKUP_ARCHIVE) == 0;
}

/* One of before a failover, or of before somebody went back in time, may lead to what the
 * server is now, or not: a gate does not guess. */
static bool is_of_timeline(const struct neap_gates *gates, const struct backup *backup)
{
    const json_t *archive = json_object_get(backup->manifest, "archive");
    return json_integer_value(json_object_get(archive, "timeline")) ==
           strtoll(gates->session->target->timeline, NULL, 10);
}

static bool can_be_taken(const struct neap_gates *gates, const struct backup *backup)
{
    const struct neap_session *session = gates->session;
    return backup_is_archive(backup) && neap_gates_is_young(gates, backup) &&
           strcmp(backup_text(backup, "identity"), session->target->identity) == 0 &&
           neap_proof_archive_rule(&session->project->env, backup, NULL) != NULL &&
           is_of_timeline(gates, backup) && was_read(gates, backup);
}

static bool find_again(struct neap_gates *gates, struct neap_error *err)
{
    struct backup *list = NULL;
    size_t count = 0;
    if (!backup_list(gates->session->project->env.backup_dir, &list, &count, err))
        return false;
    for (size_t i = 0; gates->backup.id == NULL && i < count; i++) {
        if (!can_be_taken(gates, &list[i]) || !backup_hold(&list[i]))
            continue;
        gates->backup = list[i];
        list[i] = (struct backup){0};
    }
    backup_list_free(list, count);
    return true;
}

static bool read_again(struct neap_gates *gates, bool again, struct neap_error *err)
{
    struct neap_proof_verify_opts opts = {.reason = gates->opts->reason,
                                          .ticket = gates->opts->ticket,
                                          .quick = again || !rule_of(gates)->verify};
    struct neap_gate_said said = {
        .gate = "verify", .result = again ? "reused" : "passed", .begun_ms = neap_clock_ms()};
    char spent[NEAP_DURATION_SIZE];
    json_t *verified = NULL;
    neap_log_progress("gate: verifying backup %s", gates->backup.id);
    bool good = neap_proof_verify_in(gates->session, &opts, &gates->backup, NULL, &verified, err);
    json_decref(verified);
    said.fields = neap_gates_backup_fields(gates);
    if (!good)
        return neap_gates_fail(gates, &said, "--skip-backup", err);
    neap_duration_text(neap_clock_ms() - said.begun_ms, spent);
    if (opts.quick)
        neap_gates_say(gates, &said, "%s has it, and WAL arrives; it was not read again",
                       backup_pitr_name(rule_of(gates)->tool));
    else
        neap_gates_say(gates, &said, "%s read it again in %s; nothing was restored",
                       backup_pitr_name(rule_of(gates)->tool), spent);
    return true;
}

const char *neap_gates_archive_run(const struct neap_gates *gates)
{
    if (gates->backup.id == NULL || !backup_is_archive(&gates->backup))
        return NULL;
    return gates->began == NULL ? neap_loop_run(gates->session->loop)->id : gates->began;
}

bool neap_gates_archive(struct neap_gates *gates, struct neap_error *err)
{
    struct neap_session *session = gates->session;
    struct neap_gate_said said = {.gate = "backup", .begun_ms = neap_clock_ms()};
    struct neap_proof_create_opts opts = {.dir = session->project->env.backup_dir,
                                          .archive = true,
                                          .tag = NEAP_GATES_TAG,
                                          .reason = gates->opts->reason,
                                          .ticket = gates->opts->ticket};
    bool found = find_again(gates, err);
    bool again = gates->backup.id != NULL;
    neap_log_progress("gate: a backup of the server of %s", session->target->database);
    if (again)
        found = backup_pitr_check(session->loop, rule_of(gates), session->target->system_identifier,
                                  err);
    if (!found || (!again && !neap_proof_create_in(session, &opts, &gates->backup, err)))
        return neap_gates_fail(gates, &said, "--skip-backup", err);
    neap_gates_say_backup(gates, again ? "reused" : "passed", said.begun_ms);
    return read_again(gates, again, err);
}
