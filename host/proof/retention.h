/* SPDX-License-Identifier: MIT
 *
 * Which backups have had their time, and why the others stay. Decides; touches nothing.
 */
#ifndef NEAP_PROOF_RETENTION_H
#define NEAP_PROOF_RETENTION_H

#include <jansson.h>

#include "bindings/backup/backup_store.h"
#include "host/change/environment.h"

enum neap_retention_why {
    NEAP_GOES,              /* its time is over */
    NEAP_STAYS_YOUNG,       /* its time is not over: until_us */
    NEAP_STAYS_PROVED,      /* one of the last proved ones */
    NEAP_STAYS_WAY_BACK,    /* a run names it as its way back */
    NEAP_STAYS_UNTAGGED,    /* no tag of the retention: made by hand */
    NEAP_STAYS_FOR_EVER,    /* the environment says so of its tag */
    NEAP_STAYS_FUTURE,      /* made at a time that is yet to come */
    NEAP_STAYS_UNREADABLE,  /* nobody knows what it is */
    NEAP_STAYS_ENVIRONMENT, /* another environment's */
    NEAP_STAYS_IN_USE,      /* somebody restores it, or looks at it */
};
/* "younger than its tag asks for"; "" where it goes. */
const char *neap_retention_why_text(enum neap_retention_why why);
/* The same for programs: "young". */
const char *neap_retention_why_name(enum neap_retention_why why);

/* The tags that have a time; NULL-terminated. */
const char *const *neap_retention_tags(void);

struct neap_retention {
    enum neap_retention_why why;
    int64_t until_us; /* when its time is over; 0: never, or nobody knows */
};

/* `backups` as backup_list gives them, newest first: their order says which is the last one,
 * whatever a clock said. `named`: an object with the ids that are somebody's way back. */
void neap_retention_judge(const struct neap_environment *env, const json_t *named, int64_t now_us,
                          const struct backup *backups, size_t count, struct neap_retention *out);

/* The backup that an event of the journal names as its run's way back, or NULL. Borrowed. */
const char *neap_retention_gate(const json_t *event);
/* Reads the journal of `identity` and adds to `named` the ids of backups that are still a way
 * back: of the last run that changed something and has one, and of every run that was killed
 * or stopped halfway, until each migration of its plan was brought to an end. */
bool neap_retention_named(const char *state_dir, const char *identity, json_t *named,
                          struct neap_error *err);

#endif
