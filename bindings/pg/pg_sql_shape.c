/* SPDX-License-Identifier: MIT
 *
 * The shape of a simple statement. It copies what it does not understand, and gives
 * up where a literal could be more than one: the parser then looks at the whole text.
 */
#include "bindings/pg/pg_sql_shape.h"

#include <string.h>
#include <strings.h>

#define NUMBER '\1'
#define STRING '\2'
#define DIGITS_MAX 9 /* more may not be an int4, and is another token then */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_word(char c)
{
    return is_letter(c) || is_digit(c);
}

static bool begins_with(const char *sql, size_t length, const char *word)
{
    size_t size = strlen(word);
    return length >= size && strncasecmp(sql, word, size) == 0;
}

/* Of these no literal says what is done. */
static bool is_simple(const char *sql, size_t length)
{
    static const char *const words[] = {"insert ", "update ", "delete ", "select "};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (begins_with(sql, length, words[i]))
            return true;
    return false;
}

/* float(24) and float(25) are two types; current_time(3) keeps its 3. */
static bool reads_numbers(const char *sql, size_t length)
{
    return begins_with(sql, length, "float") || begins_with(sql, length, "current_") ||
           begins_with(sql, length, "localtime");
}

/* Past the string that begins here; 0: it is none of the plain ones. */
static size_t string_end(const char *sql, size_t length, size_t at)
{
    char before = at > 0 ? sql[at - 1] : ' ';
    if (is_word(before) || before == '&' || before == '\'')
        return 0; /* E'…', U&'…', or a quote that we lost count of */
    for (size_t i = at + 1; i < length; i++) {
        if (sql[i] == '\\')
            return 0;
        if (sql[i] != '\'')
            continue;
        if (i + 1 == length || sql[i + 1] != '\'')
            return i + 1;
        i++;
    }
    return 0;
}

/* How many digits stand here; *plain: they are an integer, and nothing else. */
static size_t digits(const char *sql, size_t length, size_t at, bool *plain)
{
    size_t end = at;
    while (end < length && is_digit(sql[end]))
        end++;
    char before = at > 0 ? sql[at - 1] : ' ', after = end < length ? sql[end] : ' ';
    *plain = end - at <= DIGITS_MAX && !is_word(before) && before != '.' && !is_word(after) &&
             after != '.';
    return end - at;
}

/* A byte that stands for itself, with the one behind it. */
static bool is_plain(const char *sql, size_t length, size_t at)
{
    char c = sql[at], next = at + 1 < length ? sql[at + 1] : ' ';
    if ((c == '-' && next == '-') || (c == '/' && next == '*'))
        return false;
    if (c == '\t' || c == '\n' || c == '\r')
        return true;
    return c >= ' ' && c < 0x7f && strchr("\\$\";", c) == NULL;
}

size_t pg_sql_shape(const char *sql, size_t length, char *out)
{
    size_t size = 0;
    if (!is_simple(sql, length))
        return 0;
    for (size_t i = 0; i < length;) {
        bool plain = false;
        size_t count = 1;
        char c = sql[i];
        if (c == '\'') {
            size_t end = string_end(sql, length, i);
            if (end == 0)
                return 0;
            out[size++] = STRING;
            i = end;
            continue;
        }
        if (is_digit(c))
            count = digits(sql, length, i, &plain);
        else if (!is_plain(sql, length, i) ||
                 (is_letter(c) && !is_word(sql[i - (i > 0)]) && reads_numbers(sql + i, length - i)))
            return 0;
        if (plain)
            out[size++] = NUMBER;
        for (size_t k = 0; !plain && k < count; k++)
            out[size++] = sql[i + k];
        i += count;
    }
    return size;
}
