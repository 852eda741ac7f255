/* SPDX-License-Identifier: MIT
 *
 * A private directory of one rehearsal in the state directory. It is removed at its end; what
 * a killed one left, the next removes. Private to host/proof.
 */
#ifndef NEAP_PROOF_REHEARSE_PLACE_H
#define NEAP_PROOF_REHEARSE_PLACE_H

#include "bindings/backup/backup_store.h"
#include "host/migrate/session.h"

struct neap_rehearse_place {
    struct backup_part part;
};
/* `what` tells two of one run apart. To be ended in any case. */
bool neap_rehearse_place_begin(const struct neap_session *target, const char *what,
                               struct neap_rehearse_place *out, struct neap_error *err);
char *neap_rehearse_path(const struct neap_rehearse_place *place, const char *name); /* to free */
void neap_rehearse_place_end(struct neap_rehearse_place *place);

#endif
