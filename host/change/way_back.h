/* SPDX-License-Identifier: MIT
 *
 * The way back of a step that failed after it committed: one decision tree. Its `down`
 * first; then the schema must be what it was before; and what is not so stops with exit 9
 * and says what a restore would bring back and what it would lose. It never restores.
 * Each turn is logged and recorded (way_back.turn). Where the environment asks for no
 * gates, schemas are not compared, and nothing is read for it.
 */
#ifndef NEAP_CHANGE_WAY_BACK_H
#define NEAP_CHANGE_WAY_BACK_H

#include "bindings/backup/backup_fingerprint.h"

struct neap_change;
struct neap_unit;
struct neap_outcome;

/* Part of neap_change; {0} is one that compares nothing. */
struct neap_way_back {
    bool wanted; /* compare schemas */
    bool has_first, has_before;
    struct backup_schema first;  /* before the first change of the run */
    struct backup_schema before; /* before the step that runs */
    bool stopped;                /* exit 9: only a restore, or a person, goes back from here */
};
void neap_way_back_clear(struct neap_way_back *way_back);

/* Whether the environment wants it: protected, or with gates. */
struct neap_environment;
bool neap_way_back_is_wanted(const struct neap_environment *env);

/* Reads the schema before the run's first change, once. Nothing may be open on the work
 * session. */
bool neap_way_back_first(struct neap_change *change, struct neap_error *err);
/* The same before a step. `again`: an earlier attempt at it may have left something, so
 * that nobody knows what was before. */
bool neap_way_back_before(struct neap_change *change, bool again, struct neap_error *err);

/* Where the tree is. Borrowed; `step` NULL: the migration as a whole. */
struct neap_way_back_place {
    const char *id, *step;
};
/* A turn for the log and the audit: "down", "compare", "stop" or "restore"; its result in
 * a word; the rest in sentences. */
struct neap_way_back_turn {
    const char *turn, *result, *text;
};
void neap_way_back_turn(struct neap_change *change, const struct neap_way_back_place *place,
                        const struct neap_way_back_turn *turn);
/* Whether the schema is what it was before the step, now that its down has run. False: it is
 * not, with the difference as detail, or it could not be read. True where nothing is known
 * of before. */
bool neap_way_back_compare(struct neap_change *change, const struct neap_way_back_place *place,
                           struct neap_error *err);
/* The end of the tree: `err`, which is partial already, gets the difference that `second`
 * has, what a restore would lose, and its command. */
void neap_way_back_stop(struct neap_change *change, const struct neap_way_back_place *place,
                        const struct neap_error *second, struct neap_error *err);

struct neap_way_back_undo {
    const struct neap_unit *units; /* committed in this run, as they were applied */
    size_t count;
    void (*undone)(void *arg, size_t index, const struct neap_outcome *outcome); /* or NULL */
    void *arg;
};
/* After a validation that failed, whose error `err` has: undoes the units, last first, each
 * as `down` does, and compares with what was before the run. True: all is as it was, and
 * `err` says so too. False: `err` is step.partial now. */
bool neap_way_back_undo(struct neap_change *change, const struct neap_way_back_undo *undo,
                        struct neap_error *err);

/* way_back_loss.c: what a restore of the run's backup would lose. *sentence says how much;
 * *lines, the tables (NULL where there is none to tell). The caller frees both. */
void neap_way_back_losses(struct neap_change *change, char **sentence, char **lines);
/* A deadline of its own for what the way back reads. */
void neap_way_back_arm(struct neap_change *change);

#endif
