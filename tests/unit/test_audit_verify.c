/* SPDX-License-Identifier: MIT
 *
 * Verify against every single change, removal, swap and insertion in either
 * copy. The copies are made by real runs on a real server, and then changed in
 * memory and on disk.
 */
#include "tests/unit/pg_fixture.h"

#include <fcntl.h>

#include "host/base/json.h"
#include "host/base/path.h"
#include "host/change/audit.h"
#include "host/change/audit_chain.h"
#include "host/change/history.h"

#define IDENTITY "7301/5"
#define ROW_MAX 64

static char state_dir[80];

struct row {
    char run_id[32], hash[65], body[1024];
    int64_t seq;
};
struct copy {
    struct row rows[ROW_MAX];
    size_t count;
};
static struct copy target; /* as it is */
static char *journal;      /* as it is */
static size_t journal_length;

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

static void copy_events(struct pg_scene *scene, struct neap_audit *audit, bool commit)
{
    must(scene, neap_audit_sync(audit, &scene->err));
    pg_scene_do(scene, "begin");
    must(scene, neap_audit_copy(audit, scene->client, &scene->err));
    must(scene, pg_settle(scene->client, &scene->err));
    pg_scene_do(scene, commit ? "commit" : "rollback");
    neap_audit_copied(audit, commit);
}

static void end_run(struct pg_scene *scene, struct neap_audit *audit)
{
    neap_audit_add(audit, "run.end", NULL);
    copy_events(scene, audit, true);
    neap_audit_close(audit);
}

static struct neap_audit_report look(struct pg_scene *scene)
{
    struct neap_audit_verify_opts opts = {
        .state_dir = state_dir, .identity = IDENTITY, .control = scene->client};
    struct neap_audit_report report;
    must(scene, neap_audit_verify(&opts, &report, &scene->err));
    return report;
}

static void assert_clean(struct pg_scene *scene, size_t note_count)
{
    struct neap_audit_report report = look(scene);
    for (size_t i = 0; i < report.finding_count; i++)
        fail_msg("%s %lld %s: %s", report.findings[i].run_id, (long long)report.findings[i].seq,
                 report.findings[i].where, report.findings[i].message);
    assert_int_equal(report.note_count, note_count);
    neap_audit_report_clear(&report);
}

static char *journal_path(void)
{
    return neap_format("%s/journal/7301-5.jsonl", state_dir);
}

static void write_journal(const char *bytes, size_t length)
{
    char *path = journal_path();
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0 && write(fd, bytes, length) == (ssize_t)length);
    close(fd);
    free(path);
}

static void keep_copies(struct pg_scene *scene)
{
    char *path = journal_path();
    struct pg_op *op = NULL;
    free(journal);
    journal = NULL;
    assert_true(neap_path_read(path, NULL, 1 << 24, &journal, &journal_length, NULL));
    free(path);
    must(scene, pg_exec_text(scene->client,
                             "select run_id, seq, hash, body from neap.event"
                             " order by position",
                             0, NULL, &op, &scene->err));
    target.count = (size_t)pg_rows(op);
    assert_in_range(target.count, 1, ROW_MAX);
    for (int i = 0; i < pg_rows(op); i++) {
        struct row *row = &target.rows[i];
        snprintf(row->run_id, sizeof row->run_id, "%s", pg_cell(op, i, 0));
        row->seq = pg_cell_int(op, i, 1);
        snprintf(row->hash, sizeof row->hash, "%s", pg_cell(op, i, 2));
        snprintf(row->body, sizeof row->body, "%s", pg_cell(op, i, 3));
    }
    pg_op_free(op);
}

/* Two runs that ended, one that was killed and copied by the next. */
static void test_audit_verify__runs_are_copied_and_made_up_for(void **state)
{
    struct pg_scene *scene = *state;
    int count = -1;
    must(scene, neap_history_install(scene->client, &scene->err));
    assert_clean(scene, 0);
    struct neap_audit *audit = begin_run(scene, "run-a");
    must(scene, neap_audit_backfill(audit, scene->client, &count, &scene->err));
    assert_int_equal(count, 0);
    neap_audit_add(audit, "step.begin", NULL);
    copy_events(scene, audit, false); /* this attempt is rolled back */
    assert_int_equal(pg_scene_int(scene, "select count(*) from neap.event"), 0);
    neap_audit_add(audit, "step.retry", NULL);
    copy_events(scene, audit, true);
    end_run(scene, audit);
    assert_int_equal(pg_scene_int(scene, "select count(*) from neap.event"), 4);
    assert_clean(scene, 0);

    audit = begin_run(scene, "run-b");
    neap_audit_add(audit, "step.begin", NULL);
    copy_events(scene, audit, true);
    neap_audit_add(audit, "step.end", NULL);
    must(scene, neap_audit_sync(audit, &scene->err));
    neap_audit_close(audit); /* killed here: nothing ended */
    assert_clean(scene, 2);  /* one record to copy, no run.end */

    audit = begin_run(scene, "run-c");
    must(scene, neap_audit_backfill(audit, scene->client, &count, &scene->err));
    assert_int_equal(count, 1);
    end_run(scene, audit);
    assert_clean(scene, 1);
    audit = begin_run(scene, "run-d");
    must(scene, neap_audit_backfill(audit, scene->client, &count, &scene->err));
    assert_int_equal(count, 0);
    end_run(scene, audit);
    assert_clean(scene, 1);
    keep_copies(scene);
}

static bool load_copy(void *arg, void (*take)(void *to, const struct chain_record *record),
                      void *to, struct neap_error *err)
{
    const struct copy *copy = arg;
    (void)err;
    for (size_t i = 0; i < copy->count; i++) {
        const struct row *row = &copy->rows[i];
        struct chain_record record = {.hash = row->hash,
                                      .body = row->body,
                                      .body_length = strlen(row->body),
                                      .run_id = row->run_id,
                                      .seq = row->seq};
        take(to, &record);
    }
    return true;
}

/* How many faults are found with this target and the journal on disk. */
static size_t faults(struct copy *copy)
{
    struct neap_audit_verify_opts opts = {.state_dir = state_dir, .identity = IDENTITY};
    struct chain_rows rows = {.load = load_copy, .arg = copy};
    struct neap_audit_report report;
    assert_true(neap_audit_verify_rows(&opts, &rows, &report, NULL));
    size_t count = report.finding_count;
    neap_audit_report_clear(&report);
    return count;
}

static void test_audit_verify__every_changed_byte_of_the_journal(void **state)
{
    (void)state;
    char *changed = neap_strndup(journal, journal_length);
    write_journal(journal, journal_length);
    assert_int_equal(faults(&target), 0);
    for (size_t i = 0; i < journal_length; i += test_stride(101)) {
        changed[i] = (char)(journal[i] ^ (1 << (i % 8)));
        write_journal(changed, journal_length);
        if (faults(&target) == 0)
            fail_msg("byte %zu changed and not found", i);
        changed[i] = journal[i];
    }
    write_journal(journal, journal_length);
    free(changed);
}

struct line {
    const char *bytes;
    size_t length;
};

static size_t split_lines(struct line *lines)
{
    size_t count = 0;
    for (const char *at = journal; *at != '\0'; count++) {
        const char *end = strchr(at, '\n') + 1;
        assert_true(count < ROW_MAX);
        lines[count] = (struct line){.bytes = at, .length = (size_t)(end - at)};
        at = end;
    }
    return count;
}

/* `order` has indexes of lines; writes them and looks. */
static size_t faults_of_order(const struct line *lines, const size_t *order, size_t count)
{
    char *bytes = neap_alloc(2 * journal_length + 1), *at = bytes;
    for (size_t i = 0; i < count; i++) {
        memcpy(at, lines[order[i]].bytes, lines[order[i]].length);
        at += lines[order[i]].length;
    }
    write_journal(bytes, (size_t)(at - bytes));
    free(bytes);
    return faults(&target);
}

static void test_audit_verify__every_removed_line_of_the_journal(void **state)
{
    (void)state;
    struct line lines[ROW_MAX];
    size_t count = split_lines(lines), order[ROW_MAX];
    for (size_t gone = 0; gone < count; gone++) {
        size_t kept = 0;
        for (size_t i = 0; i < count; i++)
            if (i != gone)
                order[kept++] = i;
        /* The very last line only says that the target has all before it. */
        if (gone + 1 < count && faults_of_order(lines, order, kept) == 0)
            fail_msg("line %zu removed and not found", gone + 1);
    }
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t kept = 0; kept + 1 < count; kept++)
        if (kept > 0 && faults_of_order(lines, order, kept) == 0)
            fail_msg("cut after line %zu and not found", kept);
    write_journal(journal, journal_length);
}

static void test_audit_verify__every_swap_and_copy_in_the_journal(void **state)
{
    (void)state;
    struct line lines[ROW_MAX];
    size_t count = split_lines(lines), order[ROW_MAX + 1];
    for (size_t a = 0; a < count; a++)
        for (size_t b = a + 1; b < count; b += test_stride(11)) {
            for (size_t i = 0; i < count; i++)
                order[i] = i == a ? b : i == b ? a : i;
            if (faults_of_order(lines, order, count) == 0)
                fail_msg("lines %zu and %zu swapped and not found", a + 1, b + 1);
        }
    for (size_t a = 0; a < count; a++) /* line a once more at the end */
    {
        for (size_t i = 0; i < count; i++)
            order[i] = i;
        order[count] = a;
        if (faults_of_order(lines, order, count + 1) == 0)
            fail_msg("line %zu inserted and not found", a + 1);
    }
    write_journal(journal, journal_length);
}

static void test_audit_verify__every_changed_byte_of_the_target(void **state)
{
    (void)state;
    struct copy *changed = neap_alloc(sizeof *changed);
    *changed = target;
    for (size_t i = 0; i < target.count; i++) {
        struct row *row = &changed->rows[i];
        char *const texts[] = {row->run_id, row->hash, row->body};
        for (size_t t = 0; t < 3; t++)
            for (size_t n = strlen(texts[t]), at = i % test_stride(101); at < n;
                 at += test_stride(101)) {
                char *c = texts[t] + at, was = *c;
                *c = (char)(was ^ (was == 1 ? 2 : 1)); /* never to NUL */
                if (faults(changed) == 0)
                    fail_msg("row %zu: '%c' changed and not found", i, was);
                *c = was;
            }
        row->seq++;
        assert_true(faults(changed) > 0);
        row->seq--;
    }
    assert_int_equal(faults(changed), 0);
    free(changed);
}

static void test_audit_verify__every_removed_or_swapped_row_of_the_target(void **state)
{
    (void)state;
    struct copy *changed = neap_alloc(sizeof *changed);
    for (size_t gone = 0; gone < target.count; gone++) {
        *changed = target;
        memmove(&changed->rows[gone], &changed->rows[gone + 1],
                (target.count - gone - 1) * sizeof(struct row));
        changed->count--;
        if (faults(changed) == 0)
            fail_msg("row %zu removed and not found", gone);
        *changed = target;
        changed->count = gone; /* cut off from here */
        if (faults(changed) == 0)
            fail_msg("the target cut off at row %zu and not found", gone);
    }
    for (size_t a = 0; a < target.count; a++)
        for (size_t b = a + 1; b < target.count; b += test_stride(11)) {
            *changed = target;
            memcpy(changed->rows[a].body, target.rows[b].body, sizeof changed->rows[a].body);
            memcpy(changed->rows[b].body, target.rows[a].body, sizeof changed->rows[b].body);
            memcpy(changed->rows[a].hash, target.rows[b].hash, sizeof changed->rows[a].hash);
            memcpy(changed->rows[b].hash, target.rows[a].hash, sizeof changed->rows[b].hash);
            if (faults(changed) == 0)
                fail_msg("rows %zu and %zu swapped and not found", a, b);
        }
    free(changed);
}

/* A tamperer who computes the changed record's hash anew. */
static void test_audit_verify__a_recomputed_record_is_found(void **state)
{
    (void)state;
    struct copy *changed = neap_alloc(sizeof *changed);
    for (size_t i = 0; i < target.count; i++) {
        *changed = target;
        struct row *row = &changed->rows[i];
        char *at = strstr(row->body, "\"time\":\"2");
        struct neap_hash hash;
        at[9] = '9';
        neap_hash_bytes(row->body, strlen(row->body), &hash);
        neap_hash_hex(&hash, row->hash);
        if (faults(changed) == 0)
            fail_msg("row %zu recomputed and not found", i);
    }
    free(changed);
}

static void test_audit_verify__the_real_target_is_read(void **state)
{
    struct pg_scene *scene = *state;
    pg_scene_do(scene, "alter table neap.event disable trigger append_only");
    pg_scene_do(scene, "update neap.event set body = replace(body, 'run.end', 'run.fin')"
                       " where run_id = 'run-c' and body like '%run.end%'");
    struct neap_audit_report report = look(scene);
    assert_int_equal(report.finding_count, 1);
    assert_string_equal(report.findings[0].where, "target");
    assert_string_equal(report.findings[0].run_id, "run-c");
    neap_audit_report_clear(&report);
    pg_scene_do(scene, "delete from neap.event where run_id in ('run-c', 'run-d')");
    report = look(scene);
    assert_int_equal(report.finding_count, 3); /* both runs, and what run-d had seen */
    neap_audit_report_clear(&report);
}

static void test_audit_verify__a_large_run_is_copied_in_batches(void **state)
{
    struct pg_scene *scene = *state;
    struct neap_audit *audit = begin_run(scene, "run-large");
    for (int i = 0; i < 5000; i++)
        neap_audit_add(audit, "step.begin", NULL);
    end_run(scene, audit);
    assert_int_equal(pg_scene_int(scene, "select count(*) from neap.event"
                                         " where run_id = 'run-large'"),
                     5002);
    assert_int_equal(pg_scene_int(scene, "select count(*) from (select seq - lag(seq) over"
                                         " (order by position) d from neap.event where"
                                         " run_id = 'run-large') x where d <> 1"),
                     0);
}

static int start_server(void **state)
{
    (void)state;
    snprintf(state_dir, sizeof state_dir, "/tmp/neap-verify-XXXXXX");
    assert_non_null(mkdtemp(state_dir));
    pg_fixture_start(NULL);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    char *path = journal_path(), *dir = neap_path_join(state_dir, "journal");
    unlink(path);
    rmdir(dir);
    rmdir(state_dir);
    free(path);
    free(dir);
    free(journal);
    pg_fixture_stop();
    return 0;
}

#define CASE(name) \
    cmocka_unit_test_setup_teardown(test_audit_verify__##name, pg_scene_begin, pg_scene_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(runs_are_copied_and_made_up_for),
        cmocka_unit_test(test_audit_verify__every_changed_byte_of_the_journal),
        cmocka_unit_test(test_audit_verify__every_removed_line_of_the_journal),
        cmocka_unit_test(test_audit_verify__every_swap_and_copy_in_the_journal),
        cmocka_unit_test(test_audit_verify__every_changed_byte_of_the_target),
        cmocka_unit_test(test_audit_verify__every_removed_or_swapped_row_of_the_target),
        cmocka_unit_test(test_audit_verify__a_recomputed_record_is_found),
        CASE(the_real_target_is_read),
        CASE(a_large_run_is_copied_in_batches),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
