/* SPDX-License-Identifier: MIT
 *
 * A text of many statements, taken apart at a ';' outside of parentheses (CREATE
 * RULE) and outside of BEGIN ATOMIC … END, as psql does it but for labels named
 * END and CASE, which psql takes for the words. Works where the parser cannot: on
 * syntax newer than it, and on dumps with meta-commands.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_sql_class.h"
#include "host/base/memory.h"

/* What psql keeps of a statement while it looks for its end. */
struct part_state {
    int parens, bodies;
    size_t words;      /* code tokens so far */
    size_t routine_at; /* which of them FUNCTION or PROCEDURE must be; 0: none */
    bool is_routine;
    bool after_begin;  /* the token before was BEGIN */
    bool body_may_end; /* the token before was ATOMIC, or a ';' of the body */
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

/* CREATE [OR REPLACE] FUNCTION | PROCEDURE, and BEGIN ATOMIC and END of its body.
 * An END anywhere but behind a ';' of the body is that of a CASE, or a column's
 * label (`select 1 end`). */
static void part_word(struct part_state *state, const char *text, const struct pg_sql_token *token)
{
    bool after_begin = state->after_begin, body_may_end = state->body_may_end;

    state->after_begin = state->body_may_end = false;
    if (state->words == 0 && pg_sql_token_is(text, token, "create"))
        state->routine_at = 1;
    else if (state->words == 1 && pg_sql_token_is(text, token, "or"))
        state->routine_at *= 3;
    else if (state->words > 0 && state->words == state->routine_at)
        state->is_routine =
            pg_sql_token_is(text, token, "function") || pg_sql_token_is(text, token, "procedure");
    if (!state->is_routine || state->parens > 0)
        return;
    state->after_begin = pg_sql_token_is(text, token, "begin");
    if (after_begin && pg_sql_token_is(text, token, "atomic")) {
        state->bodies++;
        state->body_may_end = true;
    } else if (body_may_end && state->bodies > 0 && pg_sql_token_is(text, token, "end")) {
        state->bodies--;
    }
}

/* True: the token ends the statement. */
static bool part_token(struct part_state *state, const char *text, const struct pg_sql_token *token)
{
    if (pg_sql_token_is_char(text, token, ';')) {
        state->after_begin = false;
        state->body_may_end = state->parens <= 0;
        return state->parens <= 0 && state->bodies <= 0;
    }
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
