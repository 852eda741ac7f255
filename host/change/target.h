/* SPDX-License-Identifier: MIT
 *
 * A target that was looked at before anything is sent to it: who it is, whether
 * it is the pinned one, whether it can be written to, whether a pooler is in
 * the way (HAZARDS T17, T18). It owns the two sessions: `control` for the
 * bookkeeping, `work` for scripts; they may be of two roles (`neap help roles`).
 */
#ifndef NEAP_CHANGE_TARGET_H
#define NEAP_CHANGE_TARGET_H

#include "bindings/pg/pg_client.h"
#include "host/change/environment.h"

struct neap_target {
    struct neap_loop *loop;
    const struct neap_environment *env; /* borrowed */
    struct pg_client *control;
    struct pg_client *work;    /* NULL until neap_target_work */
    struct pg_client *opening; /* of neap_target_expect_work; NULL: none */
    bool tidy;                 /* nothing in `work` is but as a new session has it */
    char *system_identifier;
    char *database;
    char *user;           /* of the control session */
    char *work_user;      /* NULL until neap_target_work */
    char *identity;       /* "<system identifier>/<database oid>" */
    char *timeline;       /* "1"; follows a promotion in mid-run, which is said once */
    bool failed_over;     /* it did, and no event says so yet */
    char *server_version; /* "15.20" */
    int server_version_num;
    bool direct;    /* no pooler between us and the server */
    bool superuser; /* one of the sessions is a superuser's */
    bool change;    /* opened to change something */
    bool recovery;  /* a standby: unlogged tables cannot be read */
    bool standby;   /* in recovery, or default_transaction_read_only */
    bool awaited;   /* COMMIT waits for a synchronous standby */
};

/* Connects `control` and looks. Errors: db.connect, target.wrong (pin),
 * db.pooler (not allowed by the environment). With `change` also target.standby
 * and policy.refused (superuser on a protected environment). */
bool neap_target_open(struct neap_loop *loop, const struct neap_environment *env, bool change,
                      struct neap_target **out, struct neap_error *err);
/* `work` will be asked for soon: begins to open it, and does not wait. For who has the
 * lease alone: runs that wait for it should not take two of the server's sessions. */
void neap_target_expect_work(struct neap_target *target);
/* Makes sure that `work` is a live session on the same server: opens it when it
 * is not there or was lost. target.wrong when it leads elsewhere; db.pooler and
 * policy.refused as neap_target_open, for its own address and role. */
bool neap_target_work(struct neap_target *target, struct neap_error *err);
/* Another session on the same server (or the standby that was promoted in its
 * place), the caller's to close: "control" settles an unknown COMMIT when the two were
 * lost; "backup" is of the role that reads everything, and never through a pooler. */
bool neap_target_session(struct neap_target *target, const char *name, struct pg_client **out,
                         struct neap_error *err);
void neap_target_drop_work(struct neap_target *target);
void neap_target_close(struct neap_target *target); /* NULL is allowed */

#endif
