/* SPDX-License-Identifier: MIT
 *
 * Files of reports, and runs in journals. The newest run stands at the end of its journal,
 * so that a journal of years is not read for it.
 */
#include "host/report/report_store.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/hash.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/change/audit.h"
#include "host/report/report_parts.h"

#define KEPT_MAX 200
#define TAIL_BYTES (1LL << 20)
#define FILE_BYTES_MAX ((size_t)1 << 30)

/* What may change a target, or make what somebody will rely on. */
static const char *const changing[] = {"up",          "down",          "redo",         "resume",
                                       "repair",      "accept",        "baseline",     "restore",
                                       "lease break", "backup create", "backup prune", NULL};

static bool is_changing(const json_t *begin)
{
    if (json_is_true(json_object_get(begin, "dry_run")))
        return false;
    for (const char *const *command = changing; *command != NULL; command++)
        if (neap_report_is(begin, "command", *command))
            return true;
    return false;
}

/* As neap_run_id makes them; nothing else becomes part of a path. */
static bool is_run_id(const char *text)
{
    static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";
    return strlen(text) == NEAP_RUN_ID_SIZE - 1 && strspn(text, "0123456789") == 8 &&
           text[8] == 'T' && strspn(text + 9, "0123456789") >= 6 && text[15] == '-' &&
           text[16 + strspn(text + 16, letters)] == '\0';
}

char *neap_report_dir(const char *state_dir, const char *run_id)
{
    return neap_format("%s/reports/%s", state_dir, run_id);
}

/* *out NULL: no event of it. */
static bool make(const struct neap_audit_reading *where, json_t **out, struct neap_error *err)
{
    struct neap_report *report = neap_report_begin();
    struct neap_audit_reading reading = *where;
    reading.fn = neap_report_event;
    reading.arg = report;
    bool read = neap_audit_read_tail(&reading, 0, err);
    *out = neap_report_end(report);
    return read;
}

static bool write_text(const char *dir, const char *name, const char *text, struct neap_error *err)
{
    char *path = neap_path_join(dir, name);
    bool written = neap_path_write(path, text, strlen(text), 0600, err);
    free(path);
    return written;
}

static bool write_report(const char *dir, const json_t *json, struct neap_error *err)
{
    char *text = neap_report_text(json);
    char *json_text = neap_json_pretty(json);
    char *pretty = neap_format("%s\n", json_text);
    free(json_text);
    /* report.json last: where it is, the other one is too. */
    bool written = neap_path_private_dir(dir, err) && write_text(dir, "report.txt", text, err) &&
                   write_text(dir, "report.json", pretty, err);
    free(pretty);
    free(text);
    return written;
}

static int newest_first(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*b)->d_name, (*a)->d_name); /* ids begin with their time */
}

static int is_report(const struct dirent *entry)
{
    return is_run_id(entry->d_name);
}

static int is_file(const struct dirent *entry)
{
    return strncmp(entry->d_name, "report.", 7) == 0; /* also what a killed neap left */
}

static void delete_report(const char *dir)
{
    struct dirent **names = NULL;
    int count = scandir(dir, &names, is_file, NULL);
    for (int i = 0; i < count; i++) {
        char *path = neap_path_join(dir, names[i]->d_name);
        unlink(path);
        free(path);
        free(names[i]);
    }
    free(names);
    rmdir(dir);
}

static void delete_oldest(const char *state_dir)
{
    char *reports = neap_path_join(state_dir, "reports");
    struct dirent **names = NULL;
    int count = scandir(reports, &names, is_report, newest_first);
    for (int i = 0; i < count; i++) {
        char *dir = neap_path_join(reports, names[i]->d_name);
        if (i >= KEPT_MAX)
            delete_report(dir);
        free(dir);
        free(names[i]);
    }
    free(names);
    free(reports);
}

void neap_report_keep(const char *state_dir, const char *run_id, struct neap_report *report)
{
    struct neap_error err = {0};
    json_t *json = neap_report_end(report);
    char *dir = neap_report_dir(state_dir, run_id);
    bool wanted = json != NULL && is_changing(json);
    bool kept = !wanted || write_report(dir, json, &err);
    if (!kept)
        neap_log(NEAP_LOG_WARN, "report.lost",
                 "the report of this run is not kept: %s; `neap report %s` makes it again",
                 err.message, run_id);
    else if (wanted)
        neap_log(NEAP_LOG_INFO, "report.kept", "report: %s/report.txt", dir);
    if (kept && wanted)
        delete_oldest(state_dir);
    neap_error_clear(&err);
    json_decref(json);
    free(dir);
}

/* NULL: there is none, or it cannot be believed, and the journal tells. */
static json_t *load(const char *state_dir, const char *run_id)
{
    struct neap_error err = {0};
    char *dir = neap_report_dir(state_dir, run_id);
    char *path = neap_path_join(dir, "report.json");
    char *text = NULL;
    size_t length = 0;
    json_t *json = NULL;
    if (is_run_id(run_id) && neap_path_look(path) == NEAP_PRESENT &&
        neap_path_read(path, NULL, FILE_BYTES_MAX, &text, &length, &err))
        json = json_loadb(text, length, 0, NULL);
    if (json != NULL && !neap_report_is(json, "run_id", run_id)) {
        json_decref(json);
        json = NULL;
    }
    neap_error_clear(&err);
    free(text);
    free(path);
    free(dir);
    return json;
}

static void free_names(char **names)
{
    for (char **name = names; *name != NULL; name++)
        free(*name);
    free(names);
}

bool neap_report_find(const char *state_dir, const char *run_id, json_t **out, bool *kept,
                      struct neap_error *err)
{
    *out = load(state_dir, run_id);
    *kept = *out != NULL;
    char **names = neap_audit_journals(state_dir);
    bool looked = true;
    for (char **name = names; looked && *out == NULL && *name != NULL; name++) {
        struct neap_audit_reading where = {
            .state_dir = state_dir, .identity = *name, .run_id = run_id};
        looked = make(&where, out, err);
    }
    free_names(names);
    return looked;
}

struct newest {
    const struct neap_report_scope *scope;
    char *run_id, *began_at; /* of the newest so far; an id has its time in seconds only */
};

static bool on_event(void *arg, const char *hash, const json_t *event)
{
    struct newest *newest = arg;
    const struct neap_report_scope *scope = newest->scope;
    const json_t *begin = json_object_get(event, "data");
    const char *began_at = neap_report_word(event, "time");
    (void)hash;
    if (!neap_report_is(event, "event", "run.begin") || !is_changing(begin) ||
        !neap_report_is(begin, "project", scope->project) ||
        (scope->environment != NULL && !neap_report_is(begin, "environment", scope->environment)) ||
        (newest->began_at != NULL && strcmp(newest->began_at, began_at) > 0))
        return true;
    free(newest->run_id);
    free(newest->began_at);
    newest->run_id = neap_strdup(neap_report_word(event, "run"));
    newest->began_at = neap_strdup(began_at);
    return true;
}

static bool look(const char *state_dir, char **names, int64_t tail_bytes, struct newest *newest,
                 struct neap_error *err)
{
    for (char **name = names; *name != NULL; name++) {
        struct neap_audit_reading reading = {
            .state_dir = state_dir, .identity = *name, .fn = on_event, .arg = newest};
        if (!neap_audit_read_tail(&reading, tail_bytes, err))
            return false;
    }
    return true;
}

bool neap_report_newest(const char *state_dir, const struct neap_report_scope *scope, char **run_id,
                        struct neap_error *err)
{
    struct newest newest = {.scope = scope};
    char **names = neap_audit_journals(state_dir);
    bool looked = look(state_dir, names, TAIL_BYTES, &newest, err) &&
                  (newest.run_id != NULL || look(state_dir, names, 0, &newest, err));
    free_names(names);
    free(newest.began_at);
    *run_id = newest.run_id;
    return looked;
}
