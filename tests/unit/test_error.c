/* SPDX-License-Identifier: MIT
 *
 * The error object and its text: place, caret, redaction.
 */
#include "tests/unit/test_support.h"

#include "host/base/error.h"
#include "host/base/log.h"
#include "host/base/memory.h"

static void check_text(struct neap_error *err, const char *expected)
{
    char *text = neap_error_text(err);

    assert_string_equal(text, expected);
    free(text);
    neap_error_clear(err);
}

static void test_error__rows_are_the_list(void **unused)
{
    (void)unused;
    assert_string_equal(neap_error_row(NEAP_ERR_DB_QUERY)->code, "db.query");
    assert_string_equal(neap_error_row(NEAP_ERR_DB_QUERY)->name, "DB_QUERY");
    assert_int_equal(neap_error_row(NEAP_OK)->exit_status, 0);
    assert_string_equal(neap_error_row((enum neap_error_code)9999)->code, "internal.bug");
    for (int code = 1; code < NEAP_ERROR_COUNT; code++)
        assert_int_equal(neap_error_code_of(neap_error_row((enum neap_error_code)code)->code),
                         code);
    assert_int_equal(neap_error_code_of("no.such"), NEAP_OK);
    assert_int_equal(neap_error_code_of(NULL), NEAP_OK);
}

static void test_error__null_is_nobody(void **unused)
{
    struct neap_error err = {0};

    (void)unused;
    neap_error_set(NULL, NEAP_ERR_DB_QUERY, "x");
    neap_error_detail(NULL, "x");
    neap_error_hint(NULL, "x");
    neap_error_sqlstate(NULL, "42P01");
    neap_error_sql(NULL, "x", 1);
    neap_error_where(NULL, "x", 1);
    neap_error_traceback(NULL, "x");
    neap_error_errno(NULL, NEAP_ERR_FILE_IO, 2, "x");
    neap_error_copy(NULL, &err);
    neap_error_set(&err, NEAP_ERR_DB_QUERY, "x");
    neap_error_move(NULL, &err);
    assert_int_equal(err.code, NEAP_OK);
    neap_error_clear(NULL);
}

static void test_error__may_quote_itself(void **unused)
{
    struct neap_error err = {0}, copy = {0};

    (void)unused;
    neap_error_set(&err, NEAP_ERR_DB_QUERY, "first");
    neap_error_sqlstate(&err, "42P01XX");
    neap_error_set(&err, NEAP_ERR_DB_LOST, "second after %s", err.message);
    assert_string_equal(err.message, "second after first");
    assert_string_equal(err.sqlstate, "");
    neap_error_sqlstate(&err, "42P01XX");
    assert_string_equal(err.sqlstate, "42P01");
    neap_error_copy(&copy, &err);
    neap_error_copy(&copy, &copy);
    neap_error_move(&copy, &copy);
    assert_ptr_not_equal(copy.message, err.message);
    neap_error_move(&err, &copy);
    assert_string_equal(err.message, "second after first");
    assert_null(copy.message);
    neap_error_clear(&err);
    neap_error_clear(&err);
}

static void test_error__shows_place_and_caret(void **unused)
{
    struct neap_error err = {0};

    (void)unused;
    neap_error_set(&err, NEAP_ERR_DB_QUERY, "relation \"y\" does not exist");
    neap_error_sqlstate(&err, "42P01");
    neap_error_where(&err, "migrations/0003_x.lua", 12);
    neap_error_sql(&err, "select *\n\tfrom y", 16);
    neap_error_detail(&err, "One.\nTwo.");
    neap_error_hint(&err, "Do it.");
    neap_error_traceback(&err, "a.lua:1\nb.lua:2\n");
    check_text(&err, "error: relation \"y\" does not exist (code db.query, SQLSTATE 42P01)\n"
                     "  at migrations/0003_x.lua:12\n"
                     "  line 2:     from y\n"
                     "                   ^\n"
                     "  detail: One.\n    Two.\n"
                     "  hint: Do it.\n"
                     "  traceback:\n    a.lua:1\n    b.lua:2");
}

static void test_error__caret_counts_characters(void **unused)
{
    struct neap_error err = {0};

    (void)unused;
    neap_error_set(&err, NEAP_ERR_DB_QUERY, "bad");
    neap_error_sql(&err, "select '\xe6\x97\xa5\xc3\xa6' x", 13);
    check_text(&err, "error: bad (code db.query)\n"
                     "  line 1: select '\xe6\x97\xa5\xc3\xa6' x\n"
                     "                       ^");
}

static void test_error__cuts_long_lines(void **unused)
{
    struct neap_error err = {0};
    char sql[2001];
    char *text = NULL, *caret = NULL, *line = NULL;

    (void)unused;
    memset(sql, 'a', 2000);
    sql[2000] = '\0';
    sql[999] = 'X';
    neap_error_set(&err, NEAP_ERR_DB_QUERY, "bad");
    neap_error_sql(&err, sql, 1000);
    text = neap_error_text(&err);
    line = strstr(text, "  line 1: ...a");
    assert_non_null(line);
    caret = strchr(line, '\n');
    assert_true(caret - line < 130);
    assert_int_equal(strchr(line, 'X') - line, strchr(caret, '^') - caret - 1);
    assert_contains(text, "a...\n");
    free(text);
    neap_error_clear(&err);
}

static void test_error__position_past_the_end(void **unused)
{
    struct neap_error err = {0};

    (void)unused;
    neap_error_set(&err, NEAP_ERR_DB_QUERY, "bad");
    neap_error_sql(&err, "ab", 99);
    check_text(&err, "error: bad (code db.query)\n  line 1: ab\n            ^");
    neap_error_set(&err, NEAP_ERR_DB_QUERY, "bad");
    neap_error_sql(&err, "\n  select 1\n", -4);
    check_text(&err, "error: bad (code db.query)\n  line 2:   select 1");
}

static void test_error__hides_secrets_and_escapes(void **unused)
{
    struct neap_error err = {0};

    (void)unused;
    neap_redact_add("nEaP-CaNaRy");
    neap_error_set(&err, NEAP_ERR_DB_QUERY, "no \033[2J nEaP-CaNaRy");
    neap_error_sql(&err, "create role r password 'abcdefgh' x", 35);
    check_text(&err, "error: no \\x1b[2J *** (code db.query)\n"
                     "  line 1: create role r password '***' x\n"
                     "                                       ^");
    neap_redact_clear();
}

static void test_error__falls_back_on_the_row(void **unused)
{
    struct neap_error err = {.code = NEAP_ERR_LEASE_HELD};

    (void)unused;
    check_text(&err, "error: another run holds the lease (code lease.held)\n"
                     "  hint: See `neap lease show`.");
    neap_error_errno(&err, NEAP_ERR_FILE_IO, 2, "cannot open %s", "/x");
    assert_string_equal(err.message, "cannot open /x: No such file or directory");
    assert_int_equal(neap_error_exit_status(&err), 2);
    neap_error_clear(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error__rows_are_the_list),
        cmocka_unit_test(test_error__null_is_nobody),
        cmocka_unit_test(test_error__may_quote_itself),
        cmocka_unit_test(test_error__shows_place_and_caret),
        cmocka_unit_test(test_error__caret_counts_characters),
        cmocka_unit_test(test_error__cuts_long_lines),
        cmocka_unit_test(test_error__position_past_the_end),
        cmocka_unit_test(test_error__hides_secrets_and_escapes),
        cmocka_unit_test(test_error__falls_back_on_the_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
