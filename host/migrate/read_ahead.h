/* SPDX-License-Identifier: MIT
 *
 * Reads a project's files while the loop waits for the server, which takes longer to
 * open a session than most projects take to read. It judges nothing: what cannot be
 * read is read again by neap_plan_load, which says why.
 */
#ifndef NEAP_MIGRATE_READ_AHEAD_H
#define NEAP_MIGRATE_READ_AHEAD_H

#include "host/loop/loop.h"
#include "host/migrate/discover.h"

struct neap_read_ahead {
    struct neap_loop *loop;
    const char *project; /* borrowed */
    struct neap_migrations migrations;
    struct neap_source_cache *cache; /* NULL until the names are known */
    struct neap_source *sources;     /* of the first `count` migrations, by neap_source_read */
    size_t count;
};

/* From now on, in waits on `loop`. */
struct neap_read_ahead *neap_read_ahead_begin(struct neap_loop *loop, const char *project);
/* Frees what neap_plan_load did not take. */
void neap_read_ahead_end(struct neap_read_ahead *ahead);

#endif
