/* SPDX-License-Identifier: MIT
 *
 * history, and the events that several commands print.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/cli/cmd_events.h"

struct events {
    struct neap_cli *cli;
    json_t *list;
};

static bool on_event(void *arg, const char *hash, const json_t *event)
{
    struct events *events = arg;
    json_t *copy = json_deep_copy(event);
    neap_json_set(copy, "hash", neap_json_text(hash));
    json_array_append_new(events->list, copy);
    char *fields = neap_json_canonical(json_object_get(event, "data"));
    cli_print(events->cli, "%s  %s  %lld  %s  %s",
              json_string_value(json_object_get(event, "time")),
              json_string_value(json_object_get(event, "run")),
              (long long)json_integer_value(json_object_get(event, "seq")),
              json_string_value(json_object_get(event, "event")), fields);
    free(fields);
    return true;
}

struct counted {
    bool (*fn)(void *arg, const char *hash, const json_t *event);
    void *arg;
    bool any;
};

static bool on_counted(void *arg, const char *hash, const json_t *event)
{
    struct counted *counted = arg;
    counted->any = true;
    return counted->fn(counted->arg, hash, event);
}

bool cmd_events_each(struct neap_cli *cli, struct neap_session *session,
                     bool (*fn)(void *arg, const char *hash, const json_t *event), void *arg,
                     struct neap_error *err)
{
    struct counted counted = {.fn = fn, .arg = arg};
    struct neap_audit_verify_opts where = {
        .state_dir = session->project->state_dir,
        .identity = session->target->identity,
        .control = session->history.installed ? session->target->control : NULL,
    };
    if (!neap_audit_gather(&where, cli->opt.run, on_counted, &counted, err))
        return false;
    if (counted.any || cli->opt.run == NULL)
        return true;
    neap_error_set(err, NEAP_ERR_USAGE, "there is no run %s, here or in the target", cli->opt.run);
    neap_error_hint(err, "`neap audit show` has the runs' ids in its second column.");
    return false;
}

bool cmd_events(struct neap_cli *cli, struct neap_session *session, json_t *list,
                struct neap_error *err)
{
    struct events events = {.cli = cli, .list = list};
    return cmd_events_each(cli, session, on_event, &events, err);
}

static json_t *entry_json(const struct neap_history_row *row)
{
    char hex[NEAP_HASH_HEX_SIZE], at[NEAP_UTC_SIZE];
    json_t *json = json_object();
    neap_clock_utc_of(row->at_us, at);
    neap_json_set(json, "seq", json_integer(row->seq));
    neap_json_set(json, "id", neap_json_text(row->id));
    neap_json_set(json, "name", neap_json_text(row->name));
    neap_json_set(json, "action", neap_json_text(row->action));
    neap_json_set(json, "run_id", neap_json_text(row->run_id));
    neap_json_set(json, "actor", neap_json_text(row->actor));
    neap_json_set(json, "reason", neap_json_text(row->reason));
    neap_json_set(json, "ticket", neap_json_text(row->ticket));
    neap_json_set(json, "at", neap_json_text(at));
    neap_json_set(json, "duration_ms", json_integer(row->duration_ms));
    neap_hash_hex(&row->exact, hex);
    neap_json_set(json, "exact", neap_json_text(hex));
    neap_hash_hex(&row->token, hex);
    neap_json_set(json, "token", neap_json_text(hex));
    return json;
}

static json_t *print_history(struct neap_cli *cli, const struct neap_history *history)
{
    static const char *const headings[] = {"at",    "id",     "name",   "action",
                                           "actor", "ticket", "reason", NULL};
    struct cli_table *table = cli_table_new(headings);
    json_t *list = json_array();
    for (size_t i = 0; i < history->count; i++) {
        const struct neap_history_row *row = &history->rows[i];
        if ((cli->argc > 0 && neap_migration_id_compare(row->id, cli->argv[0]) != 0) ||
            (cli->opt.run != NULL && strcmp(row->run_id, cli->opt.run) != 0))
            continue;
        char at[NEAP_UTC_SIZE];
        neap_clock_utc_of(row->at_us, at);
        const char *cells[] = {at,
                               row->id,
                               row->name,
                               row->action,
                               row->actor == NULL ? "" : row->actor,
                               row->ticket == NULL ? "" : row->ticket,
                               row->reason == NULL ? "" : row->reason,
                               NULL};
        cli_table_row(table, CLI_PLAIN, cells);
        json_array_append_new(list, entry_json(row));
    }
    cli_table_print(cli, table);
    if (cli->opt.run != NULL && json_array_size(list) == 0)
        cli_print(cli, "history has nothing of run %s; see `neap audit show --run %s`",
                  cli->opt.run, cli->opt.run);
    return list;
}

/* A mistyped id would look like a migration that nothing was ever done to. */
static bool check_id(const struct neap_cli *cli, const struct neap_session *session,
                     const struct neap_history *all, struct neap_error *err)
{
    if (cli->argc == 0 || neap_plan_find(&session->plan, cli->argv[0]) != NULL)
        return true;
    for (size_t i = 0; i < all->count; i++)
        if (neap_migration_id_compare(all->rows[i].id, cli->argv[0]) == 0)
            return true;
    neap_error_set(err, NEAP_ERR_HISTORY_UNKNOWN, "there is no migration %s", cli->argv[0]);
    return false;
}

int cmd_history(struct neap_cli *cli)
{
    struct neap_session session;
    struct neap_error err = {0};
    struct neap_history all = {0};
    memset(&session, 0, sizeof session);
    json_t *body = NULL;
    if (cli_arguments(cli, 0, 1, &err) && cli_look(cli, &session, false, &err) &&
        neap_history_all(session.target->control, &all, &err) &&
        check_id(cli, &session, &all, &err)) {
        body = cli_target_json(&session);
        neap_json_set(body, "history", print_history(cli, &all));
        if (cli->opt.events) {
            json_t *list = json_array();
            neap_json_set(body, "events", list);
            cmd_events(cli, &session, list, &err);
        }
    }
    neap_history_clear(&all);
    return cli_end(cli, &session, 0, body, &err);
}
