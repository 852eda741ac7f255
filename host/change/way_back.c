/* SPDX-License-Identifier: MIT
 *
 * The decisions. Schemas are read through the work session, in a snapshot of its own: the
 * control session has the lease to renew meanwhile.
 */
#include "host/change/way_back.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/change/unit.h"

void neap_way_back_clear(struct neap_way_back *way_back)
{
    backup_schema_clear(&way_back->first);
    backup_schema_clear(&way_back->before);
    *way_back = (struct neap_way_back){0};
}

bool neap_way_back_is_wanted(const struct neap_environment *env)
{
    bool wanted = env->is_protected;
    for (size_t i = 0; i < NEAP_GATE_COUNT; i++)
        wanted = wanted || env->gates[i];
    return wanted;
}

#define READ_WAIT_MS 60000

void neap_way_back_arm(struct neap_change *change)
{
    neap_run_rearm(change->run);
    change->run->deadline_ms = neap_clock_deadline_ms(READ_WAIT_MS);
}

static bool read_schema(struct neap_change *change, struct backup_schema *out,
                        struct neap_error *err)
{
    bool read = neap_tx_snapshot_begin(change, change->env->lock_timeout_ms, err) &&
                backup_schema_read(change->target->work, out, err);
    neap_tx_snapshot_end(change);
    return read;
}

bool neap_way_back_first(struct neap_change *change, struct neap_error *err)
{
    struct neap_way_back *way_back = &change->way_back;
    if (way_back->wanted && !way_back->has_first)
        way_back->has_first = read_schema(change, &way_back->first, err);
    return !way_back->wanted || way_back->has_first;
}

bool neap_way_back_before(struct neap_change *change, bool again, struct neap_error *err)
{
    struct neap_way_back *way_back = &change->way_back;
    backup_schema_clear(&way_back->before);
    way_back->has_before = false;
    if (way_back->wanted && !again)
        way_back->has_before = read_schema(change, &way_back->before, err);
    return !way_back->wanted || again || way_back->has_before;
}

static void record(struct neap_change *change, const struct neap_way_back_place *place,
                   const struct neap_way_back_turn *turn)
{
    json_t *fields = json_object();
    neap_json_set(fields, "migration", neap_json_text(place->id));
    neap_json_set(fields, "step", neap_json_text(place->step));
    neap_json_set(fields, "turn", neap_json_text(turn->turn));
    neap_json_set(fields, "result", neap_json_text(turn->result));
    neap_json_set(fields, "text", neap_json_text(turn->text));
    neap_audit_add(change->audit, "way_back.turn", fields);
}

void neap_way_back_turn(struct neap_change *change, const struct neap_way_back_place *place,
                        const struct neap_way_back_turn *turn)
{
    record(change, place, turn);
    neap_log(NEAP_LOG_WARN, "way_back.turn", "way back of %s%s%s: %s: %s", place->id,
             place->step == NULL ? "" : ", step ", place->step == NULL ? "" : place->step,
             turn->turn, turn->text);
}

/* Equal, or what differs. */
static bool compare(struct neap_change *change, const struct backup_schema *before, char **diff,
                    struct neap_error *err)
{
    struct backup_schema now = {0};
    neap_way_back_arm(change);
    bool read = read_schema(change, &now, err);
    *diff = read ? backup_schema_diff(before, &now) : NULL;
    backup_schema_clear(&now);
    return read && *diff == NULL;
}

static bool compare_with(struct neap_change *change, const struct neap_way_back_place *place,
                         const struct backup_schema *before, struct neap_error *err)
{
    struct neap_way_back_turn turn = {"compare", "equal", "the schema is as it was before"};
    char *diff = NULL;
    bool equal = compare(change, before, &diff, err);
    if (diff != NULL) {
        turn = (struct neap_way_back_turn){"compare", "different",
                                           "the schema is not as it was before"};
        neap_error_set(err, NEAP_ERR_VERIFY_FAILED, "the schema is not as it was before");
        neap_error_detail(err, "%s", diff);
    } else if (!equal) {
        turn = (struct neap_way_back_turn){"compare", "failed", err->message};
    }
    neap_way_back_turn(change, place, &turn);
    free(diff);
    return equal;
}

bool neap_way_back_compare(struct neap_change *change, const struct neap_way_back_place *place,
                           struct neap_error *err)
{
    const struct neap_way_back *way_back = &change->way_back;
    return !way_back->has_before || compare_with(change, place, &way_back->before, err);
}

/* On a line of its own, behind what is there already. */
static void add_detail(struct neap_error *err, const char *label, const char *text)
{
    char *earlier = neap_strdup(err->detail == NULL ? "" : err->detail);
    size_t length = strlen(earlier);
    bool goes_on = length > 0 && earlier[length - 1] != '\n';
    neap_error_detail(err, "%s%s%s%s", earlier, goes_on ? "\n" : "", label, text);
    free(earlier);
}

static void add_hint(struct neap_error *err, const char *text)
{
    char *earlier = neap_strdup(err->hint);
    neap_error_hint(err, "%s%s%s", earlier == NULL ? "" : earlier, earlier == NULL ? "" : " ",
                    text);
    free(earlier);
}

/* Right before the run that began it: its restore point is recorded. Nobody need count what
 * a restore would lose: all that was written since, in every database. */
static void add_archive(struct neap_change *change, struct neap_error *err)
{
    const struct neap_environment *env = change->env;
    char *hint = neap_format("The last resort is the whole server as it was before run "
                             "%s: `neap%s%s restore %s --run %s` prints how.",
                             change->archive_run, env->named ? " -e " : "",
                             env->named ? env->name : "", change->backup_id, change->archive_run);
    add_hint(err, hint);
    free(hint);
}

static void add_restore(struct neap_change *change, struct neap_error *err)
{
    const struct neap_environment *env = change->env;
    char *sentence = NULL, *lines = NULL;
    neap_way_back_losses(change, &sentence, &lines);
    char *hint = neap_format(
        "The last resort is the backup: `neap%s%s restore %s --swap --reason TEXT`. %s",
        env->named ? " -e " : "", env->named ? env->name : "", change->backup_id, sentence);
    add_hint(err, hint);
    if (lines != NULL)
        add_detail(err, "A restore would lose what was written since:\n", lines);
    free(hint);
    free(lines);
    free(sentence);
}

void neap_way_back_stop(struct neap_change *change, const struct neap_way_back_place *place,
                        const struct neap_error *second, struct neap_error *err)
{
    change->way_back.stopped = true;
    if (!change->way_back.wanted)
        return;
    if (second != NULL && second->detail != NULL)
        add_detail(err, "The schema before (-) and now (+):\n", second->detail);
    if (change->backup_id != NULL && change->archive_run != NULL)
        add_archive(change, err);
    else if (change->backup_id != NULL)
        add_restore(change, err);
    else
        add_hint(err, "This run has no backup to go back to.");
    struct neap_way_back_turn turn = {"stop", "partial", err->hint};
    record(change, place, &turn); /* the error itself says it to people */
}

static bool undo_unit(struct neap_change *change, const struct neap_way_back_undo *undo,
                      size_t index, struct neap_error *err)
{
    struct neap_unit unit = undo->units[index];
    struct neap_way_back_place place = {.id = unit.id};
    struct neap_outcome outcome;
    unit.direction = NEAP_DOWN;
    unit.applied = true;
    unit.more = false;
    bool undone = neap_change_step(change, &unit, &outcome, err);
    struct neap_way_back_turn turn = {"down", undone ? "undone" : "failed",
                                      undone ? "it is undone" : err->message};
    neap_way_back_turn(change, &place, &turn);
    if (undone && undo->undone != NULL)
        undo->undone(undo->arg, index, &outcome);
    return undone;
}

bool neap_way_back_undo(struct neap_change *change, const struct neap_way_back_undo *undo,
                        struct neap_error *err)
{
    struct neap_way_back *way_back = &change->way_back;
    struct neap_error second = {0};
    struct neap_way_back_place place = {.id = undo->units[0].id};
    bool undone = true;
    change->way_back.has_before = false; /* each is compared as a whole, at the end */
    for (size_t i = undo->count; undone && i-- > 0;) {
        place.id = undo->units[i].id;
        undone = undo_unit(change, undo, i, &second);
    }
    undone =
        undone && (!way_back->has_first || compare_with(change, &place, &way_back->first, &second));
    if (undone) {
        add_detail(err, "What this run had applied was undone",
                   way_back->has_first ? ", and the schema is as it was before." : ".");
    } else {
        char *what = neap_format("Undoing what was applied failed: %s.", second.message);
        neap_unit_partial(place.id, "after it was applied", what, err);
        neap_way_back_stop(change, &place, &second, err);
        free(what);
    }
    change->run->deadline_ms = NEAP_FOREVER;
    neap_tx_publish(change, NULL);
    neap_error_clear(&second);
    return undone;
}
