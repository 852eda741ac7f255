/* SPDX-License-Identifier: MIT
 *
 * neap.lua as checked JSON: which keys there are, and of which type.
 */
#ifndef NEAP_PROJECT_PROJECT_CONFIG_H
#define NEAP_PROJECT_PROJECT_CONFIG_H

#include <jansson.h>

#include "host/loop/loop.h"

/* Runs `dir`/neap.lua and checks every key of it. *out and *unset (the variables it
 * reads and that are not set, as keys) are NULL when there is no file; else the
 * caller's. Errors: config.invalid (place or key, nearest known
 * key), file.refused (a password in a file that others can read, or a file that
 * others can write). */
bool project_config_load(struct neap_loop *loop, const char *dir, json_t **out, json_t **unset,
                         struct neap_error *err);
/* Checks what neap.lua returned; the text is in neap.lua's words, the place the file. */
bool project_config_check(const json_t *config, struct neap_error *err);
/* True when a password of one of the urls stands in the file's text. */
bool project_config_has_password(const json_t *config, const char *text);

#endif
