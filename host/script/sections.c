/* SPDX-License-Identifier: MIT
 *
 * Reads a plain SQL migration: finds the directives among its comments and hands
 * them on. Owns what counts as a directive. Surprising: a comment that looks as
 * if it was meant as one (`-- Neap up`, one behind a statement) is an error; taken
 * for prose it would run the statements of `down` as part of `up`.
 */
#include "host/script/sections.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bindings/pg/pg_sql_scan.h"
#include "host/base/memory.h"
#include "host/script/sections_parts.h"

bool sections_fail(const struct sections_read *read, int line, const char *format, ...)
{
    va_list args;
    char *message = NULL;
    va_start(args, format);
    int length = vasprintf(&message, format, args);
    va_end(args);
    neap_error_set(read->err, NEAP_ERR_SCRIPT_CONTRACT, "%s", length < 0 ? format : message);
    neap_error_where(read->err, read->file->path, line);
    free(length < 0 ? NULL : message);
    return false;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* A copy of [at, at + length) without blanks around it. */
static char *trimmed(const char *at, size_t length)
{
    while (length > 0 && is_blank(at[0])) {
        at++;
        length--;
    }
    while (length > 0 && is_blank(at[length - 1]))
        length--;
    return neap_strndup(at, length);
}

/* The text behind `-- neap`, or NULL when the comment is no such one. *colon:
 * whether it has its ':'. The caller frees. */
static char *mark_rest(const char *text, size_t length, bool *colon)
{
    size_t at = 2;
    while (at < length && (is_blank(text[at]) || text[at] == '-'))
        at++;
    if (at + 4 > length || strncasecmp(text + at, "neap", 4) != 0)
        return NULL;
    at += 4;
    size_t gap = at;
    while (gap < length && is_blank(text[gap]))
        gap++;
    *colon = gap < length && text[gap] == ':';
    if (*colon)
        return trimmed(text + gap + 1, length - gap - 1);
    return gap > at ? trimmed(text + gap, length - gap) : NULL;
}

/* Cuts `rest` behind its first word; gives what follows. */
static char *cut_word(char *rest)
{
    size_t word = strcspn(rest, " \t:");
    char *value = rest + word;
    while (*value != '\0' && (is_blank(*value) || *value == ':'))
        value++;
    rest[word] = '\0';
    return value;
}

/* `-- neap up`: prose may begin so ("neap verifies …"), a lone directive not. */
static bool check_colon(const struct sections_read *read, char *rest, int line)
{
    char *value = cut_word(rest);
    const char *nearest = sections_nearest(rest);
    if (nearest == NULL || strcmp(nearest, rest) != 0 || *value != '\0')
        return true;
    return sections_fail(read, line, "a directive needs its colon: `-- neap: %s`", nearest);
}

static bool read_comment(struct sections_read *read, const struct pg_sql_token *token)
{
    bool colon = false;
    char *rest = mark_rest(read->file->text + token->offset, token->length, &colon);
    if (rest == NULL)
        return true;
    bool ok;
    if (!colon) {
        ok = check_colon(read, rest, token->line);
    } else if (!token->line_first) {
        ok = sections_fail(read, token->line, "a directive must stand alone on its line");
    } else {
        struct sections_directive directive = {.word = rest,
                                               .value = cut_word(rest),
                                               .line = token->line,
                                               .end = token->offset,
                                               .next = token->offset + token->length};
        ok = sections_obey(read, &directive);
    }
    free(rest);
    return ok;
}

static bool unfinished(const struct sections_read *read, const struct pg_sql_token *token)
{
    const char *what = token->kind == PG_SQL_TOKEN_COMMENT_BLOCK ? "comment"
                       : token->kind == PG_SQL_TOKEN_QUOTED      ? "quoted name"
                                                                 : "string";
    neap_error_set(read->err, NEAP_ERR_SCRIPT_SYNTAX, "a %s has no end", what);
    neap_error_where(read->err, read->file->path, token->line);
    return false;
}

/* Anything but comments and pg_dump's `\restrict` lines, which say nothing. */
static bool is_outside(const struct sections_read *read, const struct pg_sql_token *token)
{
    const char *text = read->file->text + token->offset;
    bool skipped = token->kind == PG_SQL_TOKEN_META && token->length >= 9 &&
                   (strncmp(text, "\\restrict", 9) == 0 || strncmp(text, "\\unrestri", 9) == 0);
    return read->section == NULL && !skipped;
}

static bool read_tokens(struct sections_read *read)
{
    struct pg_sql_scan scan;
    struct pg_sql_token token;
    pg_sql_scan_init(&scan, read->file->text, read->file->length);
    while (pg_sql_scan_next(&scan, &token)) {
        if (token.unfinished)
            return unfinished(read, &token);
        if (token.kind == PG_SQL_TOKEN_COMMENT_LINE) {
            if (!read_comment(read, &token))
                return false;
        } else if (token.kind != PG_SQL_TOKEN_COMMENT_BLOCK && is_outside(read, &token)) {
            return sections_fail(read, token.line,
                                 "a statement outside of the sections; begin them with "
                                 "`-- neap: up`");
        }
    }
    return sections_end(read, read->file->length) && sections_check_whole(read);
}

bool neap_sections_parse(const struct neap_source_file *file, struct neap_sections *out,
                         struct neap_error *err)
{
    *out = (struct neap_sections){.def.transaction = true};
    struct sections_read read = {.file = file, .out = out, .err = err};
    out->def.requires = neap_alloc(sizeof *out->def.requires);
    out->def.why = neap_source_header(file, "why");
    out->def.risk = neap_source_header(file, "risk");
    out->def.locks = neap_source_header(file, "locks");
    if (read_tokens(&read))
        return true;
    neap_sections_clear(out);
    return false;
}

static void section_clear(struct neap_sql_section *section)
{
    free(section->statements);
}

void neap_sections_clear(struct neap_sections *sections)
{
    struct neap_script_def *def = &sections->def;
    char *texts[] = {def->summary, def->ticket, def->phase, def->why, def->risk, def->locks};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    for (char **id = def->requires; id != NULL && *id != NULL; id++)
        free(*id);
    free(def->requires);
    for (size_t i = 0; i < def->step_count; i++) {
        free(def->steps[i].name);
        free(def->steps[i].irreversible);
        free(def->steps[i].unverified);
        section_clear(&sections->steps[i].up);
        section_clear(&sections->steps[i].verify);
        section_clear(&sections->steps[i].down);
    }
    free(def->steps);
    free(sections->steps);
    *sections = (struct neap_sections){0};
}
