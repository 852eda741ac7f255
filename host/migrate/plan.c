/* SPDX-License-Identifier: MIT
 *
 * Merges two ordered lists, files and history, and says what each id is. Pure
 * but for reading the files; every refusal names the file and what to type.
 */
#include "host/migrate/plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

const char *neap_problem_name(enum neap_problem problem)
{
    static const char *const names[] = {NULL, "cosmetic", "changed", "missing", "order", "forged"};
    return names[problem];
}

const char *neap_state_name(enum neap_history_state state)
{
    static const char *const names[] = {"pending", "applied", "partial"};
    return names[state];
}

bool neap_plan_was_applied(const struct neap_plan_item *item)
{
    static const char *const undone[] = {"", "undo", "repair.pending", NULL};
    if (item->row == NULL)
        return false;
    for (const char *const *action = undone; *action != NULL; action++)
        if (strcmp(item->row->action, *action) == 0)
            return false;
    return true;
}

static enum neap_problem judge(const struct neap_plan_item *item)
{
    if (item->row != NULL && item->row->forged)
        return NEAP_PROBLEM_FORGED;
    if (item->row == NULL || item->state == NEAP_STATE_PENDING)
        return NEAP_PROBLEM_NONE;
    if (item->file == NULL)
        return NEAP_PROBLEM_MISSING;
    if (item->state == NEAP_STATE_PARTIAL)
        return NEAP_PROBLEM_NONE; /* its steps know the script they ran */
    if (!neap_hash_equal(&item->row->token, &item->source.token))
        return NEAP_PROBLEM_CHANGED;
    return neap_hash_equal(&item->row->exact, &item->source.exact) ? NEAP_PROBLEM_NONE
                                                                   : NEAP_PROBLEM_COSMETIC;
}

/* An undone migration whose file is gone is nobody's concern. */
static bool is_settled(const struct neap_plan_item *item)
{
    return item->file == NULL && item->state == NEAP_STATE_PENDING &&
           item->problem == NEAP_PROBLEM_NONE;
}

/* The file's, read now unless it was ahead. */
static bool read_source(struct neap_plan *plan, struct neap_read_ahead *ahead,
                        struct neap_plan_item *item, struct neap_error *err)
{
    size_t index = (size_t)(item->file - plan->migrations.items);
    if (ahead == NULL || index >= ahead->count)
        return neap_source_read(plan->cache, item->file->path, &item->source, err);
    item->source = ahead->sources[index];
    ahead->sources[index] = (struct neap_source){0};
    return true;
}

static bool complete_source(struct neap_plan *plan, struct neap_plan_item *item,
                            struct neap_error *err)
{
    struct neap_source_known known;
    bool is_known = item->row != NULL && item->state == NEAP_STATE_APPLIED;
    if (item->source.complete)
        return is_known || neap_source_look(&item->source, err);
    if (is_known)
        known = (struct neap_source_known){.exact = item->row->exact, .token = item->row->token};
    return neap_source_complete(plan->cache, is_known ? &known : NULL, &item->source, err);
}

static bool add_item(struct neap_plan *plan, struct neap_read_ahead *ahead,
                     const struct neap_migration *file, const struct neap_history_row *row,
                     struct neap_error *err)
{
    assert(file != NULL || row != NULL);
    struct neap_plan_item *item = &plan->items[plan->count];
    *item = (struct neap_plan_item){.file = file, .row = row};
    item->id = file != NULL ? file->id : row->id;
    item->name = file != NULL ? file->name : row->name;
    item->state = row == NULL ? NEAP_STATE_PENDING : row->state;
    if (file != NULL && !(read_source(plan, ahead, item, err) && complete_source(plan, item, err)))
        return false;
    item->problem = judge(item);
    if (!is_settled(item))
        plan->count++;
    return true;
}

static void mark_late(struct neap_plan *plan)
{
    bool applied_after = false;
    for (size_t i = plan->count; i-- > 0;) {
        struct neap_plan_item *item = &plan->items[i];
        if (item->state == NEAP_STATE_APPLIED)
            applied_after = true;
        else if (item->state == NEAP_STATE_PENDING && item->problem == NEAP_PROBLEM_NONE &&
                 applied_after)
            item->problem = NEAP_PROBLEM_ORDER;
    }
}

/* Sets migrations and cache. */
static bool find_files(struct neap_plan *plan, const char *project, struct neap_read_ahead *ahead,
                       struct neap_error *err)
{
    if (ahead != NULL && ahead->cache != NULL) {
        plan->migrations = ahead->migrations;
        plan->cache = ahead->cache;
        ahead->migrations = (struct neap_migrations){0};
        ahead->cache = NULL;
        return true;
    }
    if (!neap_discover(project, &plan->migrations, err))
        return false;
    plan->cache = neap_source_cache_new(project);
    return true;
}

bool neap_plan_load(const char *project, struct neap_read_ahead *ahead,
                    const struct neap_history *history, struct neap_plan *out,
                    struct neap_error *err)
{
    memset(out, 0, sizeof *out);
    if (!find_files(out, project, ahead, err))
        return false;
    out->items = neap_alloc((out->migrations.count + history->count + 1) * sizeof *out->items);
    size_t file = 0, row = 0;
    bool done = true;
    while (done && (file < out->migrations.count || row < history->count)) {
        int order =
            file == out->migrations.count ? 1
            : row == history->count
                ? -1
                : neap_migration_id_compare(out->migrations.items[file].id, history->rows[row].id);
        done = add_item(out, ahead, order <= 0 ? &out->migrations.items[file] : NULL,
                        order >= 0 ? &history->rows[row] : NULL, err);
        file += order <= 0;
        row += order >= 0;
    }
    if (!done)
        neap_plan_clear(out);
    else
        mark_late(out);
    return done;
}

bool neap_plan_renew(struct neap_plan *plan, const struct neap_history *history,
                     struct neap_error *err)
{
    struct neap_read_ahead kept = {
        .migrations = plan->migrations, .cache = plan->cache, .count = plan->migrations.count};
    kept.sources = neap_alloc((kept.count + 1) * sizeof *kept.sources);
    for (size_t i = 0; i < plan->count; i++)
        if (plan->items[i].file != NULL)
            kept.sources[plan->items[i].file - kept.migrations.items] = plan->items[i].source;
    free(plan->items);
    bool done = neap_plan_load(NULL, &kept, history, plan, err);
    free(kept.sources);
    return done;
}

void neap_plan_clear(struct neap_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        neap_source_clear(&plan->items[i].source);
    free(plan->items);
    neap_source_cache_free(plan->cache);
    neap_migrations_clear(&plan->migrations);
    memset(plan, 0, sizeof *plan);
}

struct neap_plan_item *neap_plan_find(const struct neap_plan *plan, const char *id)
{
    for (size_t i = 0; i < plan->count; i++)
        if (neap_migration_id_compare(plan->items[i].id, id) == 0)
            return &plan->items[i];
    return NULL;
}

size_t neap_plan_count(const struct neap_plan *plan, enum neap_history_state state)
{
    size_t count = 0;
    for (size_t i = 0; i < plan->count; i++)
        count += plan->items[i].state == state;
    return count;
}

static bool need_item(const struct neap_plan *plan, const char *id, struct neap_plan_item **out,
                      struct neap_error *err)
{
    *out = NULL;
    if (id == NULL)
        return true;
    if (id[0] == '\0' || strspn(id, "0123456789") != strlen(id)) {
        neap_error_set(err, NEAP_ERR_USAGE, "\"%s\" is not a migration's id", id);
        neap_error_hint(err, "Give the digits its file name begins with; see `neap status`.");
        return false;
    }
    *out = neap_plan_find(plan, id);
    if (*out == NULL)
        neap_error_set(err, NEAP_ERR_HISTORY_UNKNOWN, "there is no migration %s", id);
    return *out != NULL;
}

static bool refuse_missing(const struct neap_plan_item *item, struct neap_error *err)
{
    if (item->state == NEAP_STATE_PARTIAL) { /* no copy is stored before the end */
        neap_error_set(err, NEAP_ERR_HISTORY_MISSING,
                       "migration %s stopped halfway, and its file is missing", item->id);
        neap_error_hint(err,
                        "Restore the file, then `neap resume`; or settle it by hand: `neap repair "
                        "%s --mark applied|pending --reason TEXT`.",
                        item->id);
        return false;
    }
    neap_error_set(err, NEAP_ERR_HISTORY_MISSING,
                   "migration %s %s is applied, and its file is missing", item->id, item->name);
    neap_error_hint(err,
                    "Restore the file. To undo it with the copy stored in history: `neap down "
                    "--only %s`.",
                    item->id);
    return false;
}

/* What somebody else wrote is believed in neither direction. */
static bool check_forged(const struct neap_plan *plan, struct neap_error *err)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct neap_plan_item *item = &plan->items[i];
        if (item->problem != NEAP_PROBLEM_FORGED)
            continue;
        neap_error_set(err, NEAP_ERR_HISTORY_FORGED,
                       "the record that migration %s is %s was not written by neap", item->id,
                       neap_state_name(item->state));
        neap_error_hint(err,
                        "Find out who wrote it: `neap audit verify` names the role. Then say what "
                        "is true of the target: `neap repair %s --mark applied|pending --reason "
                        "TEXT`.",
                        item->id);
        return false;
    }
    return true;
}

/* Nothing is applied on top of what is not known. */
static bool check_applied(const struct neap_plan *plan, struct neap_error *err)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct neap_plan_item *item = &plan->items[i];
        if (item->problem == NEAP_PROBLEM_MISSING)
            return refuse_missing(item, err);
        if (item->problem == NEAP_PROBLEM_CHANGED) {
            neap_error_set(err, NEAP_ERR_HISTORY_CHANGED, "%s was changed after it was applied",
                           item->file->path);
            neap_error_hint(err,
                            "Restore the file; or, when the target is already as it says, `neap "
                            "accept %s --reason TEXT`; or write a new migration.",
                            item->id);
            neap_error_where(err, item->file->path, 1);
            return false;
        }
    }
    return true;
}

static bool refuse_late(const struct neap_plan_item *item, struct neap_error *err)
{
    neap_error_set(err, NEAP_ERR_HISTORY_ORDER,
                   "%s is pending, and migrations after it are applied", item->file->path);
    neap_error_hint(err,
                    "If it does not matter: `neap up --only %s`. Else renumber it (`neap new` "
                    "gives the next number), or undo what came after it.",
                    item->id);
    return false;
}

static bool pick_only(struct neap_plan_item *only, bool up, struct neap_plan_item **items,
                      size_t *count)
{
    bool wanted = up ? only->state != NEAP_STATE_APPLIED : only->state != NEAP_STATE_PENDING;
    if (wanted)
        items[(*count)++] = only;
    return true;
}

bool neap_plan_up(const struct neap_plan *plan, const struct neap_selection *selection,
                  struct neap_plan_item ***out, size_t *count, struct neap_error *err)
{
    struct neap_plan_item *to = NULL, *only = NULL;
    if (!need_item(plan, selection->to, &to, err) ||
        !need_item(plan, selection->only, &only, err) || !check_forged(plan, err) ||
        !check_applied(plan, err))
        return false;
    struct neap_plan_item **items = neap_alloc((plan->count + 1) * sizeof(struct neap_plan_item *));
    *count = 0;
    *out = items;
    if (only != NULL)
        return pick_only(only, true, items, count);
    for (size_t i = 0; i < plan->count; i++) {
        struct neap_plan_item *item = &plan->items[i];
        if (to != NULL && item > to)
            break;
        if (selection->count > 0 && *count == (size_t)selection->count)
            break;
        if (item->state == NEAP_STATE_APPLIED)
            continue;
        if (item->problem == NEAP_PROBLEM_ORDER) {
            free(items);
            *out = NULL;
            return refuse_late(item, err);
        }
        items[(*count)++] = item;
    }
    return true;
}

/* `down --to 0`: to nothing, unless a migration has that id. */
static bool is_before_all(const struct neap_plan *plan, const char *id)
{
    return id != NULL && id[0] != '\0' && strspn(id, "0") == strlen(id) &&
           neap_plan_find(plan, id) == NULL;
}

bool neap_plan_down(const struct neap_plan *plan, const struct neap_selection *selection,
                    struct neap_plan_item ***out, size_t *count, struct neap_error *err)
{
    struct neap_plan_item *to = NULL, *only = NULL;
    bool everything = is_before_all(plan, selection->to);
    if ((!everything && !need_item(plan, selection->to, &to, err)) ||
        !need_item(plan, selection->only, &only, err) || !check_forged(plan, err))
        return false;
    struct neap_plan_item **items = neap_alloc((plan->count + 1) * sizeof(struct neap_plan_item *));
    *count = 0;
    *out = items;
    if (only != NULL)
        return pick_only(only, false, items, count);
    size_t limit = everything || to != NULL ? plan->count
                   : selection->count > 0   ? (size_t)selection->count
                                            : 1;
    for (size_t i = plan->count; i-- > 0 && *count < limit;) {
        struct neap_plan_item *item = &plan->items[i];
        if (to != NULL && item <= to)
            break;
        if (item->state != NEAP_STATE_PENDING)
            items[(*count)++] = item;
    }
    return true;
}
