/* SPDX-License-Identifier: MIT
 *
 * `--dry-run`: what was executed and rolled back, statement by statement, and
 * the strongest lock on each relation.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/cli/cmd_change.h"

#define SHOWN_MAX 100 /* characters of a statement on a terminal line */

char *cmd_change_one_line(const char *sql)
{
    char *line = neap_alloc(SHOWN_MAX + sizeof "…");
    size_t length = 0;
    for (; *sql != '\0' && length < SHOWN_MAX; sql++) {
        bool blank = strchr(" \n\t\r", *sql) != NULL;
        if (!blank)
            line[length++] = *sql;
        else if (length > 0 && line[length - 1] != ' ')
            line[length++] = ' ';
    }
    while (length > 0 && *sql != '\0' && ((unsigned char)*sql & 0xc0) == 0x80)
        if (((unsigned char)line[--length] & 0xc0) == 0xc0)
            break; /* no half character before the mark */
    memcpy(line + length, *sql == '\0' ? "" : "…", *sql == '\0' ? 1 : sizeof "…");
    return line;
}

static void on_statement(void *arg, const struct neap_statement_seen *seen)
{
    struct cmd_change *change = arg;
    const char *sql = seen->statement == NULL ? "" : seen->statement;
    if (change->statement_failed && seen->failed) /* sent behind it, and not executed */
        return;
    change->statement_failed = seen->failed;
    char *line = cmd_change_one_line(sql);
    char rows[24] = "-"; /* a statement that counts no rows */
    if (seen->failed)
        snprintf(rows, sizeof rows, "failed");
    else if (seen->row_count >= 0)
        snprintf(rows, sizeof rows, "%lld", (long long)seen->row_count);
    cli_print(change->cli, "    %8.1f ms  %6s %s  %s", (double)seen->duration_us / 1000.0, rows,
              seen->failed ? "    " : "rows", line);
    free(line);
    if (change->executed == NULL)
        return;
    json_t *entry = json_object();
    neap_json_set(entry, "sql", neap_json_text(sql));
    neap_json_set(entry, "rows", seen->row_count < 0 ? json_null() : json_integer(seen->row_count));
    neap_json_set(entry, "duration_ms", json_real((double)seen->duration_us / 1000.0));
    neap_json_set(entry, "file", neap_json_text(seen->where_file));
    neap_json_set(entry, "line", json_integer(seen->where_line));
    json_array_append_new(change->executed, entry);
}

/* The units before it count as applied for what it requires. */
static void count_earlier(struct cmd_change *change, const struct neap_unit *unit)
{
    for (size_t i = 0; unit->direction == NEAP_UP && i < change->count; i++) {
        if (strcmp(change->items[i]->id, unit->id) == 0)
            return;
        change->items[i]->state = NEAP_STATE_APPLIED;
    }
}

/* What the author says of it, before what it does. */
static void tell_words(struct cmd_change *change, const struct neap_script_def *def, json_t *entry)
{
    /* "locks" of a dry run's entry are those that were seen. */
    const struct {
        const char *key, *name, *text;
    } words[] = {{"summary", "summary", def->summary},
                 {"ticket", "ticket", def->ticket},
                 {"why", "why", def->why},
                 {"risk", "risk", def->risk},
                 {"locks_said", "locks", def->locks}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        neap_json_set(entry, words[i].key, neap_json_text(words[i].text));
        if (words[i].text != NULL)
            cli_print(change->cli, "    %-8s %s", words[i].name, words[i].text);
    }
}

static void on_unit(void *arg, const struct neap_unit *unit, const struct neap_script_def *def,
                    bool executed)
{
    struct cmd_change *change = arg;
    json_t *entry = json_object();
    count_earlier(change, unit);
    cli_print(change->cli, "%s %s %s%s", unit->direction == NEAP_UP ? "up  " : "down", unit->id,
              unit->name, executed ? "" : "  (without a transaction: not executed)");
    tell_words(change, def, entry);
    for (size_t i = 0; !executed && i < def->step_count; i++)
        cli_print(change->cli, "    would run step %s", def->steps[i].name);
    neap_json_set(entry, "id", neap_json_text(unit->id));
    neap_json_set(entry, "name", neap_json_text(unit->name));
    change->executed = executed ? json_array() : NULL;
    neap_json_set(entry, "executed", executed ? change->executed : json_null());
    neap_json_set(entry, "locks", executed ? json_array() : json_null());
    json_array_append_new(unit->direction == NEAP_UP ? change->applied : change->undone, entry);
}

static bool is_told(const json_t *list, const char *relation, const char *mode)
{
    size_t i, j;
    json_t *entry, *lock;
    json_array_foreach((json_t *)(uintptr_t)list, i, entry) json_array_foreach(
        json_object_get(entry, "locks"), j,
        lock) if (strcmp(json_string_value(json_object_get(lock, "relation")), relation) == 0 &&
                  strcmp(json_string_value(json_object_get(lock, "mode")), mode) == 0) return true;
    return false;
}

/* Locks last to the end: told where they were first taken or became stronger. */
static void on_lock(void *arg, const char *relation, const char *mode)
{
    struct cmd_change *change = arg;
    json_t *list = json_array_size(change->applied) > 0 ? change->applied : change->undone;
    json_t *last = json_array_get(list, json_array_size(list) - 1);
    if (is_told(list, relation, mode))
        return;
    cli_print(change->cli, "    lock  %s on %s", mode, relation);
    json_t *entry = json_object();
    neap_json_set(entry, "relation", neap_json_text(relation));
    neap_json_set(entry, "mode", neap_json_text(mode));
    json_array_append_new(json_object_get(last, "locks"), entry);
}

static void tell_end(struct cmd_change *change, size_t failed, enum neap_direction direction)
{
    if (failed < change->count) {
        const struct neap_plan_item *item = change->items[failed];
        json_decref(change->failed);
        change->failed = json_object();
        neap_json_set(change->failed, "id", neap_json_text(item->id));
        neap_json_set(change->failed, "name", neap_json_text(item->name));
        neap_json_set(change->failed, "action",
                      neap_json_text(direction == NEAP_UP ? "apply" : "undo"));
        cli_print(change->cli, "failed  %s  %s", item->id, item->name);
    }
    for (size_t i = failed + 1; i < change->count; i++)
        json_array_append_new(change->remaining, neap_json_text(change->items[i]->id));
    cli_print(change->cli, "rolled back: nothing was changed");
}

bool cmd_change_dry_run(struct cmd_change *change, enum neap_direction direction,
                        struct neap_error *err)
{
    struct neap_unit *units = neap_alloc((change->count + 1) * sizeof *units);
    struct neap_source *sources = neap_alloc((change->count + 1) * sizeof *sources);
    bool *owned = neap_alloc((change->count + 1) * sizeof *owned);
    bool done = true;
    for (size_t i = 0; done && i < change->count; i++) {
        struct neap_plan_item *item = change->items[i];
        sources[i] = item->source;
        units[i] = (struct neap_unit){
            .id = item->id, .name = item->name, .source = &sources[i], .direction = direction};
        done = direction == NEAP_UP ||
               neap_session_down_source(&change->session, item, change->cli->opt.stored,
                                        &sources[i], &owned[i], err);
    }
    struct neap_recorder *recorder = &change->session.change.recorder;
    recorder->keep_text = true;
    recorder->on_statement = on_statement;
    recorder->arg = change;
    struct neap_dry_run_report report = {.unit = on_unit, .lock = on_lock, .arg = change};
    size_t failed = change->count;
    if (done) {
        done = neap_change_dry_run(&change->session.change, units, change->count, &report, &failed,
                                   err);
        tell_end(change, failed, direction);
    }
    for (size_t i = 0; i < change->count; i++)
        if (owned[i])
            neap_source_clear(&sources[i]);
    free(units);
    free(sources);
    free(owned);
    return done;
}
