/* SPDX-License-Identifier: MIT
 *
 * Durations and sizes: a unit is required, overflow and signs are refused.
 */
#include "tests/unit/test_support.h"

#include <time.h>

#include "host/base/clock.h"

static void check_duration(const char *text, int64_t expected)
{
    int64_t ms = -1;

    if (!neap_duration_parse(text, "timeout", &ms, NULL))
        fail_msg("%s was refused", text);
    if (ms != expected)
        fail_msg("%s gave %lld", text, (long long)ms);
}

static void test_clock__reads_durations(void **unused)
{
    (void)unused;
    check_duration("0", 0);
    check_duration("500ms", 500);
    check_duration("30s", 30000);
    check_duration("2min", 120000);
    check_duration("1h", 3600000);
    check_duration("7d", 7 * 86400000LL);
    check_duration("1h30min", 5400000);
    check_duration("1h 30min", 5400000);
    check_duration("30 s", 30000);
    check_duration("0s", 0);
    check_duration("1s500ms", 1500);
    check_duration("2147483647ms", INT32_MAX);
}

static void test_clock__refuses_what_is_no_duration(void **unused)
{
    static const char *const bad[] = {
        "",
        "30",
        "s",
        "-1s",
        "+1s",
        " 1s",
        "1s ",
        "1.5s",
        "1m",
        "1 month",
        "1S",
        "1h1h",
        "5s1h",
        "0x10s",
        "1e3s",
        "1s,",
        "99999999999999999999s",
        "9223372036854775807s",
        "106751991168d",
        "00",
        "ms",
        "1h30",
    };

    (void)unused;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t ms = 77;
        struct neap_error err = {0};

        if (neap_duration_parse(bad[i], "--timeout", &ms, &err))
            fail_msg("\"%s\" was accepted as %lld", bad[i], (long long)ms);
        assert_int_equal(err.code, NEAP_ERR_USAGE);
        assert_contains(err.message, "--timeout");
        assert_contains(err.hint, "30s");
        assert_int_equal(ms, 77);
        neap_error_clear(&err);
    }
    assert_false(neap_duration_parse(NULL, "x", &(int64_t){0}, NULL));
}

static void test_clock__ends_where_the_server_s_timeouts_end(void **unused)
{
    static const char *const longer[] = {"25d", "2147483648ms", "106751991167d"};
    struct neap_error err = {0};
    int64_t ms = 77;

    (void)unused;
    for (size_t i = 0; i < sizeof longer / sizeof *longer; i++) {
        assert_false(neap_duration_parse(longer[i], "--timeout", &ms, &err));
        assert_int_equal(err.code, NEAP_ERR_USAGE);
        assert_contains(err.message, "--timeout is too long: ");
        assert_int_equal(ms, 77);
        neap_error_clear(&err);
    }
    assert_true(neap_age_parse("365d", "daily", &ms, &err));
    assert_true(ms == 365LL * 86400000);
    assert_false(neap_age_parse("106751991167d", "daily", &ms, &err));
    assert_contains(err.message, "daily is too long: ");
    neap_error_clear(&err);
    assert_false(neap_age_parse("7", "daily", &ms, &err));
    neap_error_clear(&err);
}

static void test_clock__reads_sizes(void **unused)
{
    int64_t bytes = 0;

    (void)unused;
    assert_true(neap_size_parse("512kB", "size", &bytes, NULL));
    assert_int_equal(bytes, 524288);
    assert_true(neap_size_parse("64MB", "size", &bytes, NULL));
    assert_int_equal(bytes, 67108864);
    assert_true(neap_size_parse("1GB", "size", &bytes, NULL));
    assert_int_equal(bytes, 1073741824);
    assert_true(neap_size_parse("0", "size", &bytes, NULL));
    assert_false(neap_size_parse("64", "size", &bytes, NULL));
    assert_false(neap_size_parse("64M", "size", &bytes, NULL));
    assert_false(neap_size_parse("-1MB", "size", &bytes, NULL));
    assert_false(neap_size_parse("9999999999GB", "size", &bytes, NULL));
}

static void check_text(int64_t ms, const char *expected)
{
    char text[NEAP_DURATION_SIZE];

    neap_duration_text(ms, text);
    assert_string_equal(text, expected);
}

static void test_clock__shows_durations(void **unused)
{
    (void)unused;
    check_text(-5, "0 ms");
    check_text(340, "340 ms");
    check_text(2100, "2.1 s");
    check_text(59999, "59.9 s");
    check_text(185000, "3 min 5 s");
    check_text(3723000, "1 h 2 min");
    check_text(90000000, "1 d 1 h");
    check_text(INT64_MAX, "106751991167 d 7 h");
}

static void test_clock__deadlines_do_not_overflow(void **unused)
{
    int64_t now = neap_clock_ms();

    (void)unused;
    assert_true(neap_clock_deadline_ms(0) == NEAP_FOREVER);
    assert_true(neap_clock_deadline_ms(-1) == NEAP_FOREVER);
    assert_true(neap_clock_deadline_ms(INT64_MAX) == NEAP_FOREVER);
    assert_true(neap_clock_deadline_ms(1000) >= now + 1000);
    assert_true(neap_clock_deadline_ms(1000) < now + 2000);
}

static void test_clock__utc_is_rfc3339(void **unused)
{
    char text[NEAP_UTC_SIZE];
    int year = 0, micros = 0;

    (void)unused;
    setenv("TZ", "America/New_York", 1);
    neap_clock_utc(text);
    assert_int_equal(strlen(text), 27);
    assert_int_equal(sscanf(text, "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%6dZ", &year, &micros), 2);
    assert_int_equal(text[26], 'Z');
    assert_true(year >= 2024);
}

static void check_utc(int64_t at_us, const char *expected)
{
    char text[NEAP_UTC_SIZE];

    neap_clock_utc_of(at_us, text);
    assert_string_equal(text, expected);
}

/* As the C library has it, on each day of 10,000 years. */
static void test_clock__every_day_has_its_date(void **unused)
{
    (void)unused;
    check_utc(0, "1970-01-01T00:00:00.000000Z");
    check_utc(-1, "1969-12-31T23:59:59.999999Z");
    check_utc(1795208738123456, "2026-11-20T21:05:38.123456Z");
    check_utc(951782400000000, "2000-02-29T00:00:00.000000Z");
    check_utc(INT64_MAX, "9999-12-31T23:59:59.999999Z");
    check_utc(INT64_MIN, "0001-01-01T00:00:00.000000Z");
    for (int64_t day = -719162; day < 2932897; day++) {
        time_t at = (time_t)(day * 86400 + 86399);
        struct tm parts;
        char text[NEAP_UTC_SIZE], expected[NEAP_UTC_SIZE * 4];

        gmtime_r(&at, &parts);
        snprintf(expected, sizeof expected, "%04d-%02d-%02dT23:59:59.000001Z", parts.tm_year + 1900,
                 parts.tm_mon + 1, parts.tm_mday);
        neap_clock_utc_of((int64_t)at * 1000000 + 1, text);
        int64_t back = 0;
        if (strcmp(text, expected) != 0)
            assert_string_equal(text, expected);
        if (!neap_clock_utc_parse(text, &back) || back != (int64_t)at * 1000000 + 1)
            fail_msg("%s is read as %lld", text, (long long)back);
    }
}

static void test_clock__refuses_what_is_no_moment(void **unused)
{
    static const char *const texts[] = {"",
                                        "2026",
                                        "2026-11-20T21:05:38Z",
                                        "2026-11-20T21:05:38.123456",
                                        "2026-11-20T21:05:38.123456Zs",
                                        "2026-13-20T21:05:38.123456Z",
                                        "2026-00-20T21:05:38.123456Z",
                                        "0000-01-20T21:05:38.123456Z",
                                        "2026-11-00T21:05:38.123456Z",
                                        "2026-11-20 21:05:38.123456Z",
                                        "2026-11-2xT21:05:38.123456Z"};
    int64_t at_us = 7;

    (void)unused;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_false(neap_clock_utc_parse(texts[i], &at_us));
    assert_int_equal(at_us, 7);
}

static void test_clock__says_sizes(void **unused)
{
    char text[NEAP_SIZE_SIZE];

    (void)unused;
    neap_size_text(1023, text);
    assert_string_equal(text, "1023 bytes");
    neap_size_text(1536, text);
    assert_string_equal(text, "1.5 kB");
    neap_size_text(INT64_MAX, text);
    assert_string_equal(text, "8388608.0 TB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock__reads_durations),
        cmocka_unit_test(test_clock__refuses_what_is_no_duration),
        cmocka_unit_test(test_clock__ends_where_the_server_s_timeouts_end),
        cmocka_unit_test(test_clock__reads_sizes),
        cmocka_unit_test(test_clock__shows_durations),
        cmocka_unit_test(test_clock__deadlines_do_not_overflow),
        cmocka_unit_test(test_clock__utc_is_rfc3339),
        cmocka_unit_test(test_clock__every_day_has_its_date),
        cmocka_unit_test(test_clock__refuses_what_is_no_moment),
        cmocka_unit_test(test_clock__says_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
