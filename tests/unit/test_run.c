/* SPDX-License-Identifier: MIT
 *
 * The sticky stop and the one gate.
 */
#include "tests/unit/test_support.h"

#include "host/base/clock.h"
#include "host/base/run.h"

static void test_run__begins_free(void **unused)
{
    struct neap_run run;
    struct neap_gate_call call = {.effect = NEAP_EFFECT_WRITE, .name = "redis.set"};
    int64_t id = 5;

    (void)unused;
    neap_run_init(&run);
    assert_int_equal(strlen(run.id), NEAP_RUN_ID_SIZE - 1);
    assert_false(neap_run_stopping(&run));
    assert_true(neap_gate_pass(&run, &call, &id, NULL));
    assert_int_equal(id, -1);
    neap_run_clear(&run);
}

static void test_run__first_reason_stays(void **unused)
{
    struct neap_run run;
    struct neap_error err = {0};

    (void)unused;
    neap_run_init(&run);
    neap_run_stop(&run, NEAP_ERR_LEASE_LOST, "gone");
    neap_run_stop(&run, NEAP_ERR_RUN_DEADLINE, "late");
    run.stop_signal = SIGINT;
    assert_true(neap_run_stopping(&run));
    assert_false(neap_run_check(&run, &err));
    assert_int_equal(err.code, NEAP_ERR_LEASE_LOST);
    assert_string_equal(err.message, "gone");
    neap_error_clear(&err);
    neap_run_rearm(&run);
    assert_int_equal(run.stop.code, NEAP_ERR_LEASE_LOST);
    neap_run_clear(&run);
}

static void check_signal(int number, enum neap_error_code code)
{
    struct neap_run run;

    neap_run_init(&run);
    run.stop_signal = number;
    assert_true(neap_run_stopping(&run));
    assert_int_equal(run.stop.code, code);
    neap_run_rearm(&run); /* never forgotten */
    assert_true(neap_run_stopping(&run));
    neap_run_clear(&run);
}

static void test_run__signals_have_their_codes(void **unused)
{
    (void)unused;
    check_signal(SIGINT, NEAP_ERR_RUN_INTERRUPTED);
    check_signal(SIGTERM, NEAP_ERR_RUN_TERMINATED);
    check_signal(SIGHUP, NEAP_ERR_RUN_TERMINATED);
}

static void test_run__deadline_can_be_rearmed(void **unused)
{
    struct neap_run run;

    (void)unused;
    neap_run_init(&run);
    run.deadline_ms = neap_clock_ms() - 1;
    assert_true(neap_run_stopping(&run));
    assert_int_equal(run.stop.code, NEAP_ERR_RUN_DEADLINE);
    run.deadline_ms = NEAP_FOREVER;
    assert_true(neap_run_stopping(&run)); /* sticky until the step machine says */
    neap_run_rearm(&run);
    assert_false(neap_run_stopping(&run));
    neap_run_clear(&run);
}

static void test_run__gate_names_effect_and_rule(void **unused)
{
    struct neap_run run;
    struct neap_gate_call call = {.effect = NEAP_EFFECT_TX,
                                  .name = "pg.exec",
                                  .statement = "delete from x",
                                  .where_file = "a.lua",
                                  .where_line = 4};
    struct neap_error err = {0};
    int64_t id = 0;

    (void)unused;
    neap_run_init(&run);
    run.allowed = NEAP_ALLOW_READ;
    run.rule = "in verify";
    assert_false(neap_gate_pass(&run, &call, &id, &err));
    assert_int_equal(err.code, NEAP_ERR_GATE_REFUSED);
    assert_string_equal(err.message, "pg.exec may not write in verify");
    assert_contains(err.hint, "only read");
    assert_int_equal(err.where_line, 4);
    assert_int_equal(id, -1);
    call.effect = NEAP_EFFECT_READ;
    assert_true(neap_gate_pass(&run, &call, &id, &err));
    neap_error_clear(&err);
    neap_run_clear(&run);
}

struct record {
    int count, settled;
    bool refuses;
};

static bool record(void *sink, const struct neap_gate_call *call, int64_t *call_id,
                   struct neap_error *err)
{
    struct record *kept = sink;

    (void)call;
    *call_id = ++kept->count;
    if (kept->refuses)
        neap_error_set(err, NEAP_ERR_AUDIT_JOURNAL, "disk full");
    return !kept->refuses;
}

static void settle(void *sink, const struct neap_gate_result *result)
{
    struct record *kept = sink;

    (void)result;
    kept->settled++;
}

static void test_run__gate_records_before_it_lets_pass(void **unused)
{
    struct record kept = {0};
    struct neap_run run;
    struct neap_gate_call call = {.effect = NEAP_EFFECT_TX, .name = "pg.exec"};
    struct neap_gate_result result = {.call_id = -1};
    int64_t id = 0;

    (void)unused;
    neap_run_init(&run);
    run.gate = (struct neap_gate_sink){record, settle, &kept};
    assert_true(neap_gate_pass(&run, &call, &id, NULL));
    assert_int_equal(id, 1);
    neap_gate_settle(&run, &result); /* was never recorded */
    assert_int_equal(kept.settled, 0);
    result.call_id = id;
    neap_gate_settle(&run, &result);
    assert_int_equal(kept.settled, 1);
    kept.refuses = true;
    assert_false(neap_gate_pass(&run, &call, &id, NULL));
    neap_run_stop(&run, NEAP_ERR_RUN_DEADLINE, NULL);
    assert_false(neap_gate_pass(&run, &call, &id, NULL));
    assert_int_equal(kept.count, 2); /* after a stop nothing is recorded either */
    neap_run_clear(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run__begins_free),
        cmocka_unit_test(test_run__first_reason_stays),
        cmocka_unit_test(test_run__signals_have_their_codes),
        cmocka_unit_test(test_run__deadline_can_be_rearmed),
        cmocka_unit_test(test_run__gate_names_effect_and_rule),
        cmocka_unit_test(test_run__gate_records_before_it_lets_pass),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
