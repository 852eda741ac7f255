/* SPDX-License-Identifier: MIT
 *
 * The one error object and its text for people. It knows no script and no
 * server. Text is rendered from the redacted SQL, so the caret is placed by the
 * redacted copy's offset and never by the original's.
 */
#include "host/base/error.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/text.h"

#define SHOWN_BEFORE 60 /* characters of a long SQL line before the caret */
#define SHOWN_AFTER 40
/* Of a statement's text, from its beginning: a cut in front could fall inside a
 * literal, and the redaction would take its inside for code. */
#define SQL_MAX 65536

static const struct neap_error_row rows[] = {
#define NEAP_ERROR(name, code, exit, summary, next) {#name, code, exit, summary, next},
#include "host/base/error.def"
#undef NEAP_ERROR
};

const struct neap_error_row *neap_error_row(enum neap_error_code code)
{
    static const struct neap_error_row none = {"OK", "ok", 0, "no error", ""};

    if (code == NEAP_OK)
        return &none;
    if ((unsigned)code >= NEAP_ERROR_COUNT)
        code = NEAP_ERR_INTERNAL_BUG;
    return &rows[code - 1];
}

enum neap_error_code neap_error_code_of(const char *code)
{
    for (size_t i = 0; code && i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].code, code) == 0)
            return (enum neap_error_code)(i + 1);
    return NEAP_OK;
}

int neap_error_exit_status(const struct neap_error *err)
{
    return neap_error_row(err->code)->exit_status;
}

static void replace(char **field, char *text)
{
    free(*field);
    *field = text;
}

/* Formats before it clears: the arguments may be the error's own strings. */
void neap_error_set(struct neap_error *err, enum neap_error_code code, const char *format, ...)
{
    va_list args;
    char *message = NULL;

    if (!err)
        return;
    va_start(args, format);
    message = neap_vformat(format, args);
    va_end(args);
    neap_error_clear(err);
    err->code = code;
    err->message = message;
}

void neap_error_detail(struct neap_error *err, const char *format, ...)
{
    va_list args;

    if (!err)
        return;
    va_start(args, format);
    replace(&err->detail, neap_vformat(format, args));
    va_end(args);
}

void neap_error_hint(struct neap_error *err, const char *format, ...)
{
    va_list args;

    if (!err)
        return;
    va_start(args, format);
    replace(&err->hint, neap_vformat(format, args));
    va_end(args);
}

void neap_error_sqlstate(struct neap_error *err, const char *sqlstate)
{
    if (!err)
        return;
    memset(err->sqlstate, 0, sizeof err->sqlstate);
    if (sqlstate)
        memcpy(err->sqlstate, sqlstate, strnlen(sqlstate, sizeof err->sqlstate - 1));
}

void neap_error_sql(struct neap_error *err, const char *sql, int position)
{
    if (!err)
        return;
    size_t length = sql == NULL ? 0 : strlen(sql);
    replace(&err->sql, sql == NULL ? NULL : neap_strndup(sql, length < SQL_MAX ? length : SQL_MAX));
    err->sql_position = position > 0 && position <= SQL_MAX ? position : 0;
}

void neap_error_where(struct neap_error *err, const char *file, int line)
{
    if (!err)
        return;
    replace(&err->where_file, neap_strdup(file));
    err->where_line = line > 0 ? line : 0;
}

void neap_error_traceback(struct neap_error *err, const char *traceback)
{
    if (err)
        replace(&err->traceback, neap_strdup(traceback));
}

void neap_error_errno(struct neap_error *err, enum neap_error_code code, int errnum,
                      const char *format, ...)
{
    va_list args;
    char buffer[128];
    char *what = NULL;

    if (!err)
        return;
    va_start(args, format);
    what = neap_vformat(format, args);
    va_end(args);
    neap_error_set(err, code, "%s: %s", what, strerror_r(errnum, buffer, sizeof buffer));
    free(what);
}

void neap_error_move(struct neap_error *to, struct neap_error *from)
{
    if (to == from)
        return;
    if (!to) {
        neap_error_clear(from);
        return;
    }
    neap_error_clear(to);
    *to = *from;
    *from = (struct neap_error){0};
}

void neap_error_copy(struct neap_error *to, const struct neap_error *from)
{
    struct neap_error copy = *from;

    if (!to || to == from)
        return;
    copy.message = neap_strdup(from->message);
    copy.detail = neap_strdup(from->detail);
    copy.hint = neap_strdup(from->hint);
    copy.sql = neap_strdup(from->sql);
    copy.where_file = neap_strdup(from->where_file);
    copy.traceback = neap_strdup(from->traceback);
    neap_error_clear(to);
    *to = copy;
}

void neap_error_clear(struct neap_error *err)
{
    if (!err)
        return;
    free(err->message);
    free(err->detail);
    free(err->hint);
    free(err->sql);
    free(err->where_file);
    free(err->traceback);
    *err = (struct neap_error){0};
}

/* Redacts, then escapes, in this order: an escaped secret is not recognised. */
static char *make_clean(const char *text)
{
    char *redacted = neap_redact(text);
    char *clean = neap_printable(redacted, true);

    free(redacted);
    return clean;
}

/* `text` after `label`, its further lines indented under it. */
static void add_block(struct neap_buffer *out, const char *label, const char *text)
{
    char *clean = NULL;

    if (!text || !*text)
        return;
    clean = make_clean(text);
    for (size_t end = strlen(clean); end > 0 && clean[end - 1] == '\n'; end--)
        clean[end - 1] = '\0';
    neap_buffer_add_text(out, label);
    for (const char *c = clean; *c; c++) {
        neap_buffer_add_char(out, *c);
        if (*c == '\n')
            neap_buffer_add_text(out, "    ");
    }
    free(clean);
}

/* Byte offset of the 1-based character `position`; an invalid byte counts one. */
static size_t offset_of(const char *sql, int position)
{
    size_t length = strlen(sql);
    size_t at = 0;
    uint32_t code = 0;

    for (; position > 1 && at < length; position--) {
        size_t size = neap_text_decode(sql + at, length - at, &code);

        at += size ? size : 1;
    }
    return at;
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Printable form of text[begin, end) on one line; tabs become four spaces. */
static char *clean_piece(const char *text, size_t begin, size_t end)
{
    struct neap_buffer spaced = {0};
    char *clean = NULL;

    for (; begin < end; begin++)
        if (text[begin] == '\t')
            neap_buffer_add_text(&spaced, "    ");
        else if (text[begin] != '\r')
            neap_buffer_add_char(&spaced, text[begin]);
    clean = neap_printable(neap_buffer_text(&spaced), false);
    neap_buffer_clear(&spaced);
    return clean;
}

/* Adds the line of `sql` that holds `at`, cut around it, and a caret under it. */
static void add_sql_line(struct neap_buffer *out, const char *sql, size_t at, bool caret)
{
    size_t begin = at, end = at, line = 1, column = out->length;
    const char *lead = "", *tail = "";
    char *before = NULL, *after = NULL;
    int count = 0;

    for (count = 0; begin > 0 && sql[begin - 1] != '\n' && count < SHOWN_BEFORE; begin--)
        count += !is_continuation(sql[begin - 1]);
    lead = begin > 0 && sql[begin - 1] != '\n' ? "..." : "";
    count = caret ? 0 : -SHOWN_BEFORE;
    for (; sql[end] && sql[end] != '\n' && (count < SHOWN_AFTER || is_continuation(sql[end]));
         end++)
        count += !is_continuation(sql[end]);
    tail = sql[end] && sql[end] != '\n' ? "..." : "";
    for (size_t i = 0; i < begin; i++)
        line += sql[i] == '\n';
    before = clean_piece(sql, begin, at);
    after = clean_piece(sql, at, end);
    neap_buffer_add_format(out, "\n  line %zu: %s%s", line, lead, before);
    column = neap_text_width(out->bytes + column + 1);
    neap_buffer_add_format(out, "%s%s", after, tail);
    if (caret)
        neap_buffer_add_format(out, "\n%*s^", (int)column, "");
    free(before);
    free(after);
}

static void add_sql(struct neap_buffer *out, const struct neap_error *err)
{
    size_t at = 0;
    char *redacted = NULL;

    if (!err->sql || !*err->sql)
        return;
    if (err->sql_position > 0)
        at = offset_of(err->sql, err->sql_position);
    else
        at = strspn(err->sql, " \t\r\n"); /* where it begins */
    redacted = neap_redact_at(err->sql, &at);
    add_sql_line(out, redacted, at, err->sql_position > 0);
    free(redacted);
}

char *neap_error_text(const struct neap_error *err)
{
    const struct neap_error_row *row = neap_error_row(err->code);
    const char *message = err->message && *err->message ? err->message : row->summary;
    struct neap_buffer out = {0};
    char *where = NULL;

    add_block(&out, "error: ", message);
    neap_buffer_add_format(&out, " (code %s", row->code);
    add_block(&out, ", SQLSTATE ", err->sqlstate);
    neap_buffer_add_char(&out, ')');
    if (err->where_file) {
        where = err->where_line > 0 ? neap_format("%s:%d", err->where_file, err->where_line)
                                    : neap_strdup(err->where_file);
        add_block(&out, "\n  at ", where);
        free(where);
    }
    add_sql(&out, err);
    add_block(&out, "\n  detail: ", err->detail);
    add_block(&out, "\n  hint: ", err->hint ? err->hint : row->next);
    add_block(&out, "\n  traceback:\n    ", err->traceback);
    return neap_buffer_take(&out);
}
