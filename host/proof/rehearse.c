/* SPDX-License-Identifier: MIT
 *
 * A run within a run: its own project, journal, lease and sessions, all on the copy, and
 * the loop, the deadline and the signals of the run that asked. The copy's journal is thrown
 * away; what was found is an event of the target's.
 */
#include "host/proof/rehearse.h"

#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_conninfo.h"
#include "host/base/buffer.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/proof/rehearse_place.h"
#include "host/proof/rehearse_predict.h"
#include "host/proof/rehearse_roles.h"
#include "host/proof/rehearse_units.h"

struct rehearsal {
    struct neap_session *target;
    struct backup_copy *copy;
    const struct neap_rehearse_opts *opts;
    struct neap_rehearse_place place;
    struct neap_project project; /* the target's, but for where it leads */
    struct neap_session session;
    struct neap_rehearse_units units;
    json_t *sizes; /* of the copy's tables before */
    char *server_version;
    int64_t begun_ms;
};

/* Whose login it is there: on a private server it is ours to choose; beside the target it
 * is the one that leads to the target. */
static char *url_of(const struct rehearsal *rehearsal, const char *conninfo, const char *user)
{
    if (rehearsal->copy->server == NULL)
        return pg_conninfo_on(conninfo, rehearsal->copy->database, NULL);
    char *url = backup_copy_url(rehearsal->copy);
    if (user == NULL)
        return url;
    struct neap_buffer as = {0};
    neap_buffer_add_format(&as, "%s&user=", url);
    neap_buffer_add_encoded(&as, user);
    free(url);
    return neap_buffer_take(&as);
}

static bool open_roles(struct rehearsal *rehearsal, struct neap_error *err)
{
    struct neap_target *target = rehearsal->target->target;
    if (rehearsal->copy->server == NULL)
        return true;
    return (target->env->control == NULL || neap_target_work(target, err)) &&
           neap_rehearse_roles(target, rehearsal->copy->client, err);
}

/* No rule of the environment that is about the target itself holds on a copy of it. */
static void fill_project(struct rehearsal *rehearsal)
{
    const struct neap_target *target = rehearsal->target->target;
    struct neap_project *project = &rehearsal->project;
    struct neap_environment *env = &project->env;
    const char *work = target->work_user != NULL ? target->work_user : target->user;
    *project = *rehearsal->target->project;
    project->state_dir = neap_rehearse_path(&rehearsal->place, "state");
    project->signing_key = NULL;
    env->url = url_of(rehearsal, env->url, work);
    env->control = env->control == NULL ? NULL : url_of(rehearsal, env->control, target->user);
    env->named = env->scratch = env->is_protected = env->pooler = false;
    env->allow_superuser = true;
    env->system_identifier = env->database = NULL;
}

static void clear_project(struct rehearsal *rehearsal)
{
    struct neap_environment *env = &rehearsal->project.env;
    free(rehearsal->project.state_dir);
    free(env->url);
    free(env->control);
}

/* What is applied there is applied here, and nothing else. */
static bool check_state(const struct rehearsal *rehearsal, struct neap_error *err)
{
    const struct neap_plan *here = &rehearsal->session.plan, *there = &rehearsal->target->plan;
    for (size_t i = 0; i < there->count; i++) {
        const struct neap_plan_item *item = &there->items[i];
        const struct neap_plan_item *found = neap_plan_find(here, item->id);
        if (found != NULL && found->state == item->state)
            continue;
        neap_error_set(err, NEAP_ERR_REHEARSAL_COPY,
                       "migration %s is %s on the target and %s on the copy from %s", item->id,
                       neap_state_name(item->state),
                       found == NULL ? "unknown" : neap_state_name(found->state),
                       rehearsal->opts->from);
        return false;
    }
    for (size_t i = 0; i < here->count; i++) {
        const struct neap_plan_item *item = &here->items[i];
        if (item->state == NEAP_STATE_PENDING || neap_plan_find(there, item->id) != NULL)
            continue;
        neap_error_set(err, NEAP_ERR_REHEARSAL_COPY,
                       "migration %s is %s on the copy from %s, and unknown on the target",
                       item->id, neap_state_name(item->state), rehearsal->opts->from);
        return false;
    }
    return true;
}

/* Not the target, whatever the words of the client below say. */
static void blame_copy(struct neap_error *err)
{
    if (err->code == NEAP_ERR_DB_CONNECT || err->code == NEAP_ERR_DB_LOST)
        err->code = NEAP_ERR_BACKUP_FAILED;
}

static bool open_copy(struct rehearsal *rehearsal, struct neap_error *err)
{
    struct neap_session_opts opts = {.command = "rehearse",
                                     .reason = rehearsal->target->change.reason,
                                     .ticket = rehearsal->target->change.ticket};
    if (!neap_rehearse_place_begin(rehearsal->target, "journal", &rehearsal->place, err) ||
        (rehearsal->opts->has_rows && !backup_copy_enliven(rehearsal->copy, err)) ||
        !open_roles(rehearsal, err))
        return false;
    fill_project(rehearsal);
    struct neap_session *session = &rehearsal->session;
    bool open = neap_session_look(session, rehearsal->target->loop, &rehearsal->project, true, err);
    if (open)
        rehearsal->server_version = neap_strdup(session->target->server_version);
    open = open && neap_session_begin(session, &opts, err) && check_state(rehearsal, err);
    if (!open)
        blame_copy(err);
    return open;
}

static bool run(struct rehearsal *rehearsal, struct neap_error *err)
{
    const struct neap_rehearse_opts *opts = rehearsal->opts;
    if (!open_copy(rehearsal, err) ||
        !neap_rehearse_sizes(rehearsal->copy->client, &rehearsal->sizes, err) ||
        /* What it spills for itself would count as the scripts'. */
        !pg_exec_text(rehearsal->copy->client, "set work_mem = '256MB'", 0, NULL, NULL, err))
        return false;
    neap_rehearse_units_init(&rehearsal->units, &rehearsal->session, rehearsal->copy->client,
                             opts->items, opts->count);
    rehearsal->units.guarded = rehearsal->copy->server == NULL;
    neap_measure_guard(rehearsal->units.measure, rehearsal->units.guarded);
    bool done = neap_rehearse_units_run(&rehearsal->units, err);
    struct neap_prediction prediction = {.control = rehearsal->target->target->control,
                                         .sizes = rehearsal->sizes,
                                         .has_rows = opts->has_rows};
    return neap_rehearse_predict(&prediction, rehearsal->units.list, done ? err : NULL) && done;
}

static void record_begin(const struct rehearsal *rehearsal)
{
    json_t *fields = json_object(), *ids = json_array();
    for (size_t i = 0; i < rehearsal->opts->count; i++)
        json_array_append_new(ids, neap_json_text(rehearsal->opts->items[i]->id));
    neap_json_set(fields, "from", neap_json_text(rehearsal->opts->from));
    neap_json_set(fields, "rows", json_boolean(rehearsal->opts->has_rows));
    neap_json_set(fields, "ids", ids);
    neap_audit_add(rehearsal->target->audit, "rehearsal.begin", fields);
}

static json_t *account(const struct rehearsal *rehearsal, bool ok, const struct neap_error *err)
{
    json_t *json = json_object();
    json_t *units = rehearsal->units.list;
    neap_json_set(json, "ok", json_boolean(ok));
    neap_json_set(json, "from", neap_json_text(rehearsal->opts->from));
    neap_json_set(json, "server_version", neap_json_text(rehearsal->server_version));
    neap_json_set(json, "rows", json_boolean(rehearsal->opts->has_rows));
    neap_json_set(json, "seconds",
                  json_real((double)(neap_clock_ms() - rehearsal->begun_ms) / 1000.0));
    neap_json_set(json, "units", units == NULL ? json_array() : json_incref(units));
    neap_json_set(json, "error", ok ? json_null() : neap_json_error(err));
    return json;
}

/* Hands loop and run back as they were lent. */
static void close_copy(struct rehearsal *rehearsal, bool ok, const struct neap_error *err)
{
    struct neap_run *run = neap_loop_run(rehearsal->target->loop);
    neap_session_end(&rehearsal->session, ok ? 0 : neap_error_exit_status(err), ok ? NULL : err);
    neap_rehearse_units_clear(&rehearsal->units);
    neap_rehearse_place_end(&rehearsal->place);
    clear_project(rehearsal);
    json_decref(rehearsal->sizes);
    free(rehearsal->server_version);
    neap_run_rearm(run);
    run->deadline_ms = NEAP_FOREVER;
    run->doubt = NEAP_OK;
    if (rehearsal->target->watch != NULL)
        neap_watch_tell(rehearsal->target->watch);
}

bool neap_rehearse(struct neap_session *target, struct backup_copy *copy,
                   const struct neap_rehearse_opts *opts, struct neap_rehearsal *out,
                   struct neap_error *err)
{
    struct rehearsal rehearsal = {.target = target,
                                  .copy = copy,
                                  .opts = opts,
                                  .place = {.part = {.fd = -1}},
                                  .begun_ms = neap_clock_ms()};
    *out = (struct neap_rehearsal){.ok = false};
    record_begin(&rehearsal);
    if (!neap_audit_sync(target->audit, err))
        return false;
    out->ok = run(&rehearsal, err);
    neap_log_progress_end();
    out->json = account(&rehearsal, out->ok, err);
    close_copy(&rehearsal, out->ok, err);
    neap_audit_add(target->audit, "rehearsal.end", json_deep_copy(out->json));
    return out->ok;
}

void neap_rehearsal_clear(struct neap_rehearsal *rehearsal)
{
    json_decref(rehearsal->json);
    *rehearsal = (struct neap_rehearsal){.ok = false};
}
