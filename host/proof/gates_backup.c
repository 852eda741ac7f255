/* SPDX-License-Identifier: MIT
 *
 * The gate of the backup. A proved one is taken again where it is young enough and the
 * target is still what was backed up: the same schema, and no migration since. What the
 * application wrote since is why the environment says how old it may be.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/proof/gates_parts.h"
#include "host/proof/retention.h"

/* Of the target as it is now. */
struct present {
    char fingerprint[NEAP_HASH_HEX_SIZE];
    int64_t history, steps; /* rows, of tables that only grow */
};

static bool read_present(struct neap_gates *gates, struct present *out, struct neap_error *err)
{
    struct backup_schema schema = {0};
    bool read = neap_gates_schema(gates, &schema, err) &&
                neap_history_size(gates->session->target->control, &out->history, &out->steps, err);
    memcpy(out->fingerprint, schema.hash, sizeof out->fingerprint);
    backup_schema_clear(&schema);
    return read;
}

static int64_t rows_of(const struct backup *backup, const char *table)
{
    const json_t *tables = json_object_get(backup->manifest, "tables");
    return json_integer_value(json_object_get(json_object_get(tables, table), "rows"));
}

bool neap_gates_is_young(const struct neap_gates *gates, const struct backup *backup)
{
    int64_t at_us = 0, now_us = neap_clock_utc_us();
    return neap_clock_utc_parse(backup_text(backup, "started_at"), &at_us) && at_us <= now_us &&
           now_us - at_us < gates->session->project->env.backup_max_age_ms * 1000;
}

static bool is_of_target(const struct neap_gates *gates, const struct backup *backup)
{
    const struct neap_session *session = gates->session;
    return backup->manifest != NULL && strcmp(backup_text(backup, "kind"), "full") == 0 &&
           strcmp(backup_text(backup, "environment"), session->project->env.name) == 0 &&
           strcmp(backup_text(backup, "identity"), session->target->identity) == 0;
}

static bool is_as_now(const struct backup *backup, const struct present *present)
{
    return strcmp(backup_text(backup, "fingerprint"), present->fingerprint) == 0 &&
           rows_of(backup, "neap.history") == present->history &&
           rows_of(backup, "neap.step") == present->steps;
}

/* The newest that can be taken again, into gates->backup. */
static bool find_again(struct neap_gates *gates, struct neap_error *err)
{
    struct present present = {0};
    struct backup *list = NULL;
    size_t count = 0;
    bool is_read = false;
    if (!backup_list(gates->session->project->env.backup_dir, &list, &count, err))
        return false;
    bool good = true;
    for (size_t i = 0; good && gates->backup.id == NULL && i < count; i++) {
        if (!is_of_target(gates, &list[i]) || !backup_is_proved(&list[i]) ||
            !neap_gates_is_young(gates, &list[i]))
            continue;
        good = is_read || read_present(gates, &present, err);
        is_read = true;
        if (!good || !is_as_now(&list[i], &present) || !backup_hold(&list[i]))
            continue;
        gates->backup = list[i];
        list[i] = (struct backup){0};
    }
    backup_list_free(list, count);
    return good;
}

json_t *neap_gates_backup_fields(const struct neap_gates *gates)
{
    json_t *fields = json_object();
    neap_json_set(fields, "backup", neap_json_text(gates->backup.id));
    neap_json_set(fields, "kind", json_incref(json_object_get(gates->backup.manifest, "kind")));
    neap_json_set(fields, "before_run", neap_json_text(neap_gates_archive_run(gates)));
    neap_json_set(fields, "bytes", json_incref(json_object_get(gates->backup.manifest, "bytes")));
    neap_json_set(fields, "made_at",
                  json_incref(json_object_get(gates->backup.manifest, "started_at")));
    return fields;
}

void neap_gates_say_backup(struct neap_gates *gates, const char *result, int64_t begun_ms)
{
    char size[NEAP_PROOF_SIZE], spent[NEAP_DURATION_SIZE];
    bool again = strcmp(result, "reused") == 0;
    int64_t at_us = neap_clock_utc_us();
    (void)neap_clock_utc_parse(backup_text(&gates->backup, "started_at"), &at_us);
    neap_proof_size(json_integer_value(json_object_get(gates->backup.manifest, "bytes")), size);
    neap_duration_text(again ? (neap_clock_utc_us() - at_us) / 1000 : neap_clock_ms() - begun_ms,
                       spent);
    neap_gates_say(gates,
                   &(struct neap_gate_said){.gate = "backup",
                                            .result = result,
                                            .fields = neap_gates_backup_fields(gates),
                                            .begun_ms = begun_ms},
                   again ? "%s  %s, %s old" : "%s  %s in %s", gates->backup.id, size, spent);
}

static bool make(struct neap_gates *gates, struct neap_error *err)
{
    struct neap_proof_create_opts opts = {
        .dir = gates->session->project->env.backup_dir,
        .kind = BACKUP_FULL,
        .tag = NEAP_GATES_TAG,
        .reason = gates->opts->reason,
        .ticket = gates->opts->ticket,
    };
    neap_log_progress("gate: making a backup of %s", gates->session->target->database);
    return neap_proof_create_in(gates->session, &opts, &gates->backup, err);
}

/* One that is taken again was proved; before it counts, its files are looked at again. */
static bool prove(struct neap_gates *gates, bool again, struct neap_error *err)
{
    struct neap_proof_verify_opts opts = {
        .reason = gates->opts->reason, .ticket = gates->opts->ticket, .quick = again};
    struct neap_gate_said said = {
        .gate = "verify", .result = again ? "reused" : "passed", .begun_ms = neap_clock_ms()};
    char spent[NEAP_DURATION_SIZE];
    json_t *verified = NULL;
    bool wants_copy = neap_gates_wants(gates, NEAP_GATE_REHEARSAL) && !gates->opts->skip_rehearsal;
    size_t tables = json_object_size(json_object_get(gates->backup.manifest, "tables"));
    neap_log_progress("gate: proving backup %s", gates->backup.id);
    bool proved = neap_proof_verify_in(gates->session, &opts, &gates->backup,
                                       wants_copy ? &gates->copy : NULL, &verified, err);
    said.fields = neap_gates_backup_fields(gates);
    neap_json_set(said.fields, "proved_at",
                  json_incref(json_object_get(again ? gates->backup.verified : verified, "at")));
    json_decref(verified);
    if (!proved)
        return neap_gates_fail(gates, &said, "--skip-backup", err);
    neap_duration_text(neap_clock_ms() - said.begun_ms, spent);
    if (again)
        neap_gates_say(gates, &said, "proved before; its files are as they were");
    else
        neap_gates_say(gates, &said, "restored and compared in %s, %zu %s", spent, tables,
                       tables == 1 ? "table" : "tables");
    return true;
}

bool neap_gates_backup(struct neap_gates *gates, struct neap_error *err)
{
    struct neap_gate_said said = {.gate = "backup", .begun_ms = neap_clock_ms()};
    if (gates->session->project->env.archive != NULL)
        return neap_gates_archive(gates, err);
    bool found = find_again(gates, err);
    bool again = gates->backup.id != NULL;
    if (!found || (!again && !make(gates, err)))
        return neap_gates_fail(gates, &said, "--skip-backup", err);
    neap_gates_say_backup(gates, again ? "reused" : "passed", said.begun_ms);
    return prove(gates, again, err);
}

struct named {
    char *backup; /* NULL: the run names none */
};

static bool on_event(void *arg, const char *hash, const json_t *event)
{
    struct named *named = arg;
    const char *backup = neap_retention_gate(event);
    (void)hash;
    if (backup != NULL) {
        free(named->backup);
        named->backup = neap_strdup(backup);
    }
    return true;
}

bool neap_gates_resumed(struct neap_gates *gates, const char *migration, struct neap_error *err)
{
    const struct neap_session *session = gates->session;
    struct neap_step_rows steps = {0};
    struct named named = {0};
    struct neap_error why = {0};
    if (!neap_history_steps(session->target->control, migration, &steps, err))
        return false;
    bool read =
        steps.count == 0 || neap_audit_read(session->project->state_dir, session->target->identity,
                                            steps.rows[0].run_id, on_event, &named, err);
    if (steps.count > 0)
        gates->began = neap_strdup(steps.rows[0].run_id);
    if (read && named.backup != NULL &&
        backup_find(session->project->env.backup_dir, named.backup, NULL, &gates->backup, &why))
        neap_gates_say(gates,
                       &(struct neap_gate_said){.gate = "backup",
                                                .result = "reused",
                                                .fields = neap_gates_backup_fields(gates)},
                       "%s  from before the migration began", gates->backup.id);
    neap_error_clear(&why);
    free(named.backup);
    neap_step_rows_clear(&steps);
    return read;
}
