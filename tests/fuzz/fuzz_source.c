/* SPDX-License-Identifier: MIT
 *
 * A script's bytes before they run: header, hashes, requires, sections. The token
 * hash must survive what is cosmetic and nothing else; Lua's own compiler and
 * libpg_query judge what is.
 */
#include <lauxlib.h>
#include <pg_query.h>

#include "bindings/pg/pg_sql.h"
#include "bindings/pg/pg_sql_scan.h"
#include "host/base/buffer.h"
#include "host/base/text.h"
#include "host/script/sections.h"
#include "host/script/source_lua.h"
#include "host/script/source_parts.h"
#include "tests/fuzz/fuzz.h"

#define SIZE_MAX_BYTES 4096

static char path[] = "migrations/0001_fuzz";

/* The token hash of the text; false when it is refused. */
static bool look(const char *text, size_t length, enum neap_source_kind kind,
                 struct neap_hash *token)
{
    struct neap_source_file file = {.path = neap_strdup(path), .length = length};
    struct neap_error err = {0};

    file.text = neap_alloc(length + 1); /* as neap_path_read gives it */
    memcpy(file.text, text, length);
    bool ok = source_file_look(&file, kind, &err);
    FUZZ_CHECK(ok == (err.message == NULL), "refused without a message");
    FUZZ_CHECK(ok || err.where_line > 0, "refused without a line");
    *token = file.token;
    neap_error_clear(&err);
    source_file_clear(&file);
    return ok;
}

static bool is_same(const char *text, size_t length, enum neap_source_kind kind,
                    const struct neap_hash *token)
{
    struct neap_hash other = {0};

    return look(text, length, kind, &other) &&
           memcmp(other.bytes, token->bytes, sizeof other.bytes) == 0;
}

static void add_crlf(struct neap_buffer *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n')
            neap_buffer_add_char(out, '\r');
        neap_buffer_add_char(out, text[i]);
    }
}

/* CRLF for LF, a BOM, a comment and an empty line at the end keep the token hash;
 * one more token changes it. */
static void check_cosmetic(const char *text, size_t length, enum neap_source_kind kind,
                           const struct neap_hash *token)
{
    static const char bom[] = "\xEF\xBB\xBF";
    struct neap_buffer other = {0};

    if (memchr(text, '\r', length) == NULL) {
        add_crlf(&other, text, length);
        FUZZ_CHECK(is_same(neap_buffer_text(&other), other.length, kind, token), "CRLF");
        neap_buffer_clear(&other);
    }
    if (length < 3 || memcmp(text, bom, 3) != 0) {
        neap_buffer_add(&other, bom, 3);
        neap_buffer_add(&other, text, length);
        FUZZ_CHECK(is_same(neap_buffer_text(&other), other.length, kind, token), "BOM");
        neap_buffer_clear(&other);
    }
    neap_buffer_add(&other, text, length);
    neap_buffer_add_text(&other, "\n-- cosmetic\n\n");
    FUZZ_CHECK(is_same(neap_buffer_text(&other), other.length, kind, token), "comment");
    neap_buffer_add_text(&other, "x");
    FUZZ_CHECK(!is_same(neap_buffer_text(&other), other.length, kind, token),
               "a token more does not show");
    neap_buffer_clear(&other);
}

/* The Lua text again from its tokens, on the lines where they stood. */
static void rewrite_lua(const char *text, size_t length, struct neap_buffer *out)
{
    struct source_lua_scan scan;
    struct source_lua_token token;
    int line = 1;

    source_lua_init(&scan, text, length);
    while (source_lua_next(&scan, &token)) {
        neap_buffer_add_char(out, ' ');
        for (; line < token.line; line++)
            neap_buffer_add_char(out, '\n');
        neap_buffer_add(out, text + token.offset, token.length);
        line = token.line_end;
    }
}

static int write_code(lua_State *L, const void *bytes, size_t length, void *out)
{
    (void)L;
    neap_buffer_add(out, bytes, length);
    return 0;
}

/* Lua's own code for the text, without debug names; false when it has none. */
static bool compile(const char *text, size_t length, struct neap_buffer *code)
{
    lua_State *L = luaL_newstate();
    size_t skip = length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;

    if (skip < length && text[skip] == '#') /* as luaL_loadfile does */
        while (skip < length && text[skip] != '\n' && text[skip] != '\r')
            skip++;
    bool ok = luaL_loadbufferx(L, text + skip, length - skip, "=fuzz", "t") == LUA_OK;
    if (ok)
        lua_dump(L, write_code, code, 1);
    lua_close(L);
    return ok;
}

/* What Lua compiles is not refused, and the tokens that are hashed are the whole
 * of what Lua sees: put together again they compile to the same code. */
static void check_lua(const char *text, size_t length)
{
    struct neap_hash token = {0};
    struct neap_buffer code = {0}, again = {0}, rewritten = {0};
    bool ok = look(text, length, NEAP_SOURCE_LUA, &token);
    bool compiles = compile(text, length, &code);

    FUZZ_CHECK(ok || !compiles, "refused what Lua compiles");
    if (ok) {
        check_cosmetic(text, length, NEAP_SOURCE_LUA, &token);
        rewrite_lua(text, length, &rewritten);
        FUZZ_CHECK(is_same(neap_buffer_text(&rewritten), rewritten.length, NEAP_SOURCE_LUA, &token),
                   "its tokens alone have another hash: %s", neap_buffer_text(&rewritten));
        FUZZ_CHECK(compile(neap_buffer_text(&rewritten), rewritten.length, &again) == compiles,
                   "only one compiles: %s", neap_buffer_text(&rewritten));
        FUZZ_CHECK(again.length == code.length &&
                       (code.length == 0 || memcmp(again.bytes, code.bytes, code.length) == 0),
                   "the same tokens, other code: %s", neap_buffer_text(&rewritten));
    }
    neap_buffer_clear(&code);
    neap_buffer_clear(&again);
    neap_buffer_clear(&rewritten);
}

static void rewrite_sql(const char *text, size_t length, struct neap_buffer *out)
{
    struct pg_sql_scan scan;
    struct pg_sql_token token;

    pg_sql_scan_init(&scan, text, length);
    while (pg_sql_scan_next_code(&scan, &token)) {
        neap_buffer_add(out, text + token.offset, token.length);
        neap_buffer_add_char(out, ' ');
    }
}

/* The parse tree without its places; NULL when it does not parse. */
static char *tree_of(const char *text)
{
    static const char place[] = "\"location\":";
    PgQueryParseResult result = pg_query_parse(text);
    struct neap_buffer tree = {0};
    const char *at = result.error ? "" : result.parse_tree;

    for (const char *next; (next = strstr(at, place)) != NULL;) {
        neap_buffer_add(&tree, at, (size_t)(next - at));
        at = next + sizeof place - 1;
        at += strspn(at, "0123456789-");
    }
    neap_buffer_add_text(&tree, at);
    char *found = result.error ? NULL : neap_buffer_take(&tree);
    neap_buffer_clear(&tree);
    pg_query_free_parse_result(result);
    char *end = found ? strstr(found, "\"stmt_len\"") : NULL;
    if (end)
        *end = '\0'; /* of one statement: only its length follows */
    return found;
}

static void check_sql_tree(const char *text, size_t length)
{
    char *string = neap_strndup(text, length);
    char *tree = tree_of(string);
    struct neap_buffer rewritten = {0};

    rewrite_sql(text, length, &rewritten);
    if (tree && rewritten.length > 0 && strstr(tree, "\"stmt_location\"") == NULL) {
        char *again = tree_of(neap_buffer_text(&rewritten));

        FUZZ_CHECK(again && strncmp(tree, again, strlen(tree) - 3) == 0,
                   "the same tokens, another tree: %s\n%s\n%s", neap_buffer_text(&rewritten), tree,
                   again ? again : "none");
        free(again);
    }
    neap_buffer_clear(&rewritten);
    free(tree);
    free(string);
}

static void check_sql(const char *text, size_t length)
{
    struct neap_hash token = {0};

    if (!look(text, length, NEAP_SOURCE_SQL, &token))
        return;
    check_cosmetic(text, length, NEAP_SOURCE_SQL, &token);
    if (neap_text_is_utf8(text, length) && memchr(text, '\0', length) == NULL &&
        (length < 3 || memcmp(text, "\xEF\xBB\xBF", 3) != 0))
        check_sql_tree(text, length);
}

static void check_section(const struct neap_source_file *file,
                          const struct neap_sql_section *section)
{
    size_t at = 0;

    for (size_t i = 0; i < section->count; i++) {
        const struct pg_sql_part *part = &section->statements[i];

        FUZZ_CHECK(part->offset >= at && part->length > 0, "statement %zu", i);
        FUZZ_CHECK(part->length <= file->length - part->offset, "statement %zu", i);
        at = part->offset + part->length;
    }
}

static void check_sections(struct neap_source_file *file)
{
    struct neap_sections sections;
    struct neap_error err = {0};

    if (neap_sections_parse(file, &sections, &err)) {
        FUZZ_CHECK(sections.def.step_count > 0, "no step");
        for (size_t i = 0; i < sections.def.step_count; i++) {
            FUZZ_CHECK(sections.steps[i].up.count > 0, "step %zu has no up", i);
            check_section(file, &sections.steps[i].up);
            check_section(file, &sections.steps[i].verify);
            check_section(file, &sections.steps[i].down);
        }
        neap_sections_clear(&sections);
    } else {
        FUZZ_CHECK(err.message && err.where_line > 0, "refused without a message and a line");
    }
    neap_error_clear(&err);
}

static void check_header(struct neap_source_file *file)
{
    static const char *const keys[] = {"why", "risk", "locks"};
    size_t count = 0;

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char *value = neap_source_header(file, keys[i]);

        FUZZ_CHECK(!value || !strchr(value, '\n'), "a header of two lines: %s", value);
        free(value);
    }
    struct source_require *list = source_requires(file, &count);

    for (size_t i = 0; i < count; i++)
        FUZZ_CHECK(list[i].module && list[i].line > 0, "require %zu", i);
    source_requires_free(list, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > SIZE_MAX_BYTES)
        return 0;
    char *text = fuzz_block(data, size);
    struct neap_source_file file = {.path = path, .length = size, .text = neap_alloc(size + 1)};

    memcpy(file.text, text, size);
    check_header(&file);
    check_sections(&file);
    check_lua(text, size);
    check_sql(text, size);
    free(file.text);
    free(text);
    return 0;
}
