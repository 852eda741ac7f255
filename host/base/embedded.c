/* SPDX-License-Identifier: MIT
 *
 * Looks up the embedded files. It does not know what they mean.
 */
#include "host/base/embedded.h"

#include <stdlib.h>
#include <string.h>

static int compare_path(const void *key, const void *row)
{
    return strcmp(key, ((const struct neap_embedded *)row)->path);
}

const struct neap_embedded *neap_embedded_find(const char *path)
{
    return bsearch(path, neap_embedded_rows, neap_embedded_count, sizeof neap_embedded_rows[0],
                   compare_path);
}

const struct neap_embedded *neap_embedded_all(void)
{
    return neap_embedded_rows;
}
