/* SPDX-License-Identifier: MIT
 *
 * Nearest words, UTF-8 and widths.
 */
#include "tests/unit/test_support.h"

#include "host/base/text.h"

static void test_text__finds_what_was_meant(void **unused)
{
    static const char *const words[] = {"status", "timeout", "lock_timeout", "up", "down",
                                        "verify", NULL};

    (void)unused;
    assert_string_equal(neap_text_nearest("stauts", words), "status");
    assert_string_equal(neap_text_nearest("timout", words), "timeout");
    assert_string_equal(neap_text_nearest("Timeout", words), "timeout");
    assert_string_equal(neap_text_nearest("pu", words), "up");
    assert_string_equal(neap_text_nearest("veryfi", words), "verify");
    assert_null(neap_text_nearest("completely", words));
    assert_null(neap_text_nearest("xy", words));
    assert_null(neap_text_nearest("", words));
}

static void test_text__survives_long_words(void **unused)
{
    static const char *const words[] = {"status", NULL};
    char word[5000];

    (void)unused;
    memset(word, 's', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    assert_null(neap_text_nearest(word, words));
}

static void test_text__knows_utf8(void **unused)
{
    (void)unused;
    assert_true(neap_text_is_utf8("", 0));
    assert_true(neap_text_is_utf8("a\0b", 3));
    assert_true(neap_text_is_utf8("\xc3\xa6\xe2\x82\xac\xf0\x9f\x98\x80", 9));
    assert_false(neap_text_is_utf8("\xc0\x80", 2));         /* overlong */
    assert_false(neap_text_is_utf8("\xe0\x80\x80", 3));     /* overlong */
    assert_false(neap_text_is_utf8("\xed\xa0\x80", 3));     /* surrogate */
    assert_false(neap_text_is_utf8("\xf4\x90\x80\x80", 4)); /* past U+10FFFF */
    assert_false(neap_text_is_utf8("\xf8\x90\x80\x80", 4)); /* five-byte lead */
    assert_false(neap_text_is_utf8("\xff", 1));
    assert_false(neap_text_is_utf8("\x80", 1));
    assert_false(neap_text_is_utf8("\xe2\x82", 2)); /* cut */
    assert_false(neap_text_is_utf8("\xe2(\xa1", 3));
}

static void test_text__measures_columns(void **unused)
{
    (void)unused;
    assert_int_equal(neap_text_width("abc"), 3);
    assert_int_equal(neap_text_width("\xc3\xa6"), 1);
    assert_int_equal(neap_text_width("\xe6\x97\xa5\xe6\x9c\xac"), 4); /* two ideographs */
    assert_int_equal(neap_text_width("e\xcc\x81"), 1);                /* combining accent */
    assert_int_equal(neap_text_width("\xf0\x9f\x98\x80"), 2);
    assert_int_equal(neap_text_width("\xff\xff"), 2);
    assert_int_equal(neap_text_width(""), 0);
    assert_int_equal(neap_text_width("ab\xc3\xa6 c"), 5);
    assert_int_equal(neap_text_width("a\x01"
                                     "b"),
                     2);
    assert_int_equal(neap_text_plain("ab\xc3\xa6"), 2);
    assert_int_equal(neap_text_plain(" ~\x7f"), 2);
    assert_int_equal(neap_text_plain("\n"), 0);
    assert_int_equal(neap_text_plain(""), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text__finds_what_was_meant),
        cmocka_unit_test(test_text__survives_long_words),
        cmocka_unit_test(test_text__knows_utf8),
        cmocka_unit_test(test_text__measures_columns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
