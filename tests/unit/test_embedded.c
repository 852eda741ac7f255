/* SPDX-License-Identifier: MIT
 *
 * What is embedded is what lies in stdlib/.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "host/base/embedded.h"

static void test_embedded__sorted_and_terminated(void **state)
{
    (void)state;
    const struct neap_embedded *row = neap_embedded_all();
    assert_non_null(row->path);
    for (; row[1].path != NULL; row++)
        assert_true(strcmp(row[0].path, row[1].path) < 0);
}

static void test_embedded__bytes_are_the_files(void **state)
{
    (void)state;
    for (const struct neap_embedded *row = neap_embedded_all(); row->path != NULL; row++) {
        char path[512];
        assert_true(snprintf(path, sizeof path, "stdlib/%s", row->path) < (int)sizeof path);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        for (size_t i = 0; i < row->length; i++)
            assert_int_equal(fgetc(file), (unsigned char)row->bytes[i]);
        assert_int_equal(fgetc(file), EOF);
        assert_int_equal(row->bytes[row->length], '\0');
        (void)fclose(file);
    }
}

static void test_embedded__find_is_exact(void **state)
{
    (void)state;
    const struct neap_embedded *first = neap_embedded_all();
    assert_ptr_equal(neap_embedded_find(first->path), first);
    assert_null(neap_embedded_find("help/"));
    assert_null(neap_embedded_find(""));
    assert_null(neap_embedded_find("../LICENSE"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embedded__sorted_and_terminated),
        cmocka_unit_test(test_embedded__bytes_are_the_files),
        cmocka_unit_test(test_embedded__find_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
