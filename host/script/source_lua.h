/* SPDX-License-Identifier: MIT
 *
 * Lua 5.4 tokens by the rules of llex.c, without a Lua state: for hashes, static
 * requires and unlooked results. Allocates nothing; line numbers are Lua's own
 * ("\r\n", "\n\r", "\r" and "\n" are one line each).
 */
#ifndef NEAP_SCRIPT_SOURCE_LUA_H
#define NEAP_SCRIPT_SOURCE_LUA_H

#include <stdbool.h>
#include <stddef.h>

enum lua_token_kind {
    LUA_TOKEN_END,
    LUA_TOKEN_NAME, /* keywords too */
    LUA_TOKEN_STRING,
    LUA_TOKEN_NUMBER,
    LUA_TOKEN_OPERATOR, /* punctuation, and bytes Lua does not know */
};

struct lua_token {
    enum lua_token_kind kind;
    size_t offset, length;
    int line, line_end; /* where it begins and ends */
};

struct lua_scan {
    const char *text;
    size_t length, at;
    int line;
    const char *unfinished; /* NULL, or what had no end: then the scan is over */
    int unfinished_line;
};

/* Passes over a BOM and a first line that begins with '#'. */
void lua_scan_init(struct lua_scan *scan, const char *text, size_t length);
/* False at the end, or when something is unfinished. */
bool lua_scan_next(struct lua_scan *scan, struct lua_token *token);
/* True when the token's text is `word`, and it is no string. */
bool lua_token_is(const char *text, const struct lua_token *token, const char *word);
/* The inside of a string token. False when it holds escapes. Borrowed. */
bool lua_token_literal(const char *text, const struct lua_token *token, const char **inside,
                       size_t *length);

#endif
