/* SPDX-License-Identifier: MIT
 *
 * A growing byte string, always NUL-terminated past `length`. {0} is empty.
 */
#ifndef NEAP_BASE_BUFFER_H
#define NEAP_BASE_BUFFER_H

#include <stdarg.h>
#include <stddef.h>

struct neap_buffer {
    char *bytes; /* NULL while empty */
    size_t length;
    size_t capacity;
};

void neap_buffer_add(struct neap_buffer *buffer, const void *bytes, size_t length);
void neap_buffer_add_text(struct neap_buffer *buffer, const char *text);
void neap_buffer_add_char(struct neap_buffer *buffer, char c);
void neap_buffer_add_format(struct neap_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* As part of a URI: letters and digits stay, everything else is written as %XX. */
void neap_buffer_add_encoded(struct neap_buffer *buffer, const char *text);
void neap_buffer_add_vformat(struct neap_buffer *buffer, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
/* The text, never NULL; borrowed. */
const char *neap_buffer_text(const struct neap_buffer *buffer);
/* Hands the bytes over (the caller frees; never NULL) and leaves it empty. */
char *neap_buffer_take(struct neap_buffer *buffer);
void neap_buffer_clear(struct neap_buffer *buffer);

#endif
