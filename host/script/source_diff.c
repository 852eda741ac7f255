/* SPDX-License-Identifier: MIT
 *
 * A unified diff between the applied script and the one in the project, for
 * people. The shortest edit by Myers' greedy algorithm on lines, between the
 * common beginning and end; texts that differ too much to be worth it are shown
 * as removed and added whole.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/memory.h"
#include "host/script/source.h"

#define CONTEXT 3
#define EDIT_MAX 1500 /* edits; the trace takes EDIT_MAX² ints, 9 MB */

struct diff_line {
    const char *text;
    size_t length;
};

struct diff_side {
    struct diff_line *lines;
    size_t count;
    bool *changed; /* removed (applied side) or added (now) */
};

struct diff {
    struct diff_side a, b;
};

static void side_read(struct diff_side *side, const char *text, size_t length)
{
    const char *end = text + length;
    size_t room = 0;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t size = (size_t)((newline == NULL ? end : newline) - text);
        if (side->count == room) {
            room = room == 0 ? 64 : room * 2;
            side->lines = neap_realloc(side->lines, room * sizeof *side->lines);
        }
        side->lines[side->count++] = (struct diff_line){text, size};
        text += size + 1;
    }
    side->changed = neap_alloc(side->count + 1);
}

static bool same(const struct diff *diff, size_t a, size_t b)
{
    const struct diff_line *left = &diff->a.lines[a];
    const struct diff_line *right = &diff->b.lines[b];
    return left->length == right->length && memcmp(left->text, right->text, left->length) == 0;
}

/* What lies between the common beginning and end. */
struct diff_range {
    size_t from, a_to, b_to;
};

static struct diff_range trim(const struct diff *diff)
{
    struct diff_range range = {0, diff->a.count, diff->b.count};
    while (range.from < range.a_to && range.from < range.b_to && same(diff, range.from, range.from))
        range.from++;
    while (range.a_to > range.from && range.b_to > range.from &&
           same(diff, range.a_to - 1, range.b_to - 1)) {
        range.a_to--;
        range.b_to--;
    }
    return range;
}

/* The furthest x on diagonal k after d edits, from the row of d - 1 edits. A row
 * of d edits is d + 1 values, for k = -d, -d + 2, …, d. */
static long step_x(const int *before, long d, long k)
{
    long at = (k + d) / 2; /* index of k in row d; before[at] is k + 1, [at - 1] is k - 1 */
    if (d == 0)
        return 0;
    if (k == -d || (k != d && before[at - 1] < before[at]))
        return before[at];
    return before[at - 1] + 1;
}

static bool took_down(const int *before, long d, long k)
{
    long at = (k + d) / 2;
    return k == -d || (k != d && before[at - 1] < before[at]);
}

/* Marks the edits on the way back from the end. */
static void backtrack(struct diff *diff, const struct diff_range *range, int **rows, long d)
{
    long x = (long)(range->a_to - range->from);
    long y = (long)(range->b_to - range->from);
    for (; d > 0; d--) {
        long k = x - y;
        bool down = took_down(rows[d - 1], d, k);
        long start = step_x(rows[d - 1], d, k);
        if (down)
            diff->b.changed[range->from + (size_t)(start - k) - 1] = true;
        else
            diff->a.changed[range->from + (size_t)start - 1] = true;
        x = down ? start : start - 1;
        y = down ? start - k - 1 : start - k;
    }
}

/* Row d of the greedy search; true when it reached the end. */
static bool search_row(const struct diff *diff, const struct diff_range *range, int **rows, long d)
{
    long a_count = (long)(range->a_to - range->from);
    long b_count = (long)(range->b_to - range->from);
    rows[d] = neap_alloc(((size_t)d + 1) * sizeof **rows);
    for (long k = -d; k <= d; k += 2) {
        long x = step_x(d > 0 ? rows[d - 1] : NULL, d, k);
        long y = x - k;
        while (x < a_count && y >= 0 && y < b_count &&
               same(diff, range->from + (size_t)x, range->from + (size_t)y)) {
            x++;
            y++;
        }
        rows[d][(k + d) / 2] = (int)x;
        if (x >= a_count && y >= b_count && x - y == a_count - b_count)
            return x == a_count && y == b_count;
    }
    return false;
}

static void mark_all(struct diff *diff, const struct diff_range *range)
{
    for (size_t i = range->from; i < range->a_to; i++)
        diff->a.changed[i] = true;
    for (size_t i = range->from; i < range->b_to; i++)
        diff->b.changed[i] = true;
}

static void compare(struct diff *diff)
{
    struct diff_range range = trim(diff);
    int **rows = neap_alloc((EDIT_MAX + 1) * sizeof *rows);
    long d = 0;
    bool found = false;
    while (!found && d <= EDIT_MAX)
        found = search_row(diff, &range, rows, d++);
    if (found)
        backtrack(diff, &range, rows, d - 1);
    else
        mark_all(diff, &range);
    while (d-- > 0)
        free(rows[d]);
    free(rows);
}

static void add_line(struct neap_buffer *out, char mark, const struct diff_line *line)
{
    neap_buffer_add_char(out, mark);
    neap_buffer_add(out, line->text, line->length);
    neap_buffer_add_char(out, '\n');
}

/* Where one hunk begins and ends on both sides. */
struct hunk {
    size_t a, b, a_to, b_to;
};

static bool is_changed(const struct diff_side *side, size_t at)
{
    return at < side->count && side->changed[at];
}

/* Moves both places over unchanged lines to the next change; false at the end. */
static bool change_next(const struct diff *diff, size_t *a, size_t *b)
{
    while (!is_changed(&diff->a, *a) && !is_changed(&diff->b, *b)) {
        if (*a >= diff->a.count || *b >= diff->b.count)
            return false;
        ++*a;
        ++*b;
    }
    return true;
}

static void change_pass(const struct diff *diff, size_t *a, size_t *b)
{
    while (is_changed(&diff->a, *a))
        ++*a;
    while (is_changed(&diff->b, *b))
        ++*b;
}

/* The hunk of the change at (a, b): changes closer than two contexts are one. */
static struct hunk hunk_of(const struct diff *diff, size_t a, size_t b)
{
    size_t before = a < CONTEXT ? a : CONTEXT;
    before = before < b ? before : b;
    struct hunk hunk = {.a = a - before, .b = b - before};
    for (;;) {
        change_pass(diff, &a, &b);
        size_t next_a = a, next_b = b;
        if (!change_next(diff, &next_a, &next_b) || next_a - a > (size_t)2 * CONTEXT)
            break;
        a = next_a;
        b = next_b;
    }
    size_t left = diff->a.count - a < diff->b.count - b ? diff->a.count - a : diff->b.count - b;
    size_t after = left < CONTEXT ? left : CONTEXT;
    hunk.a_to = a + after;
    hunk.b_to = b + after;
    return hunk;
}

static void add_hunk(struct neap_buffer *out, const struct diff *diff, const struct hunk *hunk)
{
    size_t a_count = hunk->a_to - hunk->a, b_count = hunk->b_to - hunk->b;
    neap_buffer_add_format(out, "@@ -%zu,%zu +%zu,%zu @@\n", hunk->a + (a_count > 0 ? 1 : 0),
                           a_count, hunk->b + (b_count > 0 ? 1 : 0), b_count);
    size_t a = hunk->a, b = hunk->b;
    while (a < hunk->a_to || b < hunk->b_to) {
        if (is_changed(&diff->a, a) && a < hunk->a_to)
            add_line(out, '-', &diff->a.lines[a++]);
        else if (is_changed(&diff->b, b) && b < hunk->b_to)
            add_line(out, '+', &diff->b.lines[b++]);
        else {
            add_line(out, ' ', &diff->a.lines[a++]);
            b++;
        }
    }
}

static void add_diff(struct neap_buffer *out, const struct diff *diff)
{
    size_t a = 0, b = 0;
    while (change_next(diff, &a, &b)) {
        struct hunk hunk = hunk_of(diff, a, b);
        add_hunk(out, diff, &hunk);
        a = hunk.a_to;
        b = hunk.b_to;
    }
}

/* Either may be NULL: the file is not there. */
static void diff_file(struct neap_buffer *out, const struct neap_source_file *applied,
                      const struct neap_source_file *now)
{
    struct diff diff = {0};
    bool both = applied != NULL && now != NULL;
    if (both && applied->length == now->length &&
        memcmp(applied->text, now->text, now->length) == 0)
        return;
    if (applied != NULL)
        side_read(&diff.a, applied->text, applied->length);
    if (now != NULL)
        side_read(&diff.b, now->text, now->length);
    neap_buffer_add_format(out, "--- applied/%s\n", applied != NULL ? applied->path : "(none)");
    neap_buffer_add_format(out, "+++ now/%s\n", now != NULL ? now->path : "(none)");
    if (diff.a.changed == NULL)
        diff.a.changed = neap_alloc(1);
    if (diff.b.changed == NULL)
        diff.b.changed = neap_alloc(1);
    compare(&diff);
    add_diff(out, &diff);
    free(diff.a.lines);
    free(diff.a.changed);
    free(diff.b.lines);
    free(diff.b.changed);
}

/* The file of the same module; the script itself has none. */
static const struct neap_source_file *twin(const struct neap_source *source, const char *module)
{
    for (size_t i = 0; i < source->file_count; i++) {
        const char *other = source->files[i].module;
        if (module == NULL ? other == NULL : other != NULL && strcmp(other, module) == 0)
            return &source->files[i];
    }
    return NULL;
}

char *neap_source_diff(const struct neap_source *applied, const struct neap_source *now)
{
    struct neap_buffer out = {0};
    for (size_t i = 0; i < applied->file_count; i++)
        diff_file(&out, &applied->files[i], twin(now, applied->files[i].module));
    for (size_t i = 0; i < now->file_count; i++)
        if (twin(applied, now->files[i].module) == NULL)
            diff_file(&out, NULL, &now->files[i]);
    return neap_buffer_take(&out);
}
