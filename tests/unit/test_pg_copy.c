/* SPDX-License-Identifier: MIT
 *
 * COPY both ways: whole, failing at either end, stopped, inside a pipeline.
 */
#include "tests/unit/pg_fixture.h"

struct source {
    int64_t rows_left;
    int64_t fail_at; /* rows left when it fails; -1: never */
    struct neap_run *stop_at_half;
    char chunk[200000];
};

static bool give_rows(void *arg, const char **bytes, size_t *length, struct neap_error *err)
{
    struct source *source = arg;
    size_t used = 0;

    if (source->rows_left == source->fail_at) {
        neap_error_set(err, NEAP_ERR_SCRIPT_ERROR, "the producer broke");
        return false;
    }
    if (source->stop_at_half && source->rows_left <= 50000)
        neap_run_stop(source->stop_at_half, NEAP_ERR_RUN_INTERRUPTED, "interrupted");
    for (int i = 0; i < 10000 && source->rows_left > 0; i++, source->rows_left--)
        used += (size_t)snprintf(source->chunk + used, sizeof source->chunk - used, "%d\tr\n",
                                 (int)source->rows_left);
    *bytes = source->chunk;
    *length = used;
    return used > 0;
}

struct sink {
    int64_t row_count, fail_at, byte_count;
    struct neap_run *stop;
};

static bool take_row(void *arg, const char *bytes, size_t length, struct neap_error *err)
{
    struct sink *sink = arg;

    assert_int_equal(bytes[length - 1], '\n');
    sink->byte_count += (int64_t)length;
    if (++sink->row_count != sink->fail_at)
        return true;
    if (sink->stop) {
        neap_run_stop(sink->stop, NEAP_ERR_RUN_INTERRUPTED, "interrupted");
        return true;
    }
    neap_error_set(err, NEAP_ERR_SCRIPT_ERROR, "the consumer broke");
    return false;
}

static struct pg_statement in_statement(void)
{
    return (struct pg_statement){.sql = "copy target from stdin", .call_id = -1};
}

static bool copy_rows(struct pg_scene *scene, struct source *source, int64_t *row_count)
{
    struct pg_statement statement = in_statement();
    struct pg_copy copy = {.statement = &statement, .more = give_rows, .arg = source};

    return pg_copy_in(scene->client, &copy, row_count, &scene->err);
}

static bool take_rows(struct pg_scene *scene, const char *sql, struct sink *sink,
                      int64_t *row_count)
{
    struct pg_statement statement = {.sql = sql, .call_id = -1};
    struct pg_copy copy = {.statement = &statement, .take = take_row, .arg = sink};

    return pg_copy_out(scene->client, &copy, row_count, &scene->err);
}

static int begin_scene(void **state)
{
    pg_scene_begin(state);
    pg_scene_do(*state, "create temp table target(a int, b text)");
    return 0;
}

static void test_pg_copy__rows_go_in_and_out(void **state)
{
    struct pg_scene *scene = *state;
    struct source source = {.rows_left = 1000000, .fail_at = -1};
    struct sink sink = {0};
    int64_t row_count = 0;

    assert_true(copy_rows(scene, &source, &row_count));
    assert_int_equal(row_count, 1000000);
    assert_int_equal(pg_scene_int(scene, "select count(*) from target"), 1000000);
    assert_true(take_rows(scene, "copy target to stdout", &sink, &row_count));
    assert_int_equal(row_count, 1000000);
    assert_int_equal(sink.row_count, 1000000);
}

static void test_pg_copy__nothing_is_a_copy_too(void **state)
{
    struct pg_scene *scene = *state;
    struct source source = {.fail_at = -1};
    struct sink sink = {0};
    int64_t row_count = -1;

    assert_true(copy_rows(scene, &source, &row_count));
    assert_int_equal(row_count, 0);
    assert_true(take_rows(scene, "copy target to stdout", &sink, &row_count));
    assert_int_equal(sink.row_count, 0);
}

static void test_pg_copy__a_failing_producer_leaves_nothing(void **state)
{
    struct pg_scene *scene = *state;
    struct source source = {.rows_left = 100000, .fail_at = 50000};

    assert_false(copy_rows(scene, &source, NULL));
    assert_int_equal(scene->err.code, NEAP_ERR_SCRIPT_ERROR);
    assert_string_equal(scene->err.message, "the producer broke");
    assert_int_equal(pg_failure(scene->client)->code, NEAP_ERR_SCRIPT_ERROR);
    pg_failure_clear(scene->client);
    assert_int_equal(pg_scene_int(scene, "select count(*) from target"), 0);
}

static void test_pg_copy__the_server_may_refuse(void **state)
{
    struct pg_scene *scene = *state;
    struct source source = {.rows_left = 200000, .fail_at = -1};

    pg_scene_do(scene, "alter table target add check (a <> 199990)");
    assert_false(copy_rows(scene, &source, NULL));
    assert_string_equal(scene->err.sqlstate, "23514");
    assert_non_null(strstr(scene->err.detail, "COPY target, line"));
    pg_failure_clear(scene->client);
    assert_int_equal(pg_scene_int(scene, "select count(*) from target"), 0);
}

static void test_pg_copy__a_failing_consumer_ends_it(void **state)
{
    struct pg_scene *scene = *state;
    struct sink sink = {.fail_at = 1000};

    assert_false(
        take_rows(scene, "copy (select generate_series(1, 5000000)) to stdout", &sink, NULL));
    assert_string_equal(scene->err.message, "the consumer broke");
    assert_int_equal(sink.row_count, 1000);
    assert_false(pg_is_lost(scene->client));
    pg_failure_clear(scene->client);
    assert_int_equal(pg_scene_int(scene, "select 2"), 2);
}

static void test_pg_copy__an_error_midway_comes_out(void **state)
{
    struct pg_scene *scene = *state;
    struct sink sink = {0};

    assert_false(take_rows(
        scene, "copy (select 1/(500-n) from generate_series(1, 1000) n) to stdout", &sink, NULL));
    assert_string_equal(scene->err.sqlstate, "22012");
    assert_int_equal(sink.row_count, 499);
}

static void test_pg_copy__the_stop_ends_both(void **state)
{
    struct pg_scene *scene = *state;
    struct source source = {.rows_left = 100000, .fail_at = -1, .stop_at_half = &scene->run};
    struct sink sink = {.fail_at = 1000, .stop = &scene->run};

    assert_false(copy_rows(scene, &source, NULL));
    assert_int_equal(scene->err.code, NEAP_ERR_RUN_INTERRUPTED);
    assert_false(pg_is_lost(scene->client));
    neap_run_clear(&scene->run);
    neap_run_init(&scene->run);
    pg_failure_clear(scene->client);
    assert_int_equal(pg_scene_int(scene, "select count(*) from target"), 0);
    assert_false(
        take_rows(scene, "copy (select generate_series(1, 5000000)) to stdout", &sink, NULL));
    assert_int_equal(scene->err.code, NEAP_ERR_RUN_INTERRUPTED);
    assert_false(pg_is_lost(scene->client));
}

static void test_pg_copy__a_pipeline_makes_way(void **state)
{
    struct pg_scene *scene = *state;
    struct source source = {.rows_left = 10, .fail_at = -1};
    struct source broken = {.rows_left = 10, .fail_at = 10};
    struct sink sink = {0};

    assert_true(pg_pipeline_begin(scene->client, &scene->err));
    assert_true(pg_send_text(scene->client, "begin", 0, NULL, &scene->err));
    assert_true(pg_send_text(scene->client, "insert into target values (0)", 0, NULL, &scene->err));
    assert_true(copy_rows(scene, &source, NULL));
    assert_true(pg_send_text(scene->client, "insert into target values (0)", 0, NULL, &scene->err));
    assert_true(take_rows(scene, "copy target to stdout", &sink, NULL));
    assert_int_equal(sink.row_count, 12);
    assert_int_equal(PQpipelineStatus(pg_raw(scene->client)), PQ_PIPELINE_ON);
    assert_false(copy_rows(scene, &broken, NULL));
    assert_int_equal(PQpipelineStatus(pg_raw(scene->client)), PQ_PIPELINE_ON);
    assert_int_equal(pg_transaction_status(scene->client), PQTRANS_INERROR);
}

static void test_pg_copy__other_statements_are_refused(void **state)
{
    struct pg_scene *scene = *state;
    struct source source = {.rows_left = 10, .fail_at = -1};
    struct pg_statement statement = {.sql = "select 1", .call_id = -1};
    struct pg_copy copy = {.statement = &statement, .more = give_rows, .arg = &source};
    struct sink sink = {0};

    assert_false(pg_copy_in(scene->client, &copy, NULL, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_ARGUMENT);
    pg_failure_clear(scene->client);
    assert_false(take_rows(scene, "copy target from stdin", &sink, NULL));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_ARGUMENT);
    pg_failure_clear(scene->client);
    assert_int_equal(pg_scene_int(scene, "select 1"), 1);
}

static bool kill_backend(void *arg, const char **bytes, size_t *length, struct neap_error *err)
{
    const pid_t *backend = arg; /* libpq says 0 once it is lost */

    (void)err;
    kill(*backend, SIGTERM);
    usleep(1000);
    *bytes = "1\tx\n";
    *length = 4;
    return true;
}

static void test_pg_copy__a_lost_connection_ends_it(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_statement statement = in_statement();
    pid_t backend = PQbackendPID(pg_raw(scene->client));
    struct pg_copy copy = {.statement = &statement, .more = kill_backend, .arg = &backend};

    assert_false(pg_copy_in(scene->client, &copy, NULL, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_LOST);
    assert_true(pg_is_lost(scene->client));
}

#define SCENE(name) cmocka_unit_test_setup_teardown(name, begin_scene, pg_scene_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE(test_pg_copy__rows_go_in_and_out),
        SCENE(test_pg_copy__nothing_is_a_copy_too),
        SCENE(test_pg_copy__a_failing_producer_leaves_nothing),
        SCENE(test_pg_copy__the_server_may_refuse),
        SCENE(test_pg_copy__a_failing_consumer_ends_it),
        SCENE(test_pg_copy__an_error_midway_comes_out),
        SCENE(test_pg_copy__the_stop_ends_both),
        SCENE(test_pg_copy__a_pipeline_makes_way),
        SCENE(test_pg_copy__other_statements_are_refused),
        SCENE(test_pg_copy__a_lost_connection_ends_it),
    };

    return cmocka_run_group_tests(tests, pg_fixture_begin, pg_fixture_end);
}
