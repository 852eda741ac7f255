/* SPDX-License-Identifier: MIT
 *
 * Notices arrive after libpq returned, in order, and a flood is counted.
 */
#include "tests/unit/pg_fixture.h"

struct heard {
    int count;
    char severity[16], message[256], last[256];
    struct pg_client *client;
};

static void on_notice(void *arg, const struct pg_notice *notice)
{
    struct heard *heard = arg;

    if (heard->count++ == 0)
        snprintf(heard->message, sizeof heard->message, "%s", notice->message);
    snprintf(heard->severity, sizeof heard->severity, "%s", notice->severity);
    snprintf(heard->last, sizeof heard->last, "%s", notice->message);
    if (heard->client) /* not from inside libpq: it may be used */
        assert_true(pg_send_text(heard->client, "select 1", 0, NULL, NULL));
}

static void test_pg_notice__a_notice_is_heard(void **state)
{
    struct pg_scene *scene = *state;
    struct heard heard = {.client = scene->client};

    pg_on_notice(scene->client, on_notice, &heard);
    pg_scene_do(scene, "do $$ begin raise warning 'look out'; end $$");
    neap_loop_turn(scene->loop);
    assert_int_equal(heard.count, 1);
    assert_string_equal(heard.severity, "WARNING");
    assert_string_equal(heard.message, "look out");
    assert_true(pg_settle(scene->client, &scene->err));
}

static void test_pg_notice__a_flood_is_capped(void **state)
{
    struct pg_scene *scene = *state;
    struct heard heard = {0};

    pg_on_notice(scene->client, on_notice, &heard);
    pg_scene_do(scene,
                "do $$ begin for i in 1..50000 loop raise notice 'n %', i; end loop; end $$");
    assert_true(neap_loop_sleep(scene->loop, 50, "the rest", &scene->err));
    assert_int_equal(heard.count, 1001);
    assert_string_equal(heard.message, "n 1");
    assert_string_equal(heard.last, "49000 more notices suppressed");
}

static void test_pg_notice__big_ones_are_capped_by_bytes(void **state)
{
    struct pg_scene *scene = *state;
    struct heard heard = {0};

    pg_on_notice(scene->client, on_notice, &heard);
    pg_scene_do(scene, "do $$ begin for i in 1..100 loop"
                       " raise notice '%', repeat('x', 100000); end loop; end $$");
    assert_true(neap_loop_sleep(scene->loop, 50, "the rest", &scene->err));
    assert_int_equal(heard.count, 65); /* 64 of 16 KiB each, and how many more there were */
}

static void test_pg_notice__a_notification_is_found(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_client *other = pg_fixture_open(scene);
    char *channel = NULL, *payload = NULL;
    int pid = 0;
    bool found = true;

    pg_scene_do(scene, "listen work");
    assert_true(pg_notification(scene->client, 50, &found, &channel, &payload, &pid, &scene->err));
    assert_false(found);
    assert_true(pg_send_text(other, "notify work, 'done'", 0, NULL, &scene->err));
    assert_true(
        pg_notification(scene->client, 5000, &found, &channel, &payload, &pid, &scene->err));
    assert_true(found);
    assert_string_equal(channel, "work");
    assert_string_equal(payload, "done");
    assert_int_equal(pid, PQbackendPID(pg_raw(other)));
    free(channel);
    free(payload);
    scene->run.deadline_ms = neap_clock_ms() + 50;
    assert_false(
        pg_notification(scene->client, 5000, &found, &channel, &payload, &pid, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_RUN_DEADLINE);
    pg_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PG_SCENE(test_pg_notice__a_notice_is_heard),
        PG_SCENE(test_pg_notice__a_flood_is_capped),
        PG_SCENE(test_pg_notice__big_ones_are_capped_by_bytes),
        PG_SCENE(test_pg_notice__a_notification_is_found),
    };

    return cmocka_run_group_tests(tests, pg_fixture_begin, pg_fixture_end);
}
