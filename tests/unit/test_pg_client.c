/* SPDX-License-Identifier: MIT
 *
 * The client against a real server: order, errors, pipelines, streams, loss.
 */
#include "tests/unit/pg_fixture.h"

#ifdef NEAP_ASAN
#define PEAK_MAX_KB 400000 /* freed memory stays in quarantine */
#else
#define PEAK_MAX_KB (16000 * (long)test_stride(25)) /* under valgrind likewise */
#endif

static struct pg_statement plain(const char *sql)
{
    return (struct pg_statement){.sql = sql, .call_id = -1};
}

static void test_pg_client__values_pass_through(void **state)
{
    struct pg_scene *scene = *state;
    static const char *const texts[] = {
        "9223372036854775807", "12345678901234567890.123", NULL, "NaN", "infinity", "{1,NULL,3}",
        "{\"a\": 1}"};
    struct pg_op *op = NULL;

    assert_true(pg_exec_text(scene->client,
                             "select $1::int8, $2::numeric, $3::text, $4::float8,"
                             " $5::timestamptz, $6::int[], $7::jsonb, true",
                             7, texts, &op, &scene->err));
    for (int i = 0; i < 7; i++) {
        if (texts[i])
            assert_string_equal(pg_cell(op, 0, i), texts[i]);
        else
            assert_null(pg_cell(op, 0, i));
    }
    assert_true(pg_cell_bool(op, 0, 7));
    assert_int_equal(pg_cell_int(op, 0, 0), INT64_MAX);
    assert_string_equal(pg_op_tag(op), "SELECT 1");
    assert_null(pg_cell(op, 1, 0));
    assert_null(pg_cell(op, 0, 8));
    pg_op_free(op);
}

static void test_pg_client__bytea_is_binary(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_param param = {.value = "a\0\xff", .length = 3, .type = 17, .binary = true};
    struct pg_statement statement = plain("select encode($1, 'hex')");
    struct pg_op *op = NULL;

    statement.params = &param;
    statement.param_count = 1;
    assert_true(pg_exec(scene->client, &statement, &op, &scene->err));
    assert_string_equal(pg_cell(op, 0, 0), "6100ff");
    pg_op_free(op);
}

static void test_pg_client__text_is_checked_before_it_is_sent(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_param params[] = {{.value = "x\0y", .length = 3}, {.value = "\xc0'", .length = -1}};
    struct pg_statement statement = plain("select $1");

    statement.param_count = 1;
    for (int i = 0; i < 2; i++) {
        statement.params = &params[i];
        assert_false(pg_exec(scene->client, &statement, NULL, &scene->err));
        assert_int_equal(scene->err.code, NEAP_ERR_DB_ARGUMENT);
        assert_null(pg_failure(scene->client)); /* nothing was sent */
    }
    assert_false(pg_exec_text(scene->client, "select '\xff'", 0, NULL, NULL, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_ARGUMENT);
    assert_int_equal(pg_scene_int(scene, "select 7"), 7);
}

static void test_pg_client__an_error_is_whole_and_sticky(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_statement statement = plain("select 1 as a, nocolumn from pg_class");

    statement.where_file = "migrations/0001_a.lua";
    statement.where_line = 12;
    assert_false(pg_exec(scene->client, &statement, NULL, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_QUERY);
    assert_string_equal(scene->err.sqlstate, "42703");
    assert_int_equal(scene->err.sql_position, 16);
    assert_string_equal(scene->err.where_file, "migrations/0001_a.lua");
    assert_int_equal(scene->err.where_line, 12);
    assert_string_equal(scene->err.sql, statement.sql);
    assert_false(pg_exec_text(scene->client, "select 1", 0, NULL, NULL, &scene->err));
    assert_string_equal(scene->err.sqlstate, "42703");
    pg_failure_clear(scene->client);
    assert_int_equal(pg_scene_int(scene, "select 1"), 1);
}

static void test_pg_client__one_statement_is_one(void **state)
{
    struct pg_scene *scene = *state;

    assert_false(pg_exec_text(scene->client, "select 1; select 2", 0, NULL, NULL, &scene->err));
    assert_string_equal(scene->err.sqlstate, "42601");
}

static void test_pg_client__sqlstates_are_classified(void **state)
{
    static const struct {
        const char *sql;
        enum neap_error_code code;
    } cases[] = {
        {"do $$ begin raise exception 'x' using errcode = '55P03'; end $$", NEAP_ERR_LOCK_TIMEOUT},
        {"do $$ begin raise exception 'x' using errcode = '40P01'; end $$", NEAP_ERR_LOCK_DEADLOCK},
        {"do $$ begin raise exception 'x' using errcode = '40001'; end $$",
         NEAP_ERR_DB_SERIALIZATION},
        {"select set_config('statement_timeout', '500', false), pg_sleep(0)", NEAP_OK},
        {"select pg_sleep(5)", NEAP_ERR_RUN_DEADLINE},
        {"set statement_timeout = 0", NEAP_OK}, /* or a busy machine ends the rest */
        {"select pg_cancel_backend(pg_backend_pid()), pg_sleep(1)", NEAP_ERR_DB_QUERY},
        {"reset statement_timeout", NEAP_OK},
        {"vacuum", NEAP_OK},
    };
    struct pg_scene *scene = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        neap_error_clear(&scene->err);
        pg_exec_text(scene->client, cases[i].sql, 0, NULL, NULL, &scene->err);
        assert_int_equal(scene->err.code, cases[i].code);
        pg_failure_clear(scene->client);
    }
    pg_scene_do(scene, "begin");
    assert_false(pg_exec_text(scene->client, "vacuum", 0, NULL, NULL, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_NO_TRANSACTION);
    assert_int_equal(pg_transaction_status(scene->client), PQTRANS_INERROR);
}

static void test_pg_client__context_is_kept(void **state)
{
    struct pg_scene *scene = *state;

    assert_false(
        pg_exec_text(scene->client, "do $$ begin perform 1/0; end $$", 0, NULL, NULL, &scene->err));
    assert_string_equal(scene->err.sqlstate, "22012");
    assert_non_null(strstr(scene->err.detail, "PL/pgSQL"));
}

static void test_pg_client__a_pipeline_keeps_order(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_op *ops[3] = {0};

    pg_scene_do(scene, "create temp table ordered(n serial, v text)");
    assert_true(pg_pipeline_begin(scene->client, &scene->err));
    assert_true(pg_send_text(scene->client, "begin", 0, NULL, &scene->err));
    for (int i = 0; i < 3; i++) {
        static const char *const values[] = {"a", "b", "c"};
        struct pg_param param = PG_TEXT(values[i]);
        struct pg_statement statement = plain("insert into ordered(v) values ($1) returning n");

        statement.params = &param;
        statement.param_count = 1;
        assert_true(pg_send(scene->client, &statement, &ops[i], &scene->err));
    }
    assert_true(pg_wait(scene->client, ops[2], &scene->err));
    for (int i = 0; i < 3; i++) {
        assert_true(pg_op_is_done(ops[i]));
        assert_int_equal(pg_cell_int(ops[i], 0, 0), i + 1);
        assert_int_equal(pg_op_row_count(ops[i]), 1);
        pg_op_free(ops[i]);
    }
    assert_int_equal(pg_transaction_status(scene->client), PQTRANS_INTRANS);
    assert_true(pg_exec_text(scene->client, "commit", 0, NULL, &ops[0], &scene->err));
    assert_string_equal(pg_op_tag(ops[0]), "COMMIT");
    pg_op_free(ops[0]);
    assert_true(pg_pipeline_end(scene->client, &scene->err));
    assert_int_equal(pg_scene_int(scene, "select count(*) from ordered"), 3);
}

static void test_pg_client__a_pipeline_names_its_first_failure(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_statement bad = plain("select 1/0");
    struct pg_op *after = NULL;

    bad.where_file = "m.lua";
    bad.where_line = 3;
    assert_true(pg_pipeline_begin(scene->client, &scene->err));
    assert_true(pg_send_text(scene->client, "begin", 0, NULL, &scene->err));
    assert_true(pg_send(scene->client, &bad, NULL, &scene->err));
    struct pg_statement next = plain("select 2");

    assert_true(pg_send(scene->client, &next, &after, &scene->err));
    assert_false(pg_wait(scene->client, after, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_ABORTED);
    assert_non_null(strstr(scene->err.detail, "m.lua:3: division by zero"));
    pg_op_free(after);
    assert_false(pg_settle(scene->client, &scene->err));
    assert_string_equal(scene->err.sqlstate, "22012");
    assert_int_equal(scene->err.where_line, 3);
    assert_false(pg_send_text(scene->client, "select 1", 0, NULL, &scene->err));
    pg_cleanup(scene->client, true);
    assert_true(pg_exec_text(scene->client, "rollback", 0, NULL, NULL, &scene->err));
    pg_cleanup(scene->client, false);
    pg_failure_clear(scene->client);
    assert_true(pg_pipeline_end(scene->client, &scene->err));
    assert_int_equal(pg_transaction_status(scene->client), PQTRANS_IDLE);
}

/* A savepoint's failure is cleared while later statements are still to be
 * answered "aborted": those must not become a new first failure. */
static void test_pg_client__a_cleared_failure_stays_cleared(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_statement bad = plain("select 1/0");
    struct pg_op *op = NULL;

    assert_true(pg_pipeline_begin(scene->client, &scene->err));
    assert_true(pg_send_text(scene->client, "begin", 0, NULL, &scene->err));
    assert_true(pg_send_text(scene->client, "savepoint s", 0, NULL, &scene->err));
    assert_true(pg_send(scene->client, &bad, &op, &scene->err));
    for (int i = 0; i < 50; i++)
        assert_true(pg_send_text(scene->client, "select 3", 0, NULL, &scene->err));
    assert_false(pg_wait(scene->client, op, &scene->err));
    pg_op_free(op);
    pg_failure_clear(scene->client);
    assert_true(pg_exec_text(scene->client, "rollback to s", 0, NULL, NULL, &scene->err));
    assert_int_equal(pg_scene_int(scene, "select 5"), 5);
    assert_true(pg_exec_text(scene->client, "commit", 0, NULL, &op, &scene->err));
    assert_string_equal(pg_op_tag(op), "COMMIT");
    pg_op_free(op);
}

static void test_pg_client__ten_thousand_in_a_pipeline(void **state)
{
    struct pg_scene *scene = *state;
    int64_t count = 10000 / (int64_t)test_stride(10);

    pg_scene_do(scene, "create temp table many(n int)");
    assert_true(pg_pipeline_begin(scene->client, &scene->err));
    assert_true(pg_send_text(scene->client, "begin", 0, NULL, &scene->err));
    for (int64_t i = 0; i < count; i++)
        assert_true(
            pg_send_text(scene->client, "insert into many values (1)", 0, NULL, &scene->err));
    assert_true(pg_send_text(scene->client, "commit", 0, NULL, &scene->err));
    assert_true(pg_pipeline_end(scene->client, &scene->err));
    assert_int_equal(pg_scene_int(scene, "select count(*) from many"), count);
}

/* Both directions full: 100 MB to the server while 100 MB come back. */
static void test_pg_client__neither_side_deadlocks(void **state)
{
    struct pg_scene *scene = *state;
    char *big = neap_alloc(100001);
    struct pg_param param = PG_TEXT(big);
    struct pg_statement statement = plain("select $1::text");

    memset(big, 'x', 100000);
    statement.params = &param;
    statement.param_count = 1;
    assert_true(pg_pipeline_begin(scene->client, &scene->err));
    for (size_t i = 0; i < 1000; i += test_stride(10))
        assert_true(pg_send(scene->client, &statement, NULL, &scene->err));
    assert_true(pg_pipeline_end(scene->client, &scene->err));
    free(big);
}

static void test_pg_client__statements_queue_without_a_pipeline(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_op *last = NULL;
    struct pg_statement statement = plain("select $1::int");

    for (int i = 0; i < 20; i++) {
        char text[16];
        struct pg_param param = PG_TEXT(text);

        snprintf(text, sizeof text, "%d", i); /* gone when its turn comes */
        statement.params = &param;
        statement.param_count = 1;
        assert_true(pg_send(scene->client, &statement, i == 19 ? &last : NULL, &scene->err));
    }
    assert_true(pg_wait(scene->client, last, &scene->err));
    assert_int_equal(pg_cell_int(last, 0, 0), 19);
    pg_op_free(last);
}

static void test_pg_client__what_waits_behind_a_failure_is_not_sent(void **state)
{
    struct pg_scene *scene = *state;

    pg_scene_do(scene, "create temp table unsent(n int)");
    assert_true(pg_send_text(scene->client, "select 1/0", 0, NULL, &scene->err));
    assert_true(pg_send_text(scene->client, "insert into unsent values (1)", 0, NULL, &scene->err));
    assert_false(pg_settle(scene->client, &scene->err));
    assert_string_equal(scene->err.sqlstate, "22012");
    pg_failure_clear(scene->client);
    assert_int_equal(pg_scene_int(scene, "select count(*) from unsent"), 0);
}

struct chain {
    struct pg_scene *scene;
    int turns;
    struct pg_op *op;
};

static void on_chain(void *arg, struct pg_op *op)
{
    struct chain *chain = arg;
    struct pg_statement next = plain("select 1");

    assert_int_equal(pg_cell_int(op, 0, 0), 1);
    next.done = on_chain;
    next.arg = chain;
    pg_op_free(op);
    chain->op = NULL;
    if (++chain->turns < 100)
        assert_true(pg_send(chain->scene->client, &next, &chain->op, NULL));
}

/* Callbacks send and free while somebody waits for another statement. */
static void test_pg_client__callbacks_may_send_and_free(void **state)
{
    struct pg_scene *scene = *state;
    struct chain chain = {.scene = scene};
    struct pg_statement first = plain("select 1");

    first.done = on_chain;
    first.arg = &chain;
    assert_true(pg_send(scene->client, &first, &chain.op, &scene->err));
    assert_int_equal(pg_scene_int(scene, "select 42 from pg_sleep(0.05)"), 42);
    assert_true(pg_settle(scene->client, &scene->err));
    assert_int_equal(chain.turns, 100);
}

static void on_close(void *arg, struct pg_op *op)
{
    struct pg_scene *scene = arg;

    (void)op;
    pg_close(scene->client);
    scene->client = NULL;
}

static void test_pg_client__a_callback_may_close(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_statement first = plain("select 1");

    first.done = on_close;
    first.arg = scene;
    assert_true(pg_send(scene->client, &first, NULL, &scene->err));
    for (int i = 0; i < 200 && scene->client; i++)
        assert_true(neap_loop_sleep(scene->loop, 10, "test", &scene->err));
    assert_null(scene->client);
}

static void stream_all(struct pg_scene *scene, struct pg_op *op, int64_t expected)
{
    PGresult *row = NULL;
    int64_t count = 0;

    do {
        assert_true(pg_next_row(scene->client, op, &row, &scene->err));
        count += row ? PQntuples(row) : 0;
        PQclear(row);
    } while (row);
    assert_int_equal(count, expected);
}

static void test_pg_client__rows_stream_in_constant_memory(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_statement statement =
        plain("select n, 'row ' || n from generate_series(1, 1000000) n");
    struct pg_op *op = NULL;
    long before = pg_fixture_peak_kb();

    statement.rows = true;
    assert_true(pg_send(scene->client, &statement, &op, &scene->err));
    stream_all(scene, op, 1000000);
    assert_int_equal(pg_op_row_count(op), 1000000);
    pg_op_free(op);
    assert_true(pg_fixture_peak_kb() - before < PEAK_MAX_KB);
}

static void test_pg_client__rows_stream_in_a_pipeline(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_statement statement = plain("select generate_series(1, 20000)");
    struct pg_op *op = NULL, *second = NULL, *third = NULL;
    struct pg_statement next = plain("select 5");

    statement.rows = true;
    assert_true(pg_pipeline_begin(scene->client, &scene->err));
    assert_true(pg_send_text(scene->client, "select 1", 0, NULL, &scene->err));
    assert_true(pg_send(scene->client, &statement, &op, &scene->err));
    assert_true(pg_send(scene->client, &next, &second, &scene->err));
    assert_true(pg_send(scene->client, &statement, &third, &scene->err));
    assert_true(pg_wait(scene->client, second, &scene->err)); /* the stream is kept meanwhile */
    stream_all(scene, op, 20000);
    stream_all(scene, third, 20000);
    pg_op_free(op);
    pg_op_free(second);
    pg_op_free(third);
}

static void test_pg_client__a_stream_left_early_drains(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_statement statement = plain("select generate_series(1, 300000)");
    struct pg_op *op = NULL;
    PGresult *row = NULL;

    statement.rows = true;
    assert_true(pg_send(scene->client, &statement, &op, &scene->err));
    assert_true(pg_next_row(scene->client, op, &row, &scene->err));
    PQclear(row);
    pg_op_free(op);
    assert_int_equal(pg_scene_int(scene, "select 6"), 6);
}

static void test_pg_client__a_stream_fails_at_its_row(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_statement statement = plain("select 1/(500-n) from generate_series(1, 1000) n");
    struct pg_op *op = NULL;
    PGresult *row = NULL;
    int count = 0;

    statement.rows = true;
    assert_true(pg_send(scene->client, &statement, &op, &scene->err));
    while (pg_next_row(scene->client, op, &row, &scene->err) && row) {
        PQclear(row);
        count++;
    }
    assert_int_equal(count, 499);
    assert_string_equal(scene->err.sqlstate, "22012");
    pg_op_free(op);
}

static void test_pg_client__a_discarded_result_costs_no_memory(void **state)
{
    struct pg_scene *scene = *state;
    long before = pg_fixture_peak_kb();

    assert_true(pg_send_text(scene->client,
                             "select repeat('x', 1000) from generate_series(1, 200000)", 0, NULL,
                             &scene->err));
    assert_true(pg_settle(scene->client, &scene->err));
    assert_true(pg_fixture_peak_kb() - before < PEAK_MAX_KB);
}

static void test_pg_client__a_lost_connection_stays_lost(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_op *op = NULL;
    struct pg_statement next = plain("select 1");

    assert_true(pg_pipeline_begin(scene->client, &scene->err));
    assert_true(pg_send_text(scene->client, "select pg_terminate_backend(pg_backend_pid())", 0,
                             NULL, &scene->err));
    assert_true(pg_send(scene->client, &next, &op, &scene->err));
    assert_false(pg_wait(scene->client, op, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_LOST);
    pg_op_free(op);
    assert_true(pg_is_lost(scene->client));
    assert_int_equal(pg_failure(scene->client)->code, NEAP_ERR_DB_LOST);
    assert_string_equal(pg_failure(scene->client)->sqlstate, "57P01");
    pg_failure_clear(scene->client);
    pg_cleanup(scene->client, true);
    assert_false(pg_exec_text(scene->client, "rollback", 0, NULL, NULL, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_LOST);
    assert_int_equal(pg_transaction_status(scene->client), PQTRANS_UNKNOWN);
}

/* libpq finds the end while it writes, and closes the socket under the loop. */
static void test_pg_client__a_loss_found_while_writing_is_told(void **state)
{
    struct pg_scene *scene = *state;
    char *big = neap_alloc(100001);
    struct pg_param param = PG_TEXT(big);
    struct pg_statement statement = plain("select $1::text");
    bool sent = true;

    memset(big, 'x', 100000);
    statement.params = &param;
    statement.param_count = 1;
    assert_true(pg_pipeline_begin(scene->client, &scene->err));
    kill(PQbackendPID(pg_raw(scene->client)), SIGTERM);
    usleep(200000);
    for (int i = 0; i < 20 && sent; i++)
        sent = pg_send(scene->client, &statement, NULL, &scene->err);
    assert_false(pg_settle(scene->client, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_LOST);
    assert_true(pg_is_lost(scene->client));
    free(big);
}

static bool is_lost(void *arg)
{
    return pg_is_lost(arg);
}

/* The same at a sync, and whoever waits next waits for something else. */
static void test_pg_client__a_loss_found_by_a_sync_is_told(void **state)
{
    struct pg_scene *scene = *state;
    struct neap_wait wait = {.done = is_lost, .arg = scene->client, .what = "the loss"};

    assert_true(pg_pipeline_begin(scene->client, &scene->err));
    assert_int_equal(shutdown(PQsocket(pg_raw(scene->client)), SHUT_RDWR), 0);
    /* libpq does not tell that it cannot write the first; the second is held back for
     * the loop to write, and the sync finds the socket's end. */
    for (int i = 0; i < 2; i++)
        assert_true(pg_send_text(scene->client, "select 1", 0, NULL, &scene->err));
    assert_false(pg_sync(scene->client, NULL));
    wait.deadline_ms = neap_clock_deadline_ms(10000);
    assert_true(neap_loop_wait(scene->loop, &wait, &scene->err));
    assert_false(pg_settle(scene->client, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_LOST);
}

static void test_pg_client__an_idle_session_s_end_is_explained(void **state)
{
    struct pg_scene *scene = *state;

    pg_scene_do(scene, "set idle_in_transaction_session_timeout = 100");
    pg_scene_do(scene, "begin");
    assert_true(neap_loop_sleep(scene->loop, 500, "the timeout", &scene->err));
    assert_true(pg_is_lost(scene->client));
    assert_false(pg_exec_text(scene->client, "select 1", 0, NULL, NULL, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_LOST);
    assert_string_equal(scene->err.sqlstate, "25P03");
    assert_non_null(strstr(scene->err.message, "idle in transaction"));
}

static void test_pg_client__copy_needs_its_own_door(void **state)
{
    struct pg_scene *scene = *state;

    pg_scene_do(scene, "create temp table copied(a int)");
    for (int i = 0; i < 2; i++) {
        static const char *const sql[] = {"copy copied from stdin", "copy copied to stdout"};

        assert_false(pg_exec_text(scene->client, sql[i], 0, NULL, NULL, &scene->err));
        assert_int_equal(scene->err.code, NEAP_ERR_DB_ARGUMENT);
        assert_non_null(strstr(scene->err.hint, i == 0 ? "copy_in" : "copy_out"));
        pg_failure_clear(scene->client);
        assert_int_equal(pg_scene_int(scene, "select 3"), 3);
    }
    assert_true(pg_pipeline_begin(scene->client, &scene->err));
    assert_false(pg_exec_text(scene->client, "copy copied from stdin", 0, NULL, NULL, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_ARGUMENT);
    assert_true(pg_is_lost(scene->client));
}

struct settled {
    int count, failed;
    int64_t rows;
};

static void on_settle(void *arg, const struct neap_gate_result *result)
{
    struct settled *settled = arg;

    settled->count++;
    settled->failed += result->error != NULL;
    settled->rows += result->row_count > 0 ? result->row_count : 0;
}

static void test_pg_client__every_call_is_settled_once(void **state)
{
    struct pg_scene *scene = *state;
    struct settled settled = {0};
    static const char *const sql[] = {"select generate_series(1, 4)", "select 1/0", "select 1"};

    scene->run.gate = (struct neap_gate_sink){.settle = on_settle, .sink = &settled};
    assert_true(pg_pipeline_begin(scene->client, &scene->err));
    for (int i = 0; i < 3; i++) {
        struct pg_statement statement = plain(sql[i]);

        statement.call_id = i;
        assert_true(pg_send(scene->client, &statement, NULL, &scene->err));
    }
    assert_false(pg_settle(scene->client, &scene->err));
    struct pg_statement refused = plain("select 1");

    refused.call_id = 3;
    assert_false(pg_send(scene->client, &refused, NULL, &scene->err));
    assert_int_equal(settled.count, 4);
    assert_int_equal(settled.failed, 3);
    assert_int_equal(settled.rows, 4);
    scene->run.gate = (struct neap_gate_sink){0};
}

static void test_pg_client__names_and_literals_are_quoted(void **state)
{
    struct pg_scene *scene = *state;
    char *text = NULL;

    assert_true(pg_ident(scene->client, "a\"b", 3, &text, &scene->err));
    assert_string_equal(text, "\"a\"\"b\"");
    free(text);
    assert_true(pg_literal(scene->client, "it's", 4, &text, &scene->err));
    assert_string_equal(text, "'it''s'");
    free(text);
    assert_false(pg_ident(scene->client, "a\0b", 3, &text, &scene->err));
    assert_false(pg_literal(scene->client, "\xc0'", 2, &text, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_ARGUMENT);
    assert_false(pg_ident(scene->client, "", 0, &text, &scene->err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PG_SCENE(test_pg_client__values_pass_through),
        PG_SCENE(test_pg_client__bytea_is_binary),
        PG_SCENE(test_pg_client__text_is_checked_before_it_is_sent),
        PG_SCENE(test_pg_client__an_error_is_whole_and_sticky),
        PG_SCENE(test_pg_client__one_statement_is_one),
        PG_SCENE(test_pg_client__sqlstates_are_classified),
        PG_SCENE(test_pg_client__context_is_kept),
        PG_SCENE(test_pg_client__a_pipeline_keeps_order),
        PG_SCENE(test_pg_client__a_pipeline_names_its_first_failure),
        PG_SCENE(test_pg_client__a_cleared_failure_stays_cleared),
        PG_SCENE(test_pg_client__ten_thousand_in_a_pipeline),
        PG_SCENE(test_pg_client__neither_side_deadlocks),
        PG_SCENE(test_pg_client__statements_queue_without_a_pipeline),
        PG_SCENE(test_pg_client__what_waits_behind_a_failure_is_not_sent),
        PG_SCENE(test_pg_client__callbacks_may_send_and_free),
        PG_SCENE(test_pg_client__a_callback_may_close),
        PG_SCENE(test_pg_client__rows_stream_in_constant_memory),
        PG_SCENE(test_pg_client__rows_stream_in_a_pipeline),
        PG_SCENE(test_pg_client__a_stream_left_early_drains),
        PG_SCENE(test_pg_client__a_stream_fails_at_its_row),
        PG_SCENE(test_pg_client__a_discarded_result_costs_no_memory),
        PG_SCENE(test_pg_client__a_lost_connection_stays_lost),
        PG_SCENE(test_pg_client__a_loss_found_while_writing_is_told),
        PG_SCENE(test_pg_client__a_loss_found_by_a_sync_is_told),
        PG_SCENE(test_pg_client__an_idle_session_s_end_is_explained),
        PG_SCENE(test_pg_client__copy_needs_its_own_door),
        PG_SCENE(test_pg_client__every_call_is_settled_once),
        PG_SCENE(test_pg_client__names_and_literals_are_quoted),
    };

    return cmocka_run_group_tests(tests, pg_fixture_begin, pg_fixture_end);
}
