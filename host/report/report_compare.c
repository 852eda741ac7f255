/* SPDX-License-Identifier: MIT
 *
 * The change beside its rehearsal in the same run: what took longer, in words, and at
 * which statements. A copy has no traffic and a cold cache, so that a quarter more or
 * less says nothing.
 */
#include <stdlib.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/report/report_parts.h"

#define NOISE_MS 100
#define PLACES_MAX 5 /* slower statements told of each unit */

static int64_t rehearsed_ms(const json_t *rehearsed, const json_t *unit)
{
    if (neap_report_is(unit, "direction", "down"))
        return neap_report_number(rehearsed, "down_ms");
    return neap_report_number(rehearsed, "up_ms") + neap_report_number(rehearsed, "verify_ms");
}

static bool is_alike(int64_t a_ms, int64_t b_ms)
{
    int64_t more = a_ms > b_ms ? a_ms - b_ms : b_ms - a_ms;
    return more < NOISE_MS || more * 4 <= b_ms;
}

static char *difference(int64_t live_ms, int64_t copy_ms, bool has_rows)
{
    char copy[NEAP_DURATION_SIZE];
    neap_duration_text(copy_ms, copy);
    if (!has_rows)
        return neap_format("rehearsed without rows (%s)", copy);
    if (is_alike(live_ms, copy_ms))
        return neap_format("as rehearsed (%s)", copy);
    if (live_ms < copy_ms)
        return neap_format("faster than rehearsed (%s)", copy);
    if (copy_ms > 0 && live_ms >= copy_ms * 2)
        return neap_format("%lld times as long as rehearsed (%s)",
                           (long long)((live_ms + copy_ms / 2) / copy_ms), copy);
    return neap_format("longer than rehearsed (%s)", copy);
}

/* Statements that took at least twice as long here, the first ones in the script. */
static json_t *slower_places(const json_t *places, const json_t *rehearsed)
{
    json_t *slower = json_array();
    size_t i;
    const json_t *statement;
    json_array_foreach(json_object_get(rehearsed, "statements"), i, statement)
    {
        char *place = neap_format("%s:%lld", neap_report_word(statement, "file"),
                                  (long long)neap_report_number(statement, "line"));
        bool up = neap_report_word(statement, "part")[0] != 'd';
        int64_t live_ms = up ? neap_report_number(places, place) / 1000 : 0;
        int64_t copy_ms = neap_report_number(statement, "duration_ms");
        if (json_array_size(slower) < PLACES_MAX && live_ms >= copy_ms * 2 &&
            !is_alike(live_ms, copy_ms)) {
            json_t *entry = json_object();
            neap_json_set(entry, "place", neap_json_text(place));
            neap_json_set(entry, "duration_ms", json_integer(live_ms));
            neap_json_set(entry, "rehearsed_ms", json_integer(copy_ms));
            json_array_append_new(slower, entry);
        }
        free(place);
    }
    return slower;
}

static void compare_unit(json_t *unit, const json_t *rehearsed, bool has_rows)
{
    static const char *const keys[] = {"up_ms",     "verify_ms", "down_ms",   "predicted_ms",
                                       "locks",     "rewrites",  "wal_bytes", "temp_bytes",
                                       "down_diff", NULL};
    json_t *kept = json_object();
    neap_report_copy(kept, rehearsed, keys);
    neap_json_set(unit, "rehearsed", kept);
    if (!neap_report_is(unit, "result", "committed"))
        return;
    char *words = difference(neap_report_number(unit, "duration_ms"), rehearsed_ms(rehearsed, unit),
                             has_rows);
    neap_json_set(unit, "difference", neap_json_text(words));
    free(words);
    if (has_rows && neap_report_is(unit, "direction", "up"))
        neap_json_set(unit, "slower", slower_places(json_object_get(unit, "places"), rehearsed));
}

void neap_report_compare(json_t *json)
{
    const json_t *rehearsal = json_object_get(json, "rehearsal");
    const json_t *rehearsed = json_object_get(rehearsal, "units");
    bool has_rows = !json_is_false(json_object_get(rehearsal, "rows"));
    json_t *index = neap_report_index(rehearsed, "id");
    size_t i;
    json_t *unit;
    json_array_foreach(json_object_get(json, "units"), i, unit)
    {
        const json_t *place = json_object_get(index, neap_report_word(unit, "id"));
        if (place != NULL)
            compare_unit(unit, json_array_get(rehearsed, (size_t)json_integer_value(place)),
                         has_rows);
        json_object_del(unit, "places");
    }
    json_decref(index);
    json_array_foreach(rehearsed, i, unit)
        json_object_del(unit, "statements"); /* in the event, and in `neap rehearse --json` */
}
