/* SPDX-License-Identifier: MIT
 *
 * Counts alone would not show what was updated in place, so a database that is read in a
 * second or two is digested whole, as the backup was.
 */
#include "bindings/backup/backup_loss.h"

#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_digest.h"
#include "host/base/buffer.h"
#include "host/base/json.h"
#include "host/base/memory.h"

#define DIGEST_BYTES_MAX (256LL << 20)
#define COUNT_BYTES_MAX "67108864" /* of one table */

/* The age by the server's clock, which made no row of the backup older than it is. */
static const char sql_facts[] =
    "select (extract(epoch from pg_catalog.clock_timestamp() - $1::pg_catalog.timestamptz)"
    " * 1000)::pg_catalog.int8, pg_catalog.pg_database_size(pg_catalog.current_database()),"
    " case when not pg_catalog.pg_is_in_recovery() and $3 operator(pg_catalog.=)"
    " (pg_catalog.pg_control_system()).system_identifier::pg_catalog.text"
    " then pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(),"
    " $2::pg_catalog.pg_lsn)::pg_catalog.int8 end";

static const char sql_tables[] =
    "select pg_catalog.format('%I.%I', n.nspname, c.relname), c.reltuples::pg_catalog.int8,"
    " pg_catalog.pg_table_size(c.oid) operator(pg_catalog.<=) " COUNT_BYTES_MAX
    " from pg_catalog.pg_class c join pg_catalog.pg_namespace n"
    " on n.oid operator(pg_catalog.=) c.relnamespace"
    " where c.relkind operator(pg_catalog.=) 'r' and c.relpersistence operator(pg_catalog.<>) 't'"
    " and n.nspname operator(pg_catalog.!~) '^pg_'"
    " and n.nspname operator(pg_catalog.<>) 'information_schema' order by 1";

/* Rows are numbered by seq; a restored history has the first so many. */
static const char sql_migrations[] =
    "select h.id || ' ' || h.action from neap.history h order by h.seq offset $1::int8";

struct loss {
    struct pg_client *client;
    const struct backup *backup;
    json_t *json, *tables;
};

static bool is_own(const char *table)
{
    return strncmp(table, "neap.", 5) == 0;
}

static void add_table(struct loss *loss, const char *table, json_t *before, json_t *now, bool exact)
{
    json_t *json = json_object();
    neap_json_set(json, "table", neap_json_text(table));
    neap_json_set(json, "backup", before);
    neap_json_set(json, "now", now);
    neap_json_set(json, "exact", json_boolean(exact));
    json_array_append_new(loss->tables, json);
}

static json_t *rows_of(const json_t *table)
{
    json_t *rows = json_object_get(table, "rows");
    return rows == NULL ? json_null() : json_incref(rows);
}

static bool is_same(const json_t *a, const json_t *b)
{
    bool sampled = json_is_true(json_object_get(a, "sampled"));
    return json_equal(json_object_get(a, "rows"), json_object_get(b, "rows")) &&
           (sampled || json_equal(json_object_get(a, "digest"), json_object_get(b, "digest")));
}

static bool digest_tables(struct loss *loss, struct neap_error *err)
{
    json_t *before = json_object_get(loss->backup->manifest, "tables"), *digests = NULL;
    const char *name;
    json_t *table;
    if (!backup_digest_read(loss->client, NULL, &digests, err))
        return false;
    json_t *now = json_object_get(digests, "tables");
    json_object_foreach(before, name, table)
    {
        json_t *other = json_object_get(now, name);
        if (!is_own(name) && (other == NULL || !is_same(table, other)))
            add_table(loss, name, rows_of(table), rows_of(other), true);
    }
    json_object_foreach(now, name, table)
    {
        if (!is_own(name) && json_object_get(before, name) == NULL)
            add_table(loss, name, json_null(), rows_of(table), true);
    }
    json_decref(digests);
    return true;
}

static bool count_table(struct loss *loss, const char *name, json_t **out, struct neap_error *err)
{
    char *sql = neap_format("select pg_catalog.count(*) from only %s", name);
    struct pg_op *op = NULL;
    bool counted = pg_exec_text(loss->client, sql, 0, NULL, &op, err);
    *out = counted ? json_integer(pg_cell_int(op, 0, 0)) : NULL;
    pg_op_free(op);
    free(sql);
    return counted;
}

/* reltuples is -1 before the first ANALYZE. */
static bool count_tables(struct loss *loss, struct neap_error *err)
{
    json_t *before = json_object_get(loss->backup->manifest, "tables"), *seen = json_object();
    struct pg_op *op = NULL;
    const char *name;
    json_t *table;
    bool done = pg_exec_text(loss->client, sql_tables, 0, NULL, &op, err);
    for (int i = 0; done && i < pg_rows(op); i++) {
        json_t *now = NULL;
        bool exact = pg_cell_bool(op, i, 2);
        name = pg_cell(op, i, 0);
        neap_json_set(seen, name, json_true());
        if (is_own(name))
            continue;
        if (exact)
            done = count_table(loss, name, &now, err);
        else
            now = json_integer(pg_cell_int(op, i, 1));
        json_t *then = rows_of(json_object_get(before, name));
        if (done && (!json_equal(then, now) || !exact))
            add_table(loss, name, json_incref(then), json_incref(now), exact);
        json_decref(then);
        json_decref(now);
    }
    json_object_foreach(before, name, table)
    {
        if (done && !is_own(name) && json_object_get(seen, name) == NULL)
            add_table(loss, name, rows_of(table), json_null(), true);
    }
    pg_op_free(op);
    json_decref(seen);
    return done;
}

static bool read_migrations(struct loss *loss, struct neap_error *err)
{
    const json_t *table =
        json_object_get(json_object_get(loss->backup->manifest, "tables"), "neap.history");
    char *rows = neap_format("%lld", (long long)json_integer_value(json_object_get(table, "rows")));
    const char *params[] = {rows};
    json_t *list = json_array();
    struct pg_op *op = NULL;
    bool there = false;
    bool done = pg_exec_text(loss->client,
                             "select pg_catalog.to_regclass('neap.history') is not "
                             "null",
                             0, NULL, &op, err);
    there = done && pg_cell_bool(op, 0, 0);
    pg_op_free(op);
    op = NULL;
    if (there)
        done = pg_exec_text(loss->client, sql_migrations, 1, params, &op, err);
    for (int i = 0; there && done && i < pg_rows(op); i++)
        json_array_append_new(list, neap_json_text(pg_cell(op, i, 0)));
    pg_op_free(op);
    free(rows);
    neap_json_set(loss->json, "migrations", list);
    return done;
}

/* "<system identifier>/<database oid>" */
static bool read_facts(struct loss *loss, int64_t *bytes, struct neap_error *err)
{
    const char *identity = backup_text(loss->backup, "identity");
    char *system = neap_strndup(identity, strcspn(identity, "/"));
    const char *lsn = backup_text(loss->backup, "snapshot_lsn");
    const char *params[] = {backup_text(loss->backup, "started_at"), lsn[0] == '\0' ? "0/0" : lsn,
                            system};
    struct pg_op *op = NULL;
    bool asked = pg_exec_text(loss->client, sql_facts, 3, params, &op, err);
    if (asked) {
        *bytes = pg_cell_int(op, 0, 1);
        neap_json_set(loss->json, "age_ms", json_integer(pg_cell_int(op, 0, 0)));
        bool known = pg_cell(op, 0, 2) != NULL && pg_cell_int(op, 0, 2) >= 0;
        neap_json_set(loss->json, "wal_bytes",
                      known ? json_integer(pg_cell_int(op, 0, 2)) : json_null());
    }
    pg_op_free(op);
    free(system);
    return asked;
}

bool backup_loss_read(struct pg_client *client, const struct backup *backup, json_t **out,
                      struct neap_error *err)
{
    struct loss loss = {
        .client = client, .backup = backup, .json = json_object(), .tables = json_array()};
    int64_t bytes = 0;
    bool bare = strcmp(backup_text(backup, "kind"), "schema") == 0;
    bool done = read_facts(&loss, &bytes, err);
    /* Samples that are equal do not say that nothing was written. */
    bool sampled = json_object_get(backup->manifest, "sample_rows_over") != NULL;
    bool digest = done && !bare && !sampled && bytes <= DIGEST_BYTES_MAX;
    done = done && (digest ? digest_tables(&loss, err) : count_tables(&loss, err)) &&
           read_migrations(&loss, err);
    neap_json_set(loss.json, "exact", json_boolean(digest));
    neap_json_set(loss.json, "tables", loss.tables);
    if (done)
        *out = loss.json;
    else
        json_decref(loss.json);
    return done;
}

static void add_rows(struct neap_buffer *text, const json_t *rows, const char *where, bool exact)
{
    if (!json_is_integer(rows))
        neap_buffer_add_format(text, "not there %s", where);
    else
        neap_buffer_add_format(text, "%s%lld %s %s", exact ? "" : "about ",
                               (long long)json_integer_value(rows),
                               json_integer_value(rows) == 1 ? "row" : "rows", where);
}

char *backup_loss_text(const json_t *loss)
{
    struct neap_buffer text = {0};
    const json_t *tables = json_object_get(loss, "tables");
    for (size_t i = 0; i < json_array_size(tables); i++) {
        const json_t *table = json_array_get(tables, i);
        const json_t *before = json_object_get(table, "backup"),
                     *now = json_object_get(table, "now");
        bool exact = json_is_true(json_object_get(table, "exact"));
        neap_buffer_add_format(&text, "%s: ", json_string_value(json_object_get(table, "table")));
        add_rows(&text, before, "in the backup", true);
        neap_buffer_add_text(&text, ", ");
        add_rows(&text, now, "now", exact);
        if (exact && json_equal(before, now))
            neap_buffer_add_text(&text, ", and not the same ones");
        neap_buffer_add_char(&text, '\n');
    }
    return neap_buffer_take(&text);
}
