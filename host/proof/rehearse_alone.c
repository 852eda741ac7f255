/* SPDX-License-Identifier: MIT
 *
 * A question each few milliseconds, and never two at once; on a copy nobody else is
 * slowed down by it.
 */
#include "host/proof/rehearse_alone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

#define TICK_MS 3

/* Locks of another session on relations of this database; AccessShare on catalogs. */
static const char sql_locks[] =
    "select l.relation::pg_catalog.text, pg_catalog.max(pg_catalog.array_position("
    "array['AccessShareLock', 'RowShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock',"
    " 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'], l.mode))"
    " from pg_catalog.pg_locks l"
    " where l.pid = $1::pg_catalog.int4 and l.locktype = 'relation' and l.granted"
    " and l.relation = any ($2::pg_catalog.oid[])"
    " group by 1";

static const char sql_before[] =
    "select pg_catalog.array_agg(oid), pg_catalog.array_agg(relfilenode)"
    " from pg_catalog.pg_class where relkind in ('r', 'm', 'i') and oid >= 16384";

static const char sql_changed[] =
    "select c.oid::pg_catalog.text"
    " from rows from (pg_catalog.unnest($1::pg_catalog.oid[]),"
    " pg_catalog.unnest($2::pg_catalog.oid[])) b (oid, node)"
    " join pg_catalog.pg_class c on c.oid = b.oid and c.relfilenode <> b.node";

static struct neap_alone_seen *seen_of(struct neap_alone *alone, const char *oid)
{
    for (size_t i = 0; i < alone->count; i++)
        if (strcmp(alone->seen[i].oid, oid) == 0)
            return &alone->seen[i];
    if (alone->count == alone->capacity) {
        alone->capacity = alone->capacity == 0 ? 16 : alone->capacity * 2;
        alone->seen = neap_realloc(alone->seen, alone->capacity * sizeof *alone->seen);
    }
    struct neap_alone_seen *seen = &alone->seen[alone->count++];
    *seen = (struct neap_alone_seen){.rank = 0};
    (void)snprintf(seen->oid, sizeof seen->oid, "%s", oid);
    return seen;
}

static void on_locks(void *arg, struct pg_op *op)
{
    struct neap_alone *alone = arg;
    alone->asking = false;
    for (int row = 0; pg_op_error(op) == NULL && row < pg_rows(op); row++) {
        struct neap_alone_seen *seen = seen_of(alone, pg_cell(op, row, 0));
        int rank = (int)pg_cell_int(op, row, 1);
        seen->rank = rank > seen->rank ? rank : seen->rank;
    }
}

static void on_tick(void *arg)
{
    struct neap_alone *alone = arg;
    if (alone->asking || alone->oids == NULL)
        return;
    struct pg_param params[] = {PG_TEXT(alone->pid), PG_TEXT(alone->oids)};
    struct pg_statement statement = {.sql = sql_locks,
                                     .params = params,
                                     .param_count = 2,
                                     .call_id = -1,
                                     .done = on_locks,
                                     .arg = alone};
    alone->asking = pg_send(alone->watcher, &statement, NULL, NULL);
}

bool neap_alone_begin(struct neap_alone *alone, struct pg_client *watcher, int pid,
                      struct neap_error *err)
{
    struct pg_op *op = NULL;
    *alone = (struct neap_alone){.watcher = watcher, .pid = neap_format("%d", pid)};
    if (!pg_exec_text(watcher, sql_before, 0, NULL, &op, err))
        return false;
    alone->oids = neap_strdup(pg_cell(op, 0, 0));
    alone->node = neap_strdup(pg_cell(op, 0, 1));
    pg_op_free(op);
    alone->timer = neap_timer_begin(pg_loop(watcher), 0, TICK_MS, on_tick, alone);
    return true;
}

bool neap_alone_end(struct neap_alone *alone, struct neap_error *err)
{
    struct pg_op *op = NULL;
    const char *params[] = {alone->oids, alone->node};
    neap_timer_end(alone->timer);
    alone->timer = NULL;
    if (!pg_settle(alone->watcher, err) ||
        (alone->oids != NULL && !pg_exec_text(alone->watcher, sql_changed, 2, params, &op, err)))
        return false;
    for (int row = 0; op != NULL && row < pg_rows(op); row++)
        seen_of(alone, pg_cell(op, row, 0))->rewritten = true;
    pg_op_free(op);
    return true;
}

void neap_alone_clear(struct neap_alone *alone)
{
    neap_timer_end(alone->timer);
    if (alone->asking) { /* its answer would be for nobody */
        pg_cleanup(alone->watcher, true);
        (void)pg_settle(alone->watcher, NULL);
        pg_cleanup(alone->watcher, false);
    }
    free(alone->pid);
    free(alone->oids);
    free(alone->node);
    free(alone->seen);
    *alone = (struct neap_alone){.watcher = NULL};
}
