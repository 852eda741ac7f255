/* SPDX-License-Identifier: MIT
 *
 * The server writes the lines; here they are made lines in fact (no control characters),
 * brought to one form where a dump changes how an expression is written, sorted and
 * hashed. Sorting is ours, so that no collation of the server's decides.
 */
#include "bindings/backup/backup_fingerprint.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_session.h"
#include "host/base/buffer.h"
#include "host/base/embedded.h"
#include "host/base/memory.h"

static const char sql_is_prepared[] =
    "select exists (select from pg_prepared_statements p where p.name = 'neap_fingerprint')";

/* Planned once: that takes longer than the answer of a small database. */
static bool prepare(struct pg_client *client, struct neap_error *err)
{
    struct pg_op *op = NULL;
    bool ok = pg_exec_text(client, sql_is_prepared, 0, NULL, &op, err);
    bool prepared = ok && pg_cell_bool(op, 0, 0);

    pg_op_free(op);
    if (!ok || prepared)
        return ok;
    const struct neap_embedded *file = neap_embedded_find("sql/fingerprint.sql");
    char *sql = neap_format("prepare neap_fingerprint as\n%s", file->bytes);

    ok = pg_exec_text(client, sql, 0, NULL, NULL, err);
    free(sql);
    return ok;
}

/* Past a quoted string or name, whose quotes are doubled within. */
static const char *skip_quoted(const char *at)
{
    char quote = *at++;

    while (*at && !(at[0] == quote && at[1] != quote))
        at += at[0] == quote ? 2 : 1;
    return *at ? at + 1 : at;
}

/* The end of what stops at `stops` outside brackets and quotes; its NUL when nothing does. */
static const char *skip_to(const char *at, const char *stops)
{
    int depth = 0;

    while (*at && (depth > 0 || !strchr(stops, *at))) {
        if (*at == '\'' || *at == '"') {
            at = skip_quoted(at);
            continue;
        }
        depth += *at == '(' || *at == '[';
        depth -= *at == ')' || *at == ']';
        at++;
    }
    return at;
}

/* The name of an array's element type: up to its "[]"; NULL when it is no array. */
static const char *skip_type(const char *at)
{
    while (*at && !(at[0] == '[' && at[1] == ']')) {
        if (*at == '"')
            at = skip_quoted(at);
        else if (isalnum((unsigned char)*at) || strchr(" _.(),", *at) || (unsigned char)*at >= 0x80)
            at++;
        else
            return NULL;
    }
    return *at ? at : NULL;
}

/* "(ARRAY['a'::varchar, …])::text[]", which is what x in ('a', …) is for a varchar, becomes
 * "ARRAY[('a'::varchar)::text, …]" when it is read again. Adds the second form and returns
 * the end of the first; NULL when `at` is none. */
static const char *settle_array(const char *at, struct neap_buffer *out)
{
    const char *first = at + strlen("(ARRAY["), *last = skip_to(first, "]");
    const char *type = strncmp(last, "])::", 4) == 0 ? last + 4 : NULL;
    const char *end = type ? skip_type(type) : NULL;

    if (!end || first == last || *first == '[' || strncmp(first, "ARRAY[", 6) == 0)
        return NULL;
    neap_buffer_add_text(out, "ARRAY[");
    for (const char *element = first; element < last;) {
        const char *stop = skip_to(element, ",]");

        neap_buffer_add_format(out, "(%.*s)::%.*s", (int)(stop - element), element,
                               (int)(end - type), type);
        neap_buffer_add_text(out, *stop == ',' ? ", " : "]");
        element = stop + (stop[0] == ',' && stop[1] == ' ' ? 2 : 1);
    }
    return end + 2;
}

static bool is_words(const char *line)
{
    return strncmp(line, "body of ", 8) == 0 || strncmp(line, "comment on ", 11) == 0;
}

static void add_visible(struct neap_buffer *out, unsigned char c)
{
    if (c == '\n')
        neap_buffer_add_text(out, "\\n");
    else if (c == '\\')
        neap_buffer_add_text(out, "\\\\");
    else if (c < 0x20 || c == 0x7f)
        neap_buffer_add_format(out, "\\x%02x", c);
    else
        neap_buffer_add_char(out, (char)c);
}

static char *settle_expressions(const char *line)
{
    struct neap_buffer out = {0};

    for (const char *at = line; *at;) {
        const char *next = strncmp(at, "(ARRAY[", 7) == 0 ? settle_array(at, &out) : NULL;

        if (!next && (*at == '\'' || *at == '"'))
            neap_buffer_add(&out, at, (size_t)((next = skip_quoted(at)) - at));
        if (!next)
            neap_buffer_add_char(&out, *at);
        at = next ? next : at + 1;
    }
    return neap_buffer_take(&out);
}

static char *settle(const char *line)
{
    char *settled = strstr(line, "(ARRAY[") && !is_words(line) ? settle_expressions(line) : NULL;
    struct neap_buffer out = {0};

    for (const char *at = settled ? settled : line; *at; at++)
        add_visible(&out, (unsigned char)*at);
    free(settled);
    return neap_buffer_take(&out);
}

static int compare_lines(const void *left, const void *right)
{
    const char *const *a = left, *const *b = right;

    return strcmp(*a, *b);
}

static void hash_lines(struct backup_schema *schema)
{
    struct neap_hasher hasher;
    struct neap_hash hash;

    neap_hasher_init(&hasher);
    for (size_t i = 0; i < schema->count; i++) {
        neap_hasher_add(&hasher, schema->lines[i], strlen(schema->lines[i]));
        neap_hasher_add(&hasher, "\n", 1);
    }
    neap_hasher_end(&hasher, &hash);
    neap_hash_hex(&hash, schema->hash);
}

static void sort_lines(struct backup_schema *schema)
{
    size_t kept = 0;

    qsort(schema->lines, schema->count, sizeof schema->lines[0], compare_lines);
    for (size_t i = 0; i < schema->count; i++) {
        if (kept > 0 && strcmp(schema->lines[kept - 1], schema->lines[i]) == 0)
            free(schema->lines[i]);
        else
            schema->lines[kept++] = schema->lines[i];
    }
    schema->count = kept;
}

static bool take_lines(const struct pg_op *op, struct backup_schema *schema, struct neap_error *err)
{
    size_t rows = (size_t)pg_rows(op);

    *schema = (struct backup_schema){.lines = neap_alloc_many(rows + 1, sizeof(char *))};
    for (; schema->count < rows; schema->count++) {
        const char *line = pg_cell(op, (int)schema->count, 0);

        if (!line) { /* an object would be missing */
            neap_error_set(err, NEAP_ERR_INTERNAL_BUG, "the schema has a line that is null");
            backup_schema_clear(schema);
            return false;
        }
        schema->lines[schema->count] = settle(line);
    }
    sort_lines(schema);
    hash_lines(schema);
    return true;
}

bool backup_schema_read(struct pg_client *client, struct backup_schema *out, struct neap_error *err)
{
    struct backup_session session;
    struct backup_schema schema = {0};
    struct pg_op *op = NULL;

    if (!backup_session_begin(&session, client, err))
        return false;
    bool ok = prepare(client, err) &&
              pg_exec_text(client, "execute neap_fingerprint", 0, NULL, &op, err) &&
              take_lines(op, &schema, err);

    pg_op_free(op);
    ok = backup_session_end(&session, ok, err);
    if (ok)
        *out = schema;
    else
        backup_schema_clear(&schema);
    return ok;
}

bool backup_schema_hash(struct pg_client *client, char hash[NEAP_HASH_HEX_SIZE],
                        struct neap_error *err)
{
    struct backup_schema schema = {0};

    if (!backup_schema_read(client, &schema, err))
        return false;
    memcpy(hash, schema.hash, sizeof schema.hash);
    backup_schema_clear(&schema);
    return true;
}

void backup_schema_forget(struct backup_schema *schema, const char *kind)
{
    size_t kept = 0, length = strlen(kind);

    for (size_t i = 0; i < schema->count; i++) {
        char *line = schema->lines[i];

        if (strncmp(line, kind, length) == 0 && (line[length] == ' ' || line[length] == ':'))
            free(line);
        else
            schema->lines[kept++] = line;
    }
    schema->count = kept;
    hash_lines(schema);
}

char *backup_schema_diff(const struct backup_schema *before, const struct backup_schema *after)
{
    struct neap_buffer out = {0};

    for (size_t b = 0, a = 0; b < before->count || a < after->count;) {
        int order = b == before->count  ? 1
                    : a == after->count ? -1
                                        : strcmp(before->lines[b], after->lines[a]);

        if (order < 0)
            neap_buffer_add_format(&out, "- %s\n", before->lines[b]);
        else if (order > 0)
            neap_buffer_add_format(&out, "+ %s\n", after->lines[a]);
        b += order <= 0;
        a += order >= 0;
    }
    return out.length ? neap_buffer_take(&out) : NULL;
}

void backup_schema_clear(struct backup_schema *schema)
{
    for (size_t i = 0; i < schema->count; i++)
        free(schema->lines[i]);
    free(schema->lines);
    *schema = (struct backup_schema){0};
}
