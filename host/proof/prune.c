/* SPDX-License-Identifier: MIT
 *
 * The store may hold backups of several databases: one that was set up anew has another
 * identity. Each has its own journal, and so a run of its own here.
 */
#include "host/proof/prune.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/proof/proof_run.h"

struct pruning {
    struct neap_loop *loop;
    const struct neap_project *project;
    const struct neap_prune_opts *opts;
    struct neap_prune *prune;
    struct neap_proof_run run; /* of the identity that is at hand */
};

static bool is_of(const struct backup *backup, const char *identity)
{
    return strcmp(backup_text(backup, "identity"), identity) == 0;
}

/* The journal of each database that the store has a backup of, once. */
static bool read_named(const struct neap_project *project, const struct backup *backups,
                       size_t count, json_t *named, struct neap_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const char *identity = backup_text(&backups[i], "identity");
        bool seen = identity[0] == '\0';
        for (size_t before = 0; before < i && !seen; before++)
            seen = is_of(&backups[before], identity);
        if (!seen && !neap_retention_named(project->state_dir, identity, named, err))
            return false;
    }
    return true;
}

bool neap_prune_judge(const struct neap_project *project, const struct backup *backups,
                      size_t count, struct neap_retention *out, struct neap_error *err)
{
    json_t *named = json_object();
    bool read = read_named(project, backups, count, named, err);
    if (read)
        neap_retention_judge(&project->env, named, neap_clock_utc_us(), backups, count, out);
    json_decref(named);
    return read;
}

bool neap_prune_look(const struct neap_project *project, const char *store, struct neap_prune *out,
                     struct neap_error *err)
{
    *out = (struct neap_prune){0};
    if (!backup_list(store, &out->backups, &out->count, err))
        return false;
    out->verdicts = neap_alloc((out->count + 1) * sizeof *out->verdicts);
    out->removed = neap_alloc((out->count + 1) * sizeof *out->removed);
    return neap_prune_judge(project, out->backups, out->count, out->verdicts, err);
}

/* The one without which none of the others may go is still good: somebody may have found a
 * fault in it since this began. */
static bool has_proved(const struct pruning *pruning, const char *identity)
{
    const struct neap_prune *prune = pruning->prune;
    for (size_t i = 0; i < prune->count; i++) {
        struct backup now = {0};
        struct neap_error err = {0};
        if (prune->verdicts[i].why == NEAP_GOES || !backup_is_proved(&prune->backups[i]) ||
            !is_of(&prune->backups[i], identity))
            continue;
        bool proved = backup_find(pruning->opts->store, prune->backups[i].id, NULL, &now, &err) &&
                      backup_is_proved(&now);
        backup_clear(&now);
        neap_error_clear(&err);
        if (proved)
            return true;
    }
    return false;
}

static bool record(struct pruning *pruning, const struct backup *backup, struct neap_error *err)
{
    static const char *const keys[] = {"tag", "kind", "finished_at", "bytes", NULL};
    json_t *fields = json_object();
    neap_json_set(fields, "id", neap_json_text(backup->id));
    neap_json_set(fields, "manifest_sha256", neap_json_text(backup->manifest_sha256));
    for (const char *const *key = keys; *key != NULL; key++)
        neap_json_set(fields, *key, json_incref(json_object_get(backup->manifest, *key)));
    neap_json_set(fields, "proved", json_boolean(backup_is_proved(backup)));
    neap_audit_add(pruning->run.audit, "backup.remove", fields);
    return neap_audit_sync(pruning->run.audit, err);
}

static bool remove_one(struct pruning *pruning, size_t index, struct neap_error *err)
{
    struct backup *backup = &pruning->prune->backups[index];
    struct neap_retention *verdict = &pruning->prune->verdicts[index];
    neap_loop_turn(pruning->loop); /* hears signals */
    if (!neap_run_check(neap_loop_run(pruning->loop), err))
        return false;
    if (backup_is_proved(backup) && !has_proved(pruning, backup_text(backup, "identity"))) {
        verdict->why = NEAP_STAYS_PROVED;
        return true;
    }
    if (!backup_seize(backup)) {
        verdict->why = NEAP_STAYS_IN_USE;
        return true;
    }
    if (!record(pruning, backup, err) || !backup_remove(backup, err))
        return false;
    pruning->prune->removed[index] = true;
    return true;
}

static bool goes(const struct pruning *pruning, size_t index)
{
    return pruning->prune->verdicts[index].why == NEAP_GOES && !pruning->prune->removed[index];
}

/* All that goes of the database that `first` is of. */
static bool remove_of(struct pruning *pruning, size_t first, struct neap_error *err)
{
    const struct backup *backup = &pruning->prune->backups[first];
    const char *identity = backup_text(backup, "identity");
    struct neap_proof_run_opts opts = {.project = pruning->project,
                                       .backup = backup,
                                       .command = "backup prune",
                                       .reason = pruning->opts->reason,
                                       .ticket = pruning->opts->ticket};
    bool good = neap_proof_run_begin(pruning->loop, &opts, &pruning->run, err);
    for (size_t i = first + 1; good && i-- > 0;)
        if (goes(pruning, i) && is_of(&pruning->prune->backups[i], identity))
            good = remove_one(pruning, i, err);
    return neap_proof_run_end(&pruning->run, good, err);
}

bool neap_prune_run(struct neap_loop *loop, const struct neap_project *project,
                    const struct neap_prune_opts *opts, struct neap_prune *out,
                    struct neap_error *err)
{
    struct pruning pruning = {.loop = loop, .project = project, .opts = opts, .prune = out};
    bool good = neap_prune_look(project, opts->store, out, err);
    if (good)
        backup_sweep_gone(opts->store);
    for (size_t i = out->count; good && i-- > 0;)
        if (goes(&pruning, i))
            good = remove_of(&pruning, i, err);
    return good;
}

void neap_prune_clear(struct neap_prune *prune)
{
    backup_list_free(prune->backups, prune->count);
    free(prune->verdicts);
    free(prune->removed);
    *prune = (struct neap_prune){0};
}
