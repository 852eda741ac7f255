/* SPDX-License-Identifier: MIT
 *
 * Which directory is the project.
 */
#ifndef NEAP_CLI_CLI_FIND_H
#define NEAP_CLI_CLI_FIND_H

#include <stdbool.h>

#include "host/base/error.h"

/* `dir` (-C) as it is, else the current directory or the nearest one above it
 * that has neap.lua or migrations/. A directory above that others may write to,
 * or that belongs to somebody else, is passed over: its neap.lua is not ours to
 * run. Errors: file.io, config.invalid that says `neap init`. Caller frees *out. */
bool cli_find_project(const char *dir, char **out, struct neap_error *err);

/* True when `dir` itself has neap.lua or migrations/. */
bool cli_is_project(const char *dir);

#endif
