/* SPDX-License-Identifier: MIT
 *
 * Without a near one all are named: there are never many.
 */
#include "host/project/project_word.h"

#include <string.h>

#include "host/base/buffer.h"
#include "host/base/text.h"

bool project_refuse(const char *where, const char *name, const char *rule, struct neap_error *err)
{
    neap_error_set(err, NEAP_ERR_CONFIG_INVALID, "neap.lua: %s%s %s", where, name, rule);
    return false;
}

bool project_unknown(const char *where, const char *name, const char *what,
                     const char *const *names, struct neap_error *err)
{
    const char *nearest = neap_text_nearest(name, names);
    struct neap_buffer list = {0};
    for (int i = 0; names[i] != NULL; i++)
        neap_buffer_add_format(&list, "%s%s", i == 0 ? "" : ", ", names[i]);
    neap_error_set(err, NEAP_ERR_CONFIG_INVALID, "neap.lua: %s%s is not a known %s", where, name,
                   what);
    if (nearest != NULL)
        neap_error_hint(err, "Did you mean %s?", nearest);
    else
        neap_error_hint(err, "There are: %s.", neap_buffer_text(&list));
    neap_buffer_clear(&list);
    return false;
}

int project_word_find(const char *const *names, const char *name)
{
    for (int i = 0; names[i] != NULL; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}
