/* SPDX-License-Identifier: MIT
 *
 * Writes files of a project that people will edit: never over an existing one.
 */
#ifndef NEAP_CLI_CLI_WRITE_H
#define NEAP_CLI_CLI_WRITE_H

#include <stdbool.h>
#include <stddef.h>

#include "host/base/error.h"

/* *created false: something of that name was there and is untouched (no error).
 * A file that could not be written whole is removed again. */
bool cli_write_new(const char *path, const char *text, size_t length, bool *created,
                   struct neap_error *err);

#endif
