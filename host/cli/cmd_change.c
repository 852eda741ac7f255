/* SPDX-License-Identifier: MIT
 *
 * Goes through migrations one by one and tells of each. It decides nothing that
 * the plan or the step machine decide.
 */
#include "host/cli/cmd_change.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/change/restore_point.h"

void cmd_change_open(struct cmd_change *change, struct neap_cli *cli)
{
    memset(change, 0, sizeof *change);
    change->cli = cli;
    change->plan = json_array();
    change->applied = json_array();
    change->undone = json_array();
    change->remaining = json_array();
    change->warnings = json_array();
    change->failed = json_null();
}

bool cmd_change_select(struct cmd_change *change, struct neap_error *err)
{
    struct neap_cli *cli = change->cli;
    if (!cli_arguments(cli, 0, 1, err))
        return false;
    int ways = (cli->argc > 0) + (cli->opt.to != NULL) + (cli->opt.only != NULL);
    if (ways > 1) {
        neap_error_set(err, NEAP_ERR_USAGE, "N, --to and --only exclude each other");
        return false;
    }
    change->selection.to = cli->opt.to;
    change->selection.only = cli->opt.only;
    return cli->argc == 0 ||
           cli_count(cli->argv[0], "the number of migrations", &change->selection.count, err);
}

static void warn_cosmetic(struct cmd_change *change)
{
    const struct neap_plan *plan = &change->session.plan;
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->items[i].problem != NEAP_PROBLEM_COSMETIC)
            continue;
        char *text = neap_format("%s: comments or spaces changed after it was applied",
                                 plan->items[i].file->path);
        neap_log(NEAP_LOG_WARN, "history.cosmetic", "%s", text);
        json_array_append_new(change->warnings, neap_json_text(text));
        free(text);
    }
}

bool cmd_change_pick(struct cmd_change *change, enum neap_direction direction,
                     struct neap_error *err)
{
    free(change->items);
    change->items = NULL;
    change->count = 0;
    bool picked = direction == NEAP_UP ? neap_plan_up(&change->session.plan, &change->selection,
                                                      &change->items, &change->count, err)
                                       : neap_plan_down(&change->session.plan, &change->selection,
                                                        &change->items, &change->count, err);
    if (!picked && err->code == NEAP_ERR_HISTORY_CHANGED)
        neap_session_explain_change(&change->session, err);
    return picked;
}

static const char *action_of(const struct neap_plan_item *item, enum neap_direction direction)
{
    if (direction == NEAP_DOWN)
        return "undo";
    return item->state == NEAP_STATE_PARTIAL ? "resume" : "apply";
}

static json_t *item_json(const struct neap_plan_item *item)
{
    json_t *json = json_object();
    neap_json_set(json, "id", neap_json_text(item->id));
    neap_json_set(json, "name", neap_json_text(item->name));
    return json;
}

static void keep_plan(struct cmd_change *change, enum neap_direction direction)
{
    for (size_t i = 0; i < change->count; i++) {
        json_t *entry = item_json(change->items[i]);
        neap_json_set(entry, "action", neap_json_text(action_of(change->items[i], direction)));
        neap_session_words(change->items[i], entry);
        json_array_append_new(change->plan, entry);
    }
}

static bool check_dry_run(struct cmd_change *change, struct neap_error *err)
{
    if (!change->cli->opt.dry_run || !change->cli->project.env.is_protected)
        return true;
    neap_error_set(err, NEAP_ERR_POLICY_REFUSED,
                   "a dry run takes locks on the target, and environment %s is protected",
                   change->cli->project.env.name);
    neap_error_hint(err, "Rehearse on a copy, or on `-e scratch`.");
    return false;
}

static enum neap_gates_way way_of(const struct neap_cli *cli, enum neap_direction direction)
{
    if (strcmp(cli->command->name, "resume") == 0)
        return NEAP_GATES_RESUME;
    return direction == NEAP_UP ? NEAP_GATES_UP : NEAP_GATES_DOWN;
}

bool cmd_change_begin(struct cmd_change *change, enum neap_direction direction, bool *nothing,
                      struct neap_error *err)
{
    struct neap_cli *cli = change->cli;
    *nothing = false;
    if (!cmd_gates_check(change, err) || !cli_look(cli, &change->session, true, err) ||
        !check_dry_run(change, err) || !cmd_change_pick(change, direction, err))
        return false;
    warn_cosmetic(change);
    *nothing = change->count == 0;
    if (*nothing)
        return true;
    if (direction == NEAP_DOWN && change->items[0]->state == NEAP_STATE_APPLIED &&
        !neap_session_check_unneeded(&change->session, change->items, change->count, err))
        return false;
    if (direction == NEAP_DOWN && !cli->opt.dry_run &&
        !cli_confirm(cli, &change->session, "undoing migrations", err))
        return false;
    struct neap_session_opts opts = {.command = cli->command->name,
                                     .reason = cli->opt.reason,
                                     .ticket = cli->opt.ticket,
                                     .dry_run = cli->opt.dry_run};
    if (!cmd_gates_look(change, way_of(cli, direction), err) ||
        !neap_session_begin(&change->session, &opts, err) ||
        !cmd_change_pick(change, direction, err))
        return false;
    *nothing = change->count == 0; /* another run did it while this one waited */
    keep_plan(change, direction);
    return *nothing || neap_session_plan(&change->session, change->items, change->count,
                                         direction == NEAP_UP ? "apply" : "undo", err);
}

static void tell_done(struct cmd_change *change, const struct neap_plan_item *item,
                      enum neap_direction direction, const struct neap_outcome *outcome)
{
    char took[NEAP_DURATION_SIZE];
    neap_duration_text(outcome->duration_ms, took);
    json_t *entry = item_json(item);
    neap_json_set(entry, "duration_ms", json_integer(outcome->duration_ms));
    neap_json_set(entry, "attempts", json_integer(outcome->attempts));
    neap_json_set(entry, "statements", json_integer(outcome->statements));
    json_array_append_new(direction == NEAP_UP ? change->applied : change->undone, entry);
    cli_print(change->cli, "%s %s  %s  %s, %lld %s%s", direction == NEAP_UP ? "applied" : "undone ",
              item->id, item->name, took, (long long)outcome->statements,
              outcome->statements == 1 ? "statement" : "statements",
              outcome->attempts > 1 ? ", after retries" : "");
    if (outcome->unreplicated)
        neap_log(NEAP_LOG_WARN, "commit.unreplicated",
                 "%s %s is applied, but no synchronous standby confirmed it", item->id, item->name);
    change->cli->changed = true;
    change->unreplicated |= outcome->unreplicated;
    change->audit_incomplete |= outcome->audit_incomplete;
}

/* What cures an error of the script is not the next command: it is this one.
 * What redo has undone is pending: another redo would undo the one before it. */
static void name_next(const struct cmd_change *change, const struct neap_plan_item *item,
                      enum neap_direction direction, const struct neap_outcome *outcome,
                      struct neap_error *err)
{
    const char *command = change->cli->command->name;
    const char *hint = err->hint != NULL ? err->hint : neap_error_row(err->code)->next;
    if (!outcome->unchanged)
        return;
    if (direction == NEAP_UP && strcmp(command, "redo") == 0)
        command = "up";
    if (strstr(hint, "`neap ") != NULL || strstr(hint, "again") != NULL)
        return;
    if (hint[0] != '\0')
        neap_error_hint(err, "%s Then run `neap %s` again.", hint, command);
    else if (err->where_file != NULL)
        neap_error_hint(err, "Mend the script of %s, then run `neap %s` again.", item->id, command);
    else /* neap's own statement: the role, the rights, the schema */
        neap_error_hint(err,
                        "It was no statement of the script: look at `neap doctor`, then run "
                        "`neap %s` again.",
                        command);
}

static void tell_failed(struct cmd_change *change, size_t index, enum neap_direction direction,
                        const struct neap_outcome *outcome)
{
    const struct neap_plan_item *item = change->items[index];
    const char *verb = direction == NEAP_UP ? "applied" : "undone";
    size_t rest = change->count - index - 1;
    const char *stays = direction == NEAP_UP                ? "nothing of it stays"
                        : item->state == NEAP_STATE_APPLIED ? "it stays applied"
                                                            : "it stays halfway";
    json_decref(change->failed);
    change->failed = item_json(change->items[index]);
    neap_json_set(change->failed, "action",
                  neap_json_text(action_of(change->items[index], direction)));
    neap_json_set(change->failed, "attempts", json_integer(outcome->attempts));
    for (size_t i = index + 1; i < change->count; i++)
        json_array_append_new(change->remaining, neap_json_text(change->items[i]->id));
    if (outcome->unchanged)
        cli_print(change->cli, "failed  %s  %s  %s; %zu %s before it, %zu to come", item->id,
                  item->name, stays, change->done_count, verb, rest);
    else
        cli_print(change->cli, "stopped %s  %s  %zu %s before it, %zu not begun", item->id,
                  item->name, change->done_count, verb, rest);
}

static void count_done(struct cmd_change *change, size_t index, enum neap_direction direction,
                       const struct neap_outcome *outcome)
{
    change->done_count++;
    tell_done(change, change->items[index], direction, outcome);
}

static void on_confirmed(void *arg, const struct neap_outcome *outcome)
{
    struct cmd_change *change = arg;
    count_done(change, change->unconfirmed, NEAP_UP, outcome);
}

/* The item is as it was before; the one whose outcome it is may be the one before. */
static void give_up(struct cmd_change *change, size_t index, enum neap_direction direction,
                    const struct neap_outcome *outcome, struct neap_error *err)
{
    if (outcome->earlier)
        change->items[--index]->state = NEAP_STATE_PENDING;
    name_next(change, change->items[index], direction, outcome, err);
    tell_failed(change, index, direction, outcome);
}

/* `more`: the next item follows at once. */
static bool run_item(struct cmd_change *change, size_t index, enum neap_direction direction,
                     bool more, struct neap_outcome *outcome, struct neap_error *err)
{
    struct neap_plan_item *item = change->items[index];
    struct neap_source source = item->source;
    bool owned = false;
    *outcome = (struct neap_outcome){.attempts = 0, .unchanged = true};
    bool done = direction == NEAP_UP ||
                neap_session_down_source(&change->session, item, change->cli->opt.stored, &source,
                                         &owned, err);
    if (done) {
        struct neap_unit unit = {.id = item->id,
                                 .name = item->name,
                                 .source = &source,
                                 .direction = direction,
                                 .applied = neap_plan_was_applied(item),
                                 .more = more};
        done = neap_change_step(&change->session.change, &unit, outcome, err);
    }
    if (owned)
        neap_source_clear(&source);
    if (!done)
        return false;
    item->state = direction == NEAP_UP ? NEAP_STATE_APPLIED : NEAP_STATE_PENDING;
    if (outcome->unconfirmed)
        change->unconfirmed = index;
    else
        count_done(change, index, direction, outcome);
    return true;
}

/* --verbose: every statement as it ends. */
static void log_statement(void *arg, const struct neap_statement_seen *seen)
{
    (void)arg;
    char *line = cmd_change_one_line(seen->statement == NULL ? "" : seen->statement);
    char rows[32] = "";
    if (seen->row_count >= 0)
        snprintf(rows, sizeof rows, ", %lld rows", (long long)seen->row_count);
    neap_log(NEAP_LOG_DETAIL, "db.statement", "%s  (%.1f ms%s%s)", line,
             (double)seen->duration_us / 1000.0, rows, seen->failed ? ", failed" : "");
    free(line);
}

static void on_undone(void *arg, size_t index, const struct neap_outcome *outcome)
{
    struct cmd_change *change = arg;
    change->items[index]->state = NEAP_STATE_PENDING;
    tell_done(change, change->items[index], NEAP_DOWN, outcome);
}

/* The way back of what does not hold after its COMMIT: the first `count` items, which this
 * run applied. The error says whether it led back. */
static void go_back(struct cmd_change *change, size_t count, struct neap_error *err)
{
    struct neap_unit *units = neap_alloc(count * sizeof *units);
    for (size_t i = 0; i < count; i++)
        units[i] = (struct neap_unit){.id = change->items[i]->id,
                                      .name = change->items[i]->name,
                                      .source = &change->items[i]->source};
    struct neap_way_back_undo undo = {
        .units = units, .count = count, .undone = on_undone, .arg = change};
    (void)neap_way_back_undo(&change->session.change, &undo, err);
    free(units);
}

static bool validate(struct cmd_change *change, size_t index, enum neap_direction direction,
                     struct neap_error *err)
{
    const struct neap_plan_item *item = change->items[index];
    struct neap_unit unit = {
        .id = item->id, .name = item->name, .source = &item->source, .direction = NEAP_UP};
    if (direction == NEAP_DOWN || neap_gates_unit(&change->gates, &unit, err))
        return true;
    json_decref(change->failed);
    change->failed = item_json(item);
    neap_json_set(change->failed, "action", neap_json_text("validate"));
    for (size_t i = index + 1; i < change->count; i++)
        json_array_append_new(change->remaining, neap_json_text(change->items[i]->id));
    if (err->code == NEAP_ERR_VALIDATION_FAILED)
        go_back(change, index + 1, err);
    return false;
}

/* With gates one goes after the other: each is looked at after its COMMIT. */
static bool run_items(struct cmd_change *change, enum neap_direction direction,
                      struct neap_error *err)
{
    bool alone = false; /* the item's COMMIT failed once: nothing more goes along with it */
    for (size_t i = 0; i < change->count;) {
        struct neap_outcome outcome;
        bool more = !alone && !change->gates.any && i + 1 < change->count;
        if (run_item(change, i, direction, more, &outcome, err)) {
            if (!validate(change, i, direction, err))
                return false;
            i++;
            alone = false;
        } else if (outcome.earlier && outcome.again) {
            neap_error_clear(err);
            change->items[--i]->state = NEAP_STATE_PENDING;
            alone = true;
        } else {
            give_up(change, i, direction, &outcome, err);
            return false;
        }
    }
    return true;
}

bool cmd_change_run(struct cmd_change *change, enum neap_direction direction,
                    struct neap_error *err)
{
    struct neap_recorder *recorder = &change->session.change.recorder;
    if (change->cli->opt.verbose) {
        recorder->keep_text = true;
        recorder->on_statement = log_statement;
    }
    change->session.change.confirmed = on_confirmed;
    change->session.change.confirmed_arg = change;
    if (!change->gated && (!neap_gates_pass(&change->gates, change->items, change->count, err) ||
                           !neap_restore_point(&change->session.change, err))) {
        for (size_t i = 0; i < change->count; i++)
            json_array_append_new(change->remaining, neap_json_text(change->items[i]->id));
        return false;
    }
    change->gated = true;
    if (!run_items(change, direction, err))
        return false;
    if (direction == NEAP_DOWN || neap_gates_validate(&change->gates, err))
        return true;
    if (err->code == NEAP_ERR_VALIDATION_FAILED)
        go_back(change, change->count, err);
    return false;
}

static json_t *account(struct cmd_change *change)
{
    json_t *body = cli_target_json(&change->session);
    neap_json_set(body, "dry_run", json_boolean(change->cli->opt.dry_run));
    neap_json_set(body, "plan", change->plan);
    neap_json_set(body, "applied", change->applied);
    neap_json_set(body, "undone", change->undone);
    neap_json_set(body, "failed", change->failed);
    neap_json_set(body, "remaining", change->remaining);
    neap_json_set(body, "warnings", change->warnings);
    neap_json_set(body, "gates",
                  change->gates.list == NULL ? json_array() : json_incref(change->gates.list));
    if (change->gates.rehearsal != NULL)
        neap_json_set(body, "rehearsal", json_incref(change->gates.rehearsal));
    return body;
}

int cmd_change_end(struct cmd_change *change, bool nothing, struct neap_error *err)
{
    json_t *body = account(change);
    if (nothing && err->code == NEAP_OK) {
        neap_json_set(body, "status", neap_json_text("nothing"));
        cli_print(change->cli, "nothing to do: %zu applied, %zu pending",
                  neap_plan_count(&change->session.plan, NEAP_STATE_APPLIED),
                  neap_plan_count(&change->session.plan, NEAP_STATE_PENDING));
    }
    free(change->items);
    if (err->code == NEAP_OK && change->unreplicated)
        neap_error_set(err, NEAP_ERR_COMMIT_UNREPLICATED,
                       "done, but no synchronous standby confirmed it");
    else if (err->code == NEAP_OK && change->audit_incomplete)
        neap_error_set(err, NEAP_ERR_AUDIT_INCOMPLETE, "done, but the journal lacks the outcome");
    cmd_auto_restore(change, err);
    int status = cli_end(change->cli, &change->session, 0, body, err);
    neap_gates_clear(&change->gates);
    return status;
}
