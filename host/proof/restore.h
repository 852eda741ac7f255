/* SPDX-License-Identifier: MIT
 *
 * Going back to a backup, never over anything that lives: a new database is made of it
 * and compared, and only then it is given its name, or the target's.
 */
#ifndef NEAP_PROOF_RESTORE_H
#define NEAP_PROOF_RESTORE_H

#include "bindings/backup/backup_store.h"
#include "host/migrate/session.h"

struct neap_restore_opts {
    const char *into; /* of neap_restore_into: the new database's name; NULL: neap gives one */
    const char *reason, *ticket;
    int64_t timeout_ms; /* of the whole; 0: none */
    /* Asked before anything is made for a swap. `database` is whose place is taken; `loss`
     * as backup_loss_read gives it, NULL: it cannot be known. False, with err, ends it. */
    bool (*agree)(void *arg, const char *database, const json_t *loss, struct neap_error *err);
    void *arg;
};

/* What came of it, in fields of --json: database (the restored one's name), backup,
 * server, duration_ms; of a swap also kept, kept_until, loss. A new reference on success,
 * else NULL. */

/* Restores into a new database beside the target, in a run that needs no target. It has its
 * name when it is whole and compared; who looks must be granted it. restore.exists when
 * there is one of that name. */
bool neap_restore_into(struct neap_loop *loop, const struct neap_project *project,
                       const struct neap_restore_opts *opts, const struct backup *backup,
                       json_t **out, struct neap_error *err);

/* Restores and makes it the target, by two renames in one transaction: at any instant
 * either the old or the new database is there under the target's name, and whoever connects
 * in between waits. The session was looked at and is begun here; afterwards it is one with
 * the new target. Its target NULL: it cannot be looked at, or is gone, and the journal alone
 * records the run. The old one is kept under another name, and nobody can connect to it.
 * restore.bound, restore.sessions. */
bool neap_restore_swap(struct neap_session *session, const struct neap_restore_opts *opts,
                       const struct backup *backup, json_t **out, struct neap_error *err);

/* A database that a swap which was killed had restored, and whose turn did not come. */
struct neap_restore_rest {
    char *name, *backup, *run_id;
};
void neap_restore_rest_clear(struct neap_restore_rest *rest);
/* What the server says of killed restores to `target`: the newest that is whole, in *out
 * (name NULL: none). Those that are not whole are removed. */
bool neap_restore_look(struct neap_loop *loop, const struct neap_project *project,
                       struct neap_restore_rest *out, struct neap_error *err);
/* neap_restore_swap with what neap_restore_look found. */
bool neap_restore_resume(struct neap_session *session, const struct neap_restore_opts *opts,
                         const struct neap_restore_rest *rest, const struct backup *backup,
                         json_t **out, struct neap_error *err);

/* Restores one table on a throwaway server, compares it with the manifest, and puts its rows
 * into a schema of their own in the target, `neap_restored_ID`, in one transaction under the
 * lease: as a plain table without keys, open to nobody else, so that SQL can compare and
 * copy. Nothing that is there is touched. `table` is "schema.name", as in the manifest or
 * without its quotes. *out: {database, backup, server, table, rows, schema, compare, drop},
 * the last two SQL. restore.exists when the schema is there; backup.unknown when the backup
 * has no such table. The session was looked at, and is begun here. */
bool neap_restore_table(struct neap_session *session, const struct neap_restore_opts *opts,
                        const struct backup *backup, const char *table, json_t **out,
                        struct neap_error *err);

/* What restores of this target left on its server: [{name, kind, run_id, backup, at, until, bytes,
 * state, drop}], `drop` the statement that removes it. New reference. */
bool neap_restore_list(struct neap_loop *loop, const struct neap_project *project, json_t **out,
                       struct neap_error *err);

#endif
