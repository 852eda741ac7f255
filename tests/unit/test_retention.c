/* SPDX-License-Identifier: MIT
 *
 * Which backups go: to the microsecond, and never against what speaks for one; and which
 * runs of a journal still name theirs.
 */
#include "host/proof/retention.h"

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/change/audit.h"
#include "tests/unit/test_support.h"

#define NOW_US 1795208738123456 /* 2026-11-20T21:05:38.123456Z */
#define DAY_US 86400000000

static char prod[] = "prod";

static struct neap_environment environment(int64_t keep)
{
    struct neap_environment env = {.name = prod, .retention_keep = keep};
    for (int tag = 0; tag < NEAP_RETENTION_COUNT; tag++)
        env.retention_ms[tag] = (tag + 1) * DAY_US / 1000;
    env.retention_ms[NEAP_RETENTION_MONTHLY] = NEAP_FOREVER;
    return env;
}

struct made {
    const char *id, *environment, *identity, *tag;
    int64_t age_us; /* since its end */
    bool proved;
    enum neap_retention_why why;
};

static struct backup backup_of(const struct made *made)
{
    char at[NEAP_UTC_SIZE];
    struct backup backup = {.id = neap_strdup(made->id), .path = neap_strdup("/nowhere")};
    if (made->environment == NULL)
        return backup; /* cannot be read */
    neap_clock_utc_of(NOW_US - made->age_us, at);
    backup.manifest = json_object();
    neap_json_set(backup.manifest, "environment", neap_json_text(made->environment));
    neap_json_set(backup.manifest, "identity", neap_json_text(made->identity));
    neap_json_set(backup.manifest, "tag", neap_json_text(made->tag));
    neap_json_set(backup.manifest, "finished_at", neap_json_text(at));
    if (made->proved)
        backup.verified = json_pack("{s:s, s:b}", "level", "full", "ok", 1);
    return backup;
}

static void check(const struct neap_environment *env, const json_t *named, const struct made *made,
                  size_t count)
{
    struct backup *backups = neap_alloc(count * sizeof *backups);
    struct neap_retention *verdicts = neap_alloc(count * sizeof *verdicts);
    for (size_t i = 0; i < count; i++)
        backups[i] = backup_of(&made[i]);
    neap_retention_judge(env, named, NOW_US, backups, count, verdicts);
    for (size_t i = 0; i < count; i++)
        if (verdicts[i].why != made[i].why)
            fail_msg("%s: %s, expected %s", made[i].id, neap_retention_why_name(verdicts[i].why),
                     neap_retention_why_name(made[i].why));
    backup_list_free(backups, count);
    free(verdicts);
}

#define CHECK(env, named, made) check(env, named, made, sizeof(made) / sizeof *(made))

static void test_retention__by_tag_and_age(void **state)
{
    struct neap_environment env = environment(1);
    static const struct made made[] = {
        {"9", "prod", "1/1", "daily", -1, false, NEAP_STAYS_FUTURE},
        {"8", "prod", "1/1", "daily", 0, false, NEAP_STAYS_YOUNG},
        {"7", "prod", "1/1", "pre_migration", DAY_US - 1, false, NEAP_STAYS_YOUNG},
        {"6", "prod", "1/1", "pre_migration", DAY_US, false, NEAP_GOES},
        {"5", "prod", "1/1", "daily", DAY_US, false, NEAP_STAYS_YOUNG},
        {"4", "prod", "1/1", "daily", 2 * DAY_US, false, NEAP_GOES},
        {"3", "prod", "1/1", "monthly", 900 * DAY_US, false, NEAP_STAYS_FOR_EVER},
        {"2", "prod", "1/1", "release", 900 * DAY_US, false, NEAP_STAYS_UNTAGGED},
        {"1", "prod", "1/1", NULL, 900 * DAY_US, false, NEAP_STAYS_UNTAGGED},
        {"0", "dev", "1/1", "daily", 900 * DAY_US, false, NEAP_STAYS_ENVIRONMENT},
        {"00", NULL, NULL, NULL, 0, false, NEAP_STAYS_UNREADABLE},
    };
    (void)state;
    CHECK(&env, NULL, made);
}

static void test_retention__the_last_proved_of_each_database_stay(void **state)
{
    struct neap_environment env = environment(2);
    static const struct made made[] = {
        {"7", "prod", "1/1", "daily", 9 * DAY_US, false, NEAP_GOES},
        {"6", "prod", "1/1", "daily", 9 * DAY_US, true, NEAP_STAYS_PROVED},
        {"5", "dev", "1/1", "daily", 9 * DAY_US, true, NEAP_STAYS_ENVIRONMENT},
        {"4", "prod", "1/2", "daily", 9 * DAY_US, true, NEAP_STAYS_PROVED},
        /* The order is the store's: a clock that was wrong does not make it the first. */
        {"3", "prod", "1/1", "daily", 3 * DAY_US, true, NEAP_STAYS_PROVED},
        {"2", "prod", "1/1", "daily", 2 * DAY_US, true, NEAP_GOES},
        {"1", "prod", "1/2", "daily", 9 * DAY_US, false, NEAP_GOES},
    };
    (void)state;
    CHECK(&env, NULL, made);
}

static void test_retention__a_way_back_stays(void **state)
{
    struct neap_environment env = environment(1);
    static const struct made made[] = {
        {"3", "prod", "1/1", "daily", 9 * DAY_US, true, NEAP_STAYS_PROVED},
        {"2", "prod", "1/1", "daily", 9 * DAY_US, true, NEAP_STAYS_WAY_BACK},
        {"1", "prod", "1/1", "daily", 9 * DAY_US, true, NEAP_GOES},
    };
    json_t *named = json_pack("{s:b}", "2", 1);
    (void)state;
    CHECK(&env, named, made);
    json_decref(named);
}

/* A run of a journal: its plan has one migration. exit_status -1: it was killed. */
struct run {
    const char *id, *backup, *migration;
    bool committed;
    int exit_status;
    const char *settled;
};

static void write_run(const char *dir, const struct run *run)
{
    struct neap_audit_opts opts = {.state_dir = dir, .identity = "1/1", .run_id = run->id};
    struct neap_audit *audit = NULL;
    struct neap_error err = {0};
    if (!neap_audit_open(&opts, &audit, &err) || !neap_audit_begin(audit, "", json_object(), &err))
        fail_msg("%s", err.message);
    if (run->migration != NULL)
        neap_audit_add(audit, "run.plan",
                       json_pack("{s:[{s:s}]}", "migrations", "id", run->migration));
    neap_audit_add(audit, "gate", json_pack("{s:s, s:s}", "gate", "verify", "backup", "other"));
    if (run->backup != NULL)
        neap_audit_add(audit, "gate",
                       json_pack("{s:s, s:s}", "gate", "backup", "backup", run->backup));
    if (run->committed)
        neap_audit_add(audit, "step.committed", json_pack("{s:s}", "id", run->migration));
    if (run->settled != NULL)
        neap_audit_add(audit, "history.settled", json_pack("{s:s}", "id", run->settled));
    if (run->exit_status >= 0)
        neap_audit_add(audit, "run.end", json_pack("{s:i}", "exit_status", run->exit_status));
    assert_true(neap_audit_sync(audit, &err));
    neap_audit_close(audit);
}

/* The ids that are named, in order, as "a b". */
static void check_named(const struct run *runs, size_t count, const char *expected)
{
    struct neap_error err = {0};
    char *dir = test_temp_dir();
    json_t *named = json_object();
    char text[64] = "";
    const char *id;
    json_t *value;
    for (size_t i = 0; i < count; i++)
        write_run(dir, &runs[i]);
    if (!neap_retention_named(dir, "1/1", named, &err))
        fail_msg("%s", err.message);
    json_object_foreach(named, id, value)
    {
        strcat(text, text[0] == '\0' ? "" : " ");
        strcat(text, id);
    }
    assert_string_equal(text, expected);
    json_decref(named);
    test_temp_remove(dir);
    free(dir);
}

#define CHECK_NAMED(expected, ...)                               \
    do {                                                         \
        static const struct run runs[] = {__VA_ARGS__};          \
        check_named(runs, sizeof runs / sizeof *runs, expected); \
    } while (0)

static void test_retention__runs_name_their_way_back(void **state)
{
    (void)state;
    check_named(NULL, 0, "");
    /* The last change; one that failed and changed nothing names none. */
    CHECK_NAMED("b", {"r1", "a", "0001", true, 0, NULL}, {"r2", "b", "0002", true, 0, NULL},
                {"r3", "c", "0003", false, 1, NULL}, {"r4", NULL, "0004", true, 0, NULL});
    /* Killed, and halfway: until what was planned is done, or a person settled it. */
    CHECK_NAMED("b a", {"r1", "a", "0001", true, 0, NULL}, {"r2", "b", "0002", false, -1, NULL});
    CHECK_NAMED("b a", {"r1", "a", "0001", true, 0, NULL}, {"r2", "b", "0002", false, 9, NULL},
                {"r3", NULL, "0003", true, 0, NULL});
    CHECK_NAMED("c", {"r1", "a", "0001", true, 0, NULL}, {"r2", "b", "0002", false, 9, NULL},
                {"r3", "c", "0002", true, 0, NULL});
    CHECK_NAMED("a", {"r1", "a", "0001", true, 0, NULL}, {"r2", "b", "0002", false, 15, NULL},
                {"r3", NULL, NULL, false, 0, "0002"});
    /* Killed after its last COMMIT: all that it planned is done, and it is the last change. */
    CHECK_NAMED("b", {"r1", "a", "0001", true, 0, NULL}, {"r2", "b", "0002", true, -1, NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retention__by_tag_and_age),
        cmocka_unit_test(test_retention__the_last_proved_of_each_database_stay),
        cmocka_unit_test(test_retention__a_way_back_stays),
        cmocka_unit_test(test_retention__runs_name_their_way_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
