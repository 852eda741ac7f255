/* SPDX-License-Identifier: MIT
 *
 * Log and progress on stderr, and the one place where secrets are removed from
 * text on its way out (promise 9). Nothing that people, files or servers' logs
 * read is written without passing neap_redact or a function that calls it.
 */
#ifndef NEAP_BASE_LOG_H
#define NEAP_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "host/base/error.h"

enum neap_log_level {
    NEAP_LOG_ERROR,
    NEAP_LOG_WARN,
    NEAP_LOG_INFO,
    NEAP_LOG_DETAIL,
    NEAP_LOG_DEBUG
};

struct neap_log_opts {
    enum neap_log_level level;
    bool json;   /* one JSON object a line */
    bool colour; /* only when stderr is a terminal and NO_COLOR is unset */
    bool quiet;  /* errors and warnings only */
};

/* Also ignores SIGPIPE, from here on: a reader that went is no reason to stop. */
void neap_log_open(const struct neap_log_opts *opts);
/* What every record carries; NULL leaves a field out. The strings are copied. */
void neap_log_context(const char *run_id, const char *script, const char *step);
void neap_log(enum neap_log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* One line of progress: replaced in place on a terminal, one line each else. */
void neap_log_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Ends a progress line, so that other output begins on a fresh line. */
void neap_log_progress_end(void);
/* The error as people read it, or as a JSON record. */
void neap_log_error(const struct neap_error *err);

/* Registers a secret (length >= 4; shorter ones would redact everything). Its
 * URL-encoded, base64, hex and string-literal forms are redacted too. Before
 * other threads begin, or on the main thread alone. */
void neap_redact_add(const char *secret);
/* Copy of `text` with registered secrets, passwords in URLs and DSNs, and
 * PASSWORD 'literals' replaced by "***". The caller frees. */
char *neap_redact(const char *text);
/* The same; the byte offset *offset in `text` becomes that place in the copy. */
char *neap_redact_at(const char *text, size_t *offset);
/* Copy with control characters, invalid UTF-8 and bidirectional marks shown as
 * \xNN or \u{…}, newlines kept when `keep_newlines`. The caller frees. */
char *neap_printable(const char *text, bool keep_newlines);
/* Wipes the registered secrets. */
void neap_redact_clear(void);

#endif
