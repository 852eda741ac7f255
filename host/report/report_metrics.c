/* SPDX-License-Identifier: MIT
 *
 * The values of report_metrics.def, from a report that is otherwise whole.
 */
#include "host/base/json.h"
#include "host/report/report_parts.h"

enum metric {
#define NEAP_METRIC(symbol, name, type, help) METRIC_##symbol,
#include "host/report/report_metrics.def"
#undef NEAP_METRIC
    METRIC_COUNT
};

static const char *const names[METRIC_COUNT] = {
#define NEAP_METRIC(symbol, name, type, help) name,
#include "host/report/report_metrics.def"
#undef NEAP_METRIC
};

/* Of one member of each of a list. */
static int64_t sum(const json_t *list, const char *key)
{
    size_t i;
    const json_t *item;
    int64_t total = 0;
    json_array_foreach(list, i, item) total += neap_report_number(item, key);
    return total;
}

static json_t *seconds(int64_t ms)
{
    return json_real((double)ms / 1000.0);
}

static json_t *migration_duration(const json_t *units)
{
    size_t i;
    const json_t *unit;
    int64_t total_ms = 0;
    json_array_foreach(units, i, unit)
    {
        bool retried = json_object_get(unit, "total_ms") != NULL;
        total_ms += neap_report_number(unit, retried ? "total_ms" : "duration_ms");
    }
    return seconds(total_ms);
}

/* Attempts that came to nothing, and what was undone after it had been done. */
static int64_t rollbacks(const json_t *json)
{
    size_t i;
    const json_t *unit, *turn;
    int64_t count = 0;
    json_array_foreach(json_object_get(json, "units"), i, unit) count +=
        (int64_t)json_array_size(json_object_get(unit, "failures"));
    json_array_foreach(json_object_get(json, "way_back"), i, turn)
    {
        bool undone =
            neap_report_is(turn, "turn", "down") && neap_report_is(turn, "result", "undone");
        if (undone && !json_is_string(json_object_get(turn, "step")))
            count++; /* a step's own down belongs to the failure that is counted */
    }
    return count;
}

static int64_t lock_wait_ms(const json_t *json)
{
    size_t i;
    const json_t *item;
    int64_t total_ms = 0;
    json_array_foreach(json_object_get(json, "units"), i, item) total_ms +=
        sum(json_object_get(item, "failures"), "waited_ms");
    json_array_foreach(json_object_get(json, "waits"), i,
                       item) if (neap_report_is(item, "what", "lock")) total_ms +=
        neap_report_number(item, "ms");
    return total_ms;
}

static void set(json_t *metrics, enum metric metric, json_t *value)
{
    neap_json_set(metrics, names[metric], value);
}

static void add_backup(json_t *metrics, const json_t *backup)
{
    const json_t *verified = json_object_get(backup, "verified");
    if (json_is_true(json_object_get(backup, "made"))) {
        set(metrics, METRIC_BACKUP_BYTES, json_integer(neap_report_number(backup, "bytes")));
        set(metrics, METRIC_BACKUP_DURATION, seconds(neap_report_number(backup, "duration_ms")));
    }
    if (json_object_get(verified, "seconds") != NULL)
        set(metrics, METRIC_VERIFY_DURATION, json_deep_copy(json_object_get(verified, "seconds")));
}

void neap_report_metrics(json_t *json)
{
    json_t *metrics = json_object();
    const json_t *units = json_object_get(json, "units");
    const json_t *ok = json_object_get(json_object_get(json, "rehearsal"), "ok");
    size_t i;
    const json_t *backup;
    for (i = 0; i < METRIC_COUNT; i++)
        set(metrics, (enum metric)i, json_null());
    json_array_foreach(json_object_get(json, "backups"), i, backup) add_backup(metrics, backup);
    if (ok != NULL)
        set(metrics, METRIC_REHEARSAL_SUCCESS, json_integer(json_is_true(ok)));
    if (json_array_size(units) > 0) {
        set(metrics, METRIC_MIGRATION_DURATION, migration_duration(units));
        set(metrics, METRIC_ROLLBACKS, json_integer(rollbacks(json)));
        set(metrics, METRIC_LOCK_WAIT, seconds(lock_wait_ms(json)));
    }
    neap_json_set(json, "metrics", metrics);
}
