/* SPDX-License-Identifier: MIT
 *
 * rehearse: a copy, the pending migrations on it, and what was found as a table. It reads
 * the rehearsal's document and measures nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/cli/cmd_change.h"
#include "host/proof/proof.h"
#include "host/proof/rehearse.h"

#define SLOW_MS 100 /* a statement that takes longer is worth a line */

static const char *text_of(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text == NULL ? "" : text;
}

/* "12 ms", or `none` where it is not known. */
static void duration_of(const json_t *unit, const char *key, const char *none,
                        char text[NEAP_DURATION_SIZE])
{
    const json_t *value = json_object_get(unit, key);
    if (json_is_integer(value))
        neap_duration_text(json_integer_value(value), text);
    else
        (void)snprintf(text, NEAP_DURATION_SIZE, "%s", none);
}

/* "reads and writes of shop.users, writes of shop.orders": locks that hold others up. */
static char *blocked(const json_t *locks)
{
    struct neap_buffer text = {0};
    size_t i;
    json_t *lock;
    json_array_foreach(locks, i, lock)
    {
        const char *blocks = json_string_value(json_object_get(lock, "blocks"));
        if (blocks != NULL)
            neap_buffer_add_format(&text, "%s%s of %s", text.length == 0 ? "" : ", ", blocks,
                                   text_of(lock, "relation"));
    }
    if (text.length == 0)
        neap_buffer_add_text(&text, "nothing");
    return neap_buffer_take(&text);
}

static void print_unit(struct cli_table *table, const json_t *unit)
{
    char up[NEAP_DURATION_SIZE], down[NEAP_DURATION_SIZE], predicted[NEAP_DURATION_SIZE];
    char wal[NEAP_PROOF_SIZE];
    char *name = neap_format("%s %s", text_of(unit, "id"), text_of(unit, "name"));
    char *blocks = blocked(json_object_get(unit, "locks"));
    bool final = json_is_string(json_object_get(unit, "irreversible"));
    bool wrong = json_is_string(json_object_get(unit, "down_diff"));
    duration_of(unit, "up_ms", "not run", up);
    duration_of(unit, "down_ms", final ? "no way back" : "not run", down);
    duration_of(unit, "predicted_ms", "not known", predicted);
    neap_proof_size(json_integer_value(json_object_get(unit, "wal_bytes")), wal);
    const char *const cells[] = {name, up, down, predicted, wal, blocks, NULL};
    cli_table_row(table, wrong ? CLI_RED : final ? CLI_YELLOW : CLI_PLAIN, cells);
    free(name);
    free(blocks);
}

static void print_units(struct neap_cli *cli, const json_t *units)
{
    static const char *const headings[] = {
        "migration", "up", "down", "on the target", "WAL", "blocks for others", NULL};
    struct cli_table *table = cli_table_new(headings);
    size_t i;
    json_t *unit;
    json_array_foreach(units, i, unit) print_unit(table, unit);
    cli_table_print(cli, table);
}

/* ", rewrites shop.users (1.2 GB there)" */
static void add_relations(struct neap_buffer *line, const char *verb, const json_t *relations)
{
    size_t i;
    json_t *relation;
    json_array_foreach(relations, i, relation)
    {
        char size[NEAP_PROOF_SIZE];
        const json_t *bytes = json_object_get(relation, "bytes");
        neap_buffer_add_format(line, "%s%s", i == 0 ? verb : ", ", text_of(relation, "relation"));
        if (!json_is_integer(bytes))
            continue;
        neap_proof_size(json_integer_value(bytes), size);
        neap_buffer_add_format(line, " (%s there)", size);
    }
}

static bool has_strong_lock(const json_t *locks)
{
    size_t i;
    json_t *lock;
    json_array_foreach(locks, i, lock)
    {
        const char *blocks = text_of(lock, "blocks");
        if (strstr(blocks, "writes") != NULL)
            return true;
    }
    return false;
}

static bool is_worth_seeing(const json_t *statement)
{
    return json_real_value(json_object_get(statement, "duration_ms")) >= SLOW_MS ||
           has_strong_lock(json_object_get(statement, "locks")) ||
           json_array_size(json_object_get(statement, "rewrites")) > 0;
}

static void print_statement(struct neap_cli *cli, const json_t *statement)
{
    const json_t *locks = json_object_get(statement, "locks");
    struct neap_buffer line = {0};
    char *sql = cmd_change_one_line(text_of(statement, "text"));
    char *blocks = blocked(locks);
    json_int_t count = json_integer_value(json_object_get(statement, "count"));
    cli_print(cli, "  %s:%lld  %s  %s", text_of(statement, "file"),
              (long long)json_integer_value(json_object_get(statement, "line")),
              text_of(statement, "part"), sql);
    neap_buffer_add_format(&line, "%.1f ms",
                           json_real_value(json_object_get(statement, "duration_ms")));
    if (count > 1)
        neap_buffer_add_format(&line, " in %lld of them", (long long)count);
    if (has_strong_lock(locks))
        neap_buffer_add_format(&line, ", blocks %s", blocks);
    add_relations(&line, ", rewrites ", json_object_get(statement, "rewrites"));
    add_relations(&line, ", reads all of ", json_object_get(statement, "scans"));
    cli_print(cli, "    %s", neap_buffer_text(&line));
    neap_buffer_clear(&line);
    free(sql);
    free(blocks);
}

static void print_statements(struct neap_cli *cli, const json_t *units)
{
    bool any = false;
    size_t i, j;
    json_t *unit, *statement;
    json_array_foreach(units, i, unit)
        json_array_foreach(json_object_get(unit, "statements"), j, statement)
    {
        if (!is_worth_seeing(statement))
            continue;
        if (!any)
            cli_print(cli, "%s", "\nStatements that take long, block others or rewrite:");
        any = true;
        print_statement(cli, statement);
    }
}

static void print_way_back(struct neap_cli *cli, const json_t *units)
{
    size_t i, undone = 0, count = json_array_size(units);
    json_t *unit;
    json_array_foreach(units, i, unit)
    {
        undone += json_is_true(json_object_get(unit, "undone"));
        const char *why = json_string_value(json_object_get(unit, "irreversible"));
        if (why != NULL)
            cli_print(cli, "%s has no way back: %s", text_of(unit, "id"), why);
    }
    if (undone == count)
        cli_print(cli, "each down led back to the schema before, and each up worked again");
    else
        cli_print(cli,
                  "%zu of %zu were undone, each to the schema before, and applied again: "
                  "what comes before one without a way back has none either",
                  undone, count);
}

static void print_rehearsal(struct neap_cli *cli, const json_t *json)
{
    const json_t *units = json_object_get(json, "units");
    size_t count = json_array_size(units);
    print_units(cli, units);
    print_statements(cli, units);
    cli_print_raw(cli, "\n");
    if (!json_is_true(json_object_get(json, "ok")))
        return;
    cli_print(cli, "rehearsed %zu %s on %s in %.1f s", count,
              count == 1 ? "migration" : "migrations", text_of(json, "from"),
              json_real_value(json_object_get(json, "seconds")));
    print_way_back(cli, units);
    if (!json_is_true(json_object_get(json, "rows")))
        cli_print(cli, "no times are predicted: the copy had no rows");
}

/* What is to be rehearsed: all that `up` would do, or --only. */
static bool pick(struct cmd_change *change, struct neap_error *err)
{
    change->selection.only = change->cli->opt.only;
    return cli_look(change->cli, &change->session, false, err) &&
           cmd_change_pick(change, NEAP_UP, err);
}

/* The copy as the rehearsal left it, for whoever asked for it. */
static void keep(struct neap_cli *cli, struct backup_copy *copy, json_t *body)
{
    struct neap_error err = {0};
    char *url = NULL;
    if (backup_copy_keep(copy, cli->project.dir, &url, &err)) {
        neap_json_set(body, "copy", neap_json_text(url));
        cli_print(cli, "the copy stays for a day: psql '%s'", url);
        cli_print(cli, "`neap scratch stop` ends it");
    } else {
        neap_log(NEAP_LOG_WARN, "rehearsal.lost", "the copy could not be kept: %s", err.message);
    }
    neap_error_clear(&err);
    free(url);
}

static bool run(struct cmd_change *change, struct neap_rehearse_copy *copy, json_t *body,
                struct neap_error *err)
{
    struct neap_rehearsal rehearsal;
    struct neap_rehearse_opts opts = {.from = copy->from,
                                      .has_rows = copy->has_rows,
                                      .items = change->items,
                                      .count = change->count};
    bool done = neap_rehearse(&change->session, &copy->copy, &opts, &rehearsal, err);
    if (rehearsal.json != NULL) {
        neap_json_set(rehearsal.json, "proved", json_boolean(copy->proved));
        neap_json_set(body, "rehearsal", json_incref(rehearsal.json));
        print_rehearsal(change->cli, rehearsal.json);
    }
    neap_rehearsal_clear(&rehearsal);
    return done;
}

static bool rehearse(struct cmd_change *change, json_t *body, struct neap_error *err)
{
    struct neap_cli *cli = change->cli;
    struct neap_rehearse_copy copy;
    struct neap_rehearse_source source = {.from = cli->opt.from};
    struct neap_session_opts begin = {
        .command = "rehearse", .reason = cli->opt.reason, .ticket = cli->opt.ticket, .bare = true};
    if (!cli_place(cli, &source.on_target, err) ||
        !neap_session_begin(&change->session, &begin, err))
        return false;
    char *store = cli_store(cli);
    source.store = store;
    bool done = neap_rehearse_copy_begin(&change->session, &source, &copy, err);
    free(store);
    if (!done)
        return false;
    done = run(change, &copy, body, err);
    if (cli->opt.keep && neap_run_check(neap_loop_run(cli->loop), NULL))
        keep(cli, &copy.copy, body);
    neap_rehearse_copy_end(&copy);
    return done;
}

static bool check_keep(const struct neap_cli *cli, struct neap_error *err)
{
    bool on_target = false;
    if (!cli_place(cli, &on_target, err))
        return false;
    if (!cli->opt.keep || !on_target)
        return true;
    neap_error_set(err, NEAP_ERR_USAGE, "--keep and --on target exclude each other");
    neap_error_hint(err, "A copy that stays belongs on a server of its own.");
    return false;
}

int cmd_rehearse(struct neap_cli *cli)
{
    struct cmd_change change;
    struct neap_error err = {0};
    json_t *body = json_object();
    memset(&change, 0, sizeof change);
    change.cli = cli;
    if (cli_arguments(cli, 0, 0, &err) && check_keep(cli, &err) && pick(&change, &err)) {
        json_decref(body);
        body = cli_target_json(&change.session);
        if (change.count == 0) {
            neap_json_set(body, "status", neap_json_text("nothing"));
            cli_print(cli, "nothing to rehearse: no migration is pending");
        } else {
            rehearse(&change, body, &err);
        }
    }
    free(change.items);
    return cli_end(cli, &change.session, 0, body, &err);
}
