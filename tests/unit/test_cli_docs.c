/* SPDX-License-Identifier: MIT
 *
 * What is derived from the lists mentions all of them: man page, completions,
 * help. And the rules of `neap check` that look at text.
 */
#include "tests/unit/test_support.h"

#include "host/cli/cli_help.h"
#include "host/cli/cli_lint.h"

static void check_mentions(const char *what, const char *text, const char *word)
{
    if (!strstr(text, word))
        fail_msg("%s does not mention \"%s\"", what, word);
}

/* "lock-timeout" as roff writes it. */
static void to_roff(const char *name, char *out, size_t size)
{
    size_t length = 0;
    for (; *name != '\0' && length + 3 < size; name++) {
        if (*name == '-')
            out[length++] = '\\';
        out[length++] = *name;
    }
    out[length] = '\0';
}

static void test_cli_docs__man_mentions_everything(void **state)
{
    char *man = cli_man();
    (void)state;
    assert_int_equal(strncmp(man, ".TH NEAP 1", 10), 0);
    for (const struct neap_command *command = neap_commands; command->name; command++)
        check_mentions("the man page", man, command->name);
    for (const struct cli_option *option = cli_options; option->field; option++) {
        char name[64] = "\\-\\-";
        to_roff(option->name, name + 4, sizeof name - 4);
        check_mentions("the man page", man, name);
        if (option->env)
            check_mentions("the man page", man, option->env);
    }
    for (int code = 1; code < NEAP_ERROR_COUNT; code++)
        check_mentions("the man page", man, neap_error_row((enum neap_error_code)code)->code);
    free(man);
}

static void check_completion(const char *shell)
{
    char *text = cli_completion(shell);
    assert_non_null(text);
    for (const struct neap_command *command = neap_commands; command->name; command++) {
        const char *second = cli_command_second(command);
        check_mentions(shell, text, second ? second : command->name);
    }
    for (const struct cli_option *option = cli_options; option->field; option++)
        check_mentions(shell, text, option->name);
    check_mentions(shell, text, "environments");
    free(text);
}

static void test_cli_docs__completions_mention_everything(void **state)
{
    (void)state;
    check_completion("bash");
    check_completion("zsh");
    check_completion("fish");
    assert_null(cli_completion("tcsh"));
}

static void test_cli_docs__help_of_each_command(void **state)
{
    char *global = cli_help_global();
    (void)state;
    for (const struct neap_command *command = neap_commands; command->name; command++) {
        char *text = cli_help_topic(command->name);
        assert_non_null(text);
        check_mentions("its help", text, command->summary);
        check_mentions("the list", global, command->summary);
        for (const struct cli_option *option = cli_options; option->field; option++)
            if (cli_option_is_taken(option, command))
                check_mentions(command->name, text, option->help);
        free(text);
    }
    free(global);
}

static void test_cli_docs__topics(void **state)
{
    static const char *const wanted[] = {
        "migrations", "sql-files", "steps",   "environments", "exit-codes", "errors", "locks",
        "deadlines",  "recovery",  "poolers", "audit",        "history",    "lease",  "scratch",
        "sandbox",    "promises",  "json",    "security",     "project",    "target", "environment",
        "script",     "step",      "run",     "event",        "rehearsal",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        char *text = cli_help_topic(wanted[i]);
        if (!text || strlen(text) < 40)
            fail_msg("no topic %s", wanted[i]);
        free(text);
    }
    char **topics = cli_help_topics();
    for (char **topic = topics; *topic; topic++) {
        char *text = cli_help_topic(*topic);
        assert_non_null(text);
        free(text);
    }
    cli_help_topics_free(topics);
    assert_null(cli_help_topic("no-such-topic"));
}

/* The statuses of the design, and none of error.def is missing. */
static void test_cli_docs__exit_codes(void **state)
{
    char *text = cli_help_topic("exit-codes");
    (void)state;
    for (int code = 1; code < NEAP_ERROR_COUNT; code++) {
        const struct neap_error_row *row = neap_error_row((enum neap_error_code)code);
        char start[16];
        snprintf(start, sizeof start, "\n| %d |", row->exit_status);
        check_mentions("exit-codes", text, start);
        check_mentions("exit-codes", text, row->code);
    }
    free(text);
    text = cli_help_topic("errors");
    for (int code = 1; code < NEAP_ERROR_COUNT; code++)
        check_mentions("errors", text, neap_error_row((enum neap_error_code)code)->next);
    free(text);
}

static struct cli_lint lint_of(const char *text)
{
    struct cli_lint lint = {.findings = json_array()};
    cli_lint_text(&lint, "migrations/0001_x.lua", text);
    return lint;
}

static void test_cli_lint__text_rules(void **state)
{
    static const struct {
        const char *text;
        int errors, warnings, line;
    } cases[] = {
        {"\n  db:exec \"CREATE ROLE a PASSWORD 'x'\"", 1, 0, 2},
        {"alter role a\tencrypted  password   'x'", 1, 0, 1},
        {"create user mapping for a server s options (password 'x')", 1, 0, 1},
        {"-- password 'x' in a comment", 0, 0, 0},
        {"ALTER ROLE a PASSWORD NULL", 0, 0, 0},
        {"add column password text default 'x'", 0, 0, 0},
        {"insert into my_password 'x'", 0, 0, 0},
        {"CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)", 0, 1, 1},
        {"CREATE INDEX CONCURRENTLY i ON t (a)", 0, 0, 0},
        {"CREATE TABLE IF NOT EXISTS t ()", 0, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cli_lint lint = lint_of(cases[i].text);
        if (lint.error_count != cases[i].errors || lint.warning_count != cases[i].warnings)
            fail_msg("%s: %d errors, %d warnings", cases[i].text, lint.error_count,
                     lint.warning_count);
        json_t *first = json_array_get(lint.findings, 0);
        if (first)
            assert_int_equal(json_integer_value(json_object_get(first, "line")), cases[i].line);
        json_decref(lint.findings);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_docs__man_mentions_everything),
        cmocka_unit_test(test_cli_docs__completions_mention_everything),
        cmocka_unit_test(test_cli_docs__help_of_each_command),
        cmocka_unit_test(test_cli_docs__topics),
        cmocka_unit_test(test_cli_docs__exit_codes),
        cmocka_unit_test(test_cli_lint__text_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
