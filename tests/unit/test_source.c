/* SPDX-License-Identifier: MIT
 *
 * host/script/source: hashes, requires, bundle, diff, header comments.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/memory.h"
#include "host/script/source.h"
#include "host/script/source_parts.h"

static char project[] = "/tmp/neap-source-XXXXXX";

static const char *const dirs[] = {"migrations", "lib", "lib/deep", "lib/pack"};
static const char *const paths[] = {"migrations/1_a.lua", "migrations/1_a.sql", "lib/one.lua",
                                    "lib/two.lua",        "lib/deep/three.lua", "lib/pack/init.lua",
                                    "lib/out.lua",        "lib/bad.lua",        "lib/big.lua"};

static char *place(const char *name)
{
    return neap_format("%s/%s", project, name);
}

static void write_bytes(const char *name, const char *text, size_t length)
{
    char *path = place(name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    fclose(file);
    free(path);
}

static void write_text(const char *name, const char *text)
{
    write_bytes(name, text, strlen(text));
}

static int set_up_all(void **state)
{
    (void)state;
    if (mkdtemp(project) == NULL)
        return -1;
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        char *path = place(dirs[i]);
        mkdir(path, 0700);
        free(path);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char *path = place(paths[i]);
        unlink(path);
        free(path);
    }
    return 0;
}

static int tear_down_all(void **state)
{
    (void)state;
    for (size_t i = sizeof dirs / sizeof *dirs; i-- > 0;) {
        char *path = place(dirs[i]);
        rmdir(path);
        free(path);
    }
    return rmdir(project);
}

static void load(const char *path, struct neap_source *out)
{
    struct neap_source_cache *cache = neap_source_cache_new(project);
    struct neap_error err = {0};
    if (!neap_source_load(cache, path, NULL, out, &err))
        fail_msg("%s", err.message);
    neap_source_cache_free(cache);
}

static void check_refused(const char *path, enum neap_error_code code, const char *where, int line,
                          const char *part)
{
    struct neap_source_cache *cache = neap_source_cache_new(project);
    struct neap_source source;
    struct neap_error err = {0};
    assert_false(neap_source_load(cache, path, NULL, &source, &err));
    if (err.code != code || strstr(err.message, part) == NULL)
        fail_msg("%s: %s", neap_error_row(err.code)->code, err.message);
    if (where != NULL)
        assert_string_equal(err.where_file, where);
    assert_int_equal(err.where_line, line);
    assert_int_equal(source.file_count, 0);
    neap_error_clear(&err);
    neap_source_cache_free(cache);
}

static struct neap_hash token_hash(const char *text, size_t length, enum neap_source_kind kind)
{
    struct neap_source_file file = {
        .path = neap_strdup("x"), .text = neap_alloc(length + 1), .length = length};
    struct neap_error err = {0};
    memcpy(file.text, text, length);
    if (!source_file_look(&file, kind, &err))
        fail_msg("%s: %s", text, err.message);
    struct neap_hash hash = file.token;
    source_file_clear(&file);
    return hash;
}

static bool is_same(enum neap_source_kind kind, const char *a, const char *b)
{
    struct neap_hash left = token_hash(a, strlen(a), kind);
    struct neap_hash right = token_hash(b, strlen(b), kind);
    return neap_hash_equal(&left, &right);
}

static void test_source__lua_cosmetic_changes(void **state)
{
    static const char *const pairs[][2] = {
        {"a = 1", "a=1"},
        {"a = 1", "\xEF\xBB\xBF"
                  "a = 1 -- c"},
        {"a = 1\nb = 2\n", "a = 1\r\nb = 2\r\n"},
        {"a = 1", "--[[ x ]] a --[==[ ]] ]==] =\n\n1"},
        {"a = [[x\ny]]", "a = [[x\r\ny]]"},
        {"a = 1", "#!/usr/bin/lua\na = 1"},
        {"a = 1", "---- x\n--[ y\n--[=x\na = 1"},
        {"a = b - -c", "a=b- -c"},
        {"a = 'x\\\ny'", "a = 'x\\\r\ny'"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (!is_same(NEAP_SOURCE_LUA, pairs[i][0], pairs[i][1]))
            fail_msg("differs: %s | %s", pairs[i][0], pairs[i][1]);
}

static void test_source__lua_semantic_changes(void **state)
{
    static const char *const pairs[][2] = {
        {"a = 1", "a = 2"},
        {"a = 1", "a = 1.0"},
        {"a b", "ab"},
        {"a = 'x'", "a = \"x\""},
        {"a = 'x -- y'", "a = 'x'"},
        {"a = [[x]]", "a = [[ x]]"},
        {"a = '1'", "a = 1"},
        {"a = [[--x]]", "a = [[]]"},
        {"a - -b", "a--b"},
        {"a .. b", "a . . b"},
        {"a = b\n(c)", "a = b;(c)"},
        {"a = 'b' 'c'", "a = 'b\\' \\'c'"},
        {"a = 'x\\'--'", "a = 'x\\''"},
        {"a = \"\\z  \n b\"", "a = \"b\""},
        {"", "a"},
        {"a = [==[ ]] ]==]", "a = [[ ]] ]]"},
        {"a < = b", "a <= b"},
        {"1 ..2", "1. .2"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (is_same(NEAP_SOURCE_LUA, pairs[i][0], pairs[i][1]))
            fail_msg("same: %s | %s", pairs[i][0], pairs[i][1]);
}

static void test_source__sql_hash(void **state)
{
    const enum neap_source_kind sql = NEAP_SOURCE_SQL;
    (void)state;
    assert_true(is_same(sql, "select 1;", "\xEF\xBB\xBFselect  1 -- x\r\n ;/* /* y */ */"));
    assert_true(is_same(sql, "-- neap: up\nselect 1", "-- neap: up \r\n  select 1 -- neat"));
    assert_true(is_same(sql, "select $$a\nb$$", "select $$a\r\nb$$"));
    assert_true(is_same(sql, "select a=-1", "select a = -1"));
    assert_false(is_same(sql, "-- neap: up\nselect 1", "-- neap: down\nselect 1"));
    assert_false(is_same(sql, "-- neap: up\nselect 1", "select 1"));
    assert_false(is_same(sql, "-- neap: timeout 1s\n", "-- neap: timeout 2s\n"));
    assert_false(is_same(sql, "select '-- x'", "select ''"));
    assert_false(is_same(sql, "select $$-- x\n$$", "select $$$$"));
    assert_false(is_same(sql, "select 'a'", "select \"a\""));
    assert_false(is_same(sql, "select 1", "select 1;"));
}

static void test_source__unfinished_and_bytecode(void **state)
{
    const enum neap_error_code syntax = NEAP_ERR_SCRIPT_SYNTAX;
    (void)state;
    write_text("migrations/1_a.lua", "a = 1\nb = 'x\n'");
    check_refused("migrations/1_a.lua", syntax, "migrations/1_a.lua", 2, "string has no end");
    write_text("migrations/1_a.lua", "a = 1\n\nb = [==[ ]]");
    check_refused("migrations/1_a.lua", syntax, "migrations/1_a.lua", 3, "string has no end");
    write_text("migrations/1_a.lua", "--[[ x");
    check_refused("migrations/1_a.lua", syntax, "migrations/1_a.lua", 1, "comment has no end");
    write_text("migrations/1_a.lua", "\x1bLuaS");
    check_refused("migrations/1_a.lua", syntax, "migrations/1_a.lua", 1, "bytecode");
    write_text("migrations/1_a.sql", "\n/* x");
    check_refused("migrations/1_a.sql", syntax, "migrations/1_a.sql", 2, "comment has no end");
}

static void test_source__exact_and_token_hash_of_a_file(void **state)
{
    struct neap_source a, b;
    (void)state;
    write_text("migrations/1_a.lua", "return 1");
    load("migrations/1_a.lua", &a);
    write_text("migrations/1_a.lua", "return 1 -- x");
    load("migrations/1_a.lua", &b);
    assert_false(neap_hash_equal(&a.exact, &b.exact));
    assert_true(neap_hash_equal(&a.token, &b.token));
    neap_source_clear(&a);
    neap_source_clear(&b);
}

static void test_source__requires(void **state)
{
    struct neap_source source, again;
    (void)state;
    write_text("migrations/1_a.lua",
               "local one = require 'one'\nlocal p = require(\"pack\")\nrequire 'neap.expect'\n"
               "-- require 'nothing'\nlocal s = [[require 'nothing']]\nm.require 'nothing'\n"
               "m:require('nothing')\nrequire('no' .. 'thing')\nrequire(name)\nrequire [[one]]\n");
    write_text("lib/one.lua", "return { require[==[two]==], require 'deep.three' }");
    write_text("lib/two.lua", "return require('one')");
    write_text("lib/deep/three.lua", "return 3");
    write_text("lib/pack/init.lua", "return 4");
    load("migrations/1_a.lua", &source);
    static const char *const expected[] = {"lib/one.lua", "lib/pack/init.lua", "lib/two.lua",
                                           "lib/deep/three.lua"};
    assert_int_equal(source.file_count, 5);
    assert_null(source.files[0].module);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(source.files[i + 1].path, expected[i]);
    assert_string_equal(source.files[4].module, "deep.three");
    write_text("lib/deep/three.lua", "return 3 -- cosmetic");
    load("migrations/1_a.lua", &again);
    assert_true(neap_hash_equal(&source.token, &again.token));
    assert_false(neap_hash_equal(&source.exact, &again.exact));
    neap_source_clear(&again);
    write_text("lib/deep/three.lua", "return 5");
    load("migrations/1_a.lua", &again);
    assert_false(neap_hash_equal(&source.token, &again.token));
    char *diff = neap_source_diff(&source, &again);
    assert_non_null(strstr(diff, "lib/deep/three.lua"));
    assert_null(strstr(diff, "lib/one.lua"));
    free(diff);
    neap_source_clear(&again);
    neap_source_clear(&source);
}

static void test_source__cache_reads_lib_once(void **state)
{
    struct neap_source a, b;
    struct neap_source_cache *cache = neap_source_cache_new(project);
    (void)state;
    write_text("migrations/1_a.lua", "require 'one'");
    write_text("lib/one.lua", "return 1");
    assert_true(neap_source_load(cache, "migrations/1_a.lua", NULL, &a, NULL));
    write_text("lib/one.lua", "return 2");
    assert_true(neap_source_load(cache, "migrations/1_a.lua", NULL, &b, NULL));
    neap_source_cache_free(cache);
    assert_true(neap_hash_equal(&a.exact, &b.exact));
    assert_string_equal(b.files[1].text, "return 1");
    neap_source_clear(&a);
    neap_source_clear(&b);
}

static void check_require(const char *text, const char *part)
{
    write_text("migrations/1_a.lua", text);
    check_refused("migrations/1_a.lua", NEAP_ERR_SCRIPT_REQUIRE, "migrations/1_a.lua", 2, part);
}

static void test_source__requires_that_fail(void **state)
{
    char *out = place("lib/out.lua");
    (void)state;
    check_require("\nrequire 'nothing'", "no such file below lib/");
    check_require("\nrequire '../etc'", "not a module's name");
    check_require("\nrequire 'a..b'", "not a module's name");
    check_require("\nrequire ''", "not a module's name");
    check_require("\nrequire 'a/b'", "not a module's name");
    check_require("\nrequire 'neapx'", "no such file");
    assert_int_equal(symlink("/etc/hostname", out), 0);
    check_require("\nrequire 'out'", "project");
    free(out);
    write_text("lib/bad.lua", "\nx = '");
    write_text("migrations/1_a.lua", "require 'bad'");
    check_refused("migrations/1_a.lua", NEAP_ERR_SCRIPT_SYNTAX, "lib/bad.lua", 2, "string");
    char *big = neap_alloc(NEAP_SOURCE_SIZE_MAX + 1);
    memset(big, ' ', NEAP_SOURCE_SIZE_MAX + 1);
    write_bytes("lib/big.lua", big, NEAP_SOURCE_SIZE_MAX + 1);
    check_require("\nrequire 'big'", "over");
    write_bytes("migrations/1_a.lua", big, NEAP_SOURCE_SIZE_MAX + 1);
    check_refused("migrations/1_a.lua", NEAP_ERR_FILE_REFUSED, NULL, 0, "over");
    free(big);
    check_refused("migrations/2.lua", NEAP_ERR_FILE_IO, NULL, 0, "migrations/2.lua");
}

static void test_source__bundle_round_trip(void **state)
{
    struct neap_source source, back;
    void *bytes;
    size_t length;
    (void)state;
    write_bytes("migrations/1_a.lua", "require 'one' x = '\0\xC0'", 22);
    write_text("lib/one.lua", "return '\xC3\xA6' -- \xE2\x82\xAC");
    load("migrations/1_a.lua", &source);
    neap_source_bundle(&source, &bytes, &length);
    assert_true(neap_source_unbundle(bytes, length, &back, NULL));
    assert_true(neap_hash_equal(&source.exact, &back.exact));
    assert_true(neap_hash_equal(&source.token, &back.token));
    assert_int_equal(back.files[0].length, 22);
    assert_memory_equal(back.files[0].text, source.files[0].text, 22);
    assert_string_equal(back.files[1].module, "one");
    neap_source_clear(&back);
    for (size_t cut = 0; cut < length; cut++) {
        struct neap_error err = {0};
        assert_false(neap_source_unbundle(bytes, cut, &back, &err));
        assert_int_equal(err.code, NEAP_ERR_FILE_REFUSED);
        neap_error_clear(&err);
    }
    neap_source_clear(&source);
    free(bytes);
}

static struct neap_source source_of(const char *path, const char *text)
{
    struct neap_source source = {.file_count = 1, .files = neap_alloc(sizeof *source.files)};
    source.files[0] = (struct neap_source_file){
        .path = neap_strdup(path), .text = neap_strdup(text), .length = strlen(text)};
    return source;
}

static void check_diff(const char *a, const char *b, const char *expected)
{
    struct neap_source applied = source_of("m/1_a.lua", a);
    struct neap_source now = source_of("m/1_b.lua", b);
    char *diff = neap_source_diff(&applied, &now);
    assert_string_equal(diff, expected);
    free(diff);
    neap_source_clear(&applied);
    neap_source_clear(&now);
}

#define HEAD "--- applied/m/1_a.lua\n+++ now/m/1_b.lua\n"

static void test_source__diff(void **state)
{
    (void)state;
    check_diff("a\nb\n", "a\nb\n", "");
    check_diff("a\nb\nc\n", "a\nx\nc\n", HEAD "@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n");
    check_diff("", "a\n", HEAD "@@ -0,0 +1,1 @@\n+a\n");
    check_diff("a\n", "", HEAD "@@ -1,1 +0,0 @@\n-a\n");
    check_diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\n6\n7\n8\n9\nx\n",
               HEAD "@@ -2,8 +2,8 @@\n 2\n 3\n 4\n-5\n 6\n 7\n 8\n 9\n+x\n");
    check_diff("x\n1\n2\n3\n4\n5\n6\n7\n8\ny\n", "1\n2\n3\n4\n5\n6\n7\n8\n",
               HEAD "@@ -1,4 +1,3 @@\n-x\n 1\n 2\n 3\n@@ -7,4 +6,3 @@\n 6\n 7\n 8\n-y\n");
}

static uint32_t random_state = 3;
static uint32_t random_below(uint32_t below)
{
    random_state = random_state * 1664525U + 1013904223U;
    return (random_state >> 8) % below;
}

static char *random_lines(uint32_t count)
{
    char *text = neap_alloc(2 * (size_t)count + 1);
    for (uint32_t i = 0; i < count; i++)
        memcpy(text + 2 * i, (char[]){(char)('a' + random_below(4)), '\n'}, 2);
    return text;
}

/* Plays the hunks over the first text; the second must come out. */
static char *patched(const char *text, const char *diff)
{
    char *out = neap_strdup("");
    size_t at = 1;
    const char *line = diff;
    while (*line != '\0') {
        size_t from, count;
        if (sscanf(line, "@@ -%zu,%zu", &from, &count) == 2) {
            for (from += count == 0 ? 1 : 0; at < from; at++, text += 2) {
                char *next = neap_format("%s%.2s", out, text);
                free(out);
                out = next;
            }
        } else if (strncmp(line, "---", 3) != 0 && strncmp(line, "+++", 3) != 0) {
            if (line[0] != '+') {
                assert_memory_equal(line + 1, text, 2);
                at++;
                text += 2;
            }
            char *next = neap_format("%s%.*s", out, line[0] == '-' ? 0 : 2, line + 1);
            free(out);
            out = next;
        }
        line = strchr(line, '\n') + 1;
    }
    char *whole = neap_format("%s%s", out, text);
    free(out);
    return whole;
}

static void test_source__diff_patches(void **state)
{
    (void)state;
    for (int i = 0; i < 2000; i++) {
        char *a = random_lines(random_below(20)), *b = random_lines(random_below(20));
        struct neap_source applied = source_of("a", a), now = source_of("b", b);
        char *diff = neap_source_diff(&applied, &now);
        char *out = patched(a, diff);
        assert_string_equal(out, b);
        free(out);
        free(diff);
        neap_source_clear(&applied);
        neap_source_clear(&now);
        free(a);
        free(b);
    }
}

static void check_header(const char *text, const char *key, const char *expected)
{
    char *copy = neap_strdup(text);
    struct neap_source_file file = {.text = copy, .length = strlen(text)};
    char *value = neap_source_header(&file, key);
    if (expected == NULL)
        assert_null(value);
    else
        assert_string_equal(value, expected);
    free(value);
    free(copy);
}

static void test_source__header(void **state)
{
    static const char text[] = "#!neap\n--- why readers wait\n--- risk: low,\n---   says who\n\n"
                               "-- locks: short\r\nreturn 1\n--- late no\n";
    (void)state;
    check_header(text, "why", "readers wait");
    check_header(text, "risk", "low, says who");
    check_header(text, "locks", "short");
    check_header(text, "late", NULL);
    check_header("-- why not\n", "why", NULL);
    check_header("--- whyever\n", "why", NULL);
    check_header("--- why\n", "why", NULL);
    check_header("", "why", NULL);
    check_header("--", "why", NULL);
}

static void test_source__mutated_texts_do_not_crash(void **state)
{
    static const char seed[] = "#!x\nlocal a = require 'one' --[==[ ]] ]==] b = [=[\r\n]=] "
                               "c = \"\\z \n\\\"\" d = 0x1p-3 .. 1e+5 db:exec[[x]] :: ... // '\\'";
    static const char bytes[] = "'\"[]=-\\\n\r#.0xe(){}:; \x1b";
    (void)state;
    for (int i = 0; i < 30000; i++) {
        size_t length = 1 + random_below(sizeof seed - 1);
        struct neap_source_file file = {
            .path = neap_strdup("x"), .text = neap_alloc(length + 1), .length = length};
        memcpy(file.text, seed + random_below((uint32_t)(sizeof seed - length)), length);
        for (uint32_t n = random_below(6); n > 0; n--)
            file.text[random_below((uint32_t)length)] = bytes[random_below(sizeof bytes - 1)];
        struct neap_error err = {0};
        size_t count = 0;
        bool ok = source_file_look(&file, i % 2 == 0 ? NEAP_SOURCE_LUA : NEAP_SOURCE_SQL, &err);
        assert_true(ok || err.code == NEAP_ERR_SCRIPT_SYNTAX);
        struct source_require *list = source_requires(&file, &count);
        source_requires_free(list, count);
        free(neap_source_header(&file, "why"));
        neap_error_clear(&err);
        source_file_clear(&file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_source__lua_cosmetic_changes),
        cmocka_unit_test(test_source__lua_semantic_changes),
        cmocka_unit_test(test_source__sql_hash),
        cmocka_unit_test_teardown(test_source__unfinished_and_bytecode, tear_down),
        cmocka_unit_test_teardown(test_source__exact_and_token_hash_of_a_file, tear_down),
        cmocka_unit_test_teardown(test_source__requires, tear_down),
        cmocka_unit_test_teardown(test_source__cache_reads_lib_once, tear_down),
        cmocka_unit_test_teardown(test_source__requires_that_fail, tear_down),
        cmocka_unit_test_teardown(test_source__bundle_round_trip, tear_down),
        cmocka_unit_test(test_source__diff),
        cmocka_unit_test(test_source__diff_patches),
        cmocka_unit_test(test_source__header),
        cmocka_unit_test(test_source__mutated_texts_do_not_crash),
    };
    return cmocka_run_group_tests_name("source", tests, set_up_all, tear_down_all);
}
