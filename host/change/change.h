/* SPDX-License-Identifier: MIT
 *
 * The heart: the one step machine. Whatever changes a target (a migration, its
 * way back, one step of it) goes through neap_change_step; what only looks goes
 * through neap_change_verify or neap_change_dry_run. The parts behind it:
 * tx.c (the transaction), unit.c (attempts), steps.c (no transaction).
 */
#ifndef NEAP_CHANGE_CHANGE_H
#define NEAP_CHANGE_CHANGE_H

#include "bindings/lock/lease.h"
#include "host/change/actor.h"
#include "host/change/attempt.h"
#include "host/change/audit.h"
#include "host/change/recorder.h"
#include "host/change/target.h"
#include "host/change/watch.h"
#include "host/change/way_back.h"
#include "host/script/script.h"

struct neap_commit_pending;
struct neap_outcome;

/* What a run has in hand while it changes a target. Borrowed throughout. */
struct neap_change {
    struct neap_loop *loop;
    struct neap_run *run;
    const struct neap_environment *env;
    struct neap_target *target;
    struct neap_audit *audit;
    struct lease *lease; /* NULL: nothing can be changed (verify; dry run on a bare target) */
    struct neap_watch *watch;
    struct neap_recorder recorder;
    struct neap_attempts attempts;
    const struct neap_actor *actor;
    const char *reason, *ticket;
    const char *archive_run; /* it is of the whole server, and leads back to before that run */
    const char *backup_id;   /* the proved backup that is this run's way back, or NULL */
    struct neap_way_back way_back;                 /* owned: neap_way_back_clear */
    bool (*is_applied)(void *arg, const char *id); /* for `requires` */
    void *arg;
    struct neap_commit_pending *pending; /* sent, and not answered yet (commit.h) */
    /* Called when a unit that neap_change_step left unconfirmed is committed. */
    void (*confirmed)(void *arg, const struct neap_outcome *outcome);
    void *confirmed_arg;
};

enum neap_direction { NEAP_UP, NEAP_DOWN };
/* "apply" or "undo": the action in history. */
const char *neap_unit_action(enum neap_direction direction);

/* One migration, in one direction. */
struct neap_unit {
    const char *id, *name;
    const struct neap_source *source;
    enum neap_direction direction;
    bool applied; /* history says so: steps that have no word of their own are done */
    bool more;    /* another neap_change_step follows at once, whatever comes of this one */
};

struct neap_outcome {
    int attempts;
    int64_t duration_ms, statements, rows;
    bool unreplicated;     /* applied, but a synchronous standby did not confirm */
    bool audit_incomplete; /* applied, but the journal lacks the outcome */
    bool unchanged;        /* failed, and the target is as before */
    bool unconfirmed;      /* COMMIT was sent; `confirmed` or the next step's failure tells */
    bool earlier;          /* it was the unconfirmed unit before this one that failed */
    bool again;            /* with `earlier`: that one is worth another attempt */
};

/* Applies or undoes the unit: attempts are repeated as a whole after a lock
 * timeout, a deadlock or a serialization failure until the budget is spent.
 * False: the error says what happened; outcome->unchanged whether the target is
 * as it was before. With `more` it may return before the answer to COMMIT came: over
 * a long wire the next unit's statements travel meanwhile, in a transaction that
 * begins with a guard on this one's row in history. Waits. */
bool neap_change_step(struct neap_change *change, const struct neap_unit *unit,
                      struct neap_outcome *outcome, struct neap_error *err);

/* Runs the unit's verify in a read-only snapshot. *unverified: why no step of it
 * has one (the caller frees it), or NULL. */
bool neap_change_verify(struct neap_change *change, const struct neap_unit *unit, char **unverified,
                        struct neap_error *err);

/* What a dry run tells, in order. Borrowed. */
struct neap_dry_run_report {
    void (*unit)(void *arg, const struct neap_unit *unit, const struct neap_script_def *def,
                 bool executed);
    /* After each executed unit: what the transaction holds so far. */
    void (*lock)(void *arg, const char *relation, const char *mode);
    void *arg;
};
/* Executes the transactional units in one transaction that is rolled back, and
 * reports the strongest lock on each relation that was there before. Units
 * without a transaction are reported and not executed. False: *failed is the
 * index of the unit that failed, or count. */
bool neap_change_dry_run(struct neap_change *change, const struct neap_unit *units, size_t count,
                         const struct neap_dry_run_report *report, size_t *failed,
                         struct neap_error *err);

#endif
