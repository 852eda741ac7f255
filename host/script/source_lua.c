/* SPDX-License-Identifier: MIT
 *
 * Lua tokens. Owns the lexical rules; knows nothing of grammar. What Lua itself
 * would refuse later (a bad escape, `1..2`) passes here as some token: only an
 * unfinished string or comment stops, because what follows it cannot be known.
 */
#include "host/script/source_lua.h"

#include <string.h>

static char peek(const struct source_lua_scan *scan, size_t ahead)
{
    return ahead < scan->length - scan->at ? scan->text[scan->at + ahead] : '\0';
}

static bool is_end(const struct source_lua_scan *scan)
{
    return scan->at >= scan->length;
}

static bool is_newline(char c)
{
    return c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\v' || c == '\f' || is_newline(c);
}

/* One byte, or one newline of one or two bytes. */
static void advance(struct source_lua_scan *scan)
{
    char c = peek(scan, 0);
    char next = peek(scan, 1);
    scan->at++;
    if (!is_newline(c))
        return;
    scan->line++;
    if (!is_end(scan) && is_newline(next) && next != c)
        scan->at++;
}

void source_lua_init(struct source_lua_scan *scan, const char *text, size_t length)
{
    *scan = (struct source_lua_scan){.text = text, .length = length, .line = 1};
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        scan->at = 3;
    if (peek(scan, 0) == '#')
        while (!is_end(scan) && !is_newline(peek(scan, 0)))
            scan->at++;
}

/* The length of a long bracket "[==[" that begins here, or 0. */
static size_t long_bracket(const struct source_lua_scan *scan)
{
    size_t n = 1;
    while (peek(scan, n) == '=')
        n++;
    return peek(scan, 0) == '[' && peek(scan, n) == '[' ? n + 1 : 0;
}

static bool is_closing(const struct source_lua_scan *scan, size_t bracket)
{
    for (size_t i = 1; i + 1 < bracket; i++)
        if (peek(scan, i) != '=')
            return false;
    return peek(scan, 0) == ']' && peek(scan, bracket - 1) == ']';
}

/* From its first '[' to behind its last ']'. */
static void long_text(struct source_lua_scan *scan, size_t bracket, const char *what)
{
    int line = scan->line;
    scan->at += bracket;
    while (!is_end(scan)) {
        char c = scan->text[scan->at];
        if (c != ']' && !is_newline(c)) {
            scan->at++;
            continue;
        }
        if (c == ']' && is_closing(scan, bracket)) {
            scan->at += bracket;
            return;
        }
        advance(scan);
    }
    scan->unfinished = what;
    scan->unfinished_line = line;
}

/* Behind the backslash. */
static void escape(struct source_lua_scan *scan)
{
    bool skips = peek(scan, 0) == 'z';
    if (!is_end(scan))
        advance(scan);
    while (skips && !is_end(scan) && is_space(peek(scan, 0)))
        advance(scan);
}

static void short_string(struct source_lua_scan *scan)
{
    char quote = peek(scan, 0);
    int line = scan->line;
    scan->at++;
    while (!is_end(scan) && !is_newline(peek(scan, 0))) {
        char c = peek(scan, 0);
        scan->at++;
        if (c == quote)
            return;
        if (c == '\\')
            escape(scan);
    }
    scan->unfinished = "string";
    scan->unfinished_line = line;
}

/* llex.c's read_numeral: digits, letters, dots, and a sign behind an exponent. */
static void number(struct source_lua_scan *scan)
{
    char x = peek(scan, 1);
    bool hex = peek(scan, 0) == '0' && (x == 'x' || x == 'X');
    scan->at += hex ? 2 : 1;
    for (;;) {
        char c = (char)(peek(scan, 0) | 0x20);
        char sign = peek(scan, 1);
        if (c == (hex ? 'p' : 'e') && (sign == '+' || sign == '-'))
            scan->at += 2;
        else if (is_name(peek(scan, 0)) || peek(scan, 0) == '.')
            scan->at++;
        else
            return;
    }
}

static void operator_of(struct source_lua_scan *scan)
{
    static const char *const many[] = {"...", "..", "==", "~=", "<=", ">=", "//", "::", "<<", ">>"};
    for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
        size_t length = strlen(many[i]);
        if (scan->length - scan->at >= length &&
            memcmp(scan->text + scan->at, many[i], length) == 0) {
            scan->at += length;
            return;
        }
    }
    scan->at++;
}

static void comment(struct source_lua_scan *scan)
{
    scan->at += 2;
    size_t bracket = long_bracket(scan);
    if (bracket > 0) {
        long_text(scan, bracket, "comment");
        return;
    }
    while (!is_end(scan) && !is_newline(peek(scan, 0)))
        scan->at++;
}

static void skip(struct source_lua_scan *scan)
{
    while (!is_end(scan) && scan->unfinished == NULL) {
        if (is_space(peek(scan, 0)))
            advance(scan);
        else if (peek(scan, 0) == '-' && peek(scan, 1) == '-')
            comment(scan);
        else
            return;
    }
}

static enum source_lua_kind token_of(struct source_lua_scan *scan)
{
    char c = peek(scan, 0);
    size_t bracket = c == '[' ? long_bracket(scan) : 0;
    if (c == '"' || c == '\'') {
        short_string(scan);
        return SOURCE_LUA_STRING;
    }
    if (bracket > 0) {
        long_text(scan, bracket, "string");
        return SOURCE_LUA_STRING;
    }
    if (is_digit(c) || (c == '.' && is_digit(peek(scan, 1)))) {
        number(scan);
        return SOURCE_LUA_NUMBER;
    }
    if (is_name(c)) {
        while (is_name(peek(scan, 0)))
            scan->at++;
        return SOURCE_LUA_NAME;
    }
    operator_of(scan);
    return SOURCE_LUA_OPERATOR;
}

bool source_lua_next(struct source_lua_scan *scan, struct source_lua_token *token)
{
    skip(scan);
    *token =
        (struct source_lua_token){.offset = scan->at, .line = scan->line, .line_end = scan->line};
    if (is_end(scan) || scan->unfinished != NULL)
        return false;
    token->kind = token_of(scan);
    token->length = scan->at - token->offset;
    token->line_end = scan->line;
    if (scan->unfinished != NULL)
        token->kind = SOURCE_LUA_END;
    return scan->unfinished == NULL;
}

bool source_lua_is(const char *text, const struct source_lua_token *token, const char *word)
{
    return text[token->offset] == word[0] && /* nearly all that is asked for ends here */
           (token->kind == SOURCE_LUA_NAME || token->kind == SOURCE_LUA_OPERATOR) &&
           strlen(word) == token->length && memcmp(text + token->offset, word, token->length) == 0;
}

bool source_lua_literal(const char *text, const struct source_lua_token *token, const char **inside,
                        size_t *length)
{
    if (token->kind != SOURCE_LUA_STRING)
        return false;
    const char *from = text + token->offset;
    size_t edge = 1;
    if (from[0] == '[') {
        while (from[edge] == '=')
            edge++;
        edge++;
    }
    *inside = from + edge;
    *length = token->length - 2 * edge;
    return from[0] == '[' || memchr(*inside, '\\', *length) == NULL;
}
