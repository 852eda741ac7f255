/* SPDX-License-Identifier: MIT
 *
 * Scripts that use a real PostgreSQL: what was swallowed fails, handles end with
 * their function, waits end at the deadline, SQL files run as Lua files do.
 */
#include "tests/unit/pg_fixture.h"

#include "host/script/script.h"
#include "tests/unit/test_support.h"

#define PATH "migrations/0001_test"

struct world {
    struct pg_scene *scene;
    struct neap_source_cache *cache;
    char *dir;
    struct neap_source source;
    struct neap_script *script;
    struct neap_script_opts opts;
    struct neap_script_db db;
};
static struct world world;

static int begin(void **state)
{
    pg_scene_begin(state);
    world = (struct world){.scene = *state, .dir = test_temp_dir()};
    char *migrations = neap_format("%s/migrations", world.dir);
    assert_int_equal(mkdir(migrations, 0700), 0);
    free(migrations);
    world.cache = neap_source_cache_new(world.dir);
    world.opts.loop = world.scene->loop;
    world.db = (struct neap_script_db){.client = world.scene->client, .transaction = true};
    return 0;
}

static int end(void **state)
{
    neap_script_close(world.script);
    neap_source_clear(&world.source);
    neap_source_cache_free(world.cache);
    pid_t child = fork();
    if (child == 0) {
        char *argv[] = {(char[]){"rm"}, (char[]){"-r"}, world.dir, NULL};
        execv("/bin/rm", argv);
        _exit(127);
    }
    waitpid(child, NULL, 0);
    free(world.dir);
    return pg_scene_end(state);
}

/* Opens the text as the project's only migration, inside a pipelined transaction. */
static void open_file(const char *ending, const char *text)
{
    char *name = neap_format(PATH ".%s", ending);
    char *path = neap_format("%s/%s", world.dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    struct neap_error *err = &world.scene->err;
    if (!neap_source_load(world.cache, name, NULL, &world.source, err) ||
        !neap_script_open(&world.opts, &world.source, &world.script, err))
        fail_msg("%s", err->message);
    free(path);
    free(name);
    pg_scene_do(world.scene, "begin");
    assert_true(pg_pipeline_begin(world.scene->client, err));
}

static void open_lua(const char *up, const char *verify)
{
    char *text = neap_format("return migration { summary = 'x', down = irreversible 'x',\n"
                             "verify = function(db, expect) %s end,\nup = function(db)\n%s\nend }",
                             verify, up);
    open_file("lua", text);
    free(text);
}

static bool call(enum neap_script_part part)
{
    neap_error_clear(&world.scene->err);
    return neap_script_call(world.script, 0, part, &world.db, &world.scene->err);
}

static void assert_called(enum neap_script_part part)
{
    if (!call(part))
        fail_msg("%s", world.scene->err.message);
}

static void test_script_pg__runs_and_verifies(void **state)
{
    (void)state;
    open_lua("db:exec 'create table t (a int)'\ndb:exec('insert into t values ($1)', 7)\n"
             "assert(db:value 'select a from t' == 7)",
             "expect.table 't' expect.equal(db:value 'select count(*) from t', 1)");
    assert_called(NEAP_PART_UP);
    assert_called(NEAP_PART_VERIFY);
}

static void test_script_pg__verify_says_what_it_found(void **state)
{
    (void)state;
    open_lua("db:exec 'create table t (a int)'",
             "expect.equal(db:value 'select count(*) from t', 1)");
    assert_called(NEAP_PART_UP);
    assert_false(call(NEAP_PART_VERIFY));
    assert_int_equal(world.scene->err.code, NEAP_ERR_VERIFY_FAILED);
    assert_contains(world.scene->err.message, "0");
    assert_string_equal(world.scene->err.where_file, PATH ".lua");
    assert_int_equal(world.scene->err.where_line, 2);
}

static void assert_swallowed(const char *up, int line)
{
    open_lua(up, "");
    assert_false(call(NEAP_PART_UP));
    assert_int_equal(world.scene->err.code, NEAP_ERR_DB_QUERY);
    assert_contains(world.scene->err.message, "nothing");
    assert_string_equal(world.scene->err.sqlstate, "42P01");
    assert_string_equal(world.scene->err.where_file, PATH ".lua");
    assert_int_equal(world.scene->err.where_line, line);
}

static void test_script_pg__a_swallowed_failure_fails(void **state)
{
    (void)state;
    assert_swallowed(
        "db:exec 'create table t (a int)'\npcall(db.query, db, 'select 1 from nothing')", 5);
}

static void test_script_pg__an_unlooked_failure_fails(void **state)
{
    (void)state;
    assert_swallowed("db:exec 'delete from nothing'\ndb:exec 'create table t (a int)'", 4);
}

static void test_script_pg__a_coroutine_swallows_nothing(void **state)
{
    (void)state;
    assert_swallowed("coroutine.resume(coroutine.create(function()\n"
                     "return db:value 'select 1 from nothing' end))\nprint 'on'",
                     5);
}

static void test_script_pg__the_first_failure_is_the_cause(void **state)
{
    (void)state;
    assert_swallowed("db:exec 'delete from nothing'\nerror 'later'", 4);
    assert_contains(world.scene->err.detail, "later");
}

static void test_script_pg__handles_end_with_their_function(void **state)
{
    (void)state;
    open_file("lua", "local kept\nreturn migration { summary = 'x', down = irreversible 'x', "
                     "up = function(db) kept = db end,\n"
                     "verify = function() kept:exec 'create table t (a int)' end }");
    assert_called(NEAP_PART_UP);
    assert_false(call(NEAP_PART_VERIFY));
    assert_contains(world.scene->err.message, "ended");
    assert_int_equal(world.scene->err.where_line, 3);
}

static int no_last_word(void *arg)
{
    (void)arg;
    return 99;
}

/* The watchdog's grace is long over; it must not end a process that waits. */
static void test_script_pg__waits_end_at_the_deadline(void **state)
{
    (void)state;
    world.opts.grace_ms = (int64_t)test_stride(500); /* of the processor's time */
    world.opts.last_word = no_last_word;
    open_lua("while true do pcall(db.value, db, 'select pg_sleep(60)::text') end", "");
    int64_t begin_ms = neap_clock_ms();
    world.scene->run.deadline_ms = begin_ms + 300;
    assert_false(call(NEAP_PART_UP));
    assert_int_equal(world.scene->err.code, NEAP_ERR_RUN_DEADLINE);
    assert_string_equal(world.scene->err.where_file, PATH ".lua");
    assert_true(neap_clock_ms() - begin_ms < TEST_HANG_MS);
}

static void test_script_pg__loading_may_not_touch_a_server(void **state)
{
    struct neap_source_file file = {0};
    struct neap_script *script = NULL;
    char text[] = "local pg = require 'neap.pg'\nreturn pg.connect and pg.connect {}";
    char path[] = PATH ".lua";
    (void)state;
    file.text = text;
    file.path = path;
    file.length = strlen(text);
    struct neap_source source = {.kind = NEAP_SOURCE_LUA, .files = &file, .file_count = 1};
    assert_false(neap_script_open(&world.opts, &source, &script, &world.scene->err));
    assert_int_equal(world.scene->run.allowed, NEAP_ALLOW_ALL);
}

static const char sql_file[] = "-- neap: summary From SQL\n"
                               "-- neap: up\n"
                               "create table t (a int);\n"
                               "insert into t values (1), (2);\n"
                               "-- neap: verify\n"
                               "select count(*) = 2 from t;\n"
                               "-- neap: down\n"
                               "drop table t;\n";

static void test_script_pg__runs_sql_files(void **state)
{
    (void)state;
    open_file("sql", sql_file);
    assert_string_equal(neap_script_def(world.script)->summary, "From SQL");
    assert_called(NEAP_PART_UP);
    assert_called(NEAP_PART_VERIFY);
    assert_called(NEAP_PART_DOWN);
    assert_false(call(NEAP_PART_DOWN));
    assert_string_equal(world.scene->err.sqlstate, "42P01");
    assert_int_equal(world.scene->err.where_line, 8);
}

static void test_script_pg__sql_verify_fails(void **state)
{
    (void)state;
    open_file("sql", "-- neap: summary x\n-- neap: up\nselect 1;\n-- neap: verify\n"
                     "select true;\nselect false;\n-- neap: irreversible no\n");
    assert_called(NEAP_PART_UP);
    assert_false(call(NEAP_PART_VERIFY));
    assert_int_equal(world.scene->err.code, NEAP_ERR_VERIFY_FAILED);
    assert_int_equal(world.scene->err.where_line, 6);
}

static const char every_binding[] =
    "db:exec 'create table t (a int, b text)'\n"
    "local rest = {} for i = 1, 3 do db:exec('insert into t values ($1, $2)', i, 'b' .. i) end\n"
    "for row in db:rows 'select a, b from t order by a' do rest[#rest + 1] = row.b end\n"
    "assert(db:value('select count(*) from t where a = any($1)', db:array { 1, 2 }) == 2)\n"
    "assert(db:row('select a, b from t where a = $1', 3).b == 'b3')\n"
    "db:savepoint(function() db:exec(\"insert into t values (4, 'x')\") end)\n"
    "local ok = db:savepoint(function() db:exec 'select 1 from nothing' end)\n"
    "assert(not ok) assert(#db:query 'select * from t' == 4)\n"
    "local co = coroutine.wrap(function() coroutine.yield(db:value 'select 1 + 1') end)\n"
    "assert(co() == 2) assert(db:ident 'a b' == '\"a b\"')\n"
    "db:exec('insert into t values ($1, $2)', 9, db:json { k = { 1 } })\n";

/* Each one would be 2,700 runs; coprime to what a loop allocates. */
#define ALLOCATION_STEP 7

/* One run of the script with its n-th allocation failing. */
static bool run_failing_at(int n, int64_t *left)
{
    struct neap_error *err = &world.scene->err;
    *left = n;
    world.opts.memory_fail_in = left;
    neap_error_clear(err);
    bool done = neap_script_open(&world.opts, &world.source, &world.script, err);
    if (done) {
        pg_scene_do(world.scene, "begin");
        assert_true(pg_pipeline_begin(world.scene->client, err));
        done = call(NEAP_PART_UP) && call(NEAP_PART_VERIFY);
    }
    neap_script_close(world.script);
    world.script = NULL;
    return done;
}

/* Whichever allocation fails: a clean error, the session goes on, and after the
 * rollback nothing of it is there. ASan says what leaked. */
static void test_script_pg__each_allocation_fails(void **state)
{
    int64_t left = 0;
    int failure_count = 0, n = 1;
    (void)state;
    open_lua(every_binding, "expect.table 't'");
    neap_script_close(world.script);
    pg_scene_do(world.scene, "rollback");
    for (bool is_over = false; !is_over; n += ALLOCATION_STEP) {
        bool done = run_failing_at(n, &left);
        is_over = left > 0;
        if (is_over && !done)
            fail_msg("line %d: %s", world.scene->err.where_line, world.scene->err.message);
        if (!done)
            assert_non_null(world.scene->err.message);
        failure_count += !done;
        neap_error_clear(&world.scene->err);
        pg_failure_clear(world.scene->client);
        pg_pipeline_end(world.scene->client, NULL);
        if (pg_transaction_status(world.scene->client) != PQTRANS_IDLE)
            pg_scene_do(world.scene, "rollback");
        assert_false(pg_is_lost(world.scene->client));
        assert_int_equal(pg_scene_int(world.scene, "select count(to_regclass('t'))"), 0);
    }
    print_message("%d allocations, %d failures\n", n, failure_count);
    assert_true(failure_count > 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_script_pg__runs_and_verifies),
        TEST(test_script_pg__verify_says_what_it_found),
        TEST(test_script_pg__a_swallowed_failure_fails),
        TEST(test_script_pg__an_unlooked_failure_fails),
        TEST(test_script_pg__a_coroutine_swallows_nothing),
        TEST(test_script_pg__the_first_failure_is_the_cause),
        TEST(test_script_pg__handles_end_with_their_function),
        TEST(test_script_pg__waits_end_at_the_deadline),
        TEST(test_script_pg__loading_may_not_touch_a_server),
        TEST(test_script_pg__runs_sql_files),
        TEST(test_script_pg__sql_verify_fails),
        TEST(test_script_pg__each_allocation_fails),
    };
    return cmocka_run_group_tests(tests, pg_fixture_begin, pg_fixture_end);
}
