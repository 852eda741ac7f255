/* SPDX-License-Identifier: MIT
 *
 * After each statement the script's own session says what it holds and how often it read a
 * table in full, and the watcher, which sees only what is committed, which of these were
 * there before. A statement outside a transaction is put in one where it can be: its locks
 * would be gone before anybody looked. A loop's statement is looked at a few times.
 */
#include "host/proof/rehearse_measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_sql.h"
#include "host/base/buffer.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/proof/rehearse_alone.h"
#include "host/proof/rehearse_guard.h"
#include "host/proof/rehearse_statement.h"

#define LOOKS_MAX 10 /* at statements that a loop sends again */
#define VERSION_FLUSH 150000

/* One row at least: how much WAL there is, and each relation that is locked. The ranks of
 * modes are those of the table of conflicts; rehearse_alone.c has the same. */
static const char sql_look[] =
    "select pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')"
    "::pg_catalog.int8, l.relation, l.rank, c.relfilenode,"
    " pg_catalog.pg_stat_get_xact_numscans(l.relation)"
    " from (values (1)) one (n) left join (select k.relation, pg_catalog.max("
    "pg_catalog.array_position(array['AccessShareLock', 'RowShareLock', 'RowExclusiveLock',"
    " 'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',"
    " 'AccessExclusiveLock'], k.mode)) as rank from pg_catalog.pg_locks k"
    " where k.pid = pg_catalog.pg_backend_pid() and k.locktype = 'relation' and k.granted"
    " and k.relation >= 16384 and k.database = (select d.oid from pg_catalog.pg_database d"
    " where d.datname = pg_catalog.current_database()) group by k.relation) l on true"
    " left join pg_catalog.pg_class c on c.oid = l.relation";

/* What is committed of relations: their names, their files, the table of an index. */
static const char sql_names[] =
    "select c.oid, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),"
    " c.relkind in ('i', 'I'), c.relfilenode"
    " from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
    " where c.oid = any ($1::pg_catalog.oid[]) and n.nspname not in"
    " ('pg_catalog', 'information_schema', 'pg_toast', 'neap')";

static const char sql_temp[] = "select temp_bytes from pg_catalog.pg_stat_database"
                               " where datname = pg_catalog.current_database()";

/* So that what was counted so far is seen, and counts of the next begin at none. */
static const char sql_flush[] = "select pg_catalog.pg_stat_force_next_flush()";

struct relation {
    char oid[16];
    char *name; /* NULL: it was not there before */
    bool index;
    char file[16];
    int64_t scans;
    int held, most; /* ranks: in this transaction, and of the whole migration */
};

struct neap_measure {
    struct neap_target *copy;
    struct pg_client *watcher;
    struct neap_observer observer;
    struct neap_alone alone;
    struct relation *relations;
    size_t relation_count, relation_capacity;
    struct neap_measured *statements;
    size_t count, capacity;
    bool guard;   /* nothing that is shared may be changed */
    bool open;    /* the last of them was not looked at yet */
    bool wrapped; /* and is in a transaction of ours */
    bool sampled; /* or is looked at while it runs */
    enum neap_script_part part;
    bool transaction;
    int64_t spent_us[NEAP_PART_DOWN + 1]; /* by part */
    int64_t begun_us, ended_us, looks_us; /* of the part */
    int64_t wal;                          /* as of the last look */
    int64_t temp;                         /* before it */
};

static bool has_flush(const struct neap_measure *measure)
{
    return measure->copy->server_version_num >= VERSION_FLUSH;
}

static bool flush(struct neap_measure *measure, struct neap_error *err)
{
    return !has_flush(measure) || pg_exec_text(measure->copy->work, sql_flush, 0, NULL, NULL, err);
}

static struct relation *find_relation(struct neap_measure *measure, const char *oid)
{
    for (size_t i = 0; i < measure->relation_count; i++)
        if (strcmp(measure->relations[i].oid, oid) == 0)
            return &measure->relations[i];
    return NULL;
}

static struct relation *add_relation(struct neap_measure *measure, const char *oid)
{
    if (measure->relation_count == measure->relation_capacity) {
        measure->relation_capacity =
            measure->relation_capacity == 0 ? 32 : measure->relation_capacity * 2;
        measure->relations = neap_realloc(measure->relations,
                                          measure->relation_capacity * sizeof *measure->relations);
    }
    struct relation *relation = &measure->relations[measure->relation_count++];
    *relation = (struct relation){.name = NULL};
    (void)snprintf(relation->oid, sizeof relation->oid, "%s", oid);
    return relation;
}

/* Makes sure that each is known; `oids` is an array literal, or NULL where none is new. */
static bool read_names(struct neap_measure *measure, const char *oids, struct neap_error *err)
{
    struct pg_op *op = NULL;
    if (!pg_exec_text(measure->watcher, sql_names, 1, &oids, &op, err))
        return false;
    for (int row = 0; row < pg_rows(op); row++) {
        struct relation *relation = find_relation(measure, pg_cell(op, row, 0));
        if (relation == NULL)
            continue;
        relation->name = neap_strdup(pg_cell(op, row, 1));
        relation->index = pg_cell_bool(op, row, 2);
        (void)snprintf(relation->file, sizeof relation->file, "%s", pg_cell(op, row, 3));
    }
    pg_op_free(op);
    return true;
}

static void add_oid(struct neap_measure *measure, const char *oid, struct neap_buffer *unknown)
{
    if (oid == NULL || find_relation(measure, oid) != NULL)
        return;
    neap_buffer_add_format(unknown, "%s%s", unknown->length == 0 ? "{" : ",", oid);
    (void)add_relation(measure, oid);
}

static bool settle_names(struct neap_measure *measure, struct neap_buffer *unknown,
                         struct neap_error *err)
{
    bool known = true;
    if (unknown->length > 0) {
        neap_buffer_add_char(unknown, '}');
        known = read_names(measure, neap_buffer_text(unknown), err);
    }
    neap_buffer_clear(unknown);
    return known;
}

/* What reading and writing rows takes on an index, its table has as well. */
static void keep_lock(struct neap_measured *statement, struct relation *relation, int rank)
{
    if (rank <= relation->held || relation->name == NULL ||
        (relation->index && rank <= NEAP_RANK_ROW_EXCLUSIVE))
        return;
    relation->held = rank;
    relation->most = rank > relation->most ? rank : relation->most;
    neap_measured_lock(statement, relation->name, rank);
}

static void keep_row(struct neap_measured *statement, struct relation *relation,
                     const struct pg_op *look, int row)
{
    const char *file = pg_cell(look, row, 3);
    int64_t scans = pg_cell_int(look, row, 4);
    keep_lock(statement, relation, (int)pg_cell_int(look, row, 2));
    if (relation->name != NULL && file != NULL && strcmp(file, relation->file) != 0) {
        if (statement->verb == NULL || strcmp(statement->verb, "TRUNCATE") != 0)
            neap_measured_rewrite(statement, relation->name);
        (void)snprintf(relation->file, sizeof relation->file, "%s", file);
    }
    if (relation->name != NULL && !relation->index && scans > relation->scans)
        neap_measured_scan(statement, relation->name);
    relation->scans = scans;
}

/* In the script's session, as it is now. `statement` NULL: before the first. */
static bool look(struct neap_measure *measure, struct neap_measured *statement,
                 struct neap_error *err)
{
    struct pg_op *op = NULL;
    struct neap_buffer unknown = {0};
    if (!pg_exec_text(measure->copy->work, sql_look, 0, NULL, &op, err))
        return false;
    int64_t wal = pg_cell_int(op, 0, 0);
    for (int row = 0; row < pg_rows(op); row++)
        add_oid(measure, pg_cell(op, row, 1), &unknown);
    bool known = settle_names(measure, &unknown, err);
    for (int row = 0; known && statement != NULL && row < pg_rows(op); row++)
        if (pg_cell(op, row, 1) != NULL)
            keep_row(statement, find_relation(measure, pg_cell(op, row, 1)), op, row);
    if (statement != NULL)
        statement->wal_bytes += wal - measure->wal;
    measure->wal = wal;
    pg_op_free(op);
    return known;
}

/* What was seen while it ran. Names are those of now: it was alone. */
static bool look_alone(struct neap_measure *measure, struct neap_measured *statement,
                       struct neap_error *err)
{
    struct neap_buffer unknown = {0};
    bool ended = neap_alone_end(&measure->alone, err);
    for (size_t i = 0; ended && i < measure->alone.count; i++)
        add_oid(measure, measure->alone.seen[i].oid, &unknown);
    ended = settle_names(measure, &unknown, err) && ended;
    for (size_t i = 0; ended && i < measure->alone.count; i++) {
        const struct neap_alone_seen *seen = &measure->alone.seen[i];
        struct relation *relation = find_relation(measure, seen->oid);
        keep_lock(statement, relation, seen->rank);
        if (seen->rewritten && relation->name != NULL)
            neap_measured_rewrite(statement, relation->name);
    }
    neap_alone_clear(&measure->alone);
    measure->sampled = false;
    return ended;
}

/* The transaction around the last statement was ours; `good`: it may stay. */
static bool unwrap(struct neap_measure *measure, bool good, struct neap_error *err)
{
    struct pg_client *work = measure->copy->work;
    bool failed = !good || pg_transaction_status(work) == PQTRANS_INERROR;
    measure->wrapped = false;
    for (size_t i = 0; i < measure->relation_count; i++)
        measure->relations[i].held = 0;
    if (!failed)
        return pg_exec_text(work, "commit", 0, NULL, NULL, err);
    /* Its failure stays the session's: the script is told of it as it would be. */
    pg_cleanup(work, true);
    (void)pg_exec_text(work, "rollback", 0, NULL, NULL, NULL);
    pg_cleanup(work, false);
    return true;
}

/* The last statement is over: waits for it, and looks. What it failed with is for whoever
 * sent it. */
static bool close_statement(struct neap_measure *measure, struct neap_error *err)
{
    struct pg_client *work = measure->copy->work;
    struct neap_measured *last = measure->open ? &measure->statements[measure->count - 1] : NULL;
    bool settled = pg_settle(work, NULL);
    int64_t begun_us = neap_clock_us();
    bool looked = true;
    if (measure->sampled)
        looked = look_alone(measure, last, err);
    /* A failure that the script survives is the savepoint's to undo, before anything else. */
    if (settled && looked && pg_transaction_status(work) != PQTRANS_INERROR)
        looked = look(measure, last, err) &&
                 (!measure->guard || neap_rehearse_guard_look(work, last, err));
    if (measure->wrapped && !pg_is_lost(work))
        looked = unwrap(measure, looked, looked ? err : NULL) && looked;
    measure->open = false;
    measure->looks_us += neap_clock_us() - begun_us;
    return looked && neap_run_check(neap_loop_run(measure->copy->loop), err);
}

/* DDL and writes can be in a transaction, which then holds their locks until we looked; what
 * cannot be is looked at while it runs. */
static bool prepare_alone(struct neap_measure *measure, const struct neap_gate_call *call,
                          struct neap_error *err)
{
    struct pg_client *work = measure->copy->work;
    struct pg_sql_class class = {0};
    if (call->statement == NULL ||
        !pg_sql_classify(call->statement, strlen(call->statement), &class, NULL))
        return true;
    if (measure->guard && class.kind == PG_SQL_NO_TRANSACTION &&
        !neap_rehearse_guard_check(class.verb, call, err))
        return false;
    bool is_wrapped = class.kind == PG_SQL_DDL || class.kind == PG_SQL_WRITE ||
                      (measure->guard && class.kind == PG_SQL_OTHER);
    if (is_wrapped) {
        measure->wrapped = flush(measure, err) && pg_exec_text(work, "begin", 0, NULL, NULL, err);
        for (size_t i = 0; i < measure->relation_count; i++)
            measure->relations[i].scans = 0;
        return measure->wrapped;
    }
    measure->sampled = class.kind != PG_SQL_SELECT && class.kind != PG_SQL_SESSION;
    return !measure->sampled ||
           neap_alone_begin(&measure->alone, measure->watcher, PQbackendPID(pg_raw(work)), err);
}

static bool on_statement(void *arg, const struct neap_gate_call *call, int64_t call_id,
                         struct neap_error *err)
{
    struct neap_measure *measure = arg;
    enum neap_script_part part = measure->part;
    struct neap_measured *last =
        measure->count > 0 ? &measure->statements[measure->count - 1] : NULL;
    bool again = last != NULL && neap_measured_is(last, call, measure->part);
    if (again && measure->open && measure->transaction && last->count >= LOOKS_MAX) {
        last->count++;
        last->last_id = call_id;
        return true;
    }
    /* Before the first of a verify there is nothing to tell apart: it writes nothing. */
    if ((measure->open || part != NEAP_PART_VERIFY) && !close_statement(measure, err))
        return false;
    if (again) {
        last->count++;
        last->last_id = call_id;
    } else {
        if (measure->count == measure->capacity) {
            measure->capacity = measure->capacity == 0 ? 32 : measure->capacity * 2;
            measure->statements =
                neap_realloc(measure->statements, measure->capacity * sizeof *measure->statements);
        }
        neap_measured_init(&measure->statements[measure->count++], call, call_id, measure->part);
    }
    measure->open = true;
    return measure->transaction || prepare_alone(measure, call, err);
}

static void on_settled(void *arg, const struct neap_observed *observed)
{
    struct neap_measure *measure = arg;
    for (size_t i = measure->count; i-- > 0;) {
        struct neap_measured *statement = &measure->statements[i];
        if (observed->call_id < statement->first_id || observed->call_id > statement->last_id)
            continue;
        statement->duration_us += observed->duration_us;
        statement->rows += observed->row_count > 0 ? observed->row_count : 0;
        statement->failed = statement->failed || observed->failed;
        return;
    }
}

static void on_part_begin(void *arg, enum neap_script_part part, bool transaction)
{
    struct neap_measure *measure = arg;
    int64_t now_us = neap_clock_us();
    /* What is between them is the end of `up`: deferred constraints. */
    if (transaction && part == NEAP_PART_VERIFY && measure->part == NEAP_PART_UP &&
        measure->ended_us > 0)
        measure->spent_us[NEAP_PART_UP] += now_us - measure->ended_us;
    measure->part = part;
    measure->transaction = transaction;
    measure->begun_us = now_us;
    measure->looks_us = 0;
    measure->open = false;
}

static bool on_part_end(void *arg, struct neap_error *err)
{
    struct neap_measure *measure = arg;
    bool closed = measure->copy->work == NULL || close_statement(measure, err);
    measure->ended_us = neap_clock_us();
    measure->spent_us[measure->part] += measure->ended_us - measure->begun_us - measure->looks_us;
    return closed;
}

struct neap_measure *neap_measure_new(struct neap_target *copy, struct pg_client *watcher)
{
    struct neap_measure *measure = neap_alloc(sizeof *measure);
    measure->copy = copy;
    measure->watcher = watcher;
    measure->observer = (struct neap_observer){.part_begin = on_part_begin,
                                               .statement = on_statement,
                                               .settled = on_settled,
                                               .part_end = on_part_end,
                                               .arg = measure};
    return measure;
}

static void forget(struct neap_measure *measure)
{
    for (size_t i = 0; i < measure->relation_count; i++)
        free(measure->relations[i].name);
    for (size_t i = 0; i < measure->count; i++)
        neap_measured_clear(&measure->statements[i]);
    neap_alone_clear(&measure->alone);
    measure->relation_count = measure->count = 0;
    measure->open = measure->wrapped = measure->sampled = false;
    memset(measure->spent_us, 0, sizeof measure->spent_us);
    measure->ended_us = 0;
}

void neap_measure_free(struct neap_measure *measure)
{
    if (measure == NULL)
        return;
    forget(measure);
    free(measure->relations);
    free(measure->statements);
    free(measure);
}

void neap_measure_guard(struct neap_measure *measure, bool on)
{
    measure->guard = on;
}

const struct neap_observer *neap_measure_observer(const struct neap_measure *measure)
{
    return &measure->observer;
}

/* Temporary files are counted when the session tells its counts. */
static bool read_temp(struct neap_measure *measure, int64_t *out, struct neap_error *err)
{
    struct pg_op *op = NULL;
    bool read = pg_exec_text(measure->watcher, sql_temp, 0, NULL, &op, err);
    if (read)
        *out = pg_cell_int(op, 0, 0);
    pg_op_free(op);
    return read;
}

bool neap_measure_begin(struct neap_measure *measure, struct neap_error *err)
{
    forget(measure);
    return neap_target_work(measure->copy, err) && pg_settle(measure->copy->work, err) &&
           flush(measure, err) && read_temp(measure, &measure->temp, err);
}

/* The strongest of the whole, strongest first. */
static json_t *locks_json(const struct neap_measure *measure)
{
    json_t *locks = json_array();
    for (int rank = NEAP_RANK_ACCESS_EXCLUSIVE; rank > 0; rank--)
        for (size_t i = 0; i < measure->relation_count; i++)
            if (measure->relations[i].most == rank)
                json_array_append_new(locks, neap_lock_json(measure->relations[i].name, rank));
    return locks;
}

static void set_ms(json_t *unit, const char *key, int64_t us)
{
    neap_json_set(unit, key, json_integer((us + 500) / 1000));
}

static int64_t wal_of(const struct neap_measure *measure)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < measure->count; i++)
        bytes += measure->statements[i].wal_bytes;
    return bytes;
}

bool neap_measure_end(struct neap_measure *measure, enum neap_script_part part, json_t *unit,
                      struct neap_error *err)
{
    int64_t temp = measure->temp;
    struct pg_client *work = measure->copy->work;
    bool up = part == NEAP_PART_UP;
    bool lives = work != NULL && !pg_is_lost(work) && pg_failure(work) == NULL;
    bool read = lives && flush(measure, err) && read_temp(measure, &temp, err);
    set_ms(unit, up ? "up_ms" : "down_ms", measure->spent_us[part]);
    neap_json_set(unit, up ? "locks" : "down_locks", locks_json(measure));
    if (up) {
        set_ms(unit, "verify_ms", measure->spent_us[NEAP_PART_VERIFY]);
        neap_json_set(unit, "wal_bytes", json_integer(wal_of(measure)));
        neap_json_set(unit, "temp_bytes",
                      read && has_flush(measure) ? json_integer(temp - measure->temp)
                                                 : json_null());
    }
    neap_measured_add(unit, measure->statements, measure->count);
    return read || err->code == NEAP_OK;
}
