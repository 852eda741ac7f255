/* SPDX-License-Identifier: MIT
 *
 * The lists of commands.def and options.def as rows, for whatever is derived
 * from them: parser, help, man page, completions, tests. No output, no state.
 */
#ifndef NEAP_CLI_CLI_LISTS_H
#define NEAP_CLI_CLI_LISTS_H

#include <stdbool.h>
#include <stddef.h>

#include "host/cli/cli.h"

struct cli_option {
    const char *field; /* "dry_run" */
    bool text;         /* takes a value: const char *; else a flag: bool */
    size_t offset;     /* into struct neap_options */
    const char *name;  /* "dry-run" */
    char letter;       /* 'n', or 0 */
    const char *arg;   /* "DIR"; NULL for a flag */
    const char *env;   /* "NEAP_REASON", or NULL */
    const char *help;
};
extern const struct cli_option cli_options[]; /* ends with a NULL field */

/* Options up to and with `help` belong to every command. */
bool cli_option_is_global(const struct cli_option *option);
/* Global, or listed in the command's row. */
bool cli_option_is_taken(const struct cli_option *option, const struct neap_command *command);
const struct cli_option *cli_option_find(const char *name, size_t length);
const struct cli_option *cli_option_find_letter(char letter);

/* "lease show" by both words, "up" by one (second NULL). NULL when none. */
const struct neap_command *cli_command_find(const char *first, const char *second);
/* True when "lease" is the first of two words of some command. */
bool cli_command_is_group(const char *word);
/* "show and break" -> the command's second word, or NULL when it has one word. */
const char *cli_command_second(const struct neap_command *command);
/* First words, each once, NULL-terminated; static after the first call. */
const char *const *cli_first_words(void);
/* Second words of `group`, NULL-terminated; the caller frees the array alone. */
const char **cli_second_words(const char *group);

#endif
