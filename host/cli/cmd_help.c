/* SPDX-License-Identifier: MIT
 *
 * neap help [TOPIC]: commands, topics, and (for the installation) the man page.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/json.h"
#include "host/base/text.h"
#include "host/cli/cli_help.h"

static bool unknown_topic(const char *name, struct neap_error *err)
{
    char **topics = cli_help_topics();
    const char *nearest = neap_text_nearest(name, (const char *const *)topics);
    if (!nearest)
        nearest = neap_text_nearest(name, cli_first_words());
    neap_error_set(err, NEAP_ERR_USAGE, "no help about `%s`", name);
    if (nearest)
        neap_error_hint(err, "Did you mean `neap help %s`?", nearest);
    else
        neap_error_hint(err, "See `neap help topics`.");
    cli_help_topics_free(topics);
    return false;
}

static char *name_of(const struct neap_cli *cli)
{
    struct neap_buffer name = {0};
    for (int i = 0; i < cli->argc; i++)
        neap_buffer_add_format(&name, "%s%s", i ? " " : "", cli->argv[i]);
    return neap_buffer_take(&name);
}

static char *text_of(const char *name, struct neap_error *err)
{
    char *text = name[0] == '\0' ? cli_help_global() : cli_help_topic(name);
    if (!text)
        unknown_topic(name, err);
    return text;
}

static void show(struct neap_cli *cli, const char *markdown)
{
    char *shown = cli_markdown(markdown, cli->terminal ? cli->width : 0, cli->colour);
    cli_print_raw(cli, shown);
    free(shown);
}

int cmd_help(struct neap_cli *cli)
{
    struct neap_error err = {0};
    int exit_status = 0;
    char *name = name_of(cli);
    bool man = strcmp(name, "man") == 0;
    char *text = man ? cli_man() : text_of(name, &err);
    if (!text) {
        exit_status = cli_fail(cli, &err);
    } else if (cli->json) {
        json_t *body = json_object();
        neap_json_set(body, "topic", neap_json_text(name));
        neap_json_set(body, "text", neap_json_text(text));
        cli_json(cli, 0, body);
    } else if (cli_help_is_raw(name)) {
        cli_print_raw(cli, text);
    } else {
        show(cli, text);
    }
    free(text);
    free(name);
    return exit_status;
}
