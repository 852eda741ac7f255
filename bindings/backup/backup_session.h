/* SPDX-License-Identifier: MIT
 *
 * What fingerprint and digests are read in: one snapshot, and settings that make the
 * server write the same value the same way everywhere. Of this folder only.
 */
#ifndef NEAP_BINDINGS_BACKUP_BACKUP_SESSION_H
#define NEAP_BINDINGS_BACKUP_BACKUP_SESSION_H

#include <stdbool.h>

#include "bindings/pg/pg_client.h"
#include "host/base/error.h"

struct backup_session {
    struct pg_client *client;
    bool owned; /* the transaction is ours */
};

/* A read-only repeatable-read transaction, or a savepoint in the caller's one. */
bool backup_session_begin(struct backup_session *session, struct pg_client *client,
                          struct neap_error *err);
/* Puts everything back; `ok` is what came of the work in between, and so is the result, if
 * ending it succeeds. After a failure a transaction of ours is rolled back and the client is
 * free of failures again; the caller's own one is the caller's to roll back. */
bool backup_session_end(struct backup_session *session, bool ok, struct neap_error *err);

#endif
