/* SPDX-License-Identifier: MIT
 *
 * neap scratch start|stop|status|url|psql: the project's throwaway PostgreSQL.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/scratch/scratch.h"
#include "bindings/scratch/scratch_private.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/cli/cli.h"
#include "host/loop/child.h"

static json_t *body_of(const struct scratch_status *status)
{
    json_t *body = json_object();
    neap_json_set(body, "running", json_boolean(status->running));
    neap_json_set(body, "pid", status->running ? json_integer(status->pid) : json_null());
    neap_json_set(body, "dir", neap_json_text(status->running ? status->dir : NULL));
    neap_json_set(body, "url", neap_json_text(status->running ? status->url : NULL));
    neap_json_set(body, "version", neap_json_text(status->running ? status->version : NULL));
    return body;
}

static void print_status(struct neap_cli *cli, const struct scratch_status *status)
{
    if (!status->running) {
        cli_print(cli, "scratch does not run; `neap scratch start` starts it");
        return;
    }
    cli_print(cli, "scratch runs: PostgreSQL %s, pid %d", status->version ? status->version : "?",
              status->pid);
    cli_print(cli, "  %s", status->url);
}

static bool open_project(struct neap_cli *cli, struct neap_error *err)
{
    return cli_arguments(cli, 0, 0, err) && cli_need_project(cli, err);
}

int cmd_scratch_start(struct neap_cli *cli)
{
    struct neap_error err = {0};
    struct scratch_status status = {0};
    if (!open_project(cli, &err) || !scratch_start(cli->loop, cli->project.dir, &status, &err))
        return cli_fail(cli, &err);
    print_status(cli, &status);
    cli_json(cli, 0, body_of(&status));
    scratch_status_clear(&status);
    return 0;
}

int cmd_scratch_stop(struct neap_cli *cli)
{
    struct neap_error err = {0};
    int kept = 0;
    if (!open_project(cli, &err) || !scratch_stop(cli->loop, cli->project.dir, &err) ||
        !scratch_private_forget(cli->loop, cli->project.dir, &kept, &err))
        return cli_fail(cli, &err);
    cli_print(cli, "scratch is stopped and its data removed");
    if (kept > 0)
        cli_print(cli, "%d %s of a rehearsal %s too", kept, kept == 1 ? "copy" : "copies",
                  kept == 1 ? "was removed" : "were removed");
    json_t *body = body_of(&(struct scratch_status){0});
    neap_json_set(body, "copies", json_integer(kept));
    cli_json(cli, 0, body);
    return 0;
}

int cmd_scratch_status(struct neap_cli *cli)
{
    struct neap_error err = {0};
    struct scratch_status status = {0};
    if (!open_project(cli, &err) || !scratch_look(cli->loop, cli->project.dir, &status, &err))
        return cli_fail(cli, &err);
    print_status(cli, &status);
    cli_json(cli, 0, body_of(&status));
    scratch_status_clear(&status);
    return 0;
}

static bool not_running(struct neap_error *err)
{
    neap_error_set(err, NEAP_ERR_CONFIG_TARGET, "scratch does not run");
    neap_error_hint(err, "Start it with `neap scratch start`.");
    return false;
}

int cmd_scratch_url(struct neap_cli *cli)
{
    struct neap_error err = {0};
    struct scratch_status status = {0};
    bool good = open_project(cli, &err) &&
                scratch_look(cli->loop, cli->project.dir, &status, &err) &&
                (status.running || not_running(&err));
    int exit_status = good ? 0 : cli_fail(cli, &err);
    if (good) {
        cli_print(cli, "%s", status.url);
        cli_json(cli, 0, body_of(&status));
    }
    scratch_status_clear(&status);
    return exit_status;
}

/* What psql needs to be pleasant. Not PG*: they could lead it elsewhere. The
 * caller frees the strings and the array. */
static char **psql_environment(void)
{
    static const char *const names[] = {
        "PATH",       "HOME",        "LANG",  "LC_ALL", "LC_CTYPE", "TZ",
        "TMPDIR",     "TERM",        "PAGER", "LESS",   "EDITOR",   "VISUAL",
        "PSQL_PAGER", "PSQL_EDITOR", "LINES", "PSQLRC", "COLUMNS",
    };
    size_t count = 0;
    char **env = neap_alloc((sizeof names / sizeof names[0] + 1) * sizeof *env);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (getenv(names[i]))
            env[count++] = neap_format("%s=%s", names[i], getenv(names[i]));
    return env;
}

/* psql is the terminal's until it ends; its exit status is ours. */
static bool run_psql(struct neap_cli *cli, const char *psql, const char *url, int *exit_status,
                     struct neap_error *err)
{
    struct neap_child_result result = {0};
    const char **argv = neap_alloc(((size_t)cli->argc + 3) * sizeof *argv);
    argv[0] = psql;
    argv[1] = url;
    for (int i = 0; i < cli->argc; i++)
        argv[i + 2] = cli->argv[i];
    char **env = psql_environment();
    bool good = neap_child_run(cli->loop,
                               &(struct neap_child_opts){
                                   .argv = argv,
                                   .env = (const char *const *)env,
                                   .deadline_ms = NEAP_FOREVER,
                                   .inherit = true,
                               },
                               &result, err);
    *exit_status = result.exit_status;
    for (char **variable = env; *variable; variable++)
        free(*variable);
    free(env);
    neap_child_result_clear(&result);
    free(argv);
    return good;
}

int cmd_scratch_psql(struct neap_cli *cli)
{
    struct neap_error err = {0};
    struct scratch_status status = {0};
    char *psql = NULL;
    int exit_status = 0;
    bool good = cli_need_project(cli, &err) &&
                scratch_start(cli->loop, cli->project.dir, &status, &err) &&
                scratch_psql(&psql, &err) && run_psql(cli, psql, status.url, &exit_status, &err);
    if (!good)
        exit_status = cli_fail(cli, &err);
    free(psql);
    scratch_status_clear(&status);
    return exit_status;
}
