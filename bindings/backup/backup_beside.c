/* SPDX-License-Identifier: MIT
 *
 * CREATE DATABASE and its COMMENT are two statements, and a kill may come between: a
 * server goes on creating after its client is gone. So the mark that is there from the
 * first is a connection limit that nobody else would choose.
 */
#include "bindings/backup/backup_beside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/clock.h"
#include "host/base/hash.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"

#define MARK_LIMIT "71717"
#define MARK_BEGIN "neap: "

static const char *const kinds[] = {"copy", "restore", "kept"};

/* "neap_copy_20261121t064453_ab12cd34ef": the run's id as an identifier, and a number
 * where a run makes several. */
static const char sql_list[] =
    "select d.datname, d.oid, pg_catalog.shobj_description(d.oid, 'pg_database'),"
    " d.datconnlimit = " MARK_LIMIT ", d.datname ~ '^neap_(copy|restore)_[0-9]{8}t[0-9]{6}_"
    "[0-9a-z]{10}(_[0-9]+)?$', case when pg_catalog.has_database_privilege(d.oid, 'connect')"
    " or pg_catalog.pg_has_role('pg_read_all_stats', 'usage')"
    " then pg_catalog.pg_database_size(d.oid) else -1 end"
    " from pg_catalog.pg_database d order by d.datname";

static const char sql_runs[] =
    "select distinct pg_catalog.substr(application_name, 6) from pg_catalog.pg_stat_activity"
    " where application_name like 'neap:%' and pid <> pg_catalog.pg_backend_pid()";

const char *backup_beside_kind_name(enum backup_beside_kind kind)
{
    return kinds[kind];
}

void backup_beside_clear(struct backup_beside *beside)
{
    free(beside->name);
    free(beside->run_id);
    json_decref(beside->mark);
    *beside = (struct backup_beside){0};
}

void backup_beside_list_free(struct backup_beside *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        backup_beside_clear(&list[i]);
    free(list);
}

/* NULL where the comment is nobody's or somebody else's. */
static json_t *read_mark(const char *comment)
{
    if (comment == NULL || strncmp(comment, MARK_BEGIN, sizeof MARK_BEGIN - 1) != 0)
        return NULL;
    json_t *mark = json_loads(comment + sizeof MARK_BEGIN - 1, 0, NULL);
    if (json_string_value(json_object_get(mark, "kind")) != NULL &&
        json_string_value(json_object_get(mark, "run")) != NULL)
        return mark;
    json_decref(mark);
    return NULL;
}

static bool read_kind(const char *name, enum backup_beside_kind *out)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(name, kinds[i]) == 0) {
            *out = (enum backup_beside_kind)i;
            return true;
        }
    return false;
}

/* The run's id out of a name: letters are small there, and '-' is '_'. */
static char *run_of(const char *name)
{
    const char *at = strchr(name + sizeof "neap_" - 1, '_') + 1;
    char *run = neap_strdup(at);
    run[strspn(run, "0123456789")] = 'T';
    char *tail = strchr(run, '_');
    *tail = '-';
    tail[strcspn(tail, "_")] = '\0';
    return run;
}

/* False: it is none of neap's. */
static bool read_row(const struct pg_op *op, int row, struct backup_beside *out)
{
    const char *name = pg_cell(op, row, 0);
    json_t *mark = read_mark(pg_cell(op, row, 2));
    const char *comment = pg_cell(op, row, 2);
    bool named = pg_cell_bool(op, row, 4);
    *out = (struct backup_beside){0};
    if (mark != NULL) {
        const char *kind = json_string_value(json_object_get(mark, "kind"));
        if (!read_kind(kind, &out->kind)) {
            json_decref(mark);
            return false;
        }
        out->run_id = neap_strdup(json_string_value(json_object_get(mark, "run")));
    } else if (comment == NULL && named && pg_cell_bool(op, row, 3)) {
        out->kind = name[5] == 'c' ? BACKUP_BESIDE_COPY : BACKUP_BESIDE_RESTORE;
        out->run_id = run_of(name);
    } else {
        return false;
    }
    out->named = named;
    out->name = neap_strdup(name);
    out->oid = pg_cell_int(op, row, 1);
    out->bytes = pg_cell_int(op, row, 5);
    out->mark = mark;
    return true;
}

static void find_alive(const struct pg_op *runs, struct backup_beside *beside)
{
    for (int i = 0; i < pg_rows(runs); i++)
        if (strcmp(pg_cell(runs, i, 0), beside->run_id) == 0)
            beside->alive = true;
}

bool backup_beside_list(const struct backup_server *server, struct backup_beside **out,
                        size_t *count, struct neap_error *err)
{
    struct pg_op *op = NULL, *runs = NULL;
    *out = NULL;
    *count = 0;
    bool asked = pg_exec_text(server->client, sql_list, 0, NULL, &op, err) &&
                 pg_exec_text(server->client, sql_runs, 0, NULL, &runs, err);
    if (asked)
        *out = neap_alloc(((size_t)pg_rows(op) + 1) * sizeof **out);
    for (int i = 0; asked && i < pg_rows(op); i++) {
        if (!read_row(op, i, &(*out)[*count]))
            continue;
        find_alive(runs, &(*out)[*count]);
        (*count)++;
    }
    pg_op_free(op);
    pg_op_free(runs);
    return asked;
}

char *backup_beside_mark_sql(const struct backup_server *server, const char *name,
                             enum backup_beside_kind kind, const json_t *mark,
                             struct neap_error *err)
{
    char now[NEAP_UTC_SIZE];
    char *ident = NULL, *literal = NULL, *sql = NULL;
    json_t *json = json_deep_copy(mark);
    neap_clock_utc(now);
    neap_json_set(json, "kind", neap_json_text(kinds[kind]));
    neap_json_set(json, "run", neap_json_text(neap_loop_run(server->loop)->id));
    neap_json_set(json, "at", neap_json_text(now));
    char *text = neap_json_canonical(json);
    char *comment = neap_format(MARK_BEGIN "%s", text);
    if (pg_ident(server->client, name, strlen(name), &ident, err) &&
        pg_literal(server->client, comment, strlen(comment), &literal, err))
        sql = neap_format("comment on database %s is %s", ident, literal);
    json_decref(json);
    free(text);
    free(comment);
    free(ident);
    free(literal);
    return sql;
}

bool backup_beside_mark(const struct backup_server *server, const char *name,
                        enum backup_beside_kind kind, const json_t *mark, struct neap_error *err)
{
    char *sql = backup_beside_mark_sql(server, name, kind, mark, err);
    bool marked = sql != NULL && pg_exec_text(server->client, sql, 0, NULL, NULL, err);
    free(sql);
    return marked;
}

static char *name_new(const struct backup_server *server, enum backup_beside_kind kind)
{
    static int made;
    char *name = neap_format("neap_%s_%s", kinds[kind], neap_loop_run(server->loop)->id);
    for (char *at = name; *at != '\0'; at++) {
        if (*at == 'T')
            *at = 't';
        else if (*at == '-')
            *at = '_';
    }
    if (made++ == 0)
        return name;
    char *numbered = neap_format("%s_%d", name, made);
    free(name);
    return numbered;
}

static bool add_word(const struct backup_server *server, struct neap_buffer *sql,
                     const char *before, const char *text, bool is_name, struct neap_error *err)
{
    char *quoted = NULL;
    if (text == NULL || text[0] == '\0')
        return true;
    bool good = is_name ? pg_ident(server->client, text, strlen(text), &quoted, err)
                        : pg_literal(server->client, text, strlen(text), &quoted, err);
    if (good)
        neap_buffer_add_format(sql, " %s %s", before, quoted);
    free(quoted);
    return good;
}

static const char *text_of(const json_t *manifest, const char *key)
{
    return json_string_value(json_object_get(manifest, key));
}

static bool create(const struct backup_server *server, const json_t *manifest, const char *name,
                   struct neap_error *err)
{
    const char *icu = text_of(manifest, "icu_locale");
    struct neap_buffer sql = {0};
    neap_buffer_add_format(&sql, "create database %s template template0", name);
    bool good = add_word(server, &sql, "encoding", text_of(manifest, "encoding"), false, err) &&
                add_word(server, &sql, "lc_collate", text_of(manifest, "collate"), false, err) &&
                add_word(server, &sql, "lc_ctype", text_of(manifest, "ctype"), false, err) &&
                add_word(server, &sql, "locale_provider icu icu_locale", icu, false, err) &&
                add_word(server, &sql, "tablespace", text_of(manifest, "tablespace"), true, err);
    neap_buffer_add_text(&sql, " connection limit " MARK_LIMIT);
    good = good && pg_exec_text(server->client, neap_buffer_text(&sql), 0, NULL, NULL, err);
    neap_buffer_clear(&sql);
    char *revoke = neap_format("revoke all on database %s from public", name);
    good = good && pg_exec_text(server->client, revoke, 0, NULL, NULL, err);
    free(revoke);
    return good;
}

bool backup_beside_make(const struct backup_server *server, enum backup_beside_kind kind,
                        const json_t *manifest, const json_t *mark, char **name,
                        struct neap_error *err)
{
    *name = name_new(server, kind);
    if (create(server, manifest, *name, err) && backup_beside_mark(server, *name, kind, mark, err))
        return true;
    struct neap_error why = {0};
    (void)backup_beside_drop(server, *name, &why); /* a cancelled CREATE leaves nothing */
    neap_error_clear(&why);
    free(*name);
    *name = NULL;
    return false;
}

static bool drop_now(const struct backup_server *server, const struct backup_beside *beside,
                     struct neap_error *err)
{
    char *ident = NULL;
    bool is_target = server->target != NULL && strcmp(server->target, beside->name) == 0;
    if (is_target || !beside->named || beside->kind == BACKUP_BESIDE_KEPT) {
        neap_error_set(err, NEAP_ERR_INTERNAL_BUG, "%s was about to be dropped", beside->name);
        return false;
    }
    if (!pg_ident(server->client, beside->name, strlen(beside->name), &ident, err))
        return false;
    char *sql = neap_format("drop database if exists %s with (force)", ident);
    bool dropped = pg_exec_text(server->client, sql, 0, NULL, NULL, err);
    free(sql);
    free(ident);
    return dropped;
}

bool backup_beside_drop(const struct backup_server *server, const char *name,
                        struct neap_error *err)
{
    struct backup_beside *list = NULL;
    size_t count = 0;
    const char *own = neap_loop_run(server->loop)->id;
    pg_cleanup(server->client, true);
    pg_failure_clear(server->client);
    bool dropped = backup_beside_list(server, &list, &count, err);
    for (size_t i = 0; dropped && i < count; i++)
        if (strcmp(list[i].name, name) == 0 && strcmp(list[i].run_id, own) == 0)
            dropped = drop_now(server, &list[i], err);
    backup_beside_list_free(list, count);
    pg_cleanup(server->client, false);
    return dropped;
}

static bool is_text(const struct backup_beside *beside, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(beside->mark, key));
    return value != NULL && text != NULL && strcmp(value, text) == 0;
}

bool backup_beside_is_due(const struct backup_server *server, const struct backup_beside *beside,
                          bool *due, struct neap_error *err)
{
    const char *target = json_string_value(json_object_get(beside->mark, "target"));
    int64_t before = json_integer_value(json_object_get(beside->mark, "target_oid")), now = 0;
    *due = false;
    if (beside->kind != BACKUP_BESIDE_RESTORE || !is_text(beside, "state", "whole") ||
        target == NULL)
        return true;
    if (!json_is_true(json_object_get(beside->mark, "swap"))) {
        *due = true;
        return true;
    }
    bool found = backup_server_find(server, target, &now, err);
    *due = found && now == before;
    return found;
}

/* Of a killed run, and nobody's to use any more. */
static bool find_remnant(const struct backup_server *server, const struct backup_beside *beside,
                         bool *remnant, struct neap_error *err)
{
    bool due = false;
    *remnant = false;
    if (!beside->named || beside->alive || beside->kind == BACKUP_BESIDE_KEPT)
        return true;
    bool asked = backup_beside_is_due(server, beside, &due, err);
    *remnant = asked && !due;
    return asked;
}

bool backup_beside_sweep(const struct backup_server *server, struct neap_error *err)
{
    struct backup_beside *list = NULL;
    size_t count = 0;
    if (!backup_beside_list(server, &list, &count, err))
        return false;
    bool asked = true;
    for (size_t i = 0; asked && i < count; i++) {
        struct neap_error why = {0};
        bool remnant = false;
        asked = find_remnant(server, &list[i], &remnant, err);
        if (!remnant)
            continue;
        if (drop_now(server, &list[i], &why)) {
            neap_log(NEAP_LOG_INFO, "backup.swept",
                     "database %s, which run %s left when it was killed, is removed", list[i].name,
                     list[i].run_id);
        } else {
            pg_failure_clear(server->client);
            neap_log(NEAP_LOG_WARN, "backup.left",
                     "database %s, which run %s left when it was killed, cannot be removed: %s",
                     list[i].name, list[i].run_id, why.message);
        }
        neap_error_clear(&why);
    }
    backup_beside_list_free(list, count);
    return asked && !pg_is_lost(server->client) && neap_run_check(neap_loop_run(server->loop), err);
}

bool backup_beside_restore(const struct backup_server *server, enum backup_beside_kind kind,
                           struct backup_archive_opts *archive, const json_t *mark, char **name,
                           struct neap_error *err)
{
    struct neap_error why = {0};
    if (!backup_beside_make(server, kind, archive->backup->manifest, mark, name, err))
        return false;
    archive->client = server->client;
    archive->database = *name;
    if (backup_archive_restore(server->loop, archive, err))
        return true;
    if (!backup_beside_drop(server, *name, &why))
        neap_log(NEAP_LOG_WARN, "backup.left", "database %s cannot be removed now: %s", *name,
                 why.message);
    neap_error_clear(&why);
    free(*name);
    *name = NULL;
    return false;
}
