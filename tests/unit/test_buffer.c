/* SPDX-License-Identifier: MIT
 *
 * The growing byte string: NUL-terminated, doubled, handed over.
 */
#include "tests/unit/test_support.h"

#include "host/base/buffer.h"
#include "host/base/memory.h"

static void test_buffer__is_text_while_empty(void **unused)
{
    struct neap_buffer buffer = {0};
    char *taken = NULL;

    (void)unused;
    assert_string_equal(neap_buffer_text(&buffer), "");
    taken = neap_buffer_take(&buffer);
    assert_string_equal(taken, "");
    free(taken);
    neap_buffer_add(&buffer, NULL, 0);
    neap_buffer_add_text(&buffer, NULL);
    assert_string_equal(neap_buffer_text(&buffer), "");
    neap_buffer_clear(&buffer);
    neap_buffer_clear(&buffer);
}

static void test_buffer__grows_and_keeps_bytes(void **unused)
{
    struct neap_buffer buffer = {0};

    (void)unused;
    for (int i = 0; i < 10000; i++)
        neap_buffer_add_char(&buffer, (char)('a' + i % 26));
    neap_buffer_add(&buffer, "x\0y", 3);
    assert_int_equal(buffer.length, 10003);
    assert_int_equal(buffer.bytes[9999], 'a' + 9999 % 26);
    assert_memory_equal(buffer.bytes + 10000, "x\0y", 4);
    neap_buffer_clear(&buffer);
    assert_null(buffer.bytes);
}

static void test_buffer__formats_and_hands_over(void **unused)
{
    struct neap_buffer buffer = {0};
    char *taken = NULL;

    (void)unused;
    neap_buffer_add_text(&buffer, "n = ");
    neap_buffer_add_format(&buffer, "%d%s", 42, "!");
    taken = neap_buffer_take(&buffer);
    assert_string_equal(taken, "n = 42!");
    assert_int_equal(buffer.length, 0);
    assert_int_equal(buffer.capacity, 0);
    free(taken);
}

static void test_memory__copies(void **unused)
{
    char *text = neap_strndup("abcdef", 3);
    char *none = neap_strdup(NULL);
    unsigned char *zero = neap_alloc(16);

    (void)unused;
    assert_string_equal(text, "abc");
    assert_null(none);
    for (int i = 0; i < 16; i++)
        assert_int_equal(zero[i], 0);
    free(text);
    free(zero);
    text = neap_strndup("ab", 30);
    assert_string_equal(text, "ab");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buffer__is_text_while_empty),
        cmocka_unit_test(test_buffer__grows_and_keeps_bytes),
        cmocka_unit_test(test_buffer__formats_and_hands_over),
        cmocka_unit_test(test_memory__copies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
