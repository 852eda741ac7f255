/* SPDX-License-Identifier: MIT
 *
 * What only looks: verify of what is applied, in a read-only snapshot, and the
 * dry run, which executes and rolls back. Neither writes history.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/change/unit.h"

static bool open_script(struct neap_change *change, const struct neap_unit *unit,
                        struct neap_script **out, struct neap_error *err)
{
    struct neap_script_opts opts = {.loop = change->loop,
                                    .memory_bytes = change->env->memory_bytes};
    neap_run_rearm(change->run);
    change->run->deadline_ms = neap_clock_deadline_ms(change->env->timeout_ms);
    return neap_run_check(change->run, err) && neap_script_open(&opts, unit->source, out, err);
}

static bool verify_steps(struct neap_change *change, struct neap_script *script,
                         struct neap_error *err)
{
    const struct neap_script_def *def = neap_script_def(script);
    change->run->deadline_ms = neap_clock_deadline_ms(neap_unit_timeout_ms(change, def));
    bool held = neap_tx_snapshot_begin(change, neap_unit_lock_timeout_ms(change, def), err);
    for (size_t i = 0; held && i < def->step_count; i++) {
        struct neap_part_call call = {
            .script = script, .index = i, .part = NEAP_PART_VERIFY, .transaction = true};
        held = neap_unit_call(change, &call, err);
    }
    neap_tx_snapshot_end(change);
    return held;
}

/* Why none of the steps has a verify; NULL when one has. */
static char *why_unverified(const struct neap_script_def *def)
{
    for (size_t i = 0; i < def->step_count; i++)
        if (def->steps[i].unverified == NULL)
            return NULL;
    return def->step_count == 0 ? NULL : neap_strdup(def->steps[0].unverified);
}

bool neap_change_verify(struct neap_change *change, const struct neap_unit *unit, char **unverified,
                        struct neap_error *err)
{
    struct neap_script *script = NULL;
    *unverified = NULL;
    neap_recorder_begin(&change->recorder, change->run, unit->source, false);
    bool held = open_script(change, unit, &script, err);
    if (held)
        *unverified = why_unverified(neap_script_def(script));
    held = held && (*unverified != NULL || verify_steps(change, script, err));
    neap_script_close(script);
    neap_recorder_flush(&change->recorder);
    neap_recorder_end(&change->recorder, change->run);
    json_t *fields = neap_unit_fields(unit);
    neap_json_set(fields, "held", json_boolean(held));
    if (*unverified != NULL)
        neap_json_set(fields, "unverified", neap_json_text(*unverified));
    if (!held)
        neap_json_set(fields, "error", neap_json_error(err));
    neap_audit_add(change->audit, "verify.end", fields);
    change->run->deadline_ms = NEAP_FOREVER;
    return held;
}

/* The strongest granted lock on each relation this transaction locked, by its
 * rank in the table of conflicts. */
static const char sql_locks[] =
    "select l.relation::pg_catalog.text, ("
    " pg_catalog.array_agg(l.mode order by pg_catalog.array_position(array['AccessShareLock',"
    " 'RowShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock',"
    " 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'], l.mode) desc))[1]"
    " from pg_catalog.pg_locks l"
    " where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.granted"
    " group by l.relation order by 2, 1";

/* Another session sees only relations that were there before. What reading and
 * writing rows takes on an index, its table has as well. */
static const char sql_names[] =
    "select pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)"
    " from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
    " where c.oid = $1::pg_catalog.oid and n.nspname not in ('pg_catalog', 'information_schema',"
    " 'pg_toast', 'neap') and (c.relkind not in ('i', 'I')"
    " or $2 not in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock'))";

static bool report_locks(struct neap_change *change, const struct neap_dry_run_report *report,
                         struct neap_error *err)
{
    struct pg_op *locks = NULL;
    if (!pg_exec_text(change->target->work, sql_locks, 0, NULL, &locks, err))
        return false;
    bool done = true;
    for (int row = 0; done && row < pg_rows(locks); row++) {
        const char *lock[] = {pg_cell(locks, row, 0), pg_cell(locks, row, 1)};
        struct pg_op *name = NULL;
        done = pg_exec_text(change->target->control, sql_names, 2, lock, &name, err);
        if (done && pg_rows(name) == 1)
            report->lock(report->arg, pg_cell(name, 0, 0), lock[1]);
        pg_op_free(name);
    }
    pg_op_free(locks);
    return done;
}

static bool dry_run_unit(struct neap_tx *tx, const struct neap_unit *unit,
                         struct neap_script *script, struct neap_error *err)
{
    struct neap_part_call call = {.script = script,
                                  .transaction = true,
                                  .part =
                                      unit->direction == NEAP_UP ? NEAP_PART_UP : NEAP_PART_DOWN};
    if (!neap_unit_call(tx->change, &call, err) ||
        !pg_send_text(tx->work, "set constraints all immediate", 0, NULL, err) ||
        !pg_settle(tx->work, err)) /* its error is not of verify */
        return false;
    if (unit->direction == NEAP_DOWN)
        return true;
    call.part = NEAP_PART_VERIFY;
    return neap_tx_look_begin(tx, err) && neap_unit_call(tx->change, &call, err) &&
           neap_tx_look_end(tx, err) &&
           pg_send_text(tx->work, "release savepoint neap_verify", 0, NULL, err) &&
           pg_settle(tx->work, err);
}

static bool try_unit(struct neap_tx *tx, const struct neap_unit *unit,
                     const struct neap_dry_run_report *report, struct neap_error *err)
{
    struct neap_change *change = tx->change;
    struct neap_script *script = NULL;
    bool done = open_script(change, unit, &script, err);
    if (done) {
        const struct neap_script_def *def = neap_script_def(script);
        change->run->deadline_ms = neap_clock_deadline_ms(neap_unit_timeout_ms(change, def));
        report->unit(report->arg, unit, def, def->transaction);
        done = neap_unit_check(change, unit, def, err) &&
               (!def->transaction ||
                (dry_run_unit(tx, unit, script, err) && report_locks(change, report, err)));
    }
    neap_script_close(script);
    return done;
}

bool neap_change_dry_run(struct neap_change *change, const struct neap_unit *units, size_t count,
                         const struct neap_dry_run_report *report, size_t *failed,
                         struct neap_error *err)
{
    struct neap_tx tx;
    neap_recorder_begin(&change->recorder, change->run, NULL, false);
    change->run->deadline_ms = neap_clock_deadline_ms(change->env->timeout_ms);
    *failed = count;
    bool done = neap_tx_begin(&tx, change, NULL, change->env->lock_timeout_ms, err);
    for (size_t i = 0; done && i < count; i++) {
        done = try_unit(&tx, &units[i], report, err);
        if (!done)
            *failed = i;
    }
    neap_tx_rollback(&tx);
    neap_recorder_flush(&change->recorder);
    neap_recorder_end(&change->recorder, change->run);
    change->run->deadline_ms = NEAP_FOREVER;
    return done;
}
