/* SPDX-License-Identifier: MIT
 *
 * What pgBackRest 2.45 and Barman 3.4 say of their backups, and the lines that go back to
 * one.
 */
#include "tests/unit/test_support.h"

#include "bindings/backup/backup_pitr.h"
#include "host/base/memory.h"

static json_t *json_of(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    return json;
}

static const char info[] =
    "[{\"backup\":[{\"archive\":{\"start\":\"000000010000000000000007\","
    "\"stop\":\"0000000A0000000000000008\"},\"info\":{\"delta\":7,\"repository\":"
    "{\"delta\":3062113,\"size\":5},\"size\":23213656},\"label\":\"20261121-072357F\","
    "\"lsn\":{\"start\":\"0/700028\",\"stop\":\"0/800050\"},\"type\":\"full\"}],"
    "\"db\":[{\"id\":1,\"system-id\":7710522152116263882}],\"name\":\"shop\"}]";

static void test_backup_pitr__reads_what_pgbackrest_says(void **unused)
{
    struct backup_pitr_set *sets = NULL;
    size_t count = 0;
    json_t *json = json_of(info);
    (void)unused;
    assert_true(backup_pitr_pgbackrest_sets(json, &sets, &count));
    assert_int_equal(count, 1);
    assert_string_equal(sets[0].label, "20261121-072357F");
    assert_string_equal(sets[0].end_lsn, "0/800050");
    assert_int_equal(sets[0].timeline, 10);
    assert_int_equal(sets[0].bytes, 3062113);
    assert_int_equal(sets[0].database_bytes, 23213656);
    backup_pitr_set_clear(&sets[0]);
    free(sets);
    json_decref(json);
}

/* Whatever answers in its place, no word of it gets into an argument list unseen. */
static void test_backup_pitr__believes_no_strange_answer(void **unused)
{
    static const char hostile[] =
        "[{\"backup\":[{\"label\":\"--x; rm\",\"lsn\":{\"stop\":\"0/1\"},\"archive\":"
        "{\"stop\":\"000000010000000000000008\"}}]}]";
    static const char *const answers[] = {
        "{}",
        "[]",
        "[{}]",
        "[{\"backup\":{}}]",
        "[{\"backup\":[{}]}]",
        "[{\"backup\":[{\"label\":\"20261121-072357F\"}]}]",
        hostile,
    };
    (void)unused;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct backup_pitr_set *sets = NULL, set;
        size_t count = 0;
        json_t *json = json_of(answers[i]);
        assert_false(backup_pitr_pgbackrest_sets(json, &sets, &count));
        assert_false(backup_pitr_barman_set(json, "shop", &set));
        json_decref(json);
    }
}

static void test_backup_pitr__reads_what_barman_says(void **unused)
{
    static const char shown[] =
        "{\"shop\":{\"backup_id\":\"20261121T072546\",\"base_backup_information\":{"
        "\"begin_lsn\":\"0/B00028\",\"begin_wal\":\"00000001000000000000000B\","
        "\"disk_usage_bytes\":23433153,\"end_lsn\":\"0/C00000\","
        "\"end_wal\":\"00000001000000000000000B\",\"incremental_size_bytes\":33,"
        "\"timeline\":1},\"pgdata_directory\":\"/srv/data\",\"status\":\"%s\"}}";
    static const struct {
        const char *status;
        bool good;
    } cases[] = {{"DONE", true}, {"WAITING_FOR_WALS", true}, {"FAILED", false}};
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct backup_pitr_set set;
        char *text = neap_strdup(shown);
        char *at = strstr(text, "%s");
        char *full = neap_format("%.*s%s%s", (int)(at - text), text, cases[i].status, at + 2);
        json_t *json = json_of(full);
        assert_int_equal(backup_pitr_barman_set(json, "shop", &set), cases[i].good);
        if (cases[i].good) {
            assert_string_equal(set.label, "20261121T072546");
            assert_string_equal(set.directory, "/srv/data");
            assert_string_equal(set.end_lsn, "0/C00000");
            assert_int_equal(set.timeline, 1);
        }
        backup_pitr_set_clear(&set);
        json_decref(json);
        free(full);
        free(text);
    }
}

/* It exits with 0 whatever it found. */
static void test_backup_pitr__judges_what_pgbackrest_verified(void **unused)
{
    static const char wal[] = "  archiveId: 15-1, total WAL checked: 6, total valid WAL: %d\n";
    static const char label[] = "20261121-072357F";
    static const struct {
        const char *status, *ours, *others;
        int valid_wal;
        enum backup_pitr_verdict verdict;
    } cases[] = {
        {"ok", "valid", "valid", 6, BACKUP_PITR_VALID},
        {"error", "valid", "invalid", 6, BACKUP_PITR_OTHERS_DAMAGED},
        {"error", "invalid", "valid", 6, BACKUP_PITR_DAMAGED},
        {"error", "valid", "valid", 5, BACKUP_PITR_DAMAGED},
        {"ok", "in-progress", "valid", 6, BACKUP_PITR_DAMAGED},
    };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *archive = neap_format(wal, cases[i].valid_wal);
        char *said = neap_format("stanza: shop\nstatus: %s\n%s    missing: 0\n"
                                 "  backup: 20261121-072357F_20261121-080000I, status: %s, x\n"
                                 "  backup: %s, status: %s, total files checked: 964\n",
                                 cases[i].status, archive, cases[i].others, label, cases[i].ours);
        assert_int_equal(backup_pitr_pgbackrest_verdict(said, label), cases[i].verdict);
        free(archive);
        free(said);
    }
    assert_int_equal(backup_pitr_pgbackrest_verdict("", label), BACKUP_PITR_DAMAGED);
    assert_int_equal(backup_pitr_pgbackrest_verdict("stanza: shop\nstatus: ok\n", label),
                     BACKUP_PITR_DAMAGED);
}

static void check_line(enum backup_pitr_tool tool, struct backup_pitr_target target,
                       const char *wanted)
{
    char server[] = "shop", first[] = "sudo", second[] = "it's";
    char *command[] = {first, second, NULL};
    struct backup_pitr rule = {.tool = tool, .server = server, .command = command};
    char *line = backup_pitr_restore_line(&rule, &target);
    assert_string_equal(line, wanted);
    free(line);
}

static void test_backup_pitr__writes_lines_for_a_shell(void **unused)
{
    struct backup_pitr_target name = {
        .label = "20F", .name = "neap_r", .lsn = "0/1", .timeline = 10, .directory = "/a b"};
    struct backup_pitr_target lsn = {.label = "20F", .lsn = "0/1", .timeline = 2};
    struct backup_pitr_target end = {.label = "20F", .timeline = 1};
    (void)unused;
    check_line(BACKUP_PITR_PGBACKREST, name,
               "sudo 'it'\\''s' --stanza=shop --delta --set=20F --type=name --target=neap_r "
               "--target-action=promote --target-timeline=10 restore");
    check_line(BACKUP_PITR_PGBACKREST, lsn,
               "sudo 'it'\\''s' --stanza=shop --delta --set=20F --type=lsn --target=0/1 "
               "--target-exclusive --target-action=promote --target-timeline=2 restore");
    check_line(BACKUP_PITR_PGBACKREST, end,
               "sudo 'it'\\''s' --stanza=shop --delta --set=20F --type=immediate "
               "--target-action=promote --target-timeline=1 restore");
    check_line(BACKUP_PITR_BARMAN, name,
               "sudo 'it'\\''s' recover --target-name neap_r --target-action promote "
               "--target-tli 10 shop 20F '/a b'");
    check_line(BACKUP_PITR_BARMAN, lsn,
               "sudo 'it'\\''s' recover --target-lsn 0/1 --exclusive --target-action promote "
               "--target-tli 2 shop 20F DATA_DIRECTORY");
    check_line(BACKUP_PITR_BARMAN, end,
               "sudo 'it'\\''s' recover --target-immediate --target-action promote "
               "--target-tli 1 shop 20F DATA_DIRECTORY");
}

static void test_backup_pitr__knows_plain_words(void **unused)
{
    static const char *const bad[] = {"", "-x", ".", "a b", "a;b", "a/b", "$(x)", "a\nb"};
    (void)unused;
    assert_true(backup_pitr_is_word("20261121-072357F_20261121-080000I"));
    assert_true(backup_pitr_is_word("neap_20261121T080020-abc"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(backup_pitr_is_word(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backup_pitr__reads_what_pgbackrest_says),
        cmocka_unit_test(test_backup_pitr__believes_no_strange_answer),
        cmocka_unit_test(test_backup_pitr__reads_what_barman_says),
        cmocka_unit_test(test_backup_pitr__judges_what_pgbackrest_verified),
        cmocka_unit_test(test_backup_pitr__writes_lines_for_a_shell),
        cmocka_unit_test(test_backup_pitr__knows_plain_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
