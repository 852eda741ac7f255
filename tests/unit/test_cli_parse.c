/* SPDX-License-Identifier: MIT
 *
 * The command line: order, forms of options, variables, and what the messages of
 * mistakes name.
 */
#include "tests/unit/test_support.h"

#include "host/cli/cli_parse.h"

#define ARGV_MAX 16

struct line {
    struct cli_parsed parsed;
    struct neap_error err;
    bool good;
};

/* Splits `text` at spaces; the parts live as long as the test needs them. */
static struct line parse(const char *text)
{
    static char buffer[512];
    char *argv[ARGV_MAX] = {"neap"};
    int argc = 1;
    struct line line = {0};
    snprintf(buffer, sizeof buffer, "%s", text);
    for (char *save = NULL, *word = strtok_r(buffer, " ", &save); word && argc < ARGV_MAX;
         word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    line.good = cli_parse(argc, argv, &line.parsed, &line.err);
    return line;
}

static void clear(struct line *line)
{
    cli_parsed_clear(&line->parsed);
    neap_error_clear(&line->err);
}

static void check_mistake(const char *text, const char *message, const char *hint)
{
    struct line line = parse(text);
    assert_false(line.good);
    assert_int_equal(line.err.code, NEAP_ERR_USAGE);
    assert_contains(line.err.message, message);
    if (hint)
        assert_contains(line.err.hint, hint);
    clear(&line);
}

/* Wherever it stands, with other mistakes before it; and it is not repeated. */
static void test_cli_parse__a_password_is_refused_unseen(void **state)
{
    static const char *const lines[] = {
        "up postgresql://u:nEaP@h/d",   "-e postgresql://u:nEaP@h/d up",
        "-epostgresql://u:nEaP@h/d up", "--ticket=postgresql:///d?password=nEaP&user=u up",
        "--tickt=password=nEaP up",     "nup --jsn -- password=u&''\"nEaP",
        "--help password=nEaP",
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct line line = parse(lines[i]);
        assert_false(line.good);
        assert_int_equal(line.err.code, NEAP_ERR_USAGE);
        assert_contains(line.err.message, "is a connection string with a password");
        assert_lacks(line.err.message, "nEaP");
        assert_contains(line.err.hint, "DATABASE_URL");
        clear(&line);
    }
    struct line line = parse("up --json --reason password=rotated-by-hand,see=TICKET-1");
    assert_false(line.good); /* libpq would take it */
    assert_true(line.parsed.opt.json);
    clear(&line);
    line = parse("up --reason rotated:password=x --ticket postgresql://u@h/d");
    assert_true(line.good);
    clear(&line);
}

static void test_cli_parse__any_order(void **state)
{
    static const char *const lines[] = {
        "-e prod up 3 --to 7 -n",
        "up -n 3 --to=7 -eprod",
        "--to 7 -ne prod up 3",
        "up --env=prod --dry-run --to 7 -- 3",
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct line line = parse(lines[i]);
        assert_true(line.good);
        assert_string_equal(line.parsed.command->name, "up");
        assert_string_equal(line.parsed.opt.env, "prod");
        assert_string_equal(line.parsed.opt.to, "7");
        assert_true(line.parsed.opt.dry_run);
        assert_int_equal(line.parsed.argc, 1);
        assert_string_equal(line.parsed.argv[0], "3");
        assert_null(line.parsed.argv[1]);
        clear(&line);
    }
}

static void test_cli_parse__two_words(void **state)
{
    (void)state;
    struct line line = parse("lease --json show");
    assert_true(line.good);
    assert_string_equal(line.parsed.command->name, "lease show");
    assert_int_equal(line.parsed.argc, 0);
    assert_true(line.parsed.opt.json);
    clear(&line);
    line = parse("lease");
    assert_true(line.good);
    assert_null(line.parsed.command);
    assert_string_equal(line.parsed.group, "lease");
    clear(&line);
}

static void test_cli_parse__double_dash_ends_options(void **state)
{
    (void)state;
    struct line line = parse("scratch psql -- -c --help");
    assert_true(line.good);
    assert_int_equal(line.parsed.argc, 2);
    assert_string_equal(line.parsed.argv[0], "-c");
    assert_false(line.parsed.opt.help);
    clear(&line);
}

static void test_cli_parse__mistakes_name_the_nearest(void **state)
{
    (void)state;
    check_mistake("statsu", "unknown command `statsu`", "neap status");
    check_mistake("lease shwo", "unknown command `lease shwo`", "neap lease show");
    check_mistake("up --lock-timout 3s", "unknown option --lock-timout", "--lock-timeout");
    check_mistake("up --drty-run=1", "unknown option --drty-run", "--dry-run");
    check_mistake("up -Z", "unknown option -Z", NULL);
    check_mistake("qqqqqq", "unknown command `qqqqqq`", "neap help");
}

static void test_cli_parse__option_of_another_command(void **state)
{
    (void)state;
    struct line line = parse("--to 3 status");
    assert_false(line.good);
    assert_contains(line.err.message, "`neap status` does not take --to");
    assert_string_equal(line.err.detail,
                        "It belongs to: up, down, backup create, backup list, backup show, "
                        "backup verify, backup prune, rehearse, restore.");
    clear(&line);
}

static void test_cli_parse__values(void **state)
{
    (void)state;
    check_mistake("up --to", "--to needs a value", NULL);
    check_mistake("status -e", "--env needs a value", NULL);
    check_mistake("up --dry-run=yes", "--dry-run takes no value", NULL);
    struct line line = parse("up --reason= --to -3");
    assert_true(line.good);
    assert_string_equal(line.parsed.opt.reason, "");
    assert_string_equal(line.parsed.opt.to, "-3"); /* what it means is up's to say */
    clear(&line);
}

static void test_cli_parse__help_wins(void **state)
{
    (void)state;
    struct line line = parse("status --to 3 --help");
    assert_true(line.good);
    assert_true(line.parsed.opt.help);
    assert_string_equal(line.parsed.command->name, "status");
    clear(&line);
    line = parse("--version");
    assert_true(line.good);
    assert_string_equal(line.parsed.command->name, "version");
    clear(&line);
    line = parse("-h");
    assert_true(line.good);
    assert_null(line.parsed.command);
    clear(&line);
}

static void test_cli_parse__json_is_known_after_a_mistake(void **state)
{
    (void)state;
    static const char *const texts[] = {"--json up --wrong", "up --wrong --json", "-Z up --json",
                                        "up --to --json", NULL};
    for (const char *const *text = texts; *text; text++) {
        struct line line = parse(*text);
        assert_false(line.good);
        assert_true(line.parsed.opt.json);
        assert_string_equal(line.parsed.command->name, "up");
        clear(&line);
    }
}

static void test_cli_parse__variables(void **state)
{
    (void)state;
    setenv("NEAP_REASON", "from variable", 1);
    setenv("NEAP_JSON", "0", 1);
    setenv("NEAP_QUIET", "yes", 1);
    setenv("NEAP_TICKET", "", 1);
    struct line line = parse("up");
    assert_true(line.good);
    assert_string_equal(line.parsed.opt.reason, "from variable");
    assert_null(cli_flag_text(&line.parsed, "reason"));
    assert_null(line.parsed.opt.ticket);
    assert_false(line.parsed.opt.json);
    assert_true(line.parsed.opt.quiet);
    clear(&line);
    line = parse("up --reason flag");
    assert_string_equal(line.parsed.opt.reason, "flag");
    assert_string_equal(cli_flag_text(&line.parsed, "reason"), "flag");
    clear(&line);
    line = parse("status"); /* takes no reason: the variable is not its business */
    assert_true(line.good);
    assert_null(line.parsed.opt.reason);
    clear(&line);
    setenv("NEAP_JSON", "maybe", 1);
    check_mistake("up", "NEAP_JSON is `maybe`", NULL);
    unsetenv("NEAP_REASON");
    unsetenv("NEAP_JSON");
    unsetenv("NEAP_QUIET");
    unsetenv("NEAP_TICKET");
}

/* Every word in commands.def's options is a field of options.def. */
static void test_cli_parse__lists_agree(void **state)
{
    (void)state;
    for (const struct neap_command *command = neap_commands; command->name; command++) {
        size_t words = 0;
        size_t taken = 0;
        for (const char *at = command->options; *at != '\0'; words++) {
            at += strcspn(at, " ");
            at += strspn(at, " ");
        }
        for (const struct cli_option *option = cli_options; option->field; option++)
            taken += !cli_option_is_global(option) && cli_option_is_taken(option, command);
        if (words != taken)
            fail_msg("%s: %zu options in its row, %zu known", command->name, words, taken);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_parse__any_order),
        cmocka_unit_test(test_cli_parse__a_password_is_refused_unseen),
        cmocka_unit_test(test_cli_parse__two_words),
        cmocka_unit_test(test_cli_parse__double_dash_ends_options),
        cmocka_unit_test(test_cli_parse__mistakes_name_the_nearest),
        cmocka_unit_test(test_cli_parse__option_of_another_command),
        cmocka_unit_test(test_cli_parse__values),
        cmocka_unit_test(test_cli_parse__help_wins),
        cmocka_unit_test(test_cli_parse__json_is_known_after_a_mistake),
        cmocka_unit_test(test_cli_parse__variables),
        cmocka_unit_test(test_cli_parse__lists_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
