/* SPDX-License-Identifier: MIT
 *
 * The host's allocations. Running out of memory ends the process with status
 * 70 after one line on stderr: the server rolls back, and the next run settles
 * what was in doubt, exactly as after SIGKILL (promise 2). A second, half-tested
 * way out would be worse. Scripts have a capped allocator of their own
 * (host/script), where running out is an error that rolls back.
 */
#ifndef NEAP_BASE_MEMORY_H
#define NEAP_BASE_MEMORY_H

#include <stdarg.h>
#include <stddef.h>

/* Makes jansson allocate here too: without memory it would leave a field, or a
 * whole record of the audit, out and go on. Before anything else in main. */
void neap_memory_open(void);
/* Ends the process as above: for a library that says it found no memory. */
_Noreturn void neap_memory_end(void);

void *neap_alloc(size_t size_bytes);                    /* zeroed; never NULL */
void *neap_alloc_many(size_t count, size_t size_bytes); /* the same for an array */
void *neap_realloc(void *block, size_t size_bytes);     /* never NULL */
char *neap_strdup(const char *text);                    /* NULL gives NULL */
char *neap_strndup(const char *text, size_t length);
char *neap_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *neap_vformat(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

#endif
