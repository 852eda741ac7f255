/* SPDX-License-Identifier: MIT
 *
 * From the project to a target in hand, and back to an exit status. Confirmation
 * lives here: the terminal is the command line's, not the heart's.
 */
#include "host/cli/cli_target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings/scratch/scratch.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/report/report_store.h"

static bool start_scratch(struct neap_cli *cli, struct neap_error *err)
{
    struct scratch_status status = {0};
    if (!scratch_start(cli->loop, cli->project.dir, &status, err))
        return false;
    free(cli->project.env.url);
    cli->project.env.url = neap_strdup(status.url);
    scratch_status_clear(&status);
    return true;
}

bool cli_need_target(struct neap_cli *cli, struct neap_error *err)
{
    return cli_need_project(cli, err) && neap_project_need_target(&cli->project, err) &&
           (!cli->project.env.scratch || start_scratch(cli, err));
}

bool cli_look(struct neap_cli *cli, struct neap_session *session, bool change,
              struct neap_error *err)
{
    memset(session, 0, sizeof *session);
    return cli_need_target(cli, err) &&
           neap_session_look(session, cli->loop, &cli->project, change, err);
}

bool cli_place(const struct neap_cli *cli, bool *on_target, struct neap_error *err)
{
    const char *place = cli->opt.on;
    *on_target = place != NULL && strcmp(place, "target") == 0;
    if (place == NULL || *on_target || strcmp(place, "scratch") == 0)
        return true;
    neap_error_set(err, NEAP_ERR_USAGE, "--on is scratch or target, not \"%s\"", place);
    return false;
}

static bool read_answer(char *answer, size_t size)
{
    if (fgets(answer, (int)size, stdin) == NULL)
        return false;
    answer[strcspn(answer, "\r\n")] = '\0';
    return true;
}

bool cli_is_asked(const struct neap_cli *cli)
{
    return cli->opt.confirm == NULL && isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

bool cli_confirm_name(struct neap_cli *cli, const char *name, const char *address, const char *what,
                      struct neap_error *err)
{
    const char *env = cli->project.env.name;
    if (cli_is_asked(cli)) {
        char answer[128] = "";
        fprintf(stderr, "%s on %s (%s).\nType the database's name to go on: ", what, env, address);
        (void)fflush(stderr);
        if (read_answer(answer, sizeof answer) && strcmp(answer, name) == 0)
            return true;
    } else if (cli->opt.confirm != NULL && strcmp(cli->opt.confirm, name) == 0) {
        return true;
    }
    neap_error_set(err, NEAP_ERR_APPROVAL_MISSING, "%s on the %senvironment %s %s", what,
                   cli->project.env.is_protected ? "protected " : "", env,
                   cli->opt.confirm == NULL ? "was not confirmed"
                                            : "was confirmed for another "
                                              "database");
    neap_error_hint(err, "Type the database's name when asked, or give `--confirm %s`.", name);
    return false;
}

char *cli_store(const struct neap_cli *cli)
{
    if (cli->opt.to == NULL && cli->project.env.backup_dir != NULL)
        return neap_strdup(cli->project.env.backup_dir);
    if (cli->opt.to == NULL)
        return neap_path_join(cli->project.state_dir, "backups");
    char *resolved = realpath(cli->opt.to, NULL);
    char *dir = neap_strdup(resolved == NULL ? cli->opt.to : resolved);
    free(resolved);
    return dir;
}

bool cli_confirm(struct neap_cli *cli, const struct neap_session *session, const char *what,
                 struct neap_error *err)
{
    return !cli->project.env.is_protected ||
           cli_confirm_name(cli, session->target->database, pg_address(session->target->control),
                            what, err);
}

bool cli_need_reason(struct neap_cli *cli, struct neap_error *err)
{
    if (cli->opt.reason != NULL && cli->opt.reason[0] != '\0')
        return true;
    neap_error_set(err, NEAP_ERR_USAGE, "`neap %s` needs a reason", cli->command->name);
    neap_error_hint(err, "Give `--reason TEXT`: it is kept in history and audit.");
    return false;
}

json_t *cli_target_json(const struct neap_session *session)
{
    json_t *body = json_object();
    if (session->target == NULL)
        return body;
    neap_json_set(body, "environment", neap_json_text(session->project->env.name));
    neap_json_set(body, "database", neap_json_text(session->target->database));
    neap_json_set(body, "server", neap_json_text(pg_address(session->target->control)));
    return body;
}

bool cli_end_session(struct neap_cli *cli, struct neap_session *session, int exit_status,
                     const struct neap_error *err)
{
    struct neap_report *report = session->begun ? session->report : NULL;
    if (report != NULL)
        session->report = NULL;
    bool kept = neap_session_end(session, exit_status, err);
    if (report != NULL)
        neap_report_keep(cli->project.state_dir, cli->run.id, report);
    return kept;
}

int cli_end(struct neap_cli *cli, struct neap_session *session, int exit_status, json_t *body,
            struct neap_error *err)
{
    bool failed = err->code != NEAP_OK;
    if (failed)
        exit_status = neap_error_exit_status(err);
    bool kept = cli_end_session(cli, session, exit_status, err);
    if (!kept && failed)
        neap_log(NEAP_LOG_ERROR, "audit.incomplete",
                 "the end of this run could not be written to the journal");
    if (!kept && !failed) { /* what was done is done, and not all of it is recorded */
        neap_error_set(err, NEAP_ERR_AUDIT_INCOMPLETE,
                       "the end of this run could not be written to the journal");
        failed = true;
    }
    if (failed)
        return cli_fail_with(cli, err, body);
    cli_json(cli, exit_status, body);
    if (!cli_flush(cli, err))
        return cli_fail(cli, err);
    return exit_status;
}
