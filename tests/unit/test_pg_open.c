/* SPDX-License-Identifier: MIT
 *
 * Connecting: what is set, what is refused, what the error says, and that no
 * password is ever in it.
 */
#include "tests/unit/pg_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "host/base/log.h"

static bool open_at(struct pg_scene *scene, const char *conninfo, int64_t timeout_ms)
{
    struct pg_open_opts opts = {
        .conninfo = conninfo, .application_name = "neap:run", .timeout_ms = timeout_ms};

    pg_close(scene->client);
    scene->client = NULL;
    neap_error_clear(&scene->err);
    return pg_open(scene->loop, &opts, &scene->client, &scene->err);
}

static void assert_no_secret(const struct pg_scene *scene, const char *secret)
{
    char *text = neap_error_text(&scene->err);

    assert_null(strstr(text, secret));
    free(text);
}

static void test_pg_open__the_session_is_ours(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_op *op = NULL;
    char conninfo[400];

    snprintf(conninfo, sizeof conninfo, "%s application_name=theirs client_encoding=LATIN1",
             pg_fixture.conninfo);
    assert_true(open_at(scene, conninfo, 0));
    assert_true(pg_exec_text(scene->client,
                             "select current_setting('application_name'),"
                             " current_setting('client_encoding')",
                             0, NULL, &op, &scene->err));
    assert_string_equal(pg_cell(op, 0, 0), "neap:run");
    assert_string_equal(pg_cell(op, 0, 1), "UTF8");
    pg_op_free(op);
    assert_non_null(strstr(pg_address(scene->client), ":5432/postgres as postgres"));
    assert_true(pg_loop(scene->client) == scene->loop);
}

static void test_pg_open__a_uri_works(void **state)
{
    struct pg_scene *scene = *state;
    char uri[400];

    snprintf(uri, sizeof uri, "postgresql:///postgres?host=%s&user=postgres", pg_fixture.dir);
    assert_true(open_at(scene, uri, 0));
    assert_int_equal(pg_scene_int(scene, "select 1"), 1);
}

static void test_pg_open__the_environment_works(void **state)
{
    struct pg_scene *scene = *state;

    setenv("PGHOST", pg_fixture.dir, 1);
    setenv("PGUSER", "postgres", 1);
    assert_true(open_at(scene, NULL, 0));
    assert_int_equal(pg_scene_int(scene, "select 1"), 1);
    unsetenv("PGHOST");
    unsetenv("PGUSER");
}

static void test_pg_open__the_second_host_is_tried(void **state)
{
    struct pg_scene *scene = *state;
    char conninfo[400];

    snprintf(conninfo, sizeof conninfo,
             "host=/nonexistent,127.0.0.1,%s port=5432,1,5432 user=postgres dbname=postgres",
             pg_fixture.dir);
    assert_true(open_at(scene, conninfo, 0));
    assert_int_equal(pg_scene_int(scene, "select 1"), 1);
}

static void test_pg_open__a_refusal_says_where(void **state)
{
    struct pg_scene *scene = *state;

    assert_false(open_at(scene, "postgresql://amy:topsecret@127.0.0.1:1/shop", 0));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_CONNECT);
    assert_non_null(strstr(scene->err.message, "127.0.0.1:1/shop as amy: Connection refused"));
    assert_non_null(strstr(scene->err.hint, "is the server running"));
    assert_no_secret(scene, "topsecret");
}

static void test_pg_open__causes_have_their_hints(void **state)
{
    static const struct {
        const char *more, *message, *hint;
    } cases[] = {
        {"dbname=nowhere", "database \"nowhere\" does not exist", "psql -l"},
        {"user=nobody", "role \"nobody\" does not exist", "psql -l"},
        {"host=/nonexistent", "No such file", "socket"},
        {"host=127.0.0.1 port=1 sslmode=require", "Connection refused", "server running"},
    };
    struct pg_scene *scene = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char conninfo[400];

        snprintf(conninfo, sizeof conninfo, "%s %s", pg_fixture.conninfo, cases[i].more);
        assert_false(open_at(scene, conninfo, 0));
        assert_int_equal(scene->err.code, NEAP_ERR_DB_CONNECT);
        assert_non_null(strstr(scene->err.message, cases[i].message));
        assert_non_null(strstr(scene->err.hint, cases[i].hint));
    }
}

static void reload_hba(const char *line)
{
    char path[128];
    FILE *file = NULL;

    snprintf(path, sizeof path, "%s/data/pg_hba.conf", pg_fixture.dir);
    file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "%s\nlocal all all trust\n", line);
    fclose(file);
    kill(pg_fixture.server, SIGHUP);
    usleep(300000);
}

static void test_pg_open__a_wrong_password_says_where_it_came_from(void **state)
{
    struct pg_scene *scene = *state;
    char conninfo[400];

    pg_scene_do(scene, "create role pw login password 'right-one'");
    reload_hba("local all pw scram-sha-256");
    setenv("PGPASSFILE", "/nonexistent/pgpass", 1);
    snprintf(conninfo, sizeof conninfo, "host=%s user=pw dbname=postgres", pg_fixture.dir);
    assert_false(open_at(scene, conninfo, 0));
    assert_non_null(strstr(scene->err.hint, "none was found"));
    assert_non_null(strstr(scene->err.hint, "/nonexistent/pgpass"));
    setenv("PGPASSWORD", "wrong-one", 1);
    assert_false(open_at(scene, conninfo, 0));
    assert_non_null(strstr(scene->err.hint, "user \"pw\" was taken from PGPASSWORD"));
    unsetenv("PGPASSWORD");
    snprintf(conninfo, sizeof conninfo, "postgresql://pw:wrong-two@/postgres?host=%s",
             pg_fixture.dir);
    assert_false(open_at(scene, conninfo, 0));
    assert_non_null(strstr(scene->err.hint, "the connection string"));
    snprintf(conninfo, sizeof conninfo, "postgresql://pw:right-one@/postgres?host=%s",
             pg_fixture.dir);
    assert_true(open_at(scene, conninfo, 0));
    char *text = neap_redact("it is right-one");

    assert_string_equal(text, "it is ***");
    free(text);
    reload_hba("");
}

/* '@' and '/' in a password that was not percent-encoded. */
static void test_pg_open__broken_strings_keep_the_secret(void **state)
{
    static const char *const strings[] = {
        "postgresql://u:sesame/open@localhost/db", "postgresql://u:sesame@open@localhost:x/db",
        "postgresql://u:ses%zzame@localhost/db",   "host=localhost password sesame",
        "host=localhost password='sesame",         "postgresql://u:pw@localhost/db?sesame=open",
    };
    struct pg_scene *scene = *state;

    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        assert_false(open_at(scene, strings[i], 1000));
        assert_int_equal(scene->err.code, NEAP_ERR_DB_CONNECT);
        assert_no_secret(scene, "sesame");
    }
}

static int listen_silently(int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 5), 0);
    getsockname(listener, (struct sockaddr *)&at, &length);
    *port = ntohs(at.sin_port);
    return listener;
}

static void count_tick(void *arg)
{
    (*(int *)arg)++;
}

/* Opens one session as a role that may have only that one. */
static struct pg_client *fill(struct pg_scene *scene, char conninfo[400])
{
    struct pg_client *first = NULL;

    pg_exec_text(scene->client, "create role few login connection limit 1", 0, NULL, NULL, NULL);
    snprintf(conninfo, 400, "host=%s user=few dbname=postgres", pg_fixture.dir);
    assert_true(open_at(scene, conninfo, 0));
    first = scene->client;
    scene->client = NULL;
    return first;
}

static void on_room(void *arg)
{
    struct pg_client **first = arg;

    pg_close(*first);
    *first = NULL;
}

static void test_pg_open__a_full_server_is_tried_again(void **state)
{
    struct pg_scene *scene = *state;
    char conninfo[400];
    struct pg_client *first = fill(scene, conninfo);
    struct neap_timer *timer = neap_timer_begin(scene->loop, 300, 0, on_room, &first);

    assert_true(open_at(scene, conninfo, 20000));
    assert_null(first);
    assert_int_equal(pg_scene_int(scene, "select 1"), 1);
    neap_timer_end(timer);
}

static void test_pg_open__a_full_server_is_given_up(void **state)
{
    struct pg_scene *scene = *state;
    char conninfo[400];
    struct pg_client *first = fill(scene, conninfo);
    int64_t began_ms = neap_clock_ms();

    assert_false(open_at(scene, conninfo, 600));
    assert_true(neap_clock_ms() - began_ms >= 200); /* it was not the first refusal */
    assert_int_equal(scene->err.code, NEAP_ERR_DB_CONNECT);
    assert_non_null(strstr(scene->err.message, "too many connections for role"));
    assert_non_null(strstr(scene->err.hint, "pg_stat_activity"));
    pg_close(first);
}

static void stop(void *arg)
{
    neap_run_stop(arg, NEAP_ERR_RUN_INTERRUPTED, NULL);
}

static void test_pg_open__a_stop_ends_the_tries(void **state)
{
    struct pg_scene *scene = *state;
    char conninfo[400];
    struct pg_client *first = fill(scene, conninfo);
    struct neap_timer *timer =
        neap_timer_begin(scene->loop, 300, 0, stop, neap_loop_run(scene->loop));

    assert_false(open_at(scene, conninfo, 60000));
    assert_int_equal(scene->err.code, NEAP_ERR_RUN_INTERRUPTED);
    neap_timer_end(timer);
    pg_close(first);
}

/* The code says it, whatever language the words are in. */
static void test_pg_open__a_refusal_in_german(void **state)
{
    struct pg_scene *scene = *state;
    char conninfo[400];
    glob_t catalogue = {0};

    if (glob("/usr/share/locale/de/LC_MESSAGES/postgres-*.mo", 0, NULL, &catalogue) != 0)
        skip(); /* a small installation, without translations */
    globfree(&catalogue);
    struct pg_client *first = fill(scene, conninfo);
    int64_t began_ms = neap_clock_ms();

    assert_false(open_at(scene, conninfo, 600));
    assert_true(neap_clock_ms() - began_ms >= 200);
    assert_non_null(strstr(scene->err.message, ": zu viele Verbindungen"));
    assert_null(scene->err.detail);
    assert_non_null(strstr(scene->err.hint, "pg_stat_activity"));
    neap_error_clear(&scene->err);
    snprintf(conninfo, sizeof conninfo, "host=%s user=postgres dbname=nowhere", pg_fixture.dir);
    assert_false(open_at(scene, conninfo, 600));
    assert_non_null(strstr(scene->err.message, "»nowhere« existiert nicht"));
    assert_non_null(strstr(scene->err.hint, "psql -l"));
    pg_close(first);
}

/* It accepts and never speaks: our limit ends it, and the loop turns meanwhile. */
static void test_pg_open__silence_has_a_limit(void **state)
{
    struct pg_scene *scene = *state;
    int port = 0, ticks = 0;
    int listener = listen_silently(&port);
    int64_t begin_ms = neap_clock_ms();
    struct neap_timer *timer = neap_timer_begin(scene->loop, 10, 10, count_tick, &ticks);
    char conninfo[128];

    snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%d sslmode=disable dbname=x", port);
    assert_false(open_at(scene, conninfo, 300));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_CONNECT);
    assert_non_null(strstr(scene->err.message, "no answer in 300 ms"));
    assert_in_range(neap_clock_ms() - begin_ms, 290, TEST_HANG_MS);
    assert_true(ticks > 0);
    scene->run.deadline_ms = neap_clock_ms() + 100;
    assert_false(open_at(scene, conninfo, 60000));
    assert_int_equal(scene->err.code, NEAP_ERR_RUN_DEADLINE);
    neap_timer_end(timer);
    close(listener);
}

static bool is_answered(void *arg)
{
    return *(const bool *)arg;
}

static void on_answer(void *arg, struct pg_op *op)
{
    (void)op;
    *(bool *)arg = true;
}

/* Gives the loop turns until the server has answered `scene` something slow. */
static void be_busy(struct pg_scene *scene)
{
    bool answered = false;
    struct pg_statement statement = {
        .sql = "select pg_sleep(0.3)", .call_id = -1, .done = on_answer, .arg = &answered};
    struct neap_wait wait = {.done = is_answered, .arg = &answered, .what = "a slow answer"};

    assert_true(pg_send(scene->client, &statement, NULL, &scene->err));
    wait.deadline_ms = neap_clock_deadline_ms(TEST_HANG_MS);
    assert_true(neap_loop_wait(scene->loop, &wait, &scene->err));
}

static void test_pg_open__a_session_opens_while_another_is_waited_for(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_open_opts opts = {.conninfo = pg_fixture.conninfo, .application_name = "neap:two"};
    struct pg_op *op = NULL;
    struct pg_client *client;

    assert_true(open_at(scene, pg_fixture.conninfo, 0));
    client = pg_open_begin(scene->loop, &opts, "select 'first'");
    be_busy(scene);
    assert_int_equal(pg_scene_int(scene, "select count(*)::int from pg_stat_activity"
                                         " where application_name = 'neap:two'"
                                         " and query like '%first%' and state = 'idle'"),
                     1);
    assert_true(pg_open_end(client, &opts, &op, &scene->err));
    assert_string_equal(pg_cell(op, 0, 0), "first");
    pg_op_free(op);
    assert_true(pg_exec_text(client, "select 2", 0, NULL, NULL, &scene->err));
    pg_close(client);
    pg_close(pg_open_begin(scene->loop, &opts, "select 1")); /* before it is there */
    client = pg_open_begin(scene->loop, &opts, "select 1");
    be_busy(scene);
    pg_close(client); /* with an answer that nobody took */
}

static void test_pg_open__the_second_half_tells_what_failed(void **state)
{
    struct pg_scene *scene = *state;
    struct pg_open_opts nowhere = {.conninfo = "host=/nowhere dbname=x"};
    struct pg_open_opts opts = {.conninfo = pg_fixture.conninfo, .application_name = "neap:gone"};
    struct pg_op *op = NULL;
    struct pg_client *client;

    assert_true(open_at(scene, pg_fixture.conninfo, 0));
    client = pg_open_begin(scene->loop, &nowhere, "select 1");
    be_busy(scene);
    assert_false(pg_open_end(client, &nowhere, &op, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_CONNECT);
    neap_error_clear(&scene->err);
    client = pg_open_begin(scene->loop, &opts, "select 1 / 0");
    be_busy(scene);
    assert_false(pg_open_end(client, &opts, &op, &scene->err));
    assert_string_equal(scene->err.sqlstate, "22012");
    neap_error_clear(&scene->err);
    client = pg_open_begin(scene->loop, &opts, "select pg_sleep(60)");
    be_busy(scene);
    assert_int_equal(pg_scene_int(scene, "select count(pg_terminate_backend(pid))::int"
                                         " from pg_stat_activity"
                                         " where application_name = 'neap:gone'"),
                     1);
    assert_false(pg_open_end(client, &opts, &op, &scene->err));
    assert_int_equal(scene->err.code, NEAP_ERR_DB_LOST);
}

static int end_server(void **state)
{
    (void)state;
    pg_fixture_stop();
    neap_redact_clear();
    return 0;
}

static int begin_german(void **state)
{
    (void)state;
    setenv("LANGUAGE", "de", 1);
    pg_fixture_start("-clc_messages=C.UTF-8");
    unsetenv("LANGUAGE");
    return 0;
}

int main(void)
{
    const struct CMUnitTest german[] = {PG_SCENE(test_pg_open__a_refusal_in_german)};
    const struct CMUnitTest tests[] = {
        PG_SCENE(test_pg_open__the_session_is_ours),
        PG_SCENE(test_pg_open__a_uri_works),
        PG_SCENE(test_pg_open__the_environment_works),
        PG_SCENE(test_pg_open__the_second_host_is_tried),
        PG_SCENE(test_pg_open__a_refusal_says_where),
        PG_SCENE(test_pg_open__causes_have_their_hints),
        PG_SCENE(test_pg_open__a_wrong_password_says_where_it_came_from),
        PG_SCENE(test_pg_open__broken_strings_keep_the_secret),
        PG_SCENE(test_pg_open__a_full_server_is_tried_again),
        PG_SCENE(test_pg_open__a_full_server_is_given_up),
        PG_SCENE(test_pg_open__a_stop_ends_the_tries),
        PG_SCENE(test_pg_open__silence_has_a_limit),
        PG_SCENE(test_pg_open__a_session_opens_while_another_is_waited_for),
        PG_SCENE(test_pg_open__the_second_half_tells_what_failed),
    };

    return cmocka_run_group_tests(tests, pg_fixture_begin, end_server) +
           cmocka_run_group_tests(german, begin_german, end_server);
}
