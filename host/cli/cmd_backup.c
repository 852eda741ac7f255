/* SPDX-License-Identifier: MIT
 *
 * backup create, list, show, verify. Only create needs the target: the others are
 * for the hour when it is gone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/base/text.h"
#include "host/cli/cli_target.h"
#include "host/proof/proof.h"
#include "host/proof/prune.h"

#define JOBS_MAX 64

/* No deadline but the one that is given: a backup takes as long as it takes. */
static bool read_timeout(const struct neap_cli *cli, int64_t *out, struct neap_error *err)
{
    *out = 0;
    return cli->opt.timeout == NULL || neap_duration_parse(cli->opt.timeout, "--timeout", out, err);
}

/* A tag becomes a word of the list. One that is nearly a tag of the retention is more often
 * a slip than a wish, and would keep the backup for ever. */
static bool check_tag(const char *tag, struct neap_error *err)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    const char *const *tags = neap_retention_tags();
    if (tag == NULL)
        return true;
    if (tag[0] == '\0' || strlen(tag) > 63 || tag[strspn(tag, letters)] != '\0') {
        neap_error_set(err, NEAP_ERR_USAGE, "--tag is a word of letters, digits, _, . and -");
        return false;
    }
    while (*tags != NULL && strcmp(*tags, tag) != 0)
        tags++;
    const char *nearest = *tags != NULL ? NULL : neap_text_nearest(tag, neap_retention_tags());
    if (nearest != NULL)
        neap_log(NEAP_LOG_WARN, "backup.tag",
                 "`neap backup prune` knows no tag %s, and will never remove this backup; did you "
                 "mean %s?",
                 tag, nearest);
    return true;
}

static bool check_sample(const struct neap_cli *cli, const struct neap_proof_create_opts *opts,
                         struct neap_error *err)
{
    if (opts->sample_rows_over > 0)
        return true;
    neap_error_set(err, NEAP_ERR_USAGE, "--sample-over is a number of rows, not \"%s\"",
                   cli->opt.sample_over);
    return false;
}

static bool read_create(const struct neap_cli *cli, struct neap_proof_create_opts *opts,
                        struct neap_error *err)
{
    *opts = (struct neap_proof_create_opts){
        .tag = cli->opt.tag, .reason = cli->opt.reason, .ticket = cli->opt.ticket};
    if (!backup_kind_of(cli->opt.kind, &opts->kind)) {
        neap_error_set(err, NEAP_ERR_USAGE, "--kind is full, schema or data, not \"%s\"",
                       cli->opt.kind);
        return false;
    }
    if (cli->opt.jobs != NULL && (!cli_count(cli->opt.jobs, "--jobs", &opts->jobs, err)))
        return false;
    if (cli->opt.jobs != NULL && (opts->jobs < 1 || opts->jobs > JOBS_MAX)) {
        neap_error_set(err, NEAP_ERR_USAGE, "--jobs is between 1 and %d", JOBS_MAX);
        return false;
    }
    if (cli->opt.sample_over != NULL &&
        (!cli_count(cli->opt.sample_over, "--sample-over", &opts->sample_rows_over, err) ||
         !check_sample(cli, opts, err)))
        return false;
    return check_tag(cli->opt.tag, err) && read_timeout(cli, &opts->timeout_ms, err);
}

static const char *proof_of(const struct backup *backup)
{
    const char *level = json_string_value(json_object_get(backup->verified, "level"));
    if (backup->manifest == NULL)
        return "UNREADABLE";
    if (level == NULL)
        return "not yet";
    if (!json_is_true(json_object_get(backup->verified, "ok")))
        return "FAILED";
    if (strcmp(level, BACKUP_ARCHIVE) == 0)
        return "checked";
    return strcmp(level, "full") == 0 ? "proved" : "quick look";
}

/* The manifest, with what the last verify found. */
static json_t *backup_json(const struct backup *backup)
{
    json_t *json = backup->manifest == NULL ? json_object() : json_copy(backup->manifest);
    neap_json_set(json, "id", neap_json_text(backup->id));
    neap_json_set(json, "path", neap_json_text(backup->path));
    neap_json_set(json, "verified",
                  backup->verified == NULL ? json_null() : json_incref(backup->verified));
    if (backup->manifest == NULL)
        neap_json_set(json, "problem", neap_json_error(&backup->problem));
    return json;
}

static bool is_sampled(const struct backup *backup)
{
    return json_object_get(backup->manifest, "sample_rows_over") != NULL;
}

static void print_archived(struct neap_cli *cli, const struct backup *backup)
{
    cli_print(cli, "  of the whole server, in the archive %s of %s: %s, whole from %s on",
              backup_archive_text(backup, "server"), backup_archive_text(backup, "tool"),
              backup_archive_text(backup, "label"), backup_archive_text(backup, "end_lsn"));
    cli_print(cli,
              "Not verified yet: `neap backup verify %s` has it read again. `neap restore %s` "
              "prints how to go back.",
              backup->id, backup->id);
}

static void print_created(struct neap_cli *cli, const struct backup *backup)
{
    char size[NEAP_PROOF_SIZE], spent[NEAP_DURATION_SIZE];
    size_t tables = json_object_size(json_object_get(backup->manifest, "tables"));
    neap_proof_size(json_integer_value(json_object_get(backup->manifest, "bytes")), size);
    neap_duration_text(json_integer_value(json_object_get(backup->manifest, "duration_ms")), spent);
    cli_print(cli, "backup %s  %s  %s in %s", backup->id, backup_text(backup, "kind"), size, spent);
    if (backup_is_archive(backup)) {
        print_archived(cli, backup);
        return;
    }
    if (tables > 0)
        cli_print(cli, "  %zu %s counted and digested in the same snapshot%s", tables,
                  tables == 1 ? "table" : "tables",
                  is_sampled(backup) ? "; of large ones a sample" : "");
    cli_print(cli, "  %s", backup->path);
    cli_print(cli, "It is not proved yet: `neap backup verify %s` restores and compares it.",
              backup->id);
}

int cmd_backup_create(struct neap_cli *cli)
{
    struct neap_session session;
    struct neap_error err = {0};
    struct neap_proof_create_opts opts;
    struct backup made = {0};
    json_t *body = NULL;
    char *dir = NULL;
    memset(&session, 0, sizeof session);
    if (cli_arguments(cli, 0, 0, &err) && read_create(cli, &opts, &err) &&
        cli_look(cli, &session, false, &err)) {
        opts.dir = dir = cli_store(cli);
        /* Who says how it is dumped means pg_dump. */
        opts.archive = cli->project.env.archive != NULL && cli->opt.kind == NULL &&
                       opts.jobs == 0 && opts.sample_rows_over == 0;
        body = cli_target_json(&session);
        if (neap_proof_create(&session, &opts, &made, &err)) {
            neap_json_set(body, "backup", backup_json(&made));
            print_created(cli, &made);
        }
    }
    backup_clear(&made);
    free(dir);
    return cli_end(cli, &session, 0, body, &err);
}

/* The day when the retention of this environment lets it go; "" where it says none. */
static void text_of_stay(const struct neap_retention *stay, char text[NEAP_UTC_SIZE])
{
    text[0] = '\0';
    if (stay->why == NEAP_GOES)
        (void)snprintf(text, NEAP_UTC_SIZE, "over");
    else if (stay->why == NEAP_STAYS_YOUNG) {
        neap_clock_utc_of(stay->until_us, text);
        text[sizeof "2026-12-21" - 1] = '\0';
    }
}

static void print_list(struct neap_cli *cli, const struct backup *backups,
                       const struct neap_retention *stays, size_t count)
{
    static const char *const headings[] = {"id",   "environment", "database",    "kind", "tag",
                                           "size", "proof",       "stays until", NULL};
    struct cli_table *table = cli_table_new(headings);
    for (size_t i = 0; i < count; i++) {
        const struct backup *backup = &backups[i];
        char size[NEAP_PROOF_SIZE], until[NEAP_UTC_SIZE];
        const char *proof = proof_of(backup);
        text_of_stay(&stays[i], until);
        neap_proof_size(json_integer_value(json_object_get(backup->manifest, "bytes")), size);
        const char *const cells[] = {backup->id,
                                     backup_text(backup, "environment"),
                                     backup_text(backup, "database"),
                                     backup_text(backup, "kind"),
                                     backup_text(backup, "tag"),
                                     size,
                                     proof,
                                     until,
                                     NULL};
        bool bad = proof[0] == 'F' || proof[0] == 'U';
        cli_table_row(table, bad ? CLI_RED : proof[0] == 'p' ? CLI_GREEN : CLI_YELLOW, cells);
    }
    cli_table_print(cli, table);
}

/* The list must be had also when the journal cannot be read. */
static struct neap_retention *judge(const struct neap_cli *cli, const struct backup *backups,
                                    size_t count)
{
    struct neap_error err = {0};
    struct neap_retention *stays = neap_alloc((count + 1) * sizeof *stays);
    for (size_t i = 0; i < count; i++)
        stays[i].why = NEAP_STAYS_ENVIRONMENT;
    if (cli->project.has_env && !neap_prune_judge(&cli->project, backups, count, stays, &err))
        neap_log(NEAP_LOG_WARN, "backup.retention", "it is not known how long they stay: %s",
                 err.message);
    neap_error_clear(&err);
    return stays;
}

static json_t *list_json(const struct backup *backups, const struct neap_retention *stays,
                         size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        char until[NEAP_UTC_SIZE];
        json_t *json = backup_json(&backups[i]);
        neap_clock_utc_of(stays[i].until_us, until);
        neap_json_set(json, "stays", neap_json_text(neap_retention_why_name(stays[i].why)));
        neap_json_set(json, "until", neap_json_text(stays[i].until_us == 0 ? NULL : until));
        json_array_append_new(list, json);
    }
    return list;
}

int cmd_backup_list(struct neap_cli *cli)
{
    struct neap_error err = {0};
    struct backup *backups = NULL;
    size_t count = 0;
    if (!cli_arguments(cli, 0, 0, &err) || !cli_need_project(cli, &err))
        return cli_fail(cli, &err);
    char *dir = cli_store(cli);
    bool listed = backup_list(dir, &backups, &count, &err);
    if (listed) {
        json_t *body = json_object();
        struct neap_retention *stays = judge(cli, backups, count);
        neap_json_set(body, "dir", neap_json_text(dir));
        neap_json_set(body, "backups", list_json(backups, stays, count));
        if (count == 0)
            cli_print(cli, "there is no backup in %s; `neap backup create` makes one", dir);
        else
            print_list(cli, backups, stays, count);
        free(stays);
        cli_json(cli, 0, body);
    }
    backup_list_free(backups, count);
    free(dir);
    return listed ? 0 : cli_fail(cli, &err);
}

static void print_names(struct neap_cli *cli, const char *label, const json_t *list)
{
    struct neap_buffer names = {0};
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const char *name =
            json_string_value(json_is_string(item) ? item : json_object_get(item, "name"));
        neap_buffer_add_format(&names, "%s%s", i == 0 ? "" : ", ", name == NULL ? "?" : name);
    }
    cli_print(cli, "%-13s %s", label, names.length == 0 ? "none" : neap_buffer_text(&names));
    neap_buffer_clear(&names);
}

static void print_verified(struct neap_cli *cli, const struct backup *backup)
{
    const json_t *verified = backup->verified;
    const char *at = json_string_value(json_object_get(verified, "at"));
    const char *why =
        json_string_value(json_object_get(json_object_get(verified, "error"), "message"));
    cli_print(cli, "%-13s %s%s%s%s%s", "proof", proof_of(backup), at == NULL ? "" : ", ",
              at == NULL ? "" : at, why == NULL ? "" : ": ", why == NULL ? "" : why);
}

static void print_archive(struct neap_cli *cli, const struct backup *backup)
{
    static const struct {
        const char *label, *key;
    } lines[] = {{"archive", "tool"},       {"server", "server"},       {"label", "label"},
                 {"type", "type"},          {"begins at", "start_lsn"}, {"whole from", "end_lsn"},
                 {"WAL from", "start_wal"}, {"WAL to", "end_wal"}};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (backup_archive_text(backup, lines[i].key)[0] != '\0')
            cli_print(cli, "%-13s %s", lines[i].label, backup_archive_text(backup, lines[i].key));
    cli_print(cli, "%-13s %lld", "timeline",
              (long long)json_integer_value(
                  json_object_get(json_object_get(backup->manifest, "archive"), "timeline")));
    print_names(cli, "not included", json_object_get(backup->manifest, "not_included"));
    print_verified(cli, backup);
    cli_print(cli, "%-13s %s", "record", backup->path);
}

static void print_backup(struct neap_cli *cli, const struct backup *backup)
{
    static const struct {
        const char *label, *key;
    } lines[] = {{"id", "id"},
                 {"environment", "environment"},
                 {"database", "database"},
                 {"server", "address"},
                 {"version", "server_version"},
                 {"made", "started_at"},
                 {"by", "actor"},
                 {"reason", "reason"},
                 {"ticket", "ticket"},
                 {"tag", "tag"},
                 {"kind", "kind"},
                 {"format", "format"},
                 {"snapshot at", "snapshot_lsn"},
                 {"fingerprint", "fingerprint"}};
    char size[NEAP_PROOF_SIZE], database[NEAP_PROOF_SIZE];
    const json_t *manifest = backup->manifest;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (backup_text(backup, lines[i].key)[0] != '\0')
            cli_print(cli, "%-13s %s", lines[i].label, backup_text(backup, lines[i].key));
    neap_proof_size(json_integer_value(json_object_get(manifest, "bytes")), size);
    neap_proof_size(json_integer_value(json_object_get(manifest, "database_bytes")), database);
    cli_print(cli, "%-13s %s, of a database of %s", "size", size, database);
    if (backup_is_archive(backup)) {
        print_archive(cli, backup);
        return;
    }
    cli_print(cli, "%-13s %zu%s", "tables", json_object_size(json_object_get(manifest, "tables")),
              is_sampled(backup) ? ", of large ones a sample of the rows was digested" : "");
    print_names(cli, "roles", json_object_get(manifest, "roles"));
    print_names(cli, "extensions", json_object_get(manifest, "extensions"));
    print_names(cli, "not included", json_object_get(manifest, "not_included"));
    print_verified(cli, backup);
    cli_print(cli, "%-13s %s", "path", backup->path);
}

int cmd_backup_show(struct neap_cli *cli)
{
    struct neap_error err = {0};
    struct backup backup = {0};
    if (!cli_arguments(cli, 1, 1, &err) || !cli_need_project(cli, &err))
        return cli_fail(cli, &err);
    char *dir = cli_store(cli);
    bool found = backup_find(dir, cli->argv[0], NULL, &backup, &err);
    if (found) {
        json_t *body = json_object();
        neap_json_set(body, "backup", backup_json(&backup));
        print_backup(cli, &backup);
        cli_json(cli, 0, body);
    }
    backup_clear(&backup);
    free(dir);
    return found ? 0 : cli_fail(cli, &err);
}

static void print_read(struct neap_cli *cli, const struct backup *backup, bool quick)
{
    const char *tool = backup_archive_text(backup, "tool"),
               *label = backup_archive_text(backup, "label");
    if (quick)
        cli_print(cli, "backup %s: %s still has %s", backup->id, tool, label);
    else
        cli_print(cli, "backup %s: %s has read %s again, and all checksums are right", backup->id,
                  tool, label);
    cli_print(cli,
              "This is no proof: nothing was restored. Do that on another machine, by the line "
              "that `neap restore %s` prints.",
              backup->id);
}

static void print_proved(struct neap_cli *cli, const struct backup *backup, bool quick)
{
    size_t tables = json_object_size(json_object_get(backup->manifest, "tables"));
    if (backup_is_archive(backup)) {
        print_read(cli, backup, quick);
        return;
    }
    if (quick) {
        cli_print(cli, "backup %s: its files are as they were written, and its archive lists",
                  backup->id);
        cli_print(cli,
                  "This is no proof: a dump that lists may not restore. `neap backup verify "
                  "%s` restores and compares it.",
                  backup->id);
        return;
    }
    cli_print(cli,
              "backup %s is proved: it was restored, and schema, %zu %s and sequences are "
              "what was backed up%s",
              backup->id, tables, tables == 1 ? "table" : "tables",
              is_sampled(backup) ? ", as far as the sample of large tables tells" : "");
}

static bool read_verify(const struct neap_cli *cli, struct neap_proof_verify_opts *opts,
                        struct neap_error *err)
{
    *opts = (struct neap_proof_verify_opts){
        .reason = cli->opt.reason, .ticket = cli->opt.ticket, .quick = cli->opt.quick};
    if (cli->opt.quick && cli->opt.full) {
        neap_error_set(err, NEAP_ERR_USAGE, "--quick and --full exclude each other");
        return false;
    }
    if (!cli_place(cli, &opts->on_target, err))
        return false;
    return read_timeout(cli, &opts->timeout_ms, err);
}

int cmd_backup_verify(struct neap_cli *cli)
{
    struct neap_error err = {0};
    struct neap_proof_verify_opts opts;
    struct backup backup = {0};
    json_t *verified = NULL;
    if (!cli_arguments(cli, 0, 1, &err) || !read_verify(cli, &opts, &err) ||
        !(opts.on_target ? cli_need_target(cli, &err) : cli_need_project(cli, &err)))
        return cli_fail(cli, &err);
    char *dir = cli_store(cli);
    const char *environment = cli->project.has_env ? cli->project.env.name : NULL;
    bool good = backup_find(dir, cli->argc > 0 ? cli->argv[0] : NULL, environment, &backup, &err);
    json_t *body = json_object();
    if (good) {
        good = neap_proof_verify(cli->loop, &cli->project, &opts, &backup, &verified, &err);
        if (verified != NULL) {
            json_decref(backup.verified);
            backup.verified = verified;
        }
        neap_json_set(body, "backup", backup_json(&backup));
    }
    if (good)
        print_proved(cli, &backup, opts.quick);
    backup_clear(&backup);
    free(dir);
    if (!good)
        return cli_fail_with(cli, &err, body);
    cli_json(cli, 0, body);
    return 0;
}
