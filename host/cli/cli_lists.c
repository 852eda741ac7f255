/* SPDX-License-Identifier: MIT
 *
 * Expands commands.def and options.def into rows and looks things up in them.
 * A scan of thirty rows is cheaper than any index would be to build.
 */
#include "host/cli/cli_lists.h"

#include <string.h>

#include "host/base/memory.h"

const struct neap_command neap_commands[] = {
#define NEAP_COMMAND(function, name, args, options, summary) \
    {name, args, options, summary, function},
#include "host/cli/commands.def"
#undef NEAP_COMMAND
    {0},
};

const struct cli_option cli_options[] = {
#define NEAP_OPTION_FLAG(field, long_, short_, env, help) \
    {#field, false, offsetof(struct neap_options, field), long_, short_, NULL, env, help},
#define NEAP_OPTION_TEXT(field, long_, short_, arg, env, help) \
    {#field, true, offsetof(struct neap_options, field), long_, short_, arg, env, help},
#include "host/cli/options.def"
#undef NEAP_OPTION_FLAG
#undef NEAP_OPTION_TEXT
    {0},
};

bool cli_option_is_global(const struct cli_option *option)
{
    return option->offset <= offsetof(struct neap_options, help);
}

bool cli_option_is_taken(const struct cli_option *option, const struct neap_command *command)
{
    if (cli_option_is_global(option))
        return true;
    if (!command)
        return false;
    size_t length = strlen(option->field);
    const char *at = command->options;
    while (*at != '\0') {
        size_t word = strcspn(at, " ");
        if (word == length && strncmp(at, option->field, length) == 0)
            return true;
        at += word;
        at += strspn(at, " ");
    }
    return false;
}

const struct cli_option *cli_option_find(const char *name, size_t length)
{
    for (const struct cli_option *option = cli_options; option->field; option++)
        if (strlen(option->name) == length && strncmp(option->name, name, length) == 0)
            return option;
    return NULL;
}

const struct cli_option *cli_option_find_letter(char letter)
{
    for (const struct cli_option *option = cli_options; option->field; option++)
        if (letter != '\0' && option->letter == letter)
            return option;
    return NULL;
}

const char *cli_command_second(const struct neap_command *command)
{
    const char *space = strchr(command->name, ' ');
    return space ? space + 1 : NULL;
}

static bool is_first_word(const struct neap_command *command, const char *word)
{
    size_t length = strcspn(command->name, " ");
    return strlen(word) == length && strncmp(command->name, word, length) == 0;
}

const struct neap_command *cli_command_find(const char *first, const char *second)
{
    for (const struct neap_command *command = neap_commands; command->name; command++) {
        const char *own = cli_command_second(command);
        if (!is_first_word(command, first))
            continue;
        if (!own || (second && strcmp(own, second) == 0))
            return command;
    }
    return NULL;
}

bool cli_command_is_group(const char *word)
{
    for (const struct neap_command *command = neap_commands; command->name; command++)
        if (cli_command_second(command) && is_first_word(command, word))
            return true;
    return false;
}

const char *const *cli_first_words(void)
{
    static const char *words[sizeof neap_commands / sizeof neap_commands[0] + 1];
    size_t count = 0;
    if (words[0])
        return words;
    for (const struct neap_command *command = neap_commands; command->name; command++) {
        if (count > 0 && is_first_word(command, words[count - 1]))
            continue; /* rows of a group stand together */
        words[count++] = neap_strndup(command->name, strcspn(command->name, " "));
    }
    return words;
}

const char **cli_second_words(const char *group)
{
    const char **words = neap_alloc(sizeof neap_commands / sizeof neap_commands[0] * sizeof *words);
    size_t count = 0;
    for (const struct neap_command *command = neap_commands; command->name; command++)
        if (cli_command_second(command) && is_first_word(command, group))
            words[count++] = cli_command_second(command);
    return words;
}
