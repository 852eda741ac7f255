/* SPDX-License-Identifier: MIT
 *
 * The journal is the one of the database that was backed up, by the identity that the
 * manifest has of it.
 */
#include "host/proof/proof_run.h"

#include <stdlib.h>

#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/report/report_store.h"

static json_t *begin_fields(const struct neap_proof_run *run,
                            const struct neap_proof_run_opts *opts)
{
    static const char *const keys[] = {"identity", "environment", "database", NULL};
    json_t *fields = json_object();
    for (const char *const *key = keys; *key != NULL; key++)
        neap_json_set(fields, *key, neap_json_text(backup_text(opts->backup, *key)));
    neap_json_set(fields, "command", neap_json_text(opts->command));
    neap_json_set(fields, "project", neap_json_text(opts->project->dir));
    neap_json_set(fields, "environment_named", json_boolean(opts->project->env.named));
    neap_json_set(fields, "backup", neap_json_text(opts->backup->id));
    neap_json_set(fields, "neap_version", neap_json_text(NEAP_VERSION));
    neap_json_set(fields, "actor", neap_json_text(run->actor.name));
    neap_json_set(fields, "who", json_incref(run->actor.fields));
    neap_json_set(fields, "reason", neap_json_text(opts->reason));
    neap_json_set(fields, "ticket", neap_json_text(opts->ticket));
    return fields;
}

bool neap_proof_run_begin(struct neap_loop *loop, const struct neap_proof_run_opts *opts,
                          struct neap_proof_run *out, struct neap_error *err)
{
    struct neap_report *report = neap_report_begin();
    struct neap_audit_opts audit = {
        .state_dir = opts->project->state_dir,
        .identity = backup_text(opts->backup, "identity"),
        .run_id = neap_loop_run(loop)->id,
        .signing_key = opts->project->signing_key,
        .written = neap_report_event,
        .arg = report,
    };
    *out = (struct neap_proof_run){
        .loop = loop, .state_dir = neap_strdup(audit.state_dir), .report = report};
    neap_actor_open(&out->actor);
    if (neap_audit_open(&audit, &out->audit, err) &&
        neap_audit_begin(out->audit, "", begin_fields(out, opts), err))
        return true;
    neap_audit_close(out->audit);
    out->audit = NULL;
    json_decref(neap_report_end(out->report));
    out->report = NULL;
    return false;
}

static bool end_chain(struct neap_audit *audit, const struct neap_error *err)
{
    json_t *fields = json_object();
    neap_json_set(fields, "exit_status",
                  json_integer(err->code == NEAP_OK ? 0 : neap_error_exit_status(err)));
    if (err->code != NEAP_OK)
        neap_json_set(fields, "error", neap_json_error(err));
    neap_audit_add(audit, "run.end", fields);
    return neap_audit_sync(audit, NULL);
}

bool neap_proof_run_end(struct neap_proof_run *run, bool good, struct neap_error *err)
{
    if (run->audit != NULL && !end_chain(run->audit, err) && good) {
        neap_error_set(err, NEAP_ERR_AUDIT_INCOMPLETE,
                       "the end of this run could not be written to the journal");
        good = false;
    }
    neap_audit_close(run->audit);
    if (run->audit != NULL)
        neap_report_keep(run->state_dir, neap_loop_run(run->loop)->id, run->report);
    neap_actor_clear(&run->actor);
    free(run->state_dir);
    *run = (struct neap_proof_run){0};
    return good;
}
