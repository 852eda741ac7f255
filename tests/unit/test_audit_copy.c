/* SPDX-License-Identifier: MIT
 *
 * The target's copy on a real server: what may be sent to it and when, and what a
 * run makes up for that earlier ones left in the journal.
 */
#include "tests/unit/pg_fixture.h"

#include "host/base/json.h"
#include "host/base/path.h"
#include "host/change/audit.h"
#include "host/change/history.h"

#define IDENTITY "7301/5"
#define FILE_NAME "7301-5.jsonl"

static char *state_dir;

static void must(struct pg_scene *scene, bool did)
{
    if (!did)
        fail_msg("%s (%s)", scene->err.message, scene->err.detail ? scene->err.detail : "");
}

static struct neap_audit *begin_run(struct pg_scene *scene, const char *run_id)
{
    struct neap_history history;
    struct neap_audit *audit = NULL;
    struct neap_audit_opts opts = {.state_dir = state_dir, .identity = IDENTITY, .run_id = run_id};
    must(scene, neap_history_load(scene->client, &history, &scene->err));
    must(scene, neap_audit_open(&opts, &audit, &scene->err));
    must(scene, neap_audit_begin(audit, history.target_head, NULL, &scene->err));
    neap_history_clear(&history);
    return audit;
}

static void copy_events(struct pg_scene *scene, struct neap_audit *audit)
{
    must(scene, neap_audit_copy(audit, scene->client, &scene->err));
    must(scene, pg_settle(scene->client, &scene->err));
    neap_audit_copied(audit, true);
}

static void add_steps(struct pg_scene *scene, struct neap_audit *audit, int count, size_t length)
{
    char *text = neap_alloc(length + 1);
    memset(text, 'x', length);
    for (int i = 0; i < count; i++) {
        json_t *fields = json_object();
        neap_json_set(fields, "statement", neap_json_text(text));
        neap_audit_add(audit, "db.statement", fields);
    }
    must(scene, neap_audit_sync(audit, &scene->err));
    free(text);
}

static void end_run(struct pg_scene *scene, struct neap_audit *audit)
{
    neap_audit_add(audit, "run.end", NULL);
    must(scene, neap_audit_sync(audit, &scene->err));
    copy_events(scene, audit);
    neap_audit_close(audit);
}

/* A run that was killed after so many steps; none of it is in the target. */
static void killed_run(struct pg_scene *scene, const char *run_id, int steps)
{
    struct neap_audit *audit = begin_run(scene, run_id);
    add_steps(scene, audit, steps, 10);
    neap_audit_close(audit);
}

/* Another run, to its end: how many events of earlier ones it copied. */
static int make_up(struct pg_scene *scene, const char *run_id)
{
    int count = -1;
    struct neap_audit *audit = begin_run(scene, run_id);
    must(scene, neap_audit_backfill(audit, scene->client, &count, &scene->err));
    end_run(scene, audit);
    return count;
}

static int64_t events_of(struct pg_scene *scene, const char *run_id)
{
    char *sql =
        neap_format("select count(*) from neap.event where run_id like '%s' escape ''", run_id);
    int64_t count = pg_scene_int(scene, sql);
    free(sql);
    return count;
}

static struct neap_audit_report look(struct pg_scene *scene)
{
    struct neap_audit_verify_opts opts = {
        .state_dir = state_dir, .identity = IDENTITY, .control = scene->client};
    struct neap_audit_report report;
    must(scene, neap_audit_verify(&opts, &report, &scene->err));
    return report;
}

static void assert_holds(struct pg_scene *scene)
{
    struct neap_audit_report report = look(scene);
    if (report.finding_count > 0)
        fail_msg("%s %lld %s: %s", report.findings[0].run_id, (long long)report.findings[0].seq,
                 report.findings[0].where, report.findings[0].message);
    neap_audit_report_clear(&report);
}

static char *journal_path(void)
{
    return neap_format("%s/journal/" FILE_NAME, state_dir);
}

/* Changes the first place where the journal says `from`. */
static void change_journal(const char *from, const char *to)
{
    char *path = journal_path(), *text = NULL;
    size_t length = 0;
    assert_true(neap_path_read(path, NULL, 1 << 24, &text, &length, NULL));
    char *at = strstr(text, from);
    assert_non_null(at);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    assert_int_equal(fclose(file), 0);
    free(text);
    free(path);
}

/* A record is durable no later than its copy. */
static void test_audit_copy__what_is_not_in_the_journal_stays_here(void **state)
{
    struct pg_scene *scene = *state;
    struct neap_audit *audit = begin_run(scene, "run-a");
    neap_audit_add(audit, "step.begin", NULL);
    copy_events(scene, audit);
    assert_int_equal(events_of(scene, "run-a"), 1); /* run.begin */
    copy_events(scene, audit);
    assert_int_equal(events_of(scene, "run-a"), 1);
    must(scene, neap_audit_sync(audit, &scene->err));
    copy_events(scene, audit);
    assert_int_equal(events_of(scene, "run-a"), 2);
    end_run(scene, audit);
    assert_int_equal(events_of(scene, "run-a"), 3);
    assert_holds(scene);
}

static bool send_not(void *arg, const char *const arrays[3], bool last, struct neap_error *err)
{
    (void)last;
    *(bool *)arg = strstr(arrays[2], "run.begin") != NULL;
    neap_error_set(err, NEAP_ERR_DB_LOST, "a test");
    return false;
}

/* The server went away with them: they are still to be copied. */
static void test_audit_copy__what_could_not_be_sent_is_copied_later(void **state)
{
    struct pg_scene *scene = *state;
    struct neap_audit *audit = begin_run(scene, "run-a");
    struct pg_client *other = pg_fixture_open(scene);
    bool is_offered = false;
    struct neap_audit_carrier carrier = {.send = send_not, .arg = &is_offered};
    assert_false(neap_audit_carry(audit, &carrier, &scene->err));
    assert_true(is_offered);
    neap_error_clear(&scene->err);
    must(scene, pg_exec_text(other,
                             "select pg_terminate_backend(pid) from pg_stat_activity"
                             " where pid <> pg_backend_pid() and application_name like 'neap:%'",
                             0, NULL, NULL, &scene->err));
    assert_false(pg_exec_text(scene->client, "select 1", 0, NULL, NULL, &scene->err));
    neap_error_clear(&scene->err);
    assert_false(neap_audit_copy(audit, scene->client, &scene->err));
    assert_true(scene->err.code != NEAP_OK);
    neap_error_clear(&scene->err);
    pg_close(scene->client);
    scene->client = other;
    end_run(scene, audit);
    assert_int_equal(events_of(scene, "run-a"), 2);
    assert_holds(scene);
}

/* What was changed in the journal is not made true by a copy; the rest is copied. */
static void test_audit_copy__a_changed_line_is_not_copied(void **state)
{
    struct pg_scene *scene = *state;
    killed_run(scene, "run-a", 2);
    change_journal("\"event\":\"db.statement\"", "\"event\":\"db.statemenT\"");
    change_journal("\n", "\nnoise, of no run\n\n");
    assert_int_equal(make_up(scene, "run-b"), 2); /* run.begin and the second statement */
    assert_int_equal(events_of(scene, "run-a"), 2);
    assert_int_equal(pg_scene_int(scene, "select count(*) from neap.event where"
                                         " body like '%db.statemenT%'"),
                     0);
    struct neap_audit_report report = look(scene);
    bool is_found = false;
    for (size_t i = 0; i < report.finding_count; i++)
        is_found = is_found || (strcmp(report.findings[i].where, "journal") == 0 &&
                                strstr(report.findings[i].message, "the record was changed"));
    assert_true(is_found);
    neap_audit_report_clear(&report);
}

static void test_audit_copy__a_run_of_which_nothing_is_whole_is_not_made_up_for(void **state)
{
    struct pg_scene *scene = *state;
    struct neap_audit *audit = begin_run(scene, "run-a");
    copy_events(scene, audit);
    add_steps(scene, audit, 1, 10);
    neap_audit_close(audit);
    end_run(scene, begin_run(scene, "run-x"));
    change_journal("\"event\":\"db.statement\"", "\"event\":\"db.statemenT\"");
    assert_int_equal(make_up(scene, "run-b"), 0);
    assert_int_equal(events_of(scene, "run-a"), 1);
    assert_int_equal(pg_scene_int(scene, "select count(*) from neap.event where"
                                         " body like '%audit.backfilled%'"),
                     0);
}

static void test_audit_copy__the_last_200_runs_are_made_up_for(void **state)
{
    struct pg_scene *scene = *state;
    for (int i = 0; i < 205; i++) {
        char run_id[32];
        snprintf(run_id, sizeof run_id, "killed-%03d", i);
        killed_run(scene, run_id, 0);
    }
    assert_int_equal(make_up(scene, "run-b"), 200);
    assert_int_equal(events_of(scene, "killed-%"), 200);
    assert_int_equal(events_of(scene, "killed-004"), 0);
    assert_int_equal(events_of(scene, "killed-005"), 1);
    assert_holds(scene);
}

/* The end of the journal is looked at, for speed. A run that began before it is
 * copied whole all the same: without its beginning it would look tampered with. */
static void test_audit_copy__a_run_longer_than_what_is_looked_at_is_whole(void **state)
{
    struct pg_scene *scene = *state;
    struct neap_audit *audit = begin_run(scene, "run-a");
    copy_events(scene, audit);
    for (int i = 0; i < 10; i++)
        add_steps(scene, audit, 10, 100 * 1024); /* 10 MiB */
    neap_audit_close(audit);
    assert_int_equal(make_up(scene, "run-b"), 100);
    assert_int_equal(events_of(scene, "run-a"), 101);
    assert_holds(scene);
    assert_int_equal(make_up(scene, "run-c"), 0);
    assert_holds(scene);
}

/* An unreadable journal is no empty one. */
static void test_audit_copy__a_journal_that_cannot_be_read_stops_the_run(void **state)
{
    struct pg_scene *scene = *state;
    int count = -1;
    killed_run(scene, "run-a", 1);
    struct neap_audit *audit = begin_run(scene, "run-b");
    char *closed = neap_format("%s/journal/7301-5.1.jsonl", state_dir);
    assert_int_equal(mkdir(closed, 0700), 0);
    assert_false(neap_audit_backfill(audit, scene->client, &count, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_AUDIT_JOURNAL);
    assert_contains(scene->err.message, closed);
    assert_int_equal(count, 0);
    neap_error_clear(&scene->err);
    assert_int_equal(rmdir(closed), 0);
    end_run(scene, audit);
    free(closed);
    assert_int_equal(make_up(scene, "run-c"), 2);
    assert_holds(scene);
}

static int begin(void **state)
{
    state_dir = test_temp_dir();
    pg_scene_begin(state);
    struct pg_scene *scene = *state;
    must(scene, neap_history_install(scene->client, &scene->err));
    return 0;
}

static int end(void **state)
{
    pg_scene_do(*state, "drop schema neap cascade");
    pg_scene_end(state);
    test_temp_remove(state_dir);
    free(state_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(test_audit_copy__##name, begin, end)
        CASE(what_is_not_in_the_journal_stays_here),
        CASE(what_could_not_be_sent_is_copied_later),
        CASE(a_changed_line_is_not_copied),
        CASE(a_run_of_which_nothing_is_whole_is_not_made_up_for),
        CASE(the_last_200_runs_are_made_up_for),
        CASE(a_run_longer_than_what_is_looked_at_is_whole),
        CASE(a_journal_that_cannot_be_read_stops_the_run),
#undef CASE
    };
    return cmocka_run_group_tests_name("audit_copy", tests, pg_fixture_begin, pg_fixture_end);
}
