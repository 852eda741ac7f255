/* SPDX-License-Identifier: MIT
 *
 * Not the statement is asked what it does, but the server what was written to: a function
 * may make a role, too.
 */
#include "host/proof/rehearse_guard.h"

#include <string.h>

/* Catalogs that all databases of a server share and that this transaction wrote to, which it
 * keeps locked; that objects have owners is noted in one more, which every CREATE writes to.
 * GRANT lets go of its lock: rows as young as this transaction are its own, or as good. */
static const char sql_shared[] =
    "select exists (select from pg_catalog.pg_locks k"
    " where k.pid = pg_catalog.pg_backend_pid() and k.locktype = 'relation' and k.database = 0"
    " and k.mode not in ('AccessShareLock', 'RowShareLock')"
    " and k.relation in (select c.oid from pg_catalog.pg_class c where c.relisshared"
    " and c.relkind = 'r' and c.relname <> 'pg_shdepend'))"
    " or exists (select from (select xmin from pg_catalog.pg_database"
    " union all select xmin from pg_catalog.pg_tablespace) r where pg_catalog.age(r.xmin)"
    " <= pg_catalog.age(pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.xid))";

static bool refuse(const char *what, const char *file, int line, struct neap_error *err)
{
    neap_error_set(err, NEAP_ERR_POLICY_REFUSED,
                   "%s changes what the copy shares with the target, whose server it is on", what);
    neap_error_hint(err, "Rehearse it on a server of its own: without `--on target`.");
    neap_error_where(err, file, line);
    return false;
}

bool neap_rehearse_guard_look(struct pg_client *work, const struct neap_measured *statement,
                              struct neap_error *err)
{
    struct pg_op *op = NULL;
    if (!pg_exec_text(work, sql_shared, 0, NULL, &op, err))
        return false;
    bool shared = pg_cell_bool(op, 0, 0);
    pg_op_free(op);
    return !shared ||
           refuse(statement == NULL || statement->verb == NULL ? "a statement" : statement->verb,
                  statement == NULL ? NULL : statement->file,
                  statement == NULL ? 0 : statement->line, err);
}

static bool is_within(const char *verb)
{
    static const char *const verbs[] = {"VACUUM",
                                        "CLUSTER",
                                        "REINDEX",
                                        "REINDEX CONCURRENTLY",
                                        "DROP INDEX CONCURRENTLY",
                                        "ALTER TABLE DETACH PARTITION CONCURRENTLY",
                                        NULL};
    for (const char *const *within = verbs; *within != NULL; within++)
        if (strcmp(*within, verb) == 0)
            return true;
    return false;
}

bool neap_rehearse_guard_check(const char *verb, const struct neap_gate_call *call,
                               struct neap_error *err)
{
    return is_within(verb) || refuse(verb, call->where_file, call->where_line, err);
}
