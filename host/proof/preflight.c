/* SPDX-License-Identifier: MIT
 *
 * Puts preflight.def's questions, and judges each answer by the environment's
 * thresholds.
 */
#include "host/proof/preflight.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_pitr.h"
#include "host/base/buffer.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/proof/preflight_sql.h"

#define COUNT ""
#define PERCENT "%"
#define MEGABYTES "MB"
#define TIMES "x"
#define SECONDS "s"
#define OVER false
#define UNDER true

static const struct {
    const char *name, *unit;
    bool under;
} checks[] = {
#define NEAP_PREFLIGHT(symbol, name, unit, side, warning, error, about) {name, unit, side},
#include "host/change/preflight.def"
#undef NEAP_PREFLIGHT
};

/* What to do about it. */
static const char *const hints[NEAP_PREFLIGHT_COUNT] = {
    [NEAP_PREFLIGHT_STANDBY] = "Point the environment at the primary.",
    [NEAP_PREFLIGHT_SERVER_VERSION] = "Upgrade the server; its makers mend this one no more.",
    [NEAP_PREFLIGHT_PIN] = "`neap doctor` shows the lines that pin it in neap.lua.",
    [NEAP_PREFLIGHT_SUPERUSER] = "`neap help roles` prints the SQL for roles that rules hold.",
    [NEAP_PREFLIGHT_RIGHTS] = "`neap help roles` prints the SQL that gives them.",
    [NEAP_PREFLIGHT_POOLER] = "See `neap help poolers`; a direct address is better.",
    [NEAP_PREFLIGHT_CONNECTIONS] = "pg_stat_activity shows who has them.",
    [NEAP_PREFLIGHT_LONG_TRANSACTIONS] =
        "A lock may wait for it, and an index build surely does: end it, or wait.",
    [NEAP_PREFLIGHT_IDLE_IN_TRANSACTION] =
        "It holds its locks until its client goes on: see to that client.",
    [NEAP_PREFLIGHT_PREPARED] = "COMMIT PREPARED or ROLLBACK PREPARED ends one; ask whose it is.",
    [NEAP_PREFLIGHT_HIDDEN] = "`grant pg_read_all_stats` to the role of the control session.",
    [NEAP_PREFLIGHT_LOCKS] = "Wait for these sessions, or choose a calmer hour.",
    [NEAP_PREFLIGHT_REPLICATION] = "Wait for the replica; reads from it are older than they look.",
    [NEAP_PREFLIGHT_REPLICATION_WAL] =
        "Wait for the replica, or see why it applies nothing: what you change comes on top.",
    [NEAP_PREFLIGHT_INVALID_INDEXES] = "DROP INDEX CONCURRENTLY, then build it again.",
    [NEAP_PREFLIGHT_ARCHIVING] =
        "See archive_command and the server's log; until then no point in time can be restored.",
    [NEAP_PREFLIGHT_DISK_STATE] = "Free some, or give another --state-dir.",
    [NEAP_PREFLIGHT_DISK_BACKUP] =
        "Free some (`neap backup prune`), or set `backup_dir` in the environment.",
    [NEAP_PREFLIGHT_DISK_DATA] = "Free some: a rewrite needs a second copy of its table.",
};

struct asking {
    const struct neap_session *session;
    char *names; /* of LOCKS, as text[] */
    double database_bytes;
};

const char *neap_check_level_name(enum neap_check_level level)
{
    static const char *const names[] = {"ok", "warning", "error"};
    return names[level];
}

/* Every word of the pending scripts, as an identifier folds: a relation that one of
 * them touches is among these, or is named in quotes with other signs. */
static void add_words(const char *text, json_t *set)
{
    for (const char *at = text; *at != '\0';) {
        size_t length = 0;
        char word[64];
        while (isalnum((unsigned char)at[length]) || at[length] == '_' || at[length] == '$' ||
               ((unsigned char)at[length] & 0x80) != 0)
            length++;
        if (length > 0 && length < sizeof word) {
            for (size_t i = 0; i < length; i++)
                word[i] = (char)tolower((unsigned char)at[i]);
            word[length] = '\0';
            json_object_set_new(set, word, json_true()); /* not UTF-8: left out */
        }
        at += length > 0 ? length : 1;
    }
}

static char *pending_names(const struct neap_plan *plan)
{
    struct neap_buffer list = {0};
    json_t *set = json_object(), *value;
    const char *word;
    for (size_t i = 0; i < plan->count; i++) {
        const struct neap_plan_item *item = &plan->items[i];
        for (size_t k = 0; item->state != NEAP_STATE_APPLIED && k < item->source.file_count; k++)
            add_words(item->source.files[k].text, set);
    }
    neap_buffer_add_char(&list, '{');
    json_object_foreach(set, word, value)
        neap_buffer_add_format(&list, "%s\"%s\"", list.length > 1 ? "," : "", word);
    neap_buffer_add_char(&list, '}');
    json_decref(set);
    return neap_buffer_take(&list);
}

static void judge(struct neap_preflight_row *row, enum neap_preflight_name check)
{
    bool is_error = row->under ? row->value < row->rule.error : row->value >= row->rule.error;
    bool is_warning = row->under ? row->value < row->rule.warning : row->value >= row->rule.warning;
    row->level = is_error ? NEAP_CHECK_ERROR : is_warning ? NEAP_CHECK_WARNING : NEAP_CHECK_OK;
    if (row->level != NEAP_CHECK_OK)
        row->hint = neap_strdup(hints[check]);
}

/* What the question has as $1; NULL: it has none. */
static const char *param_of(const struct asking *asking, enum neap_preflight_name check)
{
    const struct backup_pitr *archive = asking->session->project->env.archive;
    if (check == NEAP_PREFLIGHT_LOCKS)
        return asking->names;
    if (check != NEAP_PREFLIGHT_ARCHIVING)
        return NULL;
    /* Barman may take the WAL as a replica does, and needs no archive_command. */
    return archive != NULL && archive->tool == BACKUP_PITR_PGBACKREST ? "1" : "0";
}

/* A question that the role may not put is a warning; a lost server ends it all. */
static bool ask(const struct asking *asking, enum neap_preflight_name check,
                struct neap_preflight_row *row, struct neap_error *err)
{
    struct pg_client *control = asking->session->target->control;
    struct neap_error cause = {0};
    struct pg_op *op = NULL;
    const char *param = param_of(asking, check);
    bool asked =
        pg_exec_text(control, neap_preflight_sql[check], param != NULL, &param, &op, &cause);
    row->value = NAN;
    if (asked && pg_rows(op) == 1) {
        const char *value = pg_cell(op, 0, 0);
        if (value != NULL)
            row->value = strtod(value, NULL);
        row->message = neap_strdup(pg_cell(op, 0, 1));
    }
    pg_op_free(op);
    if (!asked &&
        (pg_is_lost(control) || neap_run_stopping(neap_loop_run(asking->session->loop)))) {
        neap_error_move(err, &cause);
        return false;
    }
    if (!asked) {
        pg_failure_clear(control);
        row->message = neap_format("it cannot be looked at: %s", cause.message);
    }
    neap_error_clear(&cause);
    if (isnan(row->value)) {
        row->level = NEAP_CHECK_WARNING;
        row->hint = neap_strdup(hints[NEAP_PREFLIGHT_HIDDEN]);
    } else {
        judge(row, check);
    }
    return true;
}

static bool ask_text(const struct asking *asking, const char *sql, char **out,
                     struct neap_error *err)
{
    struct pg_op *op = NULL;
    bool asked = pg_exec_text(asking->session->target->control, sql, 0, NULL, &op, err);
    *out = asked && pg_rows(op) == 1 ? neap_strdup(pg_cell(op, 0, 0)) : NULL;
    pg_op_free(op);
    return asked;
}

static void look_disk(const struct asking *asking, enum neap_preflight_name check, const char *path,
                      struct neap_preflight_row *row)
{
    const double mb = 1024.0 * 1024.0;
    double bytes = 0;
    row->value = NAN;
    if (path == NULL || !neap_path_free_bytes(path, &bytes)) {
        row->message = neap_strdup("it is not on this machine, or the role may not know where");
        return;
    }
    row->value = bytes / (asking->database_bytes > 0 ? asking->database_bytes : 1);
    row->message = neap_format("%.0f MB are free at %s, the database has %.0f MB", bytes / mb, path,
                               asking->database_bytes / mb);
    judge(row, check);
}

/* NULL unless the server is on this machine and the role may know. */
static const char sql_data_directory[] =
    "select s.setting from pg_settings s where s.name = 'data_directory'"
    " and inet_server_addr() is null";

static bool look_disks(const struct asking *asking, enum neap_preflight_name check,
                       struct neap_preflight_row *row, struct neap_error *err)
{
    char *path = NULL;
    if (check == NEAP_PREFLIGHT_DISK_BACKUP && asking->session->project->env.archive != NULL) {
        row->value = NAN;
        row->message = neap_strdup("the files are with the tool that archives the server");
        return true;
    }
    if (check == NEAP_PREFLIGHT_DISK_STATE)
        path = neap_strdup(asking->session->project->state_dir);
    else if (check == NEAP_PREFLIGHT_DISK_BACKUP)
        path = neap_strdup(asking->session->project->env.backup_dir);
    else if (!ask_text(asking, sql_data_directory, &path, err))
        return false;
    look_disk(asking, check, path, row);
    free(path);
    return true;
}

/* What neap_session_look knows already. */
static void look_target(const struct asking *asking, enum neap_preflight_name check,
                        struct neap_preflight_row *row)
{
    const struct neap_target *target = asking->session->target;
    const struct neap_environment *env = target->env;
    bool pinned = env->system_identifier != NULL && env->database != NULL;
    switch (check) {
    case NEAP_PREFLIGHT_STANDBY:
        row->value = target->standby;
        row->message = neap_strdup(target->recovery  ? "the target is a standby"
                                   : target->standby ? "the target is read-only"
                                                     : "the target takes writes");
        break;
    case NEAP_PREFLIGHT_SERVER_VERSION:
        row->value = floor(target->server_version_num / 10000.0);
        row->message = neap_format("PostgreSQL %s", target->server_version);
        break;
    case NEAP_PREFLIGHT_PIN:
        row->value = env->is_protected && !pinned;
        row->message = neap_format("%s, database %s, %s", target->system_identifier,
                                   target->database, pinned ? "as pinned" : "pinned by nothing");
        break;
    case NEAP_PREFLIGHT_SUPERUSER:
        row->value = target->superuser && !env->allow_superuser && !env->scratch;
        row->message =
            neap_format("%s is %s superuser", target->user, target->superuser ? "a" : "no");
        break;
    default:
        row->value = !target->direct && !env->pooler;
        row->message = neap_strdup(target->direct ? "none is in between"
                                                  : "a transaction pooler is in between");
        break;
    }
    judge(row, check);
}

static bool look(const struct asking *asking, enum neap_preflight_name check,
                 struct neap_preflight_row *row, struct neap_error *err)
{
    if (neap_preflight_sql[check] != NULL)
        return ask(asking, check, row, err);
    if (check == NEAP_PREFLIGHT_DISK_STATE || check == NEAP_PREFLIGHT_DISK_BACKUP ||
        check == NEAP_PREFLIGHT_DISK_DATA)
        return look_disks(asking, check, row, err);
    look_target(asking, check, row);
    return true;
}

bool neap_preflight_run(const struct neap_session *session, struct neap_preflight *out,
                        struct neap_error *err)
{
    struct asking asking = {.session = session};
    char *bytes = NULL;
    *out = (struct neap_preflight){0};
    bool done = ask_text(&asking, "select pg_database_size(current_database())", &bytes, err);
    asking.database_bytes = bytes == NULL ? 0 : strtod(bytes, NULL);
    asking.names = pending_names(&session->plan);
    for (int check = 0; done && check < NEAP_PREFLIGHT_COUNT; check++) {
        const struct neap_preflight_rule *rule = &session->project->env.preflight[check];
        if (rule->off)
            continue;
        struct neap_preflight_row *row = &out->rows[out->count++];
        *row = (struct neap_preflight_row){.name = checks[check].name,
                                           .unit = checks[check].unit,
                                           .under = checks[check].under,
                                           .rule = *rule};
        done = look(&asking, (enum neap_preflight_name)check, row, err);
        out->warnings += row->level == NEAP_CHECK_WARNING;
        out->errors += row->level == NEAP_CHECK_ERROR;
    }
    free(asking.names);
    free(bytes);
    if (!done)
        neap_preflight_clear(out);
    return done;
}

void neap_preflight_error(const struct neap_preflight *preflight, struct neap_error *err)
{
    struct neap_buffer names = {0}, said = {0};
    for (size_t i = 0; i < preflight->count; i++) {
        const struct neap_preflight_row *row = &preflight->rows[i];
        if (row->level != NEAP_CHECK_ERROR)
            continue;
        neap_buffer_add_format(&names, "%s%s", names.length == 0 ? "" : ", ", row->name);
        neap_buffer_add_format(&said, "%s%s: %s", said.length == 0 ? "" : "\n", row->name,
                               row->message);
    }
    neap_error_set(err, NEAP_ERR_PREFLIGHT_FAILED, "the target is not fit for a change now: %s",
                   neap_buffer_text(&names));
    neap_error_detail(err, "%s", neap_buffer_text(&said));
    neap_buffer_clear(&names);
    neap_buffer_clear(&said);
}

void neap_preflight_clear(struct neap_preflight *preflight)
{
    for (size_t i = 0; i < preflight->count; i++) {
        free(preflight->rows[i].message);
        free(preflight->rows[i].hint);
    }
    *preflight = (struct neap_preflight){0};
}

static json_t *number(double value)
{
    return isnan(value) ? json_null() : json_real(round(value * 1000) / 1000);
}

json_t *neap_preflight_json(const struct neap_preflight *preflight)
{
    json_t *list = json_array();
    for (size_t i = 0; i < preflight->count; i++) {
        const struct neap_preflight_row *row = &preflight->rows[i];
        json_t *json = json_object();
        neap_json_set(json, "check", neap_json_text(row->name));
        neap_json_set(json, "level", neap_json_text(neap_check_level_name(row->level)));
        neap_json_set(json, "value", number(row->value));
        neap_json_set(json, "unit", neap_json_text(row->unit));
        neap_json_set(json, "warning", number(row->rule.warning));
        neap_json_set(json, "error", number(row->rule.error));
        neap_json_set(json, "message", neap_json_text(row->message));
        neap_json_set(json, "hint", neap_json_text(row->hint));
        json_array_append_new(list, json);
    }
    return list;
}
