/* SPDX-License-Identifier: MIT
 *
 * Where results and failures go: stdout for results (text or one JSON document),
 * stderr for the rest. A reader of stdout that went away (`neap status | head`)
 * ends the printing and never the work.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/cli/cli.h"

#define SCHEMA_VERSION 1

const char *cli_colour(const struct neap_cli *cli, enum cli_colour colour)
{
    static const char *const escapes[] = {
        [CLI_PLAIN] = "\033[0m", [CLI_GREEN] = "\033[32m", [CLI_YELLOW] = "\033[33m",
        [CLI_RED] = "\033[31m",  [CLI_DIM] = "\033[2m",    [CLI_BOLD] = "\033[1m",
    };
    return cli->colour ? escapes[colour] : "";
}

static void write_out(struct neap_cli *cli, const char *text)
{
    if (cli->broken)
        return;
    neap_log_progress_end();
    errno = 0;
    if (fputs(text, stdout) == EOF)
        cli->broken = errno == 0 ? EIO : errno;
}

void cli_print_raw(struct neap_cli *cli, const char *text)
{
    if (!cli->json)
        write_out(cli, text);
}

void cli_print(struct neap_cli *cli, const char *format, ...)
{
    struct neap_buffer line = {0};
    va_list args;
    if (cli->json || cli->broken)
        return;
    va_start(args, format);
    neap_buffer_add_vformat(&line, format, args);
    va_end(args);
    char *clean = neap_redact(neap_buffer_text(&line));
    char *shown = neap_printable(clean, true);
    write_out(cli, shown);
    write_out(cli, "\n");
    free(shown);
    free(clean);
    neap_buffer_clear(&line);
}

bool cli_flush(struct neap_cli *cli, struct neap_error *err)
{
    errno = 0;
    if (fflush(stdout) != 0 && !cli->broken)
        cli->broken = errno == 0 ? EIO : errno;
    if (!cli->broken || cli->broken == EPIPE)
        return true;
    if (cli->changed)
        neap_error_errno(err, NEAP_ERR_OUTPUT_LOST, cli->broken,
                         "done, but the result cannot be written to stdout");
    else
        neap_error_errno(err, NEAP_ERR_FILE_IO, cli->broken, "cannot write the result to stdout");
    return false;
}

static const char *status_word(int exit_status)
{
    if (exit_status == 0)
        return "ok";
    return exit_status == 3 ? "pending" : "failed";
}

/* The envelope first, so that people who read it see it first. */
static void print_document(struct neap_cli *cli, int exit_status, json_t *body)
{
    json_t *document = json_object();
    json_t *status = json_object_get(body, "status");
    neap_json_set(document, "schema_version", json_integer(SCHEMA_VERSION));
    neap_json_set(document, "run_id", neap_json_text(cli->run.id));
    neap_json_set(document, "command", neap_json_text(cli->command ? cli->command->name : NULL));
    neap_json_set(document, "status",
                  status ? json_incref(status) : json_string(status_word(exit_status)));
    neap_json_set(document, "exit_status", json_integer(exit_status));
    if (body)
        json_object_update_missing(document, body);
    json_decref(body);
    char *text = neap_json_pretty(document);
    write_out(cli, text);
    if (text[0] != '\0' && text[strlen(text) - 1] != '\n')
        write_out(cli, "\n");
    free(text);
    json_decref(document);
}

void cli_json(struct neap_cli *cli, int exit_status, json_t *body)
{
    if (cli->json)
        print_document(cli, exit_status, body);
    else
        json_decref(body);
}

/* An error that says nothing of what comes next; the words of up and down are their own. */
static void name_next(const struct neap_cli *cli, struct neap_error *err)
{
    if (err->hint != NULL || neap_error_row(err->code)->next[0] != '\0' || cli->command == NULL)
        return;
    if (err->where_file != NULL)
        neap_error_hint(err, "Mend %s, then run `neap %s` again.", err->where_file,
                        cli->command->name);
    else
        neap_error_hint(err, "Look at `neap doctor`, then run `neap %s` again.",
                        cli->command->name);
}

int cli_fail_with(struct neap_cli *cli, struct neap_error *err, json_t *body)
{
    int exit_status = neap_error_exit_status(err);
    if (err->code == NEAP_ERR_USAGE && err->hint == NULL && cli->command != NULL)
        neap_error_hint(err, "See `neap help %s`.", cli->command->name);
    name_next(cli, err);
    neap_log_progress_end();
    neap_log_error(err);
    if (cli->json) {
        json_t *document = body ? body : json_object();
        json_object_del(document, "status");
        neap_json_set(document, "error", neap_json_error(err));
        print_document(cli, exit_status, document);
    } else {
        json_decref(body);
    }
    neap_error_clear(err);
    return exit_status;
}

int cli_fail(struct neap_cli *cli, struct neap_error *err)
{
    return cli_fail_with(cli, err, NULL);
}

bool cli_arguments(const struct neap_cli *cli, int min, int max, struct neap_error *err)
{
    if (cli->argc >= min && cli->argc <= max)
        return true;
    if (cli->argc < min)
        neap_error_set(err, NEAP_ERR_USAGE, "`neap %s` needs %s", cli->command->name,
                       cli->command->args);
    else
        neap_error_set(err, NEAP_ERR_USAGE, "`neap %s` takes no argument `%s`", cli->command->name,
                       cli->argv[max]);
    neap_error_hint(err, "Type `neap %s%s%s`.", cli->command->name,
                    cli->command->args[0] ? " " : "", cli->command->args);
    return false;
}

bool cli_count(const char *text, const char *what, int *out, struct neap_error *err)
{
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    bool digits = text[0] >= '0' && text[0] <= '9';
    if (digits && *end == '\0' && errno == 0 && value >= 1 && value <= 1000000) {
        *out = (int)value;
        return true;
    }
    neap_error_set(err, NEAP_ERR_USAGE, "%s is a count from 1 to 1000000, not `%s`", what, text);
    return false;
}

void cli_print_check(struct neap_cli *cli, const char *level, const char *name, const char *message,
                     const char *hint)
{
    enum cli_colour colour = level[0] == 'o' ? CLI_GREEN : level[0] == 'w' ? CLI_YELLOW : CLI_RED;
    cli_print_raw(cli, cli_colour(cli, colour));
    cli_print_raw(cli, level);
    cli_print_raw(cli, cli_colour(cli, CLI_PLAIN));
    cli_print(cli, "%*s %s: %s", (int)(7 - strlen(level)), "", name, message);
    if (hint && hint[0] != '\0')
        cli_print(cli, "        %s", hint);
}
