/* SPDX-License-Identifier: MIT
 *
 * Gates and retention of an environment. A gate that is required is written down; one
 * that is left out by a slip of the pen would be missed on the day that it is needed, so
 * every name is checked.
 */
#include "host/project/project_gates.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/project/project_word.h"

static const char *const gate_names[] = {
#define NEAP_GATE(symbol, name, about) name,
#include "host/change/gates.def"
#undef NEAP_GATE
    NULL,
};

/* With `keep`, the keys of `retention`. */
static const char *const retention_keys[] = {
#define NEAP_RETENTION(symbol, tag, time) tag,
#include "host/change/retention.def"
#undef NEAP_RETENTION
    "keep",
    NULL,
};

static const char *const retention_defaults[] = {
#define NEAP_RETENTION(symbol, tag, time) time,
#include "host/change/retention.def"
#undef NEAP_RETENTION
};

#define KEEP_DEFAULT 1

static bool check_gates(const char *where, const json_t *list, struct neap_error *err)
{
    bool wanted[NEAP_GATE_COUNT] = {false};
    size_t i;
    json_t *value;
    json_array_foreach((json_t *)(uintptr_t)list, i, value)
    {
        const char *name = json_string_value(value);
        if (name == NULL)
            return project_refuse(where, "gates", "must be a list of names", err);
        int gate = project_word_find(gate_names, name);
        if (gate < 0) {
            char *inner = neap_format("%sgates: ", where);
            project_unknown(inner, name, "gate", gate_names, err);
            free(inner);
            return false;
        }
        wanted[gate] = true;
    }
    if (wanted[NEAP_GATE_REHEARSAL] && !wanted[NEAP_GATE_BACKUP])
        return project_refuse(where, "gates",
                              "names rehearsal without backup, whose copy it is "
                              "rehearsed on",
                              err);
    return true;
}

static bool check_time(const char *where, const char *name, const json_t *value,
                       struct neap_error *err)
{
    int64_t ms;
    if (json_is_false(value) || (json_is_string(value) &&
                                 neap_age_parse(json_string_value(value), "", &ms, NULL) && ms > 0))
        return true;
    return project_refuse(where, name,
                          "must be a duration with its unit, such as \"30d\", or false", err);
}

static bool check_retention(const char *where, const json_t *table, struct neap_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)table, name, value)
    {
        int key = project_word_find(retention_keys, name);
        if (key < 0)
            return project_unknown(where, name, "key", retention_keys, err);
        if (key < NEAP_RETENTION_COUNT) {
            if (!check_time(where, name, value, err))
                return false;
        } else if (!json_is_integer(value) || json_integer_value(value) < 1) {
            return project_refuse(where, name, "must be a whole number of backups, 1 or more", err);
        }
    }
    return true;
}

bool project_gates_check(const char *where, const json_t *table, struct neap_error *err)
{
    char *inner = neap_format("%sretention.", where);
    bool good = check_gates(where, json_object_get(table, "gates"), err) &&
                check_retention(inner, json_object_get(table, "retention"), err);
    free(inner);
    return good;
}

void project_gates_fill(const json_t *table, struct neap_environment *env)
{
    const json_t *gates = json_object_get(table, "gates");
    const json_t *retention = json_object_get(table, "retention");
    size_t i;
    json_t *value;
    for (int gate = 0; gate < NEAP_GATE_COUNT; gate++)
        env->gates[gate] = gates == NULL && env->is_protected;
    json_array_foreach((json_t *)(uintptr_t)gates, i, value)
        env->gates[project_word_find(gate_names, json_string_value(value))] = true;
    for (int tag = 0; tag < NEAP_RETENTION_COUNT; tag++) {
        const json_t *own = json_object_get(retention, retention_keys[tag]);
        const char *text = own == NULL ? retention_defaults[tag] : json_string_value(own);
        env->retention_ms[tag] = NEAP_FOREVER;
        if (text != NULL)
            (void)neap_age_parse(text, "", &env->retention_ms[tag], NULL);
    }
    const json_t *keep = json_object_get(retention, "keep");
    env->retention_keep = keep == NULL ? KEEP_DEFAULT : json_integer_value(keep);
    env->auto_restore = json_is_true(json_object_get(table, "auto_restore"));
}

char *project_gates_text(const struct neap_environment *env)
{
    struct neap_buffer text = {0};
    for (int gate = 0; gate < NEAP_GATE_COUNT; gate++)
        if (env->gates[gate])
            neap_buffer_add_format(&text, "%s%s", text.length == 0 ? "" : ", ", gate_names[gate]);
    if (text.length == 0)
        neap_buffer_add_text(&text, "none");
    return neap_buffer_take(&text);
}

char *project_retention_text(const json_t *table)
{
    const json_t *retention = json_object_get(table, "retention");
    struct neap_buffer text = {0};
    for (int tag = 0; tag < NEAP_RETENTION_COUNT; tag++) {
        const json_t *own = json_object_get(retention, retention_keys[tag]);
        neap_buffer_add_format(&text, "%s %s, ", retention_keys[tag],
                               own == NULL          ? retention_defaults[tag]
                               : json_is_false(own) ? "for ever"
                                                    : json_string_value(own));
    }
    const json_t *keep = json_object_get(retention, "keep");
    neap_buffer_add_format(&text, "keep %lld",
                           keep == NULL ? (long long)KEEP_DEFAULT
                                        : (long long)json_integer_value(keep));
    return neap_buffer_take(&text);
}
