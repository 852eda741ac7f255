/* SPDX-License-Identifier: MIT
 *
 * Words and characters. Width tables are our own short list of ranges, not
 * wcwidth: that depends on the locale, and in LANG=C every accent has no width.
 */
#include "host/base/text.h"

#include <stdint.h>
#include <string.h>

#define WORD_MAX 64 /* longer words are not slips of the finger */

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Edit distance with transpositions (optimal string alignment), ignoring case.
 * Both lengths are at most WORD_MAX. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[3][WORD_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];

    for (size_t j = 0; j <= b_length; j++)
        last[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *spare = before;

        now[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t cost = lower(a[i - 1]) != lower(b[j - 1]);

            now[j] = least(last[j] + 1, now[j - 1] + 1, last[j - 1] + cost);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]) && before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        before = last;
        last = now;
        now = spare;
    }
    return last[b_length];
}

const char *neap_text_nearest(const char *word, const char *const *words)
{
    size_t length = strlen(word);
    const char *nearest = NULL;
    size_t limit = length <= 2 ? 1 : length <= 5 ? 2 : 3;
    size_t best = limit + 1;

    if (length == 0 || length > WORD_MAX)
        return NULL;
    for (; *words; words++) {
        size_t other = strlen(*words);
        size_t steps = 0;

        if (other > WORD_MAX)
            continue;
        steps = distance(word, length, *words, other);
        /* A word whose every letter would change was not meant. */
        if (steps < best && steps < length && steps < other) {
            best = steps;
            nearest = *words;
        }
    }
    return nearest;
}

size_t neap_text_decode(const char *bytes, size_t length, uint32_t *out)
{
    const unsigned char *b = (const unsigned char *)bytes;
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t code = 0;
    size_t size = 0;

    if (length == 0)
        return 0;
    size = b[0] < 0x80 ? 1 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
    if ((b[0] >= 0x80 && b[0] < 0xc2) || b[0] > 0xf4 || size > length)
        return 0;
    code = size == 1 ? b[0] : b[0] & (0x7fU >> size);
    for (size_t i = 1; i < size; i++) {
        if ((b[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (b[i] & 0x3f);
    }
    if (code < smallest[size] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return 0;
    *out = code;
    return size;
}

bool neap_text_is_utf8(const char *bytes, size_t length)
{
    uint32_t code = 0;

    while (length) {
        size_t size = neap_text_decode(bytes, length, &code);

        if (size == 0)
            return false;
        bytes += size;
        length -= size;
    }
    return true;
}

struct range {
    uint32_t first, last;
};

static bool is_within(uint32_t code, const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    return false;
}

size_t neap_text_code_width(uint32_t code)
{
    static const struct range none[] = {
        {0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x0610, 0x061a},   {0x064b, 0x065f},
        {0x06d6, 0x06dc}, {0x0900, 0x0902}, {0x093c, 0x093c}, {0x0941, 0x0948},   {0x094d, 0x094d},
        {0x0e31, 0x0e31}, {0x0e34, 0x0e3a}, {0x0e47, 0x0e4e}, {0x1ab0, 0x1aff},   {0x1dc0, 0x1dff},
        {0x200b, 0x200f}, {0x202a, 0x202e}, {0x2060, 0x2064}, {0x2066, 0x206f},   {0x20d0, 0x20ff},
        {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}, {0xe0100, 0xe01ef},
    };
    static const struct range wide[] = {
        {0x1100, 0x115f},   {0x231a, 0x231b},   {0x2329, 0x232a},   {0x23e9, 0x23ec},
        {0x25fd, 0x25fe},   {0x2614, 0x2615},   {0x2648, 0x2653},   {0x26a1, 0x26a1},
        {0x2705, 0x2705},   {0x270a, 0x270b},   {0x2728, 0x2728},   {0x274c, 0x274c},
        {0x2753, 0x2755},   {0x2757, 0x2757},   {0x2e80, 0x303e},   {0x3041, 0x33ff},
        {0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xa000, 0xa4cf},   {0xa960, 0xa97f},
        {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},
        {0xffe0, 0xffe6},   {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff},
        {0x1fa70, 0x1faff}, {0x20000, 0x3fffd},
    };

    if (code < 0x300)
        return code >= 0x20 && code != 0x7f;
    if (is_within(code, none, sizeof none / sizeof *none))
        return 0;
    return is_within(code, wide, sizeof wide / sizeof *wide) ? 2 : 1;
}

size_t neap_text_plain(const char *text)
{
    size_t length = 0;

    while (text[length] >= 0x20 && text[length] < 0x7f)
        length++;
    return length;
}

size_t neap_text_width(const char *text)
{
    size_t width = neap_text_plain(text);
    size_t length = strlen(text += width);

    while (length) {
        uint32_t code = 0xfffd; /* an invalid byte takes one column */
        size_t size = neap_text_decode(text, length, &code);

        width += neap_text_code_width(code);
        text += size ? size : 1;
        length -= size ? size : 1;
    }
    return width;
}
