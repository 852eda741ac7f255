/* SPDX-License-Identifier: MIT
 *
 * The last turn of the way back, where the environment says `auto_restore`: the backup of a
 * run that stopped halfway takes the target's place. It is a run of its own, with an id of
 * its own, and begins when the first one has ended: a swap ends every session in the target.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/cli/cmd_change.h"
#include "host/proof/restore.h"

/* The environment did, once for all. */
static bool agree(void *arg, const char *database, const json_t *loss, struct neap_error *err)
{
    (void)arg;
    (void)loss;
    (void)err;
    neap_log(NEAP_LOG_WARN, "restore.auto", "auto_restore: a backup takes the place of database %s",
             database);
    return true;
}

static bool is_wanted(const struct cmd_change *change)
{
    const struct neap_change *heart = &change->session.change;
    return change->cli->project.env.auto_restore && heart->way_back.stopped &&
           heart->backup_id != NULL && heart->archive_run == NULL && !neap_run_stopping(heart->run);
}

static void tell_turn(struct cmd_change *change, const char *next_run)
{
    struct neap_change *heart = &change->session.change;
    const char *id = json_string_value(json_object_get(change->failed, "id"));
    char *text = neap_format("auto_restore: run %s puts backup %s in the place of database %s",
                             next_run, heart->backup_id, change->session.target->database);
    struct neap_way_back_place place = {.id = id == NULL ? "" : id};
    struct neap_way_back_turn turn = {"restore", "begun", text};
    neap_way_back_turn(heart, &place, &turn);
    free(text);
}

static bool restore(struct neap_cli *cli, const char *backup_id, const char *first_run,
                    struct neap_error *err)
{
    struct neap_session session;
    struct backup backup = {0};
    json_t *result = NULL;
    char *reason = neap_format("auto_restore after run %s", first_run);
    struct neap_restore_opts opts = {.reason = reason, .ticket = cli->opt.ticket, .agree = agree};
    memset(&session, 0, sizeof session);
    bool done = backup_find(cli->project.env.backup_dir, backup_id, NULL, &backup, err) &&
                neap_session_look(&session, cli->loop, &cli->project, true, err) &&
                neap_restore_swap(&session, &opts, &backup, &result, err);
    cli_end_session(cli, &session, done ? 0 : neap_error_exit_status(err), err);
    if (done)
        neap_log(NEAP_LOG_WARN, "restore.auto",
                 "database %s is what backup %s has; the one before "
                 "is kept as %s",
                 json_string_value(json_object_get(result, "database")), backup_id,
                 json_string_value(json_object_get(result, "kept")));
    json_decref(result);
    backup_clear(&backup);
    free(reason);
    return done;
}

/* What became of it, said with the error that led here. */
static void explain(const char *backup_id, const char *run_id, const struct neap_error *why,
                    struct neap_error *err)
{
    char *earlier = neap_strdup(err->detail == NULL ? "" : err->detail);
    size_t length = strlen(earlier);
    bool goes_on = length > 0 && earlier[length - 1] != '\n';
    bool done = why->code == NEAP_OK;
    if (done) {
        err->code = NEAP_ERR_VALIDATION_FAILED; /* undone: nothing of it is halfway any more */
        neap_error_hint(err, "Mend the script, then run `neap up` again. What was written since "
                             "the backup is in the database that was kept: `neap help restore`.");
    }
    neap_error_detail(err, "%s%sThe environment says auto_restore: run %s %s backup %s%s%s.",
                      earlier, goes_on ? "\n" : "", run_id,
                      done ? "put back" : "could not put back", backup_id, done ? "" : ": ",
                      done ? "" : why->message);
    free(earlier);
}

void cmd_auto_restore(struct cmd_change *change, struct neap_error *err)
{
    struct neap_cli *cli = change->cli;
    struct neap_error why = {0};
    char first_run[NEAP_RUN_ID_SIZE], next_run[NEAP_RUN_ID_SIZE];
    if (!is_wanted(change))
        return;
    char *backup_id = neap_strdup(change->session.change.backup_id);
    neap_run_id(next_run);
    tell_turn(change, next_run);
    cli_end_session(cli, &change->session, neap_error_exit_status(err), err);
    memcpy(first_run, cli->run.id, sizeof first_run);
    memcpy(cli->run.id, next_run, sizeof next_run);
    neap_log_context(cli->run.id, NULL, NULL);
    (void)restore(cli, backup_id, first_run, &why);
    memcpy(cli->run.id, first_run, sizeof first_run);
    neap_log_context(cli->run.id, NULL, NULL);
    explain(backup_id, next_run, &why, err);
    neap_error_clear(&why);
    free(backup_id);
}
