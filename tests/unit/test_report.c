/* SPDX-License-Identifier: MIT
 *
 * The report as a function of events: what needs gates, a rehearsal or a way back is
 * given here as those events, without a server.
 */
#include "tests/unit/test_support.h"

#include "host/base/json.h"
#include "host/report/report.h"

/* "time|event|{data}" each; the report of them. */
static json_t *report_of(const char *const *events)
{
    struct neap_report *report = neap_report_begin();

    for (; *events; events++) {
        char *line = strdup(*events);
        char *name = strchr(line, '|');
        char *fields = strchr(name + 1, '|');
        char time[64];

        *name++ = *fields++ = '\0';
        snprintf(time, sizeof time, "2026-11-21T03:00:%s.000000Z", line);
        json_t *data = json_loads(fields, 0, NULL);
        if (!data)
            fail_msg("no JSON: %s", fields);
        json_t *event = json_pack("{s:s, s:s, s:s, s:o}", "run", "RUN", "time", time, "event", name,
                                  "data", data);
        assert_true(neap_report_event(report, "", event));
        json_decref(event);
        free(line);
    }
    return neap_report_end(report);
}

#define BEGIN                                                                               \
    "00|run.begin|{\"command\":\"up\",\"environment\":\"shop\",\"environment_named\":true," \
    "\"actor\":\"anna\",\"who\":{\"host\":\"ops\"},\"lease_waited_ms\":2500}"
#define COMMIT(second, id, more)                                                  \
    second "|step.commit|{\"id\":\"" id "\",\"name\":\"x\",\"direction\":\"up\"," \
           "\"attempt_number\":1,\"statement_count\":1,\"row_count\":4" more "}", \
        second "|step.committed|{\"id\":\"" id "\",\"name\":\"x\",\"direction\":\"up\"}"
#define END "59|run.end|{\"exit_status\":0}"

static const char *text_at(json_t *json, const char *list, size_t index, const char *key)
{
    const char *text =
        json_string_value(json_object_get(json_array_get(json_object_get(json, list), index), key));

    return text ? text : "";
}

static double metric(json_t *json, const char *name)
{
    const json_t *value = json_object_get(json_object_get(json, "metrics"), name);

    return json_is_number(value) ? json_number_value(value) : -1;
}

static void test_report__of_no_event_is_none(void **unused)
{
    static const char *const none[] = {NULL};

    (void)unused;
    assert_null(report_of(none));
}

static void test_report__knows_what_it_does_not_know(void **unused)
{
    static const char *const events[] = {"00|something.new|{}",
                                         "01|run.killed|{\"reason\":\"slow\"}", NULL};
    json_t *json = report_of(events);
    char *text = neap_report_text(json);

    (void)unused;
    assert_string_equal(json_string_value(json_object_get(json, "result")), "unfinished");
    assert_contains(text, "UNFINISHED");
    assert_contains(text, "Its last word: slow");
    free(text);
    json_decref(json);
}

static void test_report__compares_with_the_rehearsal(void **unused)
{
    static const char *const events[] = {
        BEGIN,
        "01|rehearsal.begin|{\"from\":\"backup\",\"backup\":\"B\",\"ids\":[\"0001\"]}",
        "05|rehearsal.end|{\"ok\":true,\"from\":\"backup\",\"seconds\":4,\"units\":["
        "{\"id\":\"0001\",\"up_ms\":900,\"verify_ms\":100,\"predicted_ms\":1200,\"locks\":"
        "[{\"relation\":\"public.users\",\"mode\":\"AccessExclusiveLock\"}],\"statements\":["
        "{\"file\":\"a.lua\",\"line\":3,\"duration_ms\":500},"
        "{\"file\":\"a.lua\",\"line\":4,\"duration_ms\":400}]},"
        "{\"id\":\"0002\",\"up_ms\":1000},{\"id\":\"0003\",\"up_ms\":1000},"
        "{\"id\":\"0004\",\"up_ms\":1000,\"down_ms\":20}]}",
        "10|step.statements|{\"statements\":[{\"file\":\"a.lua\",\"line\":3,\"us\":2500000,"
        "\"rows\":4},{\"file\":\"a.lua\",\"line\":4,\"us\":450000,\"rows\":-1}]}",
        COMMIT("10", "0001", ",\"duration_ms\":3000"),
        COMMIT("11", "0002", ",\"duration_ms\":1200"),
        COMMIT("12", "0003", ",\"duration_ms\":100"),
        COMMIT("13", "0004", ",\"duration_ms\":1500"),
        COMMIT("14", "0005", ",\"duration_ms\":1"),
        END,
        NULL};
    json_t *json = report_of(events);
    char *text = neap_report_text(json);

    (void)unused;
    assert_string_equal(text_at(json, "units", 0, "difference"),
                        "3 times as long as rehearsed (1.0 s)");
    assert_string_equal(text_at(json, "units", 1, "difference"), "as rehearsed (1.0 s)");
    assert_string_equal(text_at(json, "units", 2, "difference"), "faster than rehearsed (1.0 s)");
    assert_string_equal(text_at(json, "units", 3, "difference"), "longer than rehearsed (1.0 s)");
    assert_string_equal(text_at(json, "units", 4, "difference"), "");
    assert_contains(text, "slower at a.lua:3: 2.5 s, rehearsed 500 ms");
    assert_lacks(text, "a.lua:4");
    assert_contains(text, "lock (rehearsed): AccessExclusiveLock on public.users");
    assert_contains(text, "predicted: 1.2 s");
    assert_contains(text, "passed on a copy of backup in 4.0 s, 4 migrations up");
    assert_contains(text, "2.5 s for the lease");
    assert_true(metric(json, "rehearsal_success") == 1);
    assert_true(metric(json, "migration_duration_seconds") > 5.8);
    free(text);
    json_decref(json);
}

static void test_report__compares_no_time_without_rows(void **unused)
{
    static const char *const events[] = {
        BEGIN,
        "05|rehearsal.end|{\"ok\":true,\"from\":\"live-schema\",\"rows\":false,\"units\":["
        "{\"id\":\"0001\",\"up_ms\":1,\"statements\":[{\"part\":\"up\",\"file\":\"a\","
        "\"line\":1,\"duration_ms\":1}]}]}",
        "10|step.statements|{\"statements\":[{\"file\":\"a\",\"line\":1,\"us\":9000000}]}",
        COMMIT("10", "0001", ",\"duration_ms\":9000"),
        END,
        NULL};
    json_t *json = report_of(events);
    char *text = neap_report_text(json);

    (void)unused;
    assert_string_equal(text_at(json, "units", 0, "difference"), "rehearsed without rows (1 ms)");
    assert_lacks(text, "slower at");
    assert_contains(text, "live-schema, without rows in 0 ms, 1 migration up");
    free(text);
    json_decref(json);
}

static void test_report__tells_of_gates_and_proofs(void **unused)
{
    static const char *const events[] = {
        BEGIN,
        "01|preflight|{\"rows\":[{\"check\":\"disk\",\"level\":\"ok\"},{\"check\":\"locks\","
        "\"level\":\"warning\",\"message\":\"somebody is there\"}]}",
        "01|gate|{\"gate\":\"preflight\",\"result\":\"passed\",\"duration_ms\":12}",
        "01|gate|{\"gate\":\"rehearsal\",\"result\":\"skipped\",\"by\":\"--skip-rehearsal\","
        "\"reason\":\"in a hurry\"}",
        "02|backup.begin|{\"id\":\"B1\",\"kind\":\"full\"}",
        "04|backup.end|{\"id\":\"B1\",\"ok\":true,\"bytes\":2048}",
        "09|backup.verified|{\"id\":\"B1\",\"ok\":true,\"level\":\"full\",\"seconds\":4.5}",
        COMMIT("10", "0001", ",\"duration_ms\":30"),
        COMMIT("11", "0002", ",\"irreversible\":\"it drops\",\"unverified\":\"no way\""),
        END,
        NULL};
    json_t *json = report_of(events);
    char *text = neap_report_text(json);

    (void)unused;
    assert_contains(text, "rehearsal   skipped by --skip-rehearsal: in a hurry");
    assert_contains(text, "warning  locks: somebody is there");
    assert_contains(text, "1 of 2 ok");
    assert_contains(text, "B1  full, 2.0 kB in 2.0 s");
    assert_contains(text, "proved: restored and compared in 4.5 s");
    assert_contains(text, "not verified: no way");
    assert_contains(text, "0002 has no way back: it drops");
    assert_string_equal(text_at(json, "undo", 1, "command"), "neap -e shop down --only 0001");
    assert_string_equal(text_at(json, "undo", 2, "command"),
                        "neap -e shop restore B1 --swap --reason TEXT");
    assert_true(metric(json, "backup_bytes") == 2048);
    assert_true(metric(json, "backup_duration_seconds") == 2);
    assert_true(metric(json, "verify_duration_seconds") == 4.5);
    free(text);
    json_decref(json);
}

static void test_report__says_what_is_not_proved(void **unused)
{
    static const char *const events[] = {
        BEGIN,
        "01|gate|{\"gate\":\"backup\",\"result\":\"reused\",\"backup\":\"B0\"}",
        "02|backup.begin|{\"id\":\"B1\"}",
        "02|backup.end|{\"id\":\"B1\",\"ok\":false,\"error\":{\"message\":\"no room\"}}",
        "03|backup.verified|{\"id\":\"B2\",\"ok\":false,\"level\":\"full\",\"seconds\":1,"
        "\"error\":{\"message\":\"cut in half\"}}",
        "04|backup.verified|{\"id\":\"B3\",\"ok\":true,\"level\":\"quick\"}",
        "05|rehearsal.begin|{\"from\":\"latest\"}",
        "06|step.commit|{\"id\":\"0001\",\"direction\":\"up\",\"attempt_number\":1}",
        "06|step.committed|{\"id\":\"0001\",\"direction\":\"up\",\"unreplicated\":true}",
        "07|history.settled|{\"id\":\"0007\",\"action\":\"accept\"}",
        "07|step.committed|{\"id\":\"0007\",\"direction\":\"up\"}",
        NULL};
    json_t *json = report_of(events);
    char *text = neap_report_text(json);

    (void)unused;
    assert_contains(text, "B1  failed: no room");
    assert_contains(text, "NOT PROVED: cut in half");
    assert_contains(text, "that is no proof");
    assert_contains(text, "begun from latest, and not ended");
    assert_contains(text, "no synchronous standby confirmed it");
    assert_contains(text, "accept  0007");
    assert_int_equal(json_array_size(json_object_get(json, "undo")), 2);
    assert_string_equal(text_at(json, "undo", 1, "command"),
                        "neap -e shop restore B0 --swap --reason TEXT");
    assert_true(metric(json, "backup_bytes") == -1);
    free(text);
    json_decref(json);
}

static void test_report__tells_each_turn_of_the_way_back(void **unused)
{
    static const char *const events[] = {
        BEGIN,
        COMMIT("01", "0001", ",\"duration_ms\":30"),
        "02|way_back.turn|{\"migration\":\"0001\",\"step\":null,\"turn\":\"down\",\"result\":"
        "\"undone\",\"text\":\"one line\\nand another\"}",
        "02|step.committed|{\"id\":\"0001\",\"name\":\"x\",\"direction\":\"down\"}",
        "03|rehearsal.end|{\"ok\":false,\"seconds\":1,\"error\":{\"message\":\"not so\"}}",
        "04|target.failed_over|{\"timeline\":\"2\"}",
        "59|run.end|{\"exit_status\":8,\"error\":{\"code\":\"verify.failed\",\"message\":\"no\","
        "\"detail\":\"Because.\",\"file\":\"a.lua\",\"line\":3,\"hint\":\"Mend it.\"}}",
        NULL};
    json_t *json = report_of(events);
    char *text = neap_report_text(json);

    (void)unused;
    assert_contains(text, "FAILED after 59.0 s, exit status 8");
    assert_contains(text, "1. down  0001: undone\n     one line\n     and another");
    assert_contains(text, "FAILED on a copy of");
    assert_contains(text, "to timeline 2");
    assert_contains(text, "To do: Mend it.");
    assert_int_equal(json_array_size(json_object_get(json, "undo")), 0);
    assert_true(metric(json, "rollbacks_total") == 1);
    assert_true(metric(json, "rehearsal_success") == 0);
    free(text);
    json_decref(json);
}

static void test_report__tells_of_a_restore(void **unused)
{
    static const char *const events[] = {
        BEGIN,
        "01|restore_point|{\"name\":\"neap_x\",\"lsn\":\"0/99\",\"timeline\":1}",
        "02|restore.begin|{\"backup\":\"B\",\"target\":\"shop\"}",
        "03|restore.copy|{\"database\":\"shop_new\",\"ms\":1500,\"ok\":true}",
        "04|restore.swap|{\"database\":\"shop\",\"kept\":\"shop_before\"}",
        "05|restore.swapped|{\"database\":\"shop\",\"kept\":\"shop_before\",\"ok\":true}",
        "06|restore.end|{\"database\":\"shop\",\"kept\":\"shop_before\",\"ok\":true}",
        END,
        NULL};
    static const char *const failing[] = {
        BEGIN,
        "02|restore.begin|{\"backup\":\"B\",\"target\":\"shop\"}",
        "05|restore.swapped|{\"database\":\"shop\",\"kept\":\"k\",\"ok\":false,\"error\":{}}",
        "06|restore.end|{\"database\":null,\"kept\":null,\"ok\":false,\"error\":{}}",
        END,
        NULL};
    json_t *json = report_of(events);
    char *text = neap_report_text(json);

    (void)unused;
    assert_contains(text, "in the WAL  0/99, timeline 1, restore point neap_x");
    assert_contains(text, "backup B, made a database and compared in 1.5 s");
    assert_contains(text, "it is database shop now; the one before is kept as shop_before");
    assert_contains(text, "kept as shop_before; `neap help restore`");
    free(text);
    json_decref(json);
    json = report_of(failing);
    text = neap_report_text(json);
    assert_contains(text, "the target is what it was");
    assert_int_equal(json_array_size(json_object_get(json, "undo")), 0);
    free(text);
    json_decref(json);
}

static void test_report__survives_a_clock_set_back(void **unused)
{
    static const char *const events[] = {"30|run.begin|{\"command\":\"up\"}",
                                         "10|run.end|{\"exit_status\":0}", NULL};
    json_t *json = report_of(events);

    (void)unused;
    assert_int_equal(json_integer_value(json_object_get(json, "duration_ms")), 0);
    json_decref(json);
}

static void test_report__wraps_and_keeps_long_words(void **unused)
{
    static const char *const events[] = {
        "00|run.begin|{\"command\":\"up\",\"reason\":\"a reason of many words that goes on and on "
        "until it does not fit any more into the line\",\"project\":\"/x\",\"address\":"
        "\"/a/very/long/path/that/has/no/blank/in/it/and/is/wider/than/eighty/columns/by/itself\"}",
        NULL};
    json_t *json = report_of(events);
    char *text = neap_report_text(json);

    (void)unused;
    assert_contains(text, "\n              any more into the line\n");
    assert_contains(text, "wider/than/eighty/columns/by/itself\n");
    free(text);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report__of_no_event_is_none),
        cmocka_unit_test(test_report__knows_what_it_does_not_know),
        cmocka_unit_test(test_report__compares_with_the_rehearsal),
        cmocka_unit_test(test_report__compares_no_time_without_rows),
        cmocka_unit_test(test_report__tells_of_gates_and_proofs),
        cmocka_unit_test(test_report__says_what_is_not_proved),
        cmocka_unit_test(test_report__tells_each_turn_of_the_way_back),
        cmocka_unit_test(test_report__tells_of_a_restore),
        cmocka_unit_test(test_report__survives_a_clock_set_back),
        cmocka_unit_test(test_report__wraps_and_keeps_long_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
