/* SPDX-License-Identifier: MIT
 *
 * neap's one error object: the same in C, Lua, log, JSON and audit. A function
 * that can fail takes `struct neap_error *err` last, returns false and fills
 * it; `err` may be NULL where the caller does not care. An error starts as {0}
 * and owns its strings: whoever declares one clears it.
 */
#ifndef NEAP_BASE_ERROR_H
#define NEAP_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum neap_error_code {
    NEAP_OK = 0,
#define NEAP_ERROR(name, code, exit, summary, next) NEAP_ERR_##name,
#include "host/base/error.def"
#undef NEAP_ERROR
    NEAP_ERROR_COUNT
};

/* One row of error.def. */
struct neap_error_row {
    const char *name;    /* "DB_QUERY" */
    const char *code;    /* "db.query" */
    int exit_status;     /* DESIGN: exit codes */
    const char *summary; /* lower case, no period */
    const char *next;    /* a sentence, or "" */
};

struct neap_error {
    enum neap_error_code code;
    char sqlstate[6]; /* "" when no server spoke */
    int sql_position; /* 1-based character in `sql`; 0 unknown */
    int where_line;   /* 1-based line in `where_file`; 0 unknown */
    char *message;    /* primary: lower case, no period, one line */
    char *detail;     /* sentences, or NULL */
    char *hint;       /* what to do next, or NULL: then the row's `next` holds */
    char *sql;        /* the statement, or NULL */
    char *where_file; /* script file relative to the project, or NULL */
    char *traceback;  /* script lines only, one per line, or NULL */
};

/* The row of `code`; never NULL (an unknown code gives internal.bug). */
const struct neap_error_row *neap_error_row(enum neap_error_code code);

/* The code spelled `code` ("db.query"), or NEAP_OK when there is none. */
enum neap_error_code neap_error_code_of(const char *code);

int neap_error_exit_status(const struct neap_error *err);

/* Replaces whatever `err` held. */
void neap_error_set(struct neap_error *err, enum neap_error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Each replaces one field; does nothing when err is NULL. The text is copied. */
void neap_error_detail(struct neap_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void neap_error_hint(struct neap_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void neap_error_sqlstate(struct neap_error *err, const char *sqlstate);
/* `position` is libpq's: 1-based, in characters; 0 when unknown. Keeps the first
 * 64 KiB of a longer text, and no position behind them. */
void neap_error_sql(struct neap_error *err, const char *sql, int position);
void neap_error_where(struct neap_error *err, const char *file, int line);
void neap_error_traceback(struct neap_error *err, const char *traceback);

/* The errno form: "cannot open /x: No such file or directory". */
void neap_error_errno(struct neap_error *err, enum neap_error_code code, int errnum,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Moves `from` into `to` (cleared first) and leaves `from` empty. */
void neap_error_move(struct neap_error *to, struct neap_error *from);
void neap_error_copy(struct neap_error *to, const struct neap_error *from);
/* Frees the strings; idempotent. */
void neap_error_clear(struct neap_error *err);

/* Whole text for people: message, place, SQL line with a caret, detail, hint.
 * Redacted and with control characters escaped, without a last newline. The
 * caller frees. */
char *neap_error_text(const struct neap_error *err);

#endif
