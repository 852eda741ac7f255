/* SPDX-License-Identifier: MIT
 *
 * The journal: chain, durability, what a crash or a full disk leaves, several
 * writers, segments, redaction, signatures.
 */
#include "tests/unit/test_support.h"

#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/change/audit.h"

#define IDENTITY "7301/16384"
#define FILE_NAME "7301-16384.jsonl"

static char *state_dir;

static int make_dir(void **state)
{
    (void)state;
    state_dir = test_temp_dir();
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    test_temp_remove(state_dir);
    free(state_dir);
    return 0;
}

static struct neap_audit *open_audit(const char *run_id, const char *key, int64_t segment_bytes)
{
    struct neap_error err = {0};
    struct neap_audit *audit = NULL;
    struct neap_audit_opts opts = {.state_dir = state_dir,
                                   .identity = IDENTITY,
                                   .run_id = run_id,
                                   .signing_key = key,
                                   .segment_bytes = segment_bytes};
    if (!neap_audit_open(&opts, &audit, &err))
        fail_msg("%s", err.message);
    return audit;
}

static json_t *fields_of(const char *key, const char *value)
{
    json_t *fields = json_object();
    neap_json_set(fields, key, neap_json_text(value));
    return fields;
}

static void write_run(const char *run_id, int steps, const char *key, int64_t segment_bytes)
{
    struct neap_audit *audit = open_audit(run_id, key, segment_bytes);
    assert_true(neap_audit_begin(audit, "", fields_of("reason", "test"), NULL));
    for (int i = 0; i < steps; i++) {
        neap_audit_add(audit, "step.begin", fields_of("id", "0001"));
        assert_true(neap_audit_sync(audit, NULL));
    }
    neap_audit_add(audit, "run.end", fields_of("outcome", "done"));
    assert_true(neap_audit_sync(audit, NULL));
    neap_audit_close(audit);
}

static char *journal_path(void)
{
    return neap_format("%s/journal/" FILE_NAME, state_dir);
}

static char *read_journal(size_t *length)
{
    char *path = journal_path(), *text = NULL;
    assert_true(neap_path_read(path, NULL, 1 << 26, &text, length, NULL));
    free(path);
    return text;
}

static void write_journal(const char *text, size_t length)
{
    char *path = journal_path();
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0 && write(fd, text, length) == (ssize_t)length);
    close(fd);
    free(path);
}

static struct neap_audit_report verify(const char *head, const char *public_key)
{
    struct neap_audit_verify_opts opts = {
        .state_dir = state_dir, .identity = IDENTITY, .head = head, .public_key = public_key};
    struct neap_audit_report report;
    struct neap_error err = {0};
    if (!neap_audit_verify(&opts, &report, &err))
        fail_msg("%s", err.message);
    return report;
}

static void assert_clean(void)
{
    struct neap_audit_report report = verify(NULL, NULL);
    if (report.finding_count != 0)
        fail_msg("%s %lld %s: %s", report.findings[0].run_id, (long long)report.findings[0].seq,
                 report.findings[0].where, report.findings[0].message);
    neap_audit_report_clear(&report);
}

static void test_audit__a_run_is_a_chain(void **state)
{
    (void)state;
    size_t length;
    write_run("run-a", 2, NULL, 0);
    char *text = read_journal(&length);
    struct neap_hash hash;
    char hex[NEAP_HASH_HEX_SIZE];
    int lines = 0;
    for (char *line = text; *line != '\0'; lines++) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        neap_hash_bytes(line + 65, (size_t)(end - line) - 65, &hash);
        neap_hash_hex(&hash, hex);
        assert_memory_equal(hex, line, 64);
        line = end + 1;
    }
    assert_int_equal(lines, 5); /* journal.begin, run.begin, 2 steps, run.end */
    assert_contains(text, "\"event\":\"journal.begin\"");
    assert_contains(text, "\"journal_head\":");
    char *path = journal_path();
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    free(path);
    free(text);
    assert_clean();
}

static bool count_event(void *arg, const char *hash, const json_t *event)
{
    int *count = arg;
    assert_int_equal(strlen(hash), 64);
    assert_non_null(json_object_get(event, "event"));
    ++*count;
    return true;
}

static void test_audit__events_are_read_by_run(void **state)
{
    (void)state;
    int all = 0, one = 0;
    write_run("run-a", 1, NULL, 0);
    write_run("run-b", 2, NULL, 0);
    assert_true(neap_audit_read(state_dir, IDENTITY, NULL, count_event, &all, NULL));
    assert_true(neap_audit_read(state_dir, IDENTITY, "run-b", count_event, &one, NULL));
    assert_int_equal(all, 7);
    assert_int_equal(one, 4);
}

/* Torn at every byte of the last record: set aside, said so, the chain goes on. */
static void test_audit__a_torn_record_is_set_aside(void **state)
{
    (void)state;
    size_t length;
    write_run("run-a", 1, NULL, 0);
    char *text = read_journal(&length);
    size_t last = length - 1;
    while (text[last - 1] != '\n')
        last--;
    for (size_t cut = last + 1; cut < length; cut += 7) {
        write_journal(text, cut);
        write_run("run-b", 0, NULL, 0);
        size_t now_length;
        char *now = read_journal(&now_length);
        assert_memory_equal(now, text, last);
        assert_contains(now, "\"event\":\"audit.recovered\"");
        char *bytes = neap_format("\"bytes\":%zu,", cut - last);
        assert_contains(now, bytes);
        free(bytes);
        free(now);
        assert_clean();
    }
    free(text);
}

static void test_audit__a_changed_tail_is_not_built_upon(void **state)
{
    (void)state;
    size_t length;
    write_run("run-a", 1, NULL, 0);
    char *text = read_journal(&length);
    text[length - 10] ^= 1;
    char *shorter = neap_format("%sno record\n", text);
    const char *const changed[] = {text, shorter};
    for (size_t i = 0; i < 2; i++) {
        struct neap_audit_opts opts = {.state_dir = state_dir, .identity = IDENTITY, .run_id = "b"};
        struct neap_audit *audit = NULL;
        struct neap_error err = {0};
        write_journal(changed[i], strlen(changed[i]));
        assert_false(neap_audit_open(&opts, &audit, &err));
        assert_int_equal(err.code, NEAP_ERR_AUDIT_BROKEN);
        assert_contains(err.hint, "neap audit verify");
        neap_error_clear(&err);
        size_t kept_length;
        char *kept = read_journal(&kept_length);
        assert_string_equal(kept, changed[i]); /* not touched */
        free(kept);
    }
    free(shorter);
    free(text);
}

static void test_audit__two_runs_share_a_journal(void **state)
{
    (void)state;
    struct neap_audit *a = open_audit("run-a", NULL, 0), *b = open_audit("run-b", NULL, 0);
    assert_true(neap_audit_begin(a, "", NULL, NULL));
    assert_true(neap_audit_begin(b, "", NULL, NULL));
    for (int i = 0; i < 5; i++) {
        neap_audit_add(a, "step.begin", NULL);
        assert_true(neap_audit_write(a, NULL));
        neap_audit_add(b, "step.begin", NULL);
        assert_true(neap_audit_sync(b, NULL));
    }
    neap_audit_close(a);
    neap_audit_close(b);
    assert_clean();
}

static void test_audit__eight_processes_make_one_chain(void **state)
{
    (void)state;
    enum { WRITERS = 8 };
    pid_t pids[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            char run[16];
            snprintf(run, sizeof run, "run-%d", i);
            write_run(run, 20, NULL, 4000); /* and close segments meanwhile */
            _exit(0);
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        int status = 1;
        waitpid(pids[i], &status, 0);
        assert_int_equal(status, 0);
    }
    assert_clean();
    int count = 0;
    assert_true(neap_audit_read(state_dir, IDENTITY, NULL, count_event, &count, NULL));
    assert_int_equal(count, WRITERS * 22);
}

static void test_audit__segments_are_one_chain(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        char run[16];
        snprintf(run, sizeof run, "run-%d", i);
        write_run(run, 4, NULL, 1000);
    }
    assert_clean();
    char *second = neap_format("%s/journal/7301-16384.2.jsonl", state_dir);
    assert_true(neap_path_exists(second));
    unlink(second);
    free(second);
    struct neap_audit_report report = verify(NULL, NULL);
    assert_true(report.finding_count > 0);
    assert_contains(report.findings[0].message, "journal 2 is missing");
    neap_audit_report_clear(&report);
}

static void test_audit__the_written_segment_is_missed_too(void **state)
{
    (void)state;
    write_run("run-a", 4, NULL, 1000);
    write_run("run-b", 1, NULL, 1000); /* closes the first */
    assert_clean();
    char *path = journal_path();
    assert_int_equal(unlink(path), 0);
    free(path);
    struct neap_audit_report report = verify(NULL, NULL);
    assert_int_equal(report.finding_count, 1);
    assert_string_equal(report.findings[0].where, "journal");
    assert_contains(report.findings[0].message, "journal 2 is missing");
    neap_audit_report_clear(&report);
}

/* Killed between closing a segment and beginning the next. */
static void test_audit__an_unfinished_rotation_goes_on(void **state)
{
    (void)state;
    write_run("run-a", 4, NULL, 0);
    char *path = journal_path(), *closed = neap_format("%s/journal/7301-16384.1.jsonl", state_dir);
    assert_int_equal(rename(path, closed), 0);
    write_run("run-b", 1, NULL, 0);
    assert_clean();
    free(path);
    free(closed);
}

static void test_audit__a_full_disk_refuses_and_leaves_the_chain_whole(void **state)
{
    (void)state;
    struct neap_audit *audit = open_audit("run-a", NULL, 0);
    assert_true(neap_audit_begin(audit, "", NULL, NULL));
    size_t length;
    char *text = read_journal(&length);
    free(text);
    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){.rlim_cur = length + 150, .rlim_max = old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    struct neap_error err = {0};
    neap_audit_add(audit, "step.begin", fields_of("id", "0001"));
    bool synced = neap_audit_sync(audit, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_false(synced);
    assert_int_equal(err.code, NEAP_ERR_AUDIT_JOURNAL);
    neap_error_clear(&err);
    assert_clean();
    /* There is room again: the same event goes in. */
    assert_true(neap_audit_sync(audit, NULL));
    neap_audit_close(audit);
    assert_clean();
    int count = 0;
    assert_true(neap_audit_read(state_dir, IDENTITY, NULL, count_event, &count, NULL));
    assert_int_equal(count, 2);
}

static void test_audit__a_locked_journal_is_refused(void **state)
{
    (void)state;
    write_run("run-a", 0, NULL, 0);
    char *path = neap_format("%s/journal/7301-16384.lock", state_dir);
    int fd = open(path, O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    struct neap_audit_opts opts = {.state_dir = state_dir, .identity = IDENTITY, .run_id = "b"};
    struct neap_audit *audit = NULL;
    struct neap_error err = {0};
    assert_false(neap_audit_open(&opts, &audit, &err));
    assert_int_equal(err.code, NEAP_ERR_AUDIT_JOURNAL);
    neap_error_clear(&err);
    close(fd);
    free(path);
}

static void *sync_in_a_thread(void *audit)
{
    return neap_audit_sync(audit, NULL) ? audit : NULL;
}

/* The watchdog's last word while the main thread is stuck in the journal: it waits a
 * second and goes unsaid, and the chain is what the main thread makes of it. */
static void test_audit__a_last_word_does_not_wait_for_a_stuck_journal(void **state)
{
    (void)state;
    struct neap_audit *audit = open_audit("run-a", NULL, 0);
    assert_true(neap_audit_begin(audit, "", NULL, NULL));
    char *path = neap_format("%s/journal/7301-16384.lock", state_dir);
    int fd = open(path, O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    pthread_t stuck;
    void *synced = NULL;
    neap_audit_add(audit, "step.begin", NULL);
    assert_int_equal(pthread_create(&stuck, NULL, sync_in_a_thread, audit), 0);
    usleep(300000);
    int64_t began_ms = neap_clock_ms();
    neap_audit_last_word(audit, "run.killed", "stuck");
    int64_t waited_ms = neap_clock_ms() - began_ms;
    close(fd);
    free(path);
    assert_int_equal(pthread_join(stuck, &synced), 0);
    assert_in_range(waited_ms, 900, 3500); /* less than the 5 s for which the other waits */
    assert_ptr_equal(synced, audit);
    neap_audit_close(audit);
    size_t length;
    char *text = read_journal(&length);
    assert_lacks(text, "run.killed");
    assert_contains(text, "step.begin");
    free(text);
    assert_clean();
}

/* Said so with its name, and not taken for an empty journal or a broken chain. */
static void test_audit__a_segment_that_cannot_be_read_is_no_fault_of_the_chain(void **state)
{
    (void)state;
    write_run("run-a", 1, NULL, 0);
    char *closed = neap_format("%s/journal/7301-16384.1.jsonl", state_dir);
    assert_int_equal(mkdir(closed, 0700), 0);
    struct neap_audit_verify_opts opts = {.state_dir = state_dir, .identity = IDENTITY};
    struct neap_audit_report report;
    struct neap_error err = {0};
    int count = 0;
    assert_false(neap_audit_verify(&opts, &report, &err));
    assert_int_equal(err.code, NEAP_ERR_AUDIT_JOURNAL);
    assert_contains(err.message, closed);
    assert_int_equal(report.finding_count, 0);
    neap_error_clear(&err);
    assert_false(neap_audit_read(state_dir, IDENTITY, NULL, count_event, &count, &err));
    assert_int_equal(err.code, NEAP_ERR_AUDIT_JOURNAL);
    neap_error_clear(&err);
    assert_int_equal(rmdir(closed), 0);
    assert_clean();
    free(closed);
}

static bool stop_at_second(void *arg, const char *hash, const json_t *event)
{
    int *count = arg;
    (void)hash;
    (void)event;
    return ++*count < 2;
}

/* What is no record is passed over; the reader ends where it wants to. */
static void test_audit__reading_passes_over_what_is_no_record(void **state)
{
    (void)state;
    size_t length;
    int count = 0;
    write_run("run-a", 1, NULL, 0);
    char *text = read_journal(&length), *first_end = strchr(text, '\n') + 1;
    char *noisy = neap_format("%.*s\nshort\n%065d\n%080d\n%s", (int)(first_end - text), text, 0, 0,
                              first_end);
    write_journal(noisy, strlen(noisy));
    assert_true(neap_audit_read(state_dir, IDENTITY, NULL, count_event, &count, NULL));
    assert_int_equal(count, 3);
    count = 0;
    assert_true(neap_audit_read(state_dir, IDENTITY, NULL, stop_at_second, &count, NULL));
    assert_int_equal(count, 2);
    free(noisy);
    free(text);
}

static void test_audit__a_journal_others_can_read_is_refused(void **state)
{
    (void)state;
    write_run("run-a", 0, NULL, 0);
    char *path = journal_path(), *other = neap_format("%s.other", path);
    struct neap_audit_opts opts = {.state_dir = state_dir, .identity = IDENTITY, .run_id = "b"};
    struct neap_audit *audit = NULL;
    struct neap_error err = {0};
    chmod(path, 0644);
    assert_false(neap_audit_open(&opts, &audit, &err));
    assert_int_equal(err.code, NEAP_ERR_AUDIT_JOURNAL);
    chmod(path, 0600);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(symlink(other, path), 0);
    assert_false(neap_audit_open(&opts, &audit, &err));
    assert_int_equal(err.code, NEAP_ERR_AUDIT_JOURNAL);
    neap_error_clear(&err);
    unlink(path);
    unlink(other);
    free(path);
    free(other);
}

static void test_audit__text_cannot_forge_or_leak(void **state)
{
    (void)state;
    neap_redact_add("nEaP-CaNaRy-1");
    struct neap_audit *audit = open_audit("run-a", NULL, 0);
    json_t *fields = fields_of("name", "a\n{\"seq\":1}\x1b[2J\xe2\x80\xae");
    json_t *list = json_array();
    json_array_append_new(list, json_string("alter role x password 'nEaP-CaNaRy-1'"));
    neap_json_set(fields, "list", list);
    assert_true(neap_audit_begin(audit, "", fields, NULL));
    neap_audit_last_word(audit, "run.killed", "stuck with nEaP-CaNaRy-1");
    neap_audit_close(audit);
    size_t length;
    char *text = read_journal(&length);
    assert_lacks(text, "nEaP-CaNaRy-1");
    assert_contains(text, "run.killed");
    for (size_t i = 0; i < length; i++)
        assert_true(text[i] == '\n' || (text[i] >= ' ' && text[i] < 127));
    free(text);
    neap_redact_clear();
    assert_clean();
}

static void test_audit__heads_are_signed(void **state)
{
    (void)state;
    char *key = neap_format("%s/key", state_dir), *public_key = neap_format("%s.pub", key);
    char *other = neap_format("%s/other", state_dir), *other_pub = neap_format("%s.pub", other);
    assert_true(neap_audit_keygen(key, NULL));
    assert_true(neap_audit_keygen(other, NULL));
    assert_false(neap_audit_keygen(key, NULL)); /* never over a key */
    write_run("run-a", 1, NULL, 0);
    write_run("run-b", 1, key, 0);
    struct neap_audit_report report = verify(NULL, public_key);
    assert_int_equal(report.finding_count, 0);
    neap_audit_report_clear(&report);
    report = verify(NULL, other_pub);
    assert_true(report.finding_count > 0);
    assert_string_equal(report.findings[0].where, "signature");
    neap_audit_report_clear(&report);
    write_run("run-c", 1, NULL, 0); /* ended without one: somebody left the key out */
    report = verify(NULL, public_key);
    assert_int_equal(report.finding_count, 1);
    assert_string_equal(report.findings[0].run_id, "run-c");
    neap_audit_report_clear(&report);
    struct neap_audit_opts opts = {
        .state_dir = state_dir, .identity = IDENTITY, .run_id = "d", .signing_key = key};
    struct neap_audit *audit = NULL;
    chmod(key, 0644);
    assert_false(neap_audit_open(&opts, &audit, NULL));
    free(key);
    free(public_key);
    free(other);
    free(other_pub);
}

/* A key of the wrong kind, half a key, or none: refused, before anything is written. */
static void test_audit__only_a_key_signs(void **state)
{
    (void)state;
    char *key = neap_path_join(state_dir, "key"),
         *public_key = neap_path_join(state_dir, "key.pub");
    char *none = neap_path_join(state_dir, "none");
    struct neap_error err = {0};
    struct neap_audit *audit = NULL;
    assert_true(neap_audit_keygen(key, NULL));
    assert_int_equal(chmod(public_key, 0600), 0);
    const struct {
        const char *path;
        enum neap_error_code code;
    } refused[] = {{public_key, NEAP_ERR_FILE_REFUSED}, {none, NEAP_ERR_FILE_IO}};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct neap_audit_opts opts = {.state_dir = state_dir,
                                       .identity = IDENTITY,
                                       .run_id = "a",
                                       .signing_key = refused[i].path};
        assert_false(neap_audit_open(&opts, &audit, &err));
        assert_int_equal(err.code, refused[i].code);
        neap_error_clear(&err);
    }
    write_run("run-a", 0, NULL, 0);
    struct neap_audit_verify_opts opts = {
        .state_dir = state_dir, .identity = IDENTITY, .public_key = key};
    struct neap_audit_report report;
    assert_false(neap_audit_verify(&opts, &report, &err)); /* the secret one is no public one */
    assert_int_equal(err.code, NEAP_ERR_FILE_REFUSED);
    neap_error_clear(&err);
    report = verify(NULL, public_key);
    assert_int_equal(report.finding_count, 1);
    assert_contains(report.findings[0].message, "no head is signed");
    neap_audit_report_clear(&report);
    free(none);
    free(public_key);
    free(key);
}

static void test_audit__a_head_kept_elsewhere_is_looked_for(void **state)
{
    (void)state;
    struct neap_audit *audit = open_audit("run-a", NULL, 0);
    char head[NEAP_HASH_HEX_SIZE];
    assert_true(neap_audit_begin(audit, "", NULL, NULL));
    neap_audit_add(audit, "run.end", NULL);
    assert_true(neap_audit_sync(audit, NULL));
    neap_audit_head(audit, head);
    neap_audit_close(audit);
    struct neap_audit_report report = verify(head, NULL);
    assert_int_equal(report.finding_count, 0);
    neap_audit_report_clear(&report);
    size_t length;
    char *text = read_journal(&length);
    size_t last = length - 1;
    while (text[last - 1] != '\n')
        last--;
    write_journal(text, last);
    free(text);
    report = verify(head, NULL);
    assert_int_equal(report.finding_count, 1);
    assert_string_equal(report.findings[0].where, "head");
    neap_audit_report_clear(&report);
}

#define CASE(name) cmocka_unit_test_setup_teardown(test_audit__##name, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_run_is_a_chain),
        CASE(events_are_read_by_run),
        CASE(a_torn_record_is_set_aside),
        CASE(a_changed_tail_is_not_built_upon),
        CASE(two_runs_share_a_journal),
        CASE(eight_processes_make_one_chain),
        CASE(segments_are_one_chain),
        CASE(the_written_segment_is_missed_too),
        CASE(an_unfinished_rotation_goes_on),
        CASE(a_full_disk_refuses_and_leaves_the_chain_whole),
        CASE(a_locked_journal_is_refused),
        CASE(a_last_word_does_not_wait_for_a_stuck_journal),
        CASE(a_segment_that_cannot_be_read_is_no_fault_of_the_chain),
        CASE(reading_passes_over_what_is_no_record),
        CASE(a_journal_others_can_read_is_refused),
        CASE(text_cannot_forge_or_leak),
        CASE(heads_are_signed),
        CASE(only_a_key_signs),
        CASE(a_head_kept_elsewhere_is_looked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
