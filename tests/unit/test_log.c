/* SPDX-License-Identifier: MIT
 *
 * What reaches stderr: text, JSON lines, progress, and nothing secret.
 */
#include "tests/unit/test_support.h"

#include <jansson.h>
#include <pty.h>

#include "host/base/log.h"

static void test_log__text_has_labels_and_levels(void **unused)
{
    struct neap_log_opts opts = {.level = NEAP_LOG_INFO, .colour = true};
    struct test_stderr held = test_stderr_begin();
    char *text = NULL;

    (void)unused;
    neap_log_open(&opts); /* not a terminal: no colour */
    neap_log(NEAP_LOG_ERROR, "x.y", "one %d", 1);
    neap_log(NEAP_LOG_WARN, "x.y", "two\033[2J");
    neap_log(NEAP_LOG_INFO, NULL, "postgres://u:pw@h");
    neap_log(NEAP_LOG_DETAIL, NULL, "unseen");
    text = test_stderr_end(&held);
    assert_string_equal(text, "error: one 1\nwarning: two\\x1b[2J\npostgres://u:***@h\n");
    free(text);
}

static void test_log__quiet_keeps_warnings(void **unused)
{
    struct neap_log_opts opts = {.level = NEAP_LOG_DEBUG, .quiet = true};
    struct test_stderr held = test_stderr_begin();
    char *text = NULL;

    (void)unused;
    neap_log_open(&opts);
    neap_log(NEAP_LOG_INFO, NULL, "unseen");
    neap_log_progress("unseen");
    neap_log(NEAP_LOG_WARN, NULL, "seen");
    text = test_stderr_end(&held);
    assert_string_equal(text, "warning: seen\n");
    free(text);
}

static void test_log__json_is_one_object_a_line(void **unused)
{
    struct neap_log_opts opts = {.level = NEAP_LOG_INFO, .json = true};
    struct test_stderr held = test_stderr_begin();
    struct neap_error err = {0};
    json_t *record = NULL;
    char *text = NULL;

    (void)unused;
    neap_log_open(&opts);
    neap_log_context("run-1", "0001", NULL);
    neap_log(NEAP_LOG_INFO, "script.begin", "a\nb \xff password=x");
    neap_error_set(&err, NEAP_ERR_DB_QUERY, "bad");
    neap_log_error(&err);
    neap_log_context(NULL, NULL, NULL);
    text = test_stderr_end(&held);
    record = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
    assert_non_null(record);
    assert_string_equal(json_string_value(json_object_get(record, "event")), "script.begin");
    assert_string_equal(json_string_value(json_object_get(record, "run_id")), "run-1");
    assert_string_equal(json_string_value(json_object_get(record, "script")), "0001");
    assert_string_equal(json_string_value(json_object_get(record, "message")),
                        "a\nb \\xff password=***");
    assert_null(json_object_get(record, "step"));
    json_decref(record);
    record = json_loads(strchr(text, '\n') + 1, JSON_DISABLE_EOF_CHECK, NULL);
    assert_string_equal(json_string_value(json_object_get(record, "event")), "db.query");
    assert_true(json_is_object(json_object_get(record, "error")));
    json_decref(record);
    neap_error_clear(&err);
    free(text);
}

static void test_log__progress_is_a_line_a_second_elsewhere(void **unused)
{
    struct neap_log_opts opts = {.level = NEAP_LOG_INFO};
    struct test_stderr held = test_stderr_begin();
    char *text = NULL;

    (void)unused;
    neap_log_open(&opts);
    for (int i = 0; i < 1000; i++)
        neap_log_progress("row %d", i);
    neap_log_progress_end();
    text = test_stderr_end(&held);
    assert_string_equal(text, "row 0\n");
    free(text);
}

static void test_log__progress_is_replaced_on_a_terminal(void **unused)
{
    struct neap_log_opts opts = {.level = NEAP_LOG_INFO, .colour = true};
    struct winsize size = {.ws_row = 24, .ws_col = 20};
    int saved = dup(STDERR_FILENO), main_end = -1, other = -1;
    char text[512] = "";
    ssize_t got = 0;

    (void)unused;
    if (openpty(&main_end, &other, NULL, NULL, &size) != 0)
        skip();
    setenv("TERM", "xterm", 1);
    dup2(other, STDERR_FILENO);
    neap_log_open(&opts);
    neap_log_progress("waiting for a very long name");
    neap_log(NEAP_LOG_WARN, NULL, "x");
    neap_log_progress_end();
    dup2(saved, STDERR_FILENO);
    while (strstr(text, "x\r\n") == NULL) { /* a terminal hands over write by write */
        ssize_t part = read(main_end, text + got, sizeof text - 1 - (size_t)got);
        assert_true(part > 0);
        got += part;
    }
    assert_string_equal(text, "\r\033[Kwaiting for a very \r\033[K\033[33mwarning:\033[0m x\r\n");
    close(main_end);
    close(other);
    close(saved);
}

static void test_log__a_reader_that_went_is_no_failure(void **unused)
{
    struct neap_log_opts opts = {.level = NEAP_LOG_INFO};
    int saved = dup(STDERR_FILENO);
    int ends[2];

    (void)unused;
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    dup2(ends[1], STDERR_FILENO);
    neap_log_open(&opts);
    neap_log(NEAP_LOG_INFO, NULL, "to nobody"); /* SIGPIPE would end the test */
    dup2(saved, STDERR_FILENO);
    close(ends[1]);
    close(saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log__text_has_labels_and_levels),
        cmocka_unit_test(test_log__quiet_keeps_warnings),
        cmocka_unit_test(test_log__json_is_one_object_a_line),
        cmocka_unit_test(test_log__progress_is_a_line_a_second_elsewhere),
        cmocka_unit_test(test_log__progress_is_replaced_on_a_terminal),
        cmocka_unit_test(test_log__a_reader_that_went_is_no_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
