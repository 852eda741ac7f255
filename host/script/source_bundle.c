/* SPDX-License-Identifier: MIT
 *
 * A script as history stores it: zlib around JSON. Reading it back trusts
 * nothing: sizes are bounded before memory is taken, hashes are computed again.
 * Surprising: bytes that JSON cannot carry (a Lua string may hold any) go as hex.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "host/base/buffer.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/base/text.h"
#include "host/script/source_parts.h"

#define BUNDLE_VERSION 1
#define BUNDLE_FILE_MAX 1000
#define BUNDLE_SIZE_MAX ((size_t)64 * 1024 * 1024)

static const char *kind_name(enum neap_source_kind kind)
{
    return kind == NEAP_SOURCE_SQL ? "sql" : "lua";
}

static char *to_hex(const char *bytes, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    char *hex = neap_alloc(2 * length + 1);
    for (size_t i = 0; i < length; i++) {
        hex[2 * i] = digits[(unsigned char)bytes[i] >> 4];
        hex[2 * i + 1] = digits[(unsigned char)bytes[i] & 15];
    }
    return hex;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static char *from_hex(const char *hex, size_t *length)
{
    size_t count = strlen(hex);
    char *bytes = count % 2 == 0 ? neap_alloc(count / 2 + 1) : NULL;
    for (size_t i = 0; bytes != NULL && i < count; i += 2) {
        int high = hex_digit(hex[i]);
        int low = hex_digit(hex[i + 1]);
        if (high < 0 || low < 0) {
            free(bytes);
            return NULL;
        }
        bytes[i / 2] = (char)(high * 16 + low);
    }
    *length = count / 2;
    return bytes;
}

static json_t *file_json(const struct neap_source_file *file)
{
    json_t *json = json_object();
    bool is_text = memchr(file->text, '\0', file->length) == NULL &&
                   neap_text_is_utf8(file->text, file->length);
    neap_json_set(json, "path", neap_json_text(file->path));
    if (file->module != NULL)
        neap_json_set(json, "module", neap_json_text(file->module));
    if (is_text) {
        neap_json_set(json, "text", json_stringn(file->text, file->length));
    } else {
        char *hex = to_hex(file->text, file->length);
        neap_json_set(json, "hex", json_string(hex));
        free(hex);
    }
    return json;
}

void neap_source_bundle(const struct neap_source *source, void **bytes, size_t *length)
{
    json_t *json = json_object();
    json_t *files = json_array();
    for (size_t i = 0; i < source->file_count; i++)
        json_array_append_new(files, file_json(&source->files[i]));
    neap_json_set(json, "v", json_integer(BUNDLE_VERSION));
    neap_json_set(json, "kind", json_string(kind_name(source->kind)));
    neap_json_set(json, "files", files);
    char *text = neap_json_canonical(json);
    json_decref(json);
    uLong plain = (uLong)strlen(text);
    uLongf packed = compressBound(plain);
    *bytes = neap_alloc(packed);
    int status = compress2(*bytes, &packed, (const Bytef *)text, plain, Z_DEFAULT_COMPRESSION);
    free(text);
    *length = packed;
    if (status != Z_OK) /* the room is enough, so it was memory */
        neap_memory_end();
}

static bool damaged(struct neap_error *err, const char *why)
{
    neap_error_set(err, NEAP_ERR_FILE_REFUSED, "the stored copy of the script is damaged: %s", why);
    return false;
}

/* The whole of what is packed, or false when it is no zlib stream, is cut, or
 * grows beyond the bound. */
static bool inflate_all(const void *bytes, size_t length, struct neap_buffer *out)
{
    z_stream stream = {.next_in = neap_alloc(length + 1), .avail_in = (uInt)length};
    Bytef *in = stream.next_in;
    Bytef chunk[16384];
    memcpy(in, bytes, length);
    int status = inflateInit(&stream);
    while (status == Z_OK && out->length <= BUNDLE_SIZE_MAX) {
        stream.next_out = chunk;
        stream.avail_out = sizeof chunk;
        status = inflate(&stream, Z_NO_FLUSH);
        neap_buffer_add(out, chunk, sizeof chunk - stream.avail_out);
    }
    if (status == Z_MEM_ERROR) /* which says nothing about the bytes */
        neap_memory_end();
    bool whole = status == Z_STREAM_END && stream.avail_in == 0;
    inflateEnd(&stream);
    free(in);
    return whole;
}

static bool read_file_json(const json_t *json, bool is_lib, enum neap_source_kind kind,
                           struct neap_source_file *file, struct neap_error *err)
{
    const char *path = json_string_value(json_object_get(json, "path"));
    const char *module = json_string_value(json_object_get(json, "module"));
    const json_t *text = json_object_get(json, "text");
    const char *hex = json_string_value(json_object_get(json, "hex"));
    if (path == NULL || (module != NULL) != is_lib || (!json_is_string(text) && hex == NULL))
        return damaged(err, "a file lacks its path or text");
    file->path = neap_strdup(path);
    file->module = neap_strdup(module);
    if (hex != NULL) {
        file->text = from_hex(hex, &file->length);
    } else {
        file->length = json_string_length(text);
        file->text = neap_strndup(json_string_value(text), file->length);
    }
    if (file->text == NULL || file->length > NEAP_SOURCE_SIZE_MAX)
        return damaged(err, "a file's text is not what a script can be");
    return source_file_look(file, kind, err);
}

static bool read_bundle(const json_t *json, struct neap_source *out, struct neap_error *err)
{
    const json_t *files = json_object_get(json, "files");
    const char *kind = json_string_value(json_object_get(json, "kind"));
    size_t count = json_array_size(files);
    if (json_integer_value(json_object_get(json, "v")) != BUNDLE_VERSION)
        return damaged(err, "it is of another version, or none");
    if (kind == NULL || count == 0 || count > BUNDLE_FILE_MAX)
        return damaged(err, "it names no files");
    out->kind = strcmp(kind, "sql") == 0 ? NEAP_SOURCE_SQL : NEAP_SOURCE_LUA;
    out->files = neap_alloc(count * sizeof *out->files);
    out->file_count = count;
    for (size_t i = 0; i < count; i++)
        if (!read_file_json(json_array_get(files, i), i > 0, out->kind, &out->files[i], err))
            return false;
    source_hash_all(out);
    return true;
}

bool neap_source_unbundle(const void *bytes, size_t length, struct neap_source *out,
                          struct neap_error *err)
{
    struct neap_buffer plain = {0};
    *out = (struct neap_source){0};
    json_t *json = NULL;
    bool ok = length <= BUNDLE_SIZE_MAX && inflate_all(bytes, length, &plain);
    if (ok)
        json = json_loadb(neap_buffer_text(&plain), plain.length, 0, NULL);
    ok = ok && json != NULL ? read_bundle(json, out, err) : damaged(err, "it cannot be unpacked");
    json_decref(json);
    neap_buffer_clear(&plain);
    if (!ok)
        neap_source_clear(out);
    return ok;
}
