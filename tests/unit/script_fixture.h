/* SPDX-License-Identifier: MIT
 *
 * A run, a loop and scripts made from text, for the tests of host/script.
 */
#ifndef NEAP_TESTS_UNIT_SCRIPT_FIXTURE_H
#define NEAP_TESTS_UNIT_SCRIPT_FIXTURE_H

#include "tests/unit/test_support.h"

#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/loop/loop.h"
#include "host/script/script.h"

#define SCRIPT_PATH "migrations/0001_test.lua"

struct script_fixture {
    struct neap_run run;
    struct neap_loop *loop;
    struct neap_script_opts opts;
    struct neap_source_file files[3];
    struct neap_source source;
    struct neap_error err;
};

/* A failed test leaves its loop open; the next one must not fail for that. */
static struct neap_loop *script_open_loop;

static inline void script_begin(struct script_fixture *fixture)
{
    neap_loop_close(script_open_loop);
    memset(fixture, 0, sizeof *fixture);
    neap_run_init(&fixture->run);
    assert_true(neap_loop_open(&fixture->run, &fixture->loop, NULL));
    script_open_loop = fixture->loop;
    fixture->opts.loop = fixture->loop;
    fixture->source.kind = NEAP_SOURCE_LUA;
    fixture->source.files = fixture->files;
    fixture->source.file_count = 1;
}

static inline void script_end(struct script_fixture *fixture)
{
    neap_error_clear(&fixture->err);
    neap_loop_close(fixture->loop);
    script_open_loop = NULL;
    neap_run_clear(&fixture->run);
    for (size_t i = 0; i < 3; i++) {
        free(fixture->files[i].path);
        free(fixture->files[i].module);
        free(fixture->files[i].text);
    }
}

/* File 0 is the script, others are lib modules. */
static inline void script_file(struct script_fixture *fixture, size_t index, const char *module,
                               const char *text)
{
    struct neap_source_file *file = &fixture->files[index];
    free(file->text);
    free(file->path);
    free(file->module);
    file->text = strdup(text);
    file->length = strlen(text);
    file->module = module != NULL ? strdup(module) : NULL;
    file->path = module != NULL ? neap_format("lib/%s.lua", module) : strdup(SCRIPT_PATH);
    if (fixture->source.file_count <= index)
        fixture->source.file_count = index + 1;
}

static inline struct neap_script *script_open(struct script_fixture *fixture, const char *text)
{
    struct neap_script *script = NULL;
    neap_error_clear(&fixture->err);
    script_file(fixture, 0, NULL, text);
    neap_script_open(&fixture->opts, &fixture->source, &script, &fixture->err);
    return script;
}

/* Runs `body` as up, without a database. */
static inline bool script_up(struct script_fixture *fixture, const char *body)
{
    char *text = neap_format("return migration { summary = 'a test', verify = unverified 'a test',"
                             " down = irreversible 'a test', up = function(db)\n%s\nend }",
                             body);
    struct neap_script *script = script_open(fixture, text);
    bool is_done = script != NULL && neap_script_call(script, 0, NEAP_PART_UP, NULL, &fixture->err);
    neap_script_close(script);
    free(text);
    return is_done;
}

/* What the Lua expression gives, as text: raised by the script, message and
 * detail. The caller frees. */
static inline char *script_value(struct script_fixture *fixture, const char *expression)
{
    char *body = neap_format("error('=' .. tostring((function() %s end)()), 0)", expression);
    assert_false(script_up(fixture, body));
    free(body);
    const struct neap_error *err = &fixture->err;
    if (err->message[0] != '=')
        fail_msg("%s: %s", expression, err->message);
    return neap_format("%s%s%s", err->message + 1, err->detail ? "\n" : "",
                       err->detail ? err->detail : "");
}

#define assert_value(fixture, expression, expected)           \
    do {                                                      \
        char *value_ = script_value((fixture), (expression)); \
        assert_string_equal(value_, (expected));              \
        free(value_);                                         \
    } while (0)

/* The body must fail with this code, saying `part`. */
#define assert_raises(fixture, body, expected, part)       \
    do {                                                   \
        assert_false(script_up((fixture), (body)));        \
        assert_contains((fixture)->err.message, (part));   \
        assert_int_equal((fixture)->err.code, (expected)); \
    } while (0)

#endif
