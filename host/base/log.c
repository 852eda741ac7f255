/* SPDX-License-Identifier: MIT
 *
 * Log and progress on stderr. Each record is one write(2), so that lines of
 * several processes do not tear; a stderr that is gone is forgotten, because
 * work that is under way must not fail for want of a reader. There is no lock:
 * the watchdog must be able to speak while the main thread hangs in a write.
 */
#include "host/base/log.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host/base/buffer.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/base/text.h"

#define PROGRESS_EVERY_MS 900 /* where lines cannot be replaced; a wait speaks each second */
#define COLUMNS_DEFAULT 80
#define ERASE_LINE "\r\033[K"

static struct {
    struct neap_log_opts opts;
    bool terminal;
    bool progress_shown;
    int64_t progress_ms; /* when progress was last written; 0: never */
    char *run_id, *script, *step;
} state = {.opts = {.level = NEAP_LOG_INFO}};

static const char *const level_names[] = {"error", "warn", "info", "detail", "debug"};

static void write_all(const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, bytes, length);
        struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};

        if (written >= 0) {
            bytes += written;
            length -= (size_t)written;
        } else if (errno == EAGAIN) {
            if (poll(&out, 1, 1000) == 0)
                return; /* nobody reads: do not hang on the log */
        } else if (errno != EINTR) {
            return;
        }
    }
}

static void end_with(struct neap_buffer *out)
{
    write_all(neap_buffer_text(out), out->length);
    neap_buffer_clear(out);
}

void neap_log_open(const struct neap_log_opts *opts)
{
    const char *term = getenv("TERM");

    (void)signal(SIGPIPE, SIG_IGN);
    state.opts = *opts;
    state.terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    state.opts.colour = opts->colour && state.terminal;
    state.progress_shown = false;
    state.progress_ms = 0;
}

static void keep(char **field, const char *text)
{
    char *copy = neap_strdup(text);

    free(*field);
    *field = copy;
}

void neap_log_context(const char *run_id, const char *script, const char *step)
{
    keep(&state.run_id, run_id);
    keep(&state.script, script);
    keep(&state.step, step);
}

static bool is_shown(enum neap_log_level level)
{
    return level <= (state.opts.quiet ? NEAP_LOG_WARN : state.opts.level);
}

static void erase_progress(struct neap_buffer *out)
{
    if (state.progress_shown)
        neap_buffer_add_text(out, ERASE_LINE);
    state.progress_shown = false;
}

/* Takes `error`, which may be NULL. */
static void add_json(struct neap_buffer *out, enum neap_log_level level, const char *event,
                     const char *message, json_t *error)
{
    json_t *record = json_object();
    char utc[NEAP_UTC_SIZE];
    char *line = NULL;

    neap_clock_utc(utc);
    neap_json_set(record, "time", json_string(utc));
    neap_json_set(record, "level", json_string(level_names[level]));
    if (event)
        neap_json_set(record, "event", neap_json_text(event));
    neap_json_set(record, "message", neap_json_text(message));
    if (state.run_id)
        neap_json_set(record, "run_id", neap_json_text(state.run_id));
    if (state.script)
        neap_json_set(record, "script", neap_json_text(state.script));
    if (state.step)
        neap_json_set(record, "step", neap_json_text(state.step));
    if (error)
        neap_json_set(record, "error", error);
    line = json_dumps(record, JSON_COMPACT | JSON_PRESERVE_ORDER);
    neap_buffer_add_text(out, line);
    neap_buffer_add_char(out, '\n');
    free(line);
    json_decref(record);
}

static const char *label_of(enum neap_log_level level)
{
    static const char *const plain[] = {"error: ", "warning: ", "", "  ", "  "};
    static const char *const coloured[] = {"\033[1;31merror:\033[0m ", "\033[33mwarning:\033[0m ",
                                           "", "\033[2m  ", "\033[2m  "};

    return state.opts.colour ? coloured[level] : plain[level];
}

/* `message` is redacted already. */
static void add_text(struct neap_buffer *out, enum neap_log_level level, const char *message)
{
    char *clean = neap_printable(message, true);

    neap_buffer_add_text(out, label_of(level));
    neap_buffer_add_text(out, clean);
    neap_buffer_add_text(out, state.opts.colour && level >= NEAP_LOG_DETAIL ? "\033[0m\n" : "\n");
    free(clean);
}

static char *redacted_format(const char *format, va_list args)
    __attribute__((format(printf, 1, 0)));

static char *redacted_format(const char *format, va_list args)
{
    char *raw = neap_vformat(format, args);
    char *clean = neap_redact(raw);

    free(raw);
    return clean;
}

void neap_log(enum neap_log_level level, const char *event, const char *format, ...)
{
    struct neap_buffer out = {0};
    char *message = NULL;
    va_list args;

    if (!is_shown(level))
        return;
    va_start(args, format);
    message = redacted_format(format, args);
    va_end(args);
    erase_progress(&out);
    if (state.opts.json)
        add_json(&out, level, event, message, NULL);
    else
        add_text(&out, level, message);
    end_with(&out);
    free(message);
}

static size_t columns(void)
{
    struct winsize size;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1)
        return size.ws_col;
    return COLUMNS_DEFAULT;
}

/* As much of `text` as one line holds, or a replaced line would scroll. */
static void add_clipped(struct neap_buffer *out, const char *text, size_t width_max)
{
    size_t length = strlen(text);
    size_t width = 0;

    while (length) {
        uint32_t code = 0;
        size_t size = neap_text_decode(text, length, &code);

        width += neap_text_code_width(code);
        if (size == 0 || width > width_max)
            return;
        neap_buffer_add(out, text, size);
        text += size;
        length -= size;
    }
}

static void add_progress_line(struct neap_buffer *out, const char *message)
{
    char *clean = neap_printable(message, false);

    neap_buffer_add_text(out, ERASE_LINE);
    add_clipped(out, clean, columns() - 1);
    state.progress_shown = true;
    free(clean);
}

void neap_log_progress(const char *format, ...)
{
    struct neap_buffer out = {0};
    bool replaces = state.terminal && !state.opts.json;
    int64_t now = neap_clock_ms();
    char *message = NULL;
    va_list args;

    if (!is_shown(NEAP_LOG_INFO))
        return;
    if (!replaces && state.progress_ms && now - state.progress_ms < PROGRESS_EVERY_MS)
        return;
    state.progress_ms = now;
    va_start(args, format);
    message = redacted_format(format, args);
    va_end(args);
    if (replaces)
        add_progress_line(&out, message);
    else if (state.opts.json)
        add_json(&out, NEAP_LOG_INFO, "progress", message, NULL);
    else
        add_text(&out, NEAP_LOG_INFO, message);
    end_with(&out);
    free(message);
}

void neap_log_progress_end(void)
{
    struct neap_buffer out = {0};

    erase_progress(&out);
    end_with(&out);
}

void neap_log_error(const struct neap_error *err)
{
    static const char plain[] = "error: ";
    const struct neap_error_row *row = neap_error_row(err->code);
    struct neap_buffer out = {0};
    char *text = NULL;

    erase_progress(&out);
    if (state.opts.json) {
        text = neap_redact(err->message ? err->message : row->summary);
        add_json(&out, NEAP_LOG_ERROR, row->code, text, neap_json_error(err));
    } else {
        text = neap_error_text(err);
        neap_buffer_add_text(&out, label_of(NEAP_LOG_ERROR));
        neap_buffer_add_format(&out, "%s\n", text + sizeof plain - 1);
    }
    end_with(&out);
    free(text);
}
