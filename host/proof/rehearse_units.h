/* SPDX-License-Identifier: MIT
 *
 * The three ways of a rehearsal over the migrations: up, down, and up again. It knows the
 * copy alone. Private to host/proof.
 */
#ifndef NEAP_PROOF_REHEARSE_UNITS_H
#define NEAP_PROOF_REHEARSE_UNITS_H

#include "bindings/backup/backup_fingerprint.h"
#include "host/migrate/session.h"
#include "host/proof/rehearse_measure.h"

struct neap_rehearse_unit {
    struct neap_plan_item *item; /* of the copy's plan */
    json_t *json;                /* borrowed: of the list */
    char *irreversible;          /* why, or NULL */
    bool partial;                /* stands halfway on the target: what was before is not known */
    char *changes;               /* what its up did to the schema (backup_schema_diff), or NULL */
    char before[NEAP_HASH_HEX_SIZE];
};

struct neap_rehearse_units {
    struct neap_session *session; /* on the copy */
    struct pg_client *watcher;    /* of the superuser */
    struct neap_measure *measure;
    bool guarded; /* the copy is beside the target */
    struct neap_rehearse_unit *units;
    size_t count;
    size_t undone;               /* so many of the last were undone */
    struct backup_schema schema; /* as it was read last */
    json_t *list;
};

/* Finds the picked items of the target's plan in the copy's; `session` has begun. */
void neap_rehearse_units_init(struct neap_rehearse_units *units, struct neap_session *session,
                              struct pg_client *watcher, struct neap_plan_item *const *items,
                              size_t count);
/* Fills list as it goes. rehearsal.failed, rehearsal.down, or a stop. */
bool neap_rehearse_units_run(struct neap_rehearse_units *units, struct neap_error *err);
void neap_rehearse_units_clear(struct neap_rehearse_units *units);

#endif
