/* SPDX-License-Identifier: MIT */
#include "host/project/project_preflight.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/error.h"
#include "host/base/memory.h"
#include "host/base/text.h"

enum unit { COUNT, PERCENT, MEGABYTES, TIMES, SECONDS };

#define NONE NAN

static const struct {
    const char *name;
    enum unit unit;
    double warning, error;
} checks[] = {
#define NEAP_PREFLIGHT(symbol, name, unit, side, warning, error, about) \
    {name, unit, warning, error},
#include "host/change/preflight.def"
#undef NEAP_PREFLIGHT
};

static int find_check(const char *name)
{
    for (int i = 0; i < NEAP_PREFLIGHT_COUNT; i++)
        if (strcmp(checks[i].name, name) == 0)
            return i;
    return -1;
}

static bool unknown(const char *where, const char *name, const char *const *names,
                    struct neap_error *err)
{
    const char *nearest = names == NULL ? NULL : neap_text_nearest(name, names);
    neap_error_set(err, NEAP_ERR_CONFIG_INVALID, "neap.lua: %s%s is not a known key", where, name);
    if (nearest)
        neap_error_hint(err, "Did you mean %s?", nearest);
    else
        neap_error_hint(err, "See `neap help preflight`.");
    return false;
}

static bool read_threshold(enum unit unit, const json_t *value, double *out)
{
    int64_t ms;
    if (unit == SECONDS) {
        if (!json_is_string(value) || !neap_duration_parse(json_string_value(value), "", &ms, NULL))
            return false;
        *out = (double)ms / 1000;
        return true;
    }
    *out = json_number_value(value);
    return json_is_number(value) && *out >= 0;
}

static bool check_thresholds(const char *where, int check, const json_t *table,
                             struct neap_error *err)
{
    const char *name;
    json_t *value;
    double number;
    json_object_foreach((json_t *)(uintptr_t)table, name, value)
    {
        if (strcmp(name, "warning") != 0 && strcmp(name, "error") != 0) {
            unknown(where, name, NULL, err);
            neap_error_hint(err, "Its keys are warning and error.");
            return false;
        }
        if (json_is_false(value) || read_threshold(checks[check].unit, value, &number))
            continue;
        neap_error_set(err, NEAP_ERR_CONFIG_INVALID, "neap.lua: %s%s must be %s, or false", where,
                       name,
                       checks[check].unit == SECONDS ? "a duration with its unit, such as \"30s\""
                                                     : "a number");
        return false;
    }
    return true;
}

static bool is_empty_table(const json_t *value)
{
    return json_is_array(value) && json_array_size(value) == 0;
}

bool project_preflight_check(const char *where, const json_t *table, struct neap_error *err)
{
    const char *names[NEAP_PREFLIGHT_COUNT + 1] = {0};
    const char *name;
    json_t *value;
    bool good = true;
    char *own = neap_format("%spreflight.", where);
    for (int i = 0; i < NEAP_PREFLIGHT_COUNT; i++)
        names[i] = checks[i].name;
    json_object_foreach((json_t *)(uintptr_t)table, name, value)
    {
        int check = find_check(name);
        char *inner = neap_format("%s%s.", own, name);
        if (check < 0) {
            good = unknown(own, name, names, err);
        } else if (json_is_object(value)) {
            good = check_thresholds(inner, check, value, err);
        } else if (!json_is_false(value) && !is_empty_table(value)) {
            neap_error_set(err, NEAP_ERR_CONFIG_INVALID,
                           "neap.lua: %s%s must be false or a table with warning and error", own,
                           name);
            good = false;
        }
        free(inner);
        if (!good)
            break;
    }
    free(own);
    return good;
}

static void fill_level(enum unit unit, const json_t *value, double *out)
{
    if (json_is_false(value))
        *out = NAN;
    else if (value != NULL)
        read_threshold(unit, value, out);
}

void project_preflight_fill(const json_t *table,
                            struct neap_preflight_rule rules[NEAP_PREFLIGHT_COUNT])
{
    for (int i = 0; i < NEAP_PREFLIGHT_COUNT; i++) {
        const json_t *own = json_object_get(table, checks[i].name);
        rules[i] = (struct neap_preflight_rule){
            .off = json_is_false(own), .warning = checks[i].warning, .error = checks[i].error};
        fill_level(checks[i].unit, json_object_get(own, "warning"), &rules[i].warning);
        fill_level(checks[i].unit, json_object_get(own, "error"), &rules[i].error);
    }
}
