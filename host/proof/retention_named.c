/* SPDX-License-Identifier: MIT
 *
 * Which backups are somebody's way back, as the journal of this machine has it. Until a run
 * has ended well, its backup may be wanted; after it, that of the last one.
 */
#include <string.h>

#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/change/audit.h"
#include "host/proof/retention.h"

/* run id -> {backup, open: {migration: true, …}, changed, exit_status}; in order. */
struct named {
    json_t *runs;
};

static json_t *run_of(struct named *named, const char *id)
{
    json_t *run = json_object_get(named->runs, id);
    if (run != NULL)
        return run;
    run = json_object();
    neap_json_set(run, "open", json_object());
    neap_json_set(named->runs, id, run);
    return run;
}

static void open_plan(json_t *run, const json_t *data)
{
    size_t i;
    json_t *migration;
    json_array_foreach(json_object_get(data, "migrations"), i, migration)
    {
        const char *id = json_string_value(json_object_get(migration, "id"));
        if (id != NULL)
            neap_json_set(json_object_get(run, "open"), id, json_true());
    }
}

/* What one run brought to an end is open in none before it. */
static void settle(struct named *named, const char *migration)
{
    const char *id;
    json_t *run;
    json_object_foreach(named->runs, id, run)
        json_object_del(json_object_get(run, "open"), migration);
}

const char *neap_retention_gate(const json_t *event)
{
    const json_t *data = json_object_get(event, "data");
    const char *name = json_string_value(json_object_get(event, "event"));
    const char *gate = json_string_value(json_object_get(data, "gate"));
    bool is_backup =
        name != NULL && strcmp(name, "gate") == 0 && gate != NULL && strcmp(gate, "backup") == 0;
    return is_backup ? json_string_value(json_object_get(data, "backup")) : NULL;
}

static bool on_event(void *arg, const char *hash, const json_t *event)
{
    struct named *named = arg;
    const json_t *data = json_object_get(event, "data");
    const char *id = json_string_value(json_object_get(event, "run"));
    const char *name = json_string_value(json_object_get(event, "event"));
    const char *migration = json_string_value(json_object_get(data, "id"));
    (void)hash;
    if (id == NULL || name == NULL)
        return true;
    if (strcmp(name, "run.plan") == 0) {
        open_plan(run_of(named, id), data);
    } else if (neap_retention_gate(event) != NULL) {
        neap_json_set(run_of(named, id), "backup", neap_json_text(neap_retention_gate(event)));
    } else if (strcmp(name, "run.end") == 0) {
        neap_json_set(run_of(named, id), "exit_status",
                      json_incref(json_object_get(data, "exit_status")));
    } else if (migration != NULL && strcmp(name, "history.settled") == 0) {
        settle(named, migration);
    } else if (migration != NULL && strcmp(name, "step.committed") == 0) {
        neap_json_set(run_of(named, id), "changed", json_true());
        settle(named, migration);
    }
    return true;
}

/* Ended without anything halfway: done, or nothing was changed. */
static bool is_settled(const json_t *run)
{
    const json_t *status = json_object_get(run, "exit_status");
    json_int_t number = json_integer_value(status);
    return (status != NULL && number != 9 && number != 15 && number != 16) ||
           json_object_size(json_object_get(run, "open")) == 0;
}

static void add(json_t *named, const json_t *run)
{
    const char *backup = json_string_value(json_object_get(run, "backup"));
    if (backup != NULL)
        neap_json_set(named, backup, json_true());
}

bool neap_retention_named(const char *state_dir, const char *identity, json_t *named,
                          struct neap_error *err)
{
    struct named all = {.runs = json_object()};
    const json_t *last = NULL;
    bool read = neap_audit_read(state_dir, identity, NULL, on_event, &all, err);
    const char *id;
    json_t *run;
    json_object_foreach(all.runs, id, run)
    {
        if (!is_settled(run))
            add(named, run);
        if (json_object_get(run, "changed") != NULL && json_object_get(run, "backup") != NULL)
            last = run;
    }
    add(named, last);
    json_decref(all.runs);
    return read;
}
