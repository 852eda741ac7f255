/* SPDX-License-Identifier: MIT
 *
 * The questions of preflight.def that the server answers. Private to host/proof.
 */
#ifndef NEAP_PROOF_PREFLIGHT_SQL_H
#define NEAP_PROOF_PREFLIGHT_SQL_H

#include "host/change/environment.h"

/* By check; NULL where C knows. One row: the value (NULL: it cannot be seen) and
 * what people read. $1 of LOCKS: the names in the pending scripts, as text[]. */
extern const char *const neap_preflight_sql[NEAP_PREFLIGHT_COUNT];

#endif
