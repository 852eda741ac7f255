/* SPDX-License-Identifier: MIT
 *
 * The command line as rows of the lists: words and options in any order.
 */
#ifndef NEAP_CLI_CLI_PARSE_H
#define NEAP_CLI_CLI_PARSE_H

#include <stdint.h>

#include "host/cli/cli_lists.h"

struct cli_parsed {
    const struct neap_command *command; /* NULL: none given, or a group alone */
    const char *group;                  /* "lease" when it stands alone, else NULL; borrowed */
    struct neap_options opt;
    uint64_t from_flag; /* bit n: cli_options[n] was given as a flag, not by a variable */
    int argc;
    const char **argv; /* positional arguments; the texts are borrowed from main's */
};

/* Options may stand anywhere; "--" ends them. A value comes as --name=value or
 * as the next argument, short flags may be bundled (-nq), a short option's value
 * may follow at once (-eproduction). Then the environment variables of the
 * options that the command takes. Errors are usage.arguments and name the
 * nearest word, or the commands that take the option; an argument that is a
 * connection string with a password is told by its number alone. Clear in every outcome:
 * what was read before the error (--json) is in `out`. */
bool cli_parse(int argc, char *const *argv, struct cli_parsed *out, struct neap_error *err);
void cli_parsed_clear(struct cli_parsed *parsed);

/* The value as given by a flag; NULL when it is not given or by a variable. */
const char *cli_flag_text(const struct cli_parsed *parsed, const char *field);

#endif
