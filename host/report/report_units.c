/* SPDX-License-Identifier: MIT
 *
 * What ran: one unit for each migration and direction. The statements of a transaction
 * come in one event before the one that says whose they were; those of a step without a
 * transaction come one by one, behind the event that begins the step.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/report/report_parts.h"

static char *unit_key(const json_t *fields)
{
    return neap_format("%s %s", neap_report_word(fields, "direction"),
                       neap_report_word(fields, "id"));
}

static json_t *new_unit(struct neap_report *report, const json_t *fields)
{
    static const char *const keys[] = {"id", "name", "direction", NULL};
    json_t *unit = json_object();
    neap_report_copy(unit, fields, keys);
    neap_json_set(unit, "result", neap_json_text("begun"));
    neap_json_set(unit, "began_at", neap_json_text(report->at));
    neap_report_append(report->json, "units", unit);
    return unit;
}

/* The last unit of this migration and direction that is not ended, or a new one. */
static json_t *need_unit(struct neap_report *report, const json_t *fields)
{
    char *key = unit_key(fields);
    const json_t *place = json_object_get(report->open, key);
    json_t *units = json_object_get(report->json, "units");
    json_t *unit = json_array_get(units, (size_t)json_integer_value(place));
    if (place == NULL) {
        neap_json_set(report->open, key, json_integer((json_int_t)json_array_size(units)));
        unit = new_unit(report, fields);
    }
    free(key);
    return unit;
}

static void end_unit(struct neap_report *report, json_t *unit)
{
    char *key = unit_key(unit);
    neap_json_set(unit, "result", neap_json_text("committed"));
    json_object_del(report->open, key);
    free(key);
}

static void add_to(json_t *json, const char *key, int64_t more)
{
    neap_json_set(json, key, json_integer(neap_report_number(json, key) + more));
}

static void forget_statements(struct neap_report *report)
{
    report->statement_count = report->row_count = 0;
    json_object_clear(report->seen);
}

static void add_seen(struct neap_report *report, const json_t *entry)
{
    char *place = neap_format("%s:%lld", neap_report_word(entry, "file"),
                              (long long)neap_report_number(entry, "line"));
    add_to(report->seen, place, neap_report_number(entry, "us"));
    free(place);
}

static void on_statements(struct neap_report *report, const json_t *fields)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(json_object_get(fields, "statements"), i, entry)
    {
        int64_t count = neap_report_number(entry, "count"), rows;
        rows = neap_report_number(entry, "rows");
        report->statement_count += count > 0 ? count : 1;
        report->row_count += rows > 0 ? rows : 0;
        add_seen(report, entry);
    }
}

static const char *verify_of(const json_t *fields)
{
    if (neap_report_is(fields, "direction", "down"))
        return "none"; /* there is nothing left to look at */
    return json_is_string(json_object_get(fields, "unverified")) ? "unverified" : "passed";
}

/* The attempt that went well, and those before it with the pauses between them. */
static int64_t total_ms(const struct neap_report *report, const json_t *unit)
{
    const json_t *failures = json_object_get(unit, "failures");
    const json_t *last = json_array_get(failures, json_array_size(failures) - 1);
    if (last == NULL)
        return neap_report_number(unit, "duration_ms");
    return neap_report_number(last, "duration_ms") +
           neap_report_span_ms(neap_report_word(last, "at"), report->at);
}

static void on_commit(struct neap_report *report, const json_t *fields)
{
    static const char *const keys[] = {"duration_ms", "unverified", "irreversible", NULL};
    json_t *unit = need_unit(report, fields);
    neap_report_copy(unit, fields, keys);
    neap_json_set(unit, "total_ms", json_integer(total_ms(report, unit)));
    neap_json_set(unit, "attempts", json_integer(neap_report_number(fields, "attempt_number")));
    neap_json_set(unit, "statements", json_integer(neap_report_number(fields, "statement_count")));
    neap_json_set(unit, "rows", json_integer(neap_report_number(fields, "row_count")));
    neap_json_set(unit, "verify", neap_json_text(verify_of(fields)));
    neap_json_set(unit, "places", json_deep_copy(report->seen));
    forget_statements(report);
}

static void on_committed(struct neap_report *report, const json_t *fields)
{
    if (report->settled != NULL) { /* nothing of a script ran */
        neap_json_set(report->settled, "recorded", json_true());
        report->settled = NULL;
        return;
    }
    json_t *unit = need_unit(report, fields);
    end_unit(report, unit);
    if (json_is_true(json_object_get(fields, "unreplicated")))
        neap_json_set(unit, "unreplicated", json_true());
    if (json_object_get(unit, "steps") != NULL)
        neap_json_set(
            unit, "duration_ms",
            json_integer(neap_report_span_ms(neap_report_word(unit, "began_at"), report->at)));
    report->unit = report->step = NULL;
}

static json_t *need_step(json_t *unit, const json_t *fields)
{
    static const char *const keys[] = {"index", "irreversible", NULL};
    json_t *steps = json_object_get(unit, "steps");
    size_t i;
    json_t *step;
    json_array_foreach(steps, i, step)
    {
        if (neap_report_is(step, "name", neap_report_word(fields, "step")))
            return step;
    }
    step = json_object();
    neap_json_set(step, "name", neap_json_text(neap_report_word(fields, "step")));
    neap_report_copy(step, fields, keys);
    neap_report_append(unit, "steps", step);
    return step;
}

static void set_state(struct neap_report *report, const json_t *fields, const char *state)
{
    report->unit = need_unit(report, fields);
    report->step = need_step(report->unit, fields);
    neap_json_set(report->step, "state", neap_json_text(state));
    if (json_is_string(json_object_get(fields, "irreversible")))
        neap_report_copy(report->unit, fields, (const char *const[]){"irreversible", NULL});
}

static void begin_step(struct neap_report *report, const json_t *fields, const char *state)
{
    set_state(report, fields, state);
    neap_json_set(report->step, "began_at", neap_json_text(report->at));
}

static void end_step(struct neap_report *report, const json_t *fields, const char *state)
{
    set_state(report, fields, state);
    add_to(report->step, "duration_ms",
           neap_report_span_ms(neap_report_word(report->step, "began_at"), report->at));
}

static void on_intent(struct neap_report *report, const json_t *fields)
{
    begin_step(report, fields, "in doubt");
}

static void on_done(struct neap_report *report, const json_t *fields)
{
    end_step(report, fields, "done");
}

static void on_undo(struct neap_report *report, const json_t *fields)
{
    begin_step(report, fields, "in doubt");
}

static void on_undone(struct neap_report *report, const json_t *fields)
{
    end_step(report, fields, "undone");
}

/* A unit's attempt, or (with the name of one) a step that stays in doubt. */
static void on_failed(struct neap_report *report, const json_t *fields)
{
    static const char *const keys[] = {"attempt_number", "duration_ms", "error",
                                       "blockers",       "waited_ms",   NULL};
    if (json_object_get(fields, "step") != NULL) {
        end_step(report, fields, "failed");
        return;
    }
    json_t *unit = need_unit(report, fields);
    json_t *failure = json_object();
    neap_json_set(failure, "at", neap_json_text(report->at));
    neap_report_copy(failure, fields, keys);
    neap_report_append(unit, "failures", failure);
    neap_json_set(unit, "result", neap_json_text("failed"));
    neap_json_set(unit, "attempts", json_integer(neap_report_number(fields, "attempt_number")));
    neap_report_copy(unit, fields, (const char *const[]){"duration_ms", NULL});
    if (report->statement_count > 0)
        neap_json_set(unit, "statements", json_integer(report->statement_count));
    forget_statements(report);
    report->unit = report->step = NULL;
}

static void on_waited(struct neap_report *report, const json_t *fields)
{
    neap_report_append(report->json, "waits", json_deep_copy(fields));
}

static void on_statement(struct neap_report *report, const json_t *fields)
{
    (void)fields;
    if (report->step == NULL)
        return;
    add_to(report->step, "statements", 1);
    add_to(report->unit, "statements", 1);
}

static void on_statement_end(struct neap_report *report, const json_t *fields)
{
    int64_t rows = neap_report_number(fields, "rows");
    if (report->step == NULL || rows < 0)
        return;
    add_to(report->step, "rows", rows);
    add_to(report->unit, "rows", rows);
}

static void on_adopted(struct neap_report *report, const json_t *fields)
{
    set_state(report, fields, "done before");
}

static void on_settled(struct neap_report *report, const json_t *fields)
{
    report->settled = json_deep_copy(fields);
    neap_json_set(report->settled, "recorded", json_false());
    neap_report_append(report->json, "settled", report->settled);
}

const struct neap_report_part neap_report_units[] = {{"step.statements", on_statements},
                                                     {"step.commit", on_commit},
                                                     {"step.committed", on_committed},
                                                     {"step.intent", on_intent},
                                                     {"step.done", on_done},
                                                     {"step.undo", on_undo},
                                                     {"step.undone", on_undone},
                                                     {"step.failed", on_failed},
                                                     {"step.waited", on_waited},
                                                     {"step.adopted", on_adopted},
                                                     {"db.statement", on_statement},
                                                     {"db.statement.end", on_statement_end},
                                                     {"history.settled", on_settled},
                                                     {NULL, NULL}};
