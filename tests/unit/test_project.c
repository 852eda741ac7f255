/* SPDX-License-Identifier: MIT
 *
 * neap.lua, variables and flags: who wins, what is refused, and that no secret is
 * shown.
 */
#include "tests/unit/test_support.h"

#include <math.h>
#include <sys/stat.h>

#include "bindings/backup/backup_pitr.h"
#include "bindings/pg/pg_conninfo.h"
#include "host/base/clock.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/cli/cli_find.h"
#include "host/project/project.h"

struct fixture {
    char *dir;
    struct neap_run run;
    struct neap_loop *loop;
    struct neap_project project;
    struct neap_error err;
};

static int set_up(void **state)
{
    static const char *const variables[] = {
        "NEAP_ENV", "NEAP_TIMEOUT",     "NEAP_MEMORY",     "NEAP_STATE_DIR",   "DATABASE_URL",
        "PGHOST",   "PGSERVICE",        "PGDATABASE",      "PGHOSTADDR",       "PGPASSWORD",
        "SHOP_URL", "NEAP_CONTROL_URL", "NEAP_BACKUP_URL", "NEAP_RESTORE_URL",
    };
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        unsetenv(variables[i]);
    f->dir = test_temp_dir();
    neap_run_init(&f->run);
    assert_true(neap_loop_open(&f->run, &f->loop, &f->err));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char *path = neap_path_join(f->dir, "neap.lua");
    unlink(path);
    free(path);
    rmdir(f->dir);
    neap_project_clear(&f->project);
    neap_error_clear(&f->err);
    neap_loop_close(f->loop);
    neap_run_clear(&f->run);
    neap_redact_clear();
    free(f->dir);
    free(f);
    return 0;
}

static void write_config(struct fixture *f, const char *text, mode_t mode)
{
    char *path = neap_path_join(f->dir, "neap.lua");
    assert_true(neap_path_write(path, text, strlen(text), 0600, &f->err));
    assert_int_equal(chmod(path, mode), 0);
    free(path);
}

static bool open_with(struct fixture *f, struct neap_project_opts opts)
{
    opts.dir = f->dir;
    neap_project_clear(&f->project);
    neap_error_clear(&f->err);
    return neap_project_open(f->loop, &opts, &f->project, &f->err);
}

static void check_opens(struct fixture *f, struct neap_project_opts opts)
{
    if (!open_with(f, opts))
        fail_msg("%s", f->err.message);
}

static void check_refused(struct fixture *f, const char *config, enum neap_error_code code,
                          const char *message)
{
    write_config(f, config, 0600);
    assert_false(open_with(f, (struct neap_project_opts){.env = "prod"}));
    assert_int_equal(f->err.code, code);
    assert_contains(f->err.message, message);
}

static const struct neap_setting *setting(const struct fixture *f, const char *name)
{
    for (size_t i = 0; i < f->project.setting_count; i++)
        if (strcmp(f->project.settings[i].name, name) == 0)
            return &f->project.settings[i];
    fail_msg("no setting %s", name);
    return NULL;
}

static const char shop[] =
    "return { environments = {\n"
    "  prod = { url = env 'SHOP_URL', protected = true, role = 'migrator', timeout = '45s',\n"
    "           lock_timeout = '250ms', memory = '64MB', pooler = 'transaction',\n"
    "           system_identifier = '7301', database = 'shop' },\n"
    "  staging = { url = 'service=staging', control = 'service=books' } } }\n";

static void test_project__values(void **state)
{
    struct fixture *f = *state;
    write_config(f, shop, 0644);
    setenv("SHOP_URL", "postgresql://u:hunter22@db:6543/shop", 1);
    check_opens(f, (struct neap_project_opts){.env = "prod"});
    const struct neap_environment *env = &f->project.env;
    assert_string_equal(env->name, "prod");
    assert_string_equal(env->url, "postgresql://u:hunter22@db:6543/shop");
    assert_true(env->is_protected && env->pooler && !env->scratch && !env->allow_superuser);
    assert_string_equal(env->role, "migrator");
    assert_string_equal(env->system_identifier, "7301");
    assert_int_equal(env->timeout_ms, 45000);
    assert_int_equal(env->lock_timeout_ms, 250);
    assert_int_equal(env->lock_budget_ms, 120000);
    assert_int_equal(env->memory_bytes, 64 * 1024 * 1024);
    assert_int_equal(env->connect_timeout_ms, 10000);
    assert_string_equal(f->project.environment_names[0], "prod");
    assert_string_equal(f->project.environment_names[1], "scratch");
    assert_string_equal(f->project.environment_names[2], "staging");
    assert_null(f->project.environment_names[3]);
}

static void test_project__secrets_stay_secret(void **state)
{
    struct fixture *f = *state;
    write_config(f, shop, 0644);
    setenv("SHOP_URL", "postgresql://u:hunter22@db:6543/shop", 1);
    check_opens(f, (struct neap_project_opts){.env = "prod"});
    assert_string_equal(setting(f, "url")->value,
                        "user=u password=*** dbname=shop host=db port=6543");
    char *shown = neap_redact("it is hunter22 indeed");
    assert_lacks(shown, "hunter22");
    free(shown);
    setenv("SHOP_URL", "postgresql://u:hunter%2@db/shop", 1);
    assert_false(open_with(f, (struct neap_project_opts){.env = "prod"}));
    char *text = neap_error_text(&f->err);
    assert_lacks(text, "hunter");
    free(text);
}

static void test_project__order_of_origins(void **state)
{
    struct fixture *f = *state;
    write_config(f, shop, 0644);
    setenv("SHOP_URL", "service=shop", 1);
    check_opens(f, (struct neap_project_opts){.env = "prod"});
    assert_string_equal(setting(f, "timeout")->origin, "neap.lua");
    assert_string_equal(setting(f, "lock_budget")->origin, "default");
    setenv("NEAP_TIMEOUT", "50s", 1);
    check_opens(f, (struct neap_project_opts){.env = "prod"});
    assert_int_equal(f->project.env.timeout_ms, 50000);
    assert_string_equal(setting(f, "timeout")->origin, "NEAP_TIMEOUT");
    check_opens(f, (struct neap_project_opts){.env = "prod", .timeout = "55s"});
    assert_int_equal(f->project.env.timeout_ms, 55000);
    assert_string_equal(setting(f, "timeout")->origin, "--timeout");
}

static void test_project__order_of_targets(void **state)
{
    struct fixture *f = *state;
    write_config(f,
                 "return { default = 'a', environments = { a = { url = 'dbname=a' }, "
                 "b = { url = 'dbname=b' } } }",
                 0644);
    check_opens(f, (struct neap_project_opts){0});
    assert_string_equal(f->project.env.name, "a");
    setenv("PGDATABASE", "c", 1);
    check_opens(f, (struct neap_project_opts){0});
    assert_string_equal(f->project.env.name, "PG*");
    assert_null(f->project.env.url);
    setenv("DATABASE_URL", "postgresql:///d", 1);
    check_opens(f, (struct neap_project_opts){0});
    assert_string_equal(f->project.env.name, "DATABASE_URL");
    assert_string_equal(f->project.env.url, "postgresql:///d");
    setenv("NEAP_ENV", "b", 1);
    check_opens(f, (struct neap_project_opts){0});
    assert_string_equal(f->project.env.url, "dbname=b");
    check_opens(f, (struct neap_project_opts){.env = "scratch"});
    assert_true(f->project.env.scratch);
    assert_null(f->project.env.url);
}

static void test_project__the_books_have_a_url_of_their_own(void **state)
{
    struct fixture *f = *state;
    write_config(f, shop, 0644);
    setenv("SHOP_URL", "postgresql:///shop", 1);
    setenv("NEAP_CONTROL_URL", "postgresql://host:hunter22@db/d", 1);
    check_opens(f, (struct neap_project_opts){.env = "staging"});
    assert_string_equal(f->project.env.control, "service=books");
    check_opens(f, (struct neap_project_opts){.env = "prod"});
    assert_null(f->project.env.control); /* what names an environment takes none from outside */
    setenv("DATABASE_URL", "postgresql:///d", 1);
    check_opens(f, (struct neap_project_opts){0});
    assert_string_equal(f->project.env.control, "postgresql://host:hunter22@db/d");
    assert_string_equal(setting(f, "control")->origin, "NEAP_CONTROL_URL");
    assert_null(strstr(setting(f, "control")->value, "hunter22"));
    /* A password in it makes the file a secret, as one in url does. */
    write_config(f,
                 "return { environments = { a = { url = 'dbname=a',"
                 " control = 'postgresql://u:hunter23@db/a' } } }",
                 0644);
    assert_false(open_with(f, (struct neap_project_opts){.env = "a"}));
    assert_int_equal(f->err.code, NEAP_ERR_FILE_REFUSED);
    check_refused(f, "return { environments = { scratch = { control = 'dbname=a' } } }",
                  NEAP_ERR_CONFIG_INVALID, "takes no control");
}

static void check_gates(const struct fixture *f, bool preflight, bool backup, bool rehearsal)
{
    const bool *gates = f->project.env.gates;
    assert_int_equal(gates[NEAP_GATE_PREFLIGHT], preflight);
    assert_int_equal(gates[NEAP_GATE_BACKUP], backup);
    assert_int_equal(gates[NEAP_GATE_REHEARSAL], rehearsal);
}

static void test_project__gates_and_retention(void **state)
{
    struct fixture *f = *state;
    write_config(f,
                 "return { environments = { a = { url = 'dbname=a', protected = true },"
                 " b = { url = 'dbname=b', protected = true, gates = {}, backup_dir = 'kept',"
                 "  backup_max_age = '2h', auto_restore = true, backup = 'service=all', restore = "
                 "'service=r',"
                 "  retention = { daily = '40d', weekly = false, keep = 3 } },"
                 " c = { url = 'dbname=c', gates = { 'backup', 'preflight' } } } }",
                 0600);
    const struct neap_environment *env = &f->project.env;
    check_opens(f, (struct neap_project_opts){.env = "a"});
    check_gates(f, true, true, true);
    assert_int_equal(env->backup_max_age_ms, 3600000);
    assert_int_equal(env->retention_keep, 1);
    assert_true(env->retention_ms[NEAP_RETENTION_MONTHLY] == 365LL * 86400000);
    assert_false(env->auto_restore);
    assert_contains(env->backup_dir, "/backups");
    assert_string_equal(setting(f, "gates")->value, "preflight, backup, rehearsal");
    assert_string_equal(setting(f, "gates")->origin, "default");
    check_opens(f, (struct neap_project_opts){.env = "b"});
    check_gates(f, false, false, false);
    assert_true(env->auto_restore);
    assert_int_equal(env->backup_max_age_ms, 7200000);
    assert_string_equal(env->backup, "service=all");
    assert_string_equal(env->restore, "service=r");
    assert_int_equal(env->retention_keep, 3);
    assert_true(env->retention_ms[NEAP_RETENTION_DAILY] == 40LL * 86400000);
    assert_true(env->retention_ms[NEAP_RETENTION_WEEKLY] == NEAP_FOREVER);
    assert_string_equal(setting(f, "gates")->value, "none");
    assert_string_equal(setting(f, "retention")->value,
                        "pre_migration 30d, daily 40d, weekly for ever, monthly 365d, keep 3");
    char *dir = neap_path_join(f->dir, "kept");
    assert_string_equal(env->backup_dir, dir);
    free(dir);
    check_opens(f, (struct neap_project_opts){.env = "c"});
    check_gates(f, true, true, false);
}

static void test_project__archive(void **state)
{
    struct fixture *f = *state;
    write_config(f,
                 "return { environments = {"
                 " a = { url = 'dbname=a', archive = { tool = 'pgbackrest', stanza = 'shop',"
                 "       type = 'diff', verify = false, command = { 'sudo', 'pgbackrest' } } },"
                 " b = { url = 'dbname=b', archive = { tool = 'barman', server = 'b',"
                 "       timeout = '5min' }, preflight = { archiving = { error = false } } },"
                 " c = { url = 'dbname=c' } } }",
                 0600);
    check_opens(f, (struct neap_project_opts){.env = "a"});
    const struct neap_environment *env = &f->project.env;
    assert_int_equal(env->archive->tool, BACKUP_PITR_PGBACKREST);
    assert_string_equal(env->archive->server, "shop");
    assert_string_equal(env->archive->type, "diff");
    assert_string_equal(env->archive->command[1], "pgbackrest");
    assert_null(env->archive->command[2]);
    assert_false(env->archive->verify);
    assert_int_equal(env->archive->timeout_ms, 2 * 60 * 60 * 1000);
    assert_true(env->preflight[NEAP_PREFLIGHT_ARCHIVING].error > 0);
    assert_string_equal(setting(f, "archive")->value, "pgbackrest, stanza shop: sudo pgbackrest");
    check_opens(f, (struct neap_project_opts){.env = "b"});
    assert_int_equal(env->archive->tool, BACKUP_PITR_BARMAN);
    assert_string_equal(env->archive->command[0], "barman");
    assert_int_equal(env->archive->timeout_ms, 5 * 60 * 1000);
    assert_true(env->archive->verify && env->archive->type == NULL);
    assert_true(isnan(env->preflight[NEAP_PREFLIGHT_ARCHIVING].error));
    check_opens(f, (struct neap_project_opts){.env = "c"});
    assert_null(env->archive);
}

static void test_project__archive_mistakes(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text, *says, *hint;
    } cases[] = {
        {"'pgbackrest'", "archive must be a table", NULL},
        {"{}", "archive.tool must be", NULL},
        {"{ tool = 'pgbackrst' }", "not a known tool", "Did you mean pgbackrest?"},
        {"{ tool = 'pgbackrest' }", "archive.stanza is missing", NULL},
        {"{ tool = 'barman', stanza = 'x' }", "archive.stanza is not a known key", NULL},
        {"{ tool = 'barman', server = 'x', type = 'full' }", "is for pgbackrest", NULL},
        {"{ tool = 'pgbackrest', stanza = '-x' }", "archive.stanza must be a name", NULL},
        {"{ tool = 'pgbackrest', stanza = 'a b' }", "archive.stanza must be a name", NULL},
        {"{ tool = 'pgbackrest', stanza = 3 }", "archive.stanza must be a name", NULL},
        {"{ tool = 'pgbackrest', stanza = 'x', command = 'x' }", "a list of words", NULL},
        {"{ tool = 'pgbackrest', stanza = 'x', command = {} }", "a list of words", NULL},
        {"{ tool = 'pgbackrest', stanza = 'x', command = { 3 } }", "a list of words", NULL},
        {"{ tool = 'pgbackrest', stanza = 'x', type = 'all' }", "archive.type must be", NULL},
        {"{ tool = 'pgbackrest', stanza = 'x', timeout = 5 }", "timeout must be", NULL},
        {"{ tool = 'pgbackrest', stanza = 'x', verify = 1 }", "verify must be true", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *config =
            neap_format("return { environments = { prod = { url = 'dbname=a', archive = %s } } }",
                        cases[i].text);
        check_refused(f, config, NEAP_ERR_CONFIG_INVALID, cases[i].says);
        if (cases[i].hint != NULL)
            assert_contains(f->err.hint, cases[i].hint);
        free(config);
    }
    check_refused(f, "return { environments = { scratch = { archive = {} } } }",
                  NEAP_ERR_CONFIG_INVALID, "takes no archive");
}

static void test_project__gates_and_retention_mistakes(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text, *says, *hint;
    } cases[] = {
        {"gates = { 'bakup' }", "gates: bakup is not a known gate", "Did you mean backup?"},
        {"gates = { 'x' }", "is not a known gate", "preflight, backup, rehearsal"},
        {"gates = { 3 }", "gates must be a list of names", NULL},
        {"gates = { backup = true }", "gates must be a list of names", NULL},
        {"gates = 'backup'", "gates must be a list of names", NULL},
        {"gates = { 'rehearsal' }", "rehearsal without backup", NULL},
        {"retention = { dayly = '7d' }", "retention.dayly", "Did you mean daily?"},
        {"retention = { daily = 7 }", "retention.daily must be a duration", NULL},
        {"retention = { daily = '0' }", "retention.daily must be a duration", NULL},
        {"retention = { keep = 0 }", "keep must be a whole number", NULL},
        {"retention = { keep = '1' }", "keep must be a whole number", NULL},
        {"retention = 7", "retention must be a table", NULL},
        {"backup_max_age = 60", "backup_max_age must be a duration", NULL},
        {"backup = ' '", "backup must not be empty", NULL},
        {"auto_restore = 1", "auto_restore must be true or false", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *config = neap_format("return { environments = { prod = { url = 'dbname=a', %s } } }",
                                   cases[i].text);
        check_refused(f, config, NEAP_ERR_CONFIG_INVALID, cases[i].says);
        if (cases[i].hint != NULL)
            assert_contains(f->err.hint, cases[i].hint);
        free(config);
    }
    check_refused(f, "return { environments = { scratch = { backup = 'dbname=a' } } }",
                  NEAP_ERR_CONFIG_INVALID, "takes no backup");
    write_config(f,
                 "return { environments = { a = { url = 'dbname=a',"
                 " backup = 'postgresql://u:hunter24@db/a' } } }",
                 0644);
    assert_false(open_with(f, (struct neap_project_opts){.env = "a"}));
    assert_int_equal(f->err.code, NEAP_ERR_FILE_REFUSED);
}

static void test_project__no_target(void **state)
{
    struct fixture *f = *state;
    check_opens(f, (struct neap_project_opts){0});
    assert_false(f->project.has_env || f->project.has_config);
    assert_int_equal(f->project.env.timeout_ms, 30000);
    assert_false(neap_project_need_target(&f->project, &f->err));
    assert_int_equal(f->err.code, NEAP_ERR_CONFIG_TARGET);
    assert_contains(f->err.hint, "-e ENV");
    assert_contains(f->err.hint, "DATABASE_URL");
}

static void test_project__mistakes(void **state)
{
    struct fixture *f = *state;
    check_refused(f, "return { enviroments = {} }", NEAP_ERR_CONFIG_INVALID, "enviroments");
    assert_contains(f->err.hint, "environments");
    check_refused(f, "return { environments = { prod = { lock_timout = '1s' } } }",
                  NEAP_ERR_CONFIG_INVALID, "environments.prod.lock_timout");
    assert_contains(f->err.hint, "lock_timeout");
    check_refused(f, "return { environments = { prod = { timeout = 30 } } }",
                  NEAP_ERR_CONFIG_INVALID, "timeout must be a duration");
    check_refused(f, "return { environments = { prod = { timeout = '30' } } }",
                  NEAP_ERR_CONFIG_INVALID, "timeout must be a duration");
    check_refused(f, "return { environments = { prod = { url = 'dbname=a', timeout = '0' } } }",
                  NEAP_ERR_CONFIG_INVALID, "1ms or more");
    check_refused(f, "return { environments = { prod = { protected = 'yes' } } }",
                  NEAP_ERR_CONFIG_INVALID, "true or false");
    check_refused(f, "return { environments = { prod = { pooler = 'session' } } }",
                  NEAP_ERR_CONFIG_INVALID, "transaction");
    check_refused(f, "return { environments = { ['a b'] = {} } }", NEAP_ERR_CONFIG_INVALID,
                  "`a b`");
    check_refused(f, "return { environments = { scratch = { url = 'x' } } }",
                  NEAP_ERR_CONFIG_INVALID, "built in");
    check_refused(f, "return { environments = { prod = { url = env 'SHOP_URL' } } }",
                  NEAP_ERR_CONFIG_INVALID, "has no url");
    check_refused(f, "return 7", NEAP_ERR_CONFIG_INVALID, "table");
    check_refused(f, "return {", NEAP_ERR_CONFIG_INVALID, "");
    check_refused(f, "return { environments = { production = { url = 'dbname=a' } } }",
                  NEAP_ERR_CONFIG_INVALID, "no environment is named `prod`");
    assert_contains(f->err.detail, "production, scratch");
}

static void test_project__password_in_a_readable_file(void **state)
{
    struct fixture *f = *state;
    static const char text[] =
        "return { environments = { prod = { url = 'postgresql://u:hunter22@db/shop' } } }";
    write_config(f, text, 0644);
    assert_false(open_with(f, (struct neap_project_opts){.env = "prod"}));
    assert_int_equal(f->err.code, NEAP_ERR_FILE_REFUSED);
    assert_contains(f->err.hint, "chmod 600");
    write_config(f,
                 "return { environments = { prod = { url = 'host=db password=' .. 'hunter22' "
                 "} } }",
                 0640);
    assert_false(open_with(f, (struct neap_project_opts){.env = "prod"}));
    assert_int_equal(f->err.code, NEAP_ERR_FILE_REFUSED);
    write_config(f, text, 0600);
    check_opens(f, (struct neap_project_opts){.env = "prod"});
    write_config(f, "return {}", 0646);
    assert_false(open_with(f, (struct neap_project_opts){0}));
    assert_int_equal(f->err.code, NEAP_ERR_FILE_REFUSED);
    assert_contains(f->err.hint, "chmod o-w");
}

static void test_project__bad_flag(void **state)
{
    struct fixture *f = *state;
    assert_false(open_with(f, (struct neap_project_opts){.timeout = "30"}));
    assert_contains(f->err.message, "--timeout");
    setenv("NEAP_MEMORY", "1kB", 1);
    assert_false(open_with(f, (struct neap_project_opts){0}));
    assert_contains(f->err.message, "NEAP_MEMORY");
}

static void test_cli_find__upwards(void **state)
{
    struct fixture *f = *state;
    char *inner = neap_path_join(f->dir, "inner");
    char *found = NULL;
    char *here = getcwd(NULL, 0);
    assert_int_equal(mkdir(inner, 0700), 0);
    assert_int_equal(chdir(inner), 0);
    assert_false(cli_find_project(NULL, &found, &f->err));
    assert_contains(f->err.hint, "neap init");
    write_config(f, "return {}", 0644);
    assert_true(cli_find_project(NULL, &found, &f->err));
    assert_string_equal(found, f->dir);
    free(found);
    assert_false(cli_find_project(inner, &found, &f->err)); /* -C is taken at its word */
    assert_int_equal(chmod(f->dir, 0777), 0);
    assert_false(cli_find_project(NULL, &found, &f->err));
    assert_int_equal(chdir(here), 0);
    rmdir(inner);
    free(inner);
    free(here);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_project__values),
        TEST(test_project__secrets_stay_secret),
        TEST(test_project__order_of_origins),
        TEST(test_project__order_of_targets),
        TEST(test_project__the_books_have_a_url_of_their_own),
        TEST(test_project__gates_and_retention),
        TEST(test_project__gates_and_retention_mistakes),
        TEST(test_project__archive),
        TEST(test_project__archive_mistakes),
        TEST(test_project__no_target),
        TEST(test_project__mistakes),
        TEST(test_project__password_in_a_readable_file),
        TEST(test_project__bad_flag),
        TEST(test_cli_find__upwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
