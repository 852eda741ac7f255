/* SPDX-License-Identifier: MIT
 *
 * History: schema `neap` of the target and the one module that owns its SQL.
 * neap.history is append-only; what is applied is the last row of each id. Also
 * neap.step, the journal of steps without a transaction.
 */
#ifndef NEAP_CHANGE_HISTORY_H
#define NEAP_CHANGE_HISTORY_H

#include "bindings/pg/pg_client.h"
#include "host/base/hash.h"
#include "host/change/attempt.h"
#include "host/change/audit.h"

#define NEAP_SCHEMA_VERSION 3

/* SQL: the timeline of a primary's LSN. A segment's name begins with it, in eight hex
 * digits; the control file has the old one until the first checkpoint after a promotion. */
#define HISTORY_TIMELINE(lsn)                                                                \
    "(('x' operator(pg_catalog.||) pg_catalog.left(pg_catalog.pg_walfile_name(" lsn "), 8))" \
    "::pg_catalog.\"bit\"(32))::pg_catalog.int4"

enum neap_history_state {
    NEAP_STATE_PENDING, /* never applied, or undone */
    NEAP_STATE_APPLIED,
    NEAP_STATE_PARTIAL, /* steps without a transaction, stopped halfway */
};

/* The last word on one migration. Its texts are the history's. */
struct neap_history_row {
    int64_t seq;
    const char *id;     /* the digits */
    const char *name;   /* file name without digits and ending */
    const char *action; /* apply, undo, baseline, accept, repair.applied, repair.pending */
    enum neap_history_state state;
    struct neap_hash exact, token;
    const char *run_id, *actor;  /* NULL when none */
    int64_t at_us;               /* UTC, for neap_clock_utc_of */
    bool forged;                 /* the host never announced it (attempt.h) */
    const char *reason, *ticket; /* of neap_history_all; NULL when none */
    int64_t duration_ms;         /* likewise */
};

struct neap_history {
    struct neap_history_row *rows; /* ordered by id as a number */
    size_t count;
    struct pg_op *answer;    /* where the texts are */
    const char *environment; /* the one this target was marked with, or NULL */
    bool installed;          /* schema neap exists */
    bool current;            /* … in this neap's version; else the next change upgrades it */
    char target_head[NEAP_HASH_HEX_SIZE]; /* last event hash in neap.event, or "" */
};

/* The version of schema neap; 0 when there is none. */
bool neap_history_version(struct pg_client *control, int64_t *version, struct neap_error *err);
/* Creates or upgrades schema neap, in one short transaction with a lock timeout;
 * nothing is sent when it is current. history.version when it is newer than we
 * know. Safe with 64 runners at once. */
bool neap_history_install(struct pg_client *control, struct neap_error *err);
/* The same statements as a script for psql, inside a transaction of whoever runs
 * it; what is there already is left alone. The caller frees. */
char *neap_history_schema_script(void);
/* One query for all of it. A target without schema neap gives installed=false
 * and no rows: no error, nothing created. */
bool neap_history_load(struct pg_client *control, struct neap_history *out, struct neap_error *err);
/* Every row there ever was, oldest first; no last words, no head. */
bool neap_history_all(struct pg_client *control, struct neap_history *out, struct neap_error *err);
/* A row that no announced attempt stands behind. Borrowed. */
struct neap_history_forgery {
    int64_t seq;
    const char *id, *action, *run_id, *db_user, *at;
};
/* Calls `fn` for each, oldest first. None where the schema is older than attempts. */
bool neap_history_forged(struct pg_client *control,
                         void (*fn)(void *arg, const struct neap_history_forgery *forgery),
                         void *arg, struct neap_error *err);
/* How many rows neap.history and neap.step have: both only grow. */
bool neap_history_size(struct pg_client *control, int64_t *rows, int64_t *steps,
                       struct neap_error *err);
/* Marks the target as this environment's, for ever: the first mark stays. A copy
 * of production that is reached as staging is told by it. */
bool neap_history_mark(struct pg_client *control, const char *environment, struct neap_error *err);
const struct neap_history_row *neap_history_find(const struct neap_history *history,
                                                 const char *id);
void neap_history_clear(struct neap_history *history);

/* What is to be recorded; borrowed. */
struct neap_history_entry {
    const struct neap_attempt *attempt; /* registered for this id and action */
    const char *id, *name, *action;
    const char *actor, *reason, *ticket, *summary;
    const struct neap_hash *exact, *token;
    const void *bundle; /* neap_source_bundle, or NULL */
    size_t bundle_length;
    int64_t duration_ms;
    const char *xid;     /* the row is written only in this transaction; NULL: any */
    int64_t lease_token; /* the fence: lease.lost when it is no longer that */
    bool settle_steps;   /* the migration's rows in neap.step are settled with it */
};
/* Queues one statement on `client` that passes the fence, writes the row and the
 * events of `audit` not yet in the target (NULL: none), and settles the steps; does
 * not wait. Events that fill more than one statement go before it. Errors, when
 * they come: lease.lost, db.escaped (the transaction is not `xid`), history.forged
 * (the attempt is not registered). All names in it are schema-qualified. */
bool neap_history_record(struct pg_client *client, const struct neap_history_entry *entry,
                         struct neap_audit *audit, struct neap_error *err);
/* Is the attempt's row there? A COMMIT that is still under way does not show:
 * after a lost connection call lease_refence first, which waits for it. */
bool neap_history_has_attempt(struct pg_client *control, const char *attempt, bool *found,
                              struct neap_error *err);
/* The last stored copy of what was applied as `id`; *bytes
 * NULL when none was stored. The caller frees. */
bool neap_history_bundle(struct pg_client *control, const char *id, void **bytes, size_t *length,
                         struct neap_error *err);

/* neap.step: one row per attempt of a step outside a transaction. */
struct neap_step_row {
    char *id;  /* migration */
    int index; /* 0-based */
    char *name;
    char *state; /* intent, done, undo, undone, failed */
    char *run_id, *attempt, *at;
    struct neap_hash token; /* of the script when it ran */
};
struct neap_step_rows {
    struct neap_step_row *rows; /* the last state of each (id, index), in order */
    size_t count;
};
/* Records a state change by its own committed statement, and waits. */
bool neap_history_step(struct pg_client *control, const struct neap_step_row *row,
                       struct neap_error *err);
/* Steps of migrations that are not settled (partial), or of `id` when given. */
bool neap_history_steps(struct pg_client *control, const char *id, struct neap_step_rows *out,
                        struct neap_error *err);
void neap_step_rows_clear(struct neap_step_rows *rows);

/* Among the history's own files: the schema or a table of it is not there. */
bool neap_history_is_missing(const struct neap_error *err);
bool neap_history_check_version(int64_t version, struct neap_error *err);
/* For a missing right (42501): a hint with the GRANT to type. */
void neap_history_explain_rights(struct pg_client *control, struct neap_error *err);

#endif
