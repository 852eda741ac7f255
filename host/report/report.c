/* SPDX-License-Identifier: MIT
 *
 * Event after event, and what can only be said at the end. A run without its last event
 * has a report too: it was killed, or is still at work.
 */
#include "host/report/report.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/report/report_parts.h"

const char *neap_report_word(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text == NULL ? "" : text;
}

int64_t neap_report_number(const json_t *json, const char *key)
{
    return (int64_t)json_number_value(json_object_get(json, key));
}

bool neap_report_is(const json_t *json, const char *key, const char *word)
{
    return strcmp(neap_report_word(json, key), word) == 0;
}

void neap_report_copy(json_t *to, const json_t *from, const char *const *keys)
{
    for (; *keys != NULL; keys++)
        if (json_object_get(from, *keys) != NULL)
            neap_json_set(to, *keys, json_deep_copy(json_object_get(from, *keys)));
}

void neap_report_append(json_t *json, const char *key, json_t *item)
{
    json_t *list = json_object_get(json, key);
    if (list == NULL) {
        list = json_array();
        neap_json_set(json, key, list);
    }
    json_array_append_new(list, item);
}

json_t *neap_report_index(const json_t *list, const char *key)
{
    json_t *index = json_object();
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
        neap_json_set(index, neap_report_word(item, key), json_integer((json_int_t)i));
    return index;
}

int64_t neap_report_span_ms(const char *from, const char *to)
{
    int64_t from_us = 0, to_us = 0;
    if (!neap_clock_utc_parse(from, &from_us) || !neap_clock_utc_parse(to, &to_us) ||
        to_us < from_us) /* the clock of the machine was set back */
        return 0;
    return (to_us - from_us) / 1000;
}

static void on_begin(struct neap_report *report, const json_t *fields)
{
    static const char *const keys[] = {"command",
                                       "dry_run",
                                       "project",
                                       "environment",
                                       "environment_named",
                                       "address",
                                       "database",
                                       "identity",
                                       "server_version",
                                       "database_user",
                                       "superuser",
                                       "neap_version",
                                       "work_user",
                                       "actor",
                                       "who",
                                       "reason",
                                       "ticket",
                                       "backup",
                                       NULL};
    neap_json_set(report->json, "began_at", neap_json_text(report->at));
    neap_report_copy(report->json, fields, keys);
    if (neap_report_number(fields, "lease_waited_ms") < 1000)
        return;
    json_t *wait = json_object();
    neap_json_set(wait, "what", neap_json_text("lease"));
    neap_json_set(wait, "ms", json_integer(neap_report_number(fields, "lease_waited_ms")));
    neap_report_append(report->json, "waits", wait);
}

static void on_plan(struct neap_report *report, const json_t *fields)
{
    neap_report_append(report->json, "plans", json_deep_copy(fields));
}

static void on_killed(struct neap_report *report, const json_t *fields)
{
    neap_json_set(report->json, "killed", neap_json_text(neap_report_word(fields, "reason")));
}

static void on_end(struct neap_report *report, const json_t *fields)
{
    static const char *const keys[] = {"exit_status", "error", NULL};
    neap_json_set(report->json, "ended_at", neap_json_text(report->at));
    neap_report_copy(report->json, fields, keys);
}

static const struct neap_report_part own[] = {{"run.begin", on_begin},
                                              {"run.plan", on_plan},
                                              {"run.killed", on_killed},
                                              {"run.end", on_end},
                                              {NULL, NULL}};

struct neap_report *neap_report_begin(void)
{
    struct neap_report *report = neap_alloc(sizeof *report);
    report->json = json_object();
    report->open = json_object();
    report->seen = json_object();
    neap_json_set(report->json, "report_version", json_integer(NEAP_REPORT_VERSION));
    return report;
}

bool neap_report_event(void *arg, const char *hash, const json_t *event)
{
    static const struct neap_report_part *const lists[] = {own, neap_report_units,
                                                           neap_report_proofs};
    struct neap_report *report = arg;
    const char *name = neap_report_word(event, "event");
    (void)hash;
    report->at = neap_report_word(event, "time");
    if (!report->any) {
        neap_json_set(report->json, "run_id", neap_json_text(neap_report_word(event, "run")));
        report->any = true;
    }
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        for (const struct neap_report_part *part = lists[i]; part->event != NULL; part++)
            if (strcmp(part->event, name) == 0)
                part->add(report, json_object_get(event, "data"));
    return true;
}

static void tell_result(json_t *json)
{
    const json_t *status = json_object_get(json, "exit_status");
    const char *result = !json_is_integer(status)                       ? "unfinished"
                         : json_integer_value(status) == 0              ? "done"
                         : neap_report_number(json, "exit_status") == 9 ? "partial"
                                                                        : "failed";
    neap_json_set(json, "result", neap_json_text(result));
    if (json_is_integer(status))
        neap_json_set(json, "duration_ms",
                      json_integer(neap_report_span_ms(neap_report_word(json, "began_at"),
                                                       neap_report_word(json, "ended_at"))));
}

json_t *neap_report_end(struct neap_report *report)
{
    json_t *json = report->json;
    bool any = report->any;
    json_decref(report->open);
    json_decref(report->seen);
    free(report);
    if (!any) {
        json_decref(json);
        return NULL;
    }
    tell_result(json);
    neap_report_compare(json);
    neap_report_undo(json);
    neap_report_metrics(json);
    return json;
}
