/* SPDX-License-Identifier: MIT
 *
 * Stops and deadlines end the statement on the server and leave the client
 * usable, or lost, and never hanging.
 */
#include "tests/unit/pg_fixture.h"

static struct pg_statement plain(const char *sql)
{
    return (struct pg_statement){.sql = sql, .call_id = -1, .where_file = "m.lua", .where_line = 4};
}

static void test_pg_cancel__the_deadline_ends_a_statement(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_statement statement = plain("select pg_sleep(60)");
    int64_t begin_ms = neap_clock_ms();

    scene->run.deadline_ms = begin_ms + 200;
    assert_false(pg_exec(scene->client, &statement, NULL, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_RUN_DEADLINE);
    assert_string_equal(scene->err.sql, statement.sql);
    assert_string_equal(scene->err.where_file, "m.lua");
    assert_non_null(strstr(scene->err.detail, "waited for the server: select"));
    assert_true(neap_clock_ms() - begin_ms < TEST_HANG_MS);
    assert_false(pg_is_lost(scene->client));
    assert_false(pg_exec_text(scene->client, "select 1", 0, NULL, NULL, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_RUN_DEADLINE);
    pg_cleanup(scene->client, true);
    assert_int_equal(pg_scene_int(scene, "select 1"), 1); /* a rollback would pass */
    assert_int_equal(pg_scene_int(scene, "select count(*) from pg_stat_activity"
                                         " where query like '%pg_sleep(30)' and state = 'active'"
                                         " and pid <> pg_backend_pid()"),
                     0);
}

static void test_pg_cancel__a_pipeline_is_drained(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_op *last = NULL;
    struct pg_statement statement = plain("select 1");

    assert_true(pg_pipeline_begin(scene->client, &scene->err));
    assert_true(pg_send_text(scene->client, "begin", 0, NULL, &scene->err));
    assert_true(pg_send_text(scene->client, "select pg_sleep(30)", 0, NULL, &scene->err));
    for (int i = 0; i < 400; i++)
        assert_true(pg_send(scene->client, &statement, i == 399 ? &last : NULL, &scene->err));
    scene->run.deadline_ms = neap_clock_ms() + 100;
    assert_false(pg_wait(scene->client, last, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_RUN_DEADLINE);
    assert_true(pg_op_is_done(last));
    pg_op_free(last);
    assert_false(pg_is_lost(scene->client));
    assert_int_equal(pg_failure(scene->client)->code, NEAP_ERR_RUN_DEADLINE);
    pg_cleanup(scene->client, true);
    assert_true(pg_exec_text(scene->client, "rollback", 0, NULL, NULL, &scene->err));
}

static void test_pg_cancel__a_stream_is_drained(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_statement statement = plain("select generate_series(1, 50000000)");
    struct pg_op *op = NULL;
    PGresult *row = NULL;

    statement.rows = true;
    assert_true(pg_send(scene->client, &statement, &op, &scene->err));
    assert_true(pg_next_row(scene->client, op, &row, &scene->err));
    PQclear(row);
    pg_cancel(scene->client);
    assert_true(pg_op_is_done(op));
    pg_op_free(op);
    assert_false(pg_is_lost(scene->client));
    assert_string_equal(pg_failure(scene->client)->sqlstate, "57014");
    pg_failure_clear(scene->client);
    assert_int_equal(pg_scene_int(scene, "select 1"), 1);
}

/* Cancelled a thousand times at random moments, never the next statement. */
static void test_pg_cancel__the_next_statement_is_never_hit(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_statement statement = plain("select pg_sleep(0.001)");

    for (int i = 0; i < 300; i++) {
        struct pg_op *op = NULL;

        assert_true(pg_send(scene->client, &statement, &op, &scene->err));
        usleep((useconds_t)(i * 37 % 3000));
        pg_cancel(scene->client);
        pg_op_free(op);
        pg_failure_clear(scene->client);
        assert_int_equal(pg_scene_int(scene, "select 1 from pg_sleep(0.0005)"), 1);
    }
}

static void test_pg_cancel__nothing_to_cancel_is_nothing(void **state)
{
    struct pg_scene *scene = *state;

    pg_cancel(scene->client);
    assert_int_equal(pg_scene_int(scene, "select 1"), 1);
}

/* The server is stopped (SIGSTOP): neither the statement nor the cancel request
 * is answered. The client gives up after 5 s, and its thread may come later. */
static void test_pg_cancel__a_dead_server_costs_five_seconds(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_statement statement = plain("select pg_sleep(60)");
    pid_t backend = PQbackendPID(pg_raw(scene->client));
    int64_t begin_ms = neap_clock_ms();

    kill(backend, SIGSTOP);
    kill(pg_fixture.server, SIGSTOP);
    scene->run.deadline_ms = begin_ms + 100;
    assert_false(pg_exec(scene->client, &statement, NULL, &scene->err));
    int64_t took_ms = neap_clock_ms() - begin_ms;

    kill(pg_fixture.server, SIGCONT);
    kill(backend, SIGCONT);
    assert_int_equal(scene->err.code, NEAP_ERR_RUN_DEADLINE);
    assert_true(pg_is_lost(scene->client));
    assert_in_range(took_ms, 4900, TEST_HANG_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PG_SCENE(test_pg_cancel__the_deadline_ends_a_statement),
        PG_SCENE(test_pg_cancel__a_pipeline_is_drained),
        PG_SCENE(test_pg_cancel__a_stream_is_drained),
        PG_SCENE(test_pg_cancel__the_next_statement_is_never_hit),
        PG_SCENE(test_pg_cancel__nothing_to_cancel_is_nothing),
        PG_SCENE(test_pg_cancel__a_dead_server_costs_five_seconds),
    };

    return cmocka_run_group_tests(tests, pg_fixture_begin, pg_fixture_end);
}
