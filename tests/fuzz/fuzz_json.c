/* SPDX-License-Identifier: MIT
 *
 * Whatever bytes get into a text, the JSON is valid: jansson reads back what was
 * written, the canonical form is one line of ASCII, and what people see holds no
 * control character.
 */
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/text.h"
#include "tests/fuzz/fuzz.h"

#define SIZE_MAX_BYTES 2048
#define FIELD_MAX 8

/* Both forms are read back as the same value; takes `json`. */
static void check_forms(json_t *json)
{
    char *canonical = neap_json_canonical(json);
    char *pretty = neap_json_pretty(json);
    json_t *one = json_loads(canonical, JSON_DECODE_ANY, NULL);
    json_t *two = json_loads(pretty, JSON_DECODE_ANY, NULL);
    char *again = neap_json_canonical(one);

    FUZZ_CHECK(one && json_equal(one, json), "canonical: %s", canonical);
    FUZZ_CHECK(two && json_equal(two, json), "pretty: %s", pretty);
    FUZZ_CHECK(strcmp(again, canonical) == 0, "%s is not %s", again, canonical);
    FUZZ_CHECK(neap_text_is_utf8(pretty, strlen(pretty)), "not UTF-8");
    for (const char *at = canonical; *at; at++)
        FUZZ_CHECK(*at >= 0x20, "byte %d in the canonical form", *at);
    free(again);
    free(pretty);
    free(canonical);
    json_decref(two);
    json_decref(one);
    json_decref(json);
}

static void check_text(const char *text)
{
    json_t *json = neap_json_text(text);
    const char *value = json_string_value(json);

    FUZZ_CHECK(value, "the text is lost");
    if (neap_text_is_utf8(text, strlen(text)))
        FUZZ_CHECK(strcmp(value, text) == 0, "changed: %s", value);
    check_forms(json);
}

static void check_printable(const char *text, bool keep_newlines)
{
    char *shown = neap_printable(text, keep_newlines);

    FUZZ_CHECK(neap_text_is_utf8(shown, strlen(shown)), "not UTF-8");
    for (const char *at = shown; *at; at++) {
        bool kept = keep_newlines && (*at == '\n' || *at == '\t');

        FUZZ_CHECK(kept || ((unsigned char)*at >= 0x20 && *at != 0x7f), "byte %d", *at);
    }
    free(shown);
}

/* The input's lines (by byte 0) are the fields of an error, as a server gives them. */
static void check_error(char *const *fields)
{
    struct neap_error err = {0};

    neap_error_set(&err, NEAP_ERR_DB_QUERY, "%s", fields[0]);
    neap_error_detail(&err, "%s", fields[1]);
    neap_error_hint(&err, "%s", fields[2]);
    neap_error_sqlstate(&err, fields[3]);
    neap_error_sql(&err, fields[4], fields[5][0]);
    neap_error_where(&err, fields[6], (unsigned char)fields[5][0]);
    neap_error_traceback(&err, fields[7]);
    char *text = neap_error_text(&err);

    FUZZ_CHECK(neap_text_is_utf8(text, strlen(text)), "not UTF-8");
    for (const char *at = text; *at; at++)
        FUZZ_CHECK((unsigned char)*at >= 0x20 || *at == '\n' || *at == '\t', "byte %d", *at);
    free(text);
    check_forms(neap_json_error(&err));
    neap_error_clear(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *fields[FIELD_MAX];
    size_t at = 0;

    if (size > SIZE_MAX_BYTES)
        return 0;
    for (size_t i = 0; i < FIELD_MAX; i++) {
        fields[i] = fuzz_string(data + at, size - at);
        at += strlen(fields[i]);
        at += at < size;
    }
    check_text(fields[0]);
    check_printable(fields[0], true);
    check_printable(fields[0], false);
    check_error(fields);
    json_t *object = json_object();
    for (size_t i = 0; i < FIELD_MAX; i++)
        if (neap_text_is_utf8(fields[i], strlen(fields[i])))
            neap_json_set(object, fields[i], neap_json_text(fields[FIELD_MAX - 1 - i]));
    check_forms(object);
    for (size_t i = 0; i < FIELD_MAX; i++)
        free(fields[i]);
    return 0;
}
