/* SPDX-License-Identifier: MIT
 *
 * The program from the first argument to the exit status. Opening is lazy: a
 * command that needs no loop or project does not pay for them.
 */
#include "host/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/cli/cli_find.h"
#include "host/cli/cli_help.h"
#include "host/cli/cli_parse.h"

/* cli_need_project must know what came by flag; struct neap_cli, which every
 * command sees, need not. */
static struct cli_parsed parsed;

static bool has_text(const char *variable)
{
    const char *value = getenv(variable);
    return value && value[0] != '\0';
}

static bool is_dumb(void)
{
    const char *term = getenv("TERM");
    return term && strcmp(term, "dumb") == 0;
}

static int terminal_width(void)
{
    struct winsize size = {0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20)
        return size.ws_col;
    return 80;
}

static void open_output(struct neap_cli *cli)
{
    bool plain = cli->opt.no_color || has_text("NO_COLOR") || is_dumb();
    cli->json = cli->opt.json;
    cli->terminal = isatty(STDOUT_FILENO) == 1;
    cli->colour = cli->terminal && !plain;
    cli->width = cli->terminal ? terminal_width() : 80;
    neap_log_open(&(struct neap_log_opts){
        .level = cli->opt.verbose ? NEAP_LOG_DEBUG : NEAP_LOG_INFO,
        .json = cli->opt.log_json,
        .colour = !plain && isatty(STDERR_FILENO) == 1,
        .quiet = cli->opt.quiet,
    });
    neap_log_context(cli->run.id, NULL, NULL);
    if (geteuid() == 0)
        neap_log(NEAP_LOG_DETAIL, "run.root", "running as root; neap needs no such rights");
}

bool cli_need_loop(struct neap_cli *cli, struct neap_error *err)
{
    return cli->loop || neap_loop_open(&cli->run, &cli->loop, err);
}

bool cli_need_project(struct neap_cli *cli, struct neap_error *err)
{
    char *dir = NULL;
    if (cli->project.dir)
        return true;
    if (!cli_need_loop(cli, err) || !cli_find_project(cli->opt.project, &dir, err))
        return false;
    bool opened = neap_project_open(cli->loop,
                                    &(struct neap_project_opts){
                                        .dir = dir,
                                        .env = cli_flag_text(&parsed, "env"),
                                        .timeout = cli_flag_text(&parsed, "timeout"),
                                        .lock_timeout = cli_flag_text(&parsed, "lock_timeout"),
                                        .lock_budget = cli_flag_text(&parsed, "lock_budget"),
                                        .lease_wait = cli_flag_text(&parsed, "lease_wait"),
                                        .memory = cli_flag_text(&parsed, "memory"),
                                        .state_dir = cli_flag_text(&parsed, "state_dir"),
                                    },
                                    &cli->project, err);
    free(dir);
    return opened;
}

static int show(struct neap_cli *cli, char *markdown)
{
    struct neap_error err = {0};
    char *text = cli_markdown(markdown, cli->terminal ? cli->width : 0, cli->colour);
    cli_print_raw(cli, text);
    free(text);
    free(markdown);
    return cli_flush(cli, &err) ? 0 : cli_fail(cli, &err);
}

static int run_command(struct neap_cli *cli)
{
    struct neap_error err = {0};
    bool asked = cli->opt.help;
    if (cli->command && asked)
        return show(cli, cli_help_command(cli->command));
    if (cli->command) {
        int exit_status = cli->command->run(cli);
        if (!cli_flush(cli, &err) && exit_status == 0)
            exit_status = cli_fail(cli, &err);
        neap_error_clear(&err);
        return exit_status;
    }
    if (cli->json && !asked) {
        neap_error_set(&err, NEAP_ERR_USAGE, "no command is given");
        neap_error_hint(&err, "See `neap help%s%s`.", parsed.group ? " " : "",
                        parsed.group ? parsed.group : "");
        return cli_fail(cli, &err);
    }
    int exit_status = show(cli, parsed.group ? cli_help_group(parsed.group) : cli_help_global());
    /* Nothing was asked for: the list is help for a mistake, as with git. */
    return exit_status == 0 && !asked ? 2 : exit_status;
}

static void end_cli(struct neap_cli *cli)
{
    neap_project_clear(&cli->project);
    neap_loop_close(cli->loop);
    neap_run_clear(&cli->run);
    cli_parsed_clear(&parsed);
    neap_redact_clear();
}

int cli_main(int argc, char **argv)
{
    struct neap_cli cli = {0};
    struct neap_error err = {0};
    int exit_status;
    neap_run_init(&cli.run);
    bool good = cli_parse(argc, argv, &parsed, &err);
    cli.command = parsed.command;
    cli.opt = parsed.opt;
    cli.argc = parsed.argc;
    cli.argv = parsed.argv;
    open_output(&cli);
    exit_status = good ? run_command(&cli) : cli_fail(&cli, &err);
    cli_flush(&cli, NULL);
    end_cli(&cli);
    return exit_status;
}
