/* SPDX-License-Identifier: MIT
 *
 * What the parts of the self-test share. For this folder alone.
 */
#ifndef NEAP_SELFTEST_SELFTEST_PARTS_H
#define NEAP_SELFTEST_SELFTEST_PARTS_H

#include "bindings/pg/pg_client.h"
#include "host/loop/child.h"
#include "host/selftest/selftest.h"

/* The list of cases, checked: every key known, id, attempt and expect present, ids
 * unique. New reference, or NULL. */
json_t *selftest_corpus(struct neap_loop *loop, const char *dir, struct neap_error *err);
/* Those whose id one of `globs` (a list with commas; NULL: all) matches, anywhere in
 * it. New reference; takes `cases`. */
json_t *selftest_select(json_t *cases, const char *globs, struct neap_error *err);

/* Where all cases of one run live. */
struct selftest_place {
    struct neap_loop *loop;
    char *dir;     /* ours, removed at the end */
    char *program; /* this binary, also when its file was replaced meanwhile */
    char *url;     /* of the scratch server's first database */
    struct pg_client *control;
    struct pg_client *sweeper; /* drops databases; nobody waits for the checkpoint */
};

/* What the database must hold after the judged command. */
enum selftest_state {
    SELFTEST_NOTHING, /* only what was there before */
    SELFTEST_APPLIED, /* everything, the hostile script's table as well */
    SELFTEST_ANY,     /* the case itself is about that */
};

/* One case on its way. */
struct selftest_trial {
    const json_t *entry; /* NULL: a free slot */
    size_t index;        /* in the corpus */
    enum selftest_state state;
    char *database, *url, *dir;
    size_t command; /* index of the entry's command that runs now */
    enum { TRIAL_COMMAND, TRIAL_MEND, TRIAL_AUDIT, TRIAL_END } stage;
    struct neap_child *child;
    struct neap_child_result result;
    int64_t began_ms, limit_ms;  /* of the child */
    int64_t took_ms, peak_bytes; /* of the judged command */
    bool is_armed_wanted;        /* the script says that its hostile line was reached */
    char *got;
    char *why; /* the first reason why it does not hold */
};

/* Makes the case's files below trial->dir; sets is_armed_wanted. */
bool selftest_write(struct selftest_trial *trial, struct neap_error *err);
/* Puts an innocent script in the hostile one's place. */
bool selftest_write_innocent(const struct selftest_trial *trial, struct neap_error *err);
/* Fills got and why from the judged command's end. */
void selftest_judge(struct selftest_trial *trial);
/* Fills why from the database; waits until the case's sessions have ended. */
void selftest_look(const struct selftest_place *place, struct selftest_trial *trial,
                   enum selftest_state state);
/* Sets why to how the child ended, and its last line. */
void selftest_blame_end(struct selftest_trial *trial, const char *what);
/* Sets why, unless an earlier reason stands. */
void selftest_blame(struct selftest_trial *trial, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Runs the trials. *out as in neap_selftest_limits. */
bool selftest_run(const struct selftest_place *place, json_t *cases, json_t **out,
                  struct neap_error *err);

#endif
