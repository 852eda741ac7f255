/* SPDX-License-Identifier: MIT
 *
 * SQL tokens. Owns the lexical rules and nothing else; it does not know what a
 * statement is. Surprising: a string goes on after its closing quote when only
 * spaces with a newline and another quote follow, in the same quoting mode, so
 * that E'a'<newline>'\'' is one token.
 */
#include "bindings/pg/pg_sql_scan.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word_first(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}

static bool is_word(char c)
{
    return is_word_first(c) || is_digit(c) || c == '$';
}

static bool is_operator(char c)
{
    return c != '\0' && strchr("~!@#^&|`?+-*/%<>=", c) != NULL;
}

/* The byte `ahead` of the scan's place, or NUL past the end. */
static char peek(const struct pg_sql_scan *scan, size_t ahead)
{
    return ahead < scan->length - scan->at ? scan->text[scan->at + ahead] : '\0';
}

void pg_sql_scan_init(struct pg_sql_scan *scan, const char *text, size_t length)
{
    *scan = (struct pg_sql_scan){.text = text, .length = length, .line = 1, .line_first = true};
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        scan->at = 3;
}

/* Moves on by `count` bytes, counting lines. */
static void advance(struct pg_sql_scan *scan, size_t count)
{
    size_t end = scan->at + count;
    if (end > scan->length)
        end = scan->length;
    const char *from = scan->text + scan->at;
    const char *stop = scan->text + end;
    while (from < stop && (from = memchr(from, '\n', (size_t)(stop - from))) != NULL) {
        scan->line++;
        from++;
    }
    scan->at = end;
}

static void skip_space(struct pg_sql_scan *scan)
{
    while (scan->at < scan->length && is_space(scan->text[scan->at])) {
        if (scan->text[scan->at] == '\n') {
            scan->line++;
            scan->line_first = true;
        }
        scan->at++;
    }
}

static void line_rest(struct pg_sql_scan *scan)
{
    while (scan->at < scan->length && scan->text[scan->at] != '\n' && scan->text[scan->at] != '\r')
        scan->at++;
}

/* False: unfinished. */
static bool block_comment(struct pg_sql_scan *scan)
{
    int depth = 0;
    while (scan->at < scan->length) {
        if (peek(scan, 0) == '/' && peek(scan, 1) == '*') {
            depth++;
            advance(scan, 2);
        } else if (peek(scan, 0) == '*' && peek(scan, 1) == '/') {
            depth--;
            advance(scan, 2);
        } else {
            advance(scan, 1);
        }
        if (depth == 0)
            return true;
    }
    return false;
}

/* Behind a closing quote: true, and at the next opening one, when the string is
 * continued on a later line (line comments may stand between). */
static bool string_continues(struct pg_sql_scan *scan)
{
    size_t at = scan->at;
    bool newline = false;
    for (; at < scan->length; at++) {
        char c = scan->text[at];
        if (c == '\n' || c == '\r') {
            newline = true;
        } else if (newline && c == '-' && at + 1 < scan->length && scan->text[at + 1] == '-') {
            while (at + 1 < scan->length && scan->text[at + 1] != '\n')
                at++;
        } else if (!is_space(c)) {
            break;
        }
    }
    if (!newline || at >= scan->length || scan->text[at] != '\'')
        return false;
    advance(scan, at - scan->at);
    return true;
}

/* From the opening quote to behind the closing one. False: unfinished. */
static bool quoted(struct pg_sql_scan *scan, char quote, bool escapes)
{
    advance(scan, 1);
    while (scan->at < scan->length) {
        char c = peek(scan, 0);
        if (c == quote && peek(scan, 1) == quote && scan->at + 1 < scan->length) {
            advance(scan, 2);
        } else if (c == quote) {
            advance(scan, 1);
            return true;
        } else {
            advance(scan, escapes && c == '\\' ? 2 : 1);
        }
    }
    return false;
}

static bool string(struct pg_sql_scan *scan, bool escapes)
{
    do {
        if (!quoted(scan, '\'', escapes))
            return false;
    } while (string_continues(scan));
    return true;
}

/* The length of a $tag$ that begins here, or 0. */
static size_t dollar_tag(const struct pg_sql_scan *scan)
{
    size_t n = 1;
    if (is_word_first(peek(scan, 1)))
        while (is_word(peek(scan, n)) && peek(scan, n) != '$')
            n++;
    return peek(scan, n) == '$' ? n + 1 : 0;
}

static bool dollar_string(struct pg_sql_scan *scan, size_t tag)
{
    const char *open = scan->text + scan->at;
    size_t left = scan->length - scan->at - tag;
    const char *end = memmem(open + tag, left, open, tag);
    advance(scan, end == NULL ? scan->length - scan->at : (size_t)(end - open) + tag);
    return end != NULL;
}

static void number(struct pg_sql_scan *scan)
{
    while (is_digit(peek(scan, 0)))
        scan->at++;
    if (peek(scan, 0) == '.' && peek(scan, 1) != '.')
        scan->at++;
    while (is_word(peek(scan, 0)) && peek(scan, 0) != '$') {
        char c = peek(scan, 0);
        scan->at++;
        bool sign = peek(scan, 0) == '+' || peek(scan, 0) == '-';
        if ((c == 'e' || c == 'E') && sign && is_digit(peek(scan, 1)))
            scan->at++;
    }
}

/* scan.l: an operator ends before a comment, and a trailing + or - belongs to
 * it only when it holds a character that no SQL operator has. */
static void operator_run(struct pg_sql_scan *scan)
{
    size_t n = 0;
    bool own = false;
    while (is_operator(peek(scan, n))) {
        char c = peek(scan, n);
        char next = peek(scan, n + 1);
        if (n > 0 && ((c == '-' && next == '-') || (c == '/' && next == '*')))
            break;
        own = own || strchr("~!@#^&|`?%", c) != NULL;
        n++;
    }
    while (!own && n > 1 && (peek(scan, n - 1) == '+' || peek(scan, n - 1) == '-'))
        n--;
    scan->at += n;
}

/* A word, or the prefix of a string: E'' B'' X'' N'' U&'' U&"". */
static enum pg_sql_token_kind word(struct pg_sql_scan *scan, bool *finished)
{
    char first = (char)(peek(scan, 0) | 0x20);
    if (peek(scan, 1) == '\'' && strchr("ebxn", first) != NULL) {
        scan->at++;
        *finished = string(scan, first == 'e');
        return PG_SQL_TOKEN_STRING;
    }
    if (first == 'u' && peek(scan, 1) == '&' && (peek(scan, 2) == '\'' || peek(scan, 2) == '"')) {
        scan->at += 2;
        bool name = peek(scan, 0) == '"';
        *finished = name ? quoted(scan, '"', false) : string(scan, false);
        return name ? PG_SQL_TOKEN_QUOTED : PG_SQL_TOKEN_STRING;
    }
    while (is_word(peek(scan, 0)))
        scan->at++;
    return PG_SQL_TOKEN_WORD;
}

static enum pg_sql_token_kind dollar(struct pg_sql_scan *scan, bool *finished)
{
    if (is_digit(peek(scan, 1))) {
        scan->at++;
        while (is_digit(peek(scan, 0)))
            scan->at++;
        return PG_SQL_TOKEN_PARAM;
    }
    size_t tag = dollar_tag(scan);
    if (tag == 0) {
        scan->at++;
        return PG_SQL_TOKEN_PUNCTUATION;
    }
    *finished = dollar_string(scan, tag);
    return PG_SQL_TOKEN_STRING;
}

static enum pg_sql_token_kind punctuation(struct pg_sql_scan *scan)
{
    static const char *const pairs[] = {"::", ":=", ".."};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (peek(scan, 0) == pairs[i][0] && peek(scan, 1) == pairs[i][1]) {
            scan->at += 2;
            return PG_SQL_TOKEN_OPERATOR;
        }
    }
    scan->at++;
    return PG_SQL_TOKEN_PUNCTUATION;
}

/* One token; the scan stands on its first byte. */
static enum pg_sql_token_kind token_of(struct pg_sql_scan *scan, bool *finished)
{
    char c = peek(scan, 0);
    char next = peek(scan, 1);
    if (c == '-' && next == '-') {
        line_rest(scan);
        return PG_SQL_TOKEN_COMMENT_LINE;
    }
    if (c == '/' && next == '*') {
        *finished = block_comment(scan);
        return PG_SQL_TOKEN_COMMENT_BLOCK;
    }
    if (c == '\\') {
        line_rest(scan);
        return PG_SQL_TOKEN_META;
    }
    if (c == '\'') {
        *finished = string(scan, false);
        return PG_SQL_TOKEN_STRING;
    }
    if (c == '"') {
        *finished = quoted(scan, '"', false);
        return PG_SQL_TOKEN_QUOTED;
    }
    if (is_word_first(c))
        return word(scan, finished);
    if (c == '$')
        return dollar(scan, finished);
    if (is_digit(c) || (c == '.' && is_digit(next))) {
        number(scan);
        return PG_SQL_TOKEN_NUMBER;
    }
    if (is_operator(c)) {
        operator_run(scan);
        return PG_SQL_TOKEN_OPERATOR;
    }
    return punctuation(scan);
}

bool pg_sql_scan_next(struct pg_sql_scan *scan, struct pg_sql_token *token)
{
    skip_space(scan);
    *token = (struct pg_sql_token){
        .offset = scan->at, .line = scan->line, .line_first = scan->line_first};
    if (scan->at >= scan->length)
        return false;
    bool finished = true;
    token->kind = token_of(scan, &finished);
    token->length = scan->at - token->offset;
    token->unfinished = !finished;
    scan->line_first = false;
    return true;
}

bool pg_sql_scan_next_code(struct pg_sql_scan *scan, struct pg_sql_token *token)
{
    while (pg_sql_scan_next(scan, token))
        if (token->kind != PG_SQL_TOKEN_COMMENT_LINE && token->kind != PG_SQL_TOKEN_COMMENT_BLOCK)
            return true;
    return false;
}

bool pg_sql_token_is(const char *text, const struct pg_sql_token *token, const char *word)
{
    return token->kind == PG_SQL_TOKEN_WORD && strlen(word) == token->length &&
           strncasecmp(text + token->offset, word, token->length) == 0;
}

bool pg_sql_token_is_char(const char *text, const struct pg_sql_token *token, char c)
{
    return token->kind == PG_SQL_TOKEN_PUNCTUATION && text[token->offset] == c;
}

/* The ASCII byte of "\XXXX" or "\+XXXXXX" at `at`, or 0. */
static char unicode_escape(const char *at, const char *end, size_t *length)
{
    bool six = at + 1 < end && at[1] == '+';
    size_t digits = six ? 6 : 4;
    size_t skip = six ? 2 : 1;
    char hex[8] = "";
    if ((size_t)(end - at) < skip + digits)
        return 0;
    memcpy(hex, at + skip, digits);
    char *stop;
    unsigned long value = strtoul(hex, &stop, 16);
    if (*stop != '\0' || value == 0 || value > 127)
        return 0;
    *length = skip + digits;
    return (char)value;
}

/* Ends a name of `n` bytes; what a cut left of a character goes too. */
static void end_name(char *name, size_t n)
{
    size_t lead = n;
    while (lead > 0 && ((unsigned char)name[lead - 1] & 0xC0) == 0x80)
        lead--;
    unsigned char first = lead > 0 ? (unsigned char)name[lead - 1] : 0;
    size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
    if (length > n - lead + 1)
        n = lead - 1;
    name[n] = '\0';
}

/* Copies the inside of a quoted identifier. */
static void quoted_name(const char *at, const char *end, char *name, size_t size)
{
    bool unicode = *at != '"';
    size_t n = 0;
    at += unicode ? 3 : 1;
    while (at < end && n + 1 < size) {
        size_t step = 1;
        char c = *at;
        if (c == '"') {
            step = 2;
        } else if (unicode && c == '\\') {
            char decoded = unicode_escape(at, end, &step);
            c = decoded != 0 ? decoded : c;
        }
        name[n++] = c;
        at += step;
    }
    end_name(name, n);
}

void pg_sql_token_name(const char *text, const struct pg_sql_token *token, char *name, size_t size)
{
    const char *at = text + token->offset;
    size_t n = 0;
    name[0] = '\0';
    if (token->kind == PG_SQL_TOKEN_QUOTED && !token->unfinished) {
        quoted_name(at, at + token->length - 1, name, size);
        return;
    }
    if (token->kind != PG_SQL_TOKEN_WORD)
        return;
    for (; n < token->length && n + 1 < size; n++)
        name[n] = at[n] >= 'A' && at[n] <= 'Z' ? (char)(at[n] | 0x20) : at[n];
    end_name(name, n);
}
