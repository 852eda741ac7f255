/* SPDX-License-Identifier: MIT
 *
 * bindings/pg/pg_sql: what a statement is, and where it ends. The parser itself
 * is under test too: the tables pin what libpg_query says on this machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_sql.h"
#include "bindings/pg/pg_sql_scan.h"
#include "bindings/pg/pg_sql_shape.h"
#include "host/base/memory.h"

static enum pg_sql_kind kind_of(const char *sql)
{
    struct pg_sql_class class;
    struct neap_error err = {0};
    if (!pg_sql_classify(sql, strlen(sql), &class, &err))
        fail_msg("%s: %s", sql, err.message);
    return class.kind;
}

static enum neap_error_code refused(const char *sql, size_t length)
{
    struct pg_sql_class class;
    struct neap_error err = {0};
    if (pg_sql_classify(sql, length, &class, &err))
        return NEAP_OK;
    enum neap_error_code code = err.code;
    assert_non_null(err.message);
    neap_error_clear(&err);
    return code;
}

static void test_pg_sql__transaction_control_in_every_spelling(void **state)
{
    static const char *const texts[] = {
        "BEGIN",
        "begin;",
        "BeGiN wOrK",
        "begin isolation level serializable",
        "START TRANSACTION",
        "start transaction read only",
        "COMMIT",
        "commit work",
        "COMMIT AND CHAIN",
        "commit and no chain",
        "END",
        "end transaction",
        "ROLLBACK",
        "rollback work",
        "ROLLBACK AND CHAIN",
        "ABORT",
        "abort and chain",
        "SAVEPOINT a",
        "savepoint \"A\"",
        "RELEASE a",
        "release savepoint a",
        "ROLLBACK TO a",
        "rollback to savepoint a",
        "rollback work to savepoint a",
        "PREPARE TRANSACTION 'x'",
        "COMMIT PREPARED 'x'",
        "ROLLBACK PREPARED 'x'",
        "SET TRANSACTION READ ONLY",
        "set local transaction read only",
        "SET TRANSACTION SNAPSHOT '1'",
        "set transaction isolation level repeatable read",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET transaction_isolation = 'serializable'",
        "set local transaction_read_only to on",
        "set session transaction_deferrable = off",
        "SET \"transaction_read_only\" = on",
        "SET \"TRANSACTION_READ_ONLY\" = on",
        "SET U&\"transaction\\005fread_only\" = on",
        "RESET transaction_isolation",
        "reset transaction_read_only",
        "SET transaction_isolation TO DEFAULT",
        "DISCARD ALL",
        "discard plans",
        ";COMMIT",
        ";;; COMMIT",
        "/* a /* nested */ b */ COMMIT",
        "-- x\nCOMMIT",
        "--x\n;-- y\n/**/COMMIT/**/;",
        "\n\t COMMIT \n;",
        "COMMIT -- x",
        "COMMIT;;",
        ("\xEF\xBB\xBF"
         "COMMIT"),
        /* newer than the parser, or not yet invented */
        "COMMIT FASTER",
        "begin new style",
        "SET TRANSACTION SOMETHING NEW",
        "ROLLBACK SOON",
        "/* c */ SET LOCAL transaction_read_only = on, x",
        "END QUICKLY",
        "RELEASE ALL OF THEM",
        "SET SESSION CHARACTERISTICS AS NEW",
        "DISCARD everything",
        "SET U&\"transaction\\005fread_only\" = on anew",
        "PREPARE TRANSACTION x y",
        "START AGAIN",
        "SAVEPOINT a b",
        "ABORT MISSION",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (kind_of(texts[i]) != PG_SQL_TRANSACTION_CONTROL)
            fail_msg("not seen as transaction control: %s", texts[i]);
}

static void test_pg_sql__transaction_control_among_others(void **state)
{
    static const char *const texts[] = {
        "CREATE TABLE a(); COMMIT; CREATE TABLE b()",
        "select 1; rollback",
        "begin; select 1",
        "select ';'; /* ; */ commit",
        "SELECT $$;$$; COMMIT",
        "select 1; SET TRANSACTION READ ONLY",
        "MERGE INTO a USING b ON true WHEN NOT MATCHED BY SOURCE THEN DELETE; COMMIT",
        "create function f() returns int begin atomic; select 1; end; COMMIT",
        "select 1; set transaction_isolation = 'serializable'",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (refused(texts[i], strlen(texts[i])) != NEAP_ERR_DB_TRANSACTION_CONTROL)
            fail_msg("let through: %s", texts[i]);
}

static void test_pg_sql__not_transaction_control(void **state)
{
    static const char *const texts[] = {
        "select 'COMMIT'",
        "select 1 -- ; commit",
        "select \"commit\" from begin_",
        "DO $$ BEGIN COMMIT; END $$",
        "create table commit_log (a int)",
        "call commit_it()",
        "select set_config('transaction_read_only', 'on', true)",
        "set constraints all immediate",
        "create function f() returns int language sql begin atomic select 1; select 2; end",
        "create function f() returns int as $$ begin; commit; $$ language sql",
        "create rule r as on insert to a do (delete from b; delete from c)",
        "prepare p as select 1",
        "set default_transaction_isolation = 'serializable'",
        "comment on table a is 'BEGIN; COMMIT'",
        "MERGE \"commit\" NEW SYNTAX",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (kind_of(texts[i]) == PG_SQL_TRANSACTION_CONTROL)
            fail_msg("taken for transaction control: %s", texts[i]);
}

struct kind_case {
    const char *sql;
    enum pg_sql_kind kind;
};

static void test_pg_sql__kinds(void **state)
{
    static const struct kind_case cases[] = {
        {"select 1", PG_SQL_SELECT},
        {"values (1)", PG_SQL_SELECT},
        {"table a", PG_SQL_SELECT},
        {"with d as (delete from a returning *) select * from d", PG_SQL_WRITE},
        {"select 1 into a", PG_SQL_DDL},
        {"insert into a values (1)", PG_SQL_WRITE},
        {"update a set b = 1", PG_SQL_WRITE},
        {"delete from a", PG_SQL_WRITE},
        {"truncate a", PG_SQL_WRITE},
        {"merge into a using b on true when matched then delete", PG_SQL_WRITE},
        {"explain delete from a", PG_SQL_SELECT},
        {"explain analyze delete from a", PG_SQL_WRITE},
        {"explain (analyze false) delete from a", PG_SQL_SELECT},
        {"explain analyze create table b as select 1", PG_SQL_DDL},
        {"create table a (b int)", PG_SQL_DDL},
        {"create index i on a (b)", PG_SQL_DDL},
        {"create index concurrently i on a (b)", PG_SQL_INDEX_CONCURRENTLY},
        {"drop index a", PG_SQL_DDL},
        {"drop index concurrently a", PG_SQL_NO_TRANSACTION},
        {"vacuum", PG_SQL_NO_TRANSACTION},
        {"vacuum (analyze) a", PG_SQL_NO_TRANSACTION},
        {"analyze a", PG_SQL_OTHER},
        {"create database a", PG_SQL_NO_TRANSACTION},
        {"drop database a", PG_SQL_NO_TRANSACTION},
        {"drop database a with (force)", PG_SQL_NO_TRANSACTION},
        {"alter database a set tablespace b", PG_SQL_NO_TRANSACTION},
        {"alter database a connection limit 3", PG_SQL_DDL},
        {"alter database a set work_mem = '1MB'", PG_SQL_DDL},
        {"create tablespace a location '/b'", PG_SQL_NO_TRANSACTION},
        {"drop tablespace a", PG_SQL_NO_TRANSACTION},
        {"alter system set work_mem = '1MB'", PG_SQL_NO_TRANSACTION},
        {"alter system reset all", PG_SQL_NO_TRANSACTION},
        {"reindex table a", PG_SQL_DDL},
        {"reindex index a", PG_SQL_DDL},
        {"reindex table concurrently a", PG_SQL_NO_TRANSACTION},
        {"reindex (verbose, concurrently on) index a", PG_SQL_NO_TRANSACTION},
        {"reindex (concurrently off) index a", PG_SQL_DDL},
        {"reindex (concurrently 0) index a", PG_SQL_DDL},
        {"reindex schema a", PG_SQL_NO_TRANSACTION},
        {"reindex database a", PG_SQL_NO_TRANSACTION},
        {"reindex system a", PG_SQL_NO_TRANSACTION},
        {"reindex table b c concurrently", PG_SQL_NO_TRANSACTION},
        {"alter table a detach partition b", PG_SQL_DDL},
        {"alter table a detach partition b concurrently", PG_SQL_NO_TRANSACTION},
        {"alter table a detach partition b finalize", PG_SQL_DDL},
        {"alter table a newly, detach partition b concurrently", PG_SQL_NO_TRANSACTION},
        {"cluster", PG_SQL_NO_TRANSACTION},
        {"cluster a using b", PG_SQL_DDL},
        {"create subscription s connection '' publication p", PG_SQL_NO_TRANSACTION},
        {"create subscription s connection '' publication p with (connect = false)", PG_SQL_DDL},
        {"create subscription s connection '' publication p with (create_slot = off)", PG_SQL_DDL},
        {"alter subscription s refresh publication", PG_SQL_NO_TRANSACTION},
        {"alter subscription s set publication p", PG_SQL_NO_TRANSACTION},
        {"alter subscription s set publication p with (refresh = false)", PG_SQL_DDL},
        {"drop subscription s", PG_SQL_NO_TRANSACTION},
        {"listen a", PG_SQL_OTHER},
        {"notify a", PG_SQL_OTHER},
        {"copy a from stdin", PG_SQL_COPY_STREAM},
        {"copy a (b, c) to stdout (format csv)", PG_SQL_COPY_STREAM},
        {"copy (select 1) to stdout", PG_SQL_COPY_STREAM},
        {"copy a from '/b'", PG_SQL_COPY_PROGRAM},
        {"copy a to program 'b'", PG_SQL_COPY_PROGRAM},
        {"copy a from stdin newly where", PG_SQL_COPY_STREAM},
        {"copy (select a from stdin) newly to program 'x'", PG_SQL_COPY_PROGRAM},
        {"set search_path = a", PG_SQL_SESSION},
        {"set local lock_timeout = '1s'", PG_SQL_SESSION},
        {"set role a", PG_SQL_SESSION},
        {"set session authorization a", PG_SQL_SESSION},
        {"reset all", PG_SQL_SESSION},
        {"set time zone 'UTC'", PG_SQL_SESSION},
        {"show a", PG_SQL_OTHER},
        {"do $$ begin end $$", PG_SQL_OTHER},
        {"grant select on a to b", PG_SQL_DDL},
        {"create policy p on a using (true)", PG_SQL_DDL},
        {"alter type a add value 'b'", PG_SQL_DDL},
        {"CREATE NEW THING a", PG_SQL_OTHER},
        {"select 'unfinished", PG_SQL_OTHER},
        {"/* unfinished", PG_SQL_OTHER},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (kind_of(cases[i].sql) != cases[i].kind)
            fail_msg("%s: kind %d", cases[i].sql, (int)kind_of(cases[i].sql));
}

static void check_index(const char *sql, const char *expected)
{
    struct pg_sql_class class;
    assert_true(pg_sql_classify(sql, strlen(sql), &class, NULL));
    assert_int_equal(class.kind, PG_SQL_INDEX_CONCURRENTLY);
    char *got = neap_format("%s|%s|%s|%d", class.index_name, class.table_schema, class.table_name,
                            class.index_if_not_exists);
    assert_string_equal(got, expected);
    free(got);
}

static void test_pg_sql__index_names(void **state)
{
    (void)state;
    check_index("create index concurrently i on a.b (c)", "i|a|b|0");
    check_index("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"I x\" ON ONLY B (c)", "I x||b|1");
    check_index("create index concurrently on t ((a + 1))", "||t|0");
    check_index("create index concurrently i on a.b (c) newly", "i|a|b|0");
    check_index("create unique index concurrently if not exists \"I\"\"x\" on only \"A\".b newly",
                "I\"x|A|b|1");
    check_index("create index concurrently on t newly (a)", "||t|0");
    check_index("create index concurrently "
                "a123456789b123456789c123456789d123456789e123456789f123456789g123456789 on t (a)",
                "a123456789b123456789c123456789d123456789e123456789f123456789g12||t|0");
    /* The server cuts between characters, and the scanner as the parser does. */
    check_index("create index concurrently "
                "a123456789b123456789c123456789d123456789e123456789f123456789g1€€ on t (a)",
                "a123456789b123456789c123456789d123456789e123456789f123456789g1||t|0");
    check_index("create index concurrently "
                "a123456789b123456789c123456789d123456789e123456789f123456789g1€€ on t (a) newly",
                "a123456789b123456789c123456789d123456789e123456789f123456789g1||t|0");
    check_index("create index concurrently "
                "\"a123456789b123456789c123456789d123456789e123456789f123456789g€\" on t newly",
                "a123456789b123456789c123456789d123456789e123456789f123456789g||t|0");
}

static void test_pg_sql__refusals(void **state)
{
    (void)state;
    assert_int_equal(refused("", 0), NEAP_ERR_DB_ARGUMENT);
    assert_int_equal(refused(" -- x\n/* y */ ;;", 16), NEAP_ERR_DB_ARGUMENT);
    assert_int_equal(refused("DELETE FROM h\0 WHERE", 20), NEAP_ERR_DB_ARGUMENT);
    assert_int_equal(refused("select '\xC0'", 10), NEAP_ERR_DB_ARGUMENT);
    assert_int_equal(refused("select 1; select 2", 18), NEAP_ERR_DB_ARGUMENT);
    assert_int_equal(refused("select 1 new new; select 2", 26), NEAP_ERR_DB_ARGUMENT);
    assert_int_equal(refused("\\connect x", 10), NEAP_ERR_DB_ARGUMENT);
    assert_int_equal(refused("select 1 \\gexec", 15), NEAP_ERR_DB_ARGUMENT);
}

static void test_pg_sql__fingerprint_and_verb(void **state)
{
    struct pg_sql_class a, b;
    (void)state;
    assert_true(pg_sql_classify("select 1 from a", 15, &a, NULL));
    assert_true(pg_sql_classify("SELECT  2 FROM a;", 17, &b, NULL));
    assert_string_equal(a.fingerprint, b.fingerprint);
    assert_true(strlen(a.fingerprint) >= 16);
    assert_true(pg_sql_classify("drop index concurrently a", 25, &a, NULL));
    assert_string_equal(a.verb, "DROP INDEX CONCURRENTLY");
    assert_true(a.parsed);
    assert_true(pg_sql_classify("commit fast", 11, &a, NULL));
    assert_string_equal(a.verb, "COMMIT");
    assert_string_equal(a.fingerprint, "");
    assert_false(a.parsed);
}

static bool same_shape(const char *a, const char *b)
{
    char first[256], second[256];
    size_t length = pg_sql_shape(a, strlen(a), first);
    return length > 0 && length == pg_sql_shape(b, strlen(b), second) &&
           memcmp(first, second, length) == 0;
}

/* What one says of the other, it says of itself. */
static void test_pg_sql__texts_of_one_shape_are_one_class(void **state)
{
    static const char *const pairs[][2] = {
        {"insert into a values (1, 'x')", "insert into a values (999999999, 'it''s; -- /* ')"},
        {"INSERT INTO a VALUES (1), (2)", "INSERT INTO a VALUES (3), (4)"},
        {"insert into a values (-1, '')", "insert into a values (-0, 'b')"},
        {"update a set b = 'x' where c = 1", "update a set b = 'commit' where c = 22"},
        {"delete from a where b in (1, 2, 1)", "delete from a where b in (3, 3, 3)"},
        {"select * from a where b = 1 limit 5", "select * from a where b = 2 limit 0"},
        {"select '1'::numeric(10,2), interval '1 day'", "select '2'::numeric(4,0), interval '2'"},
        {"select a - 1 from b order by 1", "select a - 2 from b order by 2"},
        {"select cast('1' as varchar(3)), time(3) '1:00'",
         "select cast('' as varchar(30)), time(0) '2:00'"},
        {"select a from b where c like 'x' escape '!'",
         "select a from b where c like '' escape ''"},
        {"select 'a' as x union select 'b'", "select 'a' as x union select 'a'"},
        {"select a at time zone 'utc' from b", "select a at time zone 'x' from b"},
        {"select extract('year' from a) from b", "select extract('x' from a) from b"},
        {"select x from a tablesample system (1) repeatable (2)",
         "select x from a tablesample system (9) repeatable (8)"},
        {"select a[1:2], 1.5, 1e5 from b fetch first 3 rows only",
         "select a[2:3], 1.5, 1e5 from b fetch first 1 rows only"},
        {"select '\xc3\xa6', interval '1' second(3)", "select 'x', interval '2' second(6)"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct pg_sql_class other = {0}, shaped = {0}, own = {0};
        if (!same_shape(pairs[i][0], pairs[i][1]))
            fail_msg("%s: another shape", pairs[i][1]);
        pg_sql_cache_clear();
        assert_true(pg_sql_classify(pairs[i][0], strlen(pairs[i][0]), &other, NULL));
        assert_true(pg_sql_classify(pairs[i][1], strlen(pairs[i][1]), &shaped, NULL));
        pg_sql_cache_clear();
        assert_true(pg_sql_classify(pairs[i][1], strlen(pairs[i][1]), &own, NULL));
        assert_true(own.parsed && shaped.parsed);
        assert_int_equal(own.kind, shaped.kind);
        assert_string_equal(own.verb, shaped.verb);
        if (strcmp(own.fingerprint, shaped.fingerprint) != 0)
            fail_msg("%s: another fingerprint", pairs[i][1]);
    }
}

static void test_pg_sql__what_a_literal_decides_has_no_shape(void **state)
{
    static const char *const texts[] = {
        "select '1'::float(24)",
        "select current_time(3)",
        "select LocalTimestamp(1)",
        "select E'a'",
        "select U&'a' uescape '!'",
        "select b'1'",
        "select n'1'",
        "select x'1'",
        "select $$a$$",
        "select $1",
        "select 'a\\'",
        "select \"a1\"",
        "select 1; commit",
        "select 1 -- a",
        "select 1 /* a */",
        "select 'a",
        "select 1 \\gexec",
        "commit 1",
        "do 'a'",
        "set a = 1",
        "with a as (select 1) select 1",
        "(select 1)",
        "insert",
        "",
        "select a\xc3\xa6 from b",
        "select \001",
    };
    char out[256];
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (pg_sql_shape(texts[i], strlen(texts[i]), out) != 0)
            fail_msg("%s: has a shape", texts[i]);
    assert_false(same_shape("select a1 from b", "select a2 from b"));
    assert_false(same_shape("select 1.5", "select 1.6"));
    assert_false(same_shape("select 1e5", "select 1e6"));
    assert_false(same_shape("select 999999999", "select 9999999999"));
    assert_false(same_shape("select 'a' 'b'", "select 'a'\n'b'"));
    assert_false(same_shape("select 1", "select 'a'"));
}

/* libpg_query would overflow the stack on these. */
static void test_pg_sql__deep_text_does_not_crash(void **state)
{
    static const char *const units[] = {
        "+1", "(",          "not ",           "- ", " union all select 1", "::int",
        "[",  "case when ", " join b on true"};
    (void)state;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t length = strlen(units[i]), count = 200000;
        char *sql = neap_alloc(10 + length * count);
        memcpy(sql, "select 1 ", 9);
        for (size_t n = 0; n < count; n++)
            memcpy(sql + 9 + n * length, units[i], length);
        struct pg_sql_class class;
        assert_true(pg_sql_classify(sql, 9 + length * count, &class, NULL));
        assert_false(class.parsed);
        free(sql);
    }
}

static void test_pg_sql__wide_text_is_parsed(void **state)
{
    (void)state;
    char *sql = neap_alloc(400100);
    size_t at = (size_t)snprintf(sql, 100, "insert into a values (1, 'x', -2)");
    for (size_t n = 0; n < 20000; n++, at += 16)
        memcpy(sql + at, ", (1, 'abc', -2)", 17);
    struct pg_sql_class class;
    assert_true(pg_sql_classify(sql, at, &class, NULL));
    assert_true(class.parsed);
    assert_int_equal(class.kind, PG_SQL_WRITE);
    free(sql);
}

/* The parts joined by '|', with their lines. */
static char *split(const char *text)
{
    struct pg_sql_part *parts;
    size_t count;
    struct neap_error err = {0};
    if (!pg_sql_split(text, strlen(text), &parts, &count, &err)) {
        char *message = neap_format("%s: line %d", neap_error_row(err.code)->code, err.where_line);
        neap_error_clear(&err);
        return message;
    }
    char *out = neap_strdup("");
    for (size_t i = 0; i < count; i++) {
        char *next = neap_format("%s%d:%.*s|", out, parts[i].line, (int)parts[i].length,
                                 text + parts[i].offset);
        free(out);
        out = next;
    }
    free(parts);
    return out;
}

static void check_split(const char *text, const char *expected)
{
    char *got = split(text);
    assert_string_equal(got, expected);
    free(got);
}

static void test_pg_sql__split(void **state)
{
    (void)state;
    check_split("", "");
    check_split(";; -- x\n;", "");
    check_split("select 1", "1:select 1|");
    check_split("-- a\nselect 1; /* ; */ select 2 -- b\n;\n", "2:select 1|2:select 2|");
    check_split("select ';' ; select $$;$$; select $a$;$b$;$a$; select \";\"",
                "1:select ';'|1:select $$;$$|1:select $a$;$b$;$a$|1:select \";\"|");
    check_split("select E'\\';'; select '\\'; select U&'\\0041;'",
                "1:select E'\\';'|1:select '\\'|1:select U&'\\0041;'|");
    check_split("select E'a'\n  '\\';b'; select 2", "1:select E'a'\n  '\\';b'|2:select 2|");
    check_split("/* /* ; */ ; */ select 1;\n\nselect a$b$c; select 2$$;$$",
                "1:select 1|3:select a$b$c|3:select 2$$;$$|");
    check_split("create rule r as on insert to a do (delete from b; delete from c); select 1",
                "1:create rule r as on insert to a do (delete from b; delete from c)|1:select 1|");
    check_split("create or replace function f() returns int begin atomic\n select case when true "
                "then 1 end; select 2; end; select 3",
                "1:create or replace function f() returns int begin atomic\n select case when true "
                "then 1 end; select 2; end|2:select 3|");
    check_split(
        "create function f() returns int begin atomic select 1 end; select 2 case; end; end",
        "1:create function f() returns int begin atomic select 1 end; select 2 case; end|"
        "1:end|");
    check_split("create function f() set a to begin begin atomic end; end",
                "1:create function f() set a to begin begin atomic end|1:end|");
    check_split("create procedure p() begin atomic create function f() begin atomic select 1; end; "
                "select 2; end; end",
                "1:create procedure p() begin atomic create function f() begin atomic select 1; "
                "end; select 2; end|1:end|");
    check_split("create view function as select begin atomic; select 1",
                "1:create view function as select begin atomic|1:select 1|");
    check_split("begin; select 1; end;", "1:begin|1:select 1|1:end|");
    check_split("\\restrict abc\nselect 1;\n\\unrestrict abc\n", "2:select 1|");
    check_split("select 1;\n\\connect x\n", "db.argument: line 2");
    check_split("select 1\n\\g\n", "db.argument: line 2");
    check_split("copy a from stdin;\n1\t2\n\\.\n", "db.argument: line 3");
    check_split("select 1;\nselect 'x", "script.syntax: line 2");
    check_split("\n\n/* x", "script.syntax: line 3");
    check_split("select $a$ x", "script.syntax: line 1");
    check_split("\xEF\xBB\xBFselect 1", "1:select 1|");
    check_split("select a--b\n+1; select 1/*;*/+2", "1:select a--b\n+1|2:select 1/*;*/+2|");
    check_split("select 5 @-- ;\n 1; x", "1:select 5 @-- ;\n 1|2:x|");
}

static void check_tokens(const char *text, const char *expected)
{
    struct pg_sql_scan scan;
    struct pg_sql_token token;
    char *out = neap_strdup("");
    pg_sql_scan_init(&scan, text, strlen(text));
    while (pg_sql_scan_next_code(&scan, &token)) {
        char *next = neap_format("%s%.*s ", out, (int)token.length, text + token.offset);
        free(out);
        out = next;
    }
    assert_string_equal(out, expected);
    free(out);
}

static void test_pg_sql__tokens(void **state)
{
    (void)state;
    check_tokens("a=-1", "a = - 1 ");
    check_tokens("a @- 1", "a @- 1 ");
    check_tokens("a::int[1:2]", "a :: int [ 1 : 2 ] ");
    check_tokens("1.5e-3+.5", "1.5e-3 + .5 ");
    check_tokens("0x1F 1_000 1..2", "0x1F 1_000 1 .. 2 ");
    check_tokens("f(a=>1,b:=2)", "f ( a => 1 , b := 2 ) ");
    check_tokens("$1$2 a$1", "$1 $2 a$1 ");
    check_tokens("n'x' B'1' x'F' u&'a' e'\\''", "n'x' B'1' x'F' u&'a' e'\\'' ");
    check_tokens("\"a\"\"b\".c", "\"a\"\"b\" . c ");
}

static uint32_t random_state = 12345;
static uint32_t random_below(uint32_t below)
{
    random_state = random_state * 1664525U + 1013904223U;
    return (random_state >> 8) % below;
}

static void test_pg_sql__mutated_texts_do_not_crash(void **state)
{
    static const char seed[] =
        "create or replace function f() returns int begin atomic select E'a\\'b' || $$x;$$; end;\n"
        "/* c /* d */ */ commit; -- e\nselect \"a\"\"b\", U&\"\\0041\", 1.5e-3 from a where b = $1;"
        "create unique index concurrently if not exists i on only a.b (c); \\restrict x\n"
        "set local transaction_isolation = 'x'; reindex (concurrently) table a; copy a from stdin";
    static const char bytes[] = "'\"$;()\\-/*\n\r\tEeuU&@ab19.,[]:=";
    (void)state;
    for (int i = 0; i < 20000; i++) {
        char text[sizeof seed];
        size_t from = random_below(sizeof seed - 1);
        size_t length = 1 + random_below((uint32_t)(sizeof seed - 1 - from));
        memcpy(text, seed + from, length);
        for (uint32_t n = random_below(6); n > 0; n--)
            text[random_below((uint32_t)length)] = bytes[random_below(sizeof bytes - 1)];
        struct pg_sql_class class;
        struct pg_sql_part *parts = NULL;
        size_t count = 0;
        pg_sql_classify(text, length, &class, NULL);
        if (pg_sql_split(text, length, &parts, &count, NULL))
            for (size_t n = 0; n < count; n++)
                assert_true(parts[n].offset + parts[n].length <= length && parts[n].length > 0);
        free(parts);
    }
    pg_sql_cache_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pg_sql__transaction_control_in_every_spelling),
        cmocka_unit_test(test_pg_sql__transaction_control_among_others),
        cmocka_unit_test(test_pg_sql__not_transaction_control),
        cmocka_unit_test(test_pg_sql__kinds),
        cmocka_unit_test(test_pg_sql__index_names),
        cmocka_unit_test(test_pg_sql__refusals),
        cmocka_unit_test(test_pg_sql__fingerprint_and_verb),
        cmocka_unit_test(test_pg_sql__texts_of_one_shape_are_one_class),
        cmocka_unit_test(test_pg_sql__what_a_literal_decides_has_no_shape),
        cmocka_unit_test(test_pg_sql__deep_text_does_not_crash),
        cmocka_unit_test(test_pg_sql__wide_text_is_parsed),
        cmocka_unit_test(test_pg_sql__split),
        cmocka_unit_test(test_pg_sql__tokens),
        cmocka_unit_test(test_pg_sql__mutated_texts_do_not_crash),
    };
    return cmocka_run_group_tests_name("pg_sql", tests, NULL, NULL);
}
