/* SPDX-License-Identifier: MIT
 *
 * restore: beside the target, into its place, and what is left of a killed one. Whoever
 * types it has seen what would be lost, or has said that it may be.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_loss.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/cli/cli_target.h"
#include "host/cli/cmd_restore.h"
#include "host/proof/proof.h"
#include "host/proof/restore.h"

#define LINES_MAX 40

static const char *text_of(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text == NULL ? "" : text;
}

static void tell_tables(const json_t *loss)
{
    char *text = backup_loss_text(loss);
    size_t lines = 0;
    for (char *line = text, *end; *line != '\0' && (end = strchr(line, '\n')) != NULL;
         line = end + 1) {
        *end = '\0';
        if (lines++ < LINES_MAX)
            neap_log(NEAP_LOG_WARN, "restore.loss", "%s", line);
    }
    if (lines > LINES_MAX)
        neap_log(NEAP_LOG_WARN, "restore.loss", "… and %zu tables more", lines - LINES_MAX);
    if (lines == 0)
        neap_log(NEAP_LOG_INFO, "restore.loss", "%s",
                 json_is_true(json_object_get(loss, "exact"))
                     ? "every table is what it was when the backup was made"
                     : "as far as counts tell, no table has other rows than the backup");
    free(text);
}

static void tell_migrations(const json_t *loss)
{
    const json_t *list = json_object_get(loss, "migrations");
    for (size_t i = 0; i < json_array_size(list); i++)
        neap_log(NEAP_LOG_WARN, "restore.loss", "since the backup: %s",
                 json_string_value(json_array_get(list, i)));
}

static void tell_loss(const char *database, const json_t *loss)
{
    char age[NEAP_DURATION_SIZE], wal[NEAP_PROOF_SIZE] = "";
    const json_t *bytes = json_object_get(loss, "wal_bytes");
    if (loss == NULL) {
        neap_log(NEAP_LOG_WARN, "restore.loss",
                 "database %s cannot be looked at, so that nobody knows what would be lost",
                 database);
        return;
    }
    neap_duration_text(json_integer_value(json_object_get(loss, "age_ms")), age);
    if (json_is_integer(bytes))
        neap_proof_size(json_integer_value(bytes), wal);
    neap_log(NEAP_LOG_WARN, "restore.loss",
             "the backup is %s old%s%s%s: what was written since is lost to database %s", age,
             wal[0] == '\0' ? "" : "; since then the server wrote ", wal,
             wal[0] == '\0' ? "" : " of WAL", database);
    tell_tables(loss);
    tell_migrations(loss);
}

/* Before anybody answers, what is lost is said. Who is asked answers by the name; who is
 * not must have said both. */
static bool agree(void *arg, const char *database, const json_t *loss, struct neap_error *err)
{
    struct neap_cli *cli = arg;
    char *what = neap_format("putting a backup in the place of database %s", database);
    tell_loss(database, loss);
    bool said = cli->opt.accept_data_loss || (loss != NULL && cli_is_asked(cli));
    if (!said) {
        neap_error_set(err, NEAP_ERR_APPROVAL_MISSING,
                       "nobody said that what was written since the backup may be lost");
        neap_error_hint(err, "Read the lines above; then give `--accept-data-loss --confirm %s`.",
                        database);
    }
    bool agreed = said && cli_confirm_name(cli, database, cli->project.env.name, what, err);
    free(what);
    return agreed;
}

static bool read_opts(struct neap_cli *cli, struct neap_restore_opts *opts, struct neap_error *err)
{
    const char *into = cli->opt.into;
    *opts = (struct neap_restore_opts){.into = into,
                                       .reason = cli->opt.reason,
                                       .ticket = cli->opt.ticket,
                                       .agree = agree,
                                       .arg = cli};
    int ways =
        (into != NULL) + (cli->opt.table != NULL) + cli->opt.swap + cli->opt.resume + cli->opt.list;
    bool none = cli->opt.resume || cli->opt.list;
    if (ways > 1) {
        neap_error_set(err, NEAP_ERR_USAGE,
                       "--into, --swap, --table, --resume and --list exclude each other");
        return false;
    }
    if (into != NULL && (into[0] == '\0' || strlen(into) > 63)) {
        neap_error_set(err, NEAP_ERR_USAGE, "--into is a name of 1 to 63 bytes");
        return false;
    }
    if (!cli_arguments(cli, none ? 0 : 1, none ? 0 : 1, err))
        return false;
    return cli->opt.timeout == NULL ||
           neap_duration_parse(cli->opt.timeout, "--timeout", &opts->timeout_ms, err);
}

static bool find_backup(struct neap_cli *cli, const char *id, struct backup *out,
                        struct neap_error *err)
{
    char *dir = cli_store(cli);
    bool found = backup_find(dir, id, cli->project.env.name, out, err);
    free(dir);
    return found;
}

/* The body takes what is in `result`. */
static json_t *body_of(const struct neap_cli *cli, json_t *result)
{
    json_t *body = json_object();
    neap_json_set(body, "environment", neap_json_text(cli->project.env.name));
    if (result != NULL)
        (void)json_object_update(body, result);
    json_decref(result);
    return body;
}

static void print_into(struct neap_cli *cli, const struct backup *backup, const json_t *result)
{
    size_t tables = json_object_size(json_object_get(backup->manifest, "tables"));
    cli_print(cli,
              "backup %s is restored as database %s: schema, %zu %s and sequences are what was "
              "backed up",
              backup->id, text_of(result, "database"), tables, tables == 1 ? "table" : "tables");
    cli_print(cli, "  on %s, whose role alone may connect to it; others: grant connect on database",
              text_of(result, "server"));
    cli_print(cli, "  `neap restore --list` shows it, and how to remove it");
}

static int restore_into(struct neap_cli *cli, const struct neap_restore_opts *opts)
{
    struct neap_error err = {0};
    struct backup backup = {0};
    json_t *result = NULL;
    bool done = cli_need_target(cli, &err) && find_backup(cli, cli->argv[0], &backup, &err) &&
                neap_restore_into(cli->loop, &cli->project, opts, &backup, &result, &err);
    cli->changed = result != NULL;
    if (result != NULL)
        print_into(cli, &backup, result);
    backup_clear(&backup);
    json_t *body = body_of(cli, result);
    if (!done)
        return cli_fail_with(cli, &err, body);
    cli_json(cli, 0, body);
    return 0;
}

static void print_swapped(struct neap_cli *cli, const json_t *result)
{
    const char *kept = text_of(result, "kept");
    cli_print(cli, "database %s is now what backup %s has", text_of(result, "database"),
              text_of(result, "backup"));
    if (kept[0] == '\0') {
        cli_print(cli, "  There was none before. Its owner, settings and rights are those of a new "
                       "one: see `neap help restore`.");
    } else {
        cli_print(cli, "  The one before is kept as %s, to which nobody can connect, until %s.",
                  kept, text_of(result, "kept_until"));
        cli_print(cli, "  `neap restore --list` shows it, and how to remove it.");
    }
    cli_print(cli, "  Now: `neap -e %s status`", cli->project.env.name);
}

/* The session with the target, or without where it cannot be opened: then it may be what
 * is lost. */
static bool look(struct neap_cli *cli, struct neap_session *session, struct neap_error *err)
{
    if (neap_session_look(session, cli->loop, &cli->project, true, err))
        return true;
    if (session->target != NULL || err->code != NEAP_ERR_DB_CONNECT)
        return false;
    neap_log(NEAP_LOG_WARN, "restore.target", "the target cannot be looked at: %s", err->message);
    neap_error_clear(err);
    return true;
}

static int end_swap(struct neap_cli *cli, struct neap_session *session, json_t *result,
                    struct neap_error *err)
{
    cli->changed = result != NULL;
    if (result != NULL)
        print_swapped(cli, result);
    return cli_end(cli, session, 0, body_of(cli, result), err);
}

static int restore_swap(struct neap_cli *cli, const struct neap_restore_opts *opts)
{
    struct neap_session session;
    struct neap_error err = {0};
    struct backup backup = {0};
    json_t *result = NULL;
    memset(&session, 0, sizeof session);
    if (cli_need_reason(cli, &err) && cli_need_target(cli, &err) &&
        find_backup(cli, cli->argv[0], &backup, &err) && look(cli, &session, &err))
        (void)neap_restore_swap(&session, opts, &backup, &result, &err);
    int status = end_swap(cli, &session, result, &err);
    backup_clear(&backup);
    return status;
}

static void print_list(struct neap_cli *cli, const json_t *list)
{
    static const char *const headings[] = {"database", "what",   "backup", "size",
                                           "until",    "remove", NULL};
    struct cli_table *table = cli_table_new(headings);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        const json_t *bytes = json_object_get(row, "bytes");
        const char *kind = text_of(row, "kind"), *state = text_of(row, "state");
        bool running = json_is_true(json_object_get(row, "running"));
        char size[NEAP_PROOF_SIZE] = "?";
        if (json_is_integer(bytes))
            neap_proof_size(json_integer_value(bytes), size);
        const char *what = running                       ? "in use by a run"
                           : strcmp(kind, "kept") == 0   ? "the target before"
                           : strcmp(state, "whole") == 0 ? "restored"
                                                         : "left by a killed run";
        const char *const cells[] = {
            text_of(row, "name"), what, text_of(row, "backup"), size, text_of(row, "until"),
            text_of(row, "drop"), NULL};
        cli_table_row(table, CLI_PLAIN, cells);
    }
    cli_table_print(cli, table);
}

static int restore_list(struct neap_cli *cli)
{
    struct neap_error err = {0};
    json_t *list = NULL;
    if (!cli_need_target(cli, &err) || !neap_restore_list(cli->loop, &cli->project, &list, &err))
        return cli_fail(cli, &err);
    if (json_array_size(list) == 0)
        cli_print(cli, "no restore left anything on this server");
    else
        print_list(cli, list);
    json_t *body = body_of(cli, NULL);
    neap_json_set(body, "databases", list);
    cli_json(cli, 0, body);
    return 0;
}

/* There is nothing to go on with: what is the target, then. */
static int print_done(struct neap_cli *cli)
{
    struct neap_error err = {0};
    json_t *list = NULL;
    if (!neap_restore_list(cli->loop, &cli->project, &list, &err))
        return cli_fail(cli, &err);
    cli_print(cli, "no restore waits to be finished: the target is whole, and it is");
    const json_t *kept = NULL;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(text_of(json_array_get(list, i), "kind"), "kept") == 0 &&
            (kept == NULL ||
             strcmp(text_of(kept, "at"), text_of(json_array_get(list, i), "at")) < 0))
            kept = json_array_get(list, i);
    if (kept == NULL)
        cli_print(cli, "  the one it always was: no restore has taken its place");
    else
        cli_print(cli, "  what backup %s has, since run %s; the one before is kept as %s",
                  text_of(kept, "backup"), text_of(kept, "run_id"), text_of(kept, "name"));
    json_t *body = body_of(cli, NULL);
    neap_json_set(body, "status", neap_json_text("nothing"));
    neap_json_set(body, "databases", list);
    cli_json(cli, 0, body);
    return 0;
}

static int restore_resume(struct neap_cli *cli, const struct neap_restore_opts *opts)
{
    struct neap_session session;
    struct neap_error err = {0};
    struct neap_restore_rest rest = {0};
    struct backup backup = {0};
    json_t *result = NULL;
    memset(&session, 0, sizeof session);
    bool looked =
        cli_need_target(cli, &err) && neap_restore_look(cli->loop, &cli->project, &rest, &err);
    if (looked && rest.name == NULL)
        return print_done(cli);
    if (looked)
        neap_log(NEAP_LOG_INFO, "restore.rest",
                 "run %s had restored backup %s as %s; the target is still the old database",
                 rest.run_id, rest.backup, rest.name);
    if (looked && cli_need_reason(cli, &err) && find_backup(cli, rest.backup, &backup, &err) &&
        look(cli, &session, &err))
        (void)neap_restore_resume(&session, opts, &rest, &backup, &result, &err);
    int status = end_swap(cli, &session, result, &err);
    backup_clear(&backup);
    neap_restore_rest_clear(&rest);
    return status;
}

static int restore_table(struct neap_cli *cli, const struct neap_restore_opts *opts)
{
    struct neap_session session;
    struct neap_error err = {0};
    struct backup backup = {0};
    json_t *result = NULL;
    memset(&session, 0, sizeof session);
    if (cli_need_target(cli, &err) && find_backup(cli, cli->argv[0], &backup, &err) &&
        neap_session_look(&session, cli->loop, &cli->project, true, &err) &&
        cli_confirm(cli, &session, "restoring a table beside the live one", &err))
        (void)neap_restore_table(&session, opts, &backup, cli->opt.table, &result, &err);
    cli->changed = result != NULL;
    if (result != NULL) {
        cli_print(cli, "table %s of backup %s is there as %s: %lld rows, what was backed up",
                  text_of(result, "table"), backup.id, text_of(result, "restored"),
                  (long long)json_integer_value(json_object_get(result, "rows")));
        cli_print(cli, "Rows that differ:");
        cli_print_raw(cli, "\n");
        for (char *text = neap_strdup(text_of(result, "compare")), *line = text; line != NULL;) {
            char *end = strchr(line, '\n');
            if (end != NULL)
                *end = '\0';
            cli_print(cli, "    %s%s", line, end == NULL ? ";" : "");
            line = end == NULL ? NULL : end + 1;
            if (line == NULL)
                free(text);
        }
        cli_print_raw(cli, "\n");
        cli_print(cli, "Remove it with: %s;", text_of(result, "drop"));
    }
    int status = cli_end(cli, &session, 0, body_of(cli, result), &err);
    backup_clear(&backup);
    return status;
}

int cmd_restore(struct neap_cli *cli)
{
    struct neap_error err = {0};
    struct neap_restore_opts opts;
    if (!read_opts(cli, &opts, &err))
        return cli_fail(cli, &err);
    if (cli->opt.list)
        return restore_list(cli);
    if (cli->opt.resume)
        return restore_resume(cli, &opts);
    int status = 0;
    if (cmd_restore_archive(cli, &status))
        return status;
    if (cli->opt.run != NULL) {
        neap_error_set(&err, NEAP_ERR_USAGE, "--run is for backups of the whole server");
        return cli_fail(cli, &err);
    }
    if (cli->opt.table != NULL)
        return restore_table(cli, &opts);
    return cli->opt.swap ? restore_swap(cli, &opts) : restore_into(cli, &opts);
}
