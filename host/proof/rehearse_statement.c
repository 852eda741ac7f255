/* SPDX-License-Identifier: MIT
 *
 * The text passes the redaction here: a rehearsal is printed, and kept in the audit.
 */
#include "host/proof/rehearse_statement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_sql.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"

#define TEXT_MAX 1000
#define STATEMENTS_MAX 200 /* of one migration, unless they are worth seeing */
#define SLOW_US 100000

static const struct {
    const char *mode, *blocks;
} ranks[] = {
    {"", NULL},
    {"AccessShareLock", NULL},
    {"RowShareLock", NULL},
    {"RowExclusiveLock", NULL},
    {"ShareUpdateExclusiveLock", "schema changes"},
    {"ShareLock", "writes"},
    {"ShareRowExclusiveLock", "writes"},
    {"ExclusiveLock", "writes"},
    {"AccessExclusiveLock", "reads and writes"},
};

json_t *neap_lock_json(const char *relation, int rank)
{
    json_t *json = json_object();
    neap_json_set(json, "relation", neap_json_text(relation));
    neap_json_set(json, "mode", neap_json_text(ranks[rank].mode));
    neap_json_set(json, "blocks", neap_json_text(ranks[rank].blocks));
    return json;
}

static char *short_text(const char *text)
{
    char *redacted = neap_redact(text == NULL ? "" : text);
    size_t length = strlen(redacted);
    if (length > TEXT_MAX) {
        length = TEXT_MAX;
        while (length > 0 && ((unsigned char)redacted[length] & 0xc0) == 0x80)
            length--; /* no half character */
        redacted[length] = '\0';
    }
    return redacted;
}

void neap_measured_init(struct neap_measured *statement, const struct neap_gate_call *call,
                        int64_t call_id, enum neap_script_part part)
{
    struct pg_sql_class class = {0};
    *statement = (struct neap_measured){.part = part,
                                        .text = short_text(call->statement),
                                        .file = neap_strdup(call->where_file),
                                        .line = call->where_line,
                                        .first_id = call_id,
                                        .last_id = call_id,
                                        .count = 1,
                                        .locks = json_array(),
                                        .rewrites = json_array(),
                                        .scans = json_array()};
    if (call->fingerprint != NULL)
        (void)snprintf(statement->fingerprint, sizeof statement->fingerprint, "%s",
                       call->fingerprint);
    if (call->statement != NULL &&
        pg_sql_classify(call->statement, strlen(call->statement), &class, NULL))
        statement->verb = class.verb;
}

void neap_measured_clear(struct neap_measured *statement)
{
    free(statement->text);
    free(statement->file);
    json_decref(statement->locks);
    json_decref(statement->rewrites);
    json_decref(statement->scans);
    *statement = (struct neap_measured){.text = NULL};
}

static bool is_equal(const char *a, const char *b)
{
    return strcmp(a == NULL ? "" : a, b == NULL ? "" : b) == 0;
}

bool neap_measured_is(const struct neap_measured *statement, const struct neap_gate_call *call,
                      enum neap_script_part part)
{
    return statement->part == part && statement->line == call->where_line &&
           call->fingerprint != NULL && is_equal(statement->fingerprint, call->fingerprint) &&
           is_equal(statement->file, call->where_file);
}

void neap_measured_lock(struct neap_measured *statement, const char *relation, int rank)
{
    size_t i;
    json_t *lock;
    json_array_foreach(statement->locks, i, lock)
    {
        const char *name = json_string_value(json_object_get(lock, "relation"));
        if (strcmp(name, relation) != 0)
            continue;
        json_array_set_new(statement->locks, i, neap_lock_json(relation, rank));
        return;
    }
    json_array_append_new(statement->locks, neap_lock_json(relation, rank));
}

/* {relation}, once; its size on the target comes later. */
static void add_relation(json_t *list, const char *relation)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i,
                       entry) if (strcmp(json_string_value(json_object_get(entry, "relation")),
                                         relation) == 0) return;
    entry = json_object();
    neap_json_set(entry, "relation", neap_json_text(relation));
    json_array_append_new(list, entry);
}

void neap_measured_rewrite(struct neap_measured *statement, const char *relation)
{
    add_relation(statement->rewrites, relation);
}

void neap_measured_scan(struct neap_measured *statement, const char *relation)
{
    add_relation(statement->scans, relation);
}

static bool is_worth_seeing(const struct neap_measured *statement)
{
    size_t i;
    json_t *lock;
    json_array_foreach(statement->locks, i,
                       lock) if (!json_is_null(json_object_get(lock, "blocks"))) return true;
    return statement->failed || statement->duration_us >= SLOW_US ||
           json_array_size(statement->rewrites) > 0 || json_array_size(statement->scans) > 0;
}

static json_t *to_json(const struct neap_measured *statement)
{
    static const char *const parts[] = {"up", "verify", "down"};
    json_t *json = json_object();
    neap_json_set(json, "part", neap_json_text(parts[statement->part]));
    neap_json_set(json, "file", neap_json_text(statement->file));
    neap_json_set(json, "line", json_integer(statement->line));
    neap_json_set(json, "verb", neap_json_text(statement->verb));
    neap_json_set(json, "text", neap_json_text(statement->text));
    neap_json_set(json, "count", json_integer(statement->count));
    neap_json_set(json, "rows", json_integer(statement->rows));
    neap_json_set(json, "duration_ms", json_real((double)statement->duration_us / 1000.0));
    neap_json_set(json, "wal_bytes", json_integer(statement->wal_bytes));
    neap_json_set(json, "locks", json_incref(statement->locks));
    neap_json_set(json, "rewrites", json_incref(statement->rewrites));
    neap_json_set(json, "scans", json_incref(statement->scans));
    if (statement->failed)
        neap_json_set(json, "failed", json_true());
    return json;
}

void neap_measured_add(json_t *unit, const struct neap_measured *statements, size_t count)
{
    json_t *list = json_object_get(unit, "statements");
    json_int_t left = 0;
    for (size_t i = 0; i < count; i++) {
        if (i < STATEMENTS_MAX || is_worth_seeing(&statements[i]))
            json_array_append_new(list, to_json(&statements[i]));
        else
            left++;
    }
    if (left > 0)
        neap_json_set(unit, "statements_left_out", json_integer(left));
}
