/* SPDX-License-Identifier: MIT
 *
 * host/script/source_exec: on which lines nobody looks at what db:exec returns.
 * A wrong "unlooked" loses a count of rows in silence, so most cases here are of
 * the other side.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/script/source_parts.h"

static void look(struct neap_source_file *file, const char *text)
{
    struct neap_error err = {0};
    *file = (struct neap_source_file){
        .path = neap_strdup("x.lua"), .text = neap_strdup(text), .length = strlen(text)};
    if (!source_file_look(file, NEAP_SOURCE_LUA, &err))
        fail_msg("%s: %s", text, err.message);
}

/* `lines` has one letter a line: 'u' unlooked, anything else looked at. */
static void check(const char *text, const char *lines)
{
    struct neap_source_file file;
    look(&file, text);
    for (int i = 0; lines[i] != '\0'; i++)
        if (neap_source_exec_unlooked(&file, i + 1) != (lines[i] == 'u'))
            fail_msg("line %d of: %s", i + 1, text);
    assert_false(neap_source_exec_unlooked(&file, 0));
    assert_false(neap_source_exec_unlooked(&file, -1));
    assert_false(neap_source_exec_unlooked(&file, (int)strlen(lines) + 100));
    source_file_clear(&file);
}

static void test_source_exec__statements(void **state)
{
    static const char *const texts[] = {
        "db:exec \"x\"",
        "db:exec('x')",
        "db:exec('x', 1, f(2))",
        "db:exec{ 'x' }",
        "db:exec [[x]]",
        "db:exec [==[x]==]",
        "db:exec \"x\";",
        "a.b.c:exec 'x'",
        "; db:exec 'x'",
        "do db:exec 'x' end",
        "if a then db:exec 'x' end",
        "if a then b() else db:exec 'x' end",
        "repeat db:exec 'x' until a",
        "while a do db:exec 'x' end",
        "for i = 1, 2 do db:exec 'x' end",
        "for i in f() do db:exec 'x' end",
        "local function f(db) db:exec 'x' end",
        "up = function(db) db:exec 'x' end",
        "up = function(...) db:exec 'x' end",
        "f() db:exec 'x'",
        "f 'a' db:exec 'x'",
        "local a = 1 db:exec 'x'",
        "local a db:exec 'x'",
        "a = b db:exec 'x'",
        "a = b[1] db:exec 'x'",
        "a = {} db:exec 'x'",
        "a = nil db:exec 'x'",
        "a = true db:exec 'x'",
        "a = ... db:exec 'x'",
        "::top:: db:exec 'x'",
        "goto a db:exec 'x' ::a::",
        "db:exec 'x' a = 1",
        "db:exec 'x' local a = 2",
        "db:exec 'x' return",
        "db:exec 'x' return 1",
        "db:exec 'x' for i = 1, 2 do end",
        "db:exec 'x' function f() end",
        "db:exec 'x' db:exec 'y'",
        "db:exec 'x' goto a ::a::",
        "db:exec('x' --[[ ( ]], \")\", '(')",
        "return { up = function(db) db:exec 'x' end }",
        "f(function() db:exec 'x' end)",
        "f { function() db:exec 'x'; db:exec 'y' end }",
        "db:exec(('x'):rep(3))",
        "if db then else db:exec 'x' end",
        "db --[[c]] : --[[d]] exec 'x'",
        "if a then elseif b then db:exec 'x' end",
        "(f()) db:exec 'x'",
        "db:exec 'x' ; (f())()",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check(texts[i], "u");
}

static void test_source_exec__looked_at(void **state)
{
    static const char *const texts[] = {
        "local n = db:exec 'x'",
        "n = db:exec 'x'",
        "a, b = 1, db:exec 'x'",
        "t[1] = db:exec 'x'",
        "return db:exec 'x'",
        "return 1, db:exec 'x'",
        "f(db:exec 'x')",
        "f(1, db:exec 'x')",
        "f{ db:exec 'x' }",
        "f{ g(); db:exec 'x'; 1 }",
        "f{ db:exec 'x'; 1 }",
        "f{ 1; db:exec 'x' }",
        "f{ f(); db:exec 'x' }",
        "t[db:exec 'x'] = 1",
        "if db:exec 'x' then end",
        "if a then elseif db:exec 'x' then end",
        "while db:exec 'x' do end",
        "repeat until db:exec 'x'",
        "for i = 1, db:exec 'x' do end",
        "for i in db:exec 'x' do end",
        "a = not db:exec 'x'",
        "a = b and db:exec 'x'",
        "a = b or db:exec 'x'",
        "a = 1 + db:exec 'x'",
        "a = #db:exec 'x'",
        "a = -db:exec 'x'",
        "a = 'n' .. db:exec 'x'",
        "a = 1 == db:exec 'x'",
        "db:exec 'x' :next()",
        "db:exec('x'):next()",
        "db:exec('x').rows = 1",
        "db:exec('x')[1] = 2",
        "db:exec('x')()",
        "db:exec 'x' 'y'",
        "db:exec 'x' { 1 }",
        "db:exec 'x' (f)()",
        "db:exec{ 'x' } [1] = 2",
        "(db:exec 'x')",
        "(db):exec 'x'",
        "db():exec 'x'",
        "dbs[1]:exec 'x'",
        "('x'):exec 'x'",
        "f 'a':exec 'x'",
        "db.exec(db, 'x')",
        "local e = db.exec",
        "pcall(db.exec, db, 'x')",
        "db['exec'](db, 'x')",
        "function db:exec(sql) end",
        "function m.a:exec(sql) end",
        "local n = db:exec 'x' db:exec 'y'",
        "db:exec 'y' local n = db:exec 'x'",
        "db:exec('x', db:exec 'y')",
        "db:exec('x', { db:exec 'y' })",
        "db:exec",
        "db:exec(",
        "db:exec('x'",
        "a = b.c and db:exec 'x'",
        "a = function() return db:exec 'x' end",
        "a = { function() end; db:exec 'x' }",
        "f(a; db:exec 'x')",
        "exec 'x'",
        "a.exec 'x'",
        "a = b < db:exec 'x'",
        "local a <close> = db:exec 'x'",
        "goto db:exec 'x'",
        "t = { exec = 1 } db:exec 'x'",
        "db:exec 'x' = 1",
        "db:exec 'x', b = 1, 2",
        "a = {\"exec\"} db:exec 'x'",
        "-- db:exec 'x'",
        "a = [[ db:exec 'x' ]]",
        "a:execute 'x'",
        "a = b // db:exec 'x'",
        "a = b ~ db:exec 'x'",
        "a = ~db:exec 'x'",
        "a = b >> db:exec 'x'",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check(texts[i], "-");
}

static void test_source_exec__lines(void **state)
{
    (void)state;
    check("return {\n  up = function(db)\n    db:exec [[\n      x\n    ]]\n    db:exec(\n"
          "      'y',\n      1)\n    local n =\n      db:exec 'z'\n    db:exec 'w'\n  end\n}\n",
          "--u-uu---"
          "-u--");
    check("db\n:exec\n('x')", "u-u");
    check("db:exec 'x'\n(f)()", "--");
    check("db:exec 'x'\r\ndb:exec 'y'\r\nn = db:exec 'z'\r\n", "uu-");
    check("local n = f(\ndb:exec 'x')\ndb:exec 'y'", "--u");
    check("db:exec('a', db:exec\n'b')", "--");
    check("\xEF\xBB\xBF#!neap\ndb:exec 'x'", "-u");
    check("a = '\\\n' db:exec 'x'\ndb:exec 'y'", "-uu");
    check("return db\n:exec 'x'\ndb:exec 'y'", "--u");
}

static uint32_t random_state = 99;
static uint32_t random_below(uint32_t below)
{
    random_state = random_state * 1664525U + 1013904223U;
    return (random_state >> 8) % below;
}

/* Any order of tokens: no crash; and whatever ends in "= db:exec" is looked at. */
static void test_source_exec__random_tokens(void **state)
{
    static const char *const words[] = {
        "db:exec 'x'", "db",       ":",       "exec",  "'s'",    "[[l]]", "(",  ")",   "{",
        "}",           "[",        "]",       "=",     ",",      ";",     "do", "end", "if",
        "then",        "function", "return",  "until", "repeat", "local", "a",  ".",   "..",
        "+",           "\n",       "--[[c]]", "--c\n", "1",      "nil",   "::", "and", "not"};
    (void)state;
    for (int i = 0; i < 30000; i++) {
        char *text = neap_strdup("");
        for (uint32_t n = random_below(14); n > 0; n--) {
            char *next =
                neap_format("%s %s", text, words[random_below(sizeof words / sizeof *words)]);
            free(text);
            text = next;
        }
        char *whole = neap_format("%s\nn = db:exec 'q'", text);
        struct neap_source_file file;
        look(&file, whole);
        assert_false(neap_source_exec_unlooked(&file, file.line_max));
        source_file_clear(&file);
        free(whole);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_source_exec__statements),
        cmocka_unit_test(test_source_exec__looked_at),
        cmocka_unit_test(test_source_exec__lines),
        cmocka_unit_test(test_source_exec__random_tokens),
    };
    return cmocka_run_group_tests_name("source_exec", tests, NULL, NULL);
}
