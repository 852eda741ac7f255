/* SPDX-License-Identifier: MIT
 *
 * Tables that fit the terminal. Widths are columns on the screen, not bytes;
 * when a row is too wide the widest column gives way first, one column at a
 * time, so that narrow ones (ids, states) stay whole.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/text.h"
#include "host/cli/cli.h"

#define COLUMN_MAX 16
#define COLUMN_MIN 8 /* a column that was cut keeps at least this much */
#define GAP 2

struct table_row {
    enum cli_colour colour;
    char *cells[COLUMN_MAX];
};

struct cli_table {
    size_t column_count;
    struct table_row *rows; /* [0] is the headings */
    size_t row_count, row_capacity;
};

/* `above`: what the cell above shows, or NULL; the same text is as fit to be shown. */
static char *clean_cell(const char *text, const char *above)
{
    if (text == NULL || text[0] == '\0')
        return neap_strdup("");
    if (above != NULL && strcmp(text, above) == 0)
        return neap_strdup(text);
    char *redacted = neap_redact(text);
    char *shown = neap_printable(redacted, false);
    free(redacted);
    return shown;
}

void cli_table_row(struct cli_table *table, enum cli_colour colour, const char *const *cells)
{
    if (table->row_count == table->row_capacity) {
        table->row_capacity = table->row_capacity ? table->row_capacity * 2 : 16;
        table->rows = neap_realloc(table->rows, table->row_capacity * sizeof *table->rows);
    }
    struct table_row *row = &table->rows[table->row_count++];
    *row = (struct table_row){.colour = colour};
    for (size_t i = 0; i < table->column_count; i++)
        row->cells[i] = clean_cell(cells[i], table->row_count > 1 ? row[-1].cells[i] : NULL);
}

struct cli_table *cli_table_new(const char *const *headings)
{
    struct cli_table *table = neap_alloc(sizeof *table);
    while (table->column_count < COLUMN_MAX && headings[table->column_count])
        table->column_count++;
    cli_table_row(table, CLI_BOLD, headings);
    return table;
}

static size_t measure(const struct cli_table *table, size_t widths[COLUMN_MAX])
{
    size_t total = 0;
    for (size_t column = 0; column < table->column_count; column++) {
        widths[column] = 0;
        for (size_t row = 0; row < table->row_count; row++) {
            size_t width = neap_text_width(table->rows[row].cells[column]);
            if (width > widths[column])
                widths[column] = width;
        }
        total += widths[column] + (column > 0 ? GAP : 0);
    }
    return total;
}

static void fit(const struct cli_table *table, size_t widths[COLUMN_MAX], size_t limit)
{
    size_t total = measure(table, widths);
    while (limit > 0 && total > limit) {
        size_t widest = 0;
        for (size_t column = 1; column < table->column_count; column++)
            if (widths[column] > widths[widest])
                widest = column;
        if (widths[widest] <= COLUMN_MIN)
            return; /* narrower than this says nothing: let the terminal wrap */
        widths[widest]--;
        total--;
    }
}

static size_t character_length(const char *text)
{
    size_t length = 1;
    while (((unsigned char)text[length] & 0xC0) == 0x80)
        length++;
    return length;
}

/* Adds as much of `text` as `width` columns hold, "…" when it is cut; gives the
 * columns used. */
static size_t add_cut(struct neap_buffer *line, const char *text, size_t width)
{
    size_t whole = neap_text_width(text);
    size_t used = 0;
    if (whole <= width) {
        neap_buffer_add_text(line, text);
        return whole;
    }
    while (*text != '\0') {
        char one[8] = {0};
        size_t length = character_length(text);
        if (length >= sizeof one)
            break;
        memcpy(one, text, length);
        size_t columns = neap_text_width(one);
        if (used + columns + 1 > width)
            break;
        neap_buffer_add(line, text, length);
        used += columns;
        text += length;
    }
    neap_buffer_add_text(line, "…");
    return used + 1;
}

static void add_blanks(struct neap_buffer *line, size_t count)
{
    static const char blanks[] = "                                ";
    for (; count >= sizeof blanks; count -= sizeof blanks - 1)
        neap_buffer_add(line, blanks, sizeof blanks - 1);
    neap_buffer_add(line, blanks, count);
}

static void add_row(const struct neap_cli *cli, const struct cli_table *table,
                    const struct table_row *row, const size_t widths[COLUMN_MAX],
                    struct neap_buffer *text)
{
    struct neap_buffer line = {0};
    for (size_t column = 0; column < table->column_count; column++) {
        size_t used = add_cut(&line, row->cells[column], widths[column]);
        if (column + 1 == table->column_count)
            break;
        add_blanks(&line, widths[column] + GAP - used);
    }
    const char *bytes = neap_buffer_text(&line);
    size_t length = line.length;
    while (length > 0 && bytes[length - 1] == ' ')
        length--;
    if (row->colour != CLI_PLAIN)
        neap_buffer_add_text(text, cli_colour(cli, row->colour));
    neap_buffer_add(text, bytes, length);
    if (row->colour != CLI_PLAIN)
        neap_buffer_add_text(text, cli_colour(cli, CLI_PLAIN));
    neap_buffer_add_char(text, '\n');
    neap_buffer_clear(&line);
}

static void free_table(struct cli_table *table)
{
    for (size_t row = 0; row < table->row_count; row++)
        for (size_t column = 0; column < table->column_count; column++)
            free(table->rows[row].cells[column]);
    free(table->rows);
    free(table);
}

void cli_table_print(struct neap_cli *cli, struct cli_table *table)
{
    size_t widths[COLUMN_MAX] = {0};
    struct neap_buffer text = {0};
    fit(table, widths, cli->terminal ? (size_t)cli->width : 0);
    for (size_t row = 0; row < table->row_count; row++)
        add_row(cli, table, &table->rows[row], widths, &text);
    cli_print_raw(cli, neap_buffer_text(&text));
    neap_buffer_clear(&text);
    free_table(table);
}
