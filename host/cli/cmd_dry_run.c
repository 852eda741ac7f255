/* SPDX-License-Identifier: MIT
 *
 * `--dry-run`: what was executed and rolled back, statement by statement, and
 * the strongest lock on each relation.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/cli/cmd_change.h"

#define SHOWN_MAX 100 /* characters of a statement on a terminal line */

static void on_statement(void *arg, const struct neap_statement_seen *seen)
{
    struct cmd_change *change = arg;
    const char *sql = seen->statement == NULL ? "" : seen->statement;
    char *line = neap_strndup(sql, strnlen(sql, SHOWN_MAX));
    for (char *c = line; *c != '\0'; c++)
        if (*c == '\n' || *c == '\t' || *c == '\r')
            *c = ' ';
    char rows[24] = "-"; /* a statement that counts no rows */
    if (seen->row_count >= 0)
        snprintf(rows, sizeof rows, "%lld", (long long)seen->row_count);
    cli_print(change->cli, "    %8.1f ms  %6s rows  %s%s", (double)seen->duration_us / 1000.0, rows,
              line, strlen(sql) > SHOWN_MAX ? "…" : "");
    free(line);
    if (change->executed == NULL)
        return;
    json_t *entry = json_object();
    neap_json_set(entry, "sql", neap_json_text(sql));
    neap_json_set(entry, "rows",
                  seen->row_count < 0 ? json_null() : json_integer(seen->row_count));
    neap_json_set(entry, "duration_ms", json_real((double)seen->duration_us / 1000.0));
    neap_json_set(entry, "file", neap_json_text(seen->where_file));
    neap_json_set(entry, "line", json_integer(seen->where_line));
    json_array_append_new(change->executed, entry);
}

static void on_unit(void *arg, const struct neap_unit *unit, const struct neap_script_def *def,
                    bool executed)
{
    struct cmd_change *change = arg;
    json_t *entry = json_object();
    cli_print(change->cli, "%s %s %s%s", unit->direction == NEAP_UP ? "up  " : "down", unit->id,
              unit->name, executed ? "" : "  (without a transaction: not executed)");
    for (size_t i = 0; !executed && i < def->step_count; i++)
        cli_print(change->cli, "    would run step %s", def->steps[i].name);
    neap_json_set(entry, "id", neap_json_text(unit->id));
    neap_json_set(entry, "name", neap_json_text(unit->name));
    change->executed = executed ? json_array() : NULL;
    neap_json_set(entry, "executed", executed ? change->executed : json_null());
    json_array_append_new(unit->direction == NEAP_UP ? change->applied : change->undone, entry);
}

static void on_lock(void *arg, const char *relation, const char *mode)
{
    struct cmd_change *change = arg;
    cli_print(change->cli, "lock  %s  %s", mode, relation);
    json_t *list = json_array_size(change->applied) > 0 ? change->applied : change->undone;
    json_t *last = json_array_get(list, json_array_size(list) - 1);
    if (last == NULL)
        return;
    if (json_object_get(last, "locks") == NULL)
        neap_json_set(last, "locks", json_array());
    json_t *entry = json_object();
    neap_json_set(entry, "relation", neap_json_text(relation));
    neap_json_set(entry, "mode", neap_json_text(mode));
    json_array_append_new(json_object_get(last, "locks"), entry);
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
        units[i] = (struct neap_unit){.id = item->id, .name = item->name, .source = &sources[i],
                                      .direction = direction};
        done = direction == NEAP_UP ||
               neap_session_down_source(&change->session, item, change->cli->opt.stored,
                                        &sources[i], &owned[i], err);
    }
    struct neap_recorder *recorder = &change->session.change.recorder;
    recorder->keep_text = true;
    recorder->on_statement = on_statement;
    recorder->arg = change;
    struct neap_dry_run_report report = {.unit = on_unit, .lock = on_lock, .arg = change};
    done = done && neap_change_dry_run(&change->session.change, units, change->count, &report, err);
    if (done)
        cli_print(change->cli, "rolled back: nothing was changed");
    for (size_t i = 0; i < change->count; i++)
        if (owned[i])
            neap_source_clear(&sources[i]);
    free(units);
    free(sources);
    free(owned);
    return done;
}
