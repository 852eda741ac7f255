/* SPDX-License-Identifier: MIT
 *
 * How neap.lua is refused: the key and its place, and the nearest known one.
 */
#ifndef NEAP_PROJECT_PROJECT_WORD_H
#define NEAP_PROJECT_PROJECT_WORD_H

#include <stdbool.h>

#include "host/base/error.h"

/* Both give false. `where` is "environments.production.", `rule` "must be a duration". */
bool project_refuse(const char *where, const char *name, const char *rule, struct neap_error *err);
/* `what` is "key"; `names` are the known ones, NULL-terminated. */
bool project_unknown(const char *where, const char *name, const char *what,
                     const char *const *names, struct neap_error *err);
/* The index of `name` in `names`, -1 when it is not there. */
int project_word_find(const char *const *names, const char *name);

#endif
