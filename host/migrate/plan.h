/* SPDX-License-Identifier: MIT
 *
 * The project's files against the target's history: what is applied, pending,
 * halfway, and what is wrong with it. Applied is a set, never a high-water mark.
 * Decides; touches nothing.
 */
#ifndef NEAP_MIGRATE_PLAN_H
#define NEAP_MIGRATE_PLAN_H

#include "host/change/history.h"
#include "host/migrate/discover.h"
#include "host/migrate/read_ahead.h"
#include "host/script/source.h"

enum neap_problem {
    NEAP_PROBLEM_NONE,
    NEAP_PROBLEM_COSMETIC, /* bytes differ, meaning does not: a warning */
    NEAP_PROBLEM_CHANGED,  /* applied, and the file now means something else */
    NEAP_PROBLEM_MISSING,  /* applied, and there is no file */
    NEAP_PROBLEM_ORDER,    /* pending, and older than one that is applied */
    NEAP_PROBLEM_FORGED,   /* its last word in history is not one of neap's */
};
/* "changed"; NULL for none. */
const char *neap_problem_name(enum neap_problem problem);
const char *neap_state_name(enum neap_history_state state);

struct neap_plan_item {
    const char *id, *name;
    const struct neap_migration *file;  /* NULL: missing */
    const struct neap_history_row *row; /* NULL: never applied */
    struct neap_source source;          /* of the file; empty when missing */
    enum neap_history_state state;
    enum neap_problem problem;
};

struct neap_plan {
    struct neap_plan_item *items; /* by id */
    size_t count;
    struct neap_migrations migrations;
    struct neap_source_cache *cache;
};

/* Reads and hashes every file once, but for those that were read ahead (NULL: none),
 * which are taken. `history` is borrowed until clear. */
bool neap_plan_load(const char *project, struct neap_read_ahead *ahead,
                    const struct neap_history *history, struct neap_plan *out,
                    struct neap_error *err);
/* The same files against a history that was read later: what was looked at is what is
 * applied, whatever an editor or a deploy does to the files meanwhile. False: cleared. */
bool neap_plan_renew(struct neap_plan *plan, const struct neap_history *history,
                     struct neap_error *err);
void neap_plan_clear(struct neap_plan *plan);
/* Whether the last word in history is that it is applied, also while a part of
 * its down has run. */
bool neap_plan_was_applied(const struct neap_plan_item *item);
/* By digits, leading zeros aside; NULL when there is none. */
struct neap_plan_item *neap_plan_find(const struct neap_plan *plan, const char *id);
/* How many items are in `state`. */
size_t neap_plan_count(const struct neap_plan *plan, enum neap_history_state state);

/* What the command line asks for; NULL and 0 where it does not. */
struct neap_selection {
    int count; /* 0: all (up), 1 (down) */
    const char *to;
    const char *only;
};
/* The items to apply, in order; partial ones are among them, to be gone on with.
 * Errors: history.forged, history.changed and history.missing (what is applied
 * must be known before more is), history.order, history.unknown. The caller frees *out. */
bool neap_plan_up(const struct neap_plan *plan, const struct neap_selection *selection,
                  struct neap_plan_item ***out, size_t *count, struct neap_error *err);
/* The items to undo, last id first. Errors: history.forged, history.unknown. */
bool neap_plan_down(const struct neap_plan *plan, const struct neap_selection *selection,
                    struct neap_plan_item ***out, size_t *count, struct neap_error *err);

#endif
