/* SPDX-License-Identifier: MIT
 *
 * The host's allocations. Running out ends the process here, in one place; the
 * last words use write(2) alone, because stdio might allocate.
 */
#include "host/base/memory.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/crash.h"

#define EXIT_BUG 70

void neap_memory_open(void)
{
    json_set_alloc_funcs(neap_alloc, free);
}

_Noreturn void neap_memory_end(void)
{
    static const char words[] = "error: neap ran out of memory; what was in doubt is settled by "
                                "the next run\n";
    ssize_t ignored = write(STDERR_FILENO, words, sizeof words - 1);

    (void)ignored;
    neap_exit_now(EXIT_BUG);
}

void *neap_alloc(size_t size_bytes)
{
    return neap_alloc_many(1, size_bytes);
}

void *neap_alloc_many(size_t count, size_t size_bytes)
{
    void *block = calloc(count ? count : 1, size_bytes ? size_bytes : 1);

    if (!block)
        neap_memory_end();
    return block;
}

void *neap_realloc(void *block, size_t size_bytes)
{
    void *moved = realloc(block, size_bytes ? size_bytes : 1);

    if (!moved)
        neap_memory_end();
    return moved;
}

char *neap_strdup(const char *text)
{
    size_t size = text ? strlen(text) + 1 : 0;

    return text ? memcpy(neap_alloc(size), text, size) : NULL;
}

char *neap_strndup(const char *text, size_t length)
{
    size_t used = strnlen(text, length);
    char *copy = neap_alloc(used + 1);

    memcpy(copy, text, used);
    return copy;
}

char *neap_format(const char *format, ...)
{
    va_list args;
    char *text = NULL;

    va_start(args, format);
    text = neap_vformat(format, args);
    va_end(args);
    return text;
}

char *neap_vformat(const char *format, va_list args)
{
    char *text = NULL;

    if (vasprintf(&text, format, args) < 0)
        neap_memory_end();
    return text;
}
