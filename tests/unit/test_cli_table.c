/* SPDX-License-Identifier: MIT
 *
 * Tables and Markdown as a terminal shows them: what is cut, what is escaped.
 */
#include "tests/unit/test_support.h"

#include "host/base/text.h"
#include "host/cli/cli.h"
#include "host/cli/cli_help.h"

static const char *const headings[] = {"id", "name", "state", NULL};

/* Prints to a file instead of stdout; the caller frees. */
static char *print(struct neap_cli *cli, struct cli_table *table)
{
    static char text[4096];
    char name[] = "/tmp/neap-test-XXXXXX";
    int file = mkstemp(name);
    int saved = dup(STDOUT_FILENO);
    assert_true(file >= 0 && saved >= 0);
    unlink(name);
    fflush(stdout);
    dup2(file, STDOUT_FILENO);
    cli_table_print(cli, table);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    ssize_t length = pread(file, text, sizeof text - 1, 0);
    assert_true(length >= 0);
    text[length] = '\0';
    close(file);
    return text;
}

static struct cli_table *sample(const char *name)
{
    struct cli_table *table = cli_table_new(headings);
    cli_table_row(table, CLI_PLAIN, (const char *const[]){"0001", name, "applied"});
    cli_table_row(table, CLI_RED, (const char *const[]){"0002", NULL, ""});
    return table;
}

static void test_cli_table__pads_and_trims(void **state)
{
    struct neap_cli cli = {.width = 80};
    (void)state;
    assert_string_equal(print(&cli, sample("users")), "id    name   state\n"
                                                      "0001  users  applied\n"
                                                      "0002\n");
}

static void test_cli_table__pipe_cuts_nothing(void **state)
{
    struct neap_cli cli = {.width = 20};
    (void)state;
    assert_contains(print(&cli, sample("a_name_that_is_much_wider_than_that")),
                    "a_name_that_is_much_wider_than_that  applied");
}

static void test_cli_table__terminal_cuts_the_widest(void **state)
{
    struct neap_cli cli = {.width = 30, .terminal = true};
    (void)state;
    char *text = print(&cli, sample("a_name_that_is_much_wider_than_that"));
    assert_contains(text, "0001  a_name_that_is…  applied\n");
    for (char *save = NULL, *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        assert_true(neap_text_width(line) <= 30);
}

static void test_cli_table__wide_characters(void **state)
{
    struct neap_cli cli = {.width = 80};
    (void)state;
    assert_contains(print(&cli, sample("翻訳")), "0001  翻訳  applied\n");
    assert_contains(print(&cli, sample("è")), "0001  è     applied\n");
}

static void test_cli_table__escapes_and_colours(void **state)
{
    struct neap_cli cli = {.width = 80};
    (void)state;
    assert_lacks(print(&cli, sample("a\033[2Jb")), "\033");
    cli.colour = true;
    assert_contains(print(&cli, sample("x")), "\033[31m0002\033[0m\n");
}

static void test_cli_table__nothing_with_json(void **state)
{
    struct neap_cli cli = {.width = 80, .json = true};
    (void)state;
    assert_string_equal(print(&cli, sample("x")), "");
}

static void test_cli_markdown__wraps(void **state)
{
    (void)state;
    char *text = cli_markdown("# Title\n\nOne two three four\nfive six seven.\n\n"
                              "- an item that goes on and on\n\n    code   stays\n",
                              24, false);
    assert_contains(text, "One two three four five\nsix seven.\n");
    assert_contains(text, "- an item that goes on\n  and on\n");
    assert_contains(text, "    code   stays\n");
    free(text);
}

static void test_cli_markdown__tables_align(void **state)
{
    (void)state;
    char *text = cli_markdown("| a | b |\n|---|---|\n| long cell | x |\n| s | |\n", 60, false);
    assert_string_equal(text, "a          b\nlong cell  x\ns\n");
    free(text);
}

static void test_cli_markdown__bold_only_with_colour(void **state)
{
    (void)state;
    char *text = cli_markdown("Type `neap up` **now**.\n", 60, true);
    assert_string_equal(text, "Type \033[1mneap up\033[0m \033[1mnow\033[0m.\n");
    free(text);
    text = cli_markdown("Type `neap up` **now**.\n", 0, false);
    assert_string_equal(text, "Type `neap up` **now**.\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_table__pads_and_trims),
        cmocka_unit_test(test_cli_table__pipe_cuts_nothing),
        cmocka_unit_test(test_cli_table__terminal_cuts_the_widest),
        cmocka_unit_test(test_cli_table__wide_characters),
        cmocka_unit_test(test_cli_table__escapes_and_colours),
        cmocka_unit_test(test_cli_table__nothing_with_json),
        cmocka_unit_test(test_cli_markdown__wraps),
        cmocka_unit_test(test_cli_markdown__tables_align),
        cmocka_unit_test(test_cli_markdown__bold_only_with_colour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
