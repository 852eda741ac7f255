/* SPDX-License-Identifier: MIT
 *
 * CREATE INDEX CONCURRENTLY as one act: no lock or statement timeout (FACTS P3,
 * P4), progress, who it waits for, its own invalid leftover dropped, and done
 * only when the index is valid. Runs outside any transaction.
 */
#ifndef NEAP_BINDINGS_PG_PG_INDEX_H
#define NEAP_BINDINGS_PG_PG_INDEX_H

#include "bindings/pg/pg_client.h"
#include "bindings/pg/pg_sql.h"

struct pg_index_build {
    struct pg_client *work;    /* idle, outside a transaction and a pipeline */
    struct pg_client *control; /* another session: watches; may be NULL */
    const struct pg_statement *statement;
    const struct pg_sql_class *class; /* PG_SQL_INDEX_CONCURRENTLY with an index name */
    bool ours;                        /* an invalid index of that name is our own leftover */
};

/* Errors: db.index_invalid (another's invalid index of that name: says how to
 * drop it), the server's own; after a failure the leftover is dropped again. */
bool pg_index_build(const struct pg_index_build *build, struct neap_error *err);

#endif
