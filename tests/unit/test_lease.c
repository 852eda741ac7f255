/* SPDX-License-Identifier: MIT
 *
 * The lease against a real server: one holder, the fence against takeover,
 * heartbeats beside the fence, holders that are gone, expired, foreign, broken.
 */
#include "tests/unit/pg_fixture.h"

#include "bindings/lock/lease.h"
#include "host/change/history.h"

#define IDENTITY "7/1"

static void must(struct pg_scene *scene, bool did)
{
    if (!did)
        fail_msg("%s (%s)", scene->err.message, scene->err.detail ? scene->err.detail : "");
}

static struct lease_opts opts_of(const char *run_id)
{
    return (struct lease_opts){.run_id = run_id,
                               .actor = "alice",
                               .host = "box",
                               .identity = IDENTITY,
                               .direct = true,
                               .ttl_ms = 30000};
}

/* A session as run `run_id` has them. */
static struct pg_client *open_as(struct pg_scene *scene, const char *run_id)
{
    char name[80];
    struct pg_client *client = NULL;
    snprintf(name, sizeof name, "neap:%s", run_id);
    struct pg_open_opts opts = {
        .conninfo = pg_fixture.conninfo, .application_name = name, .timeout_ms = 10000};
    must(scene, pg_open(scene->loop, &opts, &client, &scene->err));
    return client;
}

static void do_on(struct pg_scene *scene, struct pg_client *client, const char *sql)
{
    must(scene, pg_exec_text(client, sql, 0, NULL, NULL, &scene->err));
}

static void wait_ms(struct pg_scene *scene, int64_t duration_ms)
{
    neap_loop_sleep(scene->loop, duration_ms, "the test", NULL);
}

static int lease_begin(void **state)
{
    pg_scene_begin(state);
    struct pg_scene *scene = *state;
    must(scene, neap_history_install(scene->client, &scene->err));
    pg_scene_do(scene, "delete from neap.lease");
    return 0;
}

static struct lease *claim(struct pg_scene *scene, struct pg_client *client,
                           const struct lease_opts *opts)
{
    struct lease *lease = NULL;
    must(scene, lease_claim(client, opts, &lease, &scene->err));
    return lease;
}

static void test_lease__one_holder_at_a_time(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a"), b = opts_of("b");
    struct pg_client *other = open_as(scene, "b");
    struct lease_holder holder;
    struct lease *second = NULL;
    bool found;
    struct lease *first = claim(scene, scene->client, &a);
    assert_false(lease_claim(other, &b, &second, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_LEASE_HELD);
    assert_non_null(strstr(scene->err.message, "run a of alice on box"));
    must(scene, lease_look(other, IDENTITY, &found, &holder, &scene->err));
    assert_true(found && !holder.expired && !holder.backend_gone && !holder.foreign);
    assert_int_equal(holder.token, lease_token(first));
    assert_int_equal(holder.backend_pid, PQbackendPID(pg_raw(scene->client)));
    lease_holder_clear(&holder);
    int64_t token = lease_token(first);
    lease_release(first);
    must(scene, lease_look(other, IDENTITY, &found, &holder, &scene->err));
    assert_false(found);
    second = claim(scene, other, &b);
    assert_true(lease_token(second) > token);
    lease_release(second);
    pg_close(other);
}

static void test_lease__no_schema_is_no_holder(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_holder holder;
    bool found = true;
    pg_scene_do(scene, "drop schema neap cascade");
    must(scene, lease_look(scene->client, IDENTITY, &found, &holder, &scene->err));
    assert_false(found);
    must(scene, neap_history_install(scene->client, &scene->err));
}

static void test_lease__a_wait_ends_with_the_release(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts b = opts_of("b");
    struct pg_client *other = open_as(scene, "b");
    /* Somebody else's row, that frees itself by expiry in 700 ms. */
    pg_scene_do(scene, "insert into neap.lease (token, identity, run_id, backend_pid, expires_at)"
                       " values (nextval('neap.lease_token'), '" IDENTITY "', 'x', 0,"
                       " clock_timestamp() + '700ms')");
    int64_t begun_ms = neap_clock_ms();
    b.wait_ms = 60000;
    struct lease *lease = claim(scene, other, &b);
    int64_t took_ms = neap_clock_ms() - begun_ms;
    assert_in_range(took_ms, 600, TEST_HANG_MS);
    lease_release(lease);
    pg_close(other);
}

static void test_lease__a_wait_has_an_end(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a"), b = opts_of("b");
    struct pg_client *other = open_as(scene, "b");
    struct lease *first = claim(scene, scene->client, &a), *second = NULL;
    int64_t begun_ms = neap_clock_ms();
    b.wait_ms = 1200;
    assert_false(lease_claim(other, &b, &second, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_LEASE_HELD);
    assert_in_range(neap_clock_ms() - begun_ms, 1100, TEST_HANG_MS);
    lease_release(first);
    pg_close(other);
}

static void test_lease__a_dead_holder_is_replaced_at_once(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a"), b = opts_of("b");
    struct pg_client *dead = open_as(scene, "a");
    struct lease *first = claim(scene, dead, &a), *second = NULL;
    char sql[120];
    snprintf(sql, sizeof sql, "select pg_terminate_backend(%d, 5000)", PQbackendPID(pg_raw(dead)));
    pg_scene_do(scene, sql);
    wait_ms(scene, 50);
    /* Through a pooler nobody can know: expiry alone decides. */
    b.direct = false;
    assert_false(lease_claim(scene->client, &b, &second, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_LEASE_HELD);
    b.direct = true;
    second = claim(scene, scene->client, &b);
    lease_release(second);
    lease_release(first); /* its session is lost: nothing to tell anybody */
    pg_close(dead);
}

static void test_lease__another_database_s_row_is_no_lock(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a"), b = opts_of("b");
    struct lease_holder holder;
    bool found;
    struct pg_client *other = open_as(scene, "b");
    struct lease *first = claim(scene, scene->client, &a);
    b.identity = "8/2";
    must(scene, lease_look(other, "8/2", &found, &holder, &scene->err));
    assert_true(found && holder.foreign);
    lease_holder_clear(&holder);
    /* The copy brings no sessions of run a with it. */
    pg_scene_do(scene, "set application_name = 'original'");
    struct lease *second = claim(scene, other, &b);
    lease_release(second);
    lease_release(first);
    pg_close(other);
}

static void test_lease__the_fence_holds_a_takeover_back(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a"), b = opts_of("b");
    /* Not named for run a: the row alone must hold the takeover back. */
    struct pg_client *work = open_as(scene, "unnamed"), *other = open_as(scene, "b");
    struct lease *first = claim(scene, scene->client, &a), *second = NULL;
    do_on(scene, work, "create table if not exists fenced (v int)");
    do_on(scene, work, "begin");
    must(scene, lease_fence(first, work, &scene->err));
    do_on(scene, work, "insert into fenced values (1)");
    /* Its time is over, but its transaction is not. */
    do_on(scene, other, "update neap.lease set expires_at = '-infinity'");
    b.wait_ms = 1500;
    assert_false(lease_claim(other, &b, &second, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_LEASE_HELD);
    assert_null(pg_failure(other));
    char sql[120];
    snprintf(sql, sizeof sql, "select count(*) from neap.lease where token = %lld",
             (long long)lease_token(first));
    assert_int_equal(pg_scene_int(scene, sql), 1);
    do_on(scene, work, "commit");
    pg_close(work);
    b.wait_ms = 5000;
    second = claim(scene, other, &b);

    /* The stale holder wakes up: its next transaction does not get past the fence. */
    work = open_as(scene, "a");
    do_on(scene, work, "begin");
    must(scene, lease_fence(first, work, &scene->err));
    assert_false(pg_settle(work, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_LEASE_LOST);
    pg_close(work);
    lease_release(second);
    lease_release(first);
    pg_close(other);
}

static void test_lease__beats_pass_the_fence(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a"), b = opts_of("b");
    struct pg_client *work = open_as(scene, "a"), *other = open_as(scene, "b");
    struct lease *second = NULL;
    a.ttl_ms = 900;
    struct lease *first = claim(scene, scene->client, &a);
    do_on(scene, work, "begin");
    must(scene, lease_fence(first, work, &scene->err));
    must(scene, pg_settle(work, &scene->err));
    /* Also while somebody waits for the row with a stronger lock. */
    b.wait_ms = 2000;
    assert_false(lease_claim(other, &b, &second, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_LEASE_HELD);
    assert_false(neap_run_stopping(&scene->run));
    assert_int_equal(pg_scene_int(scene, "select count(*) from neap.lease where beat_at >"
                                         " acquired_at + '1s' and expires_at > clock_timestamp()"),
                     1);
    do_on(scene, work, "commit");
    lease_release(first);
    pg_close(work);
    pg_close(other);
}

static void test_lease__a_lost_lease_stops_the_run(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a");
    struct pg_client *other = open_as(scene, "b");
    a.ttl_ms = 1200;
    struct lease *lease = claim(scene, scene->client, &a);
    do_on(scene, other, "update neap.lease set token = nextval('neap.lease_token'), run_id = 'b'");
    wait_ms(scene, 1000);
    assert_true(neap_run_stopping(&scene->run));
    assert_int_equal(scene->run.stop.code, NEAP_ERR_LEASE_LOST);
    lease_release(lease);
    pg_close(other);
}

/* Stopped for longer than the lease is good for: no claim beyond it. */
/* A script that computes: no beat is sent, and nobody takes the lease meanwhile. */
static void test_lease__a_late_beat_renews_what_nobody_took(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a");
    a.ttl_ms = 1200;
    struct lease *lease = claim(scene, scene->client, &a);
    int64_t token = lease_token(lease);
    for (int i = 0; i < 2; i++) { /* the second with the first's answer unread, at times */
        usleep(1500000);
        wait_ms(scene, 200);
        assert_false(neap_run_stopping(&scene->run));
    }
    assert_int_equal(pg_scene_int(scene, "select token from neap.lease where expires_at >"
                                         " clock_timestamp()"),
                     token);
    lease_release(lease);
}

static void test_lease__a_late_beat_finds_another_holder(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a");
    struct pg_client *other = open_as(scene, "b");
    a.ttl_ms = 1200;
    struct lease *first = claim(scene, scene->client, &a);
    usleep(1500000);
    char sql[200];
    snprintf(sql, sizeof sql, "select neap.claim_lease(%lld, true, '%s', 'b', '', '', true, 30000)",
             (long long)lease_token(first), IDENTITY);
    do_on(scene, other, sql);
    for (int i = 0; i < 100 && !neap_run_stopping(&scene->run); i++)
        wait_ms(scene, 50);
    assert_int_equal(scene->run.stop.code, NEAP_ERR_LEASE_LOST);
    assert_non_null(strstr(scene->run.stop.message, "another run took"));
    lease_release(first);
    pg_close(other);
}

/* It is the server that is silent, while the loop runs. */
static void test_lease__silence_for_its_time_loses_it(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a");
    struct pg_client *blocker = open_as(scene, "x");
    a.ttl_ms = 1200;
    struct lease *lease = claim(scene, scene->client, &a);
    do_on(scene, blocker, "begin");
    do_on(scene, blocker, "lock table neap.lease in access exclusive mode");
    int64_t begun_ms = neap_clock_ms();
    while (!neap_run_stopping(&scene->run) && neap_clock_ms() - begun_ms < 5000)
        wait_ms(scene, 20);
    assert_int_equal(scene->run.stop.code, NEAP_ERR_LEASE_LOST);
    assert_non_null(strstr(scene->run.stop.message, "expired"));
    pg_close(blocker);
    lease_release(lease);
}

/* Slept over its time, and the beat that asks then is not answered either. */
static void test_lease__silence_after_a_sleep_loses_it(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a");
    struct pg_client *blocker = open_as(scene, "x");
    a.ttl_ms = 1200;
    struct lease *lease = claim(scene, scene->client, &a);
    do_on(scene, blocker, "begin");
    do_on(scene, blocker, "lock table neap.lease in access exclusive mode");
    usleep(1500000);
    int64_t begun_ms = neap_clock_ms();
    while (!neap_run_stopping(&scene->run) && neap_clock_ms() - begun_ms < 5000)
        wait_ms(scene, 20);
    assert_int_equal(scene->run.stop.code, NEAP_ERR_LEASE_LOST);
    pg_close(blocker);
    lease_release(lease);
}

static void test_lease__sessions_of_the_old_run_are_waited_for(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts b = opts_of("b");
    struct pg_client *left = open_as(scene, "a");
    struct lease *lease = NULL;
    pg_scene_do(scene, "insert into neap.lease (token, identity, run_id, backend_pid, expires_at)"
                       " values (nextval('neap.lease_token'), '" IDENTITY "', 'a', 1,"
                       " '-infinity')");
    b.wait_ms = 600;
    assert_false(lease_claim(scene->client, &b, &lease, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_LEASE_HELD);
    assert_non_null(strstr(scene->err.detail, "still at work"));
    pg_close(left);
    b.wait_ms = 5000;
    lease = claim(scene, scene->client, &b);
    lease_release(lease);
}

/* A pooler's idle session has the name of the run that it served last. */
static void test_lease__idle_sessions_of_a_pool_are_not_waited_for(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts b = opts_of("b");
    struct pg_client *pooled = open_as(scene, "a");
    struct lease *lease = NULL;
    pg_scene_do(scene, "insert into neap.lease (token, identity, run_id, backend_pid, expires_at,"
                       " released_at) values (nextval('neap.lease_token'), '" IDENTITY "', 'a', 0,"
                       " '-infinity', clock_timestamp())");
    do_on(scene, pooled, "begin");
    assert_false(lease_claim(scene->client, &b, &lease, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_LEASE_HELD);
    pg_scene_do(scene, "update neap.lease set run_id = 'a', backend_pid = 0");
    do_on(scene, pooled, "rollback");
    lease = claim(scene, scene->client, &b);
    lease_release(lease);
    pg_close(pooled);
}

/* B took it from A and ended while it waited for A's session; C waits for it too. */
static void test_lease__sessions_of_older_runs_are_waited_for(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts b = opts_of("b"), c = opts_of("c");
    struct pg_client *left = open_as(scene, "a");
    struct lease_holder holder;
    struct lease *lease = NULL;
    bool found;
    pg_scene_do(scene, "insert into neap.lease (token, identity, run_id, backend_pid, expires_at)"
                       " values (nextval('neap.lease_token'), '" IDENTITY "', 'a', 1,"
                       " '-infinity')");
    b.wait_ms = c.wait_ms = 1500;
    assert_false(lease_claim(scene->client, &b, &lease, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_LEASE_HELD);
    neap_error_clear(&scene->err);
    must(scene, lease_look(scene->client, IDENTITY, &found, &holder, &scene->err));
    assert_true(found);
    assert_string_equal(holder.run_id, "b");
    lease_holder_clear(&holder);
    assert_false(lease_claim(scene->client, &c, &lease, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_LEASE_HELD);
    neap_error_clear(&scene->err);
    pg_close(left);
    c.wait_ms = 20000;
    lease = claim(scene, scene->client, &c);
    lease_release(lease);
    must(scene, lease_look(scene->client, IDENTITY, &found, &holder, &scene->err));
    assert_false(found);
}

static void test_lease__refence_waits_for_the_transaction(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a");
    struct pg_client *work = open_as(scene, "a");
    struct lease *lease = claim(scene, scene->client, &a);
    int64_t token = lease_token(lease);
    do_on(scene, work, "begin");
    must(scene, lease_fence(lease, work, &scene->err));
    must(scene, pg_settle(work, &scene->err));
    assert_false(lease_refence(lease, scene->client, 1200, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_LOCK_TIMEOUT);
    pg_close(work);
    must(scene, lease_refence(lease, scene->client, 5000, &scene->err));
    assert_true(lease_token(lease) > token);
    assert_false(neap_run_stopping(&scene->run));
    lease_release(lease);
}

/* The control session was lost with a beat in flight; another takes its place. */
static void test_lease__refence_on_another_session(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a");
    struct pg_client *control = open_as(scene, "a");
    a.ttl_ms = 1500;
    struct lease *lease = claim(scene, control, &a);
    pg_scene_do(scene, "begin");
    pg_scene_do(scene, "lock table neap.lease in access exclusive mode");
    wait_ms(scene, 700); /* a beat hangs */
    pg_close(control);
    pg_scene_do(scene, "commit");
    must(scene, lease_refence(lease, scene->client, 5000, &scene->err));
    wait_ms(scene, 2000); /* and it beats there */
    assert_false(neap_run_stopping(&scene->run));
    lease_release(lease);
}

/* The table is unlogged: a server that crashed has emptied it. Nobody took it then. */
static void test_lease__refence_after_a_crash_takes_it_again(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a");
    struct lease *lease = claim(scene, scene->client, &a);
    int64_t token = lease_token(lease);
    pg_scene_do(scene, "truncate neap.lease");
    must(scene, lease_refence(lease, scene->client, 5000, &scene->err));
    assert_true(lease_token(lease) > token);
    assert_false(neap_run_stopping(&scene->run));
    assert_int_equal(pg_scene_int(scene, "select token from neap.lease where run_id = 'a'"),
                     lease_token(lease));
    lease_release(lease);
}

/* Somebody else's token in the row: what is left of ours gets nothing any more. */
static void test_lease__a_taken_lease_is_neither_fence_nor_renewed(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a");
    a.ttl_ms = 1500;
    struct lease *lease = claim(scene, scene->client, &a);
    pg_scene_do(scene, "update neap.lease set token = nextval('neap.lease_token'), run_id = 'b'");
    assert_false(lease_refence(lease, scene->client, 1000, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_LEASE_LOST);
    neap_error_clear(&scene->err);
    wait_ms(scene, 1000); /* no beat of ours is sent any more */
    assert_false(lease_fence(lease, scene->client, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_LEASE_LOST);
    neap_error_clear(&scene->err);
    lease_release(lease);
    assert_int_equal(
        pg_scene_int(scene, "select count(*) from neap.lease where released_at is null"), 1);
}

static void test_lease__half_a_minute_is_the_default(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a");
    a.ttl_ms = 0;
    struct lease *lease = claim(scene, scene->client, &a);
    int64_t left_s = pg_scene_int(
        scene, "select extract(epoch from expires_at - clock_timestamp())::bigint from neap.lease");
    assert_in_range(left_s, 1, 30); /* less on a machine that was busy */
    lease_release(lease);
}

/* A lost control session: each question says so, none is answered "free". */
static void test_lease__a_lost_session_knows_nothing(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a");
    struct pg_client *control = open_as(scene, "a");
    struct lease *lease = NULL;
    struct lease_holder holder;
    bool found = false;
    pg_scene_do(scene, "select pg_terminate_backend(pid) from pg_stat_activity"
                       " where application_name = 'neap:a'");
    wait_ms(scene, 300);
    assert_false(lease_look(control, IDENTITY, &found, &holder, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_LOST);
    neap_error_clear(&scene->err);
    assert_false(lease_claim(control, &a, &lease, &scene->err));
    assert_null(lease);
    assert_int_equal(scene->err.code, NEAP_ERR_DB_LOST);
    neap_error_clear(&scene->err);
    assert_false(lease_break(control, &a, true, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_LOST);
    neap_error_clear(&scene->err);
    pg_close(control);
}

static void test_lease__break_ends_another_s(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a"), b = opts_of("b");
    struct pg_client *held = open_as(scene, "a"), *work = open_as(scene, "a");
    struct lease_holder holder;
    bool found;
    struct lease *first = claim(scene, held, &a);
    do_on(scene, work, "begin");
    must(scene, lease_fence(first, work, &scene->err));
    must(scene, pg_settle(work, &scene->err));
    b.wait_ms = 1300;
    assert_false(lease_break(scene->client, &b, false, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_LEASE_HELD);
    b.wait_ms = 5000;
    must(scene, lease_break(scene->client, &b, true, &scene->err));
    must(scene, lease_look(scene->client, IDENTITY, &found, &holder, &scene->err));
    assert_false(found);
    must(scene, lease_break(scene->client, &b, false, &scene->err)); /* nobody holds it */
    lease_release(first);
    pg_close(held);
    pg_close(work);
}

/* The sign of life of a session behind a pooler is its expiry alone. */
static void test_lease__a_pooled_holder_is_named_by_its_expiry(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a"), b = opts_of("b");
    struct pg_client *other = open_as(scene, "b");
    struct lease *second = NULL;
    a.direct = false;
    struct lease *first = claim(scene, scene->client, &a);
    assert_false(lease_claim(other, &b, &second, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_LEASE_HELD);
    assert_int_equal(strncmp(scene->err.detail, "Without a sign of life it expires at 2", 38), 0);
    lease_release(first);
    pg_close(other);
}

static void interrupt(void *arg)
{
    neap_run_stop(arg, NEAP_ERR_RUN_INTERRUPTED, "the test interrupts");
}

enum wait { CLAIM, BREAK };

/* The wait is interrupted, between two tries, and says so. */
static void interrupted(struct pg_scene *scene, enum wait what, const struct lease_opts *opts)
{
    struct lease *lease = NULL;
    struct neap_timer *timer =
        neap_timer_begin(scene->loop, what == CLAIM ? 1500 : 600, 60000, interrupt, &scene->run);
    assert_false(what == CLAIM ? lease_claim(scene->client, opts, &lease, &scene->err)
                               : lease_break(scene->client, opts, false, &scene->err));
    neap_timer_end(timer);
    assert_null(lease);
    assert_int_equal(scene->err.code, NEAP_ERR_RUN_INTERRUPTED);
    neap_error_clear(&scene->err);
    pg_failure_clear(scene->client);
    neap_run_clear(&scene->run);
    neap_run_init(&scene->run);
}

/* Each of the three waits: nothing is taken from the holder, and nothing is kept. */
static void test_lease__a_wait_can_be_interrupted(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a"), b = opts_of("b");
    struct pg_client *control = open_as(scene, "a"), *work = open_as(scene, "a");
    struct lease *first = claim(scene, control, &a);
    b.wait_ms = 60000;
    interrupted(scene, CLAIM, &b);
    do_on(scene, work, "begin");
    must(scene, lease_fence(first, work, &scene->err));
    must(scene, pg_settle(work, &scene->err));
    interrupted(scene, BREAK, &b);
    do_on(scene, work, "rollback");
    assert_int_equal(pg_scene_int(scene, "select token from neap.lease"), lease_token(first));
    assert_false(lease_is_lost(first));

    /* The row is free, and a session of the run before is not: given back at once. */
    lease_release(first);
    interrupted(scene, CLAIM, &b);
    assert_int_equal(pg_scene_int(scene, "select count(*) from neap.lease where run_id = 'b' and"
                                         " released_at is not null and earlier = '{a}'"),
                     1);
    pg_close(work);
    pg_close(control);
}

static void terminate(void *arg)
{
    kill(*(pid_t *)arg, SIGTERM);
}

/* The session is lost while the run before is waited for: that is said, and the lease
 * is free for the next one at once. */
static void test_lease__a_wait_ends_with_its_session(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts b = opts_of("b"), c = opts_of("c");
    struct pg_client *left = open_as(scene, "a"), *control = open_as(scene, "b");
    struct lease *lease = NULL;
    pid_t backend = PQbackendPID(pg_raw(control));
    pg_scene_do(scene, "insert into neap.lease (token, identity, run_id, backend_pid, expires_at)"
                       " values (nextval('neap.lease_token'), '" IDENTITY "', 'a', 1,"
                       " '-infinity')");
    struct neap_timer *timer = neap_timer_begin(scene->loop, 500, 60000, terminate, &backend);
    b.wait_ms = 60000;
    assert_false(lease_claim(control, &b, &lease, &scene->err));
    neap_timer_end(timer);
    assert_null(lease);
    assert_int_equal(scene->err.code, NEAP_ERR_DB_LOST);
    neap_error_clear(&scene->err);
    pg_close(control);
    pg_close(left);
    c.wait_ms = 10000; /* less than it would take to expire */
    lease = claim(scene, scene->client, &c);
    lease_release(lease);
}

/* No beat ran for longer than it is good for: the row decides, once it is asked. */
static void test_lease__who_asks_after_its_time_looks_at_the_row(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a");
    struct pg_client *control = open_as(scene, "a");
    a.ttl_ms = 600;
    struct lease *lease = claim(scene, control, &a);
    usleep(900000);
    assert_false(lease_is_lost(lease));
    assert_false(neap_run_stopping(&scene->run));
    assert_int_equal(pg_scene_int(scene, "select count(*) from neap.lease"
                                         " where expires_at > clock_timestamp()"),
                     1);
    pg_scene_do(scene, "update neap.lease set token = nextval('neap.lease_token'), run_id = 'b'");
    usleep(900000);
    assert_true(lease_is_lost(lease));
    assert_int_equal(scene->run.stop.code, NEAP_ERR_LEASE_LOST);
    assert_non_null(strstr(scene->run.stop.message, "another run took"));
    lease_release(lease);
    pg_close(control);
}

/* Asked, and not answered in time: nobody may believe in it any more. */
static void test_lease__who_asks_a_silent_server_has_lost_it(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a");
    struct pg_client *control = open_as(scene, "a");
    a.ttl_ms = 600;
    struct lease *lease = claim(scene, control, &a);
    pg_scene_do(scene, "begin");
    pg_scene_do(scene, "lock table neap.lease in access exclusive mode");
    usleep(900000);
    assert_true(lease_is_lost(lease));
    assert_int_equal(scene->run.stop.code, NEAP_ERR_LEASE_LOST);
    assert_non_null(strstr(scene->run.stop.message, "expired"));
    neap_run_clear(&scene->run);
    neap_run_init(&scene->run);
    pg_scene_do(scene, "rollback");
    lease_release(lease);
    pg_close(control);
}

/* A refusal is not taken for a lock that is held. */
static void test_lease__what_may_not_be_broken_stays(void **state)
{
    struct pg_scene *scene = *state;
    struct lease_opts a = opts_of("a"), b = opts_of("b");
    struct lease *first = claim(scene, scene->client, &a);
    struct pg_client *other = open_as(scene, "b");
    pg_scene_do(scene, "drop role if exists guest");
    pg_scene_do(scene, "create role guest");
    pg_scene_do(scene, "grant usage on schema neap to guest");
    pg_scene_do(scene, "grant select on neap.lease to guest");
    do_on(scene, other, "set role guest");
    b.wait_ms = 60000;
    assert_false(lease_break(other, &b, false, &scene->err));
    assert_string_equal(scene->err.sqlstate, "42501");
    neap_error_clear(&scene->err);
    assert_int_equal(pg_scene_int(scene, "select token from neap.lease"), lease_token(first));
    lease_release(first);
    pg_close(other);
    pg_scene_do(scene, "drop owned by guest");
    pg_scene_do(scene, "drop role guest");
}

#define CASE(name) cmocka_unit_test_setup_teardown(test_lease__##name, lease_begin, pg_scene_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(one_holder_at_a_time),
        CASE(no_schema_is_no_holder),
        CASE(a_wait_ends_with_the_release),
        CASE(a_wait_has_an_end),
        CASE(a_dead_holder_is_replaced_at_once),
        CASE(another_database_s_row_is_no_lock),
        CASE(the_fence_holds_a_takeover_back),
        CASE(beats_pass_the_fence),
        CASE(a_lost_lease_stops_the_run),
        CASE(a_late_beat_renews_what_nobody_took),
        CASE(a_late_beat_finds_another_holder),
        CASE(silence_for_its_time_loses_it),
        CASE(silence_after_a_sleep_loses_it),
        CASE(sessions_of_the_old_run_are_waited_for),
        CASE(a_taken_lease_is_neither_fence_nor_renewed),
        CASE(half_a_minute_is_the_default),
        CASE(a_lost_session_knows_nothing),
        CASE(idle_sessions_of_a_pool_are_not_waited_for),
        CASE(sessions_of_older_runs_are_waited_for),
        CASE(refence_waits_for_the_transaction),
        CASE(refence_on_another_session),
        CASE(refence_after_a_crash_takes_it_again),
        CASE(break_ends_another_s),
        CASE(a_pooled_holder_is_named_by_its_expiry),
        CASE(a_wait_can_be_interrupted),
        CASE(a_wait_ends_with_its_session),
        CASE(who_asks_after_its_time_looks_at_the_row),
        CASE(who_asks_a_silent_server_has_lost_it),
        CASE(what_may_not_be_broken_stays),
    };
    return cmocka_run_group_tests(tests, pg_fixture_begin, pg_fixture_end);
}
