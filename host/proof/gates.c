/* SPDX-License-Identifier: MIT
 *
 * The order of the gates, and what is said of each. A gate that fails stops the run before
 * anything of its plan was begun.
 */
#include "host/proof/gates.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/proof/gates_parts.h"

/* Which gates a command can be asked for at all. */
static const bool of_way[][NEAP_GATE_COUNT] = {
    [NEAP_GATES_UP] =
        {[NEAP_GATE_PREFLIGHT] = true, [NEAP_GATE_BACKUP] = true, [NEAP_GATE_REHEARSAL] = true},
    [NEAP_GATES_DOWN] = {[NEAP_GATE_PREFLIGHT] = true, [NEAP_GATE_BACKUP] = true},
    [NEAP_GATES_RESUME] = {[NEAP_GATE_PREFLIGHT] = true},
};

bool neap_gates_wants(const struct neap_gates *gates, enum neap_gate_name gate)
{
    return gates->session->project->env.gates[gate] && of_way[gates->opts->way][gate];
}

void neap_gates_init(struct neap_gates *gates, struct neap_session *session,
                     const struct neap_gates_opts *opts)
{
    *gates = (struct neap_gates){.session = session, .opts = opts, .list = json_array()};
    for (int gate = 0; gate < NEAP_GATE_COUNT; gate++)
        gates->any = gates->any || session->project->env.gates[gate];
}

static void record(struct neap_gates *gates, const json_t *event)
{
    if (gates->session->audit != NULL)
        neap_audit_add(gates->session->audit, "gate", json_deep_copy(event));
}

void neap_gates_say(struct neap_gates *gates, const struct neap_gate_said *said, const char *format,
                    ...)
{
    json_t *event = json_object();
    int64_t spent_ms = said->begun_ms == 0 ? 0 : neap_clock_ms() - said->begun_ms;
    neap_json_set(event, "gate", neap_json_text(said->gate));
    neap_json_set(event, "result", neap_json_text(said->result));
    neap_json_set(event, "by", neap_json_text(said->by));
    neap_json_set(event, "reason", neap_json_text(said->by == NULL ? NULL : gates->opts->reason));
    neap_json_set(event, "duration_ms", json_integer(spent_ms));
    if (said->fields != NULL)
        (void)json_object_update(event, said->fields);
    json_decref(said->fields);
    record(gates, event);
    json_array_append_new(gates->list, event);
    va_list args;
    va_start(args, format);
    char *text = neap_vformat(format, args);
    va_end(args);
    neap_log_progress_end();
    gates->opts->tell(gates->opts->arg, said->result, said->gate, text);
    free(text);
}

/* Of the run itself, and not what a gate found. */
static bool is_own(const struct neap_error *err)
{
    int status = neap_error_exit_status(err);
    return status != neap_error_row(NEAP_ERR_PREFLIGHT_FAILED)->exit_status &&
           status != neap_error_row(NEAP_ERR_BACKUP_FAILED)->exit_status;
}

bool neap_gates_fail(struct neap_gates *gates, const struct neap_gate_said *said, const char *flag,
                     struct neap_error *err)
{
    struct neap_gate_said failed = *said;
    const char *hint = err->hint != NULL ? err->hint : neap_error_row(err->code)->next;
    if (!is_own(err))
        neap_error_hint(err,
                        "%s Nothing of the plan was begun. To go on without this gate: `neap %s "
                        "%s --reason TEXT`.",
                        hint, gates->opts->command, flag);
    failed.result = "failed";
    if (failed.fields == NULL)
        failed.fields = json_object();
    neap_json_set(failed.fields, "error", neap_json_error(err));
    neap_gates_say(gates, &failed, "%s", "nothing of the plan was begun");
    return false;
}

static json_t *preflight_fields(const struct neap_preflight *preflight)
{
    json_t *fields = json_object(), *names = json_array();
    for (size_t i = 0; i < preflight->count; i++)
        if (preflight->rows[i].level == NEAP_CHECK_ERROR)
            json_array_append_new(names, neap_json_text(preflight->rows[i].name));
    neap_json_set(fields, "checks", json_integer((json_int_t)preflight->count));
    neap_json_set(fields, "warnings", json_integer((json_int_t)preflight->warnings));
    neap_json_set(fields, "errors", names);
    return fields;
}

static void warn(const struct neap_preflight *preflight)
{
    for (size_t i = 0; i < preflight->count; i++)
        if (preflight->rows[i].level != NEAP_CHECK_OK)
            neap_log(NEAP_LOG_WARN, "preflight.check", "preflight: %s: %s", preflight->rows[i].name,
                     preflight->rows[i].message);
}

bool neap_gates_preflight(struct neap_gates *gates, struct neap_error *err)
{
    struct neap_preflight *preflight = &gates->preflight;
    struct neap_gate_said said = {
        .gate = "preflight", .result = "passed", .begun_ms = neap_clock_ms()};
    if (!neap_gates_wants(gates, NEAP_GATE_PREFLIGHT))
        return true;
    if (!neap_preflight_run(gates->session, preflight, err))
        return false;
    said.fields = preflight_fields(preflight);
    if (preflight->errors > 0 && !gates->opts->force) {
        neap_preflight_error(preflight, err);
        return neap_gates_fail(gates, &said, "--force", err);
    }
    warn(preflight);
    if (preflight->errors > 0) {
        said.result = "failed";
        said.by = "--force";
    }
    neap_gates_say(gates, &said, "%zu checks, %zu %s%s", preflight->count, preflight->warnings,
                   preflight->warnings == 1 ? "warning" : "warnings",
                   preflight->errors > 0 ? "; the errors were gone over by --force" : "");
    return true;
}

/* What was found before there was a run. */
static void record_preflight(struct neap_gates *gates)
{
    json_t *fields = json_object(), *event;
    size_t i;
    if (gates->preflight.count > 0) {
        neap_json_set(fields, "rows", neap_preflight_json(&gates->preflight));
        neap_audit_add(gates->session->audit, "preflight", json_incref(fields));
    }
    json_decref(fields);
    json_array_foreach(gates->list, i, event) record(gates, event);
}

static bool pass_backup(struct neap_gates *gates, struct neap_plan_item *const *items,
                        struct neap_error *err)
{
    if (gates->opts->way == NEAP_GATES_RESUME &&
        gates->session->project->env.gates[NEAP_GATE_BACKUP])
        return neap_gates_resumed(gates, items[0]->id, err);
    if (!neap_gates_wants(gates, NEAP_GATE_BACKUP))
        return true;
    if (!gates->opts->skip_backup)
        return neap_gates_backup(gates, err);
    neap_gates_say(
        gates,
        &(struct neap_gate_said){.gate = "backup", .result = "skipped", .by = "--skip-backup"},
        "by --skip-backup: there is no way back to the data as it is");
    return true;
}

static bool pass_rehearsal(struct neap_gates *gates, struct neap_plan_item *const *items,
                           size_t count, struct neap_error *err)
{
    if (!neap_gates_wants(gates, NEAP_GATE_REHEARSAL))
        return true;
    if (!gates->opts->skip_rehearsal)
        return neap_gates_rehearsal(gates, items, count, err);
    neap_gates_say(gates,
                   &(struct neap_gate_said){
                       .gate = "rehearsal", .result = "skipped", .by = "--skip-rehearsal"},
                   "by --skip-rehearsal: nobody tried the plan, nor its way back");
    return true;
}

/* Nothing holds the schema still between the gates and the change: a backup of another
 * state is no way back, and what was rehearsed on it proves nothing. */
static bool check_schema(struct neap_gates *gates, struct neap_error *err)
{
    if ((gates->backup.id == NULL && !gates->was_rehearsed) ||
        gates->opts->way == NEAP_GATES_RESUME)
        return true;
    if (!neap_gates_schema(gates, &gates->before, err))
        return false;
    if (gates->backup.id == NULL || backup_is_archive(&gates->backup) ||
        strcmp(gates->before.hash, backup_text(&gates->backup, "fingerprint")) == 0)
        return true;
    neap_error_set(err, NEAP_ERR_BACKUP_CHANGED,
                   "the schema was changed since backup %s was made, by another than this run",
                   gates->backup.id);
    return neap_gates_fail(gates, &(struct neap_gate_said){.gate = "backup"}, "--skip-backup", err);
}

bool neap_gates_pass(struct neap_gates *gates, struct neap_plan_item *const *items, size_t count,
                     struct neap_error *err)
{
    record_preflight(gates);
    bool passed = pass_backup(gates, items, err) && pass_rehearsal(gates, items, count, err) &&
                  check_schema(gates, err);
    gates->session->change.backup_id = gates->backup.id;
    gates->session->change.archive_run = neap_gates_archive_run(gates);
    return neap_audit_sync(gates->session->audit, passed ? err : NULL) && passed;
}

bool neap_gates_schema(struct neap_gates *gates, struct backup_schema *out, struct neap_error *err)
{
    struct pg_client *client = NULL;
    bool read = neap_target_session(gates->session->target, "backup", &client, err) &&
                backup_schema_read(client, out, err);
    pg_close(client);
    return read;
}

void neap_gates_clear(struct neap_gates *gates)
{
    neap_preflight_clear(&gates->preflight);
    backup_clear(&gates->backup);
    free(gates->began);
    backup_copy_end(&gates->copy);
    backup_schema_clear(&gates->before);
    free(gates->rehearsed);
    json_decref(gates->rehearsal);
    json_decref(gates->list);
    *gates = (struct neap_gates){0};
}
