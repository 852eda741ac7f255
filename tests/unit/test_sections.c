/* SPDX-License-Identifier: MIT
 *
 * host/script/sections: plain SQL migrations, what they say and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_sql.h"
#include "host/base/memory.h"
#include "host/script/sections.h"

static char path[] = "migrations/0004_x.sql";

static struct neap_source_file file_of(char *text)
{
    return (struct neap_source_file){.path = path, .text = text, .length = strlen(text)};
}

/* The statements of a section, joined: "3:select 1|". */
static void check_section(const char *text, const struct neap_sql_section *section,
                          const char *expected)
{
    char *out = neap_strdup("");
    for (size_t i = 0; i < section->count; i++) {
        const struct pg_sql_part *part = &section->statements[i];
        char *next =
            neap_format("%s%d:%.*s|", out, part->line, (int)part->length, text + part->offset);
        free(out);
        out = next;
    }
    assert_string_equal(out, expected);
    free(out);
}

static void parse(char *text, struct neap_sections *out)
{
    struct neap_source_file file = file_of(text);
    struct neap_error err = {0};
    if (!neap_sections_parse(&file, out, &err))
        fail_msg("line %d: %s", err.where_line, err.message);
}

/* The error of `text` as "code line: message". */
static void check_refused(const char *text, enum neap_error_code code, int line, const char *part)
{
    char *copy = neap_strdup(text);
    struct neap_source_file file = file_of(copy);
    struct neap_sections sections;
    struct neap_error err = {0};
    if (neap_sections_parse(&file, &sections, &err))
        fail_msg("let through: %s", text);
    if (err.code != code || err.where_line != line || strstr(err.message, part) == NULL)
        fail_msg("%s\ngave %s line %d: %s", text, neap_error_row(err.code)->code, err.where_line,
                 err.message);
    assert_string_equal(err.where_file, path);
    assert_null(sections.def.steps);
    neap_error_clear(&err);
    free(copy);
}

static void test_sections__whole_file(void **state)
{
    char text[] = "--- why: readers wait\n--- risk low\n"
                  "-- neap: summary Prices in cents\r\n"
                  "-- neap: ticket CIR-212\n-- neap: phase expand\n--neap: timeout 30s\n"
                  "-- neap: lock_timeout 500ms\n-- neap: requires 0001 , 3\n\n"
                  "-- neap: up\nalter table a add b int;\n-- a comment\nupdate a set b = 1;\n"
                  "-- neap: verify\nselect count(*) = 0 from a where b is null\n"
                  "-- neap: down\nalter table a drop b;\n";
    struct neap_sections sections;
    (void)state;
    parse(text, &sections);
    const struct neap_script_def *def = &sections.def;
    assert_string_equal(def->summary, "Prices in cents");
    assert_string_equal(def->ticket, "CIR-212");
    assert_string_equal(def->phase, "expand");
    assert_string_equal(def->why, "readers wait");
    assert_string_equal(def->risk, "low");
    assert_null(def->locks);
    assert_int_equal(def->timeout_ms, 30000);
    assert_int_equal(def->lock_timeout_ms, 500);
    assert_string_equal(def->requires[0], "0001");
    assert_string_equal(def->requires[1], "3");
    assert_null(def->requires[2]);
    assert_true(def->transaction);
    assert_int_equal(def->step_count, 1);
    assert_string_equal(def->steps[0].name, "up");
    check_section(text, &sections.steps[0].up, "11:alter table a add b int|13:update a set b = 1|");
    check_section(text, &sections.steps[0].verify,
                  "15:select count(*) = 0 from a where b is null|");
    check_section(text, &sections.steps[0].down, "17:alter table a drop b|");
    neap_sections_clear(&sections);
    neap_sections_clear(&sections);
}

static void test_sections__directives_in_strings_are_none(void **state)
{
    char text[] = "-- neap: up\ncreate function f() returns int as $$\n-- neap: down\nselect 1;\n"
                  "$$ language sql;\nselect '\n-- neap: verify\n';\n/*\n-- neap: down\n*/\n"
                  "-- neap verifies nothing here, says this prose\n"
                  "-- neap: unverified nothing to see\n-- neap: irreversible it is said\n";
    struct neap_sections sections;
    (void)state;
    parse(text, &sections);
    assert_int_equal(sections.steps[0].up.count, 2);
    assert_string_equal(sections.def.steps[0].unverified, "nothing to see");
    assert_string_equal(sections.def.steps[0].irreversible, "it is said");
    assert_int_equal(sections.steps[0].down.count, 0);
    neap_sections_clear(&sections);
}

static void test_sections__steps(void **state)
{
    char text[] = "\xEF\xBB\xBF-- NEAP: transaction false\n"
                  "-- neap: step build the index\n-- neap: up\n"
                  "create index concurrently i on a (b);\n-- neap: verify\nselect true;\n"
                  "-- neap: down\ndrop index concurrently i;\n"
                  "-- neap: step tidy\n-- neap: up\nvacuum a;\n-- neap: unverified no trace\n"
                  "-- neap: irreversible no need\n";
    struct neap_sections sections;
    (void)state;
    parse(text, &sections);
    assert_false(sections.def.transaction);
    assert_int_equal(sections.def.step_count, 2);
    assert_string_equal(sections.def.steps[0].name, "build the index");
    assert_string_equal(sections.def.steps[1].name, "tidy");
    check_section(text, &sections.steps[0].down, "8:drop index concurrently i|");
    check_section(text, &sections.steps[1].up, "11:vacuum a|");
    neap_sections_clear(&sections);
}

#define UP "-- neap: up\nselect 1;\n"
#define VERIFY "-- neap: verify\nselect true;\n"
#define DOWN "-- neap: down\nselect 2;\n"

static void test_sections__refusals(void **state)
{
    const enum neap_error_code contract = NEAP_ERR_SCRIPT_CONTRACT;
    (void)state;
    check_refused("", contract, 1, "no sections");
    check_refused("select 1;", contract, 1, "outside of the sections");
    check_refused("-- neap: summary x\n\nselect 1;\n" UP VERIFY DOWN, contract, 3, "outside");
    check_refused(UP VERIFY, contract, 1, "no `-- neap: down`");
    check_refused(UP DOWN, contract, 1, "no `-- neap: verify`");
    check_refused(VERIFY DOWN, contract, 1, "no `-- neap: up`");
    check_refused(UP "-- neap: vefiry\nselect 1", contract, 3, "did you mean \"verify\"");
    check_refused("-- neap: sumary x\n", contract, 1, "did you mean \"summary\"");
    check_refused("-- neap: qqqqqqqqq x\n", contract, 1, "unknown directive \"qqqqqqqqq\"");
    check_refused("-- neap:\n", contract, 1, "needs a directive");
    check_refused("-- neap up\n" VERIFY DOWN, contract, 1, "needs its colon");
    check_refused("-- neap: up select 1\n", contract, 1, "stands alone");
    check_refused(UP "select 1; -- neap: down\n", contract, 3, "alone on its line");
    check_refused(UP UP, contract, 3, "two `up`");
    check_refused(UP VERIFY DOWN "-- neap: irreversible x\n", contract, 7, "only one can be");
    check_refused(UP "-- neap: unverified x\n" VERIFY DOWN, contract, 4, "only one can be");
    check_refused(UP "-- neap: unverified\n", contract, 3, "must say why");
    check_refused("-- neap: up\n-- nothing\n" VERIFY DOWN, contract, 1, "`up` holds no");
    check_refused(UP "-- neap: verify\n" DOWN, contract, 3, "`verify` holds no");
    check_refused(UP VERIFY "-- neap: down\n", contract, 5, "`down` holds no");
    check_refused("-- neap: phase expnd\n", contract, 1, "expand or contract");
    check_refused("-- neap: transaction no\n", contract, 1, "true or false");
    check_refused("-- neap: timeout 30\n", contract, 1, "30");
    check_refused("-- neap: requires 1,x\n", contract, 1, "requires needs ids");
    check_refused("-- neap: requires\n", contract, 1, "requires needs ids");
    check_refused("-- neap: summary\n", contract, 1, "needs a text");
    check_refused("-- neap: ticket a\n-- neap: ticket b\n", contract, 2, "given twice");
    check_refused(UP "-- neap: summary late\n", contract, 3, "before the first section");
    check_refused("-- neap: step a\n" UP, contract, 1, "transaction false");
    check_refused("-- neap: transaction false\n" UP, contract, 2, "belongs to a step");
    check_refused("-- neap: transaction false\n-- neap: step a\n" UP VERIFY DOWN
                  "-- neap: step a\n",
                  contract, 9, "two steps are named");
    check_refused("-- neap: transaction false\n-- neap: step\n", contract, 2, "needs a name");
}

static void test_sections__statements_that_cannot_be(void **state)
{
    (void)state;
    check_refused("-- neap: up\nselect 1;\n/* x */ COMMIT;\n" VERIFY DOWN,
                  NEAP_ERR_DB_TRANSACTION_CONTROL, 3, "COMMIT");
    check_refused("-- neap: up\n\nvacuum a;\n" VERIFY DOWN, NEAP_ERR_DB_NO_TRANSACTION, 3,
                  "VACUUM");
    check_refused("-- neap: up\ncreate index concurrently i on a (b);\n" VERIFY DOWN,
                  NEAP_ERR_DB_NO_TRANSACTION, 2, "CONCURRENTLY");
    check_refused(UP "-- neap: verify\ndelete from a;\n" DOWN, NEAP_ERR_SCRIPT_CONTRACT, 4,
                  "DELETE in verify");
    check_refused(
        UP "-- neap: verify\nwith d as (delete from a returning 1) select true from d;\n" DOWN,
        NEAP_ERR_SCRIPT_CONTRACT, 4, "in verify");
    check_refused("-- neap: up\ncopy a from stdin;\n" VERIFY DOWN, NEAP_ERR_SCRIPT_CONTRACT, 2,
                  "COPY");
    check_refused("-- neap: up\nselect 'x;\n" VERIFY DOWN, NEAP_ERR_SCRIPT_SYNTAX, 2, "string");
    check_refused("-- neap: up\n\\connect x\n" VERIFY DOWN, NEAP_ERR_DB_ARGUMENT, 2, "\\connect");
    check_refused("\\i x\n" UP VERIFY DOWN, NEAP_ERR_SCRIPT_CONTRACT, 1, "outside");
    check_refused("-- neap: up\nselect \xC0;\n" VERIFY DOWN, NEAP_ERR_DB_ARGUMENT, 2, "UTF-8");
}

static void test_sections__verify_rows(void **state)
{
    char text[] = UP VERIFY DOWN;
    struct neap_source_file file = file_of(text);
    struct neap_sections sections;
    (void)state;
    parse(text, &sections);
    const struct pg_sql_part *part = &sections.steps[0].verify.statements[0];
    struct neap_error err = {0};
    assert_true(neap_sections_verify_row_check(&file, part, 2, true, true, &err));
    assert_false(neap_sections_verify_row_check(&file, part, 0, true, true, &err));
    assert_int_equal(err.code, NEAP_ERR_VERIFY_FAILED);
    assert_int_equal(err.where_line, 4);
    assert_non_null(strstr(err.message, "no row"));
    assert_string_equal(err.sql, "select true");
    assert_false(neap_sections_verify_row_check(&file, part, 1, false, false, &err));
    assert_non_null(strstr(err.message, "not boolean"));
    assert_false(neap_sections_verify_row_check(&file, part, 1, true, false, &err));
    assert_non_null(strstr(err.message, "not true"));
    neap_error_clear(&err);
    neap_sections_clear(&sections);
}

static uint32_t random_state = 4;
static uint32_t random_below(uint32_t below)
{
    random_state = random_state * 1664525U + 1013904223U;
    return (random_state >> 8) % below;
}

static void test_sections__mutated_files_do_not_crash(void **state)
{
    static const char *const lines[] = {"-- neap: up\n",
                                        "-- neap: verify\n",
                                        "-- neap: down\n",
                                        "-- neap: irreversible x\n",
                                        "-- neap: unverified y\n",
                                        "-- neap: transaction false\n",
                                        "-- neap: step a\n",
                                        "-- neap: step b\n",
                                        "-- neap: requires 1, 2\n",
                                        "select 1;\n",
                                        "select 'x",
                                        "';\n",
                                        "$$",
                                        "/* ",
                                        " */\n",
                                        "vacuum;\n",
                                        "\\restrict x\n",
                                        "-- neap: timeout 3s\n",
                                        "-- x\n"};
    (void)state;
    for (int i = 0; i < 20000; i++) {
        char *text = neap_strdup("");
        for (uint32_t n = random_below(12); n > 0; n--) {
            char *next =
                neap_format("%s%s", text, lines[random_below(sizeof lines / sizeof *lines)]);
            free(text);
            text = next;
        }
        struct neap_source_file file = file_of(text);
        struct neap_sections sections;
        struct neap_error err = {0};
        if (neap_sections_parse(&file, &sections, &err))
            assert_true(sections.def.step_count > 0);
        else
            assert_true(err.code != NEAP_OK && err.where_line > 0);
        neap_sections_clear(&sections);
        neap_error_clear(&err);
        free(text);
    }
    pg_sql_cache_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sections__whole_file),
        cmocka_unit_test(test_sections__directives_in_strings_are_none),
        cmocka_unit_test(test_sections__steps),
        cmocka_unit_test(test_sections__refusals),
        cmocka_unit_test(test_sections__statements_that_cannot_be),
        cmocka_unit_test(test_sections__verify_rows),
        cmocka_unit_test(test_sections__mutated_files_do_not_crash),
    };
    return cmocka_run_group_tests_name("sections", tests, NULL, NULL);
}
