/* SPDX-License-Identifier: MIT
 *
 * What an environment says of its proofs: which gates `neap up` must pass (gates.def),
 * and how long backups are kept (retention.def):
 *
 *   gates = { "preflight", "backup", "rehearsal" },  -- protected: all of them
 *   retention = { pre_migration = "30d", daily = "7d", weekly = false, keep = 1 },
 */
#ifndef NEAP_PROJECT_PROJECT_GATES_H
#define NEAP_PROJECT_PROJECT_GATES_H

#include <jansson.h>

#include "host/base/error.h"
#include "host/change/environment.h"

/* `table` is the environment's. config.invalid names the key below `where`
 * ("environments.production."), and the nearest known one. */
bool project_gates_check(const char *where, const json_t *table, struct neap_error *err);
/* What a checked table says, and the defaults; env->is_protected is known. `table` may be
 * NULL. Sets neither backup_dir nor backup_max_age_ms. */
void project_gates_fill(const json_t *table, struct neap_environment *env);
/* As people read it: "preflight, backup" or "none"; "daily 7d, …". The caller frees. */
char *project_gates_text(const struct neap_environment *env);
char *project_retention_text(const json_t *table);

#endif
