/* SPDX-License-Identifier: MIT
 *
 * A rehearsal: the pending scripts and their way back, run on a copy of the target through
 * the one step machine, each statement measured. Nothing of the target is changed; what was
 * found is in the events of the run that asked for it.
 */
#ifndef NEAP_PROOF_REHEARSE_H
#define NEAP_PROOF_REHEARSE_H

#include "bindings/backup/backup_restore.h"
#include "host/migrate/session.h"

struct neap_rehearse_opts {
    const char *from;                    /* what the copy is of: a backup's id, or "live-schema" */
    bool has_rows;                       /* else nothing can be predicted from it */
    struct neap_plan_item *const *items; /* of the target's plan, in order */
    size_t count;
};

struct neap_rehearsal {
    bool ok;
    /* {ok, from, server_version, rows, units, seconds, error}; `neap help json` has the
     * rest. Also of one that failed. */
    json_t *json;
};

/* Runs the picked items on `copy`, which is not as it was afterwards and stays the
 * caller's: up, verify and the schema's fingerprint of each, then down in reverse with the
 * fingerprint compared to the one before its up, then up and verify again. `target` has
 * begun; rehearsal.begin and rehearsal.end are added to its events. False:
 * rehearsal.failed with the script's own error and place, rehearsal.down with the
 * difference, rehearsal.copy, or a stop; policy.refused where the copy is beside the target
 * and a script changes what both share. Waits. */
bool neap_rehearse(struct neap_session *target, struct backup_copy *copy,
                   const struct neap_rehearse_opts *opts, struct neap_rehearsal *out,
                   struct neap_error *err);
void neap_rehearsal_clear(struct neap_rehearsal *rehearsal);

/* What a rehearsal runs on. */
struct neap_rehearse_copy {
    struct backup_copy copy;
    char *from;
    bool has_rows, proved; /* proved: the backup was restored and compared before */
};
struct neap_rehearse_source {
    const char *store; /* of backups */
    const char *from;  /* an id; NULL or "latest"; "live-schema" */
    bool on_target;    /* as a database beside it, not on a server of its own */
};
/* Restores the backup: that of the id, the newest of this environment that has a schema, or
 * the schema of the target as it is now. backup.*. `target` has begun. Waits. */
bool neap_rehearse_copy_begin(struct neap_session *target,
                              const struct neap_rehearse_source *source,
                              struct neap_rehearse_copy *out, struct neap_error *err);
void neap_rehearse_copy_end(struct neap_rehearse_copy *copy);

#endif
