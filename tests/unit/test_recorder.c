/* SPDX-License-Identifier: MIT
 *
 * The gate's sink, with a real journal behind it: each statement is in the chain
 * once, with its own answer.
 */
#include "tests/unit/test_support.h"

#include <signal.h>
#include <sys/resource.h>

#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/base/run.h"
#include "host/change/recorder.h"

#define IDENTITY "7301/5"

struct scene {
    char *state_dir;
    struct neap_audit *audit;
    struct neap_run run;
    struct neap_recorder recorder;
    json_t *statements; /* all entries of all step.statements, read back */
    json_t *sizes;      /* how many in each event */
    json_t *durable;    /* db.statement and db.statement.end */
};

static int begin(void **state)
{
    struct scene *scene = neap_alloc(sizeof *scene);
    struct neap_error err = {0};
    scene->state_dir = test_temp_dir();
    struct neap_audit_opts opts = {
        .state_dir = scene->state_dir, .identity = IDENTITY, .run_id = "run-a"};
    if (!neap_audit_open(&opts, &scene->audit, &err) ||
        !neap_audit_begin(scene->audit, "", NULL, &err))
        fail_msg("%s", err.message);
    neap_run_init(&scene->run);
    scene->run.allowed = NEAP_ALLOW(NEAP_EFFECT_TX);
    scene->recorder.audit = scene->audit;
    *state = scene;
    return 0;
}

static int end(void **state)
{
    struct scene *scene = *state;
    neap_recorder_clear(&scene->recorder);
    neap_run_clear(&scene->run);
    neap_audit_close(scene->audit);
    json_decref(scene->statements);
    json_decref(scene->sizes);
    json_decref(scene->durable);
    test_temp_remove(scene->state_dir);
    free(scene->state_dir);
    free(scene);
    return 0;
}

/* One statement through the gate; its id. */
static int64_t pass_sql(struct scene *scene, const char *sql, const char *fingerprint, int line)
{
    struct neap_gate_call call = {.name = "db:exec",
                                  .effect = NEAP_EFFECT_TX,
                                  .statement = sql,
                                  .fingerprint = fingerprint,
                                  .where_file = "0001_t.lua",
                                  .where_line = line};
    struct neap_error err = {0};
    int64_t id = -1;
    if (!neap_gate_pass(&scene->run, &call, &id, &err))
        fail_msg("%s", err.message);
    return id;
}

static void settle(struct scene *scene, int64_t id, int64_t rows)
{
    struct neap_gate_result result = {.call_id = id, .row_count = rows, .duration_us = 10};
    neap_gate_settle(&scene->run, &result);
}

static bool on_event(void *arg, const char *hash, const json_t *event)
{
    struct scene *scene = arg;
    const char *name = json_string_value(json_object_get(event, "event"));
    json_t *data = json_object_get(event, "data"), *list = json_object_get(data, "statements");
    (void)hash;
    if (strncmp(name, "db.statement", strlen("db.statement")) == 0)
        json_array_append(scene->durable, data);
    if (strcmp(name, "step.statements") == 0) {
        json_array_extend(scene->statements, list);
        json_array_append_new(scene->sizes, json_integer((json_int_t)json_array_size(list)));
    }
    return true;
}

static void read_back(struct scene *scene)
{
    struct neap_error err = {0};
    scene->statements = json_array();
    scene->sizes = json_array();
    scene->durable = json_array();
    if (!neap_audit_sync(scene->audit, &err) ||
        !neap_audit_read(scene->state_dir, IDENTITY, "run-a", on_event, scene, &err))
        fail_msg("%s", err.message);
}

static const json_t *statement(const struct scene *scene, size_t index)
{
    const json_t *entry = json_array_get(scene->statements, index);
    assert_non_null(entry);
    return entry;
}

static int64_t number(const json_t *entry, const char *key)
{
    assert_true(json_is_integer(json_object_get(entry, key)));
    return json_integer_value(json_object_get(entry, key));
}

static int64_t pass(struct scene *scene, const char *fingerprint, int line)
{
    return pass_sql(scene, "insert into t values ($1)", fingerprint, line);
}

/* Hundreds of different statements: several events, nothing left out, in order. */
static void test_recorder__many_statements_are_several_events(void **state)
{
    struct scene *scene = *state;
    neap_recorder_begin(&scene->recorder, &scene->run, NULL, false);
    for (int line = 1; line <= 450; line++)
        settle(scene, pass(scene, line % 2 ? "f" : "g", line), line);
    assert_int_equal(scene->recorder.statement_count, 450);
    neap_recorder_flush(&scene->recorder);
    read_back(scene);
    assert_int_equal(json_array_size(scene->statements), 450);
    for (int line = 1; line <= 450; line++) {
        assert_int_equal(number(statement(scene, (size_t)line - 1), "line"), line);
        assert_int_equal(number(statement(scene, (size_t)line - 1), "rows"), line);
    }
    assert_int_equal(json_array_size(scene->sizes), 3);
    assert_int_equal(json_integer_value(json_array_get(scene->sizes, 0)), 200);
    assert_int_equal(json_integer_value(json_array_get(scene->sizes, 2)), 50);
}

static void test_recorder__a_full_event_is_not_followed_by_an_empty_one(void **state)
{
    struct scene *scene = *state;
    neap_recorder_begin(&scene->recorder, &scene->run, NULL, false);
    for (int line = 1; line <= 200; line++)
        settle(scene, pass(scene, line % 2 ? "f" : "g", line), 1);
    neap_recorder_flush(&scene->recorder);
    neap_recorder_flush(&scene->recorder); /* and what was told is not told again */
    read_back(scene);
    assert_int_equal(json_array_size(scene->sizes), 1);
}

static void test_recorder__a_loop_is_one_entry(void **state)
{
    struct scene *scene = *state;
    neap_recorder_begin(&scene->recorder, &scene->run, NULL, false);
    for (int i = 0; i < 1000; i++)
        settle(scene, pass(scene, "f", 7), 2);
    settle(scene, pass(scene, "g", 7), 1);
    neap_recorder_flush(&scene->recorder);
    read_back(scene);
    assert_int_equal(json_array_size(scene->statements), 2);
    assert_int_equal(number(statement(scene, 0), "count"), 1000);
    assert_int_equal(number(statement(scene, 0), "rows"), 2000);
    assert_null(json_object_get(statement(scene, 1), "count"));
}

/* Text that history keeps with the script is not repeated, and a list of statements
 * of one shape is one entry with its lines. */
static void test_recorder__what_stands_in_the_script_needs_no_text(void **state)
{
    struct scene *scene = *state;
    char text[] = "insert into t values (1)\ninsert into t values (2)\nselect 1\n"
                  "insert into t values (3)";
    struct neap_source_file file = {.text = text, .length = strlen(text)};
    struct neap_source source = {.files = &file, .file_count = 1};
    neap_recorder_begin(&scene->recorder, &scene->run, &source, false);
    settle(scene, pass_sql(scene, "insert into t values (1)", "i", 1), 1);
    settle(scene, pass_sql(scene, "insert into t values (2)", "i", 2), 1);
    settle(scene, pass_sql(scene, "select 1", "s", 3), 1);
    settle(scene, pass_sql(scene, "insert into t values (3)", "i", 4), 1);
    settle(scene, pass_sql(scene, "insert into t values (1)", "i", 1), 1); /* goes back: a loop */
    neap_recorder_flush(&scene->recorder);
    neap_recorder_end(&scene->recorder, &scene->run);
    read_back(scene);
    assert_int_equal(json_array_size(scene->statements), 4);
    assert_int_equal(number(statement(scene, 0), "line"), 1);
    assert_int_equal(number(statement(scene, 0), "last_line"), 2);
    assert_int_equal(number(statement(scene, 0), "count"), 2);
    assert_int_equal(number(statement(scene, 0), "rows"), 2);
    assert_null(json_object_get(statement(scene, 1), "last_line"));
    for (size_t i = 0; i < 4; i++)
        assert_null(json_object_get(statement(scene, i), "statement"));
}

/* What the script put together stands nowhere else; of a long one its hash says what
 * the rest was. */
static void test_recorder__what_was_put_together_has_its_text(void **state)
{
    struct scene *scene = *state;
    char text[] = "delete from t where id = ";
    char *two[] = {neap_format("select '%05000d'", 1), neap_format("select '%05000d'", 2)};
    struct neap_source_file file = {.text = text, .length = strlen(text)};
    struct neap_source source = {.files = &file, .file_count = 1};
    neap_recorder_begin(&scene->recorder, &scene->run, &source, false);
    settle(scene, pass_sql(scene, "delete from t where id = 7", "d", 1), 1);
    settle(scene, pass_sql(scene, "delete from t where id = 9", "d", 1), 1);
    settle(scene, pass_sql(scene, two[0], "s", 2), 1);
    settle(scene, pass_sql(scene, two[0], "s", 2), 1);
    settle(scene, pass_sql(scene, two[1], "s", 2), 1);
    neap_recorder_flush(&scene->recorder);
    neap_recorder_end(&scene->recorder, &scene->run);
    read_back(scene);
    assert_int_equal(json_array_size(scene->statements), 4);
    assert_string_equal(json_string_value(json_object_get(statement(scene, 1), "statement")),
                        "delete from t where id = 9");
    assert_null(json_object_get(statement(scene, 1), "statement_bytes"));
    assert_int_equal(number(statement(scene, 2), "count"), 2);
    const json_t *hashes[2];
    for (size_t i = 0; i < 2; i++) {
        const char *kept = json_string_value(json_object_get(statement(scene, 2 + i), "statement"));
        assert_int_equal(strlen(kept), 4096);
        assert_int_equal(number(statement(scene, 2 + i), "statement_bytes"), 5009);
        hashes[i] = json_object_get(statement(scene, 2 + i), "statement_sha256");
        assert_int_equal(json_string_length(hashes[i]), 64);
        free(two[i]);
    }
    assert_false(json_equal(hashes[0], hashes[1]));
}

/* What was sent and not answered says so; an answer that comes after that is not
 * taken for a later statement's. */
static void test_recorder__an_answer_is_its_own_statement_s(void **state)
{
    struct scene *scene = *state;
    neap_recorder_begin(&scene->recorder, &scene->run, NULL, false);
    int64_t lost = pass(scene, "f", 1);
    neap_recorder_flush(&scene->recorder);
    int64_t next = pass(scene, "g", 2);
    settle(scene, lost, 77);
    settle(scene, next + 1, 78); /* of nobody yet */
    neap_recorder_flush(&scene->recorder);
    settle(scene, next, 79); /* nothing is kept now */
    assert_int_equal(scene->recorder.row_count, 0);
    read_back(scene);
    assert_int_equal(json_array_size(scene->statements), 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(json_is_true(json_object_get(statement(scene, i), "unanswered")));
        assert_int_equal(number(statement(scene, i), "rows"), 0);
    }
}

/* Outside a transaction: in the journal before it is sent, paired with its end by
 * an id that no later statement of the run has. */
static void test_recorder__outside_a_transaction_each_is_in_the_journal_first(void **state)
{
    struct scene *scene = *state;
    for (int step = 0; step < 2; step++) {
        neap_recorder_begin(&scene->recorder, &scene->run, NULL, true);
        int64_t id = pass(scene, "f", 1);
        assert_int_equal(id, step);
        settle(scene, id, 5);
        neap_recorder_flush(&scene->recorder);
        neap_recorder_end(&scene->recorder, &scene->run);
    }
    read_back(scene);
    assert_int_equal(json_array_size(scene->statements), 0);
    assert_int_equal(json_array_size(scene->durable), 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(number(json_array_get(scene->durable, i), "id"), i / 2);
}

/* No room for the record: refused, so that it is not sent. */
static void test_recorder__what_cannot_be_recorded_is_not_let_through(void **state)
{
    struct scene *scene = *state;
    struct neap_gate_call call = {
        .name = "db:exec", .effect = NEAP_EFFECT_TX, .statement = "vacuum t"};
    struct neap_error err = {0};
    int64_t id = -1;
    struct rlimit old, none;
    getrlimit(RLIMIT_FSIZE, &old);
    none = (struct rlimit){.rlim_cur = 10, .rlim_max = old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    neap_recorder_begin(&scene->recorder, &scene->run, NULL, true);
    setrlimit(RLIMIT_FSIZE, &none);
    bool is_passed = neap_gate_pass(&scene->run, &call, &id, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_false(is_passed);
    assert_int_equal(err.code, NEAP_ERR_AUDIT_JOURNAL);
    neap_error_clear(&err);
}

/* What an observer was told: ids of statements to be sent, and of answers. */
struct looker {
    int64_t sent[4], settled[4];
    size_t sent_count, settled_count;
    bool refuses;
};

static bool look_statement(void *arg, const struct neap_gate_call *call, int64_t call_id,
                           struct neap_error *err)
{
    struct looker *looker = arg;
    assert_non_null(call->statement);
    looker->sent[looker->sent_count++] = call_id;
    if (looker->refuses)
        neap_error_set(err, NEAP_ERR_POLICY_REFUSED, "not that");
    return !looker->refuses;
}

static void look_settled(void *arg, const struct neap_observed *observed)
{
    struct looker *looker = arg;
    assert_int_equal(observed->row_count, 7);
    assert_false(observed->failed);
    looker->settled[looker->settled_count++] = observed->call_id;
}

/* Told of each before it is recorded, by the id of its answer; what it refuses is not. */
static void test_recorder__an_observer_is_told_of_each(void **state)
{
    struct scene *scene = *state;
    struct looker looker = {.refuses = false};
    struct neap_observer observer = {
        .statement = look_statement, .settled = look_settled, .arg = &looker};
    struct neap_gate_call call = {.effect = NEAP_EFFECT_TX, .statement = "select 1"};
    struct neap_error err = {0};
    int64_t id = -1;
    scene->recorder.observer = &observer;
    neap_recorder_begin(&scene->recorder, &scene->run, NULL, false);
    int64_t first = pass(scene, "f", 1), second = pass(scene, "f", 1);
    settle(scene, first, 7);
    settle(scene, second, 7);
    assert_int_equal(looker.sent_count, 2);
    assert_int_equal(looker.settled_count, 2);
    assert_int_equal(looker.sent[1], second);
    assert_int_equal(looker.settled[0], first);
    looker.refuses = true;
    assert_false(neap_gate_pass(&scene->run, &call, &id, &err));
    assert_int_equal(err.code, NEAP_ERR_POLICY_REFUSED);
    assert_int_equal(scene->recorder.statement_count, 2);
    neap_error_clear(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(test_recorder__##name, begin, end)
        CASE(many_statements_are_several_events),
        CASE(a_full_event_is_not_followed_by_an_empty_one),
        CASE(a_loop_is_one_entry),
        CASE(what_stands_in_the_script_needs_no_text),
        CASE(what_was_put_together_has_its_text),
        CASE(an_answer_is_its_own_statement_s),
        CASE(outside_a_transaction_each_is_in_the_journal_first),
        CASE(what_cannot_be_recorded_is_not_let_through),
        CASE(an_observer_is_told_of_each),
#undef CASE
    };
    return cmocka_run_group_tests_name("recorder", tests, NULL, NULL);
}
