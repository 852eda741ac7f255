/* SPDX-License-Identifier: MIT
 *
 * The tool that archives an environment's server for points in time (backup_pitr.def):
 *
 *   archive = { tool = "pgbackrest", stanza = "shop", type = "incr", timeout = "2h",
 *               verify = false,
 *               command = { "runuser", "-u", "postgres", "--", "pgbackrest" } },
 *   archive = { tool = "barman", server = "shop" },
 */
#ifndef NEAP_PROJECT_PROJECT_ARCHIVE_H
#define NEAP_PROJECT_PROJECT_ARCHIVE_H

#include <jansson.h>

#include "host/base/error.h"
#include "host/change/environment.h"

/* `table` is the environment's. config.invalid names the key below `where`
 * ("environments.production."), and the nearest known one. */
bool project_archive_check(const char *where, const json_t *table, struct neap_error *err);
/* What a checked table says; with it an archive that fails is an error of preflight where
 * the table sets no threshold of its own. `table` may be NULL. */
void project_archive_fill(const json_t *table, struct neap_environment *env);
/* "pgbackrest, stanza shop: runuser -u postgres -- pgbackrest". The caller frees. */
char *project_archive_text(const struct neap_environment *env);

#endif
