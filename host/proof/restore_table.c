/* SPDX-License-Identifier: MIT
 *
 * One table beside the live one. pg_restore can rename nothing, and a second database could
 * not be joined; so the table is restored where it harms nobody, and its rows come through
 * us, by a file that has no name: what a killed neap wrote is gone with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings/backup/backup_digest.h"
#include "bindings/backup/backup_restore.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/base/text.h"
#include "host/proof/proof.h"
#include "host/proof/proof_run.h"
#include "host/proof/restore_parts.h"

#define CHUNK_BYTES 65536

struct table {
    struct restore restore;
    const char *key; /* in the manifest: its name as SQL has it */
    char *schema, *name;
    char *place, *copy;      /* the new schema, and the table in it, as SQL has them */
    char *columns;           /* "a integer, b text" */
    char *names;             /* "a, b" */
    json_t *known;           /* set of them */
    struct neap_buffer both; /* of those that the live table has as well: "a::text, b::text" */
    int spool;
    int64_t rows;
    char chunk[CHUNK_BYTES];
};

/* One name of "public.\"a \"\"b\"\"\"", without its quotes. */
static const char *unquote(const char *text, char **out)
{
    struct neap_buffer name = {0};
    bool quoted = *text == '"';
    for (text += quoted; *text != '\0'; text++) {
        if (quoted && text[0] == '"' && text[1] == '"')
            text++;
        else if (*text == (quoted ? '"' : '.'))
            break;
        neap_buffer_add_char(&name, *text);
    }
    *out = neap_buffer_take(&name);
    return *text == '"' ? text + 1 : text;
}

static bool is_called(struct table *table, const char *key, const char *wanted)
{
    const char *rest = unquote(key, &table->schema);
    (void)unquote(rest + (*rest == '.'), &table->name);
    char *plain = neap_format("%s.%s", table->schema, table->name);
    bool same = strcmp(key, wanted) == 0 || strcmp(plain, wanted) == 0;
    free(plain);
    if (same)
        return true;
    free(table->schema);
    free(table->name);
    table->schema = table->name = NULL;
    return false;
}

static bool find(struct table *table, const char *wanted, struct neap_error *err)
{
    json_t *tables = json_object_get(table->restore.backup->manifest, "tables"), *value;
    const char **keys = neap_alloc_many(json_object_size(tables) + 1, sizeof *keys), *key;
    size_t count = 0;
    json_object_foreach(tables, key, value)
    {
        keys[count++] = key;
        if (table->key == NULL && is_called(table, key, wanted))
            table->key = key;
    }
    if (table->key == NULL) {
        const char *nearest = neap_text_nearest(wanted, keys);
        neap_error_set(err, NEAP_ERR_BACKUP_UNKNOWN, "backup %s has no table %s",
                       table->restore.backup->id, wanted);
        if (nearest != NULL)
            neap_error_hint(err, "Did you mean %s?", nearest);
        else
            neap_error_hint(err,
                            "`neap backup show %s --json` has the names of all, with their "
                            "schema; a partition is a table of its own.",
                            table->restore.backup->id);
    }
    free(keys);
    return table->key != NULL;
}

static bool quote(struct pg_client *client, const char *name, char **out, struct neap_error *err)
{
    return pg_ident(client, name, strlen(name), out, err);
}

/* "neap_restored_20261121t072617_ab12cd34ef" */
static bool name_place(struct table *table, struct pg_client *client, struct neap_error *err)
{
    char *place = neap_format("neap_restored_%s", table->restore.backup->id), *name = NULL;
    for (char *at = place + sizeof "neap_restored_" - 1; *at != '\0'; at++)
        *at = *at == 'T' ? 't' : *at == '-' ? '_' : *at;
    bool named = quote(client, place, &table->place, err) && quote(client, table->name, &name, err);
    table->copy = named ? neap_format("%s.%s", table->place, name) : NULL;
    free(place);
    free(name);
    return named;
}

static bool check_place(struct table *table, struct pg_client *client, struct neap_error *err)
{
    static const char sql[] = "select pg_catalog.to_regnamespace($1) is not null,"
                              " pg_catalog.to_regclass($2) is not null";
    const char *params[] = {table->place, table->copy};
    struct pg_op *op = NULL;
    if (!pg_exec_text(client, sql, 2, params, &op, err))
        return false;
    bool there = pg_cell_bool(op, 0, 1);
    if (there) {
        neap_error_set(err, NEAP_ERR_RESTORE_EXISTS, "there is a table %s already", table->copy);
        neap_error_hint(err, "Look at it, or remove it: drop table %s", table->copy);
    }
    pg_op_free(op);
    return !there;
}

static const char sql_columns[] =
    "select pg_catalog.quote_ident(a.attname), pg_catalog.format_type(a.atttypid, a.atttypmod)"
    " || case when a.attcollation <> t.typcollation"
    " then ' collate ' || a.attcollation::pg_catalog.regcollation::text else '' end"
    " from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid"
    " where a.attrelid = pg_catalog.to_regclass($1) and a.attnum > 0 and not a.attisdropped"
    " order by a.attnum";

/* Types come out with their schema where search_path does not find them. */
static bool read_columns(struct table *table, struct pg_client *client, struct neap_error *err)
{
    struct neap_buffer columns = {0}, names = {0};
    struct pg_op *op = NULL;
    bool done = pg_exec_text(client, "set search_path = pg_catalog", 0, NULL, NULL, err) &&
                pg_exec_text(client, sql_columns, 1, &table->key, &op, err);
    for (int i = 0; done && i < pg_rows(op); i++) {
        neap_buffer_add_format(&columns, "%s%s %s", i == 0 ? "" : ", ", pg_cell(op, i, 0),
                               pg_cell(op, i, 1));
        neap_buffer_add_format(&names, "%s%s", i == 0 ? "" : ", ", pg_cell(op, i, 0));
        neap_json_set(table->known, pg_cell(op, i, 0), json_true());
    }
    pg_op_free(op);
    table->columns = neap_buffer_take(&columns);
    table->names = neap_buffer_take(&names);
    return done;
}

/* As text, since not every type can be compared. */
static bool read_live(struct table *table, struct pg_client *client, struct neap_error *err)
{
    struct pg_op *op = NULL;
    bool done = pg_exec_text(client, sql_columns, 1, &table->key, &op, err);
    for (int i = 0; done && i < pg_rows(op); i++)
        if (json_object_get(table->known, pg_cell(op, i, 0)) != NULL)
            neap_buffer_add_format(&table->both, "%s%s::text", table->both.length == 0 ? "" : ", ",
                                   pg_cell(op, i, 0));
    pg_op_free(op);
    return done;
}

/* Only this one has its rows there. */
static bool prove(struct table *table, struct pg_client *client, struct neap_error *err)
{
    const json_t *before =
        json_object_get(json_object_get(table->restore.backup->manifest, "tables"), table->key);
    json_t *digests = NULL;
    if (!backup_digest_read(client, NULL, &digests, err))
        return false;
    const json_t *now = json_object_get(json_object_get(digests, "tables"), table->key);
    bool sampled = json_is_true(json_object_get(before, "sampled"));
    bool same =
        json_equal(json_object_get(before, "rows"), json_object_get(now, "rows")) &&
        (sampled || json_equal(json_object_get(before, "digest"), json_object_get(now, "digest")));
    if (!same)
        neap_error_set(err, NEAP_ERR_BACKUP_DIFFERS,
                       "table %s restored from backup %s is not what was backed up", table->key,
                       table->restore.backup->id);
    json_decref(digests);
    return same;
}

static bool open_spool(struct table *table, struct neap_error *err)
{
    char *path = neap_path_join(table->restore.project->state_dir, "restore-XXXXXX");
    table->spool = mkostemp(path, O_CLOEXEC);
    if (table->spool >= 0)
        (void)unlink(path);
    else
        backup_error_errno(err, errno, "cannot make %s", path);
    free(path);
    return table->spool >= 0;
}

static bool take(void *arg, const char *bytes, size_t length, struct neap_error *err)
{
    const struct table *table = arg;
    while (length > 0) {
        ssize_t written = write(table->spool, bytes, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            backup_error_errno(err, errno, "cannot write rows to a file in %s",
                               table->restore.project->state_dir);
            return false;
        }
        bytes += written;
        length -= (size_t)written;
    }
    return true;
}

static bool more(void *arg, const char **bytes, size_t *length, struct neap_error *err)
{
    struct table *table = arg;
    ssize_t got;
    do
        got = read(table->spool, table->chunk, sizeof table->chunk);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        backup_error_errno(err, errno, "cannot read rows back");
    *bytes = table->chunk;
    *length = got < 0 ? 0 : (size_t)got;
    return got > 0;
}

static bool copy_out(struct table *table, struct pg_client *client, struct neap_error *err)
{
    char *sql = neap_format("copy (select %s from only %s) to stdout", table->names, table->key);
    struct pg_statement statement = {.sql = sql, .call_id = -1};
    struct pg_copy copy = {.statement = &statement, .take = take, .arg = table};
    bool done = pg_copy_out(client, &copy, NULL, err);
    free(sql);
    return done && lseek(table->spool, 0, SEEK_SET) == 0;
}

/* Until its rows are in the spool, the copy lives. */
static bool fetch_rows(struct table *table, struct neap_error *err)
{
    struct restore *restore = &table->restore;
    struct backup_table wanted = {.schema = table->schema, .name = table->name};
    struct backup_tool pg_restore = {0};
    struct backup_copy copy = {0};
    bool done =
        neap_proof_files(restore->loop, restore->project, restore->backup, "restore", &pg_restore,
                         err) &&
        backup_restore_table(restore->loop, &pg_restore, restore->backup, &wanted, &copy, err);
    if (done) {
        done = prove(table, copy.client, err) && read_columns(table, copy.client, err) &&
               open_spool(table, err) && copy_out(table, copy.client, err);
        backup_copy_end(&copy);
    } else if (err->code == NEAP_ERR_DB_CONNECT) { /* the copy's server, not the target */
        err->code = NEAP_ERR_BACKUP_FAILED;
    }
    backup_tool_clear(&pg_restore);
    return done;
}

static bool run(struct pg_client *client, char *sql, struct neap_error *err)
{
    bool done = pg_exec_text(client, sql, 0, NULL, NULL, err);
    free(sql);
    return done;
}

static bool copy_in(struct table *table, struct pg_client *client, struct neap_error *err)
{
    bool any = table->names[0] != '\0'; /* a table may have no columns */
    char *sql = neap_format("copy %s %s%s%s from stdin", table->copy, any ? "(" : "", table->names,
                            any ? ")" : "");
    struct pg_statement statement = {.sql = sql, .call_id = -1};
    struct pg_copy copy = {.statement = &statement, .more = more, .arg = table};
    bool done = pg_copy_in(client, &copy, &table->rows, err);
    free(sql);
    return done;
}

static bool commit(struct pg_client *client, const char *copy, struct neap_error *err)
{
    struct pg_statement statement = {.sql = "commit", .call_id = -1, .shielded = true};
    struct pg_op *op = NULL;
    bool answered = pg_exec(client, &statement, &op, err);
    bool done = answered && strcmp(pg_op_tag(op), "COMMIT") == 0;
    pg_op_free(op);
    if (answered && !done)
        neap_error_set(err, NEAP_ERR_DB_ABORTED, "the server rolled it back");
    if (!answered && pg_is_lost(client)) {
        neap_error_clear(err);
        neap_error_set(err, NEAP_ERR_COMMIT_UNKNOWN, "it is not known whether %s is there", copy);
        neap_error_hint(err, "Look: select count(*) from %s", copy);
    }
    return done;
}

/* In one transaction under the fence: all of it is there, or nothing. */
static bool write_rows(struct table *table, struct neap_error *err)
{
    struct neap_session *session = table->restore.session;
    struct pg_client *client = session->target->work;
    bool done =
        run(client, neap_strdup("begin"), err) && lease_fence(session->lease, client, err) &&
        run(client, neap_strdup("set local search_path = pg_catalog"), err) &&
        run(client, neap_format("create schema if not exists %s", table->place), err) &&
        run(client, neap_format("create table %s (%s)", table->copy, table->columns), err) &&
        copy_in(table, client, err) && read_live(table, client, err) &&
        commit(client, table->copy, err);
    if (!done)
        neap_target_drop_work(session->target); /* and with it the transaction */
    return done;
}

static char *compare_sql(const struct table *table)
{
    const char *columns = neap_buffer_text((struct neap_buffer *)(uintptr_t)&table->both);
    if (table->both.length == 0)
        return neap_format("select * from %s", table->copy);
    return neap_format("select 'now' as side, x.* from (select %s from %s except all select %s "
                       "from %s) x\nunion all select 'backup', x.* from (select %s from %s except "
                       "all select %s from %s) x",
                       columns, table->key, columns, table->copy, columns, table->copy, columns,
                       table->key);
}

static json_t *result_of(const struct table *table)
{
    const struct restore *restore = &table->restore;
    json_t *json = json_object();
    char *compare = compare_sql(table), *drop = neap_format("drop table %s", table->copy);
    neap_json_set(json, "database", neap_json_text(restore->session->target->database));
    neap_json_set(json, "backup", neap_json_text(restore->backup->id));
    neap_json_set(json, "server", neap_json_text(pg_address(restore->session->target->control)));
    neap_json_set(json, "table", neap_json_text(table->key));
    neap_json_set(json, "restored", neap_json_text(table->copy));
    neap_json_set(json, "rows", json_integer(table->rows));
    neap_json_set(json, "compare", neap_json_text(compare));
    neap_json_set(json, "drop", neap_json_text(drop));
    neap_json_set(json, "duration_ms", json_integer(neap_clock_ms() - restore->begun_ms));
    free(compare);
    free(drop);
    return json;
}

static bool record_begin(struct table *table, struct neap_error *err)
{
    struct restore *restore = &table->restore;
    json_t *fields = json_object();
    restore->audit = restore->session->audit;
    neap_json_set(fields, "backup", neap_json_text(restore->backup->id));
    neap_json_set(fields, "manifest_sha256", neap_json_text(restore->backup->manifest_sha256));
    neap_json_set(fields, "table", neap_json_text(table->key));
    neap_json_set(fields, "into", neap_json_text(table->copy));
    return restore_record(restore, "restore.begin", fields, true, err);
}

static bool carry_out(struct table *table, struct neap_error *err)
{
    struct restore *restore = &table->restore;
    struct neap_session *session = restore->session;
    struct neap_run *state = neap_loop_run(restore->loop);
    struct neap_session_opts begin = {
        .command = "restore", .reason = restore->opts->reason, .ticket = restore->opts->ticket};
    if (!name_place(table, session->target->control, err) ||
        !check_place(table, session->target->control, err) ||
        !neap_session_begin(session, &begin, err) || !record_begin(table, err))
        return false;
    state->deadline_ms = neap_clock_deadline_ms(restore->opts->timeout_ms);
    bool done =
        fetch_rows(table, err) && neap_target_work(session->target, err) && write_rows(table, err);
    state->deadline_ms = NEAP_FOREVER;
    neap_log_progress_end();
    if (!done)
        neap_proof_restore_error(err);
    json_t *fields = json_object();
    neap_json_set(fields, "into", neap_json_text(done ? table->copy : NULL));
    neap_json_set(fields, "rows", json_integer(table->rows));
    restore_failed(fields, err);
    (void)restore_record(restore, "restore.end", fields, false, NULL);
    return done;
}

bool neap_restore_table(struct neap_session *session, const struct neap_restore_opts *opts,
                        const struct backup *backup, const char *wanted, json_t **out,
                        struct neap_error *err)
{
    struct table *table = neap_alloc(sizeof *table);
    table->spool = -1;
    table->known = json_object();
    table->restore = (struct restore){.loop = session->loop,
                                      .project = session->project,
                                      .opts = opts,
                                      .backup = backup,
                                      .session = session,
                                      .begun_ms = neap_clock_ms()};
    bool done =
        restore_check_kind(backup, err) && find(table, wanted, err) && carry_out(table, err);
    if (done)
        *out = result_of(table);
    if (table->spool >= 0)
        (void)close(table->spool);
    char *const owned[] = {table->schema, table->name,    table->place,
                           table->copy,   table->columns, table->names};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
    neap_buffer_clear(&table->both);
    json_decref(table->known);
    free(table);
    return done;
}
