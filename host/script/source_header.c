/* SPDX-License-Identifier: MIT
 *
 * The comment lines that begin a script: `--- why`, `--- risk`, `--- locks`.
 * They end at the first line that is neither blank nor a comment.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/script/source.h"

/* One line without its newline; moves *at past it. */
static const char *line_next(const struct neap_source_file *file, size_t *at, size_t *length)
{
    const char *line = file->text + *at;
    const char *end = memchr(line, '\n', file->length - *at);
    *length = end == NULL ? file->length - *at : (size_t)(end - line);
    *at += *length + (end == NULL ? 0 : 1);
    while (*length > 0 && strchr(" \t\r", line[*length - 1]) != NULL)
        --*length;
    return line;
}

static size_t spaces(const char *text, size_t length)
{
    size_t n = 0;
    while (n < length && (text[n] == ' ' || text[n] == '\t'))
        n++;
    return n;
}

/* How many dashes begin the line; 0 for other lines. */
static size_t dashes(const char *line, size_t length)
{
    size_t n = 0;
    while (n < length && line[n] == '-')
        n++;
    return n >= 2 ? n : 0;
}

/* The value behind the key, or NULL. Behind two dashes the key needs its colon:
 * "-- why not" is prose. */
static const char *value_of(const char *line, size_t *length, const char *key)
{
    size_t at = dashes(line, *length);
    bool doc = at == 3;
    at += spaces(line + at, *length - at);
    size_t key_length = strlen(key);
    if (*length - at < key_length || memcmp(line + at, key, key_length) != 0)
        return NULL;
    at += key_length;
    bool colon = at < *length && line[at] == ':';
    at += colon ? 1 : 0;
    size_t gap = spaces(line + at, *length - at);
    if (!colon && (!doc || (gap == 0 && at < *length)))
        return NULL;
    *length -= at + gap;
    return line + at + gap;
}

/* A comment line indented by two or more goes on with the value above. */
static bool is_more(const char *line, size_t length, size_t *text)
{
    size_t at = dashes(line, length);
    size_t gap = at > 0 ? spaces(line + at, length - at) : 0;
    *text = at + gap;
    return gap >= 2 && *text < length;
}

static bool is_header(const char *line, size_t length)
{
    return length == 0 || line[0] == '#' || dashes(line, length) > 0;
}

char *neap_source_header(const struct neap_source_file *file, const char *key)
{
    size_t at = file->length >= 3 && memcmp(file->text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    struct neap_buffer value = {0};
    size_t length, text;
    bool found = false;
    while (at < file->length) {
        const char *line = line_next(file, &at, &length);
        if (!is_header(line, length))
            break;
        if (found && !is_more(line, length, &text))
            break;
        if (found) {
            neap_buffer_add_char(&value, ' ');
            neap_buffer_add(&value, line + text, length - text);
            continue;
        }
        const char *inside = value_of(line, &length, key);
        if (inside == NULL)
            continue;
        neap_buffer_add(&value, inside, length);
        found = true;
    }
    if (found && value.length > 0)
        return neap_buffer_take(&value);
    neap_buffer_clear(&value);
    return NULL;
}
