/* SPDX-License-Identifier: MIT
 *
 * A concurrent index build counts only when the index is valid, and leaves
 * nothing behind when it fails.
 */
#include "bindings/pg/pg_index.h"

#include "tests/unit/pg_fixture.h"

static const char sql_invalid[] =
    "select count(*) from pg_index where not indisvalid and indrelid = 'shop.item'::regclass";
static const char sql_valid[] = "select count(*) from pg_index where indisvalid"
                                " and indexrelid = to_regclass('shop.item_a')";

static bool build(struct pg_scene *scene, const char *sql, struct pg_client *control, bool ours)
{
    struct pg_statement statement = {
        .sql = sql, .call_id = -1, .where_file = "m.lua", .where_line = 9};
    struct pg_sql_class class = {.kind = PG_SQL_INDEX_CONCURRENTLY,
                                 .index_name = "item_a",
                                 .table_schema = "shop",
                                 .table_name = "item"};
    struct pg_index_build act = {.work = scene->client,
                                 .control = control,
                                 .statement = &statement,
                                 .class = &class,
                                 .ours = ours};

    neap_error_clear(&scene->err);
    return pg_index_build(&act, &scene->err);
}

static int begin_scene(void **state)
{
    pg_scene_begin(state);
    pg_scene_do(*state, "create schema shop");
    pg_scene_do(*state, "create table shop.item(a int)");
    pg_scene_do(*state, "insert into shop.item select g from generate_series(1, 1000) g");
    pg_scene_do(*state, "set lock_timeout = '300ms'");
    pg_scene_do(*state, "set statement_timeout = '700ms'");
    return 0;
}

static int end_scene(void **state)
{
    struct pg_scene *scene = *state;

    neap_run_clear(&scene->run);
    neap_run_init(&scene->run);
    pg_failure_clear(scene->client);
    pg_scene_do(scene, "drop schema shop cascade");
    return pg_scene_end(state);
}

static void assert_limits_are_back(struct pg_scene *scene)
{
    assert_int_equal(pg_scene_int(scene, "select count(*) from pg_settings"
                                         " where name = 'lock_timeout' and setting = '300'"
                                         " or name = 'statement_timeout' and setting = '700'"),
                     2);
}

static void test_pg_index__a_build_is_valid(void **state)
{
    struct pg_scene *scene = *state;

    assert_true(build(scene, "create index concurrently item_a on shop.item(a)", NULL, false));
    assert_int_equal(pg_scene_int(scene, sql_valid), 1);
    assert_true(build(scene, "create index concurrently if not exists item_a on shop.item(a)", NULL,
                      false));
    assert_false(build(scene, "create index concurrently item_a on shop.item(a)", NULL, false));
    assert_string_equal(scene->err.sqlstate, "42P07");
    pg_failure_clear(scene->client);
    assert_int_equal(pg_scene_int(scene, sql_valid), 1); /* the valid one was not dropped */
    assert_limits_are_back(scene);
}

static void test_pg_index__a_failed_build_leaves_nothing(void **state)
{
    struct pg_scene *scene = *state;

    pg_scene_do(scene, "insert into shop.item values (5)");
    assert_false(
        build(scene, "create unique index concurrently item_a on shop.item(a)", NULL, false));
    assert_string_equal(scene->err.sqlstate, "23505");
    assert_int_equal(scene->err.where_line, 9);
    assert_non_null(pg_failure(scene->client)); /* sticky, also after the drop */
    pg_failure_clear(scene->client);
    assert_int_equal(pg_scene_int(scene, "select count(*) from pg_class where relname = 'item_a'"),
                     0);
    assert_limits_are_back(scene);
}

static void leave_invalid(struct pg_scene *scene)
{
    pg_scene_do(scene, "insert into shop.item values (5)");
    assert_false(pg_exec_text(scene->client,
                              "create unique index concurrently item_a on shop.item(a)", 0, NULL,
                              NULL, &scene->err));
    pg_failure_clear(scene->client);
    assert_int_equal(pg_scene_int(scene, sql_invalid), 1);
}

static void test_pg_index__anothers_leftover_is_refused(void **state)
{
    struct pg_scene *scene = *state;

    leave_invalid(scene);
    assert_false(build(scene, "create index concurrently if not exists item_a on shop.item(a)",
                       NULL, false));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_INDEX_INVALID);
    assert_non_null(strstr(scene->err.hint, "DROP INDEX CONCURRENTLY shop.item_a;"));
    pg_failure_clear(scene->client);
    assert_int_equal(pg_scene_int(scene, sql_invalid), 1);
    assert_limits_are_back(scene);
}

static void test_pg_index__our_leftover_is_dropped(void **state)
{
    struct pg_scene *scene = *state;

    leave_invalid(scene);
    assert_true(
        build(scene, "create index concurrently if not exists item_a on shop.item(a)", NULL, true));
    assert_int_equal(pg_scene_int(scene, sql_valid), 1);
    assert_int_equal(pg_scene_int(scene, sql_invalid), 0);
}

struct blocker {
    struct pg_client *client;
};

static void end_blocker(void *arg)
{
    struct blocker *blocker = arg;

    if (blocker->client)
        pg_cleanup(blocker->client, true); /* the run may be stopping by now */
    if (blocker->client)
        pg_send_text(blocker->client, "rollback", 0, NULL, NULL);
    blocker->client = NULL;
}

static struct pg_client *open_blocker(struct pg_scene *scene)
{
    struct pg_client *client = pg_fixture_open(scene);

    assert_true(pg_exec_text(client, "begin", 0, NULL, NULL, &scene->err));
    assert_true(pg_exec_text(client, "lock table shop.item in row exclusive mode", 0, NULL, NULL,
                             &scene->err));
    return client;
}

/* Longer than both limits of the session: neither may end the build. */
static void test_pg_index__a_build_waits_for_an_old_transaction(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_client *control = pg_fixture_open(scene);
    struct pg_client *client = open_blocker(scene);
    struct blocker blocker = {client};
    struct neap_timer *timer = neap_timer_begin(scene->loop, 2300, 0, end_blocker, &blocker);
    int64_t begin_ms = neap_clock_ms();

    assert_true(build(scene, "create index concurrently item_a on shop.item(a)", control, false));
    assert_true(neap_clock_ms() - begin_ms > 2000);
    assert_int_equal(pg_scene_int(scene, sql_valid), 1);
    assert_limits_are_back(scene);
    assert_null(pg_failure(control));
    neap_timer_end(timer);
    pg_close(client);
    pg_close(control);
}

static void test_pg_index__a_stopped_build_is_dropped(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_client *control = pg_fixture_open(scene);
    struct pg_client *client = open_blocker(scene);
    struct blocker blocker = {client};
    struct neap_timer *timer = neap_timer_begin(scene->loop, 800, 0, end_blocker, &blocker);

    scene->run.deadline_ms = neap_clock_ms() + 400;
    assert_false(build(scene, "create index concurrently item_a on shop.item(a)", control, false));
    assert_int_equal(scene->err.code, NEAP_ERR_RUN_DEADLINE);
    neap_timer_end(timer);
    neap_run_clear(&scene->run);
    neap_run_init(&scene->run);
    pg_failure_clear(scene->client);
    assert_int_equal(pg_scene_int(scene, "select count(*) from pg_class where relname = 'item_a'"),
                     0);
    assert_limits_are_back(scene);
    pg_close(client);
    pg_close(control);
}

static void test_pg_index__a_transaction_is_refused(void **state)
{
    struct pg_scene *scene = *state;

    pg_scene_do(scene, "begin");
    assert_false(build(scene, "create index concurrently item_a on shop.item(a)", NULL, false));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_NO_TRANSACTION);
    pg_failure_clear(scene->client);
    pg_scene_do(scene, "rollback");
}

#define SCENE(name) cmocka_unit_test_setup_teardown(name, begin_scene, end_scene)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE(test_pg_index__a_build_is_valid),
        SCENE(test_pg_index__a_failed_build_leaves_nothing),
        SCENE(test_pg_index__anothers_leftover_is_refused),
        SCENE(test_pg_index__our_leftover_is_dropped),
        SCENE(test_pg_index__a_build_waits_for_an_old_transaction),
        SCENE(test_pg_index__a_stopped_build_is_dropped),
        SCENE(test_pg_index__a_transaction_is_refused),
    };

    return cmocka_run_group_tests(tests, pg_fixture_begin, pg_fixture_end);
}
