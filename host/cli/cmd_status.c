/* SPDX-License-Identifier: MIT
 *
 * status, verify, history: what looks and changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/cli/cmd_events.h"

static enum cli_colour colour_of(const struct neap_plan_item *item)
{
    if (item->problem == NEAP_PROBLEM_CHANGED || item->problem == NEAP_PROBLEM_MISSING ||
        item->problem == NEAP_PROBLEM_FORGED || item->state == NEAP_STATE_PARTIAL)
        return CLI_RED;
    if (item->problem != NEAP_PROBLEM_NONE || item->state == NEAP_STATE_PENDING)
        return CLI_YELLOW;
    return CLI_GREEN;
}

static json_t *status_item(const struct neap_plan_item *item)
{
    char at[NEAP_UTC_SIZE];
    json_t *json = json_object();
    neap_json_set(json, "id", neap_json_text(item->id));
    neap_json_set(json, "name", neap_json_text(item->name));
    neap_json_set(json, "state", neap_json_text(neap_state_name(item->state)));
    neap_json_set(json, "problem", neap_json_text(neap_problem_name(item->problem)));
    if (item->row != NULL)
        neap_clock_utc_of(item->row->at_us, at);
    neap_json_set(json, "at", neap_json_text(item->row == NULL ? NULL : at));
    neap_json_set(json, "actor", neap_json_text(item->row == NULL ? NULL : item->row->actor));
    neap_json_set(json, "run_id", neap_json_text(item->row == NULL ? NULL : item->row->run_id));
    neap_json_set(json, "file", neap_json_text(item->file == NULL ? NULL : item->file->path));
    if (item->state != NEAP_STATE_APPLIED)
        neap_session_words(item, json);
    return json;
}

static json_int_t count_of(const struct neap_plan *plan, enum neap_history_state state)
{
    return (json_int_t)neap_plan_count(plan, state);
}

static json_t *status_json(const struct neap_plan *plan)
{
    json_t *list = json_array();
    for (size_t i = 0; i < plan->count; i++)
        json_array_append_new(list, status_item(&plan->items[i]));
    return list;
}

/* --verbose: what is still to come says of itself. */
static void print_words(struct neap_cli *cli, const struct neap_plan_item *item)
{
    static const char *const words[] = {"why", "risk", "locks", NULL};
    json_t *said = json_object();
    neap_session_words(item, said);
    for (const char *const *word = words; *word != NULL; word++) {
        const char *text = json_string_value(json_object_get(said, *word));
        if (text != NULL)
            cli_print(cli, "%s  %-5s  %s", item->id, *word, text);
    }
    json_decref(said);
}

static void add_row(struct cli_table *table, const struct neap_plan_item *item)
{
    char at[NEAP_UTC_SIZE] = "";
    const char *problem = neap_problem_name(item->problem);
    bool applied = item->row != NULL && item->state == NEAP_STATE_APPLIED;
    if (applied)
        neap_clock_utc_of(item->row->at_us, at);
    const char *cells[] = {item->id,
                           item->name,
                           neap_state_name(item->state),
                           problem == NULL ? "" : problem,
                           at,
                           applied && item->row->actor != NULL ? item->row->actor : "",
                           NULL};
    cli_table_row(table, colour_of(item), cells);
}

static void print_status(struct neap_cli *cli, const struct neap_plan *plan)
{
    static const char *const headings[] = {"id", "name", "state", "problem", "at", "by", NULL};
    struct cli_table *table = cli_table_new(headings);
    for (size_t i = 0; i < plan->count; i++)
        add_row(table, &plan->items[i]);
    cli_table_print(cli, table);
    for (size_t i = 0; cli->opt.verbose && i < plan->count; i++)
        if (plan->items[i].state != NEAP_STATE_APPLIED)
            print_words(cli, &plan->items[i]);
}

static bool is_disputed(const struct neap_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        if (plan->items[i].problem == NEAP_PROBLEM_CHANGED ||
            plan->items[i].problem == NEAP_PROBLEM_MISSING ||
            plan->items[i].problem == NEAP_PROBLEM_FORGED ||
            plan->items[i].problem == NEAP_PROBLEM_ORDER)
            return true;
    return false;
}

static void print_next(struct neap_cli *cli, const struct neap_plan *plan)
{
    if (is_disputed(plan))
        cli_print(cli, "Files and history disagree. Next: `neap up` says where and what to do; it "
                       "applies nothing then. See `neap help history`.");
    if (neap_plan_count(plan, NEAP_STATE_PARTIAL) > 0)
        cli_print(cli, "A migration stopped halfway. Next: `neap resume`, see `neap help "
                       "recovery`.");
    else if (!is_disputed(plan) && neap_plan_count(plan, NEAP_STATE_PENDING) > 0)
        cli_print(cli, "Next: `neap up`, or `neap up --dry-run` first.");
}

/* For --json. */
static json_t *status_body(const struct neap_session *session, json_t *lease)
{
    const struct neap_plan *plan = &session->plan;
    json_t *body = cli_target_json(session);
    neap_json_set(body, "installed", json_boolean(session->history.installed));
    neap_json_set(body, "migrations", status_json(plan));
    neap_json_set(body, "applied", json_integer(count_of(plan, NEAP_STATE_APPLIED)));
    neap_json_set(body, "pending", json_integer(count_of(plan, NEAP_STATE_PENDING)));
    neap_json_set(body, "partial", json_integer(count_of(plan, NEAP_STATE_PARTIAL)));
    neap_json_set(body, "lease", lease);
    return body;
}

static void print_all(struct neap_cli *cli, const struct neap_session *session)
{
    const struct neap_plan *plan = &session->plan;
    json_int_t partial = count_of(plan, NEAP_STATE_PARTIAL);
    char *halfway =
        partial > 0 ? neap_format(", %lld halfway", (long long)partial) : neap_strdup("");
    print_status(cli, plan);
    cli_print(cli, "%s on %s: %lld applied, %lld pending%s", session->target->database,
              pg_address(session->target->control), (long long)count_of(plan, NEAP_STATE_APPLIED),
              (long long)count_of(plan, NEAP_STATE_PENDING), halfway);
    free(halfway);
    print_next(cli, plan);
}

int cmd_status(struct neap_cli *cli)
{
    struct neap_session session;
    struct neap_error err = {0};
    memset(&session, 0, sizeof session);
    json_t *body = NULL, *lease = json_null();
    int status = 0;
    bool looked = cli_arguments(cli, 0, 0, &err) && cli_look(cli, &session, false, &err);
    if (looked && cli->json && session.history.current && !session.target->recovery)
        looked = cmd_lease_json(&session, &lease, &err);
    if (looked) {
        const struct neap_plan *plan = &session.plan;
        if (cli->json)
            body = status_body(&session, json_incref(lease));
        else
            print_all(cli, &session);
        bool open = count_of(plan, NEAP_STATE_PENDING) + count_of(plan, NEAP_STATE_PARTIAL) > 0;
        status = cli->opt.exit_code && open ? 3 : 0;
    }
    json_decref(lease);
    return cli_end(cli, &session, status, body, &err);
}

/* The verify of one applied migration; a failure is told and kept, the walk goes
 * on. False: the run is to stop. */
static bool verify_item(struct neap_cli *cli, struct neap_session *session,
                        struct neap_plan_item *item, json_t *list, struct neap_error *first)
{
    struct neap_error err = {0};
    struct neap_source source = {0};
    bool owned = false;
    char *unverified = NULL;
    int64_t began_ms = neap_clock_ms();
    bool held = neap_session_down_source(session, item, true, &source, &owned, &err);
    if (held) {
        struct neap_unit unit = {
            .id = item->id, .name = item->name, .source = &source, .direction = NEAP_UP};
        held = neap_change_verify(&session->change, &unit, &unverified, &err);
    }
    if (owned)
        neap_source_clear(&source);
    const char *outcome = !held ? "failed" : unverified != NULL ? "unverified" : "ok";
    const char *why = held ? unverified : err.message;
    json_t *entry = json_object();
    neap_json_set(entry, "id", neap_json_text(item->id));
    neap_json_set(entry, "name", neap_json_text(item->name));
    neap_json_set(entry, "result", neap_json_text(outcome));
    neap_json_set(entry, "duration_ms", json_integer(neap_clock_ms() - began_ms));
    neap_json_set(entry, "error", held ? json_null() : neap_json_error(&err));
    json_array_append_new(list, entry);
    cli_print(cli, "%-10s  %s  %s%s%s", outcome, item->id, item->name, why == NULL ? "" : ": ",
              why == NULL ? "" : why);
    free(unverified);
    bool go_on = held || err.code == NEAP_ERR_VERIFY_FAILED;
    if (err.code == NEAP_ERR_VERIFY_FAILED)
        neap_error_hint(&err,
                        "The target is not as %s left it. Find what changed it (`neap history`) "
                        "and mend the target, or undo it: `neap down --only %s`.",
                        item->id, item->id);
    if (!held && (first->code == NEAP_OK || !go_on))
        neap_error_move(first, &err);
    neap_error_clear(&err);
    return go_on;
}

static bool is_wanted(const struct neap_cli *cli, const struct neap_plan_item *item)
{
    for (int i = 0; i < cli->argc; i++)
        if (neap_migration_id_compare(item->id, cli->argv[i]) == 0)
            return true;
    return cli->argc == 0;
}

static bool check_ids(const struct neap_cli *cli, const struct neap_plan *plan,
                      struct neap_error *err)
{
    for (int i = 0; i < cli->argc; i++) {
        const struct neap_plan_item *item = neap_plan_find(plan, cli->argv[i]);
        if (item != NULL && item->state == NEAP_STATE_APPLIED)
            continue;
        neap_error_set(err, NEAP_ERR_HISTORY_UNKNOWN, "migration %s is not applied", cli->argv[i]);
        return false;
    }
    return true;
}

int cmd_verify(struct neap_cli *cli)
{
    struct neap_session session;
    struct neap_error err = {0};
    memset(&session, 0, sizeof session);
    json_t *body = NULL;
    struct neap_session_opts opts = {.command = "verify", .bare = true};
    if (cli_look(cli, &session, false, &err) && check_ids(cli, &session.plan, &err) &&
        neap_session_begin(&session, &opts, &err)) {
        json_t *list = json_array();
        body = cli_target_json(&session);
        neap_json_set(body, "verified", list);
        for (size_t i = 0; i < session.plan.count; i++) {
            struct neap_plan_item *item = &session.plan.items[i];
            if (item->state == NEAP_STATE_APPLIED && is_wanted(cli, item) &&
                !verify_item(cli, &session, item, list, &err))
                break;
        }
        if (json_array_size(list) == 0)
            cli_print(cli, "nothing to verify: no migration is applied");
    }
    return cli_end(cli, &session, 0, body, &err);
}
