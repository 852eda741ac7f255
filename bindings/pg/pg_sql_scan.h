/* SPDX-License-Identifier: MIT
 *
 * SQL tokens by the rules of PostgreSQL's scan.l, comments included, for what
 * the parser cannot say: where a statement of a longer text ends, what a
 * statement newer than the parser begins with, what a file's tokens are.
 * Pure, allocates nothing, never fails: an unfinished token is one that says so.
 */
#ifndef NEAP_BINDINGS_PG_PG_SQL_SCAN_H
#define NEAP_BINDINGS_PG_PG_SQL_SCAN_H

#include <stdbool.h>
#include <stddef.h>

enum pg_sql_token_kind {
    PG_SQL_TOKEN_END,
    PG_SQL_TOKEN_COMMENT_LINE,  /* "-- …" without its newline */
    PG_SQL_TOKEN_COMMENT_BLOCK, /* nested */
    PG_SQL_TOKEN_WORD,          /* keyword or plain identifier */
    PG_SQL_TOKEN_QUOTED,        /* "x", U&"x" */
    PG_SQL_TOKEN_STRING,        /* '', E'', B'', X'', N'', U&'', $$ $$; with continuations */
    PG_SQL_TOKEN_NUMBER,
    PG_SQL_TOKEN_PARAM, /* $1 */
    PG_SQL_TOKEN_OPERATOR,
    PG_SQL_TOKEN_PUNCTUATION, /* one of , ( ) [ ] . ; : and other single bytes */
    PG_SQL_TOKEN_META,        /* psql's: from "\" to the end of the line */
};

struct pg_sql_token {
    enum pg_sql_token_kind kind;
    size_t offset, length;
    int line;        /* 1-based, of `offset` */
    bool line_first; /* nothing but spaces before it on its line */
    bool unfinished; /* string, quoted identifier or block comment without its end */
};

struct pg_sql_scan {
    const char *text;
    size_t length, at;
    int line;
    bool line_first;
};

/* Passes over a BOM. `text` is borrowed. */
void pg_sql_scan_init(struct pg_sql_scan *scan, const char *text, size_t length);
/* False at the end (the token is PG_SQL_TOKEN_END). */
bool pg_sql_scan_next(struct pg_sql_scan *scan, struct pg_sql_token *token);
/* The same without comments. */
bool pg_sql_scan_next_code(struct pg_sql_scan *scan, struct pg_sql_token *token);

/* True when the token is the keyword `word` (lower case), in any case, unquoted. */
bool pg_sql_token_is(const char *text, const struct pg_sql_token *token, const char *word);
/* True when the token is the one byte of punctuation `c`. */
bool pg_sql_token_is_char(const char *text, const struct pg_sql_token *token, char c);
/* The name a WORD (folded to lower case) or QUOTED token gives, cut to `size`
 * bytes with its NUL, between characters; "" for other tokens. U& escapes of ASCII are decoded. */
void pg_sql_token_name(const char *text, const struct pg_sql_token *token, char *name, size_t size);

#endif
