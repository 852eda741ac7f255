/* SPDX-License-Identifier: MIT
 *
 * What `neap check` finds in the scripts of a project. Loads and opens them,
 * connects to nothing, prints nothing.
 */
#ifndef NEAP_CLI_CLI_LINT_H
#define NEAP_CLI_CLI_LINT_H

#include <jansson.h>

#include "host/loop/loop.h"
#include "host/migrate/discover.h"

struct cli_lint {
    struct neap_loop *loop;
    const char *project;
    int64_t memory_bytes;
    const char *const *ids; /* these alone, NULL-terminated; empty: all */
    json_t *findings;       /* array of {file, line, level, code, message, hint} */
    int checked, error_count, warning_count;
};

/* False only when it could not look: the run was stopped, or an id is unknown. */
bool cli_lint_run(struct cli_lint *lint, struct neap_error *err);
/* Rules on the text alone, without the script host; for tests too. */
void cli_lint_text(struct cli_lint *lint, const char *path, const char *text);

#endif
