/* SPDX-License-Identifier: MIT
 *
 * report: what a run did. It works while the target is gone; only a run that another
 * machine made is asked of the target's copy of the events.
 */
#include "host/report/report.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/cli/cmd_events.h"
#include "host/report/report_store.h"

static bool find_newest(struct neap_cli *cli, char **run_id, struct neap_error *err)
{
    const struct neap_project *project = &cli->project;
    struct neap_report_scope scope = {.project = project->dir,
                                      .environment = project->has_env ? project->env.name : NULL};
    if (!neap_report_newest(project->state_dir, &scope, run_id, err))
        return false;
    if (*run_id != NULL)
        return true;
    neap_error_set(err, NEAP_ERR_USAGE, "there is no run of this project%s%s here yet",
                   scope.environment == NULL ? "" : " on ",
                   scope.environment == NULL ? "" : scope.environment);
    neap_error_hint(err, "Of a run on another machine give the id: `neap history --events` has "
                         "them.");
    return false;
}

/* From the target's copy, and so with the events that only it has. */
static bool gather(struct neap_cli *cli, struct neap_session *session, const char *run_id,
                   json_t **out, struct neap_error *err)
{
    if (!cli_look(cli, session, false, err)) {
        char *why = neap_strdup(err->message);
        neap_error_clear(err);
        neap_error_set(err, NEAP_ERR_USAGE, "there is no run %s here", run_id);
        neap_error_detail(err, "Nor could the target be asked for it: %s.", why);
        free(why);
        return false;
    }
    struct neap_report *report = neap_report_begin();
    cli->opt.run = run_id;
    bool found = cmd_events_each(cli, session, neap_report_event, report, err);
    *out = neap_report_end(report);
    return found;
}

static void show(struct neap_cli *cli, const json_t *json)
{
    char *text = neap_report_text(json);
    cli_print_raw(cli, text);
    free(text);
}

int cmd_report(struct neap_cli *cli)
{
    struct neap_session session;
    struct neap_error err = {0};
    char *run_id = NULL, *dir = NULL;
    json_t *json = NULL, *body = NULL;
    bool kept = false;
    memset(&session, 0, sizeof session);
    bool known = cli_arguments(cli, 0, 1, &err) && cli_need_project(cli, &err);
    if (known && cli->argc > 0)
        run_id = neap_strdup(cli->argv[0]);
    else
        known = known && find_newest(cli, &run_id, &err);
    if (known && neap_report_find(cli->project.state_dir, run_id, &json, &kept, &err) &&
        (json != NULL || gather(cli, &session, run_id, &json, &err))) {
        dir = kept ? neap_report_dir(cli->project.state_dir, run_id) : NULL;
        body = json_object();
        neap_json_set(body, "dir", neap_json_text(dir));
        neap_json_set(body, "report", json_incref(json));
        show(cli, json);
    }
    json_decref(json);
    free(dir);
    free(run_id);
    return cli_end(cli, &session, 0, body, &err);
}
