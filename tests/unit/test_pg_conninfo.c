/* SPDX-License-Identifier: MIT
 *
 * The way to another database of a server, out of the way to one.
 */
#include <stdlib.h>

#include "bindings/pg/pg_conninfo.h"
#include "tests/unit/test_support.h"

static void check_on(const char *conninfo, const char *database, const char *options,
                     const char *expected)
{
    char *text = pg_conninfo_on(conninfo, database, options);

    assert_string_equal(text, expected);
    pg_conninfo_free(text);
}

static void test_pg_conninfo__on(void **state)
{
    (void)state;
    unsetenv("PGOPTIONS");
    check_on("postgresql://u:p%20%27%5C@h:1/shop?sslmode=require", "other", NULL,
             "user='u' password='p \\'\\\\' host='h' port='1' sslmode='require' dbname='other'");
    check_on("host=/run dbname=shop options='-c a=b'", "x'y", " -c c=d",
             "host='/run' options='-c a=b -c c=d' dbname='x\\'y'");
    check_on(NULL, "a=b", NULL, "dbname='a=b'");
    assert_null(pg_conninfo_on("postgresql://%zz", "other", NULL));
    setenv("PGOPTIONS", "-c e=f", 1);
    check_on("", "other", " -c c=d", "options='-c e=f -c c=d' dbname='other'");
    check_on("options='-c a=b'", "other", NULL, "options='-c a=b' dbname='other'");
    unsetenv("PGOPTIONS");
    pg_conninfo_free(NULL);
}

static void check_database(const char *conninfo, const char *expected)
{
    char *name = pg_conninfo_database(conninfo);

    assert_string_equal(name, expected);
    free(name);
}

static void test_pg_conninfo__database(void **state)
{
    (void)state;
    unsetenv("PGDATABASE");
    check_database("postgresql://u@h/neap%20x%22y", "neap x\"y");
    check_database("host=h user=somebody", "somebody");
    setenv("PGDATABASE", "from_env", 1);
    check_database("host=h user=somebody", "from_env");
    check_database(NULL, "from_env");
    assert_null(pg_conninfo_database("service=s user=u"));
    check_database("service=s dbname=d", "d");
    unsetenv("PGDATABASE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pg_conninfo__on),
        cmocka_unit_test(test_pg_conninfo__database),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
