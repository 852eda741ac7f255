/* SPDX-License-Identifier: MIT
 *
 * A few files at a time, so that an answer of the server is not kept waiting.
 */
#include "host/migrate/read_ahead.h"

#include <stdlib.h>

#include "host/base/memory.h"

#define FILES_AT_ONCE 16
#define BYTES_AT_ONCE (256U << 10)

/* True: there is more to read. */
static bool read_some(struct neap_read_ahead *ahead)
{
    size_t bytes = 0;
    for (int i = 0; i < FILES_AT_ONCE && bytes < BYTES_AT_ONCE; i++) {
        if (ahead->count == ahead->migrations.count)
            return false;
        struct neap_source *source = &ahead->sources[ahead->count];
        if (!neap_source_read(ahead->cache, ahead->migrations.items[ahead->count].path, source,
                              NULL))
            return false;
        bytes += source->files[0].length;
        ahead->count++;
    }
    return true;
}

static bool on_idle(void *arg)
{
    struct neap_read_ahead *ahead = arg;
    if (ahead->cache != NULL)
        return read_some(ahead);
    if (!neap_discover(ahead->project, &ahead->migrations, NULL))
        return false;
    ahead->cache = neap_source_cache_new(ahead->project);
    ahead->sources = neap_alloc((ahead->migrations.count + 1) * sizeof *ahead->sources);
    return true;
}

struct neap_read_ahead *neap_read_ahead_begin(struct neap_loop *loop, const char *project)
{
    struct neap_read_ahead *ahead = neap_alloc(sizeof *ahead);
    ahead->loop = loop;
    ahead->project = project;
    neap_loop_on_idle(loop, on_idle, ahead);
    return ahead;
}

void neap_read_ahead_end(struct neap_read_ahead *ahead)
{
    neap_loop_on_idle(ahead->loop, NULL, NULL);
    for (size_t i = 0; i < ahead->count; i++)
        neap_source_clear(&ahead->sources[i]);
    free(ahead->sources);
    neap_source_cache_free(ahead->cache);
    neap_migrations_clear(&ahead->migrations);
    free(ahead);
}
