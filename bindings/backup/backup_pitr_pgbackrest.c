/* SPDX-License-Identifier: MIT
 *
 * pgBackRest, as of 2.45 (Debian 12). Where its own log goes on the console is given with
 * each call, because the configuration may say otherwise and it is read here.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_pitr_parts.h"
#include "host/base/memory.h"

static char *stanza_of(const struct pitr *pitr)
{
    return neap_format("--stanza=%s", pitr->rule->server);
}

static bool read_info(struct pitr *pitr, json_t **out, struct neap_error *err)
{
    char *stanza = stanza_of(pitr);
    const char *const words[] = {stanza, "--output=json", "info", NULL};
    bool read = backup_pitr_run_json(pitr, words, out, err);
    free(stanza);
    return read;
}

/* The one that the stanza keeps now: an upgrade of the server adds another. */
static const json_t *present_database(const json_t *info)
{
    const json_t *list = json_object_get(json_array_get(info, 0), "db"), *found = NULL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *each = json_array_get(list, i);
        if (found == NULL || json_integer_value(json_object_get(each, "id")) >
                                 json_integer_value(json_object_get(found, "id")))
            found = each;
    }
    return found;
}

static bool check_identity(struct pitr *pitr, const char *wanted, struct neap_error *err)
{
    json_t *info = NULL;
    if (!read_info(pitr, &info, err))
        return false;
    const json_t *status = json_object_get(json_array_get(info, 0), "status");
    const char *message = json_string_value(json_object_get(status, "message"));
    const json_t *id = json_object_get(present_database(info), "system-id");
    char *found =
        json_is_integer(id) ? neap_format("%" JSON_INTEGER_FORMAT, json_integer_value(id)) : NULL;
    bool same = false;
    if (found != NULL) {
        same = backup_pitr_check_identity(pitr, found, wanted, err);
    } else {
        neap_error_set(err, NEAP_ERR_ARCHIVE_FAILED, "there is no stanza %s in the repository",
                       pitr->rule->server);
        if (message != NULL)
            neap_error_detail(err, "pgbackrest info says: %s.", message);
        neap_error_hint(err, "Name it in neap.lua as it is called there, or make it: `pgbackrest "
                             "--stanza=NAME stanza-create`.");
    }
    free(found);
    json_decref(info);
    return same;
}

static bool check(struct pitr *pitr, const char *system_identifier, struct neap_error *err)
{
    char *stanza = stanza_of(pitr);
    const char *const words[] = {stanza, "--log-level-console=off", "--log-level-stderr=warn",
                                 "check", NULL};
    bool good =
        check_identity(pitr, system_identifier, err) && backup_pitr_run(pitr, words, NULL, err);
    free(stanza);
    return good;
}

static bool backup(struct pitr *pitr, struct neap_buffer *said, struct neap_error *err)
{
    char *stanza = stanza_of(pitr);
    char *type = neap_format("--type=%s", pitr->rule->type);
    const char *words[8] = {stanza, "--log-level-console=detail", "--log-level-stderr=warn"};
    size_t count = 3;
    if (pitr->rule->type != NULL)
        words[count++] = type;
    words[count] = "backup";
    bool made = backup_pitr_run_long(pitr, words, said, err);
    free(type);
    free(stanza);
    return made;
}

/* "P01 DETAIL: backup file /srv/data/base/1/13394 (0B, 100.00%)" */
static double percent(const char *line)
{
    const char *detail = strstr(line, " DETAIL: backup file "), *comma = NULL;
    if (detail != NULL)
        comma = strrchr(detail, ',');
    if (comma == NULL)
        return -1;
    char *end = NULL;
    double value = strtod(comma + 1, &end);
    return end != comma + 1 && *end == '%' ? value : -1;
}

static char *text_at(const json_t *object, const char *key, const char *inner)
{
    return neap_strdup(json_string_value(json_object_get(json_object_get(object, key), inner)));
}

static int64_t number_at(const json_t *object, const char *key, const char *inner)
{
    return json_integer_value(json_object_get(json_object_get(object, key), inner));
}

/* A label becomes an argument of later calls: what is not a plain word is none. */
static bool read_set(const json_t *backup, struct backup_pitr_set *out)
{
    const json_t *info = json_object_get(backup, "info");
    const char *label = json_string_value(json_object_get(backup, "label"));
    *out = (struct backup_pitr_set){
        .label = neap_strdup(label),
        .type = neap_strdup(json_string_value(json_object_get(backup, "type"))),
        .start_lsn = text_at(backup, "lsn", "start"),
        .end_lsn = text_at(backup, "lsn", "stop"),
        .start_wal = text_at(backup, "archive", "start"),
        .end_wal = text_at(backup, "archive", "stop"),
        .bytes = number_at(info, "repository", "delta"),
        .database_bytes = json_integer_value(json_object_get(info, "size")),
    };
    out->timeline = backup_pitr_timeline(out->end_wal);
    return label != NULL && backup_pitr_is_word(label) && out->end_lsn != NULL && out->timeline > 0;
}

bool backup_pitr_pgbackrest_sets(const json_t *info, struct backup_pitr_set **out, size_t *count)
{
    const json_t *list = json_object_get(json_array_get(info, 0), "backup");
    struct pitr_sets sets = {.items =
                                 neap_alloc_many(json_array_size(list) + 1, sizeof *sets.items)};
    bool good = json_is_array(list);
    for (size_t i = 0; good && i < json_array_size(list); i++)
        good = read_set(json_array_get(list, i), &sets.items[sets.count++]);
    if (!good) {
        backup_pitr_sets_clear(&sets);
        return false;
    }
    *out = sets.items;
    *count = sets.count;
    return true;
}

static bool list(struct pitr *pitr, struct pitr_sets *out, struct neap_error *err)
{
    json_t *info = NULL;
    bool read = read_info(pitr, &info, err) &&
                (backup_pitr_pgbackrest_sets(info, &out->items, &out->count) ||
                 backup_pitr_strange(pitr, "info", err));
    json_decref(info);
    return read;
}

static bool is_valid_wal(const char *line)
{
    const char *total = strstr(line, "total WAL checked: "), *valid = strstr(line, "valid WAL: ");
    return total == NULL || valid == NULL ||
           strtoll(total + strlen("total WAL checked: "), NULL, 10) ==
               strtoll(valid + strlen("valid WAL: "), NULL, 10);
}

/* stanza: shop
 * status: error
 *   archiveId: 15-1, total WAL checked: 6, total valid WAL: 6
 *   backup: 20261121-072357F, status: valid, total files checked: 964, … */
enum backup_pitr_verdict backup_pitr_pgbackrest_verdict(const char *said, const char *label)
{
    char *ours = neap_format("  backup: %s, status: ", label);
    const char *line = strstr(said, ours);
    bool valid = line != NULL && strncmp(line + strlen(ours), "valid", 5) == 0;
    free(ours);
    for (const char *at = said; valid && at != NULL; at = strchr(at + 1, '\n'))
        if (strncmp(at, "\n  archiveId: ", 14) == 0) {
            char *wal = neap_strndup(at + 1, strcspn(at + 1, "\n"));
            valid = is_valid_wal(wal);
            free(wal);
        }
    if (!valid)
        return BACKUP_PITR_DAMAGED;
    return strstr(said, "\nstatus: ok") != NULL ? BACKUP_PITR_VALID : BACKUP_PITR_OTHERS_DAMAGED;
}

static bool find(struct pitr *pitr, const char *label, struct neap_error *err)
{
    struct pitr_sets sets = {0};
    bool found = false, listed = list(pitr, &sets, err);
    for (size_t i = 0; i < sets.count; i++)
        found = found || strcmp(sets.items[i].label, label) == 0;
    backup_pitr_sets_clear(&sets);
    if (listed && !found)
        neap_error_set(err, NEAP_ERR_BACKUP_DAMAGED,
                       "stanza %s has no backup %s any more: it expired, or was removed",
                       pitr->rule->server, label);
    return found;
}

/* Newer ones can look at one backup alone; 2.45 reads the whole repository. */
static bool can_choose(struct pitr *pitr)
{
    static const char *const words[] = {"help", "verify", NULL};
    struct neap_buffer said = {0};
    struct neap_error err = {0};
    bool can = backup_pitr_run(pitr, words, &said, &err) &&
               strstr(neap_buffer_text(&said), "\n  --set ") != NULL;
    neap_buffer_clear(&said);
    neap_error_clear(&err);
    return can;
}

static bool verify(struct pitr *pitr, const char *label, struct neap_error *err)
{
    char *stanza = stanza_of(pitr), *set = neap_format("--set=%s", label);
    const char *words[8] = {stanza, "--output=text", "--verbose", "--log-level-console=off",
                            "--log-level-stderr=warn"};
    struct neap_buffer said = {0};
    size_t count = 5;
    if (can_choose(pitr))
        words[count++] = set;
    words[count] = "verify";
    bool good = backup_pitr_run_long(pitr, words, &said, err);
    if (good &&
        backup_pitr_pgbackrest_verdict(neap_buffer_text(&said), label) == BACKUP_PITR_DAMAGED) {
        neap_error_set(err, NEAP_ERR_BACKUP_DAMAGED, "pgbackrest finds backup %s damaged", label);
        neap_error_detail(err, "%s", neap_buffer_text(&said));
        good = false;
    }
    neap_buffer_clear(&said);
    free(set);
    free(stanza);
    return good;
}

static void add_option(struct neap_buffer *line, const char *name, const char *value)
{
    char *word = neap_format("--%s=%s", name, value);
    backup_pitr_add_word(line, word);
    free(word);
}

/* --delta: over the files that are there, of which most are still right. */
static void restore(const struct backup_pitr *rule, const struct backup_pitr_target *target,
                    struct neap_buffer *line)
{
    char *timeline = neap_format("%lld", (long long)target->timeline);
    add_option(line, "stanza", rule->server);
    backup_pitr_add_word(line, "--delta");
    add_option(line, "set", target->label);
    add_option(line, "type",
               target->name != NULL  ? "name"
               : target->lsn != NULL ? "lsn"
                                     : "immediate");
    if (target->name != NULL || target->lsn != NULL)
        add_option(line, "target", target->name != NULL ? target->name : target->lsn);
    if (target->name == NULL && target->lsn != NULL)
        backup_pitr_add_word(line, "--target-exclusive");
    add_option(line, "target-action", "promote");
    add_option(line, "target-timeline", timeline);
    backup_pitr_add_word(line, "restore");
    free(timeline);
}

const struct pitr_tool backup_pitr_pgbackrest = {.check = check,
                                                 .backup = backup,
                                                 .list = list,
                                                 .find = find,
                                                 .verify = verify,
                                                 .restore = restore,
                                                 .percent = percent};
