/* SPDX-License-Identifier: MIT
 *
 * restore of a whole server: the steps, the line to type, and what it costs. Printed, never
 * done: it stops the server under every database of it.
 */
#include "host/cli/cmd_restore.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/cli/cli_target.h"
#include "host/proof/proof_run.h"
#include "host/proof/restore_archive.h"

static json_t *place_json(const struct neap_restore_place *place)
{
    json_t *json = json_object();
    neap_json_set(json, "run", neap_json_text(place->run));
    neap_json_set(json, "at", neap_json_text(place->at));
    neap_json_set(json, "name", neap_json_text(place->name));
    neap_json_set(json, "lsn", neap_json_text(place->lsn));
    neap_json_set(json, "timeline", json_integer(place->timeline));
    return json;
}

static json_t *body_of(const struct backup *backup, const struct neap_restore_archive *found)
{
    json_t *body = json_object(), *places = json_array();
    for (size_t i = 0; i < found->count; i++)
        json_array_append_new(places, place_json(&found->places[i]));
    neap_json_set(body, "environment", neap_json_text(backup_text(backup, "environment")));
    neap_json_set(body, "backup", neap_json_text(backup->id));
    neap_json_set(body, "archive", json_incref(json_object_get(backup->manifest, "archive")));
    neap_json_set(body, "line", neap_json_text(found->line));
    neap_json_set(body, "target", found->chosen == NULL ? json_null() : place_json(found->chosen));
    neap_json_set(body, "targets", places);
    return body;
}

static int64_t archive_timeline(const struct backup *backup)
{
    return json_integer_value(
        json_object_get(json_object_get(backup->manifest, "archive"), "timeline"));
}

static void print_target(struct neap_cli *cli, const struct backup *backup,
                         const struct neap_restore_archive *found)
{
    const struct neap_restore_place *place = found->chosen;
    cli_print(cli, "backup %s is of the whole server: %s of %s, %s. neap does not restore it.",
              backup->id, backup_archive_text(backup, "server"),
              backup_archive_text(backup, "tool"), backup_archive_text(backup, "label"));
    if (place == NULL)
        cli_print(cli,
                  "No run is known that began after it: this goes back to the backup itself, "
                  "%s.",
                  backup_archive_text(backup, "end_lsn"));
    else
        cli_print(cli, "This goes back to right before run %s of %s: %s%s%s, timeline %lld.",
                  place->run, place->at, place->name == NULL ? "" : place->name,
                  place->name == NULL ? "LSN " : " at ", place->lsn, (long long)place->timeline);
    if (place != NULL && place->timeline != archive_timeline(backup))
        cli_print(cli,
                  "The backup is of timeline %lld: the server says at once whether that leads "
                  "there.",
                  (long long)archive_timeline(backup));
    cli_print(cli, "What was written since is lost, in ALL databases of the server.");
}

static void print_others(struct neap_cli *cli, const struct backup *backup,
                         const struct neap_restore_archive *found)
{
    if (found->count < 2)
        return;
    cli_print(cli, "Before another run: `neap restore %s --run RUN`", backup->id);
    for (size_t i = found->count; i-- > 0;)
        if (&found->places[i] != found->chosen)
            cli_print(cli, "  %s  %s", found->places[i].run, found->places[i].at);
}

static void print_steps(struct neap_cli *cli, const struct backup *backup,
                        const struct neap_restore_archive *found)
{
    print_target(cli, backup, found);
    cli_print(cli, "%s", "");
    cli_print(cli, "1. Stop what writes. Then stop the server, and not by force: only so its last "
                   "WAL is archived.");
    cli_print(cli, "2. Where there is room, copy its data directory; else pg_wal in it.");
    cli_print(cli, "3. On its machine:");
    cli_print(cli, "%s", "");
    cli_print(cli, "   %s", found->line);
    cli_print(cli, "%s", "");
    cli_print(cli,
              "4. Start the server. It is back when `select pg_is_in_recovery()` says f. If it "
              "ends with");
    cli_print(cli,
              "   \"recovery ended before configured recovery target\", that WAL is not in the "
              "archive.");
    cli_print(cli,
              "5. Standbys must be made anew. Then `neap -e %s status`, and a new `neap -e %s "
              "backup create`.",
              backup_text(backup, "environment"), backup_text(backup, "environment"));
    print_others(cli, backup, found);
}

static bool check_options(const struct neap_cli *cli, const struct backup *backup,
                          struct neap_error *err)
{
    if (!cli->opt.swap && cli->opt.into == NULL && cli->opt.table == NULL)
        return true;
    neap_error_set(err, NEAP_ERR_USAGE,
                   "backup %s is of the whole server: no database can be made of it alone",
                   backup->id);
    neap_error_hint(err, "`neap restore %s` prints how to go back with the whole server.",
                    backup->id);
    return false;
}

bool cmd_restore_archive(struct neap_cli *cli, int *status)
{
    struct neap_error err = {0};
    struct backup backup = {0};
    struct neap_restore_archive found = {.line = NULL};
    if (!cli_need_project(cli, NULL))
        return false;
    char *dir = cli_store(cli);
    bool is = backup_find(dir, cli->argv[0], cli->project.env.name, &backup, NULL) &&
              backup_is_archive(&backup);
    free(dir);
    if (is && check_options(cli, &backup, &err) &&
        neap_proof_sums(cli->loop, &cli->project, &backup, "restore", &err) &&
        neap_restore_archive(&cli->project, &backup, cli->opt.run, &found, &err)) {
        print_steps(cli, &backup, &found);
        cli_json(cli, 0, body_of(&backup, &found));
        *status = 0;
    } else if (is) {
        *status = cli_fail(cli, &err);
    }
    neap_restore_archive_clear(&found);
    backup_clear(&backup);
    return is;
}
