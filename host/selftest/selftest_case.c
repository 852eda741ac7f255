/* SPDX-License-Identifier: MIT
 *
 * One case as files, and its command's end as a judgement. Knows no server.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/base/buffer.h"
#include "host/base/crash.h"
#include "host/base/embedded.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/selftest/selftest_parts.h"

#define ARMED "neap.log \"armed\""
/* The cap (NEAP_MEMORY) is 32 MB; the rest is the process, libpq and one result. */
#define PEAK_MAX_BYTES (256LL * 1024 * 1024)

#ifdef NEAP_ASAN
#define PEAK_IS_JUDGED false /* shadow and quarantine are no measure */
#else
#define PEAK_IS_JUDGED true
#endif

static const char *text_of(const struct selftest_trial *trial, const char *key)
{
    return json_string_value(json_object_get(trial->entry, key));
}

/* The common script around the entry's pieces. Its table must not stay. */
static char *compose(const struct selftest_trial *trial)
{
    const char *up = text_of(trial, "up"), *verify = text_of(trial, "verify");
    const char *down = text_of(trial, "down"), *timeout = text_of(trial, "timeout");
    struct neap_buffer out = {0};
    neap_buffer_add_format(&out, "%s\nreturn migration {\n  summary = \"A hostile one\",\n",
                           text_of(trial, "top") == NULL ? "" : text_of(trial, "top"));
    neap_buffer_add_format(&out, "  timeout = \"%s\",\n", timeout == NULL ? "20s" : timeout);
    neap_buffer_add_text(&out, "  up = function(db)\n"
                               "    db:exec \"create table public.left_over (id int)\"\n");
    if (up != NULL)
        neap_buffer_add_format(&out, "    " ARMED ";\n    %s\n", up);
    neap_buffer_add_text(&out, "  end,\n");
    if (verify != NULL)
        neap_buffer_add_format(&out,
                               "  verify = function(db, expect)\n    " ARMED ";\n    %s\n"
                               "  end,\n",
                               verify);
    else
        neap_buffer_add_text(&out, "  verify = unverified \"the self-test looks itself\",\n");
    if (down != NULL)
        neap_buffer_add_format(&out,
                               "  down = function(db)\n    db:exec \"drop table left_over\"\n"
                               "    " ARMED ";\n    %s\n  end,\n}\n",
                               down);
    else
        neap_buffer_add_text(&out, "  down = irreversible \"the self-test drops it\",\n}\n");
    return neap_buffer_take(&out);
}

static bool write_file(const struct selftest_trial *trial, const char *name, const char *text,
                       size_t length, struct neap_error *err)
{
    char *path = neap_path_join(trial->dir, name);
    bool done = neap_path_write(path, text, length, 0600, err);
    free(path);
    return done;
}

static bool write_embedded(const struct selftest_trial *trial, const char *name, const char *source,
                           struct neap_error *err)
{
    const struct neap_embedded *file = neap_embedded_find(source);
    return write_file(trial, name, file->bytes, file->length, err);
}

static bool make_dir(const struct selftest_trial *trial, const char *name, struct neap_error *err)
{
    char *path = neap_path_join(trial->dir, name);
    bool done = neap_path_private_dir(path, err);
    free(path);
    return done;
}

static bool write_lib(const struct selftest_trial *trial, struct neap_error *err)
{
    json_t *text, *lib = json_object_get(trial->entry, "lib");
    const char *name;
    bool done = true;
    json_object_foreach(lib, name, text)
    {
        char *path = neap_format("lib/%s.lua", name);
        done = done && write_file(trial, path, json_string_value(text),
                                  strlen(json_string_value(text)), err);
        free(path);
    }
    return done;
}

static int digit_of(char c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static bool write_hex(const struct selftest_trial *trial, const char *hex, struct neap_error *err)
{
    size_t length = strlen(hex) / 2;
    char *bytes = neap_alloc(length + 1);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (char)(digit_of(hex[2 * i]) * 16 + digit_of(hex[2 * i + 1]));
    bool done = write_file(trial, "migrations/0002_hostile.lua", bytes, length, err);
    free(bytes);
    return done;
}

static bool write_hostile(struct selftest_trial *trial, struct neap_error *err)
{
    const char *sql = text_of(trial, "sql"), *hex = text_of(trial, "hex");
    const char *file = text_of(trial, "file");
    if (sql != NULL)
        return write_file(trial, "migrations/0002_hostile.sql", sql, strlen(sql), err);
    if (hex != NULL)
        return write_hex(trial, hex, err);
    char *text = file != NULL ? neap_strdup(file) : compose(trial);
    trial->is_armed_wanted =
        strstr(text, ARMED) != NULL && json_object_get(trial->entry, "early") == NULL;
    bool done = write_file(trial, "migrations/0002_hostile.lua", text, strlen(text), err);
    free(text);
    return done;
}

bool selftest_write(struct selftest_trial *trial, struct neap_error *err)
{
    const char *config = text_of(trial, "config");
    return neap_path_private_dir(trial->dir, err) && make_dir(trial, "migrations", err) &&
           make_dir(trial, "lib", err) &&
           write_embedded(trial, "migrations/0001_before.lua", "selftest/before.lua", err) &&
           write_embedded(trial, "migrations/0003_after.lua", "selftest/after.lua", err) &&
           write_lib(trial, err) && write_hostile(trial, err) &&
           (config == NULL || write_file(trial, "neap.lua", config, strlen(config), err));
}

bool selftest_write_innocent(const struct selftest_trial *trial, struct neap_error *err)
{
    static const char *const gone[] = {"migrations/0002_hostile.sql", "neap.lua", NULL};
    for (const char *const *name = gone; *name != NULL; name++) {
        char *path = neap_path_join(trial->dir, *name);
        (void)remove(path); /* most cases have neither */
        free(path);
    }
    return write_embedded(trial, "migrations/0002_hostile.lua", "selftest/innocent.lua", err);
}

void selftest_blame(struct selftest_trial *trial, const char *format, ...)
{
    va_list args;
    if (trial->why != NULL)
        return;
    va_start(args, format);
    trial->why = neap_vformat(format, args);
    va_end(args);
}

/* "124 run.deadline"; "0" without an error; what the watchdog ended has no
 * document. */
static char *describe(const struct neap_child_result *result)
{
    const char *text = neap_buffer_text(&result->out);
    json_t *document = json_loads(text, 0, NULL);
    const char *code =
        json_string_value(json_object_get(json_object_get(document, "error"), "code"));
    char *got;
    if (code != NULL)
        got = neap_format("%d %s", result->exit_status, code);
    else if (strstr(neap_buffer_text(&result->err), "could not be stopped") != NULL)
        got = neap_format("%d watchdog", result->exit_status);
    else if (document == NULL)
        got = neap_format("%d no document", result->exit_status);
    else
        got = neap_format("%d", result->exit_status);
    json_decref(document);
    return got;
}

static bool is_expected(const json_t *expect, const char *got)
{
    size_t i;
    json_t *one;
    if (json_is_string(expect))
        return strcmp(json_string_value(expect), got) == 0;
    json_array_foreach(expect, i, one)
    {
        if (json_is_string(one) && strcmp(json_string_value(one), got) == 0)
            return true;
    }
    return false;
}

/* Why it ended so: the error's message, or the last line of stderr. */
static char *reason_of(const struct neap_child_result *result)
{
    json_t *document = json_loads(neap_buffer_text(&result->out), 0, NULL);
    const json_t *error = json_object_get(document, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *text = neap_buffer_text(&result->err);
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == '\n')
        length--;
    size_t start = length;
    while (start > 0 && text[start - 1] != '\n' && length - start < 200)
        start--;
    char *reason =
        message != NULL ? neap_strdup(message) : neap_strndup(text + start, length - start);
    json_decref(document);
    return reason;
}

void selftest_blame_end(struct selftest_trial *trial, const char *what)
{
    char *got = describe(&trial->result);
    char *reason = reason_of(&trial->result);
    selftest_blame(trial, "%s ended with %s: %s", what, got, reason);
    free(reason);
    free(got);
}

void selftest_judge(struct selftest_trial *trial)
{
    const char *said = neap_buffer_text(&trial->result.err), *says = text_of(trial, "says");
    trial->got = describe(&trial->result);
    trial->peak_bytes = trial->result.peak_bytes;
    if (!is_expected(json_object_get(trial->entry, "expect"), trial->got))
        selftest_blame_end(trial, "it");
    if (trial->is_armed_wanted && strstr(said, "armed") == NULL)
        selftest_blame(trial, "its hostile line was never reached");
    if (says != NULL && strstr(said, says) == NULL)
        selftest_blame(trial, "it did not say \"%s\"", says);
    if (PEAK_IS_JUDGED && trial->peak_bytes > PEAK_MAX_BYTES)
        selftest_blame(trial, "it took %lld MB of memory", (long long)(trial->peak_bytes >> 20));
}
