/* SPDX-License-Identifier: MIT
 *
 * Whether the role may is asked first: the right to a function is checked before any CASE
 * around it is evaluated, and an error for every run would stand in the server's log.
 */
#include "host/change/restore_point.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/change/history.h"

/* No lock. */
static const char sql_look[] =
    "select case when pg_catalog.current_setting('wal_level') operator(pg_catalog.=) 'minimal'"
    " then 'wal_level is minimal'"
    " when not pg_catalog.has_function_privilege('pg_catalog.pg_create_restore_point(text)',"
    " 'execute') then pg_catalog.format('%s may not execute pg_create_restore_point',"
    " current_user) end,"
    " l.lsn, " HISTORY_TIMELINE("l.lsn") " from pg_catalog.pg_current_wal_insert_lsn() as l (lsn)";

static const char sql_create[] = "select null, l.lsn, " HISTORY_TIMELINE(
    "l.lsn") " from pg_catalog.pg_create_restore_point($1::pg_catalog.text) as l (lsn)";

/* What a role may not do is no reason to stop. */
static bool is_refusal(const struct neap_error *err)
{
    return err->code == NEAP_ERR_DB_QUERY;
}

/* The row (why, lsn, timeline); *why, where there is no restore point, is the caller's. */
static bool create(struct neap_change *change, const char *name, struct pg_op **out, char **why,
                   struct neap_error *err)
{
    struct pg_client *control = change->target->control;
    struct neap_error refused = {0};
    struct pg_op *created = NULL;
    if (!pg_exec_text(control, sql_look, 0, NULL, out, err))
        return false;
    *why = neap_strdup(pg_cell(*out, 0, 0));
    if (*why != NULL)
        return true;
    if (pg_exec_text(control, sql_create, 1, &name, &created, &refused)) {
        pg_op_free(*out);
        *out = created;
        return true;
    }
    pg_op_free(created);
    if (!is_refusal(&refused)) {
        neap_error_move(err, &refused);
        return false;
    }
    pg_failure_clear(control);
    *why = neap_strdup(refused.message);
    neap_error_clear(&refused);
    return true;
}

static bool is_wanted(const struct neap_environment *env)
{
    bool wanted = env->archive != NULL;
    for (int gate = 0; gate < NEAP_GATE_COUNT; gate++)
        wanted = wanted || env->gates[gate];
    return wanted;
}

bool neap_restore_point(struct neap_change *change, struct neap_error *err)
{
    if (!is_wanted(change->env))
        return true;
    char *name = neap_format("neap_%s", change->run->id), *why = NULL;
    struct pg_op *op = NULL;
    bool created = create(change, name, &op, &why, err);
    if (created) {
        json_t *fields = json_object();
        neap_json_set(fields, "name", neap_json_text(why == NULL ? name : NULL));
        neap_json_set(fields, "lsn", neap_json_text(pg_cell(op, 0, 1)));
        neap_json_set(fields, "timeline", json_integer(pg_cell_int(op, 0, 2)));
        neap_json_set(fields, "why", neap_json_text(why));
        if (why != NULL)
            neap_log(NEAP_LOG_DETAIL, "restore_point.none", "no restore point: %s", why);
        neap_audit_add(change->audit, "restore_point", fields);
        created = neap_audit_sync(change->audit, err);
    }
    pg_op_free(op);
    free(name);
    free(why);
    return created;
}
