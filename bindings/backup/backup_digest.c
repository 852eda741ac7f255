/* SPDX-License-Identifier: MIT
 *
 * A row is its text, as pg_dump would write it, with the columns in the order of their
 * names: a restored child of an inherited table has them in another order. Two sums of
 * hashes with two seeds do not depend on the order of rows, and unlike an exclusive or
 * they see a row that is there twice.
 */
#include "bindings/backup/backup_digest.h"

#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_session.h"
#include "host/base/buffer.h"
#include "host/base/hash.h"
#include "host/base/json.h"
#include "host/base/memory.h"

#define IN_FLIGHT 64 /* statements: a slow line is waited for once for all of them */
#define SEQUENCES_AT_ONCE 200

/* Of extensions' tables a dump holds the rows that the extension asks for. */
static const char sql_relations[] =
    "with config as (select u.oid, u.condition from pg_extension e"
    " cross join unnest(e.extconfig, e.extcondition) u (oid, condition))\n"
    "select concat(quote_ident(n.nspname), '.', quote_ident(c.relname)),"
    " case when c.relkind = 'f' then 'foreign table'"
    " when c.relkind = 'm' then 'materialized view'"
    " when c.relpersistence = 'u' and pg_is_in_recovery() then 'unlogged, on a standby' end,"
    " c.relkind,"
    " (select string_agg('t.' || quote_ident(a.attname), ', ' order by a.attname)"
    " from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),"
    " (select string_agg('t.' || quote_ident(a.attname), ', ' order by a.attname)"
    " from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey)"
    " where i.indrelid = c.oid and i.indisprimary),"
    " (select f.condition from config f where f.oid = c.oid limit 1)\n"
    "from pg_class c join pg_namespace n on n.oid = c.relnamespace\n"
    "where c.relkind in ('r', 'S', 'f', 'm') and c.relpersistence <> 't'"
    " and n.nspname <> 'information_schema' and n.nspname not like 'pg\\_%'"
    " and not (n.nspname = 'neap' and c.relname = 'lease')"
    " and (c.oid in (select f.oid from config f) or (c.tableoid, c.oid) not in"
    " (select d.classid, d.objid from pg_depend d where d.deptype = 'e'))\n"
    "order by 1";

enum relation_column {
    RELATION_NAME,
    RELATION_NOT_READ,
    RELATION_KIND,
    RELATION_COLUMNS,
    RELATION_KEY,
    RELATION_CONDITION
};

static const char sql_digest[] =
    "select count(*), coalesce(sum(hashtextextended(x.r, 1)), 0)::text,"
    " coalesce(sum(hashtextextended(x.r, 2)), 0)::text from (%s) x";

/* Pages that hold nothing but zeros are as good as none, and a dump writes them out. */
static const char sql_large_objects[] =
    "select concat_ws(' ', 'page', l.loid, l.pageno,"
    " encode(rtrim(l.data, '\\x00'::bytea), 'hex')) collate \"C\" as r"
    " from pg_largeobject l where rtrim(l.data, '\\x00'::bytea) <> ''\n"
    "union all\n"
    "select concat_ws(' ', 'object', m.oid, quote_ident(pg_get_userbyid(m.lomowner)),"
    " (select max(l.pageno * current_setting('block_size')::int8 / 4 + length(l.data))"
    " from pg_largeobject l where l.loid = m.oid),"
    " (select string_agg(a::text, ' ' order by a::text collate \"C\")"
    " from unnest(coalesce(m.lomacl, acldefault('L', m.lomowner))) a),"
    " quote_literal(obj_description(m.oid, 'pg_largeobject')))"
    " from pg_largeobject_metadata m";

struct digest_reading {
    struct pg_client *client;
    const struct backup_digest_opts *opts;
    struct pg_op *relations;
    int *tables; /* rows of `relations` */
    int table_count;
    bool *sampled; /* by index in `tables` */
    json_t *out;
};

static const char *cell_of(const struct digest_reading *reading, int table,
                           enum relation_column column)
{
    return pg_cell(reading->relations, reading->tables[table], (int)column);
}

static void add_source(struct neap_buffer *sql, const struct digest_reading *reading, int table)
{
    const char *condition = cell_of(reading, table, RELATION_CONDITION);

    neap_buffer_add_format(sql, " from only %s t", cell_of(reading, table, RELATION_NAME));
    if (condition) /* "where …", as the extension wrote it */
        neap_buffer_add_format(sql, " %s", condition);
}

/* A second level keeps the server from writing each row out for each of the hashes. */
static char *table_sql(const struct digest_reading *reading, int table)
{
    const char *columns = cell_of(reading, table, RELATION_COLUMNS);
    struct neap_buffer rows = {0};

    neap_buffer_add_text(&rows, "select ");
    if (reading->sampled[table])
        neap_buffer_add_format(&rows,
                               "case when hashtextextended(row(%s)::text, 3) %% 16 = 0 then ",
                               cell_of(reading, table, RELATION_KEY));
    neap_buffer_add_format(&rows, "row(%s)::text collate \"C\"", columns ? columns : "");
    neap_buffer_add_text(&rows, reading->sampled[table] ? " end as r" : " as r");
    add_source(&rows, reading, table);
    neap_buffer_add_text(&rows, " offset 0");
    char *sql = neap_format(sql_digest, neap_buffer_text(&rows));

    neap_buffer_clear(&rows);
    return sql;
}

/* Whether there are more rows than the limit. An estimate would differ on the copy. */
static char *count_sql(const struct digest_reading *reading, int table)
{
    struct neap_buffer sql = {0};

    neap_buffer_add_text(&sql, "select count(*) from (select");
    add_source(&sql, reading, table);
    neap_buffer_add_format(&sql, " limit %lld) x", (long long)reading->opts->sample_rows_over + 1);
    return neap_buffer_take(&sql);
}

static void digest_hex(const struct pg_op *op, char hex[NEAP_HASH_HEX_SIZE])
{
    char *sums = neap_format("%s %s", pg_cell(op, 0, 1), pg_cell(op, 0, 2));
    struct neap_hash hash;

    neap_hash_bytes(sums, strlen(sums), &hash);
    neap_hash_hex(&hash, hex);
    free(sums);
}

static void take_table(struct digest_reading *reading, int table, const struct pg_op *op)
{
    char hex[NEAP_HASH_HEX_SIZE];
    json_t *row = json_object();

    digest_hex(op, hex);
    neap_json_set(row, "rows", json_integer(pg_cell_int(op, 0, 0)));
    neap_json_set(row, "digest", json_string(hex));
    neap_json_set(row, "sampled", json_boolean(reading->sampled[table]));
    neap_json_set(json_object_get(reading->out, "tables"), cell_of(reading, table, RELATION_NAME),
                  row);
    if (reading->opts->progress)
        reading->opts->progress(reading->opts->arg, table + 1, reading->table_count);
}

static void take_count(struct digest_reading *reading, int table, const struct pg_op *op)
{
    reading->sampled[table] = cell_of(reading, table, RELATION_KEY) &&
                              pg_cell_int(op, 0, 0) > reading->opts->sample_rows_over;
}

/* What is asked of every table, and what is done with the answer. */
struct question {
    char *(*sql)(const struct digest_reading *reading, int table);
    void (*take)(struct digest_reading *reading, int table, const struct pg_op *op);
};

static bool send_question(struct digest_reading *reading, const struct question *question,
                          int table, struct pg_op **op, struct neap_error *err)
{
    char *sql = question->sql(reading, table);
    struct pg_statement statement = {.sql = sql, .call_id = -1};
    bool ok = pg_send(reading->client, &statement, op, err);

    free(sql);
    return ok;
}

/* Going back to a savepoint lets go of the locks taken since: else they would be as many as
 * there are tables and indexes, and a server has some thousand. The snapshot stays. */
static bool let_go(struct digest_reading *reading, struct neap_error *err)
{
    return pg_send_text(reading->client, "rollback to savepoint neap_locks", 0, NULL, err);
}

static bool send_more(struct digest_reading *reading, const struct question *question, int table,
                      struct pg_op **op, struct neap_error *err)
{
    return (table == 0 || table % IN_FLIGHT != 0 || let_go(reading, err)) &&
           send_question(reading, question, table, op, err);
}

static bool ask_in_pipeline(struct digest_reading *reading, const struct question *question,
                            struct neap_error *err)
{
    struct pg_op *ops[IN_FLIGHT] = {0};
    bool ok = true;

    for (int sent = 0, taken = 0; ok && taken < reading->table_count; taken++) {
        for (; ok && sent < reading->table_count && sent < taken + IN_FLIGHT; sent++)
            ok = send_more(reading, question, sent, &ops[sent % IN_FLIGHT], err);
        struct pg_op **op = &ops[taken % IN_FLIGHT];

        ok = ok && pg_wait(reading->client, *op, err);
        if (ok)
            question->take(reading, taken, *op);
        pg_op_free(*op);
        *op = NULL;
    }
    for (int i = 0; i < IN_FLIGHT; i++)
        pg_op_free(ops[i]);
    return ok && let_go(reading, err);
}

static bool ask_all(struct digest_reading *reading, const struct question *question,
                    struct neap_error *err)
{
    if (!pg_pipeline_begin(reading->client, err))
        return false;
    bool ok = ask_in_pipeline(reading, question, err);

    return pg_pipeline_end(reading->client, ok ? err : NULL) && ok;
}

static bool read_tables(struct digest_reading *reading, struct neap_error *err)
{
    static const struct question counts = {count_sql, take_count},
                                 digests = {table_sql, take_table};

    return (reading->opts->sample_rows_over <= 0 || ask_all(reading, &counts, err)) &&
           ask_all(reading, &digests, err);
}

static void take_sequences(struct digest_reading *reading, const struct pg_op *op)
{
    json_t *sequences = json_object_get(reading->out, "sequences");

    for (int row = 0; row < pg_rows(op); row++) {
        json_t *sequence = json_object();
        int relation = (int)pg_cell_int(op, row, 0);

        neap_json_set(sequence, "last_value", json_integer(pg_cell_int(op, row, 1)));
        neap_json_set(sequence, "is_called", json_boolean(pg_cell_bool(op, row, 2)));
        neap_json_set(sequences, pg_cell(reading->relations, relation, RELATION_NAME), sequence);
    }
}

static bool flush_sequences(struct digest_reading *reading, struct neap_buffer *sql, int *count,
                            struct neap_error *err)
{
    struct pg_op *op = NULL;
    bool ok =
        *count == 0 || pg_exec_text(reading->client, neap_buffer_text(sql), 0, NULL, &op, err);

    if (ok && *count > 0)
        take_sequences(reading, op);
    ok = ok && let_go(reading, err);
    pg_op_free(op);
    neap_buffer_clear(sql);
    *count = 0;
    return ok;
}

static bool is_read(const struct digest_reading *reading, int row, char kind)
{
    return !pg_cell(reading->relations, row, RELATION_NOT_READ) &&
           pg_cell(reading->relations, row, RELATION_KIND)[0] == kind;
}

static bool read_sequences(struct digest_reading *reading, struct neap_error *err)
{
    struct neap_buffer sql = {0};
    bool ok = true;

    for (int row = 0, count = 0; ok && row <= pg_rows(reading->relations); row++) {
        if (row == pg_rows(reading->relations) || count == SEQUENCES_AT_ONCE)
            ok = flush_sequences(reading, &sql, &count, err);
        if (!ok || row == pg_rows(reading->relations) || !is_read(reading, row, 'S'))
            continue;
        neap_buffer_add_format(&sql, "%sselect %d, s.last_value, s.is_called from %s s",
                               count++ ? " union all " : "", row,
                               pg_cell(reading->relations, row, RELATION_NAME));
    }
    neap_buffer_clear(&sql);
    return ok;
}

/* Only superusers and pg_read_all_data may read all of them: not asked for when there are
 * none. */
static bool read_large_objects(struct digest_reading *reading, struct neap_error *err)
{
    static const char sql_count[] = "select count(*), '0', '0' from pg_largeobject_metadata";
    struct pg_op *counted = NULL, *digested = NULL;
    json_t *found = json_object_get(reading->out, "large_objects");
    bool ok = pg_exec_text(reading->client, sql_count, 0, NULL, &counted, err);
    int64_t count = ok ? pg_cell_int(counted, 0, 0) : 0;

    if (ok && count > 0) {
        char *sql = neap_format(sql_digest, sql_large_objects);

        ok = pg_exec_text(reading->client, sql, 0, NULL, &digested, err);
        free(sql);
    }
    if (ok) {
        char hex[NEAP_HASH_HEX_SIZE];

        digest_hex(digested ? digested : counted, hex);
        neap_json_set(found, "count", json_integer(count));
        neap_json_set(found, "digest", json_string(hex));
    }
    pg_op_free(counted);
    pg_op_free(digested);
    return ok;
}

static bool read_relations(struct digest_reading *reading, struct neap_error *err)
{
    if (!pg_exec_text(reading->client, sql_relations, 0, NULL, &reading->relations, err))
        return false;
    int rows = pg_rows(reading->relations);

    reading->tables = neap_alloc_many((size_t)rows + 1, sizeof reading->tables[0]);
    reading->sampled = neap_alloc_many((size_t)rows + 1, sizeof reading->sampled[0]);
    for (int row = 0; row < rows; row++) {
        const char *why = pg_cell(reading->relations, row, RELATION_NOT_READ);

        if (is_read(reading, row, 'r'))
            reading->tables[reading->table_count++] = row;
        if (why)
            neap_json_set(json_object_get(reading->out, "not_read"),
                          pg_cell(reading->relations, row, RELATION_NAME), json_string(why));
    }
    return true;
}

static bool read_all(struct digest_reading *reading, struct neap_error *err)
{
    static const char *const parts[] = {"tables", "sequences", "large_objects", "not_read"};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        neap_json_set(reading->out, parts[i], json_object());
    return pg_exec_text(reading->client, "savepoint neap_locks", 0, NULL, NULL, err) &&
           read_relations(reading, err) && read_tables(reading, err) &&
           read_sequences(reading, err) && read_large_objects(reading, err);
}

bool backup_digest_read(struct pg_client *client, const struct backup_digest_opts *opts,
                        json_t **out, struct neap_error *err)
{
    static const struct backup_digest_opts no_opts = {0};
    struct digest_reading reading = {.client = client, .opts = opts ? opts : &no_opts};
    struct backup_session session;

    if (!backup_session_begin(&session, client, err))
        return false;
    reading.out = json_object();
    bool ok = backup_session_end(&session, read_all(&reading, err), err);

    pg_op_free(reading.relations);
    free(reading.tables);
    free(reading.sampled);
    if (ok)
        *out = reading.out;
    else
        json_decref(reading.out);
    return ok;
}
