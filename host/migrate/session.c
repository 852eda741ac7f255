/* SPDX-License-Identifier: MIT
 *
 * The order of a run's beginning matters: the journal can be written before
 * anything is sent; the lease is ours before the plan is believed; the plan is
 * durable before the first script runs.
 */
#include "host/migrate/session.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/change/tx.h"

/* For what neap asks before the first step's own deadline; locks take longer. */
#define LOOK_WAIT_MS 10000
#define BEGIN_WAIT_MS 30000

static bool is_applied(void *arg, const char *id)
{
    const struct neap_session *session = arg;
    const struct neap_plan_item *item = neap_plan_find(&session->plan, id);
    return item != NULL && item->state == NEAP_STATE_APPLIED;
}

static bool load(struct neap_session *session, struct neap_read_ahead *ahead,
                 struct neap_error *err)
{
    return neap_history_load(session->target->control, &session->history, err) &&
           neap_plan_load(session->project->dir, ahead, &session->history, &session->plan, err);
}

bool neap_session_reload(struct neap_session *session, struct neap_error *err)
{
    neap_history_clear(&session->history); /* the items' rows are renewed with it */
    if (neap_history_load(session->target->control, &session->history, err))
        return neap_plan_renew(&session->plan, &session->history, err);
    neap_plan_clear(&session->plan);
    return false;
}

static void limit_silence(struct neap_loop *loop, int64_t limit_ms)
{
    neap_loop_run(loop)->deadline_ms = neap_clock_deadline_ms(limit_ms);
}

/* Takes the limit away again. It is the server's silence, and no script's deadline. */
static bool end_silence(struct neap_session *session, bool done, struct neap_error *err)
{
    neap_loop_run(session->loop)->deadline_ms = NEAP_FOREVER;
    if (done || err->code != NEAP_ERR_RUN_DEADLINE)
        return done;
    char *detail = neap_strdup(err->detail);
    neap_error_clear(err);
    neap_error_set(err, NEAP_ERR_DB_CONNECT, "the server did not answer in time");
    if (detail != NULL)
        neap_error_detail(err, "%s", detail);
    free(detail);
    return false;
}

/* A restored copy has the mark of where it came from, whatever leads to it now. */
static bool check_mark(const struct neap_session *session, struct neap_error *err)
{
    const struct neap_environment *env = &session->project->env;
    const char *mark = session->history.environment;
    if (!env->named || mark == NULL || strcmp(mark, env->name) == 0)
        return true;
    neap_error_set(err, NEAP_ERR_TARGET_WRONG,
                   "environment %s leads to a target that is marked as %s", env->name, mark);
    neap_error_hint(err,
                    "Look at the url of %s in neap.lua. If this is a copy that shall belong to "
                    "%s: `update neap.meta set environment = '%s'` there.",
                    env->name, env->name, env->name);
    return false;
}

bool neap_session_look(struct neap_session *session, struct neap_loop *loop,
                       const struct neap_project *project, bool change, struct neap_error *err)
{
    memset(session, 0, sizeof *session);
    session->loop = loop;
    session->project = project;
    limit_silence(loop, project->env.connect_timeout_ms + LOOK_WAIT_MS);
    struct neap_read_ahead *ahead = neap_read_ahead_begin(loop, project->dir);
    bool looked = neap_target_open(loop, &project->env, change, &session->target, err) &&
                  load(session, ahead, err) && check_mark(session, err);
    neap_read_ahead_end(ahead);
    return end_silence(session, looked, err);
}

static json_t *begin_fields(const struct neap_session *session,
                            const struct neap_session_opts *opts)
{
    const struct neap_target *target = session->target;
    json_t *fields = json_object();
    neap_json_set(fields, "command", neap_json_text(opts->command));
    neap_json_set(fields, "dry_run", json_boolean(opts->dry_run));
    neap_json_set(fields, "project", neap_json_text(session->project->dir));
    neap_json_set(fields, "environment", neap_json_text(session->project->env.name));
    neap_json_set(fields, "environment_named", json_boolean(session->project->env.named));
    neap_json_set(fields, "address", neap_json_text(pg_address(target->control)));
    neap_json_set(fields, "database", neap_json_text(target->database));
    neap_json_set(fields, "database_user", neap_json_text(target->user));
    if (target->work_user != NULL)
        neap_json_set(fields, "work_user", neap_json_text(target->work_user));
    neap_json_set(fields, "superuser", json_boolean(target->superuser));
    neap_json_set(fields, "identity", neap_json_text(target->identity));
    neap_json_set(fields, "timeline", neap_json_text(target->timeline));
    neap_json_set(fields, "server_version", neap_json_text(target->server_version));
    neap_json_set(fields, "neap_version", neap_json_text(NEAP_VERSION));
    neap_json_set(fields, "actor", neap_json_text(session->actor.name));
    neap_json_set(fields, "who", json_incref(session->actor.fields));
    neap_json_set(fields, "reason", neap_json_text(opts->reason));
    neap_json_set(fields, "ticket", neap_json_text(opts->ticket));
    if (session->lease != NULL) {
        neap_json_set(fields, "lease_token", json_integer(lease_token(session->lease)));
        neap_json_set(fields, "lease_waited_ms", json_integer(session->lease_waited_ms));
    }
    return fields;
}

static bool claim(struct neap_session *session, struct neap_error *err)
{
    const struct neap_environment *env = &session->project->env;
    struct lease_opts opts = {
        .run_id = neap_loop_run(session->loop)->id,
        .actor = session->actor.name,
        .host = session->actor.host,
        .identity = session->target->identity,
        .direct = session->target->direct,
        .ttl_ms = env->lease_ttl_ms,
        .wait_ms = env->lease_wait_ms,
    };
    int64_t began_ms = neap_clock_ms();
    bool claimed = lease_claim(session->target->control, &opts, &session->lease, err);
    session->lease_waited_ms = neap_clock_ms() - began_ms;
    return claimed;
}

/* The lease, and then the work session on its way while the rest is made ready. */
static bool claim_target(struct neap_session *session, struct neap_error *err)
{
    if (!claim(session, err))
        return false;
    neap_target_expect_work(session->target);
    return true;
}

static bool mark_target(struct neap_session *session, struct neap_error *err)
{
    const struct neap_environment *env = &session->project->env;
    return !env->named || session->history.environment != NULL ||
           neap_history_mark(session->target->control, env->name, err);
}

static bool open_journal(struct neap_session *session, struct neap_error *err)
{
    session->report = neap_report_begin();
    struct neap_audit_opts opts = {
        .state_dir = session->project->state_dir,
        .identity = session->target->identity,
        .run_id = neap_loop_run(session->loop)->id,
        .signing_key = session->project->signing_key,
        .written = neap_report_event,
        .arg = session->report,
    };
    return neap_audit_open(&opts, &session->audit, err);
}

static void fill_change(struct neap_session *session, const struct neap_session_opts *opts)
{
    session->watch = neap_watch_begin(session->target);
    session->change = (struct neap_change){
        .loop = session->loop,
        .run = neap_loop_run(session->loop),
        .env = &session->project->env,
        .target = session->target,
        .audit = session->audit,
        .lease = session->lease,
        .watch = session->watch,
        .recorder = {.audit = session->audit},
        .actor = &session->actor,
        .reason = opts->reason,
        .ticket = opts->ticket,
        .is_applied = is_applied,
        .arg = session,
        .way_back = {.wanted = session->lease != NULL && !opts->dry_run &&
                               neap_way_back_is_wanted(&session->project->env)},
    };
}

/* Two roles: the second one is looked at too, before anything is begun. */
static bool open_work(struct neap_session *session, struct neap_error *err)
{
    struct neap_target *target = session->target;
    if (target->env->control != NULL && !neap_target_work(target, err))
        return false;
    if (target->superuser && !target->env->allow_superuser && !target->env->scratch)
        neap_log(NEAP_LOG_WARN, "policy.superuser",
                 "%s is a superuser, whom no rule holds, neither PostgreSQL's nor neap's; see "
                 "`neap help roles`",
                 target->work_user == NULL ? target->user : target->work_user);
    return true;
}

bool neap_session_begin(struct neap_session *session, const struct neap_session_opts *opts,
                        struct neap_error *err)
{
    neap_actor_open(&session->actor);
    if (!open_journal(session, err))
        return false;
    session->dry_run = opts->dry_run;
    bool install = !opts->bare && !opts->dry_run;
    bool lease = !opts->bare && (install || session->history.current);
    limit_silence(session->loop, session->project->env.lease_wait_ms + BEGIN_WAIT_MS);
    bool ours = (opts->bare || open_work(session, err)) &&
                (!install || neap_history_install(session->target->control, err)) &&
                (!lease || (claim_target(session, err) && mark_target(session, err) &&
                            neap_session_reload(session, err)));
    if (!ours)
        neap_history_explain_rights(session->target->control, err);
    if (!end_silence(session, ours, err))
        return false;
    fill_change(session, opts);
    session->begun = neap_audit_begin(session->audit, session->history.target_head,
                                      begin_fields(session, opts), err);
    if (!session->begun)
        return false;
    int copied = 0;
    if (lease && !neap_audit_backfill(session->audit, session->target->control, &copied, err))
        return false;
    if (copied > 0)
        neap_log(NEAP_LOG_DETAIL, "audit.backfilled",
                 "%d events of earlier runs, until now only in the journal, were copied to the "
                 "target",
                 copied);
    return true;
}

void neap_session_leave(struct neap_session *session)
{
    lease_release(session->lease); /* first: the watch may close the control session */
    neap_watch_end(session->watch);
    neap_target_close(session->target);
    session->lease = session->change.lease = NULL;
    session->watch = session->change.watch = NULL;
    session->target = session->change.target = NULL;
}

bool neap_session_return(struct neap_session *session, struct neap_error *err)
{
    const struct neap_environment *env = &session->project->env;
    limit_silence(session->loop, env->connect_timeout_ms + env->lease_wait_ms + BEGIN_WAIT_MS);
    bool back = neap_target_open(session->loop, env, true, &session->target, err);
    if (back) {
        session->change.target = session->target;
        back = neap_history_install(session->target->control, err) &&
               neap_session_reload(session, err) && claim(session, err) &&
               mark_target(session, err) && neap_session_reload(session, err);
        session->change.lease = session->lease;
        session->watch = session->change.watch = neap_watch_begin(session->target);
    }
    return end_silence(session, back, err);
}

/* All rows that the plan will write, at once: the first step's own statements hide
 * the round trip. */
static bool announce(struct neap_session *session, struct neap_plan_item *const *items,
                     size_t count, const char *action, struct neap_error *err)
{
    struct neap_attempt_key *keys = neap_alloc((count + 1) * sizeof *keys);
    for (size_t i = 0; i < count; i++)
        keys[i] = (struct neap_attempt_key){items[i]->id, action};
    bool sent = neap_attempts_announce(&session->change.attempts, session->target->control,
                                       neap_loop_run(session->loop)->id, keys, count, err);
    free(keys);
    return sent;
}

void neap_session_words(const struct neap_plan_item *item, json_t *json)
{
    static const char *const words[] = {"why", "risk", "locks", NULL};
    for (const char *const *word = words; *word != NULL; word++) {
        char *text = item->file == NULL ? NULL : neap_source_header(&item->source.files[0], *word);
        neap_json_set(json, *word, neap_json_text(text));
        free(text);
    }
}

bool neap_session_plan(struct neap_session *session, struct neap_plan_item *const *items,
                       size_t count, const char *action, struct neap_error *err)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *entry = json_object();
        neap_json_set(entry, "id", neap_json_text(items[i]->id));
        neap_json_set(entry, "name", neap_json_text(items[i]->name));
        if (items[i]->file != NULL) {
            char hex[NEAP_HASH_HEX_SIZE];
            neap_hash_hex(&items[i]->source.exact, hex);
            neap_json_set(entry, "exact", neap_json_text(hex));
            neap_hash_hex(&items[i]->source.token, hex);
            neap_json_set(entry, "token", neap_json_text(hex));
            neap_session_words(items[i], entry);
        }
        json_array_append_new(list, entry);
    }
    json_t *fields = json_object();
    neap_json_set(fields, "action", neap_json_text(action));
    neap_json_set(fields, "migrations", list);
    neap_audit_add(session->audit, "run.plan", fields);
    return neap_audit_sync(session->audit, err) &&
           (session->dry_run || announce(session, items, count, action, err));
}

static bool load_stored(struct neap_session *session, const char *id, struct neap_source *out,
                        struct neap_error *err)
{
    void *bytes = NULL;
    size_t length = 0;
    if (!neap_history_bundle(session->target->control, id, &bytes, &length, err))
        return false;
    bool found = bytes != NULL;
    if (!found) {
        neap_error_set(err, NEAP_ERR_HISTORY_MISSING, "no copy of migration %s is stored", id);
        neap_error_hint(err,
                        "Restore its file; or, when you undid it by hand: `neap repair %s "
                        "--mark pending --reason TEXT`.",
                        id);
    }
    bool loaded = found && neap_source_unbundle(bytes, length, out, err);
    free(bytes);
    return loaded;
}

bool neap_session_down_source(struct neap_session *session, struct neap_plan_item *item,
                              bool stored, struct neap_source *out, bool *owned,
                              struct neap_error *err)
{
    *owned = false;
    if (item->file != NULL && item->problem != NEAP_PROBLEM_CHANGED) {
        bool looked = neap_source_look(&item->source, err);
        *out = item->source;
        return looked;
    }
    if (item->file != NULL && !stored) {
        neap_error_set(err, NEAP_ERR_HISTORY_CHANGED,
                       "%s was changed after it was applied, so its down may not fit",
                       item->file->path);
        neap_error_hint(err,
                        "Undo it with the copy that was applied: `neap down --only %s "
                        "--stored`; or restore the file.",
                        item->id);
        neap_error_where(err, item->file->path, 1);
        return false;
    }
    *owned = load_stored(session, item->id, out, err);
    if (*owned)
        neap_log(NEAP_LOG_WARN, "history.stored", "%s %s: using the copy stored in history",
                 item->id, item->name);
    return *owned;
}

static bool is_picked(const struct neap_plan_item *item, struct neap_plan_item *const *items,
                      size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (items[i] == item)
            return true;
    return false;
}

/* The picked item that `item` requires, or NULL. A script that cannot be opened
 * (baselined, and its file is gone) is not known to require any. */
static const struct neap_plan_item *required_one(struct neap_session *session,
                                                 struct neap_plan_item *item,
                                                 struct neap_plan_item *const *items, size_t count)
{
    const struct neap_plan_item *found = NULL;
    struct neap_script_opts opts = {.loop = session->loop,
                                    .memory_bytes = session->project->env.memory_bytes};
    struct neap_source source = {0};
    struct neap_script *script = NULL;
    struct neap_error err = {0};
    bool owned = false;
    bool opened = neap_session_down_source(session, item, true, &source, &owned, &err) &&
                  neap_script_open(&opts, &source, &script, &err);
    char **ids = opened ? neap_script_def(script)->requires : NULL;
    for (; found == NULL && ids != NULL && *ids != NULL; ids++)
        for (size_t i = 0; found == NULL && i < count; i++)
            if (neap_migration_id_compare(items[i]->id, *ids) == 0)
                found = items[i];
    neap_script_close(script);
    if (owned)
        neap_source_clear(&source);
    neap_error_clear(&err);
    return found;
}

bool neap_session_check_unneeded(struct neap_session *session, struct neap_plan_item *const *items,
                                 size_t count, struct neap_error *err)
{
    /* The picked come last id first; what is before all of them requires none. */
    for (size_t i = session->plan.count; count > 0 && i-- > 0;) {
        struct neap_plan_item *item = &session->plan.items[i];
        if (item < items[count - 1])
            break;
        if (item->state == NEAP_STATE_PENDING || is_picked(item, items, count))
            continue;
        const struct neap_plan_item *required = required_one(session, item, items, count);
        if (required == NULL)
            continue;
        neap_error_set(err, NEAP_ERR_HISTORY_REQUIRES,
                       "migration %s %s is applied, and requires %s", item->id, item->name,
                       required->id);
        neap_error_hint(err, "Undo %s first: `neap down --only %s`.", item->id, item->id);
        if (item->file != NULL)
            neap_error_where(err, item->file->path, 0);
        return false;
    }
    return true;
}

void neap_session_explain_change(struct neap_session *session, struct neap_error *err)
{
    for (size_t i = 0; i < session->plan.count; i++) {
        struct neap_plan_item *item = &session->plan.items[i];
        struct neap_source applied = {0};
        if (item->problem != NEAP_PROBLEM_CHANGED ||
            !load_stored(session, item->id, &applied, NULL))
            continue;
        char *diff = neap_source_diff(&applied, &item->source);
        neap_error_detail(err, "What was applied, against the file now:\n%s", diff);
        free(diff);
        neap_source_clear(&applied);
        return;
    }
}

static bool end_chain(struct neap_session *session, int exit_status, const struct neap_error *err)
{
    json_t *fields = json_object();
    neap_json_set(fields, "exit_status", json_integer(exit_status));
    if (err != NULL && err->code != NEAP_OK)
        neap_json_set(fields, "error", neap_json_error(err));
    neap_audit_add(session->audit, "run.end", fields);
    return neap_tx_publish(&session->change, NULL);
}

bool neap_session_end(struct neap_session *session, int exit_status, const struct neap_error *err)
{
    bool kept = !session->begun || end_chain(session, exit_status, err);
    lease_release(session->lease); /* first: the watch may close the control session */
    neap_watch_end(session->watch);
    neap_recorder_clear(&session->change.recorder);
    neap_way_back_clear(&session->change.way_back);
    neap_attempts_clear(&session->change.attempts);
    neap_audit_close(session->audit);
    if (session->report != NULL)
        json_decref(neap_report_end(session->report));
    neap_plan_clear(&session->plan);
    neap_history_clear(&session->history);
    neap_target_close(session->target);
    neap_actor_clear(&session->actor);
    memset(session, 0, sizeof *session);
    return kept;
}
