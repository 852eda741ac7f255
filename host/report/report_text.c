/* SPDX-License-Identifier: MIT
 *
 * The report as people read it, at 03:00: what became of it first, what to type last.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/report/report_page.h"
#include "host/report/report_parts.h"

#define word neap_report_word
#define number neap_report_number

/* Of a member; static for one use at a time is not enough, so the caller gives the room. */
static const char *duration(const json_t *json, const char *key, char text[NEAP_DURATION_SIZE])
{
    neap_duration_text(number(json, key), text);
    return text;
}

static const char *plural(int64_t count, const char *one, const char *many)
{
    return count == 1 ? one : many;
}

static void say_error(struct neap_page *page, const json_t *error)
{
    if (word(error, "message")[0] == '\0')
        return;
    neap_page_line(page, 2, "%s (code %s)", word(error, "message"), word(error, "code"));
    if (word(error, "file")[0] != '\0')
        neap_page_line(page, 4, "at %s:%lld", word(error, "file"),
                       (long long)number(error, "line"));
    if (word(error, "detail")[0] != '\0')
        neap_page_block(page, 4, word(error, "detail"));
    if (word(error, "hint")[0] != '\0')
        neap_page_line(page, 2, "To do: %s", word(error, "hint"));
}

static int64_t count_units(const json_t *json, const char *direction)
{
    int64_t count = 0;
    size_t i;
    const json_t *unit;
    json_array_foreach(json_object_get(json, "units"), i, unit) count +=
        neap_report_is(unit, "result", "committed") && neap_report_is(unit, "direction", direction);
    return count;
}

static void say_result(struct neap_page *page, const json_t *json)
{
    char spent[NEAP_DURATION_SIZE];
    int64_t applied = count_units(json, "up"), undone = count_units(json, "down");
    if (json_object_get(json, "exit_status") == NULL) {
        neap_page_line(page, 2,
                       "UNFINISHED: the journal has no end of this run. It was killed, or it is "
                       "still at work. `neap status` says what is applied, `neap lease show` "
                       "whether it lives.");
        if (word(json, "killed")[0] != '\0')
            neap_page_line(page, 2, "Its last word: %s", word(json, "killed"));
    } else {
        neap_page_line(page, 2, "%s after %s, exit status %lld",
                       neap_report_is(json, "result", "done")      ? "DONE"
                       : neap_report_is(json, "result", "partial") ? "STOPPED HALFWAY"
                                                                   : "FAILED",
                       duration(json, "duration_ms", spent),
                       (long long)number(json, "exit_status"));
    }
    if (applied > 0 || undone > 0)
        neap_page_line(page, 2, "%lld %s applied, %lld undone", (long long)applied,
                       plural(applied, "migration", "migrations"), (long long)undone);
    say_error(page, json_object_get(json, "error"));
}

static void say_who(struct neap_page *page, const json_t *json)
{
    const json_t *who = json_object_get(json, "who");
    neap_page_field(page, "command", "neap %s%s", word(json, "command"),
                    json_is_true(json_object_get(json, "dry_run")) ? " --dry-run" : "");
    neap_page_field(page, "run", "%s", word(json, "run_id"));
    neap_page_field(page, "began", "%.19sZ", word(json, "began_at"));
    if (word(json, "ended_at")[0] != '\0')
        neap_page_field(page, "ended", "%.19sZ", word(json, "ended_at"));
    neap_page_field(page, "who", "%s on %s", word(json, "actor"), word(who, "host"));
    neap_page_field(page, "why", "%s",
                    word(json, "reason")[0] == '\0' ? "no reason given" : word(json, "reason"));
    if (word(json, "ticket")[0] != '\0')
        neap_page_field(page, "ticket", "%s", word(json, "ticket"));
    neap_page_field(page, "environment", "%s", word(json, "environment"));
    neap_page_field(page, "database", "%s, %s", word(json, "database"), word(json, "address"));
    if (word(json, "server_version")[0] != '\0')
        neap_page_field(page, "PostgreSQL", "%s", word(json, "server_version"));
    const json_t *point = json_object_get(json, "restore_point");
    if (point != NULL)
        neap_page_field(page, "in the WAL", "%s, timeline %lld%s%s", word(point, "lsn"),
                        (long long)number(point, "timeline"),
                        word(point, "name")[0] == '\0' ? "" : ", restore point ",
                        word(point, "name"));
    if (json_object_get(json, "failed_over_to") != NULL)
        neap_page_field(page, "failed over", "to timeline %s", word(json, "failed_over_to"));
}

static void say_blockers(struct neap_page *page, const json_t *blockers)
{
    size_t i;
    const json_t *blocker;
    json_array_foreach(blockers, i, blocker) neap_page_line(
        page, 6, "in the way: pid %lld (%s as %s, %s, transaction open for %lld s): %s",
        (long long)number(blocker, "pid"), word(blocker, "application"), word(blocker, "user"),
        word(blocker, "state"), (long long)number(blocker, "seconds"), word(blocker, "query"));
}

static void say_failures(struct neap_page *page, const json_t *unit)
{
    char waited[NEAP_DURATION_SIZE];
    size_t i;
    const json_t *failure;
    json_array_foreach(json_object_get(unit, "failures"), i, failure)
    {
        neap_page_line(page, 4, "attempt %lld failed: %s",
                       (long long)number(failure, "attempt_number"),
                       word(json_object_get(failure, "error"), "message"));
        if (number(failure, "waited_ms") > 0)
            neap_page_line(page, 6, "waited %s for a lock", duration(failure, "waited_ms", waited));
        say_blockers(page, json_object_get(failure, "blockers"));
    }
}

static void say_steps(struct neap_page *page, const json_t *unit)
{
    char spent[NEAP_DURATION_SIZE];
    size_t i;
    const json_t *step;
    json_array_foreach(json_object_get(unit, "steps"), i, step) neap_page_line(
        page, 4, "step %s: %s, %s, %lld %s, %lld %s", word(step, "name"), word(step, "state"),
        duration(step, "duration_ms", spent), (long long)number(step, "statements"),
        plural(number(step, "statements"), "statement", "statements"),
        (long long)number(step, "rows"), plural(number(step, "rows"), "row", "rows"));
}

static void say_rehearsed(struct neap_page *page, const json_t *unit)
{
    char live[NEAP_DURATION_SIZE], copy[NEAP_DURATION_SIZE];
    const json_t *rehearsed = json_object_get(unit, "rehearsed");
    size_t i;
    const json_t *item;
    if (word(unit, "difference")[0] != '\0')
        neap_page_line(page, 4, "took %s: %s", duration(unit, "duration_ms", live),
                       word(unit, "difference"));
    if (json_is_number(json_object_get(rehearsed, "predicted_ms")))
        neap_page_line(page, 4, "predicted: %s", duration(rehearsed, "predicted_ms", copy));
    json_array_foreach(json_object_get(unit, "slower"), i, item)
        neap_page_line(page, 4, "slower at %s: %s, rehearsed %s", word(item, "place"),
                       duration(item, "duration_ms", live), duration(item, "rehearsed_ms", copy));
    json_array_foreach(json_object_get(rehearsed, "locks"), i, item) neap_page_line(
        page, 4, "lock (rehearsed): %s on %s", word(item, "mode"), word(item, "relation"));
}

static const char *result_of(const json_t *unit)
{
    bool down = neap_report_is(unit, "direction", "down");
    if (neap_report_is(unit, "result", "committed"))
        return down ? "undone" : "applied";
    return neap_report_is(unit, "result", "failed") ? "failed" : "not ended";
}

static void say_unit(struct neap_page *page, const json_t *unit)
{
    char spent[NEAP_DURATION_SIZE];
    bool total = json_object_get(unit, "total_ms") != NULL;
    int64_t attempts = number(unit, "attempts");
    neap_page_line(page, 2, "%s  %s %s  %s, %lld %s, %lld %s%s%s", result_of(unit),
                   word(unit, "id"), word(unit, "name"),
                   duration(unit, total ? "total_ms" : "duration_ms", spent),
                   (long long)number(unit, "statements"),
                   plural(number(unit, "statements"), "statement", "statements"),
                   (long long)number(unit, "rows"), plural(number(unit, "rows"), "row", "rows"),
                   attempts > 1 ? ", after retries" : "",
                   neap_report_is(unit, "verify", "passed") ? ", verified" : "");
    if (json_is_string(json_object_get(unit, "unverified")))
        neap_page_line(page, 4, "not verified: %s", word(unit, "unverified"));
    if (json_is_true(json_object_get(unit, "unreplicated")))
        neap_page_line(page, 4, "no synchronous standby confirmed it");
    say_steps(page, unit);
    say_failures(page, unit);
    say_rehearsed(page, unit);
}

/* What the plan had and nothing was heard of. */
static void say_not_begun(struct neap_page *page, const json_t *json, const json_t *plan)
{
    json_t *begun = neap_report_index(json_object_get(json, "units"), "id");
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(plan, "migrations"), i, item)
    {
        if (json_object_get(begun, word(item, "id")) == NULL)
            neap_page_line(page, 2, "not begun  %s %s", word(item, "id"), word(item, "name"));
    }
    json_decref(begun);
}

static void say_units(struct neap_page *page, const json_t *json)
{
    const json_t *units = json_object_get(json, "units");
    const json_t *plans = json_object_get(json, "plans");
    const json_t *settled = json_object_get(json, "settled");
    size_t i;
    const json_t *item;
    const json_t *holder = json_object_get(json_object_get(json, "broken"), "holder");
    if (json_array_size(units) + json_array_size(plans) + json_array_size(settled) == 0 &&
        holder == NULL)
        return;
    neap_page_heading(page, "What ran");
    if (holder != NULL)
        neap_page_line(page, 2, "broken  the lease of run %s, of %s on %s", word(holder, "run_id"),
                       word(holder, "actor"), word(holder, "host"));
    json_array_foreach(units, i, item) say_unit(page, item);
    json_array_foreach(settled, i, item) neap_page_line(
        page, 2, "%s  %s %s%s", word(item, "action"), word(item, "id"), word(item, "name"),
        json_is_true(json_object_get(item, "recorded")) ? "" : "  (not recorded)");
    json_array_foreach(plans, i, item) say_not_begun(page, json, item);
}

static void say_waits(struct neap_page *page, const json_t *json)
{
    const json_t *waits = json_object_get(json, "waits");
    char spent[NEAP_DURATION_SIZE];
    size_t i;
    const json_t *item;
    if (json_array_size(waits) == 0)
        return;
    neap_page_heading(page, "Waits");
    json_array_foreach(waits, i, item)
    {
        neap_page_line(page, 2, "%s%s%s for the %s", word(item, "id"),
                       word(item, "id")[0] == '\0' ? "" : "  ", duration(item, "ms", spent),
                       neap_report_is(item, "what", "lock") ? "locks of others" : "lease");
        say_blockers(page, json_object_get(item, "blockers"));
    }
}

static void say_turns(struct neap_page *page, const json_t *json)
{
    const json_t *turns = json_object_get(json, "way_back");
    size_t i;
    const json_t *turn;
    if (json_array_size(turns) == 0)
        return;
    neap_page_heading(page, "Way back");
    json_array_foreach(turns, i, turn)
    {
        const char *step = word(turn, "step");
        neap_page_line(page, 2, "%zu. %s  %s%s%s: %s", i + 1, word(turn, "turn"),
                       word(turn, "migration"), step[0] == '\0' ? "" : ", step ", step,
                       word(turn, "result"));
        if (strchr(word(turn, "text"), '\n') == NULL)
            neap_page_line(page, 5, "%s", word(turn, "text"));
        else
            neap_page_block(page, 5, word(turn, "text"));
    }
}

static void say_undo(struct neap_page *page, const json_t *json)
{
    const json_t *undo = json_object_get(json, "undo");
    size_t i;
    const json_t *entry;
    if (json_array_size(undo) == 0)
        return;
    neap_page_heading(page, "To go back");
    json_array_foreach(undo, i, entry)
    {
        if (word(entry, "note")[0] != '\0')
            neap_page_line(page, 2, "%s%s", word(entry, "note"),
                           word(entry, "command")[0] == '\0' ? "" : ":");
        neap_page_block(page, 4, word(entry, "command"));
    }
}

char *neap_report_text(const json_t *json)
{
    struct neap_page page = {0};
    neap_page_heading(&page, "Report of a run of neap");
    say_result(&page, json);
    neap_page_heading(&page, "The run");
    say_who(&page, json);
    neap_report_say_proofs(&page, json);
    say_units(&page, json);
    say_waits(&page, json);
    say_turns(&page, json);
    say_undo(&page, json);
    return neap_buffer_take(&page.text);
}
