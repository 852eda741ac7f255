/* SPDX-License-Identifier: MIT
 *
 * Versions of the libraries, for `version` and `doctor`.
 */
#ifndef NEAP_CLI_CLI_VERSIONS_H
#define NEAP_CLI_CLI_VERSIONS_H

#include <jansson.h>

/* {"libpq": "15.20", …}; a new reference. */
json_t *cli_versions(void);

#endif
