/* SPDX-License-Identifier: MIT
 *
 * A run from its first look at the target to its last event. Two stages: look
 * (reads only; enough for status and for "nothing to do"), and begin (journal,
 * schema, lease, the plan again under the lease, run.begin), after which things
 * may change. Whatever began is ended by neap_session_end.
 */
#ifndef NEAP_MIGRATE_SESSION_H
#define NEAP_MIGRATE_SESSION_H

#include "host/change/change.h"
#include "host/migrate/plan.h"
#include "host/project/project.h"
#include "host/report/report.h"

struct neap_session {
    struct neap_loop *loop;
    const struct neap_project *project; /* borrowed */
    struct neap_target *target;
    struct neap_history history;
    struct neap_plan plan;
    struct neap_audit *audit;
    struct neap_report *report; /* of the run's events; who takes it sets NULL */
    struct lease *lease;
    struct neap_watch *watch;
    struct neap_actor actor;
    struct neap_change change;
    bool dry_run;
    bool begun; /* run.begin is in the chain */
    int64_t lease_waited_ms;
};

/* `change`: the target must be one that can be changed (not a standby). */
bool neap_session_look(struct neap_session *session, struct neap_loop *loop,
                       const struct neap_project *project, bool change, struct neap_error *err);

struct neap_session_opts {
    const char *command; /* "up" */
    const char *reason, *ticket;
    bool bare;    /* takes no lease and installs nothing (verify) */
    bool dry_run; /* takes the lease where schema neap is current; installs nothing */
};
/* Afterwards history and plan are as the lease's holder sees them: what was
 * picked from the plan before must be picked again. */
bool neap_session_begin(struct neap_session *session, const struct neap_session_opts *opts,
                        struct neap_error *err);
/* Lets go of the target, so that no session of ours is left there: lease, watch, both
 * clients. The run and its chain go on; nothing is copied to a target meanwhile. */
void neap_session_leave(struct neap_session *session);
/* Looks again where the environment leads, which may be another database now, and claims
 * its lease: from here on its events are copied there, from run.begin on. */
bool neap_session_return(struct neap_session *session, struct neap_error *err);
/* Records what is about to be done; durable on return. */
bool neap_session_plan(struct neap_session *session, struct neap_plan_item *const *items,
                       size_t count, const char *action, struct neap_error *err);
/* Refuses (history.requires) to undo the picked items where one that stays applied
 * requires them. Asks its script as it was applied; runs nothing of it. */
bool neap_session_check_unneeded(struct neap_session *session, struct neap_plan_item *const *items,
                                 size_t count, struct neap_error *err);
/* Adds to `json` what the item's file says of itself in its first comments: why,
 * risk, locks; null where it does not. */
void neap_session_words(const struct neap_plan_item *item, json_t *json);
/* Reads history again after something changed, and plans the files that were read by it. */
bool neap_session_reload(struct neap_session *session, struct neap_error *err);
/* The script an item is to be undone with: its file, or the copy stored in
 * history when the file is missing, or (`stored`) was edited. *owned when the
 * caller must clear it. */
bool neap_session_down_source(struct neap_session *session, struct neap_plan_item *item,
                              bool stored, struct neap_source *out, bool *owned,
                              struct neap_error *err);
/* The diff between what was applied and the file, for history.changed; adds it
 * to the error as detail. */
void neap_session_explain_change(struct neap_session *session, struct neap_error *err);
/* run.end, the last copy of events, release. `err` is the run's failure or NULL.
 * Frees everything; idempotent. False when events could not be kept. */
bool neap_session_end(struct neap_session *session, int exit_status, const struct neap_error *err);

#endif
