/* SPDX-License-Identifier: MIT
 *
 * The digests of a database are the same after dump and restore, and no change of the
 * content escapes them.
 */
#include "bindings/backup/backup_digest.h"

#include "tests/unit/backup_fixture.h"

#define ODD "\"neap x\"\"y\".\"t \"\"' \\ ; %s é\""

static json_t *read_digest(struct pg_scene *scene, struct pg_client *client, int64_t sample_over)
{
    struct backup_digest_opts opts = {.sample_rows_over = sample_over};
    json_t *digest = NULL;

    if (!backup_digest_read(client, &opts, &digest, &scene->err))
        fail_msg("%s", scene->err.message);
    return digest;
}

static int64_t rows_of(const json_t *digest, const char *table)
{
    const json_t *rows =
        json_object_get(json_object_get(json_object_get(digest, "tables"), table), "rows");

    return rows ? json_integer_value(rows) : -1;
}

static void test_backup_digest__a_copy_has_the_same(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_client *copy = backup_fixture_open(scene, "copy");
    json_t *before = read_digest(scene, scene->client, 0), *after = read_digest(scene, copy, 0);
    char *diff = backup_digest_diff(before, after);

    if (diff)
        fail_msg("%s", diff);
    assert_int_equal(rows_of(before, "shop.person"), 40);
    assert_int_equal(rows_of(before, "shop.nothing"), 2);
    assert_int_equal(rows_of(before, "shop.base"), 1); /* not its heirs' */
    assert_int_equal(rows_of(before, ODD), 3);
    assert_int_equal(rows_of(before, "shop.every"), 6);
    assert_int_equal(rows_of(before, "neap.history"), 1);
    assert_int_equal(rows_of(before, "neap.lease"), -1);
    assert_int_equal(rows_of(before, "shop.event"), -1);
    assert_int_equal(rows_of(before, "shop.event_2020") + rows_of(before, "shop.event_odd") +
                         rows_of(before, "shop.event_rest_0") +
                         rows_of(before, "shop.event_rest_1"),
                     60);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(before, "not_read"), "shop.far")),
        "foreign table");
    json_decref(before);
    json_decref(after);
    pg_close(copy);
}

static const struct change {
    const char *change, *named;
} changes[] = {
    {"update shop.twice set b = 'onE' where ctid = (select min(ctid) from shop.twice)",
     "table shop.twice: 5 rows in both; the content differs"},
    {"update shop.twice set b = '' where b is null", "table shop.twice: 5 rows in both"},
    {"delete from shop.twice where a = 2", "table shop.twice: 5 rows in the source, 4 in the copy"},
    {"insert into shop.twice select * from shop.twice where a = 2",
     "table shop.twice: 5 rows in the source, 6 in the copy"},
    /* One pair of equal rows for another: an exclusive or would not see it. */
    {"update shop.twice set a = 9, b = 'nine' where a = 1", "table shop.twice: 5 rows in both"},
    {"update shop.twice set b = case a when 2 then '' else 'two' end where a in (2, 4)",
     "table shop.twice: 5 rows in both"},
    {"update shop.every set c_text = c_varchar, c_varchar = c_text where id = 5",
     "table shop.every: 6 rows in both"},
    /* Values change places between rows. */
    {"update shop.typed set x = 3 - x", "table shop.typed: 2 rows in both"},
    {"update shop.every set c_float8 = 0 where id = 3", "table shop.every"},
    {"update shop.every set c_numeric = 1.1 where id = 3", "table shop.every"},
    {"update shop.every set c_ints = '{}' where id = 4", "table shop.every"},
    {"update shop.every set c_texts = '{\"\",NULL}' where id = 2", "table shop.every"},
    {"update shop.every set c_timestamptz = c_timestamptz - interval '1 us',"
     " c_timestamp = '2000-01-01' where id = 2",
     "table shop.every"},
    {"update shop.every set c_text = overlay(c_text placing '!' from 8000) where id = 6",
     "table shop.every: 6 rows in both"},
    {"insert into shop.nothing default values", "table shop.nothing: 2 rows in the source, 3"},
    {"update " ODD " set \"a b\"\"c\" = 'y' where \"select\" = 1", "table " ODD ": 3 rows in both"},
    {"select setval('shop.numbers', 17, true)",
     "sequence shop.numbers: last value 17 (not called) in the source, 17 in the copy"},
    {"select setval('shop.numbers', 18, false)", "sequence shop.numbers"},
    {"select lo_put(90001, 9000, '\\x02')", "large objects: 3 in the source, 3 in the copy"},
    {"select lo_put(90003, 10001, '\\x00')", "large objects: 3 in the source, 3 in the copy"},
    {"select lo_unlink(90002)", "large objects: 3 in the source, 2 in the copy"},
    {"revoke select on large object 90001 from neap_reader_b", "large objects"},
    {"comment on large object 90002 is 'not empty'", "large objects"},
    {"drop table shop.twice", "table shop.twice: not in the copy"},
    {"create table shop.added (a int)", "table shop.added: only in the copy"},
};

static void test_backup_digest__each_change_is_seen_and_named(void **state)
{
    struct pg_scene *scene = *state;
    json_t *before = read_digest(scene, scene->client, 0);

    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        pg_scene_do(scene, "begin");
        pg_scene_do(scene, changes[i].change);
        json_t *after = read_digest(scene, scene->client, 0);
        char *diff = backup_digest_diff(before, after);

        if (!diff || !strstr(diff, changes[i].named))
            fail_msg("%s: not named in\n%s", changes[i].change, diff ? diff : "nothing");
        if (strchr(diff, '\n')[1] != '\0')
            fail_msg("%s: more than one line:\n%s", changes[i].change, diff);
        free(diff);
        json_decref(after);
        pg_scene_do(scene, "rollback");
        pg_scene_do(scene, "select setval('shop.numbers', 17, false)"); /* outlives a rollback */
    }
    json_decref(before);
}

static void test_backup_digest__is_of_the_snapshot(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_client *other = backup_fixture_open(scene, "wide");
    json_t *before = read_digest(scene, scene->client, 0);

    pg_scene_do(scene, "begin isolation level repeatable read, read only");
    pg_scene_do(scene, "select 1");
    assert_true(
        pg_exec_text(other, "insert into shop.twice values (7)", 0, NULL, NULL, &scene->err));
    json_t *after = read_digest(scene, scene->client, 0);

    assert_null(backup_digest_diff(before, after));
    pg_scene_do(scene, "commit");
    assert_true(
        pg_exec_text(other, "delete from shop.twice where a = 7", 0, NULL, NULL, &scene->err));
    json_decref(before);
    json_decref(after);
    pg_close(other);
}

/* A sampled table is counted whole, and its sample is the same on the copy. */
static void test_backup_digest__samples_the_same_rows(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_client *copy = backup_fixture_open(scene, "copy");
    json_t *before = read_digest(scene, scene->client, 39), *after = read_digest(scene, copy, 39);
    const json_t *tables = json_object_get(before, "tables");

    assert_null(backup_digest_diff(before, after));
    assert_true(json_is_true(json_object_get(json_object_get(tables, "shop.person"), "sampled")));
    assert_false(json_is_true(json_object_get(json_object_get(tables, "shop.every"), "sampled")));
    assert_int_equal(rows_of(before, "shop.person"), 40);
    json_decref(after);
    after = read_digest(scene, scene->client, 40);
    char *diff = backup_digest_diff(before, after);

    assert_contains(diff, "table shop.person: 40 rows in both; one digest is of a sample");
    free(diff);
    json_decref(before);
    json_decref(after);
    pg_close(copy);
}

static void test_backup_digest__hidden_rows_are_an_error(void **state)
{
    struct pg_scene *scene = *state;
    json_t *digest = NULL;

    pg_scene_do(scene, "create role neap_plain in role pg_read_all_data");
    pg_scene_do(scene, "set role neap_plain");
    assert_false(backup_digest_read(scene->client, NULL, &digest, &scene->err));
    assert_string_equal(scene->err.sqlstate, "42501");
    assert_contains(scene->err.message, "row-level security");
    assert_null(digest);
    assert_int_equal(pg_transaction_status(scene->client), PQTRANS_IDLE);
    pg_scene_do(scene, "reset role");
    pg_scene_do(scene, "drop role neap_plain");
}

/* A server has locks for some thousand relations in one transaction. */
static void test_backup_digest__many_tables_need_few_locks(void **state)
{
    struct pg_scene *scene = *state;

    BACKUP_RUN("createdb", "many");
    struct pg_client *many = backup_fixture_open(scene, "many");

    assert_true(pg_exec_text(many,
                             "do $$ begin for i in 1..2500 loop"
                             " execute format('create table t%s (id serial primary key)', i);"
                             " if i % 100 = 0 then commit; end if; end loop; end $$",
                             0, NULL, NULL, &scene->err));
    json_t *digest = read_digest(scene, many, 0);

    assert_int_equal(json_object_size(json_object_get(digest, "tables")), 2500);
    assert_int_equal(json_object_size(json_object_get(digest, "sequences")), 2500);
    json_decref(digest);
    pg_close(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BACKUP_SCENE(test_backup_digest__a_copy_has_the_same),
        BACKUP_SCENE(test_backup_digest__each_change_is_seen_and_named),
        BACKUP_SCENE(test_backup_digest__is_of_the_snapshot),
        BACKUP_SCENE(test_backup_digest__samples_the_same_rows),
        BACKUP_SCENE(test_backup_digest__many_tables_need_few_locks),
        BACKUP_SCENE(test_backup_digest__hidden_rows_are_an_error),
    };

    return cmocka_run_group_tests(tests, backup_fixture_begin, pg_fixture_end);
}
