/* SPDX-License-Identifier: MIT
 *
 * Two digests compared, in words: which table, and what of it. It asks no server.
 */
#include "bindings/backup/backup_digest.h"

#include <string.h>

#include "host/base/buffer.h"

#define DIGEST_SHOWN 16 /* characters: enough to tell two apart */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static long long number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void add_digests(struct neap_buffer *out, const json_t *source, const json_t *copy)
{
    neap_buffer_add_format(out, "the content differs (digest %.*s in the source, %.*s in the copy)",
                           DIGEST_SHOWN, text_of(source, "digest"), DIGEST_SHOWN,
                           text_of(copy, "digest"));
}

static void say_table(struct neap_buffer *out, const char *name, const json_t *source,
                      const json_t *copy)
{
    long long rows = number_of(source, "rows"), copied = number_of(copy, "rows");

    neap_buffer_add_format(out, "table %s: ", name);
    if (rows != copied)
        neap_buffer_add_format(out, "%lld rows in the source, %lld in the copy; ", rows, copied);
    else
        neap_buffer_add_format(out, "%lld rows in both; ", rows);
    if (json_is_true(json_object_get(source, "sampled")) !=
        json_is_true(json_object_get(copy, "sampled")))
        neap_buffer_add_text(out, "one digest is of a sample and one of all rows");
    else
        add_digests(out, source, copy);
    neap_buffer_add_char(out, '\n');
}

static void say_sequence(struct neap_buffer *out, const char *name, const json_t *source,
                         const json_t *copy)
{
    neap_buffer_add_format(
        out, "sequence %s: last value %lld%s in the source, %lld%s in the copy\n", name,
        number_of(source, "last_value"),
        json_is_true(json_object_get(source, "is_called")) ? "" : " (not called)",
        number_of(copy, "last_value"),
        json_is_true(json_object_get(copy, "is_called")) ? "" : " (not called)");
}

static void say_large_objects(struct neap_buffer *out, const json_t *source, const json_t *copy)
{
    neap_buffer_add_format(out, "large objects: %lld in the source, %lld in the copy; ",
                           number_of(source, "count"), number_of(copy, "count"));
    add_digests(out, source, copy);
    neap_buffer_add_char(out, '\n');
}

/* One part of the digest, an object by name. */
struct part {
    const char *key, *noun;
    void (*say)(struct neap_buffer *out, const char *name, const json_t *source,
                const json_t *copy);
};

static void compare_part(struct neap_buffer *out, const struct part *part, const json_t *source,
                         const json_t *copy)
{
    json_t *ours = json_object_get(source, part->key), *theirs = json_object_get(copy, part->key);
    const char *name = NULL;
    json_t *value = NULL;

    json_object_foreach(ours, name, value)
    {
        const json_t *other = json_object_get(theirs, name);

        if (!other)
            neap_buffer_add_format(out, "%s %s: not in the copy\n", part->noun, name);
        else if (!json_equal(value, other))
            part->say(out, name, value, other);
    }
    json_object_foreach(theirs, name, value)
    {
        if (!json_object_get(ours, name))
            neap_buffer_add_format(out, "%s %s: only in the copy\n", part->noun, name);
    }
}

char *backup_digest_diff(const json_t *source, const json_t *copy)
{
    static const struct part parts[] = {{"tables", "table", say_table},
                                        {"sequences", "sequence", say_sequence}};
    const json_t *ours = json_object_get(source, "large_objects"),
                 *theirs = json_object_get(copy, "large_objects");
    struct neap_buffer out = {0};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        compare_part(&out, &parts[i], source, copy);
    if (!json_equal(ours, theirs))
        say_large_objects(&out, ours, theirs);
    return out.length ? neap_buffer_take(&out) : NULL;
}
