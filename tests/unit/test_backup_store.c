/* SPDX-License-Identifier: MIT
 *
 * The store of backups: what is one and what is not, which is the newest, and that nobody
 * removes what somebody holds.
 */
#include "bindings/backup/backup_store.h"

#include <sys/stat.h>

#include "host/base/json.h"
#include "host/base/memory.h"
#include "tests/unit/test_support.h"

static int set_up(void **state)
{
    *state = test_temp_dir();
    return chmod(*state, 0700);
}

static int tear_down(void **state)
{
    assert_true(backup_files_delete(*state));
    free(*state);
    return 0;
}

static void write_file(const char *path, const char *text)
{
    struct neap_error err = {0};
    if (!backup_file_write(path, text, strlen(text), &err))
        fail_msg("%s", err.message);
}

/* A directory `name` whose manifest has `id`; NULL: it has none. */
static void make(const char *store, const char *name, const char *id, const char *started_at)
{
    char *path = neap_format("%s/%s", store, name);
    char *file = neap_format("%s/manifest.json", path);
    assert_int_equal(mkdir(path, 0700), 0);
    if (id != NULL) {
        json_t *manifest =
            json_pack("{s:i, s:s, s:s, s:s, s:s, s:[{s:s, s:i, s:s}]}", "schema_version",
                      BACKUP_SCHEMA_VERSION, "id", id, "environment", id[0] == '1' ? "one" : "two",
                      "started_at", started_at, "kind", "full", "files", "path", "dump", "bytes", 0,
                      "sha256", "");
        char *text = neap_json_pretty(manifest);
        write_file(file, text);
        free(text);
        json_decref(manifest);
    }
    free(file);
    free(path);
}

/* The ids of the store in order, as "b a!"; "!" where one cannot be believed. */
static void check_list(const char *store, const char *expected)
{
    struct backup *list = NULL;
    size_t count = 0;
    struct neap_error err = {0};
    char text[256] = "";
    if (!backup_list(store, &list, &count, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < count; i++) {
        strcat(text, i == 0 ? "" : " ");
        strcat(text, list[i].id);
        strcat(text, list[i].manifest == NULL ? "!" : "");
    }
    assert_string_equal(text, expected);
    backup_list_free(list, count);
}

static const char early[] = "2026-11-21T07:08:12.100000Z";
static const char late[] = "2026-11-21T07:08:12.900000Z";

static void test_backup_store__lists_what_is_one(void **state)
{
    const char *store = *state;
    struct neap_error err = {0};
    make(store, "10260101T000000-a", "10260101T000000-a", early);
    make(store, "20261121T070812-a", "20261121T070812-a", late);
    make(store, "20261121T070812-b", "20261121T070812-b", early);
    make(store, "20261121T070813-c.part", "20261121T070813-c.part", early);
    make(store, "20261121T070813-d.gone", "20261121T070813-d.gone", early);
    make(store, "20261121T070813-e", NULL, NULL);
    make(store, "20261121T070813-f", "another", early);
    /* Of one second, the one that began later. */
    check_list(store, "20261121T070813-f! 20261121T070812-a 20261121T070812-b 10260101T000000-a");
    struct backup found = {0};
    assert_true(backup_find(store, NULL, "one", &found, &err) == false); /* f may be of it */
    neap_error_clear(&err);
    assert_true(backup_find(store, "1026", NULL, &found, &err));
    assert_string_equal(found.id, "10260101T000000-a");
    backup_clear(&found);
    assert_false(backup_find(store, "20261121T070812", NULL, &found, &err));
    assert_int_equal(err.code, NEAP_ERR_BACKUP_UNKNOWN);
    assert_contains(err.message, "2 backups begin with");
    neap_error_clear(&err);
    assert_false(backup_find(store, "9", NULL, &found, &err));
    neap_error_clear(&err);
    assert_false(backup_find("/nowhere", "9", NULL, &found, &err));
    neap_error_clear(&err);
}

static void test_backup_store__is_refused_where_others_may_look(void **state)
{
    struct backup *list = NULL;
    size_t count = 0;
    struct neap_error err = {0};
    assert_int_equal(chmod(*state, 0750), 0);
    assert_false(backup_list(*state, &list, &count, &err));
    assert_int_equal(err.code, NEAP_ERR_BACKUP_DIRECTORY);
    neap_error_clear(&err);
    assert_int_equal(chmod(*state, 0700), 0);
}

static struct backup find(const char *store, const char *id)
{
    struct backup found = {0};
    struct neap_error err = {0};
    if (!backup_find(store, id, NULL, &found, &err))
        fail_msg("%s", err.message);
    return found;
}

static void test_backup_store__removes_what_nobody_holds(void **state)
{
    const char *store = *state;
    struct neap_error err = {0};
    make(store, "1", "1", early);
    make(store, "2", "2", early);
    struct backup one = find(store, "1"), again = find(store, "1"), two = find(store, "2");
    assert_false(backup_seize(&one)); /* `again` holds it */
    backup_clear(&again);
    assert_true(backup_seize(&one));
    struct backup late_one = {0};
    assert_false(backup_find(store, "1", NULL, &late_one, &err));
    assert_contains(err.message, "backup 1 is being removed");
    neap_error_clear(&err);
    assert_true(backup_remove(&one, &err));
    check_list(store, "2");
    /* Two that want to: the other has done it. */
    assert_false(backup_seize(&one));
    assert_true(backup_seize(&two));
    char *path = neap_format("%s/2", store), *away = neap_format("%s/2.gone", store);
    assert_int_equal(rename(path, away), 0);
    assert_true(backup_remove(&two, &err));
    assert_false(neap_path_exists(away));
    free(path);
    free(away);
    backup_clear(&one);
    backup_clear(&two);
}

static void test_backup_store__sweeps_what_a_killed_one_left(void **state)
{
    const char *store = *state;
    make(store, "1.gone", "1", early);
    make(store, "2.gone", "2", early);
    make(store, "3", "3", early);
    struct backup busy = {.path = neap_format("%s/2.gone", store)};
    assert_true(backup_seize(&busy)); /* another prune is at it */
    char *first = neap_format("%s/1.gone", store);
    backup_sweep_gone(store);
    assert_false(neap_path_exists(first));
    assert_true(neap_path_exists(busy.path));
    backup_release(&busy);
    backup_sweep_gone(store);
    assert_false(neap_path_exists(busy.path));
    check_list(store, "3");
    backup_sweep_gone("/nowhere");
    free(first);
    backup_clear(&busy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_backup_store__lists_what_is_one),
        TEST(test_backup_store__is_refused_where_others_may_look),
        TEST(test_backup_store__removes_what_nobody_holds),
        TEST(test_backup_store__sweeps_what_a_killed_one_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
