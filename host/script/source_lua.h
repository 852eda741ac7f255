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

enum source_lua_kind {
    SOURCE_LUA_END,
    SOURCE_LUA_NAME, /* keywords too */
    SOURCE_LUA_STRING,
    SOURCE_LUA_NUMBER,
    SOURCE_LUA_OPERATOR, /* punctuation, and bytes Lua does not know */
};

struct source_lua_token {
    enum source_lua_kind kind;
    size_t offset, length;
    int line, line_end; /* where it begins and ends */
};

struct source_lua_scan {
    const char *text;
    size_t length, at;
    int line;
    const char *unfinished; /* NULL, or what had no end: then the scan is over */
    int unfinished_line;
};

/* Passes over a BOM and a first line that begins with '#'. */
void source_lua_init(struct source_lua_scan *scan, const char *text, size_t length);
/* False at the end, or when something is unfinished. */
bool source_lua_next(struct source_lua_scan *scan, struct source_lua_token *token);
/* True when the token's text is `word`, and it is no string. */
bool source_lua_is(const char *text, const struct source_lua_token *token, const char *word);
/* The inside of a string token. False when it holds escapes. Borrowed. */
bool source_lua_literal(const char *text, const struct source_lua_token *token, const char **inside,
                        size_t *length);

#endif
