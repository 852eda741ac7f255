/* SPDX-License-Identifier: MIT
 *
 * A text of many statements, taken apart as psql does it: at a ';' outside of
 * parentheses (CREATE RULE) and outside of BEGIN ATOMIC … END. Works where the
 * parser cannot: on syntax newer than it, and on dumps with meta-commands.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_sql_class.h"
#include "host/base/memory.h"

/* What psql keeps of a statement while it looks for its end. */
struct part_state {
    int parens, begins;
    size_t words; /* code tokens so far */
    bool is_create, is_routine;
};

static bool is_meta_skipped(const char *text, const struct pg_sql_token *token)
{
    static const char *const skipped[] = {"\\restrict", "\\unrestrict"};
    for (size_t i = 0; i < sizeof skipped / sizeof *skipped; i++) {
        size_t length = strlen(skipped[i]);
        if (token->length >= length && memcmp(text + token->offset, skipped[i], length) == 0 &&
            (token->length == length || text[token->offset + length] == ' '))
            return true;
    }
    return false;
}

/* CREATE [OR REPLACE] FUNCTION | PROCEDURE, and BEGIN, CASE, END in its body. */
static void part_word(struct part_state *state, const char *text, const struct pg_sql_token *token)
{
    if (state->words == 0)
        state->is_create = pg_sql_token_is(text, token, "create");
    if (state->is_create && state->words >= 1 && state->words <= 3)
        state->is_routine = state->is_routine || pg_sql_token_is(text, token, "function") ||
                            pg_sql_token_is(text, token, "procedure");
    if (!state->is_routine || state->parens > 0)
        return;
    if (pg_sql_token_is(text, token, "begin") ||
        (pg_sql_token_is(text, token, "case") && state->begins > 0))
        state->begins++;
    else if (pg_sql_token_is(text, token, "end") && state->begins > 0)
        state->begins--;
}

/* True: the token ends the statement. */
static bool part_token(struct part_state *state, const char *text, const struct pg_sql_token *token)
{
    if (pg_sql_token_is_char(text, token, ';'))
        return state->parens <= 0 && state->begins <= 0;
    if (pg_sql_token_is_char(text, token, '('))
        state->parens++;
    if (pg_sql_token_is_char(text, token, ')') && state->parens > 0)
        state->parens--;
    part_word(state, text, token);
    state->words++;
    return false;
}

bool pg_sql_part_next(struct pg_sql_scan *scan, struct pg_sql_part *part, struct pg_sql_token *bad)
{
    struct part_state state = {0};
    struct pg_sql_token token;
    *part = (struct pg_sql_part){0};
    while (pg_sql_scan_next(scan, &token)) {
        *bad = token;
        bool is_comment =
            token.kind == PG_SQL_TOKEN_COMMENT_LINE || token.kind == PG_SQL_TOKEN_COMMENT_BLOCK;
        if (token.unfinished)
            return false;
        if (is_comment)
            continue;
        if (token.kind == PG_SQL_TOKEN_META) {
            if (state.words == 0 && token.line_first && is_meta_skipped(scan->text, &token))
                continue;
            return false;
        }
        if (part_token(&state, scan->text, &token)) {
            if (part->length > 0)
                return true;
            continue; /* an empty statement: the next one may still come */
        }
        if (part->length == 0)
            *part = (struct pg_sql_part){.offset = token.offset, .line = token.line};
        part->length = token.offset + token.length - part->offset;
    }
    return true;
}

static bool split_fail(const char *text, const struct pg_sql_token *bad, struct neap_error *err)
{
    if (bad->unfinished) {
        const char *what = bad->kind == PG_SQL_TOKEN_COMMENT_BLOCK ? "comment"
                           : bad->kind == PG_SQL_TOKEN_QUOTED      ? "quoted name"
                                                                   : "string";
        neap_error_set(err, NEAP_ERR_SCRIPT_SYNTAX, "line %d: a %s has no end", bad->line, what);
    } else {
        int shown = bad->length > 40 ? 40 : (int)bad->length;
        neap_error_set(err, NEAP_ERR_DB_ARGUMENT, "line %d: psql meta-command `%.*s` is not SQL",
                       bad->line, shown, text + bad->offset);
        neap_error_hint(err, "Write what it does in SQL; a dump is loaded with db:copy_in or "
                             "made with --inserts.");
    }
    neap_error_where(err, NULL, bad->line);
    return false;
}

bool pg_sql_split(const char *text, size_t length, struct pg_sql_part **parts, size_t *count,
                  struct neap_error *err)
{
    struct pg_sql_scan scan;
    struct pg_sql_part part;
    struct pg_sql_token bad = {0};
    struct pg_sql_part *list = NULL;
    size_t used = 0, room = 0;
    pg_sql_scan_init(&scan, text, length);
    bool ok;
    while ((ok = pg_sql_part_next(&scan, &part, &bad)) && part.length > 0) {
        if (used == room) {
            room = room == 0 ? 16 : room * 2;
            list = neap_realloc(list, room * sizeof *list);
        }
        list[used++] = part;
    }
    *parts = list;
    *count = used;
    if (ok)
        return true;
    neap_error_clear(err);
    free(list);
    *parts = NULL;
    *count = 0;
    return split_fail(text, &bad, err);
}
