/* SPDX-License-Identifier: MIT
 *
 * jansson in neap's two forms: canonical (sorted keys, compact, ASCII), which
 * the audit hashes, and readable, which --json prints.
 */
#ifndef NEAP_BASE_JSON_H
#define NEAP_BASE_JSON_H

#include <jansson.h>

#include "host/base/error.h"

char *neap_json_canonical(const json_t *json); /* the caller frees; never NULL */
char *neap_json_pretty(const json_t *json);    /* the caller frees; never NULL */
/* json_string that never fails: invalid UTF-8 is escaped first. NULL gives null.
 * Returns a new reference. */
json_t *neap_json_text(const char *text);
/* As --json and the audit show an error: code, message, detail, hint, sqlstate,
 * sql, position, file, line, traceback. Redacted. New reference. */
json_t *neap_json_error(const struct neap_error *err);
/* Sets `key` and takes `value` in every outcome. */
void neap_json_set(json_t *object, const char *key, json_t *value);

#endif
