/* SPDX-License-Identifier: MIT
 *
 * repair, accept, baseline: history as a person says it is, with the reason.
 * Nothing of a script runs here.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/change/commit.h"
#include "host/cli/cmd_change.h"

/* One row in history, by the host, in a transaction of its own. */
static bool record(struct neap_session *session, const struct neap_plan_item *item,
                   const char *action, bool settle, struct neap_error *err)
{
    struct neap_change *change = &session->change;
    struct neap_tx tx;
    void *bundle = NULL;
    size_t length = 0;
    json_t *fields = json_object();
    neap_json_set(fields, "id", neap_json_text(item->id));
    neap_json_set(fields, "name", neap_json_text(item->name));
    neap_json_set(fields, "action", neap_json_text(action));
    neap_audit_add(session->audit, "history.settled", fields);
    if (item->file != NULL)
        neap_source_bundle(&item->source, &bundle, &length);
    struct neap_history_entry entry = {
        .id = item->id,
        .name = item->name,
        .action = action,
        .actor = change->actor->name,
        .reason = change->reason,
        .ticket = change->ticket,
        .exact = item->file != NULL ? &item->source.exact : &item->row->exact,
        .token = item->file != NULL ? &item->source.token : &item->row->token,
        .bundle = bundle,
        .bundle_length = length,
        .settle_steps = settle,
    };
    struct neap_attempt_key key = {item->id, action};
    struct neap_outcome outcome = {0};
    struct neap_unit unit = {.id = item->id, .name = item->name, .source = &item->source};
    bool done = neap_tx_begin(&tx, change, &key, change->env->lock_timeout_ms, err) &&
                neap_tx_record(&tx, &entry, err) && neap_commit_send(&tx, err) &&
                neap_commit_end(&tx, &unit, &outcome, err);
    if (!done)
        neap_tx_rollback(&tx);
    free(bundle);
    return done;
}

static json_t *recorded_json(const struct neap_plan_item *item, const char *action)
{
    json_t *json = json_object();
    neap_json_set(json, "id", neap_json_text(item->id));
    neap_json_set(json, "name", neap_json_text(item->name));
    neap_json_set(json, "action", neap_json_text(action));
    return json;
}

/* What `choose` picks is recorded as `action`, each in its own transaction. */
struct settlement {
    const char *what; /* "repairing 0003", for the confirmation */
    const char *action;
    const char *id;
    bool settle_steps;
    bool (*is_chosen)(const struct settlement *settlement, const struct neap_plan_item *item);
    bool (*check)(const struct settlement *settlement, const struct neap_plan_item *item,
                  struct neap_error *err);
};

static bool settle_items(struct neap_cli *cli, struct neap_session *session,
                         const struct settlement *settlement, json_t *list, struct neap_error *err)
{
    for (size_t i = 0; i < session->plan.count; i++) {
        struct neap_plan_item *item = &session->plan.items[i];
        if (!settlement->is_chosen(settlement, item))
            continue;
        if (!record(session, item, settlement->action, settlement->settle_steps, err))
            return false;
        cli->changed = true;
        json_array_append_new(list, recorded_json(item, settlement->action));
        cli_print(cli, "%s  %s  %s", settlement->action, item->id, item->name);
    }
    return true;
}

static bool check_item(struct neap_session *session, const struct settlement *settlement,
                       struct neap_error *err)
{
    const struct neap_plan_item *item = neap_plan_find(&session->plan, settlement->id);
    if (item != NULL)
        return settlement->check(settlement, item, err);
    neap_error_set(err, NEAP_ERR_HISTORY_UNKNOWN, "there is no migration %s", settlement->id);
    return false;
}

static int settle(struct neap_cli *cli, const struct settlement *settlement, struct neap_error *err)
{
    struct neap_session session;
    memset(&session, 0, sizeof session);
    json_t *body = NULL;
    struct neap_session_opts opts = {
        .command = cli->command->name, .reason = cli->opt.reason, .ticket = cli->opt.ticket};
    if (err->code == NEAP_OK && cli_need_reason(cli, err) && cli_look(cli, &session, true, err) &&
        check_item(&session, settlement, err) &&
        cli_confirm(cli, &session, settlement->what, err) &&
        neap_session_begin(&session, &opts, err) && check_item(&session, settlement, err)) {
        json_t *list = json_array();
        body = cli_target_json(&session);
        neap_json_set(body, "recorded", list);
        settle_items(cli, &session, settlement, list, err);
    }
    return cli_end(cli, &session, 0, body, err);
}

static bool is_the_one(const struct settlement *settlement, const struct neap_plan_item *item)
{
    return neap_migration_id_compare(item->id, settlement->id) == 0;
}

static bool check_repair(const struct settlement *settlement, const struct neap_plan_item *item,
                         struct neap_error *err)
{
    bool applied = strcmp(settlement->action, "repair.applied") == 0;
    if (item->problem == NEAP_PROBLEM_FORGED ||
        item->state != (applied ? NEAP_STATE_APPLIED : NEAP_STATE_PENDING))
        return true;
    neap_error_set(err, NEAP_ERR_USAGE, "migration %s is %s already", item->id,
                   applied ? "applied" : "pending");
    return false;
}

int cmd_repair(struct neap_cli *cli)
{
    struct neap_error err = {0};
    const char *mark = cli->opt.mark == NULL ? "" : cli->opt.mark;
    struct settlement settlement = {.what = "repairing the history",
                                    .action = "repair.pending",
                                    .settle_steps = true,
                                    .is_chosen = is_the_one,
                                    .check = check_repair};
    if (cli_arguments(cli, 1, 1, &err))
        settlement.id = cli->argv[0];
    if (strcmp(mark, "applied") == 0)
        settlement.action = "repair.applied";
    else if (strcmp(mark, "pending") != 0 && err.code == NEAP_OK)
        neap_error_set(&err, NEAP_ERR_USAGE,
                       "`neap repair` needs `--mark applied` or `--mark "
                       "pending`: what the migration is on the target");
    return settle(cli, &settlement, &err);
}

static bool check_accept(const struct settlement *settlement, const struct neap_plan_item *item,
                         struct neap_error *err)
{
    (void)settlement;
    if (item->problem == NEAP_PROBLEM_CHANGED || item->problem == NEAP_PROBLEM_COSMETIC)
        return true;
    bool missing = item->problem == NEAP_PROBLEM_MISSING;
    neap_error_set(err, NEAP_ERR_USAGE, "migration %s has no changed file to accept%s", item->id,
                   missing ? ": its file is missing" : "");
    if (missing)
        neap_error_hint(err,
                        "Restore the file, or undo it with the stored copy: `neap down --only "
                        "%s`.",
                        item->id);
    return false;
}

int cmd_accept(struct neap_cli *cli)
{
    struct neap_error err = {0};
    struct settlement settlement = {.what = "accepting a changed script",
                                    .action = "accept",
                                    .is_chosen = is_the_one,
                                    .check = check_accept};
    if (cli_arguments(cli, 1, 1, &err))
        settlement.id = cli->argv[0];
    return settle(cli, &settlement, &err);
}

static bool is_up_to(const struct settlement *settlement, const struct neap_plan_item *item)
{
    return item->state == NEAP_STATE_PENDING && item->file != NULL &&
           neap_migration_id_compare(item->id, settlement->id) <= 0;
}

static bool check_baseline(const struct settlement *settlement, const struct neap_plan_item *item,
                           struct neap_error *err)
{
    (void)settlement;
    if (item->state == NEAP_STATE_PENDING)
        return true;
    neap_error_set(err, NEAP_ERR_USAGE, "migration %s is %s already", item->id,
                   neap_state_name(item->state));
    return false;
}

int cmd_baseline(struct neap_cli *cli)
{
    struct neap_error err = {0};
    struct settlement settlement = {.what = "recording a baseline",
                                    .action = "baseline",
                                    .is_chosen = is_up_to,
                                    .check = check_baseline};
    if (cli_arguments(cli, 1, 1, &err))
        settlement.id = cli->argv[0];
    return settle(cli, &settlement, &err);
}
