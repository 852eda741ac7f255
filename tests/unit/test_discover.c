/* SPDX-License-Identifier: MIT
 *
 * host/migrate/discover: names, order, and the files that must not be taken.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/memory.h"
#include "host/migrate/discover.h"

static char project[] = "/tmp/neap-discover-XXXXXX";

static int set_up_all(void **state)
{
    (void)state;
    return mkdtemp(project) == NULL ? -1 : 0;
}

static char *place(const char *name)
{
    return neap_format("%s/%s", project, name);
}

static void write_file(const char *name, size_t size)
{
    char *path = place(name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    if (size > 0)
        assert_int_equal(ftruncate(fileno(file), (off_t)size), 0);
    fclose(file);
    free(path);
}

static void make_dir(const char *name)
{
    char *path = place(name);
    assert_int_equal(mkdir(path, 0700), 0);
    free(path);
}

static int set_up(void **state)
{
    (void)state;
    make_dir("migrations");
    return 0;
}

/* The names that the tests use; nothing is removed by pattern. */
static const char *const names[] = {
    "migrations/0001_a.lua",
    "migrations/0002_b.sql",
    "migrations/9_nine.lua",
    "migrations/0010_ten.lua",
    "migrations/20261120210538_stamp.lua",
    "migrations/.hidden",
    "migrations/README.md",
    "migrations/0002_c.lua",
    "migrations/002_c.lua",
    "migrations/x.lua",
    "migrations/0001_a.lua~",
    "migrations/0001_a.lua.orig",
    "migrations/0001_a.LUA",
    "migrations/0001_A.lua",
    "migrations/0001-a.lua",
    "migrations/0001_.lua",
    "migrations/0001_a.txt",
    "migrations/0001_a b.lua",
    "migrations/0000_a.lua",
    "migrations/0001_\xC0.lua",
    "migrations/0001_a\x1b[1m.lua",
    "migrations/1234567890123456789_a.lua",
    "migrations/0001",
    "migrations/0003_link.lua",
    "migrations/0001_a.lua.bak",
    "outside.lua",
    "lib.lua",
};

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = place(names[i]);
        if (unlink(path) != 0)
            rmdir(path);
        free(path);
    }
    char *path = place("migrations");
    rmdir(path);
    free(path);
    return 0;
}

static int tear_down_all(void **state)
{
    (void)state;
    return rmdir(project);
}

static void check_refused(enum neap_error_code code, const char *part)
{
    struct neap_migrations list;
    struct neap_error err = {0};
    assert_false(neap_discover(project, &list, &err));
    if (err.code != code || strstr(err.message, part) == NULL)
        fail_msg("%s: %s", neap_error_row(err.code)->code, err.message);
    assert_int_equal(list.count, 0);
    neap_error_clear(&err);
}

static void test_discover__numeric_order(void **state)
{
    struct neap_migrations list;
    (void)state;
    write_file("migrations/0010_ten.lua", 0);
    write_file("migrations/9_nine.lua", 0);
    write_file("migrations/20261120210538_stamp.lua", 0);
    write_file("migrations/0001_a.lua", 0);
    write_file("migrations/0002_b.sql", 0);
    write_file("migrations/.hidden", 0);
    write_file("migrations/README.md", 0);
    assert_true(neap_discover(project, &list, NULL));
    assert_int_equal(list.count, 5);
    assert_string_equal(list.items[0].id, "0001");
    assert_string_equal(list.items[1].name, "b");
    assert_int_equal(list.items[1].kind, NEAP_SOURCE_SQL);
    assert_string_equal(list.items[2].path, "migrations/9_nine.lua");
    assert_string_equal(list.items[3].id, "0010");
    assert_string_equal(list.items[4].id, "20261120210538");
    assert_ptr_equal(neap_migration_find(&list, "10"), &list.items[3]);
    assert_ptr_equal(neap_migration_find(&list, "00009"), &list.items[2]);
    assert_null(neap_migration_find(&list, "3"));
    assert_null(neap_migration_find(&list, "1x"));
    assert_null(neap_migration_find(&list, ""));
    char *next = neap_migration_next_id(&list);
    assert_string_equal(next, "20261120210539");
    free(next);
    neap_migrations_clear(&list);
}

static void test_discover__empty_folder(void **state)
{
    struct neap_migrations list;
    (void)state;
    assert_true(neap_discover(project, &list, NULL));
    assert_int_equal(list.count, 0);
    char *next = neap_migration_next_id(&list);
    assert_string_equal(next, "0001");
    free(next);
    neap_migrations_clear(&list);
}

static void test_discover__id_compare(void **state)
{
    (void)state;
    assert_true(neap_migration_id_compare("0010", "9") > 0);
    assert_int_equal(neap_migration_id_compare("0010", "10"), 0);
    assert_true(neap_migration_id_compare("000", "1") < 0);
    assert_true(neap_migration_id_compare("999999999999999999998", "999999999999999999999") < 0);
}

struct name_case {
    const char *file, *part;
};

static void test_discover__bad_names(void **state)
{
    static const struct name_case cases[] = {
        {"migrations/x.lua", "does not begin with digits"},
        {"migrations/0001_a.lua~", "backup file"},
        {"migrations/0001_a.lua.orig", "backup file"},
        {"migrations/0001_a.lua.bak", "backup file"},
        {"migrations/0001_a.LUA", "does not end with .lua or .sql"},
        {"migrations/0001-a.lua", "not followed by `_`"},
        {"migrations/0001_.lua", "letters, digits"},
        {"migrations/0001_a.txt", "0001_a.txt: the name does not end"},
        {"migrations/0001_a b.lua", "letters, digits"},
        {"migrations/0000_a.lua", "the id is zero"},
        {"migrations/0001_\xC0.lua", "UTF-8"},
        {"migrations/0001_a\x1b[1m.lua", "letters, digits"},
        {"migrations/1234567890123456789_a.lua", "18 digits"},
        {"migrations/0001", "not followed by `_`"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file(cases[i].file, 0);
        check_refused(NEAP_ERR_PROJECT_NAME, cases[i].part);
        char *path = place(cases[i].file);
        unlink(path);
        free(path);
    }
}

static void test_discover__case_twins(void **state)
{
    (void)state;
    write_file("migrations/0001_a.lua", 0);
    write_file("migrations/0001_A.lua", 0);
    check_refused(NEAP_ERR_PROJECT_NAME, "upper and lower case");
}

static void test_discover__duplicates(void **state)
{
    (void)state;
    write_file("migrations/0002_b.sql", 0);
    write_file("migrations/002_c.lua", 0);
    check_refused(NEAP_ERR_PROJECT_DUPLICATE, "migrations/0002_b.sql and migrations/002_c.lua");
}

static void test_discover__files_that_are_none(void **state)
{
    (void)state;
    write_file("migrations/0001_a.lua", 0);
    make_dir("migrations/002_c.lua");
    check_refused(NEAP_ERR_FILE_REFUSED, "not a regular file");
}

static void check_link(const char *target, const char *part)
{
    char *path = place("migrations/0003_link.lua");
    assert_int_equal(symlink(target, path), 0);
    if (part != NULL) {
        check_refused(NEAP_ERR_FILE_REFUSED, part);
    } else {
        struct neap_migrations list;
        assert_true(neap_discover(project, &list, NULL));
        assert_int_equal(list.count, 1);
        neap_migrations_clear(&list);
    }
    unlink(path);
    free(path);
}

static void test_discover__links(void **state)
{
    (void)state;
    write_file("lib.lua", 0);
    check_link("../lib.lua", NULL);
    check_link("/etc/passwd", "links out of the project");
    check_link("../../../etc/passwd", "links out of the project");
    check_link("nothing", "link to nothing");
    check_link("0003_link.lua", "link to nothing");
    check_link("..", "links out of the project");
    check_link("../migrations", "not a regular file");
}

static void test_discover__no_folder(void **state)
{
    struct neap_migrations list;
    struct neap_error err = {0};
    (void)state;
    assert_false(neap_discover("/nonexistent", &list, &err));
    assert_int_equal(err.code, NEAP_ERR_CONFIG_INVALID);
    assert_non_null(strstr(err.hint, "neap init"));
    neap_error_clear(&err);
}

static uint32_t random_state = 7;
static uint32_t random_below(uint32_t below)
{
    random_state = random_state * 1664525U + 1013904223U;
    return (random_state >> 8) % below;
}

/* The order is total: what the comparison says of two ids it says in reverse. */
static void test_discover__compare_is_an_order(void **state)
{
    (void)state;
    for (int i = 0; i < 30000; i++) {
        char ids[3][24] = {"", "", ""};
        for (size_t n = 0; n < 3; n++)
            for (uint32_t k = 0, length = 1 + random_below(20); k < length; k++)
                ids[n][k] = (char)('0' + random_below(3));
        int ab = neap_migration_id_compare(ids[0], ids[1]);
        int ba = neap_migration_id_compare(ids[1], ids[0]);
        int bc = neap_migration_id_compare(ids[1], ids[2]);
        int ac = neap_migration_id_compare(ids[0], ids[2]);
        assert_true((ab < 0) == (ba > 0) && (ab == 0) == (ba == 0));
        assert_true(!(ab < 0 && bc < 0) || ac < 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_discover__numeric_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_discover__empty_folder, set_up, tear_down),
        cmocka_unit_test(test_discover__id_compare),
        cmocka_unit_test_setup_teardown(test_discover__bad_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_discover__case_twins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_discover__duplicates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_discover__files_that_are_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_discover__links, set_up, tear_down),
        cmocka_unit_test(test_discover__no_folder),
        cmocka_unit_test(test_discover__compare_is_an_order),
    };
    return cmocka_run_group_tests_name("discover", tests, set_up_all, tear_down_all);
}
