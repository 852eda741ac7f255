/* SPDX-License-Identifier: MIT
 *
 * The two hashes of a script. Each token goes in as kind, length and bytes, so
 * that no two streams of tokens give the same bytes. Surprising: in SQL the
 * `-- neap:` comments are tokens, because they say which statements are `down`.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bindings/pg/pg_sql_scan.h"
#include "host/base/buffer.h"
#include "host/script/source_lua.h"
#include "host/script/source_parts.h"

static void add_number(struct neap_hasher *hasher, uint64_t number)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(number >> (8 * i));
    neap_hasher_add(hasher, bytes, sizeof bytes);
}

static void add_token(struct neap_hasher *hasher, int kind, const char *text, size_t length)
{
    add_number(hasher, ((uint64_t)kind << 56) | length);
    neap_hasher_add(hasher, text, length);
}

/* The token with every newline written as "\n", as Lua reads it and as an editor
 * that changes line ends leaves it. */
static void add_string(struct neap_hasher *hasher, int kind, const char *text, size_t length)
{
    if (memchr(text, '\r', length) == NULL) {
        add_token(hasher, kind, text, length);
        return;
    }
    struct neap_buffer plain = {0};
    for (size_t i = 0; i < length; i++) {
        bool pair = i + 1 < length && text[i] == '\r' && text[i + 1] == '\n';
        if (!pair)
            neap_buffer_add_char(&plain, text[i] == '\r' ? '\n' : text[i]);
    }
    add_token(hasher, kind, neap_buffer_text(&plain), plain.length);
    neap_buffer_clear(&plain);
}

static bool unfinished(struct neap_error *err, const struct neap_source_file *file, int line,
                       const char *what)
{
    neap_error_set(err, NEAP_ERR_SCRIPT_SYNTAX, "a %s has no end", what);
    neap_error_where(err, file->path, line);
    return false;
}

static bool hash_lua(struct neap_source_file *file, struct neap_hasher *hasher,
                     struct neap_error *err)
{
    struct source_lua_scan scan;
    struct source_lua_token token;
    source_lua_init(&scan, file->text, file->length);
    if (scan.at < file->length && file->text[scan.at] == '\x1b') {
        neap_error_set(err, NEAP_ERR_SCRIPT_SYNTAX, "this is Lua bytecode, not a script");
        neap_error_where(err, file->path, 1);
        return false;
    }
    while (source_lua_next(&scan, &token)) {
        const char *text = file->text + token.offset;
        if (token.kind == SOURCE_LUA_STRING)
            add_string(hasher, (int)token.kind, text, token.length);
        else
            add_token(hasher, (int)token.kind, text, token.length);
    }
    if (scan.unfinished != NULL)
        return unfinished(err, file, scan.unfinished_line, scan.unfinished);
    return true;
}

/* "-- neap: …", however it is spaced; the spaces at its end do not count. */
static bool is_directive(const char *text, size_t *length)
{
    size_t at = 2;
    while (at < *length && (text[at] == ' ' || text[at] == '\t' || text[at] == '-'))
        at++;
    if (at + 4 > *length || strncasecmp(text + at, "neap", 4) != 0)
        return false;
    while (text[*length - 1] == ' ' || text[*length - 1] == '\t' || text[*length - 1] == '\r')
        --*length;
    return true;
}

static bool hash_sql(struct neap_source_file *file, struct neap_hasher *hasher,
                     struct neap_error *err)
{
    struct pg_sql_scan scan;
    struct pg_sql_token token;
    pg_sql_scan_init(&scan, file->text, file->length);
    while (pg_sql_scan_next(&scan, &token)) {
        const char *text = file->text + token.offset;
        size_t length = token.length;
        bool block = token.kind == PG_SQL_TOKEN_COMMENT_BLOCK;
        if (token.unfinished)
            return unfinished(err, file, token.line, block ? "comment" : "string");
        if (block || (token.kind == PG_SQL_TOKEN_COMMENT_LINE && !is_directive(text, &length)))
            continue;
        add_string(hasher, (int)token.kind, text, length);
    }
    return true;
}

bool source_file_look(struct neap_source_file *file, enum neap_source_kind kind,
                      struct neap_error *err)
{
    struct neap_hasher hasher;
    neap_hash_bytes(file->text, file->length, &file->exact);
    neap_hasher_init(&hasher);
    bool is_lua = kind == NEAP_SOURCE_LUA;
    if (!(is_lua ? hash_lua(file, &hasher, err) : hash_sql(file, &hasher, err)))
        return false;
    neap_hasher_end(&hasher, &file->token);
    if (is_lua)
        source_exec_look(file);
    file->looked = true;
    return true;
}

static void add_lib(struct neap_hasher *hasher, const struct neap_source_file *file,
                    const struct neap_hash *hash)
{
    add_token(hasher, 0, file->module, strlen(file->module));
    neap_hasher_add(hasher, hash->bytes, sizeof hash->bytes);
}

void source_hash_all(struct neap_source *source)
{
    source->exact = source->files[0].exact;
    source->token = source->files[0].token;
    if (source->file_count == 1)
        return;
    struct neap_hasher exact, token;
    neap_hasher_init(&exact);
    neap_hasher_init(&token);
    neap_hasher_add(&exact, source->exact.bytes, sizeof source->exact.bytes);
    neap_hasher_add(&token, source->token.bytes, sizeof source->token.bytes);
    for (size_t i = 1; i < source->file_count; i++) {
        add_lib(&exact, &source->files[i], &source->files[i].exact);
        add_lib(&token, &source->files[i], &source->files[i].token);
    }
    neap_hasher_end(&exact, &source->exact);
    neap_hasher_end(&token, &source->token);
}
