/* SPDX-License-Identifier: MIT
 *
 * neap(1), from the lists. Made at installation by `neap help man`; nothing of it
 * is kept in the tree, so nothing of it can be out of date.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/error.h"
#include "host/base/memory.h"
#include "host/cli/cli_help.h"

/* roff reads "\", a leading "." or "'", and turns "-" into a hyphen that nobody
 * can copy into a shell. The lists are ASCII but for "…". */
static void add_roff(struct neap_buffer *text, const char *plain)
{
    for (; *plain != '\0'; plain++) {
        if (strncmp(plain, "…", 3) == 0) {
            neap_buffer_add_text(text, "...");
            plain += 2;
        } else if (*plain == '\\')
            neap_buffer_add_text(text, "\\e");
        else if (*plain == '-')
            neap_buffer_add_text(text, "\\-");
        else if (*plain == '\'')
            neap_buffer_add_text(text, "\\(aq");
        else if (*plain == '.' && (text->length == 0 || text->bytes[text->length - 1] == '\n'))
            neap_buffer_add_text(text, "\\&.");
        else
            neap_buffer_add_char(text, *plain);
    }
}

static void add_option(struct neap_buffer *text, const struct cli_option *option)
{
    neap_buffer_add_text(text, ".TP\n.B ");
    if (option->letter)
        neap_buffer_add_format(text, "\\-%c, ", option->letter);
    neap_buffer_add_text(text, "\\-\\-");
    add_roff(text, option->name);
    if (option->arg)
        neap_buffer_add_format(text, " \\fI%s\\fR", option->arg);
    neap_buffer_add_char(text, '\n');
    add_roff(text, option->help);
    if (option->env)
        neap_buffer_add_format(text, "\n.RB [ %s ]", option->env);
    neap_buffer_add_char(text, '\n');
}

static void add_taken(struct neap_buffer *text, const struct neap_command *command)
{
    const char *comma = "Takes ";
    for (const struct cli_option *option = cli_options; option->field; option++) {
        if (cli_option_is_global(option) || !cli_option_is_taken(option, command))
            continue;
        neap_buffer_add_text(text, comma);
        neap_buffer_add_text(text, "\\-\\-");
        add_roff(text, option->name);
        comma = ", ";
    }
    if (command->options[0])
        neap_buffer_add_text(text, ".\n");
}

static void add_commands(struct neap_buffer *text)
{
    neap_buffer_add_text(text, ".SH COMMANDS\n");
    for (const struct neap_command *command = neap_commands; command->name; command++) {
        neap_buffer_add_text(text, ".TP\n.B ");
        add_roff(text, command->name);
        neap_buffer_add_text(text, " \\fI");
        add_roff(text, command->args);
        neap_buffer_add_text(text, "\\fR\n");
        add_roff(text, command->summary);
        neap_buffer_add_text(text, ".\n");
        add_taken(text, command);
    }
}

static void add_options(struct neap_buffer *text, const char *heading, bool global)
{
    neap_buffer_add_format(text, ".SH %s\n", heading);
    for (const struct cli_option *option = cli_options; option->field; option++)
        if (cli_option_is_global(option) == global)
            add_option(text, option);
}

static void add_errors(struct neap_buffer *text)
{
    neap_buffer_add_text(text,
                         ".SH EXIT STATUS\n0 when done or when there is nothing to do; 3 when "
                         "migrations are pending\n(\\fBstatus \\-\\-exit\\-code\\fR); else "
                         "by the error:\n");
    for (int code = 1; code < NEAP_ERROR_COUNT; code++) {
        const struct neap_error_row *row = neap_error_row((enum neap_error_code)code);
        neap_buffer_add_format(text, ".TP\n.B %d\n", row->exit_status);
        neap_buffer_add_format(text, "%s: ", row->code);
        add_roff(text, row->summary);
        neap_buffer_add_text(text, ". ");
        add_roff(text, row->next);
        neap_buffer_add_char(text, '\n');
    }
}

static void add_topics(struct neap_buffer *text)
{
    char **topics = cli_help_topics();
    neap_buffer_add_text(text, ".SH SEE ALSO\n");
    for (char **topic = topics; *topic; topic++) {
        neap_buffer_add_text(text, "\\fBneap help ");
        add_roff(text, *topic);
        neap_buffer_add_text(text, topic[1] ? "\\fR,\n" : "\\fR\n");
    }
    cli_help_topics_free(topics);
}

char *cli_man(void)
{
    struct neap_buffer text = {0};
    neap_buffer_add_text(&text,
                         ".TH NEAP 1 \"\" \"neap " NEAP_VERSION "\" \"User Commands\"\n"
                         ".SH NAME\nneap \\- run database changes that nobody feels\n"
                         ".SH SYNOPSIS\n.B neap\n[\\fB\\-C\\fR \\fIDIR\\fR] "
                         "[\\fB\\-e\\fR \\fIENV\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]\n"
                         ".SH DESCRIPTION\nneap applies PostgreSQL migrations written in Lua or "
                         "SQL: exactly once, under\ndeadlines, recorded. Options stand before or "
                         "after the command.\n");
    add_commands(&text);
    add_options(&text, "OPTIONS OF EVERY COMMAND", true);
    add_options(&text, "OPTIONS OF COMMANDS", false);
    neap_buffer_add_text(&text, ".SH ENVIRONMENT\n.B DATABASE_URL\nor libpq\\(aqs \\fBPG*\\fR name "
                                "the target when \\fB\\-e\\fR does not. \\fBNO_COLOR\\fR turns "
                                "colours\noff. A flag beats its variable, and that beats "
                                "\\fIneap.lua\\fR. Options without a\nvariable say what one "
                                "invocation does: forgotten in the environment, one\nwould steer "
                                "the next.\n");
    add_errors(&text);
    add_topics(&text);
    return neap_buffer_take(&text);
}
