/* SPDX-License-Identifier: MIT
 *
 * What a rehearsal says of the target: the time of a statement that reads or rewrites tables
 * in full, by how much larger they are there. Everything else takes there what it took here.
 * Private to host/proof.
 */
#ifndef NEAP_PROOF_REHEARSE_PREDICT_H
#define NEAP_PROOF_REHEARSE_PREDICT_H

#include <jansson.h>

#include "bindings/pg/pg_client.h"

/* {"schema.table": bytes, …} of tables and indexes. New reference. */
bool neap_rehearse_sizes(struct pg_client *copy, json_t **out, struct neap_error *err);

struct neap_prediction {
    struct pg_client *control; /* of the target, which it only asks for sizes */
    const json_t *sizes;       /* of the copy, before anything ran */
    bool has_rows;             /* else there is nothing to go by */
};
/* Adds predicted_ms to each unit, and to the relations of its statements' scans and rewrites
 * bytes (on the target) and copy_bytes; null where it is not known. */
bool neap_rehearse_predict(const struct neap_prediction *prediction, json_t *units,
                           struct neap_error *err);

#endif
