/* SPDX-License-Identifier: MIT
 *
 * Where nobody looks at what db:exec returns, by tokens alone. Owns one rule: a
 * call NAME{.NAME}:exec ARGS is unlooked when the token before it ends a
 * statement or opens a block, no bracket but a block is open around it, and the
 * token behind it begins a statement. Whatever else mentions `exec` counts as
 * looked at: a mistake to that side costs a round trip, one to the other side
 * would give a script a wrong count of rows.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/script/source_lua.h"
#include "host/script/source_parts.h"

struct exec_look {
    const char *text;
    struct source_lua_token *tokens;
    size_t count;
    char *open; /* stack: '(' or '{' or '[' for brackets, 'b' for blocks */
    size_t depth;
    uint8_t *unlooked; /* one bit a line */
    uint8_t *looked;
    int line_max;
    bool give_up; /* `exec` is reached in a way lines cannot tell apart */
};

static bool is(const struct exec_look *look, size_t at, const char *word)
{
    return at < look->count && source_lua_is(look->text, &look->tokens[at], word);
}

static bool is_any(const struct exec_look *look, size_t at, const char *const *words)
{
    for (; *words != NULL; words++)
        if (is(look, at, *words))
            return true;
    return false;
}

static enum source_lua_kind kind(const struct exec_look *look, size_t at)
{
    return at < look->count ? look->tokens[at].kind : SOURCE_LUA_END;
}

static bool is_keyword(const struct exec_look *look, size_t at)
{
    static const char *const words[] = {"and",   "break", "do",       "else",  "elseif", "end",
                                        "false", "for",   "function", "goto",  "if",     "in",
                                        "local", "nil",   "not",      "or",    "repeat", "return",
                                        "then",  "true",  "until",    "while", NULL};
    return is_any(look, at, words);
}

static bool is_plain_name(const struct exec_look *look, size_t at)
{
    return kind(look, at) == SOURCE_LUA_NAME && !is_keyword(look, at);
}

/* A NAME that follows the token at `at` begins a statement. */
static bool is_boundary(const struct exec_look *look, size_t at)
{
    static const char *const words[] = {";",   "do",   "then",  "else",  "repeat", "end",
                                        "nil", "true", "false", "break", ")",      "]",
                                        "}",   "...",  "::",    NULL};
    enum source_lua_kind it = kind(look, at);
    return it == SOURCE_LUA_STRING || it == SOURCE_LUA_NUMBER || is_plain_name(look, at) ||
           is_any(look, at, words);
}

/* The token at `at` neither continues a call nor stands in an expression. */
static bool is_statement_first(const struct exec_look *look, size_t at)
{
    static const char *const words[] = {"::",     ";",      "break",    "do",    "else", "elseif",
                                        "end",    "for",    "function", "goto",  "if",   "local",
                                        "repeat", "return", "until",    "while", NULL};
    return at >= look->count || is_plain_name(look, at) || is_any(look, at, words);
}

/* Behind the arguments that begin at `at`, or 0 when these are none. */
static size_t arguments_end(const struct exec_look *look, size_t at)
{
    static const char *const opens[] = {"(", "{", "[", NULL};
    static const char *const closes[] = {")", "}", "]", NULL};
    size_t depth = 0;
    if (kind(look, at) == SOURCE_LUA_STRING)
        return at + 1;
    if (!is(look, at, "(") && !is(look, at, "{"))
        return 0;
    for (; at < look->count; at++) {
        if (is_any(look, at, opens))
            depth++;
        else if (is_any(look, at, closes) && --depth == 0)
            return at + 1;
    }
    return 0;
}

static void mark(struct exec_look *look, uint8_t *bits, int line)
{
    if (line > 0 && line <= look->line_max)
        bits[line / 8] = (uint8_t)(bits[line / 8] | (1U << (line % 8)));
}

/* The call's line is, by the version of Lua, that of the prefix or of the
 * arguments' first token, which a long string has read to its end. */
static void mark_call(struct exec_look *look, uint8_t *bits, size_t first, size_t arguments)
{
    mark(look, bits, look->tokens[first].line);
    if (arguments >= look->count)
        return;
    mark(look, bits, look->tokens[arguments].line);
    mark(look, bits, look->tokens[arguments].line_end);
}

/* `:exec` with ':' at `colon`. */
static void look_call(struct exec_look *look, size_t colon)
{
    size_t first = colon;
    if (colon == 0 || !is_plain_name(look, colon - 1)) {
        look->give_up = true; /* the line where such a prefix begins is not looked for */
        return;
    }
    first--;
    while (first >= 2 && is(look, first - 1, ".") && is_plain_name(look, first - 2))
        first -= 2;
    size_t end = arguments_end(look, colon + 2);
    bool before = first == 0 || is_boundary(look, first - 1);
    bool inside = look->depth > 0 && look->open[look->depth - 1] != 'b';
    bool statement = before && !inside && end > 0 && is_statement_first(look, end);
    mark_call(look, statement ? look->unlooked : look->looked, first, colon + 2);
}

/* Brackets and blocks, so that `{ f(); db:exec "…" }` is not taken for a
 * statement. `while` and `for` have their block from their `do`. */
static void track(struct exec_look *look, size_t at)
{
    static const char *const blocks[] = {"function", "do", "if", "repeat", NULL};
    static const char *const closes[] = {")", "}", "]", "end", "until", NULL};
    char c = look->text[look->tokens[at].offset];
    if (is(look, at, "(") || is(look, at, "{") || is(look, at, "["))
        look->open[look->depth++] = c;
    else if (is_any(look, at, blocks))
        look->open[look->depth++] = 'b';
    else if (is_any(look, at, closes) && look->depth > 0)
        look->depth--;
}

/* exec as a value (db.exec), as a field's name or in a string ("exec"): the call
 * may come from any line. */
static bool is_alias(const struct exec_look *look, size_t at)
{
    const char *inside;
    size_t length;
    if (kind(look, at) == SOURCE_LUA_STRING)
        return source_lua_literal(look->text, &look->tokens[at], &inside, &length) && length == 4 &&
               memcmp(inside, "exec", 4) == 0;
    return is(look, at, "exec") && (at == 0 || !is(look, at - 1, ":"));
}

static void look_tokens(struct exec_look *look)
{
    for (size_t at = 0; at < look->count && !look->give_up; at++) {
        if (is_alias(look, at))
            look->give_up = true;
        else if (is(look, at, ":") && is(look, at + 1, "exec"))
            look_call(look, at);
        track(look, at);
    }
}

static void read_tokens(struct exec_look *look, const struct neap_source_file *file)
{
    struct source_lua_scan scan;
    struct source_lua_token token;
    size_t room = 0;
    source_lua_init(&scan, file->text, file->length);
    while (source_lua_next(&scan, &token)) {
        if (look->count == room) {
            room = room == 0 ? 256 : room * 2;
            look->tokens = neap_realloc(look->tokens, room * sizeof *look->tokens);
        }
        look->tokens[look->count++] = token;
    }
    look->line_max = scan.line;
}

void source_exec_look(struct neap_source_file *file)
{
    file->unlooked = NULL;
    file->line_max = 0;
    if (memmem(file->text, file->length, "exec", 4) == NULL)
        return;
    struct exec_look look = {.text = file->text};
    read_tokens(&look, file);
    size_t bytes = (size_t)look.line_max / 8 + 1;
    look.open = neap_alloc(look.count + 1);
    look.unlooked = neap_alloc(bytes);
    look.looked = neap_alloc(bytes);
    look_tokens(&look);
    for (size_t i = 0; i < bytes; i++)
        look.unlooked[i] &= (uint8_t)~look.looked[i];
    if (look.give_up) {
        free(look.unlooked);
        look.unlooked = NULL;
    }
    file->unlooked = look.unlooked;
    file->line_max = look.line_max;
    free(look.looked);
    free(look.open);
    free(look.tokens);
}

bool neap_source_exec_unlooked(const struct neap_source_file *file, int line)
{
    if (file->unlooked == NULL || line <= 0 || line > file->line_max)
        return false;
    return (file->unlooked[line / 8] >> (line % 8) & 1) != 0;
}
