/* SPDX-License-Identifier: MIT
 *
 * A script that fails here is told with its own words and place. The schema before each up
 * is kept as the difference that the up made: where a down does not lead back, what was is
 * put together again from it.
 */
#include "host/proof/rehearse_units.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"

void neap_rehearse_units_init(struct neap_rehearse_units *units, struct neap_session *session,
                              struct pg_client *watcher, struct neap_plan_item *const *items,
                              size_t count)
{
    *units = (struct neap_rehearse_units){.session = session,
                                          .watcher = watcher,
                                          .measure = neap_measure_new(session->target, watcher),
                                          .units = neap_alloc((count + 1) * sizeof *units->units),
                                          .count = count,
                                          .list = json_array()};
    for (size_t i = 0; i < count; i++) {
        struct neap_rehearse_unit *unit = &units->units[i];
        unit->item = neap_plan_find(&session->plan, items[i]->id);
        unit->partial = items[i]->state == NEAP_STATE_PARTIAL;
        unit->json = json_object();
        neap_json_set(unit->json, "id", neap_json_text(items[i]->id));
        neap_json_set(unit->json, "name", neap_json_text(items[i]->name));
        neap_json_set(unit->json, "irreversible", json_null());
        neap_json_set(unit->json, "statements", json_array());
        json_array_append_new(units->list, unit->json);
    }
}

void neap_rehearse_units_clear(struct neap_rehearse_units *units)
{
    for (size_t i = 0; i < units->count; i++) {
        free(units->units[i].irreversible);
        free(units->units[i].changes);
    }
    neap_measure_free(units->measure);
    backup_schema_clear(&units->schema);
    json_decref(units->list);
    free(units->units);
    *units = (struct neap_rehearse_units){.units = NULL};
}

/* It is no fault of the script's. */
static bool is_stop(const struct neap_error *err)
{
    return err->code == NEAP_ERR_RUN_INTERRUPTED || err->code == NEAP_ERR_RUN_TERMINATED ||
           err->code == NEAP_ERR_POLICY_REFUSED;
}

/* The script's own error, with its place, as the rehearsal's. */
static void say_failed(const struct neap_rehearse_unit *unit, const char *what,
                       struct neap_error *err)
{
    struct neap_error cause = {0};
    if (is_stop(err))
        return;
    neap_error_move(&cause, err);
    neap_error_copy(err, &cause);
    err->code = NEAP_ERR_REHEARSAL_FAILED;
    free(err->message);
    err->message = neap_format("migration %s %s on the copy: %s", unit->item->id, what,
                               cause.message == NULL ? "no reason given" : cause.message);
    neap_error_hint(err, "%s",
                    "Mend the script, then run `neap rehearse` again; nothing was done to the "
                    "target.");
    neap_error_clear(&cause);
}

/* What the script says of itself, before anything of it runs. */
static bool read_def(struct neap_rehearse_units *units, struct neap_rehearse_unit *unit,
                     struct neap_error *err)
{
    struct neap_session *session = units->session;
    struct neap_script_opts opts = {.loop = session->loop,
                                    .memory_bytes = session->project->env.memory_bytes};
    struct neap_script *script = NULL;
    neap_loop_run(session->loop)->deadline_ms =
        neap_clock_deadline_ms(session->project->env.timeout_ms);
    bool opened = neap_script_open(&opts, &unit->item->source, &script, err);
    neap_loop_run(session->loop)->deadline_ms = NEAP_FOREVER;
    const struct neap_script_def *def = opened ? neap_script_def(script) : NULL;
    for (size_t i = 0; def != NULL && i < def->step_count; i++)
        if (def->steps[i].irreversible != NULL && unit->irreversible == NULL)
            unit->irreversible = neap_strdup(def->steps[i].irreversible);
    if (def != NULL) {
        neap_json_set(unit->json, "irreversible", neap_json_text(unit->irreversible));
        neap_json_set(unit->json, "transaction", json_boolean(def->transaction));
    }
    neap_script_close(script);
    if (!opened)
        say_failed(unit, "cannot be read", err);
    return opened;
}

static bool run_step(struct neap_rehearse_units *units, struct neap_rehearse_unit *unit,
                     enum neap_direction direction, struct neap_error *err)
{
    struct neap_change *change = &units->session->change;
    struct neap_outcome outcome;
    struct neap_unit step = {.id = unit->item->id,
                             .name = unit->item->name,
                             .source = &unit->item->source,
                             .direction = direction,
                             .applied = unit->item->state == NEAP_STATE_APPLIED};
    bool done = neap_change_step(change, &step, &outcome, err);
    if (done)
        unit->item->state = direction == NEAP_UP ? NEAP_STATE_APPLIED : NEAP_STATE_PENDING;
    return done;
}

/* `json`: of the unit, or to be thrown away. */
static bool run_measured(struct neap_rehearse_units *units, struct neap_rehearse_unit *unit,
                         enum neap_direction direction, json_t *json, struct neap_error *err)
{
    struct neap_recorder *recorder = &units->session->change.recorder;
    struct neap_error second = {0};
    if (!neap_measure_begin(units->measure, err))
        return false;
    recorder->observer = neap_measure_observer(units->measure);
    bool done = run_step(units, unit, direction, err);
    recorder->observer = NULL;
    bool measured = neap_measure_end(
        units->measure, direction == NEAP_UP ? NEAP_PART_UP : NEAP_PART_DOWN, json, &second);
    if (done && !measured)
        neap_error_move(err, &second);
    neap_error_clear(&second);
    return done && measured;
}

static bool verify(struct neap_rehearse_units *units, struct neap_rehearse_unit *unit,
                   struct neap_error *err)
{
    char *unverified = NULL;
    struct neap_unit look = {.id = unit->item->id,
                             .name = unit->item->name,
                             .source = &unit->item->source,
                             .direction = NEAP_UP};
    bool held = neap_change_verify(&units->session->change, &look, &unverified, err);
    if (unverified != NULL)
        neap_json_set(unit->json, "unverified", neap_json_text(unverified));
    free(unverified);
    return held;
}

static bool read_schema(struct neap_rehearse_units *units, struct backup_schema *out,
                        struct neap_error *err)
{
    *out = (struct backup_schema){0};
    return backup_schema_read(units->watcher, out, err);
}

static void tell(const struct neap_rehearse_units *units, size_t index, const char *what)
{
    neap_log_progress("rehearsal: %s %s %s, %zu of %zu", what, units->units[index].item->id,
                      units->units[index].item->name, index + 1, units->count);
}

static bool go_up(struct neap_rehearse_units *units, size_t index, struct neap_error *err)
{
    struct neap_rehearse_unit *unit = &units->units[index];
    struct backup_schema after;
    tell(units, index, "up");
    memcpy(unit->before, units->schema.hash, sizeof unit->before);
    neap_json_set(unit->json, "fingerprint_before", neap_json_text(unit->before));
    if (!read_def(units, unit, err))
        return false;
    if (!run_measured(units, unit, NEAP_UP, unit->json, err)) {
        say_failed(unit, "failed", err);
        return false;
    }
    if (!verify(units, unit, err) || !read_schema(units, &after, err)) {
        say_failed(unit, "was applied, and then its verify failed", err);
        return false;
    }
    unit->changes = backup_schema_diff(&units->schema, &after);
    backup_schema_clear(&units->schema);
    units->schema = after;
    neap_json_set(unit->json, "fingerprint_after", neap_json_text(after.hash));
    return true;
}

static bool is_line(const char *line, const char *text, size_t length)
{
    return strlen(line) == length && memcmp(line, text, length) == 0;
}

/* The schema before the up: `after` with what the up made taken out again, and with what it
 * took away. The lines are borrowed. */
static struct backup_schema take_back(const struct backup_schema *after, char *changes)
{
    struct backup_schema before = {.lines = neap_alloc(sizeof *before.lines)};
    size_t capacity = after->count + 1;
    for (const char *at = changes; (at = strchr(at, '\n')) != NULL; at++)
        capacity++;
    before.lines = neap_realloc(before.lines, capacity * sizeof *before.lines);
    memcpy(before.lines, after->lines, after->count * sizeof *before.lines);
    before.count = after->count;
    for (char *line = changes; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        if (*line == '-') {
            line[length] = '\0';
            before.lines[before.count++] = line + 2;
        }
        for (size_t i = 0; *line == '+' && i < before.count; i++)
            if (is_line(before.lines[i], line + 2, length - 2)) {
                before.lines[i] = before.lines[--before.count];
                break;
            }
        line += length + 1;
    }
    return before;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "- line" for what is gone that was there before the up, "+ line" for what is left over.
 * `after`: as it was when the up had run. */
static char *explain(struct neap_rehearse_unit *unit, const struct backup_schema *after,
                     const struct backup_schema *now)
{
    char *changes = neap_strdup(unit->changes == NULL ? "" : unit->changes);
    struct backup_schema before = take_back(after, changes);
    qsort(before.lines, before.count, sizeof *before.lines, by_bytes);
    char *diff = backup_schema_diff(&before, now);
    free(before.lines);
    free(changes);
    return diff;
}

static bool compare(struct neap_rehearse_units *units, size_t index, struct neap_error *err)
{
    struct neap_rehearse_unit *unit = &units->units[index];
    struct backup_schema now;
    if (!read_schema(units, &now, err)) {
        say_failed(unit, "was undone, and then its schema could not be read", err);
        return false;
    }
    bool same = strcmp(now.hash, unit->before) == 0;
    if (!same) {
        char *diff = explain(unit, &units->schema, &now);
        neap_error_set(err, NEAP_ERR_REHEARSAL_DOWN,
                       "the down of migration %s does not bring the schema back", unit->item->id);
        neap_error_detail(err, "- was there before its up, + is left after its down:\n%s",
                          diff == NULL ? "" : diff);
        neap_error_where(err, unit->item->source.files[0].path, 0);
        neap_json_set(unit->json, "down_diff", neap_json_text(diff));
        free(diff);
    }
    backup_schema_clear(&units->schema);
    units->schema = now;
    return same;
}

/* Nothing before one that has no way back can be undone either. */
static bool is_end_of_way(const struct neap_rehearse_unit *unit)
{
    return unit->irreversible != NULL || unit->partial;
}

static bool go_down(struct neap_rehearse_units *units, struct neap_error *err)
{
    for (size_t i = units->count; i-- > 0;) {
        struct neap_rehearse_unit *unit = &units->units[i];
        if (is_end_of_way(unit))
            return true;
        tell(units, i, "down");
        if (!run_measured(units, unit, NEAP_DOWN, unit->json, err)) {
            say_failed(unit, "failed to be undone", err);
            return false;
        }
        units->undone++;
        if (!compare(units, i, err))
            return false;
        neap_json_set(unit->json, "down_diff", json_null());
    }
    return true;
}

/* Nobody is told what the second time costs, but what is guarded stays so. */
static bool run_again(struct neap_rehearse_units *units, struct neap_rehearse_unit *unit,
                      struct neap_error *err)
{
    if (!units->guarded)
        return run_step(units, unit, NEAP_UP, err);
    json_t *json = json_object();
    neap_json_set(json, "statements", json_array());
    bool done = run_measured(units, unit, NEAP_UP, json, err);
    json_decref(json);
    return done;
}

static bool go_up_again(struct neap_rehearse_units *units, struct neap_error *err)
{
    for (size_t i = units->count - units->undone; i < units->count; i++) {
        struct neap_rehearse_unit *unit = &units->units[i];
        tell(units, i, "up again");
        if (run_again(units, unit, err)) /* its verify is part of it */
            continue;
        say_failed(unit, "could be applied once, but not again after its down", err);
        return false;
    }
    return true;
}

bool neap_rehearse_units_run(struct neap_rehearse_units *units, struct neap_error *err)
{
    if (!backup_schema_read(units->watcher, &units->schema, err))
        return false;
    for (size_t i = 0; i < units->count; i++)
        if (!go_up(units, i, err))
            return false;
    bool led_back = go_down(units, err);
    for (size_t i = 0; i < units->count; i++)
        neap_json_set(units->units[i].json, "undone",
                      json_boolean(i >= units->count - units->undone));
    return led_back && go_up_again(units, err);
}
