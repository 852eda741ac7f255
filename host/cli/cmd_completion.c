/* SPDX-License-Identifier: MIT
 *
 * neap completion bash|zsh|fish, and the lists that the scripts ask for.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/text.h"
#include "host/cli/cli_help.h"
#include "host/migrate/discover.h"

static int print_environments(struct neap_cli *cli)
{
    struct neap_error err = {0};
    if (!cli_need_project(cli, &err))
        return cli_fail(cli, &err);
    for (char **name = cli->project.environment_names; *name; name++)
        cli_print(cli, "%s", *name);
    return 0;
}

static int print_migrations(struct neap_cli *cli)
{
    struct neap_error err = {0};
    struct neap_migrations migrations = {0};
    if (!cli_need_project(cli, &err) || !neap_discover(cli->project.dir, &migrations, &err))
        return cli_fail(cli, &err);
    for (size_t i = 0; i < migrations.count; i++)
        cli_print(cli, "%s", migrations.items[i].id);
    neap_migrations_clear(&migrations);
    return 0;
}

/* Commands have help as topics have. */
static int print_topics(struct neap_cli *cli)
{
    char **topics = cli_help_topics();
    const char *const *words = cli_first_words();
    for (char **topic = topics; *topic; topic++)
        cli_print(cli, "%s", *topic);
    for (size_t i = 0; words[i]; i++)
        cli_print(cli, "%s", words[i]);
    cli_help_topics_free(topics);
    return 0;
}

int cmd_completion(struct neap_cli *cli)
{
    static const char *const shells[] = {"bash", "zsh", "fish", NULL};
    struct neap_error err = {0};
    if (!cli_arguments(cli, 1, 1, &err))
        return cli_fail(cli, &err);
    if (strcmp(cli->argv[0], "environments") == 0)
        return print_environments(cli);
    if (strcmp(cli->argv[0], "migrations") == 0)
        return print_migrations(cli);
    if (strcmp(cli->argv[0], "topics") == 0)
        return print_topics(cli);
    char *text = cli_completion(cli->argv[0]);
    if (!text) {
        const char *nearest = neap_text_nearest(cli->argv[0], shells);
        neap_error_set(&err, NEAP_ERR_USAGE, "no completion for the shell `%s`", cli->argv[0]);
        neap_error_hint(&err, nearest ? "Did you mean %s?" : "There are bash, zsh and fish.",
                        nearest);
        return cli_fail(cli, &err);
    }
    cli->json = false; /* a script for a shell is the document */
    cli_print_raw(cli, text);
    free(text);
    return 0;
}
