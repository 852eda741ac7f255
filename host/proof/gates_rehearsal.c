/* SPDX-License-Identifier: MIT
 *
 * The gate of the rehearsal, on the copy that proved the backup, so that it is restored
 * once. What the plan did to the schema of the copy is kept: after the change the target's
 * must have changed in the same way.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/proof/gates_parts.h"
#include "host/proof/rehearse.h"

/* Of nothing, and of a backup of the whole server, no copy can be made here: the schema as
 * it is now must do, without rows. */
static bool has_rows(const struct neap_gates *gates)
{
    return gates->backup.id != NULL && !backup_is_archive(&gates->backup);
}

static const char *from_of(const struct neap_gates *gates)
{
    return has_rows(gates) ? gates->backup.id : "live-schema";
}

static bool need_copy(struct neap_gates *gates, struct neap_error *err)
{
    struct neap_rehearse_copy copy;
    struct neap_rehearse_source source = {.store = gates->session->project->env.backup_dir,
                                          .from = from_of(gates)};
    if (gates->copy.client != NULL)
        return true;
    if (!neap_rehearse_copy_begin(gates->session, &source, &copy, err))
        return false;
    gates->copy = copy.copy;
    free(copy.from);
    return true;
}

/* The rest of it is in the event rehearsal.end. */
static json_t *fields_of(const struct neap_gates *gates, size_t count)
{
    json_t *fields = json_object();
    neap_json_set(fields, "from", neap_json_text(from_of(gates)));
    neap_json_set(fields, "migrations", json_integer((json_int_t)count));
    return fields;
}

static bool rehearse(struct neap_gates *gates, struct neap_plan_item *const *items, size_t count,
                     struct neap_rehearsal *rehearsal, struct neap_error *err)
{
    struct backup_schema before = {0}, after = {0};
    struct neap_rehearse_opts opts = {
        .from = from_of(gates), .has_rows = has_rows(gates), .items = items, .count = count};
    bool done = need_copy(gates, err) && backup_schema_read(gates->copy.client, &before, err) &&
                neap_rehearse(gates->session, &gates->copy, &opts, rehearsal, err) &&
                backup_schema_read(gates->copy.client, &after, err);
    if (done)
        gates->rehearsed = backup_schema_diff(&before, &after);
    backup_schema_clear(&before);
    backup_schema_clear(&after);
    return done;
}

bool neap_gates_rehearsal(struct neap_gates *gates, struct neap_plan_item *const *items,
                          size_t count, struct neap_error *err)
{
    struct neap_gate_said said = {
        .gate = "rehearsal", .result = "passed", .begun_ms = neap_clock_ms()};
    struct neap_rehearsal rehearsal = {0};
    char spent[NEAP_DURATION_SIZE];
    neap_log_progress("gate: rehearsing %zu %s on a copy", count,
                      count == 1 ? "migration" : "migrations");
    bool done = rehearse(gates, items, count, &rehearsal, err);
    backup_copy_end(&gates->copy);
    gates->copy = (struct backup_copy){0};
    said.fields = fields_of(gates, count);
    neap_duration_text(neap_clock_ms() - said.begun_ms, spent);
    if (done)
        neap_gates_say(gates, &said, "%zu %s up, down and up again in %s", count,
                       count == 1 ? "migration" : "migrations", spent);
    else
        neap_gates_fail(gates, &said, "--skip-rehearsal", err);
    gates->was_rehearsed = done;
    gates->rehearsal = json_incref(rehearsal.json);
    neap_rehearsal_clear(&rehearsal);
    return done;
}
