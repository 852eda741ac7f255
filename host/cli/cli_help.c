/* SPDX-License-Identifier: MIT
 *
 * Help from the lists. It is written as Markdown, like the topics in stdlib/help,
 * so that there is one way to show it.
 */
#include "host/cli/cli_help.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/embedded.h"
#include "host/base/memory.h"
#include "host/base/text.h"
#include "host/change/history.h"

#define WORDS_WIDTH 24 /* "completion bash|zsh|fish" */

static void add_option(struct neap_buffer *text, const struct cli_option *option)
{
    char letter[8] = "    ";
    if (option->letter) {
        letter[0] = '-';
        letter[1] = option->letter;
        letter[2] = ',';
    }
    char *name = neap_format("--%s%s%s", option->name, option->arg ? " " : "",
                             option->arg ? option->arg : "");
    neap_buffer_add_format(text, "    %s%-24s %s", letter, name, option->help);
    if (option->env)
        neap_buffer_add_format(text, " [%s]", option->env);
    neap_buffer_add_char(text, '\n');
    free(name);
}

static void add_options(struct neap_buffer *text, const struct neap_command *command, bool global)
{
    for (const struct cli_option *option = cli_options; option->field; option++)
        if (cli_option_is_global(option) == global && cli_option_is_taken(option, command))
            add_option(text, option);
}

static void add_command(struct neap_buffer *text, const struct neap_command *command)
{
    char *words = neap_format("%s%s%s", command->name, command->args[0] ? " " : "", command->args);
    neap_buffer_add_format(text, "    %s", words);
    for (size_t width = neap_text_width(words); width < WORDS_WIDTH; width++)
        neap_buffer_add_char(text, ' ');
    neap_buffer_add_format(text, " %s\n", command->summary);
    free(words);
}

static void add_without_variable(struct neap_buffer *text)
{
    size_t line = text->length; /* where it begins */
    const char *comma = "";
    for (const struct cli_option *option = cli_options; option->field; option++) {
        if (option->env)
            continue;
        bool full = text->length - line > 65;
        if (full)
            line = text->length;
        neap_buffer_add_format(text, "%s%s--%s", comma,
                               full       ? "\n"
                               : comma[0] ? " "
                                          : "",
                               option->name);
        comma = ",";
    }
}

char *cli_help_global(void)
{
    struct neap_buffer text = {0};
    neap_buffer_add_text(&text, "neap [-C DIR] [-e ENV] COMMAND\n\n"
                                "# Commands\n\n");
    for (const struct neap_command *command = neap_commands; command->name; command++)
        add_command(&text, command);
    neap_buffer_add_text(&text, "\n# Options of every command\n\n");
    add_options(&text, NULL, true);
    neap_buffer_add_text(&text, "\nOptions stand before or after the command. "
                                "`neap help COMMAND` shows the rest;\n"
                                "`neap help topics` lists what else there is to read.\n"
                                "The variable in brackets sets an option as well, and the flag "
                                "beats it. Options\nthat say what one invocation does have none: "
                                "forgotten in the environment, one\nwould steer the next:\n");
    add_without_variable(&text);
    neap_buffer_add_text(&text, ".\n");
    return neap_buffer_take(&text);
}

char *cli_help_command(const struct neap_command *command)
{
    struct neap_buffer text = {0};
    neap_buffer_add_format(&text, "neap %s%s%s\n\n%s\n", command->name, command->args[0] ? " " : "",
                           command->args, command->summary);
    if (command->options[0]) {
        neap_buffer_add_text(&text, "\n# Options\n\n");
        add_options(&text, command, false);
    }
    neap_buffer_add_text(&text, "\n# Options of every command\n\n");
    add_options(&text, command, true);
    neap_buffer_add_text(&text, "\n`neap help exit-codes` says what the exit status means.\n");
    return neap_buffer_take(&text);
}

char *cli_help_group(const char *group)
{
    struct neap_buffer text = {0};
    size_t length = strlen(group);
    neap_buffer_add_format(&text, "neap %s COMMAND\n\n", group);
    for (const struct neap_command *command = neap_commands; command->name; command++)
        if (strncmp(command->name, group, length) == 0 && command->name[length] == ' ')
            add_command(&text, command);
    return neap_buffer_take(&text);
}

static char *errors_topic(void)
{
    struct neap_buffer text = {0};
    neap_buffer_add_text(&text, "# Errors\n\nThe code is the same in messages, JSON, history and "
                                "events.\n\n| code | exit | meaning; what to do next |\n"
                                "|---|---|---|\n");
    for (int code = 1; code < NEAP_ERROR_COUNT; code++) {
        const struct neap_error_row *row = neap_error_row((enum neap_error_code)code);
        neap_buffer_add_format(&text, "| %s | %d | %s. %s |\n", row->code, row->exit_status,
                               row->summary, row->next);
    }
    return neap_buffer_take(&text);
}

/* What an exit status means as a whole; the errors behind it come from
 * error.def. Those without an error are here alone. */
struct exit_row {
    int status;
    const char *meaning;
};

static const struct exit_row exit_rows[] = {
    {0, "done, or nothing to do"},
    {1, "failed and rolled back: nothing changed"},
    {2, "usage or configuration"},
    {3, "pending migrations exist (`status --exit-code`)"},
    {4, "out of order or duplicate"},
    {5, "an applied script was changed"},
    {6, "another run holds the lease"},
    {7, "lock-timeout or deadlock budget spent; nothing changed"},
    {8, "verify failed; undone"},
    {9, "partial: `neap resume` or `neap repair` needed, commands printed"},
    {10, "refused by a policy or lint"},
    {11, "backup gate failed"},
    {12, "approval missing or wrong environment"},
    {13, "cannot connect, or a pooler is in the way"},
    {14, "part of a fleet failed"},
    {15, "outcome unknown: the server could not be asked before the deadline"},
    {16, "done, but not confirmed replicated, not fully audited or not fully told"},
    {70, "a bug in neap"},
    {124, "deadline passed; rolled back"},
    {130, "interrupted; rolled back"},
    {143, "terminated; rolled back"},
};

static char *exit_codes_topic(void)
{
    struct neap_buffer text = {0};
    neap_buffer_add_text(&text, "# Exit codes\n\n| exit | meaning | errors |\n|---|---|---|\n");
    for (size_t i = 0; i < sizeof exit_rows / sizeof exit_rows[0]; i++) {
        const char *comma = "";
        neap_buffer_add_format(&text, "| %d | %s | ", exit_rows[i].status, exit_rows[i].meaning);
        for (int code = 1; code < NEAP_ERROR_COUNT; code++) {
            const struct neap_error_row *row = neap_error_row((enum neap_error_code)code);
            if (row->exit_status != exit_rows[i].status)
                continue;
            neap_buffer_add_format(&text, "%s%s", comma, row->code);
            comma = ", ";
        }
        neap_buffer_add_text(&text, " |\n");
    }
    neap_buffer_add_text(&text, "\nWith 1, 7, 8, 124, 130 and 143 a migration without a "
                                "transaction may have\nstopped halfway; then the status is 9 "
                                "instead.\n");
    return neap_buffer_take(&text);
}

/* A section "## word" of words.md, as a topic of its own. */
static char *word_topic(const char *name)
{
    const struct neap_embedded *words = neap_embedded_find("help/words.md");
    char *heading = neap_format("\n## %s\n", name);
    const char *at = words ? strstr(words->bytes, heading) : NULL;
    free(heading);
    if (!at)
        return NULL;
    at++;
    const char *end = strstr(at + 3, "\n## ");
    return neap_strndup(at + 1, end ? (size_t)(end + 1 - at - 1) : strlen(at + 1));
}

static char *topics_topic(void)
{
    struct neap_buffer text = {0};
    char **topics = cli_help_topics();
    neap_buffer_add_text(&text, "# Topics\n\n");
    for (char **topic = topics; *topic; topic++)
        neap_buffer_add_format(&text, "    neap help %s\n", *topic);
    cli_help_topics_free(topics);
    return neap_buffer_take(&text);
}

static char *file_topic(const char *name)
{
    char *path = neap_format("help/%s.md", name);
    const struct neap_embedded *file = neap_embedded_find(path);
    free(path);
    return file ? neap_strndup(file->bytes, file->length) : NULL;
}

/* SQL for psql: roles.sql with the schema's own statements in their place. */
static char *roles_topic(void)
{
    static const char place[] = "@schema@\n";
    const struct neap_embedded *file = neap_embedded_find("sql/roles.sql");
    const char *at = file ? strstr(file->bytes, place) : NULL;
    if (!at)
        return NULL;
    char *schema = neap_history_schema_script();
    char *text =
        neap_format("%.*s%s%s", (int)(at - file->bytes), file->bytes, schema, at + strlen(place));
    free(schema);
    return text;
}

static const struct neap_command *find_exact(const char *name)
{
    for (const struct neap_command *command = neap_commands; command->name; command++)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}

/* A word that is a command and a topic ("history", "verify") shows both. */
static char *join(char *first, char *second)
{
    if (!first || !second)
        return first ? first : second;
    char *both = neap_format("%s\n%s", first, second);
    free(first);
    free(second);
    return both;
}

bool cli_help_is_raw(const char *name)
{
    return strcmp(name, "man") == 0 || strcmp(name, "roles") == 0;
}

char *cli_help_topic(const char *name)
{
    const struct neap_command *command = find_exact(name);
    char *text = NULL;
    if (strcmp(name, "errors") == 0)
        return errors_topic();
    if (strcmp(name, "exit-codes") == 0)
        return exit_codes_topic();
    if (strcmp(name, "roles") == 0)
        return roles_topic();
    if (strcmp(name, "topics") == 0)
        return topics_topic();
    if (command)
        text = cli_help_command(command);
    else if (cli_command_is_group(name))
        text = cli_help_group(name);
    char *topic = file_topic(name);
    return join(text, topic ? topic : word_topic(name));
}

static int compare_topics(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_topic(char ***topics, size_t *count, char *name)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp((*topics)[i], name) == 0) {
            free(name);
            return;
        }
    *topics = neap_realloc(*topics, (*count + 2) * sizeof **topics);
    (*topics)[(*count)++] = name;
    (*topics)[*count] = NULL;
}

static void add_words(char ***topics, size_t *count)
{
    const struct neap_embedded *words = neap_embedded_find("help/words.md");
    const char *at = words ? words->bytes : "";
    while ((at = strstr(at, "\n## "))) {
        at += 4;
        add_topic(topics, count, neap_strndup(at, strcspn(at, "\n")));
    }
}

char **cli_help_topics(void)
{
    char **topics = NULL;
    size_t count = 0;
    add_topic(&topics, &count, neap_strdup("errors"));
    add_topic(&topics, &count, neap_strdup("exit-codes"));
    add_topic(&topics, &count, neap_strdup("roles"));
    for (const struct neap_embedded *file = neap_embedded_all(); file->path; file++) {
        size_t length = strlen(file->path);
        if (strncmp(file->path, "help/", 5) == 0 && length > 8)
            add_topic(&topics, &count, neap_strndup(file->path + 5, length - 8));
    }
    add_words(&topics, &count);
    qsort(topics, count, sizeof *topics, compare_topics);
    return topics;
}

void cli_help_topics_free(char **topics)
{
    for (char **topic = topics; topic && *topic; topic++)
        free(*topic);
    free(topics);
}
