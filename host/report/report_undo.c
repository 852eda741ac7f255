/* SPDX-License-Identifier: MIT
 *
 * The exact commands that go back from where the run ended, the last change first. What
 * has no way back says so instead.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/report/report_parts.h"

static bool is_plain(const char *word)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    return word[0] != '\0' && word[strspn(word, plain)] == '\0';
}

/* "neap -e production", or "neap" where DATABASE_URL named the target. */
static char *program(const json_t *json)
{
    const char *name = neap_report_word(json, "environment");
    if (!json_is_true(json_object_get(json, "environment_named")))
        return neap_strdup("neap");
    return neap_format("neap -e %s", is_plain(name) ? name : "ENV");
}

/* Takes `command`, which may be NULL. */
static void add(json_t *json, char *command, const char *note)
{
    json_t *entry = json_object();
    neap_json_set(entry, "command", neap_json_text(command));
    neap_json_set(entry, "note", neap_json_text(note));
    neap_report_append(json, "undo", entry);
    free(command);
}

static bool is_committed(const json_t *unit)
{
    return neap_report_is(unit, "result", "committed");
}

/* id -> direction of the first committed unit of each migration. New reference. */
static json_t *first_directions(const json_t *units)
{
    json_t *first = json_object();
    for (size_t i = json_array_size(units); i-- > 0;) {
        const json_t *unit = json_array_get(units, i);
        if (is_committed(unit))
            neap_json_set(first, neap_report_word(unit, "id"),
                          json_incref(json_object_get(unit, "direction")));
    }
    return first;
}

static void add_unit(json_t *json, const char *neap, const json_t *unit)
{
    const char *id = neap_report_word(unit, "id");
    const char *irreversible = json_string_value(json_object_get(unit, "irreversible"));
    if (neap_report_is(unit, "direction", "down")) {
        add(json, neap_format("%s up --only %s", neap, id), NULL);
    } else if (irreversible == NULL) {
        add(json, neap_format("%s down --only %s", neap, id), NULL);
    } else {
        char *note = neap_format("%s has no way back: %s", id, irreversible);
        add(json, NULL, note);
        free(note);
    }
}

/* Steps without a transaction of which some stand, or may stand. */
static bool is_halfway(const json_t *unit)
{
    size_t i;
    const json_t *step;
    if (is_committed(unit) || !neap_report_is(unit, "direction", "up"))
        return false;
    json_array_foreach(json_object_get(unit, "steps"), i, step)
    {
        if (!neap_report_is(step, "state", "undone"))
            return true;
    }
    return false;
}

/* A migration that ended as it had been before (redo, a way back) needs nothing. */
static void add_units(json_t *json, const char *neap)
{
    const json_t *units = json_object_get(json, "units");
    json_t *first = first_directions(units);
    for (size_t i = json_array_size(units); i-- > 0;) {
        const json_t *unit = json_array_get(units, i);
        const char *id = neap_report_word(unit, "id");
        if (is_halfway(unit))
            add_unit(json, neap, unit);
        if (!is_committed(unit) || json_object_get(first, id) == NULL)
            continue;
        if (neap_report_is(unit, "direction", neap_report_word(first, id)))
            add_unit(json, neap, unit);
        json_object_del(first, id); /* what it was before that no longer matters */
    }
    json_decref(first);
}

static void add_settled(json_t *json, const char *neap)
{
    const json_t *settled = json_object_get(json, "settled");
    for (size_t i = json_array_size(settled); i-- > 0;) {
        const json_t *entry = json_array_get(settled, i);
        bool pending = neap_report_is(entry, "action", "repair.pending");
        if (neap_report_is(entry, "action", "accept") ||
            !json_is_true(json_object_get(entry, "recorded")))
            continue;
        add(json,
            neap_format("%s repair %s --mark %s --reason TEXT", neap, neap_report_word(entry, "id"),
                        pending ? "applied" : "pending"),
            "only what history says was changed");
    }
}

/* The backup that stands behind this run: its own, or the one that a gate took again. */
static const char *proved_backup(const json_t *json)
{
    const char *id = "";
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(json, "gates"), i, item)
    {
        if (neap_report_is(item, "gate", "backup") && neap_report_word(item, "backup")[0] != '\0')
            id = neap_report_word(item, "backup");
    }
    json_array_foreach(json_object_get(json, "backups"), i, item)
    {
        const json_t *verified = json_object_get(item, "verified");
        if (json_is_true(json_object_get(verified, "ok")) &&
            neap_report_is(verified, "level", "full"))
            id = neap_report_word(item, "id");
    }
    return id;
}

/* The run before which the whole server is the way back, by the gate's own word; "": a
 * database is. */
static const char *archive_run(const json_t *json, const char *backup)
{
    size_t i;
    const json_t *gate;
    json_array_foreach(json_object_get(json, "gates"), i, gate)
    {
        if (neap_report_is(gate, "backup", backup) &&
            neap_report_word(gate, "before_run")[0] != '\0')
            return neap_report_word(gate, "before_run");
    }
    return "";
}

static void add_restore(json_t *json, const char *neap, const char *backup)
{
    const char *run = archive_run(json, backup);
    if (run[0] != '\0')
        add(json, neap_format("%s restore %s --run %s", neap, backup, run),
            "prints how to go back to before that run, with the whole server");
    else
        add(json, neap_format("%s restore %s --swap --reason TEXT", neap, backup),
            "the last resort: what was written since the backup is lost");
}

static void add_swap(json_t *json)
{
    const json_t *restore = json_object_get(json, "restore");
    const char *kept = neap_report_word(restore, "kept");
    if (!json_is_true(json_object_get(restore, "swapped")) || kept[0] == '\0')
        return;
    char *note = neap_format("the database before is kept as %s; `neap help restore` says how to "
                             "take it back",
                             kept);
    add(json, NULL, note);
    free(note);
}

void neap_report_undo(json_t *json)
{
    const char *backup = proved_backup(json);
    char *neap = program(json);
    neap_json_set(json, "undo", json_array());
    if (!json_is_true(json_object_get(json, "dry_run"))) {
        add_units(json, neap);
        add_settled(json, neap);
        /* Also where a way back ended on the way: its downs may all be there. */
        bool stands = json_array_size(json_object_get(json, "undo")) > 0 ||
                      neap_report_is(json, "result", "partial");
        add_swap(json);
        if (backup[0] != '\0' && stands)
            add_restore(json, neap, backup);
    }
    free(neap);
}
