/* SPDX-License-Identifier: MIT
 *
 * Canonical and readable JSON, text that is no text, errors.
 */
#include "tests/unit/test_support.h"

#include "host/base/json.h"
#include "host/base/log.h"

static void test_json__canonical_is_one_spelling(void **unused)
{
    json_t *object = json_object();
    char *text = NULL;

    (void)unused;
    neap_json_set(object, "b", json_integer(1));
    neap_json_set(object, "a", neap_json_text("\xc3\xa6\n"));
    neap_json_set(object, "c", NULL);
    text = neap_json_canonical(object);
    assert_string_equal(text, "{\"a\":\"\\u00E6\\n\",\"b\":1,\"c\":null}");
    free(text);
    text = neap_json_pretty(object);
    assert_string_equal(text, "{\n  \"b\": 1,\n  \"a\": \"\xc3\xa6\\n\",\n  \"c\": null\n}");
    free(text);
    json_decref(object);
    text = neap_json_canonical(NULL);
    assert_string_equal(text, "null");
    free(text);
}

static void test_json__text_never_fails(void **unused)
{
    json_t *json = neap_json_text("a\xff");

    (void)unused;
    assert_string_equal(json_string_value(json), "a\\xff");
    json_decref(json);
    json = neap_json_text(NULL);
    assert_true(json_is_null(json));
    json_decref(json);
}

static void test_json__error_is_whole_and_redacted(void **unused)
{
    struct neap_error err = {0};
    json_t *json = NULL;

    (void)unused;
    neap_redact_add("nEaP-CaNaRy");
    neap_error_set(&err, NEAP_ERR_DB_QUERY, "bad nEaP-CaNaRy");
    neap_error_sqlstate(&err, "42P01");
    neap_error_sql(&err, "select 'nEaP-CaNaRy'", 8);
    neap_error_where(&err, "migrations/0001_a.lua", 3);
    json = neap_json_error(&err);
    assert_string_equal(json_string_value(json_object_get(json, "code")), "db.query");
    assert_string_equal(json_string_value(json_object_get(json, "message")), "bad ***");
    assert_string_equal(json_string_value(json_object_get(json, "sql")), "select '***'");
    assert_string_equal(json_string_value(json_object_get(json, "sqlstate")), "42P01");
    assert_int_equal(json_integer_value(json_object_get(json, "position")), 8);
    assert_int_equal(json_integer_value(json_object_get(json, "line")), 3);
    assert_null(json_object_get(json, "detail"));
    json_decref(json);
    neap_error_clear(&err);
    neap_redact_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json__canonical_is_one_spelling),
        cmocka_unit_test(test_json__text_never_fails),
        cmocka_unit_test(test_json__error_is_whole_and_redacted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
