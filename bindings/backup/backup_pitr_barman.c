/* SPDX-License-Identifier: MIT
 *
 * Barman, as of 3.4 (Debian 12). It lists its backups in one call and tells of each in
 * another; its words for a server are objects by the server's name.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_pitr_parts.h"
#include "host/base/memory.h"

#define JSON "--format=json"

static bool check_identity(struct pitr *pitr, const char *wanted, struct neap_error *err)
{
    const char *const words[] = {JSON, "show-server", pitr->rule->server, NULL};
    json_t *shown = NULL;
    if (!backup_pitr_run_json(pitr, words, &shown, err))
        return false;
    const json_t *server = json_object_get(shown, pitr->rule->server);
    const char *found = json_string_value(json_object_get(server, "postgres_systemid"));
    if (found == NULL)
        found = json_string_value(json_object_get(server, "streaming_systemid"));
    bool same = backup_pitr_check_identity(pitr, found, wanted, err);
    json_decref(shown);
    return same;
}

static bool check(struct pitr *pitr, const char *system_identifier, struct neap_error *err)
{
    const char *const words[] = {"check", pitr->rule->server, NULL};
    return check_identity(pitr, system_identifier, err) && backup_pitr_run(pitr, words, NULL, err);
}

static bool backup(struct pitr *pitr, struct neap_buffer *said, struct neap_error *err)
{
    const char *const words[] = {"backup", "--wait", pitr->rule->server, NULL};
    return backup_pitr_run_long(pitr, words, said, err);
}

static double percent(const char *line)
{
    (void)line; /* it tells nothing on its way */
    return -1;
}

static char *text_of(const json_t *object, const char *key)
{
    return neap_strdup(json_string_value(json_object_get(object, key)));
}

bool backup_pitr_barman_set(const json_t *shown, const char *server, struct backup_pitr_set *out)
{
    const json_t *backup = json_object_get(shown, server);
    const json_t *base = json_object_get(backup, "base_backup_information");
    const char *status = json_string_value(json_object_get(backup, "status"));
    *out = (struct backup_pitr_set){
        .label = text_of(backup, "backup_id"),
        .type = text_of(base, "backup_type"), /* since 3.11 */
        .start_lsn = text_of(base, "begin_lsn"),
        .end_lsn = text_of(base, "end_lsn"),
        .start_wal = text_of(base, "begin_wal"),
        .end_wal = text_of(base, "end_wal"),
        .directory = text_of(backup, "pgdata_directory"),
        .timeline = json_integer_value(json_object_get(base, "timeline")),
        .bytes = json_integer_value(json_object_get(base, "incremental_size_bytes")),
        .database_bytes = json_integer_value(json_object_get(base, "disk_usage_bytes")),
    };
    if (out->label != NULL && backup_pitr_is_word(out->label) && out->end_lsn != NULL &&
        out->timeline > 0 && status != NULL &&
        (strcmp(status, "DONE") == 0 || strcmp(status, "WAITING_FOR_WALS") == 0))
        return true;
    backup_pitr_set_clear(out);
    return false;
}

/* Of one backup; *out with label NULL where it is none that can be used. */
static bool show(struct pitr *pitr, const char *label, struct backup_pitr_set *out,
                 struct neap_error *err)
{
    const char *const words[] = {JSON, "show-backup", pitr->rule->server, label, NULL};
    json_t *shown = NULL;
    *out = (struct backup_pitr_set){0};
    if (!backup_pitr_run_json(pitr, words, &shown, err))
        return false;
    (void)backup_pitr_barman_set(shown, pitr->rule->server, out);
    json_decref(shown);
    return true;
}

/* The newest alone, by its own word for it: no more is asked for. */
static bool list(struct pitr *pitr, struct pitr_sets *out, struct neap_error *err)
{
    struct backup_pitr_set set;
    if (!show(pitr, "latest", &set, err))
        return false;
    if (set.label == NULL)
        return backup_pitr_strange(pitr, "show-backup", err);
    out->items = neap_alloc(sizeof *out->items);
    out->items[0] = set;
    out->count = 1;
    return true;
}

static bool find(struct pitr *pitr, const char *label, struct neap_error *err)
{
    struct backup_pitr_set set = {0};
    struct neap_error why = {0};
    bool shown = show(pitr, label, &set, &why);
    bool unknown = !shown && why.detail != NULL && strstr(why.detail, "Unknown backup") != NULL;
    bool good = shown && set.label != NULL;
    if (unknown)
        neap_error_set(err, NEAP_ERR_BACKUP_DAMAGED,
                       "server %s has no backup %s any more: it expired, or was removed",
                       pitr->rule->server, label);
    else if (!shown)
        neap_error_move(err, &why);
    else if (!good)
        neap_error_set(err, NEAP_ERR_BACKUP_DAMAGED, "barman does not call backup %s done", label);
    neap_error_clear(&why);
    backup_pitr_set_clear(&set);
    return good;
}

static bool verify(struct pitr *pitr, const char *label, struct neap_error *err)
{
    const char *const words[] = {"verify-backup", pitr->rule->server, label, NULL};
    struct neap_buffer said = {0};
    bool good = backup_pitr_run_long(pitr, words, &said, err);
    if (!good && err->detail != NULL && strstr(err->detail, "verify backup failure") != NULL) {
        char *detail = neap_strdup(err->detail);
        neap_error_clear(err);
        neap_error_set(err, NEAP_ERR_BACKUP_DAMAGED, "barman finds backup %s damaged", label);
        neap_error_detail(err, "%s", detail);
        free(detail);
    }
    neap_buffer_clear(&said);
    return good;
}

static void add_option(struct neap_buffer *line, const char *name, const char *value)
{
    backup_pitr_add_word(line, name);
    backup_pitr_add_word(line, value);
}

static void restore(const struct backup_pitr *rule, const struct backup_pitr_target *target,
                    struct neap_buffer *line)
{
    char *timeline = neap_format("%lld", (long long)target->timeline);
    backup_pitr_add_word(line, "recover");
    if (target->name != NULL)
        add_option(line, "--target-name", target->name);
    else if (target->lsn != NULL)
        add_option(line, "--target-lsn", target->lsn);
    if (target->name == NULL)
        backup_pitr_add_word(line, target->lsn != NULL ? "--exclusive" : "--target-immediate");
    add_option(line, "--target-action", "promote");
    add_option(line, "--target-tli", timeline);
    backup_pitr_add_word(line, rule->server);
    backup_pitr_add_word(line, target->label);
    backup_pitr_add_word(line, target->directory == NULL ? "DATA_DIRECTORY" : target->directory);
    free(timeline);
}

const struct pitr_tool backup_pitr_barman = {.check = check,
                                             .backup = backup,
                                             .list = list,
                                             .find = find,
                                             .verify = verify,
                                             .restore = restore,
                                             .percent = percent};
