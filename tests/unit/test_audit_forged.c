/* SPDX-License-Identifier: MIT
 *
 * A journal rewritten by one who knows the format: records are changed, and then every
 * hash and link after them is computed anew, so that the chain itself holds. What
 * shows it all the same is what the records say of each other, and the signatures.
 */
#include "tests/unit/test_support.h"

#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/change/audit.h"
#include "host/change/audit_journal.h"

#define IDENTITY "7301/5"

static char *state_dir, *key_path, *public_path;

static char *journal_path(void)
{
    return neap_format("%s/journal/7301-5.jsonl", state_dir);
}

static void write_run(const char *run_id)
{
    struct neap_audit *audit = NULL;
    struct neap_error err = {0};
    struct neap_audit_opts opts = {
        .state_dir = state_dir, .identity = IDENTITY, .run_id = run_id, .signing_key = key_path};
    if (!neap_audit_open(&opts, &audit, &err) || !neap_audit_begin(audit, "", NULL, &err))
        fail_msg("%s", err.message);
    neap_audit_add(audit, "step.begin", NULL);
    neap_audit_add(audit, "run.end", NULL);
    assert_true(neap_audit_sync(audit, NULL));
    neap_audit_close(audit);
}

/* journal.begin; of run-a: begin, step, end, signature; the same of run-b. */
static int begin(void **state)
{
    (void)state;
    state_dir = test_temp_dir();
    key_path = neap_path_join(state_dir, "key");
    public_path = neap_path_join(state_dir, "key.pub");
    assert_true(neap_audit_keygen(key_path, NULL));
    write_run("run-a");
    write_run("run-b");
    return 0;
}

static int end(void **state)
{
    (void)state;
    test_temp_remove(state_dir);
    free(state_dir);
    free(key_path);
    free(public_path);
    return 0;
}

enum { JOURNAL_BEGIN, A_BEGIN, A_STEP, A_END, A_SIGNED, B_BEGIN, B_STEP, B_END, B_SIGNED };

static json_t *read_records(void)
{
    char *path = journal_path(), *text = NULL;
    size_t length = 0;
    assert_true(neap_path_read(path, NULL, 1 << 20, &text, &length, NULL));
    json_t *records = json_array();
    for (char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        json_t *json = json_loads(line + NEAP_HASH_HEX_SIZE, JSON_DISABLE_EOF_CHECK, NULL);
        assert_non_null(json);
        json_array_append_new(records, json);
    }
    free(text);
    free(path);
    return records;
}

/* How honest the forger is about what records say of others. */
static bool fixes_begin, fixes_signed;

/* Links, hashes and writes them; takes them. */
static void write_records(json_t *records)
{
    json_t *heads = json_object(), *record; /* run → its last hash */
    char file[NEAP_HASH_HEX_SIZE] = NEAP_JOURNAL_ZERO, *path = journal_path();
    FILE *out = fopen(path, "w");
    size_t i;
    assert_non_null(out);
    json_array_foreach(records, i, record)
    {
        const char *run = json_string_value(json_object_get(record, "run"));
        const char *event = json_string_value(json_object_get(record, "event"));
        const char *head = json_string_value(json_object_get(heads, run));
        json_t *data = json_object_get(record, "data");
        struct neap_hash hash;
        neap_json_set(record, "file", neap_json_text(file));
        neap_json_set(record, "prev", neap_json_text(head == NULL ? NEAP_JOURNAL_ZERO : head));
        if (event == NULL)
            event = "";
        if (fixes_begin && strcmp(event, "run.begin") == 0)
            neap_json_set(data, "journal_head", neap_json_text(file));
        if (fixes_signed && strcmp(event, "head.signed") == 0)
            neap_json_set(data, "head", neap_json_text(head));
        char *body = neap_json_canonical(record);
        neap_hash_bytes(body, strlen(body), &hash);
        neap_hash_hex(&hash, file);
        fprintf(out, "%s %s\n", file, body);
        neap_json_set(heads, run, neap_json_text(file));
        free(body);
    }
    assert_int_equal(fclose(out), 0);
    json_decref(heads);
    json_decref(records);
    free(path);
}

static struct neap_audit_report verify(bool with_key)
{
    struct neap_audit_verify_opts opts = {
        .state_dir = state_dir, .identity = IDENTITY, .public_key = with_key ? public_path : NULL};
    struct neap_audit_report report;
    struct neap_error err = {0};
    if (!neap_audit_verify(&opts, &report, &err))
        fail_msg("%s", err.message);
    return report;
}

/* Exactly this one is found; `message` NULL: nothing is. */
static void assert_found(bool with_key, const char *run_id, int64_t seq, const char *message)
{
    struct neap_audit_report report = verify(with_key);
    const struct neap_audit_finding *found = report.findings;
    if (report.finding_count != (message != NULL) ||
        (message != NULL && (strcmp(found->run_id, run_id) != 0 || found->seq != seq ||
                             strstr(found->message, message) == NULL)))
        fail_msg("%zu findings, first: %s %lld %s", report.finding_count,
                 found ? found->run_id : "", found ? (long long)found->seq : 0,
                 found ? found->message : "");
    neap_audit_report_clear(&report);
}

static void set_data(json_t *records, size_t index, const char *key, const char *value)
{
    json_t *data = json_object_get(json_array_get(records, index), "data");
    assert_true(json_is_object(data));
    neap_json_set(data, key, neap_json_text(value));
}

/* What README says a chain alone cannot show: the journal rewritten as a whole. */
static void test_audit_forged__a_chain_rewritten_whole_is_shown_by_its_signatures(void **state)
{
    (void)state;
    fixes_begin = fixes_signed = true;
    write_records(read_records()); /* nothing changed: the same bytes */
    assert_found(true, NULL, 0, NULL);
    json_t *records = read_records();
    set_data(records, B_STEP, "id", "0002");
    write_records(records);
    assert_found(false, NULL, 0, NULL);
    assert_found(true, "run-b", 4, "the signature does not hold");
}

static void test_audit_forged__a_signature_is_of_the_record_before_it(void **state)
{
    (void)state;
    fixes_begin = true;
    fixes_signed = false;
    json_t *records = read_records();
    set_data(records, B_STEP, "id", "0002");
    write_records(records);
    assert_found(false, "run-b", 4, "the signature is not of the record before it");
    assert_found(true, "run-b", 4, "the signature is not of the record before it");
}

static void test_audit_forged__a_signature_of_another_run_does_not_hold(void **state)
{
    (void)state;
    fixes_begin = fixes_signed = true;
    json_t *records = read_records();
    const json_t *other = json_object_get(json_array_get(records, A_SIGNED), "data");
    set_data(records, B_SIGNED, "signature",
             json_string_value(json_object_get(other, "signature")));
    write_records(records);
    assert_found(true, "run-b", 4, "the signature does not hold");
}

static void test_audit_forged__what_is_no_signature_does_not_hold(void **state)
{
    (void)state;
    fixes_begin = fixes_signed = true;
    char longer[2 * NEAP_HASH_HEX_SIZE + 3];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    const char *const signatures[] = {"", "abc", "abcd", "no hex", longer};
    for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++) {
        json_t *records = read_records();
        set_data(records, B_SIGNED, "signature", signatures[i]);
        write_records(records);
        assert_found(true, "run-b", 4, "the signature does not hold");
    }
}

static void test_audit_forged__a_run_begins_after_the_line_before_it(void **state)
{
    (void)state;
    fixes_begin = false;
    fixes_signed = true;
    json_t *records = read_records();
    set_data(records, B_BEGIN, "journal_head", NEAP_JOURNAL_ZERO);
    write_records(records);
    assert_found(false, "run-b", 1, "the run began after another head than the line before it");
}

static void test_audit_forged__a_run_begins_first_and_once(void **state)
{
    (void)state;
    const size_t places[] = {B_BEGIN, B_STEP};
    const char *const events[] = {"step.begin", "run.begin"};
    fixes_begin = fixes_signed = true;
    for (size_t i = 0; i < 2; i++) {
        json_t *records = read_records(), *record = json_array_get(records, places[i]);
        json_t *was = json_incref(json_object_get(record, "event"));
        neap_json_set(record, "event", neap_json_text(events[i]));
        write_records(records);
        assert_found(false, "run-b", (int64_t)i + 1, "a run has run.begin first and once");
        records = read_records();
        json_object_set_new(json_array_get(records, places[i]), "event", was);
        write_records(records);
        assert_found(false, NULL, 0, NULL);
    }
}

/* Whole as to its hash, and yet nothing that neap writes: found, and so is that the
 * record it stands for is missing. */
static void test_audit_forged__a_record_that_is_not_neap_s_is_found(void **state)
{
    (void)state;
    const struct {
        const char *key;
        json_t *value;
    } faults[] = {{"v", json_integer(2)},
                  {"seq", json_integer(0)},
                  {"event", json_null()},
                  {"data", json_string("{}")}};
    fixes_begin = fixes_signed = true;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        json_t *records = read_records(), *record = json_array_get(records, A_STEP);
        neap_json_set(record, faults[i].key, json_incref(faults[i].value));
        write_records(records);
        struct neap_audit_report report = verify(false);
        assert_true(report.finding_count > 0);
        assert_contains(report.findings[0].message, "the record is not one of neap's");
        assert_contains(report.findings[0].message, "line 3 of journal 1");
        neap_audit_report_clear(&report);
        end(NULL);
        begin(NULL);
        json_decref(faults[i].value);
    }
}

/* A file of noise: as many findings as a person could ever read, and no more. */
static void test_audit_forged__noise_does_not_fill_the_memory(void **state)
{
    (void)state;
    char *path = journal_path();
    FILE *out = fopen(path, "a");
    assert_non_null(out);
    for (int i = 0; i < 12000; i++)
        fprintf(out, "noise %d\n", i);
    assert_int_equal(fclose(out), 0);
    free(path);
    struct neap_audit_report report = verify(false);
    assert_int_equal(report.finding_count, 10000);
    assert_int_equal(report.event_count, 9 + 12000);
    assert_contains(report.findings[9999].message, "line 10009 of journal 1 is not a record");
    neap_audit_report_clear(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(test_audit_forged__##name, begin, end)
        CASE(a_chain_rewritten_whole_is_shown_by_its_signatures),
        CASE(a_signature_is_of_the_record_before_it),
        CASE(a_signature_of_another_run_does_not_hold),
        CASE(what_is_no_signature_does_not_hold),
        CASE(a_run_begins_after_the_line_before_it),
        CASE(a_run_begins_first_and_once),
        CASE(a_record_that_is_not_neap_s_is_found),
        CASE(noise_does_not_fill_the_memory),
#undef CASE
    };
    return cmocka_run_group_tests_name("audit_forged", tests, NULL, NULL);
}
