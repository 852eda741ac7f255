/* SPDX-License-Identifier: MIT
 *
 * An environment's `preflight` table: other thresholds than preflight.def's, or a
 * check put off:
 *
 *   preflight = {
 *     connections = { warning = 70, error = 90 },
 *     replication_lag = { error = "5s" },
 *     invalid_indexes = false,
 *   }
 */
#ifndef NEAP_PROJECT_PROJECT_PREFLIGHT_H
#define NEAP_PROJECT_PROJECT_PREFLIGHT_H

#include <jansson.h>

#include "host/base/error.h"
#include "host/change/environment.h"

/* `table` may be NULL. config.invalid names the key below `where`
 * ("environments.production."), and the nearest known one. */
bool project_preflight_check(const char *where, const json_t *table, struct neap_error *err);
/* The defaults, and over them what a checked table says. `table` may be NULL. */
void project_preflight_fill(const json_t *table,
                            struct neap_preflight_rule rules[NEAP_PREFLIGHT_COUNT]);

#endif
