/* SPDX-License-Identifier: MIT
 *
 * jansson in neap's two forms. jansson refuses invalid UTF-8 by returning NULL,
 * which then vanishes from the object: text therefore goes through
 * neap_json_text, which escapes such bytes instead of losing the field.
 */
#include "host/base/json.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/text.h"

#define FORM_CANONICAL (JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII | JSON_ENCODE_ANY)
#define FORM_PRETTY (JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY)

/* jansson fails on NULL and on cycles; both print as null. */
static char *dump(const json_t *json, size_t form)
{
    char *text = json ? json_dumps(json, form) : NULL;

    return text ? text : neap_strdup("null");
}

char *neap_json_canonical(const json_t *json)
{
    return dump(json, FORM_CANONICAL);
}

char *neap_json_pretty(const json_t *json)
{
    return dump(json, FORM_PRETTY);
}

json_t *neap_json_text(const char *text)
{
    json_t *json = NULL;
    char *clean = NULL;

    if (!text)
        return json_null();
    if (neap_text_is_utf8(text, strlen(text)))
        return json_string(text);
    clean = neap_printable(text, true);
    json = json_string(clean);
    free(clean);
    return json;
}

static void set_redacted(json_t *object, const char *key, const char *text)
{
    char *clean = NULL;

    if (!text || !*text)
        return;
    clean = neap_redact(text);
    neap_json_set(object, key, neap_json_text(clean));
    free(clean);
}

json_t *neap_json_error(const struct neap_error *err)
{
    const struct neap_error_row *row = neap_error_row(err->code);
    json_t *object = json_object();

    neap_json_set(object, "code", json_string(row->code));
    set_redacted(object, "message", err->message ? err->message : row->summary);
    set_redacted(object, "detail", err->detail);
    set_redacted(object, "hint", err->hint ? err->hint : row->next);
    set_redacted(object, "sqlstate", err->sqlstate);
    set_redacted(object, "sql", err->sql);
    if (err->sql_position > 0)
        neap_json_set(object, "position", json_integer(err->sql_position));
    set_redacted(object, "file", err->where_file);
    if (err->where_line > 0)
        neap_json_set(object, "line", json_integer(err->where_line));
    set_redacted(object, "traceback", err->traceback);
    return object;
}

void neap_json_set(json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, value ? value : json_null());
}
