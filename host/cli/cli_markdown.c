/* SPDX-License-Identifier: MIT
 *
 * Markdown for a terminal, as much of it as neap's own help uses: headings,
 * paragraphs, lists, fenced code, tables, `code` and **bold**. It shows, it does
 * not judge: what it does not know stays as it is. Without a terminal paragraphs
 * keep their lines and the marks stay, so that the output is Markdown again.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/memory.h"
#include "host/base/text.h"
#include "host/cli/cli_help.h"

#define TABLE_COLUMNS 8
#define WIDTH_MAX 100 /* longer lines are hard to read, however wide the window */

struct markdown {
    struct neap_buffer out;
    struct neap_buffer paragraph; /* lines joined, not yet wrapped */
    size_t indent;                /* of its lines after the first */
    size_t width;
    bool colour;
    bool fenced;
};

/* Adds a word with its marks turned into bold; `code` and **bold** may go over
 * several words. */
static void add_styled(struct markdown *md, const char *text, size_t length, bool *bold)
{
    for (size_t i = 0; i < length; i++) {
        bool strong = text[i] == '*' && i + 1 < length && text[i + 1] == '*';
        if (!md->colour || (text[i] != '`' && !strong)) {
            neap_buffer_add_char(&md->out, text[i]);
            continue;
        }
        *bold = !*bold;
        neap_buffer_add_text(&md->out, *bold ? "\033[1m" : "\033[0m");
        i += strong;
    }
}

static size_t shown_width(const struct markdown *md, const char *text, size_t length)
{
    char *copy = neap_alloc(length + 1);
    size_t kept = 0;
    for (size_t i = 0; i < length; i++) {
        bool mark = text[i] == '`' || (text[i] == '*' && text[i + 1] == '*');
        if (!md->colour || !mark)
            copy[kept++] = text[i];
        else
            i += text[i] == '*';
    }
    size_t width = neap_text_width(copy);
    free(copy);
    return width;
}

static void add_indent(struct markdown *md, size_t count)
{
    while (count-- > 0)
        neap_buffer_add_char(&md->out, ' ');
}

static void end_paragraph(struct markdown *md)
{
    const char *at = neap_buffer_text(&md->paragraph);
    size_t column = 0;
    bool bold = false;
    while (md->paragraph.length > 0 && at[md->paragraph.length - 1] == ' ')
        md->paragraph.bytes[--md->paragraph.length] = '\0';
    if (md->paragraph.length == 0)
        return;
    while (*at != '\0') {
        size_t lead = strspn(at, " ");
        size_t length = strcspn(at + lead, " ");
        size_t width = shown_width(md, at + lead, length);
        if (column > 0 && column + lead + width > md->width) {
            neap_buffer_add_char(&md->out, '\n');
            add_indent(md, md->indent);
            column = md->indent;
        } else {
            add_indent(md, lead);
            column += lead;
        }
        add_styled(md, at + lead, length, &bold);
        column += width;
        at += lead + length;
    }
    neap_buffer_add_char(&md->out, '\n');
    neap_buffer_clear(&md->paragraph);
}

static void add_heading(struct markdown *md, const char *line, size_t length)
{
    size_t marks = strspn(line, "#");
    marks += strspn(line + marks, " ");
    neap_buffer_add_text(&md->out, "\033[1m");
    neap_buffer_add(&md->out, line + marks, length - marks);
    neap_buffer_add_text(&md->out, "\033[0m\n");
}

/* "- text" and "1. text": how far the text is in; 0 when it is no item. */
static size_t item_indent(const char *line)
{
    size_t lead = strspn(line, " ");
    size_t digits = strspn(line + lead, "0123456789");
    if ((line[lead] == '-' || line[lead] == '*') && line[lead + 1] == ' ')
        return lead + 2;
    if (digits > 0 && line[lead + digits] == '.' && line[lead + digits + 1] == ' ')
        return lead + digits + 2;
    return 0;
}

/* Splits "| a | b |" into trimmed cells; gives how many. */
static size_t split_cells(const char *line, size_t length, const char *cells[TABLE_COLUMNS],
                          size_t lengths[TABLE_COLUMNS])
{
    size_t count = 0;
    size_t at = 1;
    while (at < length && count < TABLE_COLUMNS) {
        size_t end = at;
        while (end < length && !(line[end] == '|' && line[end - 1] != '\\'))
            end++;
        size_t from = at;
        size_t to = end;
        while (from < to && line[from] == ' ')
            from++;
        while (to > from && line[to - 1] == ' ')
            to--;
        cells[count] = line + from;
        lengths[count++] = to - from;
        at = end + 1;
    }
    return count;
}

static bool is_rule(const char *line, size_t length)
{
    return strspn(line, "|-: ") >= length;
}

/* The first columns are padded; the last one is wrapped below itself. */
static void add_table_line(struct markdown *md, const char *line, size_t length,
                           const size_t widths[TABLE_COLUMNS])
{
    const char *cells[TABLE_COLUMNS];
    size_t lengths[TABLE_COLUMNS];
    size_t count = split_cells(line, length, cells, lengths);
    md->indent = 0;
    for (size_t i = 0; i < count; i++) {
        neap_buffer_add(&md->paragraph, cells[i], lengths[i]);
        if (i + 1 == count)
            break;
        for (size_t pad = shown_width(md, cells[i], lengths[i]); pad < widths[i] + 2; pad++)
            neap_buffer_add_char(&md->paragraph, ' ');
        md->indent += widths[i] + 2;
    }
    if (md->indent + 20 > md->width)
        md->indent = 4;
    end_paragraph(md);
}

static size_t line_length(const char *line)
{
    return strcspn(line, "\n");
}

/* All lines of the table at `text`; gives where it ends. */
static const char *add_table(struct markdown *md, const char *text)
{
    size_t widths[TABLE_COLUMNS] = {0};
    const char *end = text;
    for (; *end == '|'; end += line_length(end), end += *end == '\n') {
        const char *cells[TABLE_COLUMNS];
        size_t lengths[TABLE_COLUMNS];
        size_t count =
            is_rule(end, line_length(end)) ? 0 : split_cells(end, line_length(end), cells, lengths);
        for (size_t i = 0; i < count; i++) {
            size_t width = shown_width(md, cells[i], lengths[i]);
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    for (const char *line = text; line < end; line += line_length(line), line += *line == '\n')
        if (!is_rule(line, line_length(line)))
            add_table_line(md, line, line_length(line), widths);
    return end;
}

static void add_plain_line(struct markdown *md, const char *line, size_t length)
{
    size_t item = item_indent(line);
    if (item > 0 || md->paragraph.length == 0) {
        end_paragraph(md);
        md->indent = item;
        neap_buffer_add(&md->paragraph, line, length);
        return;
    }
    size_t lead = strspn(line, " ");
    neap_buffer_add_char(&md->paragraph, ' ');
    neap_buffer_add(&md->paragraph, line + lead, length - lead);
}

static void add_line(struct markdown *md, const char *line, size_t length)
{
    bool fence = strncmp(line, "```", 3) == 0;
    if (fence || md->fenced) {
        end_paragraph(md);
        md->fenced = md->fenced != fence;
        if (fence)
            return;
        add_indent(md, length > 0 ? 4 : 0);
        neap_buffer_add(&md->out, line, length);
        neap_buffer_add_char(&md->out, '\n');
        return;
    }
    if (length == 0 || line[0] == '#') {
        end_paragraph(md);
        if (length > 0)
            add_heading(md, line, length);
        else
            neap_buffer_add_char(&md->out, '\n');
        return;
    }
    if (strncmp(line, "    ", 4) == 0 && md->paragraph.length == 0) {
        neap_buffer_add(&md->out, line, length);
        neap_buffer_add_char(&md->out, '\n');
        return;
    }
    add_plain_line(md, line, length);
}

char *cli_markdown(const char *text, int width, bool colour)
{
    struct markdown md = {.colour = colour};
    if (width <= 0 && !colour)
        return neap_strdup(text);
    md.width = width > WIDTH_MAX || width <= 0 ? WIDTH_MAX : (size_t)width;
    while (*text != '\0') {
        size_t length = line_length(text);
        if (text[0] == '|' && !md.fenced) {
            end_paragraph(&md);
            text = add_table(&md, text);
            continue;
        }
        add_line(&md, text, length);
        text += length;
        text += *text == '\n';
    }
    end_paragraph(&md);
    return neap_buffer_take(&md.out);
}
