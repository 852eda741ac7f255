/* SPDX-License-Identifier: MIT
 *
 * The growing byte string. It doubles, so that adding byte by byte stays linear.
 */
#include "host/base/buffer.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

#define FIRST_CAPACITY 64

/* Room for `more` bytes and the NUL. A length that would wrap asks for more
 * than exists, which is the allocator's ordinary end. */
static void make_room(struct neap_buffer *buffer, size_t more)
{
    size_t needed = buffer->length + more + 1;
    size_t capacity = buffer->capacity ? buffer->capacity : FIRST_CAPACITY;

    if (needed <= more)
        needed = SIZE_MAX;
    if (needed <= buffer->capacity)
        return;
    while (capacity < needed)
        capacity = capacity > SIZE_MAX / 2 ? SIZE_MAX : capacity * 2;
    buffer->bytes = neap_realloc(buffer->bytes, capacity);
    buffer->capacity = capacity;
}

void neap_buffer_add(struct neap_buffer *buffer, const void *bytes, size_t length)
{
    make_room(buffer, length);
    if (length)
        memcpy(buffer->bytes + buffer->length, bytes, length);
    buffer->length += length;
    buffer->bytes[buffer->length] = '\0';
}

void neap_buffer_add_text(struct neap_buffer *buffer, const char *text)
{
    if (text)
        neap_buffer_add(buffer, text, strlen(text));
}

void neap_buffer_add_char(struct neap_buffer *buffer, char c)
{
    neap_buffer_add(buffer, &c, 1);
}

void neap_buffer_add_format(struct neap_buffer *buffer, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    neap_buffer_add_vformat(buffer, format, args);
    va_end(args);
}

void neap_buffer_add_vformat(struct neap_buffer *buffer, const char *format, va_list args)
{
    char *text = neap_vformat(format, args);

    neap_buffer_add_text(buffer, text);
    free(text);
}

void neap_buffer_add_encoded(struct neap_buffer *buffer, const char *text)
{
    for (; *text != '\0'; text++) {
        bool plain = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
                     (*text >= '0' && *text <= '9');
        if (plain)
            neap_buffer_add_char(buffer, *text);
        else
            neap_buffer_add_format(buffer, "%%%02X", (unsigned)(unsigned char)*text);
    }
}

const char *neap_buffer_text(const struct neap_buffer *buffer)
{
    return buffer->bytes ? buffer->bytes : "";
}

char *neap_buffer_take(struct neap_buffer *buffer)
{
    char *bytes = buffer->bytes ? buffer->bytes : neap_strdup("");

    *buffer = (struct neap_buffer){0};
    return bytes;
}

void neap_buffer_clear(struct neap_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct neap_buffer){0};
}
