/* SPDX-License-Identifier: MIT
 *
 * The events of all runs of a target, also of those that were made elsewhere and
 * left nothing in this machine's journal: those are read from the target's copy.
 * What both have is read from the journal, which has more (what only looked is
 * never copied).
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/change/audit.h"

/* AccessShare on neap.event. */
static const char sql_elsewhere[] =
    "select e.hash, e.body from neap.event e"
    " where ($1::pg_catalog.text is null or e.run_id operator(pg_catalog.=) $1)"
    " and not e.run_id operator(pg_catalog.=) any ($2::pg_catalog._text)"
    " order by e.position";

struct gather {
    json_t *begun;    /* run ids of the journal; in the second reading those told of */
    struct pg_op *op; /* the events from elsewhere */
    int row;          /* the next of them */
    bool (*fn)(void *arg, const char *hash, const json_t *event);
    void *arg;
    bool ended; /* by fn */
};

static bool note_run(void *arg, const char *hash, const json_t *event)
{
    struct gather *gather = arg;
    (void)hash;
    neap_json_set(gather->begun, json_string_value(json_object_get(event, "run")), json_true());
    return true;
}

/* Run ids are letters, digits and dashes: an array literal needs no quotes. */
static char *array_of(const json_t *runs)
{
    struct neap_buffer text = {0};
    const char *run;
    json_t *unused;
    neap_buffer_add_char(&text, '{');
    json_object_foreach((json_t *)(uintptr_t)runs, run, unused)
        neap_buffer_add_format(&text, "%s%s", text.length > 1 ? "," : "", run);
    neap_buffer_add_char(&text, '}');
    return neap_buffer_take(&text);
}

static bool ask_target(struct gather *gather, struct pg_client *control, const char *run_id,
                       struct neap_error *err)
{
    char *known = array_of(gather->begun);
    const char *params[] = {run_id, known};
    bool asked = pg_exec_text(control, sql_elsewhere, 2, params, &gather->op, err);
    free(known);
    return asked;
}

/* Tells of events from elsewhere that are older than `time`; NULL: of the rest. */
static void tell_elsewhere(struct gather *gather, const char *time)
{
    bool go_on = true;
    while (go_on && !gather->ended && gather->row < pg_rows(gather->op)) {
        const char *body = pg_cell(gather->op, gather->row, 1);
        json_t *event = json_loads(body, 0, NULL);
        const char *own = json_string_value(json_object_get(event, "time"));
        go_on = time == NULL || own == NULL || strcmp(own, time) < 0;
        if (go_on && event != NULL)
            gather->ended = !gather->fn(gather->arg, pg_cell(gather->op, gather->row, 0), event);
        gather->row += go_on;
        json_decref(event);
    }
}

/* Runs stay whole: others are put in where one begins. */
static bool tell(void *arg, const char *hash, const json_t *event)
{
    struct gather *gather = arg;
    const char *run = json_string_value(json_object_get(event, "run"));
    if (json_object_get(gather->begun, run) == NULL) {
        neap_json_set(gather->begun, run, json_true());
        tell_elsewhere(gather, json_string_value(json_object_get(event, "time")));
    }
    gather->ended = gather->ended || !gather->fn(gather->arg, hash, event);
    return !gather->ended;
}

bool neap_audit_gather(const struct neap_audit_verify_opts *where, const char *run_id,
                       bool (*fn)(void *arg, const char *hash, const json_t *event), void *arg,
                       struct neap_error *err)
{
    struct gather gather = {.begun = json_object(), .fn = fn, .arg = arg};
    bool read = neap_audit_read(where->state_dir, where->identity, NULL, note_run, &gather, err) &&
                (where->control == NULL || ask_target(&gather, where->control, run_id, err));
    json_object_clear(gather.begun);
    read = read &&
           neap_audit_read(where->state_dir, where->identity, run_id, gather.op != NULL ? tell : fn,
                           gather.op != NULL ? (void *)&gather : arg, err);
    if (read && gather.op != NULL)
        tell_elsewhere(&gather, NULL);
    pg_op_free(gather.op);
    json_decref(gather.begun);
    return read;
}
