/* SPDX-License-Identifier: MIT
 *
 * backup prune: what goes by the environment's retention, and why the rest stays. It asks
 * nobody: it runs by night, and the last proved backup stays whatever the retention says.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/cli/cli_target.h"
#include "host/proof/proof.h"
#include "host/proof/prune.h"

static json_t *entry_json(const struct neap_prune *prune, size_t index)
{
    const struct backup *backup = &prune->backups[index];
    const struct neap_retention *verdict = &prune->verdicts[index];
    json_t *json = json_object();
    char until[NEAP_UTC_SIZE];
    neap_json_set(json, "id", neap_json_text(backup->id));
    neap_json_set(json, "tag", json_incref(json_object_get(backup->manifest, "tag")));
    neap_json_set(json, "bytes", json_incref(json_object_get(backup->manifest, "bytes")));
    neap_json_set(json, "finished_at",
                  json_incref(json_object_get(backup->manifest, "finished_at")));
    neap_json_set(json, "proved", json_boolean(backup_is_proved(backup)));
    neap_json_set(json, "why", neap_json_text(neap_retention_why_name(verdict->why)));
    neap_clock_utc_of(verdict->until_us, until);
    neap_json_set(json, "until", neap_json_text(verdict->until_us == 0 ? NULL : until));
    return json;
}

/* "2026-12-21 07:08" */
static void put_minute(const char *utc, char text[17])
{
    size_t length = strlen(utc);
    memset(text, 0, 17);
    memcpy(text, utc, length < 16 ? length : 16);
    if (length > 10)
        text[10] = ' ';
}

static void add_row(struct cli_table *table, const struct neap_prune *prune, size_t index,
                    bool dry_run)
{
    const struct backup *backup = &prune->backups[index];
    const struct neap_retention *verdict = &prune->verdicts[index];
    char size[NEAP_PROOF_SIZE], until[NEAP_UTC_SIZE], made[17], over[17];
    bool goes = verdict->why == NEAP_GOES;
    neap_proof_size(json_integer_value(json_object_get(backup->manifest, "bytes")), size);
    neap_clock_utc_of(verdict->until_us, until);
    put_minute(backup_text(backup, "finished_at"), made);
    put_minute(until, over);
    const char *const cells[] = {backup->id,
                                 backup_text(backup, "tag"),
                                 made,
                                 size,
                                 !goes                   ? "stays"
                                 : dry_run               ? "would go"
                                 : prune->removed[index] ? "removed"
                                                         : "still there",
                                 verdict->until_us == 0 ? "" : over,
                                 neap_retention_why_text(verdict->why),
                                 NULL};
    cli_table_row(table, goes ? CLI_YELLOW : CLI_PLAIN, cells);
}

static bool is_shown(const struct neap_prune *prune, size_t index)
{
    return prune->verdicts[index].why != NEAP_STAYS_ENVIRONMENT;
}

static void print_table(struct neap_cli *cli, const struct neap_prune *prune, bool dry_run)
{
    static const char *const headings[] = {"id",    "tag",   "made", "size",
                                           "prune", "until", "why",  NULL};
    struct cli_table *table = cli_table_new(headings);
    for (size_t i = 0; i < prune->count; i++)
        if (is_shown(prune, i))
            add_row(table, prune, i, dry_run);
    cli_table_print(cli, table);
}

static void print_prune(struct neap_cli *cli, const struct neap_prune *prune, bool dry_run)
{
    size_t shown = 0, gone = 0;
    int64_t bytes = 0;
    char size[NEAP_PROOF_SIZE];
    for (size_t i = 0; i < prune->count; i++) {
        shown += is_shown(prune, i);
        if (!(dry_run ? prune->verdicts[i].why == NEAP_GOES : prune->removed[i]))
            continue;
        gone++;
        bytes += json_integer_value(json_object_get(prune->backups[i].manifest, "bytes"));
    }
    neap_proof_size(bytes, size);
    if (shown > 0)
        print_table(cli, prune, dry_run);
    cli_print(cli, "%zu of %zu %s, %s", gone, shown,
              dry_run ? "would go; nothing was done" : "removed", size);
}

static json_t *body_of(const struct neap_cli *cli, const struct neap_prune *prune,
                       const char *store)
{
    json_t *body = json_object(), *removed = json_array(), *kept = json_array();
    bool dry_run = cli->opt.dry_run;
    for (size_t i = 0; i < prune->count; i++) {
        bool goes = dry_run ? prune->verdicts[i].why == NEAP_GOES : prune->removed[i];
        if (is_shown(prune, i))
            json_array_append_new(goes ? removed : kept, entry_json(prune, i));
    }
    neap_json_set(body, "environment", neap_json_text(cli->project.env.name));
    neap_json_set(body, "dir", neap_json_text(store));
    neap_json_set(body, "dry_run", json_boolean(dry_run));
    neap_json_set(body, "removed", removed);
    neap_json_set(body, "kept", kept);
    return body;
}

int cmd_backup_prune(struct neap_cli *cli)
{
    struct neap_error err = {0};
    struct neap_prune prune = {0};
    if (!cli_arguments(cli, 0, 0, &err) || !cli_need_project(cli, &err) ||
        !neap_project_need_target(&cli->project, &err))
        return cli_fail(cli, &err);
    char *store = cli_store(cli);
    struct neap_prune_opts opts = {
        .store = store, .reason = cli->opt.reason, .ticket = cli->opt.ticket};
    bool done = cli->opt.dry_run ? neap_prune_look(&cli->project, store, &prune, &err)
                                 : neap_prune_run(cli->loop, &cli->project, &opts, &prune, &err);
    json_t *body = body_of(cli, &prune, store);
    if (done || prune.count > 0)
        print_prune(cli, &prune, cli->opt.dry_run);
    neap_prune_clear(&prune);
    free(store);
    if (!done)
        return cli_fail_with(cli, &err, body);
    cli_json(cli, 0, body);
    return 0;
}
