/* SPDX-License-Identifier: MIT
 *
 * A restore that becomes the target, from the first look to the session with the new one,
 * and one that was killed on the way: what there is to go on with, the server's comments
 * tell, never a file of ours.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bindings/backup/backup_loss.h"
#include "bindings/backup/backup_properties.h"
#include "bindings/pg/pg_conninfo.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/proof/proof_run.h"
#include "host/proof/restore_parts.h"

#define KEEP_DAYS 7

struct swap {
    struct restore restore;
    struct neap_proof_run run; /* where there is no target to begin a session on */
    char *target;
    json_t *loss;
    char *kept;
};

static bool check_direct(const struct restore *restore, struct neap_error *err)
{
    const struct neap_session *session = restore->session;
    if (session == NULL || session->target->direct)
        return true;
    neap_error_set(err, NEAP_ERR_DB_POOLER, "a pooler answers at %s",
                   pg_address(session->target->control));
    neap_error_hint(err, "Give the environment an address of the server itself; the pooler's own "
                         "sessions are ended with the others.");
    return false;
}

/* What would stay with the old database, or would stop with it. */
static bool check_bonds(const struct restore *restore, struct neap_error *err)
{
    char *bonds = NULL;
    if (!backup_properties_bonds(restore->server.client, restore->target, &bonds, err))
        return false;
    if (bonds != NULL) {
        neap_error_set(err, NEAP_ERR_RESTORE_BOUND,
                       "something holds on to database %s that a restored one would not have",
                       restore->target);
        neap_error_detail(err, "%s", bonds);
    }
    bool free_of = bonds == NULL;
    free(bonds);
    return free_of;
}

static bool check_environment(const struct restore *restore, struct neap_error *err)
{
    const struct neap_environment *env = &restore->project->env;
    const char *of = restore->backup == NULL ? "" : backup_text(restore->backup, "environment");
    if (!env->named || of[0] == '\0' || strcmp(of, env->name) == 0)
        return true;
    neap_error_set(err, NEAP_ERR_TARGET_WRONG, "backup %s is of environment %s, and this is %s",
                   restore->backup->id, of, env->name);
    neap_error_hint(err, "Restore it into a database of its own, with `--into NAME`.");
    return false;
}

/* NULL: nobody can tell, which is said when it is asked for. */
static json_t *read_loss(const struct restore *restore)
{
    struct neap_error why = {0};
    json_t *loss = NULL;
    if (restore->session != NULL && restore->backup != NULL &&
        !backup_loss_read(restore->session->target->control, restore->backup, &loss, &why)) {
        neap_log(NEAP_LOG_WARN, "restore.loss", "what would be lost cannot be read: %s",
                 why.message);
        pg_failure_clear(restore->session->target->control);
    }
    neap_error_clear(&why);
    return loss;
}

/* All that can be said before anything is begun. */
static bool prepare(struct swap *swap, bool make, struct neap_error *err)
{
    struct restore *restore = &swap->restore;
    if (restore->target == NULL) {
        neap_error_set(err, NEAP_ERR_CONFIG_TARGET,
                       "the url does not say which database is gone: a service file does");
        neap_error_hint(err, "Add `dbname=NAME` to the url of the environment.");
        return false;
    }
    if (!check_environment(restore, err) ||
        (restore->backup != NULL && !restore_check_kind(restore->backup, err)) ||
        !check_direct(restore, err) || !restore_open(restore, err) || !check_bonds(restore, err) ||
        (make && !backup_server_check(&restore->server, restore->backup->manifest, err)))
        return false;
    swap->loss = read_loss(restore);
    return restore->opts->agree(restore->opts->arg, restore->target, swap->loss, err);
}

static bool begin(struct swap *swap, struct neap_error *err)
{
    struct restore *restore = &swap->restore;
    const struct neap_restore_opts *opts = restore->opts;
    if (restore->session != NULL) {
        struct neap_session_opts begin = {
            .command = "restore", .reason = opts->reason, .ticket = opts->ticket};
        bool begun = neap_session_begin(restore->session, &begin, err);
        restore->audit = restore->session->audit;
        return begun;
    }
    struct neap_proof_run_opts begin = {.project = restore->project,
                                        .backup = restore->backup,
                                        .command = "restore",
                                        .reason = opts->reason,
                                        .ticket = opts->ticket};
    bool begun = neap_proof_run_begin(restore->loop, &begin, &swap->run, err);
    restore->audit = swap->run.audit;
    return begun;
}

static bool record_begin(struct swap *swap, struct neap_error *err)
{
    const struct restore *restore = &swap->restore;
    json_t *fields = json_object();
    if (restore->backup != NULL) {
        neap_json_set(fields, "backup", neap_json_text(restore->backup->id));
        neap_json_set(fields, "manifest_sha256", neap_json_text(restore->backup->manifest_sha256));
    }
    neap_json_set(fields, "target", neap_json_text(restore->target));
    neap_json_set(fields, "restored", neap_json_text(restore->name)); /* by a run before */
    neap_json_set(fields, "loss", swap->loss == NULL ? json_null() : json_incref(swap->loss));
    return restore_record(&swap->restore, "restore.begin", fields, true, err);
}

/* What an earlier run restored is this one's from now on: neither is it swept, nor does
 * another run take it up. */
static bool adopt(struct restore *restore, struct neap_error *err)
{
    json_t *mark = restore_mark(restore, "whole");
    bool marked =
        backup_beside_mark(&restore->server, restore->name, BACKUP_BESIDE_RESTORE, mark, err);
    json_decref(mark);
    return marked;
}

/* The run goes on where its target is now; what cannot be copied there the journal has. */
static void come_back(struct restore *restore, bool done)
{
    struct neap_error why = {0};
    if (restore->session == NULL || restore->session->target != NULL)
        return;
    if (!neap_session_return(restore->session, &why))
        neap_log(NEAP_LOG_WARN, "restore.session",
                 "%s, but this run could not go on there, so that its events are in the journal "
                 "alone: %s",
                 done ? "the restored database is the target" : "the target is what it was",
                 why.message);
    neap_error_clear(&why);
}

static json_t *result_of(const struct swap *swap)
{
    const struct restore *restore = &swap->restore;
    json_t *json = json_object();
    neap_json_set(json, "database", neap_json_text(restore->target));
    neap_json_set(json, "backup",
                  neap_json_text(restore->backup == NULL ? NULL : restore->backup->id));
    neap_json_set(json, "server", neap_json_text(pg_address(restore->server.client)));
    neap_json_set(json, "kept", neap_json_text(swap->kept));
    neap_json_set(json, "kept_until", neap_json_text(swap->kept == NULL ? NULL : restore->until));
    neap_json_set(json, "loss", swap->loss == NULL ? json_null() : json_incref(swap->loss));
    neap_json_set(json, "duration_ms", json_integer(neap_clock_ms() - restore->begun_ms));
    return json;
}

static bool carry_out(struct swap *swap, bool make, struct neap_error *err)
{
    struct restore *restore = &swap->restore;
    struct neap_run *run = neap_loop_run(restore->loop);
    run->deadline_ms = neap_clock_deadline_ms(restore->opts->timeout_ms);
    bool done = record_begin(swap, err) &&
                (make ? restore_make(restore, err) : adopt(restore, err)) &&
                restore_swap(restore, &swap->kept, err);
    run->deadline_ms = NEAP_FOREVER;
    if (done) {
        struct neap_error why = {0};
        (void)backup_beside_sweep(&restore->server, &why);
        neap_error_clear(&why);
    }
    come_back(restore, done);
    json_t *fields = json_object();
    neap_json_set(fields, "database", neap_json_text(done ? restore->target : NULL));
    neap_json_set(fields, "kept", neap_json_text(swap->kept));
    restore_failed(fields, err);
    (void)restore_record(restore, "restore.end", fields, false, NULL);
    return done;
}

static bool swap_in(struct swap *swap, json_t **out, struct neap_error *err)
{
    bool make = swap->restore.name == NULL;
    bool begun = prepare(swap, make, err) && begin(swap, err);
    bool done = begun && carry_out(swap, make, err);
    if (done)
        *out = result_of(swap);
    if (swap->restore.session == NULL && begun)
        done = neap_proof_run_end(&swap->run, done, err);
    restore_clear(&swap->restore);
    json_decref(swap->loss);
    free(swap->target);
    free(swap->kept);
    return done;
}

/* Once, so that the result says what the comment says. */
static void fill_until(struct restore *restore)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    neap_clock_utc_of(((int64_t)now.tv_sec + KEEP_DAYS * 86400LL) * 1000000, restore->until);
}

static void fill(struct swap *swap, struct neap_session *session,
                 const struct neap_restore_opts *opts, const struct backup *backup)
{
    bool there = session->target != NULL;
    swap->target = there ? neap_strdup(session->target->database)
                         : pg_conninfo_database(session->project->env.url);
    swap->restore = (struct restore){.loop = session->loop,
                                     .project = session->project,
                                     .opts = opts,
                                     .backup = backup,
                                     .session = there ? session : NULL,
                                     .target = swap->target,
                                     .swap = true,
                                     .begun_ms = neap_clock_ms()};
    fill_until(&swap->restore);
}

bool neap_restore_swap(struct neap_session *session, const struct neap_restore_opts *opts,
                       const struct backup *backup, json_t **out, struct neap_error *err)
{
    struct swap swap = {0};
    fill(&swap, session, opts, backup);
    return swap_in(&swap, out, err);
}

bool neap_restore_resume(struct neap_session *session, const struct neap_restore_opts *opts,
                         const struct neap_restore_rest *rest, const struct backup *backup,
                         json_t **out, struct neap_error *err)
{
    struct swap swap = {0};
    fill(&swap, session, opts, backup);
    swap.restore.name = neap_strdup(rest->name);
    return swap_in(&swap, out, err);
}

void neap_restore_rest_clear(struct neap_restore_rest *rest)
{
    free(rest->name);
    free(rest->backup);
    free(rest->run_id);
    *rest = (struct neap_restore_rest){0};
}

static const char *mark_text(const struct backup_beside *beside, const char *key)
{
    const char *text = json_string_value(json_object_get(beside->mark, key));
    return text == NULL ? "" : text;
}

/* Names sort by the time of their run. Called after the sweep: what is left is due. */
static bool is_rest(const struct backup_beside *beside, const char *target,
                    const struct neap_restore_rest *before)
{
    return beside->kind == BACKUP_BESIDE_RESTORE && beside->named && !beside->alive &&
           json_is_true(json_object_get(beside->mark, "swap")) &&
           strcmp(mark_text(beside, "state"), "whole") == 0 && target != NULL &&
           strcmp(mark_text(beside, "target"), target) == 0 &&
           (before->name == NULL || strcmp(before->name, beside->name) < 0);
}

static bool open_list(struct restore *restore, struct backup_beside **list, size_t *count,
                      struct neap_error *err)
{
    return restore_open(restore, err) && backup_beside_list(&restore->server, list, count, err);
}

bool neap_restore_look(struct neap_loop *loop, const struct neap_project *project,
                       struct neap_restore_rest *out, struct neap_error *err)
{
    char *target = pg_conninfo_database(project->env.url);
    struct restore restore = {.loop = loop, .project = project, .target = target};
    struct backup_beside *list = NULL;
    size_t count = 0;
    *out = (struct neap_restore_rest){0};
    bool looked = restore_open(&restore, err) && backup_beside_sweep(&restore.server, err) &&
                  backup_beside_list(&restore.server, &list, &count, err);
    for (size_t i = 0; looked && i < count; i++) {
        if (!is_rest(&list[i], target, out))
            continue;
        neap_restore_rest_clear(out);
        *out = (struct neap_restore_rest){.name = neap_strdup(list[i].name),
                                          .backup = neap_strdup(mark_text(&list[i], "backup")),
                                          .run_id = neap_strdup(list[i].run_id)};
    }
    backup_beside_list_free(list, count);
    restore_clear(&restore);
    free(target);
    return looked;
}

static json_t *beside_json(const struct restore *restore, const struct backup_beside *beside)
{
    static const char *const keys[] = {"backup", "target", "at", "until", "state", NULL};
    json_t *json = json_object();
    char *ident = NULL;
    if (!pg_ident(restore->server.client, beside->name, strlen(beside->name), &ident, NULL))
        ident = neap_strdup(beside->name);
    char *drop = neap_format("drop database %s", ident);
    neap_json_set(json, "name", neap_json_text(beside->name));
    neap_json_set(json, "kind", neap_json_text(backup_beside_kind_name(beside->kind)));
    neap_json_set(json, "run_id", neap_json_text(beside->run_id));
    neap_json_set(json, "running", json_boolean(beside->alive));
    for (const char *const *key = keys; *key != NULL; key++)
        neap_json_set(json, *key, json_incref(json_object_get(beside->mark, *key)));
    neap_json_set(json, "bytes", beside->bytes < 0 ? json_null() : json_integer(beside->bytes));
    neap_json_set(json, "drop", neap_json_text(drop));
    free(drop);
    free(ident);
    return json;
}

/* What belongs to another target of this server is not this environment's. */
static bool is_ours(const struct backup_beside *beside, const char *target)
{
    const char *of = json_string_value(json_object_get(beside->mark, "target"));
    return of == NULL || target == NULL || strcmp(of, target) == 0;
}

bool neap_restore_list(struct neap_loop *loop, const struct neap_project *project, json_t **out,
                       struct neap_error *err)
{
    char *target = pg_conninfo_database(project->env.url);
    struct restore restore = {.loop = loop, .project = project, .target = target};
    struct backup_beside *list = NULL;
    size_t count = 0;
    bool listed = open_list(&restore, &list, &count, err);
    if (listed)
        *out = json_array();
    for (size_t i = 0; listed && i < count; i++)
        if (is_ours(&list[i], target))
            json_array_append_new(*out, beside_json(&restore, &list[i]));
    backup_beside_list_free(list, count);
    restore_clear(&restore);
    free(target);
    return listed;
}
