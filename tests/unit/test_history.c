/* SPDX-License-Identifier: MIT
 *
 * History against a real server: installation by many at once, with few rights and
 * over an earlier version, what is applied, the guard on the transaction, the right
 * to write a row, steps.
 */
#include "tests/unit/pg_fixture.h"

#include "bindings/lock/lease.h"
#include "host/change/history.h"

#define ATTEMPT "11111111-2222-4333-8444-555555555555"

static const struct neap_hash test_hash = {.bytes = {1, 2, 3}};

static void must(struct pg_scene *scene, bool did)
{
    if (!did)
        fail_msg("%s (%s)", scene->err.message, scene->err.detail ? scene->err.detail : "");
}

/* The schema, and a lease with the token of entry_of. */
static void install(struct pg_scene *scene)
{
    must(scene, neap_history_install(scene->client, &scene->err));
    pg_scene_do(scene, "insert into neap.lease (token, identity, run_id, backend_pid, expires_at)"
                       " values (1, 'x', 'r1', 0, 'infinity') on conflict do nothing");
}

static void announce(struct pg_scene *scene, const char *id, const char *action,
                     struct neap_attempt *out)
{
    struct neap_attempts attempts = {0};
    struct neap_attempt_key key = {id, action};
    must(scene, neap_attempts_take(&attempts, scene->client, "r1", &key, out, &scene->err));
    neap_attempts_clear(&attempts);
}

static struct neap_history_entry entry_of(struct pg_scene *scene, const char *id,
                                          const char *action)
{
    static struct neap_attempt attempt;
    announce(scene, id, action, &attempt);
    return (struct neap_history_entry){.attempt = &attempt,
                                       .id = id,
                                       .name = "users",
                                       .action = action,
                                       .actor = "alice",
                                       .reason = "because",
                                       .summary = "Users",
                                       .exact = &test_hash,
                                       .token = &test_hash,
                                       .duration_ms = 12,
                                       .lease_token = 1};
}

static void record(struct pg_scene *scene, const struct neap_history_entry *entry)
{
    must(scene, neap_history_record(scene->client, entry, NULL, &scene->err));
    must(scene, pg_settle(scene->client, &scene->err));
}

static void test_history__an_empty_target_is_no_error(void **state)
{
    struct pg_scene *scene = *state;
    struct neap_history history;
    struct neap_step_rows steps;
    pg_scene_do(scene, "drop schema if exists neap cascade");
    must(scene, neap_history_load(scene->client, &history, &scene->err));
    assert_false(history.installed);
    assert_int_equal(history.count, 0);
    must(scene, neap_history_steps(scene->client, NULL, &steps, &scene->err));
    assert_int_equal(steps.count, 0);
    assert_int_equal(
        pg_scene_int(scene, "select count(*) from pg_namespace where nspname = 'neap'"), 0);
    must(scene, neap_history_install(scene->client, &scene->err));
    must(scene, neap_history_install(scene->client, &scene->err));
    must(scene, neap_history_load(scene->client, &history, &scene->err));
    assert_true(history.installed);
    assert_int_equal(history.count, 0);
    assert_string_equal(history.target_head, "");
    neap_history_clear(&history);
}

static void test_history__the_last_word_counts(void **state)
{
    struct pg_scene *scene = *state;
    struct neap_history history;
    install(scene);
    static const char *const words[][2] = {
        {"0010", "apply"},    {"9", "apply"},   {"0001", "apply"}, {"0001", "undo"},
        {"0002", "apply"},    {"0002", "undo"}, {"2", "apply"},    {"0003", "repair.pending"},
        {"0004", "baseline"},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        struct neap_history_entry entry = entry_of(scene, words[i][0], words[i][1]);
        record(scene, &entry);
    }
    must(scene, neap_history_load(scene->client, &history, &scene->err));
    assert_int_equal(history.count, 6);
    static const struct {
        const char *id;
        enum neap_history_state state;
    } expected[] = {{"0001", NEAP_STATE_PENDING}, {"2", NEAP_STATE_APPLIED},
                    {"0003", NEAP_STATE_PENDING}, {"0004", NEAP_STATE_APPLIED},
                    {"9", NEAP_STATE_APPLIED},    {"0010", NEAP_STATE_APPLIED}};
    for (size_t i = 0; i < history.count; i++) {
        assert_string_equal(history.rows[i].id, expected[i].id);
        assert_int_equal(history.rows[i].state, expected[i].state);
    }
    const struct neap_history_row *row = neap_history_find(&history, "10");
    assert_non_null(row);
    assert_string_equal(row->actor, "alice");
    assert_null(row->reason);
    assert_true(neap_hash_equal(&row->exact, &test_hash));
    assert_true(row->at_us > 1700000000000000 && row->at_us < 4000000000000000);
    assert_null(neap_history_find(&history, "0011"));
    assert_string_equal(neap_history_find(&history, "1")->id, "0001");
    assert_null(neap_history_find(&history, "0"));
    neap_history_clear(&history);
    must(scene, neap_history_all(scene->client, &history, &scene->err));
    assert_int_equal(history.count, sizeof words / sizeof words[0]);
    assert_string_equal(history.rows[0].reason, "because");
    assert_null(history.rows[0].ticket);
    neap_history_clear(&history);
}

static void test_history__rows_are_never_changed(void **state)
{
    struct pg_scene *scene = *state;
    static const char *const tries[] = {
        "delete from neap.history", "update neap.history set id = ''",
        "truncate neap.history",    "delete from neap.event",
        "truncate neap.event",      "update neap.attempt set id = ''",
        "delete from neap.attempt"};
    install(scene);
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        assert_false(pg_exec_text(scene->client, tries[i], 0, NULL, NULL, &scene->err));
        assert_non_null(strstr(scene->err.message, "append-only"));
        pg_failure_clear(scene->client);
    }
}

static void test_history__a_row_belongs_to_its_transaction(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_op *op = NULL;
    bool found;
    install(scene);
    /* A hostile search_path changes nothing. */
    pg_scene_do(scene, "create schema if not exists evil");
    pg_scene_do(scene, "create or replace function evil.clock_timestamp() returns timestamptz"
                       " language sql as 'select null::timestamptz'");
    pg_scene_do(scene, "begin");
    pg_scene_do(scene, "set local search_path = evil, pg_catalog");
    must(scene, pg_exec_text(scene->client, "select pg_current_xact_id()::text", 0, NULL, &op,
                             &scene->err));
    struct neap_history_entry entry = entry_of(scene, "0100", "apply");
    char xid[32];
    snprintf(xid, sizeof xid, "%s", pg_cell(op, 0, 0));
    pg_op_free(op);
    entry.xid = xid;
    record(scene, &entry);
    pg_scene_do(scene, "commit");
    must(scene, neap_history_has_attempt(scene->client, entry.attempt->uuid, &found, &scene->err));
    assert_true(found);

    /* The script committed behind the host's back. */
    struct neap_history_entry escaped = entry_of(scene, "0101", "apply");
    escaped.xid = xid;
    assert_true(neap_history_record(scene->client, &escaped, NULL, &scene->err));
    assert_false(pg_settle(scene->client, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_ESCAPED);
    pg_failure_clear(scene->client);
    must(scene,
         neap_history_has_attempt(scene->client, escaped.attempt->uuid, &found, &scene->err));
    assert_false(found);
}

static void test_history__the_stored_copy_comes_back(void **state)
{
    struct pg_scene *scene = *state;
    void *bytes;
    size_t length;
    install(scene);
    struct neap_history_entry entry = entry_of(scene, "0200", "apply");
    entry.bundle = "a\0\xff'\\";
    entry.bundle_length = 5;
    record(scene, &entry);
    struct neap_history_entry undo = entry_of(scene, "0200", "undo");
    record(scene, &undo);
    must(scene, neap_history_bundle(scene->client, "200", &bytes, &length, &scene->err));
    assert_int_equal(length, 5);
    assert_memory_equal(bytes, entry.bundle, 5);
    free(bytes);
    must(scene, neap_history_bundle(scene->client, "0299", &bytes, &length, &scene->err));
    assert_null(bytes);
}

static void step(struct pg_scene *scene, const char *id, int index, const char *state)
{
    char name[] = "build", run[] = "r1", attempt[] = ATTEMPT;
    struct neap_step_row row = {
        .index = index, .name = name, .run_id = run, .attempt = attempt, .token = test_hash};
    row.id = neap_strdup(id);
    row.state = neap_strdup(state);
    must(scene, neap_history_step(scene->client, &row, &scene->err));
    free(row.id);
    free(row.state);
}

static void test_history__steps_are_partial_until_settled(void **state)
{
    struct pg_scene *scene = *state;
    struct neap_step_rows steps;
    struct neap_history history;
    install(scene);
    step(scene, "0300", 0, "intent");
    step(scene, "0300", 0, "done");
    step(scene, "0300", 1, "intent");
    must(scene, neap_history_steps(scene->client, "300", &steps, &scene->err));
    assert_int_equal(steps.count, 2);
    assert_string_equal(steps.rows[0].state, "done");
    assert_string_equal(steps.rows[1].state, "intent");
    assert_string_equal(steps.rows[1].attempt, ATTEMPT);
    assert_true(neap_hash_equal(&steps.rows[1].token, &test_hash));
    neap_step_rows_clear(&steps);
    must(scene, neap_history_load(scene->client, &history, &scene->err));
    const struct neap_history_row *row = neap_history_find(&history, "0300");
    assert_non_null(row);
    assert_int_equal(row->state, NEAP_STATE_PARTIAL);
    assert_string_equal(row->action, "");
    neap_history_clear(&history);

    struct neap_history_entry entry = entry_of(scene, "0300", "apply");
    pg_scene_do(scene, "begin");
    entry.settle_steps = true;
    record(scene, &entry);
    pg_scene_do(scene, "commit");
    must(scene, neap_history_steps(scene->client, "0300", &steps, &scene->err));
    assert_int_equal(steps.count, 0);
    must(scene, neap_history_load(scene->client, &history, &scene->err));
    assert_int_equal(neap_history_find(&history, "0300")->state, NEAP_STATE_APPLIED);
    neap_history_clear(&history);
}

static void test_history__a_newer_schema_is_refused(void **state)
{
    struct pg_scene *scene = *state;
    struct neap_history history;
    must(scene, neap_history_install(scene->client, &scene->err));
    pg_scene_do(scene, "update neap.meta set version = 99");
    assert_false(neap_history_load(scene->client, &history, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_HISTORY_VERSION);
    neap_history_clear(&history);
    assert_false(neap_history_install(scene->client, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_HISTORY_VERSION);
    char *back = neap_format("update neap.meta set version = %d", NEAP_SCHEMA_VERSION);
    pg_scene_do(scene, back);
    free(back);
}

/* What an earlier neap left behind. */
static void go_back_to_version_1(struct pg_scene *scene)
{
    static const char *const statements[] = {"drop function neap.record",
                                             "drop function neap.record_events",
                                             "drop function neap.enter",
                                             "drop function neap.tidy",
                                             "drop table neap.attempt",
                                             "alter function neap.fence(int8) security invoker",
                                             "alter table neap.lease drop column earlier",
                                             "alter table neap.history drop column timeline",
                                             "alter table neap.history alter lsn drop default",
                                             "update neap.meta set version = 1"};
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++)
        pg_scene_do(scene, statements[i]);
}

static void count_forgery(void *arg, const struct neap_history_forgery *forgery)
{
    int *count = arg;
    if (strcmp(forgery->id, "0500") == 0 && strcmp(forgery->run_id, "r1") == 0)
        ++*count;
}

static void test_history__an_earlier_version_is_upgraded(void **state)
{
    struct pg_scene *scene = *state;
    struct neap_history history;
    pg_scene_do(scene, "drop schema if exists neap cascade");
    install(scene);
    struct neap_history_entry entry = entry_of(scene, "0001", "apply");
    record(scene, &entry);
    go_back_to_version_1(scene);
    /* Looked at as it is ... */
    must(scene, neap_history_load(scene->client, &history, &scene->err));
    assert_true(history.installed);
    assert_int_equal(history.count, 1);
    assert_false(history.rows[0].forged);
    neap_history_clear(&history);
    int forgeries = 0; /* nothing was announced in version 1: nothing is forged */
    must(scene, neap_history_forged(scene->client, count_forgery, &forgeries, &scene->err));
    assert_int_equal(forgeries, 0);
    assert_int_equal(pg_scene_int(scene, "select version from neap.meta"), 1);
    /* ... and upgraded by whoever changes something. */
    install(scene);
    assert_int_equal(pg_scene_int(scene, "select version from neap.meta"), NEAP_SCHEMA_VERSION);
    must(scene, neap_history_load(scene->client, &history, &scene->err));
    assert_int_equal(history.count, 1);
    assert_false(history.rows[0].forged);
    neap_history_clear(&history);
    struct neap_history_entry undo = entry_of(scene, "0001", "undo");
    record(scene, &undo);
    /* The attempt that the upgrade made up for the old row fits no secret. */
    assert_int_equal(pg_scene_int(scene, "select count(*) from neap.attempt"
                                         " where secret_hash = '' and id = '0001'"),
                     1);
}

static void refuse(struct pg_scene *scene, const struct neap_history_entry *entry)
{
    assert_true(neap_history_record(scene->client, entry, NULL, &scene->err));
    assert_false(pg_settle(scene->client, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_HISTORY_FORGED);
    neap_error_clear(&scene->err);
    pg_failure_clear(scene->client);
}

static void test_history__a_row_needs_its_own_secret(void **state)
{
    struct pg_scene *scene = *state;
    struct neap_attempt known, guessed;
    install(scene);
    announce(scene, "0400", "apply", &known);
    struct neap_history_entry entry = entry_of(scene, "0401", "apply");
    guessed = known;
    guessed.secret.bytes[31] ^= 1;
    entry.attempt = &guessed;
    entry.id = "0400";
    refuse(scene, &entry);
    entry.attempt = &known;
    entry.id = "0401";
    refuse(scene, &entry); /* another migration */
    entry.id = "0400";
    entry.action = "undo";
    refuse(scene, &entry); /* another action */
    entry.action = "apply";
    record(scene, &entry);
    assert_true(neap_history_record(scene->client, &entry, NULL, &scene->err));
    assert_false(pg_settle(scene->client, &scene->err)); /* a second time */
    assert_string_equal(scene->err.sqlstate, "23505");
    pg_failure_clear(scene->client);
    assert_int_equal(pg_scene_int(scene, "select count(*) from neap.history where id like '040%'"),
                     1);
}

static void refuses(struct pg_scene *scene, bool did, enum neap_error_code code,
                    struct pg_client *client)
{
    assert_false(did);
    assert_int_equal(scene->err.code, code);
    neap_error_clear(&scene->err);
    pg_failure_clear(client);
}

static void test_history__a_row_that_nobody_announced_is_forged(void **state)
{
    struct pg_scene *scene = *state;
    struct neap_history history;
    int count = 0;
    install(scene);
    pg_scene_do(scene, "insert into neap.history (attempt, id, name, action, run_id, xid,"
                       " system_identifier) values (gen_random_uuid(), '0500', 'n', 'apply',"
                       " 'r1', '1', '1')");
    /* An attempt for another migration stands behind none. */
    struct neap_history_entry entry = entry_of(scene, "0501", "apply");
    char sql[300];
    snprintf(sql, sizeof sql,
             "insert into neap.history (attempt, id, name, action, run_id, xid,"
             " system_identifier) values ('%s', '0500', 'n', 'undo', 'r1', '1', '1')",
             entry.attempt->uuid);
    pg_scene_do(scene, sql);
    must(scene, neap_history_load(scene->client, &history, &scene->err));
    assert_true(neap_history_find(&history, "0500")->forged);
    neap_history_clear(&history);
    must(scene, neap_history_forged(scene->client, count_forgery, &count, &scene->err));
    assert_int_equal(count, 2);
    struct neap_history_entry settled = entry_of(scene, "0500", "repair.pending");
    record(scene, &settled);
    must(scene, neap_history_load(scene->client, &history, &scene->err));
    assert_false(neap_history_find(&history, "0500")->forged);
    neap_history_clear(&history);
}

static void test_history__attempts_are_announced_together(void **state)
{
    struct pg_scene *scene = *state;
    struct neap_attempts attempts = {0};
    struct neap_attempt first, second, retry;
    const struct neap_attempt_key keys[] = {{"0600", "apply"}, {"0601", "apply"}};
    install(scene);
    must(scene, neap_attempts_announce(&attempts, scene->client, "r6", keys, 2, &scene->err));
    must(scene, neap_attempts_take(&attempts, scene->client, "r6", &keys[1], &second, &scene->err));
    must(scene, neap_attempts_take(&attempts, scene->client, "r6", &keys[0], &first, &scene->err));
    assert_string_not_equal(first.uuid, second.uuid);
    assert_false(neap_hash_equal(&first.secret, &second.secret));
    assert_int_equal(pg_scene_int(scene, "select count(*) from neap.attempt where run_id = 'r6'"),
                     2);
    must(scene, neap_attempts_take(&attempts, scene->client, "r6", &keys[0], &retry, &scene->err));
    assert_string_not_equal(first.uuid, retry.uuid);
    assert_int_equal(pg_scene_int(scene, "select count(*) from neap.attempt where run_id = 'r6'"),
                     3);
    neap_attempts_clear(&attempts);
}

/* Whether the server has them is not known: none is used, and the next session gets
 * new ones. */
static void test_history__attempts_of_a_lost_session_are_not_used(void **state)
{
    struct pg_scene *scene = *state;
    struct neap_attempts attempts = {0};
    struct neap_attempt taken = {0};
    const struct neap_attempt_key keys[] = {{"0610", "apply"}, {"0611", "apply"}};
    install(scene);
    struct pg_client *super = scene->client, *lost = pg_fixture_open(scene);
    pg_scene_do(scene, "begin");
    pg_scene_do(scene, "lock table neap.attempt");
    must(scene, neap_attempts_announce(&attempts, lost, "r7", keys, 2, &scene->err));
    pg_scene_do(scene, "select pg_terminate_backend(pid) from pg_stat_activity"
                       " where application_name = 'neap:test' and pid <> pg_backend_pid()");
    refuses(scene, neap_attempts_take(&attempts, lost, "r7", &keys[0], &taken, &scene->err),
            NEAP_ERR_DB_LOST, lost);
    pg_scene_do(scene, "commit");
    refuses(scene, neap_attempts_take(&attempts, lost, "r7", &keys[1], &taken, &scene->err),
            NEAP_ERR_DB_LOST, lost);
    assert_string_equal(taken.uuid, "");
    must(scene, neap_attempts_take(&attempts, super, "r7", &keys[1], &taken, &scene->err));
    assert_int_equal(pg_scene_int(scene, "select count(*) from neap.attempt where run_id = 'r7'"),
                     1);
    struct neap_history_entry entry = entry_of(scene, "0611", "apply");
    entry.attempt = &taken;
    pg_scene_do(scene, "update neap.lease set run_id = 'r7'");
    record(scene, &entry);
    pg_scene_do(scene, "update neap.lease set run_id = 'r1'");
    neap_attempts_clear(&attempts);
    pg_close(lost);
}

static void test_history__five_thousand_rows_are_loaded(void **state)
{
    struct pg_scene *scene = *state;
    struct neap_history history;
    install(scene);
    pg_scene_do(scene,
                "insert into neap.history (attempt, id, name, action, exact_hash, token_hash,"
                " run_id, xid, system_identifier) select gen_random_uuid(),"
                " (1000000 + i)::text, 'n', 'apply', '\\x00', '\\x00', 'r', '1', '1'"
                " from generate_series(1, 5000) i");
    must(scene, neap_history_load(scene->client, &history, &scene->err));
    assert_true(history.count >= 5000);
    assert_non_null(neap_history_find(&history, "1004999"));
    neap_history_clear(&history);
}

/* One runner in a process of its own: this program again, since a loop's signal
 * handlers do not survive a fork alone. */
static int install_alone(const char *conninfo)
{
    struct pg_scene *scene;
    void *state = NULL;
    snprintf(pg_fixture.conninfo, sizeof pg_fixture.conninfo, "%s", conninfo);
    pg_scene_begin(&state);
    scene = state;
    bool did = neap_history_install(scene->client, &scene->err);
    if (!did)
        fprintf(stderr, "%s %s\n", scene->err.sqlstate, scene->err.message);
    pg_scene_end(&state);
    return did ? 0 : 1;
}

/* Not /proc/self/exe, which under valgrind is valgrind. */
static const char *own_path;

static void test_history__many_install_at_once(void **state)
{
    struct pg_scene *scene = *state;
    enum { RUNNERS = 64 };
    pid_t pids[RUNNERS];
    pg_scene_do(scene, "drop schema if exists neap cascade");
    for (int i = 0; i < RUNNERS; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            execl(own_path, own_path, "install", pg_fixture.conninfo, (char *)NULL);
            _exit(127);
        }
    }
    for (int i = 0; i < RUNNERS; i++) {
        int status = 1;
        waitpid(pids[i], &status, 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(pg_scene_int(scene, "select count(*) from neap.meta"), 1);
}

static void test_history__a_missing_right_names_the_grant(void **state)
{
    struct pg_scene *scene = *state;
    pg_scene_do(scene, "drop schema if exists neap cascade");
    pg_scene_do(scene, "create role plain login");
    pg_scene_do(scene, "revoke create on database postgres from public");
    struct pg_client *super = scene->client;
    char conninfo[400];
    snprintf(conninfo, sizeof conninfo, "host=%s user=plain dbname=postgres", pg_fixture.dir);
    struct pg_open_opts opts = {.conninfo = conninfo, .timeout_ms = 10000};
    must(scene, pg_open(scene->loop, &opts, &scene->client, &scene->err));
    assert_false(neap_history_install(scene->client, &scene->err));
    assert_string_equal(scene->err.sqlstate, "42501");
    assert_non_null(strstr(scene->err.hint, "GRANT CREATE ON DATABASE \"postgres\" TO \"plain\""));
    must(scene, pg_exec_text(super, "grant create on database postgres to plain", 0, NULL, NULL,
                             &scene->err));
    install(scene);
    struct neap_history_entry entry = entry_of(scene, "0001", "apply");
    record(scene, &entry);
    pg_close(scene->client);
    scene->client = super;
    pg_scene_do(scene, "drop schema neap cascade");
}

/* More events than one statement carries: they commit with the row, and a secret that
 * does not fit keeps all of them out. */
static void test_history__events_come_in_several_statements(void **state)
{
    struct pg_scene *scene = *state;
    enum { EVENTS = 2500 };
    char *dir = test_temp_dir();
    struct neap_audit_opts opts = {.state_dir = dir, .identity = "7/1", .run_id = "r1"};
    struct neap_audit *audit = NULL;
    install(scene);
    must(scene, neap_audit_open(&opts, &audit, &scene->err));
    must(scene, neap_audit_begin(audit, "", json_object(), &scene->err));
    for (int i = 0; i < EVENTS; i++)
        neap_audit_add(audit, "statement", json_object());
    must(scene, neap_audit_sync(audit, &scene->err));
    struct neap_history_entry entry = entry_of(scene, "0700", "apply");
    struct neap_attempt known = *entry.attempt, guessed = known;
    guessed.secret.bytes[0] ^= 1;
    entry.attempt = &guessed;
    pg_scene_do(scene, "begin");
    assert_true(neap_history_record(scene->client, &entry, audit, &scene->err));
    assert_false(pg_settle(scene->client, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_HISTORY_FORGED);
    neap_error_clear(&scene->err);
    pg_failure_clear(scene->client);
    neap_audit_copied(audit, false);
    pg_scene_do(scene, "rollback");
    assert_int_equal(pg_scene_int(scene, "select count(*) from neap.event"), 0);

    entry.attempt = &known;
    pg_scene_do(scene, "begin");
    must(scene, neap_history_record(scene->client, &entry, audit, &scene->err));
    must(scene, pg_settle(scene->client, &scene->err));
    pg_scene_do(scene, "commit");
    neap_audit_copied(audit, true);
    assert_int_equal(pg_scene_int(scene, "select count(*) from neap.event where run_id = 'r1'"),
                     EVENTS + 1);
    assert_int_equal(pg_scene_int(scene, "select count(*) from neap.history where id = '0700'"), 1);
    neap_audit_close(audit);
    test_temp_remove(dir);
    free(dir);
}

/* A session that is gone, or may not look: no answer is taken for an empty one. */
static void test_history__what_cannot_be_asked_is_an_error(void **state)
{
    struct pg_scene *scene = *state;
    struct neap_step_rows steps;
    int count = 0;
    void *bytes = NULL;
    size_t length = 0;
    bool found = true;
    install(scene);
    struct pg_client *super = scene->client;
    pg_scene_do(scene, "drop role if exists blind");
    pg_scene_do(scene, "create role blind login");
    pg_scene_do(scene, "grant usage on schema neap to blind");
    char conninfo[400];
    snprintf(conninfo, sizeof conninfo, "host=%s user=blind dbname=postgres", pg_fixture.dir);
    struct pg_open_opts opts = {.conninfo = conninfo, .timeout_ms = 10000};
    struct pg_client *blind = NULL;
    must(scene, pg_open(scene->loop, &opts, &blind, &scene->err));
    for (int lost = 0; lost < 2; lost++) {
        enum neap_error_code code = lost ? NEAP_ERR_DB_LOST : NEAP_ERR_DB_QUERY;
        refuses(scene, neap_history_forged(blind, count_forgery, &count, &scene->err), code, blind);
        refuses(scene, neap_history_steps(blind, "1", &steps, &scene->err), code, blind);
        refuses(scene, neap_history_bundle(blind, "1", &bytes, &length, &scene->err), code, blind);
        refuses(scene, neap_history_has_attempt(blind, ATTEMPT, &found, &scene->err), code, blind);
        assert_false(neap_history_install(blind, &scene->err));
        assert_true(lost || strstr(scene->err.hint, "GRANT USAGE ON SCHEMA neap TO \"blind\""));
        refuses(scene, false, code, blind);
        assert_false(found);
        assert_null(bytes);
        assert_int_equal(steps.count, 0);
        pg_scene_do(scene, "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
                           " where usename = 'blind'");
    }
    assert_int_equal(count, 0);
    pg_close(blind);
    scene->client = super;
    pg_scene_do(scene, "drop owned by blind");
    pg_scene_do(scene, "drop role blind");
}

static int start_server(void **state)
{
    (void)state;
    pg_fixture_start("-cmax_connections=100");
    return 0;
}

#define CASE(name) \
    cmocka_unit_test_setup_teardown(test_history__##name, pg_scene_begin, pg_scene_end)

int main(int argc, char **argv)
{
    own_path = argv[0];
    if (argc == 3 && strcmp(argv[1], "install") == 0)
        return install_alone(argv[2]);
    const struct CMUnitTest tests[] = {
        CASE(an_empty_target_is_no_error),
        CASE(the_last_word_counts),
        CASE(rows_are_never_changed),
        CASE(a_row_belongs_to_its_transaction),
        CASE(the_stored_copy_comes_back),
        CASE(steps_are_partial_until_settled),
        CASE(an_earlier_version_is_upgraded),
        CASE(a_row_needs_its_own_secret),
        CASE(a_row_that_nobody_announced_is_forged),
        CASE(attempts_are_announced_together),
        CASE(attempts_of_a_lost_session_are_not_used),
        CASE(a_newer_schema_is_refused),
        CASE(five_thousand_rows_are_loaded),
        CASE(events_come_in_several_statements),
        CASE(what_cannot_be_asked_is_an_error),
        CASE(many_install_at_once),
        CASE(a_missing_right_names_the_grant),
    };
    return cmocka_run_group_tests(tests, start_server, pg_fixture_end);
}
