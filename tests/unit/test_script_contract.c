/* SPDX-License-Identifier: MIT
 *
 * The contract of migration{}: what is read, and what each mistake is told.
 */
#include "tests/unit/script_fixture.h"

#define PARTS "up = function() end, verify = function() end, down = function() end"

static const struct {
    const char *text, *message;
} mistakes[] = {
    {"", "this file returned nothing"},
    {"return {}", "this file returned table"},
    {"return migration", "this file returned function"},
    {"return migration 'x'", "migration takes a table, got string"},
    {"return runbook { summary = 'x' }", "a runbook is not a migration"},
    {"return migration { " PARTS " }", "summary is missing"},
    {"return migration { summary = '', " PARTS " }", "summary must be a non-empty string"},
    {"return migration { summary = 5, " PARTS " }", "summary must be a non-empty string"},
    {"return migration { sumary = 'x', " PARTS " }",
     "no key \"sumary\"; did you mean \"summary\"?"},
    {"return migration { summary = 'x', timout = '5s', " PARTS " }", "did you mean \"timeout\"?"},
    {"return migration { summary = 'x', zzzzzzzzzzzz = 1, " PARTS " }", "no key \"zzzzzzzzzzzz\""},
    {"return migration { 'x', " PARTS " }", "named keys only"},
    {"return migration { summary = 'x', timeout = 30, " PARTS " }",
     "such as \"30s\"; got a number"},
    {"return migration { summary = 'x', timeout = '30', " PARTS " }", "timeout"},
    {"return migration { summary = 'x', lock_timeout = '5 parsecs', " PARTS " }", "lock_timeout"},
    {"return migration { summary = 'x', phase = 'middle', " PARTS " }", "not \"middle\""},
    {"return migration { summary = 'x', transaction = 'no', " PARTS " }", "true or false"},
    {"return migration { summary = 'x', requires = '0001', " PARTS " }", "list of ids"},
    {"return migration { summary = 'x', requires = { 1 }, " PARTS " }", "list of ids"},
    {"return migration { summary = 'x', requires = { 'a1' }, " PARTS " }", "list of ids"},
    {"return migration { summary = 'x', up = function() end, verify = function() end }",
     "down is missing: give a function, or irreversible \"why\""},
    {"return migration { summary = 'x', up = function() end, down = function() end }",
     "verify is missing: give a function, or unverified \"why\""},
    {"return migration { summary = 'x', verify = function() end, down = function() end }",
     "up is missing: give a function"},
    {"return migration { summary = 'x', up = 'x', verify = function() end, down = function() end }",
     "up must be a function; got a string"},
    {"return migration { summary = 'x', up = function() end, verify = irreversible 'x', "
     "down = function() end }",
     "verify must be a function"},
    {"return migration { summary = 'x', up = function() end, verify = function() end, "
     "down = irreversible '' }",
     "irreversible needs a reason"},
    {"return migration { summary = 'x', up = function() end, verify = unverified(), "
     "down = function() end }",
     "unverified needs a reason"},
    {"return migration { summary = 'x', steps = {}, " PARTS " }",
     "steps need `transaction = false`"},
    {"return migration { summary = 'x', transaction = false, " PARTS " }", "needs steps"},
    {"return migration { summary = 'x', transaction = false, steps = {} }", "at least one step"},
    {"return migration { summary = 'x', transaction = false, steps = { { name = 'a', " PARTS
     " } }, up = function() end }",
     "up belongs into a step"},
    {"return migration { summary = 'x', transaction = false, steps = { 5 } }", "must be a table"},
    {"return migration { summary = 'x', transaction = false, steps = { { " PARTS " } } }",
     "steps[1] needs a name"},
    {"return migration { summary = 'x', transaction = false, steps = { { name = 'a', " PARTS
     " }, { name = 'a', " PARTS " } } }",
     "two steps are named \"a\""},
    {"return migration { summary = 'x', transaction = false, steps = { { nam = 'a', " PARTS
     " } } }",
     "a step has no key \"nam\"; did you mean \"name\"?"},
};

static void test_script_contract__names_each_mistake(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        struct neap_script *script = script_open(&fixture, mistakes[i].text);
        if (script != NULL)
            fail_msg("accepted: %s", mistakes[i].text);
        assert_contains(fixture.err.message, mistakes[i].message);
        assert_int_equal(fixture.err.code, NEAP_ERR_SCRIPT_CONTRACT);
        assert_string_equal(fixture.err.where_file, SCRIPT_PATH);
        assert_true(fixture.err.where_line > 0);
    }
    script_end(&fixture);
}

static void test_script_contract__reads_a_transaction(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    struct neap_script *script = script_open(
        &fixture,
        "--- why: because\n--- risk: none\n--- locks: few\n"
        "return migration { summary = 'All of it', ticket = 'CIR-1', phase = 'expand', "
        "timeout = '30s', lock_timeout = '500ms', requires = { '0001', '0002' }, " PARTS " }");
    if (script == NULL)
        fail_msg("%s", fixture.err.message);
    const struct neap_script_def *def = neap_script_def(script);
    assert_string_equal(def->summary, "All of it");
    assert_string_equal(def->ticket, "CIR-1");
    assert_string_equal(def->phase, "expand");
    assert_string_equal(def->why, "because");
    assert_string_equal(def->risk, "none");
    assert_string_equal(def->locks, "few");
    assert_int_equal(def->timeout_ms, 30000);
    assert_int_equal(def->lock_timeout_ms, 500);
    assert_true(def->transaction);
    assert_string_equal(def->requires[1], "0002");
    assert_null(def->requires[2]);
    assert_int_equal(def->step_count, 1);
    assert_string_equal(def->steps[0].name, "up");
    assert_null(def->steps[0].irreversible);
    assert_null(def->steps[0].unverified);
    neap_script_close(script);
    script_end(&fixture);
}

static void test_script_contract__reads_steps(void **state)
{
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    struct neap_script *script = script_open(
        &fixture, "return migration { summary = 'x', transaction = false, steps = {"
                  " { name = 'one', " PARTS " }, { name = 'two', up = function() error 'two ran' "
                  "end, verify = unverified 'no way', down = irreversible 'gone' } } }");
    assert_non_null(script);
    const struct neap_script_def *def = neap_script_def(script);
    assert_false(def->transaction);
    assert_int_equal(def->step_count, 2);
    assert_null(def->requires[0]);
    assert_string_equal(def->steps[1].name, "two");
    assert_string_equal(def->steps[1].unverified, "no way");
    assert_string_equal(def->steps[1].irreversible, "gone");
    assert_true(neap_script_call(script, 0, NEAP_PART_UP, NULL, &fixture.err));
    assert_false(neap_script_call(script, 1, NEAP_PART_UP, NULL, &fixture.err));
    assert_string_equal(fixture.err.message, "two ran");
    assert_true(neap_script_call(script, 1, NEAP_PART_VERIFY, NULL, &fixture.err));
    assert_false(neap_script_call(script, 1, NEAP_PART_DOWN, NULL, &fixture.err));
    assert_int_equal(fixture.err.code, NEAP_ERR_POLICY_REFUSED);
    assert_contains(fixture.err.message, "gone");
    neap_script_close(script);
    script_end(&fixture);
}

static void test_script_contract__judges_verify(void **state)
{
    static const struct {
        const char *body, *message;
    } cases[] = {{"return false", "verify returned false"},
                 {"error 'found 3'", "found 3"},
                 {"return nil", NULL},
                 {"", NULL},
                 {"return true", NULL},
                 {"return 0", NULL},
                 {"assert(type(expect.equal) == 'function') expect.equal(1, 1)", NULL}};
    struct script_fixture fixture;
    (void)state;
    script_begin(&fixture);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = neap_format("return migration { summary = 'x', up = function() end, down = "
                                 "function() end, verify = function(db, expect) %s end }",
                                 cases[i].body);
        struct neap_script *script = script_open(&fixture, text);
        assert_non_null(script);
        bool is_done = neap_script_call(script, 0, NEAP_PART_VERIFY, NULL, &fixture.err);
        if (is_done != (cases[i].message == NULL))
            fail_msg("%s: %s", cases[i].body, is_done ? "passed" : fixture.err.message);
        if (!is_done) {
            assert_int_equal(fixture.err.code, NEAP_ERR_VERIFY_FAILED);
            assert_contains(fixture.err.message, cases[i].message);
        }
        neap_script_close(script);
        free(text);
    }
    script_end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_script_contract__names_each_mistake),
        cmocka_unit_test(test_script_contract__reads_a_transaction),
        cmocka_unit_test(test_script_contract__reads_steps),
        cmocka_unit_test(test_script_contract__judges_verify),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
