/* SPDX-License-Identifier: MIT
 *
 * Between the files of `restore`.
 */
#ifndef NEAP_CLI_CMD_RESTORE_H
#define NEAP_CLI_CMD_RESTORE_H

#include "host/cli/cli.h"

/* Where the backup that is named is of the whole server: prints how to go back to it, and
 * does nothing else. False: it is none of those, or --run was given for one; then *status
 * is not set. */
bool cmd_restore_archive(struct neap_cli *cli, int *status);

#endif
