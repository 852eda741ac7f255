/* SPDX-License-Identifier: MIT
 *
 * CREATE INDEX CONCURRENTLY as one act. A build that fails, times out or is
 * cancelled leaves an invalid index behind, and IF NOT EXISTS then calls that a
 * success: so an index counts here only when the catalog says it is valid, and
 * the leftover is dropped also when the run is stopping.
 */
#include "bindings/pg/pg_index.h"

#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_internal.h"
#include "host/base/clock.h"
#include "host/base/log.h"
#include "host/base/memory.h"

#define PROGRESS_MS 1000
#define STOP_DROP_LIMIT "2s" /* a stopping run ends within 5 s */

/* An index lives in its table's schema. Takes AccessShare on catalogs only. */
static const char sql_look[] =
    "select i.indexrelid, i.indisvalid, pg_catalog.quote_ident(n.nspname) || '.' ||"
    " pg_catalog.quote_ident(c.relname)"
    " from pg_catalog.pg_class t"
    " join pg_catalog.pg_class c on c.relnamespace = t.relnamespace and c.relname = $2"
    " join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
    " join pg_catalog.pg_index i on i.indexrelid = c.oid"
    " where t.oid = pg_catalog.to_regclass($1)";

static const char sql_limits[] =
    "select pg_catalog.current_setting('lock_timeout'),"
    " pg_catalog.current_setting('statement_timeout'), pg_catalog.pg_backend_pid()";

static const char sql_set_limits[] = "select pg_catalog.set_config('lock_timeout', $1, false),"
                                     " pg_catalog.set_config('statement_timeout', $2, false)";

static const char sql_progress[] =
    "select p.phase, case when p.blocks_total > 0"
    " then 100 * p.blocks_done / p.blocks_total end,"
    " p.current_locker_pid, coalesce(a.application_name, ''),"
    " extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::bigint,"
    " pg_catalog.left(coalesce(a.query, ''), 80)"
    " from pg_catalog.pg_stat_progress_create_index p"
    " left join pg_catalog.pg_stat_activity a on a.pid = p.current_locker_pid"
    " where p.pid = $1::int";

struct found {
    bool exists;
    bool valid;
    char *name; /* quoted, with its schema */
};

struct watch {
    const struct pg_index_build *build;
    const char *name;
    char *pid;
    int64_t begin_ms;
    struct pg_op *asking; /* in flight on the control session */
};

struct limits {
    char *lock, *statement, *pid;
};

/* The table's name as the statement gave it, quoted for to_regclass. */
static bool table_name(const struct pg_index_build *build, char **out, struct neap_error *err)
{
    const struct pg_sql_class *class = build->class;
    char *schema = NULL, *table = NULL;
    bool ok = pg_ident(build->work, class->table_name, strlen(class->table_name), &table, err) &&
              (!class->table_schema[0] || pg_ident(build->work, class->table_schema,
                                                   strlen(class->table_schema), &schema, err));

    if (ok)
        *out = schema ? neap_format("%s.%s", schema, table) : neap_strdup(table);
    free(schema);
    free(table);
    return ok;
}

static bool look(const struct pg_index_build *build, struct found *found, struct neap_error *err)
{
    char *table = NULL;
    struct pg_op *op = NULL;

    *found = (struct found){0};
    if (!table_name(build, &table, err))
        return false;
    const char *params[] = {table, build->class->index_name};
    bool ok = pg_exec_text(build->work, sql_look, 2, params, &op, err);

    if (ok && pg_rows(op) > 0) {
        found->exists = true;
        found->valid = pg_cell_bool(op, 0, 1);
        found->name = neap_strdup(pg_cell(op, 0, 2));
    }
    pg_op_free(op);
    free(table);
    return ok;
}

static bool set_limits(struct pg_client *work, const char *lock, const char *statement,
                       struct neap_error *err)
{
    const char *params[] = {lock, statement};

    return pg_exec_text(work, sql_set_limits, 2, params, NULL, err);
}

static bool lift_limits(struct pg_client *work, struct limits *limits, struct neap_error *err)
{
    struct pg_op *op = NULL;

    if (!pg_exec_text(work, sql_limits, 0, NULL, &op, err))
        return false;
    limits->lock = neap_strdup(pg_cell(op, 0, 0));
    limits->statement = neap_strdup(pg_cell(op, 0, 1));
    limits->pid = neap_strdup(pg_cell(op, 0, 2));
    pg_op_free(op);
    return set_limits(work, "0", "0", err);
}

static void limits_clear(struct limits *limits)
{
    free(limits->lock);
    free(limits->statement);
    free(limits->pid);
}

static bool drop_index(struct pg_client *work, const char *name, struct neap_error *err)
{
    char *sql = neap_format("drop index concurrently if exists %s", name);
    bool ok = pg_exec_text(work, sql, 0, NULL, NULL, err);

    free(sql);
    return ok;
}

static void say_progress(struct watch *watch, const struct pg_op *op)
{
    char waited[NEAP_DURATION_SIZE];
    const char *percent = pg_cell(op, 0, 1);

    neap_duration_text(neap_clock_ms() - watch->begin_ms, waited);
    if (pg_rows(op) == 0)
        return;
    if (pg_cell_int(op, 0, 2) != 0)
        neap_log_progress("index %s: %s, %s; waiting for pid %s (%s, transaction %s s old): %s",
                          watch->name, pg_cell(op, 0, 0), waited, pg_cell(op, 0, 2),
                          pg_cell(op, 0, 3), pg_cell(op, 0, 4) ? pg_cell(op, 0, 4) : "?",
                          pg_cell(op, 0, 5));
    else if (percent)
        neap_log_progress("index %s: %s, %s%%, %s", watch->name, pg_cell(op, 0, 0), percent,
                          waited);
    else
        neap_log_progress("index %s: %s, %s", watch->name, pg_cell(op, 0, 0), waited);
}

/* A look that fails (no right to see it, say) is not the build's failure. */
static void on_progress(void *arg, struct pg_op *op)
{
    struct watch *watch = arg;

    watch->asking = NULL;
    if (pg_op_error(op))
        pg_failure_clear(watch->build->control);
    else
        say_progress(watch, op);
    pg_op_free(op);
}

static void on_second(void *arg)
{
    struct watch *watch = arg;
    struct pg_client *control = watch->build->control;
    struct pg_param pid = PG_TEXT(watch->pid);
    struct pg_statement statement = {.sql = sql_progress,
                                     .params = &pid,
                                     .param_count = 1,
                                     .call_id = -1,
                                     .done = on_progress,
                                     .arg = watch};

    if (!watch->asking && !pg_is_lost(control))
        pg_send(control, &statement, &watch->asking, NULL);
}

static bool build_watched(const struct pg_index_build *build, const char *pid,
                          struct neap_error *err)
{
    struct watch watch = {.build = build, .name = build->class->index_name};
    struct neap_timer *timer = NULL;

    watch.pid = neap_strdup(pid);
    watch.begin_ms = neap_clock_ms();
    if (build->control)
        timer = neap_timer_begin(pg_loop(build->work), PROGRESS_MS, PROGRESS_MS, on_second, &watch);
    bool ok = pg_exec(build->work, build->statement, NULL, err);

    neap_timer_end(timer);
    pg_op_free(watch.asking); /* its callback will not come any more */
    if (neap_clock_ms() - watch.begin_ms >= PROGRESS_MS)
        neap_log_progress_end();
    free(watch.pid);
    return ok;
}

static void refuse_foreign(const struct pg_index_build *build, const struct found *found,
                           struct neap_error *err)
{
    neap_error_set(err, NEAP_ERR_DB_INDEX_INVALID, "an invalid index %s is in the way",
                   found->name);
    neap_error_detail(err, "An earlier build of it failed or is still running; it is not this "
                           "step's leftover, so neap does not drop it.");
    neap_error_hint(err, "If nobody builds it now: DROP INDEX CONCURRENTLY %s;", found->name);
    neap_error_sql(err, build->statement->sql, 0);
    if (build->statement->where_file)
        neap_error_where(err, build->statement->where_file, build->statement->where_line);
}

/* What was in the way before: nothing, a valid one (the server decides), or an
 * invalid one, which is dropped when it is ours. */
static bool clear_way(const struct pg_index_build *build, struct found *before,
                      struct neap_error *err)
{
    if (!look(build, before, err))
        return false;
    if (!before->exists || before->valid)
        return true;
    if (!build->ours) {
        refuse_foreign(build, before, err);
        return false;
    }
    neap_log(NEAP_LOG_INFO, "index.leftover", "dropping the invalid index %s of an earlier attempt",
             before->name);
    if (!drop_index(build->work, before->name, err))
        return false;
    before->exists = false;
    return true;
}

/* After a failure or a stop. The drop is no part of the script: its failure is
 * told beside the build's own. While the run stops, nothing else bounds it. */
static void drop_leftover(const struct pg_index_build *build, struct neap_error *err)
{
    bool stopping = neap_run_stopping(neap_loop_run(pg_loop(build->work)));
    struct found after = {0};
    struct neap_error second = {0};

    pg_cleanup(build->work, stopping);
    pg_failure_clear(build->work);
    bool ok = look(build, &after, &second);

    if (ok && stopping && after.exists && !after.valid)
        ok = set_limits(build->work, STOP_DROP_LIMIT, STOP_DROP_LIMIT, &second);
    if (ok && after.exists && !after.valid)
        ok = drop_index(build->work, after.name, &second);
    if (!ok)
        neap_error_hint(err, "The invalid index may be left: DROP INDEX CONCURRENTLY %s; (%s)",
                        after.name ? after.name : build->class->index_name, second.message);
    pg_cleanup(build->work, false);
    free(after.name);
    neap_error_clear(&second);
}

static bool check_valid(const struct pg_index_build *build, struct neap_error *err)
{
    struct found after = {0};
    bool ok = look(build, &after, err);

    if (ok && !after.valid) {
        ok = false;
        neap_error_set(err, NEAP_ERR_DB_INDEX_INVALID, "the index %s is %s after its build",
                       build->class->index_name, after.exists ? "not valid" : "not there");
    }
    free(after.name);
    return ok;
}

static bool build_and_check(const struct pg_index_build *build, const struct found *before,
                            const char *pid, struct neap_error *err)
{
    struct neap_error first = {0};

    if (build_watched(build, pid, &first) && check_valid(build, &first))
        return true;
    if (!before->exists) /* else the name is another's: not a leftover of ours */
        drop_leftover(build, &first);
    if (err)
        neap_error_move(err, &first);
    neap_error_clear(&first);
    return false;
}

/* The settings go back in every outcome. The first failure stays the client's,
 * so that a script cannot go on as if the index were there. */
static bool restore_limits(struct pg_client *work, const struct limits *limits,
                           struct neap_error *err)
{
    if (!limits->lock || pg_is_lost(work))
        return true;
    pg_cleanup(work, true);
    bool ok = set_limits(work, limits->lock, limits->statement, err);

    pg_cleanup(work, false);
    return ok;
}

static bool check_place(const struct pg_index_build *build, struct neap_error *err)
{
    if (!build->class->index_name[0] || !build->class->table_name[0]) {
        neap_error_set(err, NEAP_ERR_DB_ARGUMENT, "CREATE INDEX CONCURRENTLY needs an index name");
        neap_error_hint(err, "Without a name, an invalid leftover could not be told apart.");
        return false;
    }
    if (pg_transaction_status(build->work) == PQTRANS_IDLE || pg_is_lost(build->work))
        return true;
    neap_error_set(err, NEAP_ERR_DB_NO_TRANSACTION,
                   "CREATE INDEX CONCURRENTLY cannot run in a transaction");
    return false;
}

/* Sticky like every failure, also after the leftover's own statements. */
static void keep_failure(struct pg_client *work, const struct neap_error *why)
{
    if (!pg_failure(work))
        neap_error_copy(&work->failure, why);
}

static void settle_unsent(const struct pg_index_build *build, const struct neap_error *why)
{
    struct neap_gate_result settled = {
        .call_id = build->statement->call_id, .row_count = -1, .error = why};

    if (settled.call_id >= 0)
        neap_gate_settle(neap_loop_run(pg_loop(build->work)), &settled);
}

bool pg_index_build(const struct pg_index_build *build, struct neap_error *err)
{
    struct limits limits = {0};
    struct found before = {0};
    struct neap_error why = {0};
    bool ready = check_place(build, &why) && lift_limits(build->work, &limits, &why) &&
                 clear_way(build, &before, &why);
    bool ok = ready && build_and_check(build, &before, limits.pid, &why);

    if (!ready)
        settle_unsent(build, &why);
    ok = restore_limits(build->work, &limits, ok ? &why : NULL) && ok;
    if (!ok)
        keep_failure(build->work, &why);
    if (!ok && err)
        neap_error_move(err, &why);
    neap_error_clear(&why);
    limits_clear(&limits);
    free(before.name);
    return ok;
}
