/* SPDX-License-Identifier: MIT
 *
 * Help, man page and completions: texts made from the lists and from the topics
 * in stdlib/help. Each gives a text that the caller frees; printing is cli's.
 */
#ifndef NEAP_CLI_CLI_HELP_H
#define NEAP_CLI_CLI_HELP_H

#include "host/cli/cli_lists.h"

char *cli_help_global(void);                                /* Markdown */
char *cli_help_command(const struct neap_command *command); /* Markdown */
char *cli_help_group(const char *group);                    /* Markdown */
/* Markdown of a topic: a command's words, a group, "errors", "exit-codes", a file
 * of stdlib/help or a word of the design; of "roles" SQL for psql, which is no
 * Markdown (cli_help_is_raw). NULL when there is none. */
bool cli_help_is_raw(const char *name);
char *cli_help_topic(const char *name);
/* Every topic's name, NULL-terminated; the caller frees names and array. */
char **cli_help_topics(void);
void cli_help_topics_free(char **topics);

/* Markdown as a terminal shows it: wrapped to `width` columns (0: not wrapped),
 * bold for headings and `code` when `colour`. */
char *cli_markdown(const char *text, int width, bool colour);

char *cli_man(void); /* roff: neap(1) */
/* The text, or NULL for an unknown shell. */
char *cli_completion(const char *shell);

#endif
