/* SPDX-License-Identifier: MIT
 *
 * Wrapping. A word that is wider than the page stays whole: it may be a path, and half a
 * path is none.
 */
#include "host/report/report_page.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/text.h"

#define LABEL_COLUMNS 14

static void add_blanks(struct neap_buffer *out, size_t count)
{
    while (count-- > 0)
        neap_buffer_add_char(out, ' ');
}

static size_t width_of(const char *text, size_t length)
{
    char *word = neap_strndup(text, length);
    size_t width = neap_text_width(word);
    free(word);
    return width;
}

/* From column `at` on; the lines that follow begin at `indent`. */
static void wrap(struct neap_buffer *out, const char *text, size_t at, size_t indent)
{
    bool first = true;
    for (;;) {
        size_t blanks = strspn(text, " ");
        size_t length = strcspn(text + blanks, " ");
        size_t width = width_of(text + blanks, length);
        if (length == 0)
            break;
        if (!first && at + blanks + width > NEAP_PAGE_COLUMNS) {
            neap_buffer_add_char(out, '\n');
            add_blanks(out, indent);
            at = indent;
        } else {
            add_blanks(out, blanks);
            at += blanks;
        }
        neap_buffer_add(out, text + blanks, length);
        at += width;
        text += blanks + length;
        first = false;
    }
    neap_buffer_add_char(out, '\n');
}

static char *format_words(const char *format, va_list args) __attribute__((format(printf, 1, 0)));
static char *format_words(const char *format, va_list args)
{
    char *raw = neap_vformat(format, args);
    char *words = neap_printable(raw, false);
    free(raw);
    return words;
}

void neap_page_heading(struct neap_page *page, const char *heading)
{
    if (page->text.length > 0)
        neap_buffer_add_char(&page->text, '\n');
    wrap(&page->text, heading, 0, 0);
}

void neap_page_field(struct neap_page *page, const char *label, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *words = format_words(format, args);
    va_end(args);
    size_t at = 2 + strlen(label);
    neap_buffer_add_format(&page->text, "  %s", label);
    add_blanks(&page->text, at + 1 < LABEL_COLUMNS ? LABEL_COLUMNS - at : 1);
    wrap(&page->text, words, at + 1 < LABEL_COLUMNS ? LABEL_COLUMNS : at + 1, LABEL_COLUMNS);
    free(words);
}

void neap_page_line(struct neap_page *page, int indent, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *words = format_words(format, args);
    va_end(args);
    add_blanks(&page->text, (size_t)indent);
    wrap(&page->text, words, (size_t)indent, (size_t)indent + 2);
    free(words);
}

void neap_page_block(struct neap_page *page, int indent, const char *text)
{
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        char *raw = neap_strndup(text, length);
        char *line = neap_printable(raw, false);
        add_blanks(&page->text, (size_t)indent);
        neap_buffer_add_format(&page->text, "%s\n", line);
        free(raw);
        free(line);
        text += length + (text[length] == '\n');
    }
}
