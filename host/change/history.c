/* SPDX-License-Identifier: MIT
 *
 * neap.history: what is applied, as the last row of each id. A set, never a
 * high-water mark. Everything is schema-qualified, operators too: `record` runs
 * inside a script's transaction.
 */
#include "host/change/history.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

static const char sql_mark[] =
    "update neap.meta set environment = $1::pg_catalog.text where environment is null";

static const char sql_size[] = "select (select pg_catalog.count(*) from neap.history),"
                               " (select pg_catalog.count(*) from neap.step)";

/* RowExclusive on neap.history and neap.event, KEY SHARE on the lease's row. First what
 * the script may have changed in its session is put back, also for whoever has it next. */
static const char sql_record[] =
    "select neap.tidy(), neap.record($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,"
    " $14, $15, $16, $17, $18, $19)";

static const char sql_record_events[] = "select neap.record_events($1, $2, $3, $4, $5)";

static const char sql_has_attempt[] =
    "select exists (select from neap.history h"
    " where h.attempt operator(pg_catalog.=) $1::pg_catalog.uuid)";

/* Leading zeros do not count in an id. */
static const char sql_bundle[] =
    "select pg_catalog.encode(h.bundle, 'hex') from neap.history h"
    " where pg_catalog.ltrim(h.id, '0') operator(pg_catalog.=)"
    " pg_catalog.ltrim($1::pg_catalog.text, '0')"
    " and h.action in ('apply', 'accept', 'baseline', 'repair.applied')"
    " and h.bundle is not null order by h.seq desc limit 1";

bool neap_history_size(struct pg_client *control, int64_t *rows, int64_t *steps,
                       struct neap_error *err)
{
    struct pg_op *op = NULL;
    if (!pg_exec_text(control, sql_size, 0, NULL, &op, err))
        return false;
    *rows = pg_cell_int(op, 0, 0);
    *steps = pg_cell_int(op, 0, 1);
    pg_op_free(op);
    return true;
}

bool neap_history_mark(struct pg_client *control, const char *environment, struct neap_error *err)
{
    return pg_exec_text(control, sql_mark, 1, &environment, NULL, err);
}

static struct pg_param bytes_param(const void *bytes, size_t length)
{
    return (struct pg_param){
        .value = bytes, .length = (int)length, .type = PG_TYPE_BYTEA, .binary = true};
}

static struct pg_param hash_param(const struct neap_hash *hash)
{
    return bytes_param(hash == NULL ? NULL : hash->bytes, NEAP_HASH_SIZE);
}

/* A statement under way, and what it carries beside the events. */
struct record {
    struct pg_client *client;
    const struct neap_history_entry *entry;
};

static bool send_record(const struct record *record, const char *const arrays[3],
                        struct neap_error *err)
{
    const struct neap_history_entry *entry = record->entry;
    char *duration = neap_format("%lld", (long long)entry->duration_ms);
    char *token = neap_format("%lld", (long long)entry->lease_token);
    const struct pg_param params[] = {
        PG_TYPED(entry->attempt->uuid, PG_TYPE_UUID),
        hash_param(&entry->attempt->secret),
        PG_TYPED(entry->id, PG_TYPE_TEXT),
        PG_TYPED(entry->name, PG_TYPE_TEXT),
        PG_TYPED(entry->action, PG_TYPE_TEXT),
        hash_param(entry->exact),
        hash_param(entry->token),
        bytes_param(entry->bundle, entry->bundle_length),
        PG_TYPED(entry->summary, PG_TYPE_TEXT),
        PG_TYPED(entry->actor, PG_TYPE_TEXT),
        PG_TYPED(entry->reason, PG_TYPE_TEXT),
        PG_TYPED(entry->ticket, PG_TYPE_TEXT),
        PG_TYPED(duration, PG_TYPE_INT8),
        PG_TYPED(token, PG_TYPE_INT8),
        PG_TYPED(entry->xid, PG_TYPE_TEXT),
        PG_TYPED(entry->settle_steps ? "true" : "false", PG_TYPE_BOOL),
        PG_TYPED(arrays[0], PG_TYPE_INT8_ARRAY),
        PG_TYPED(arrays[1], PG_TYPE_TEXT_ARRAY),
        PG_TYPED(arrays[2], PG_TYPE_TEXT_ARRAY),
    };
    struct pg_statement statement = {.sql = sql_record,
                                     .params = params,
                                     .call_id = -1,
                                     .param_count = sizeof params / sizeof params[0]};
    bool sent = pg_send(record->client, &statement, NULL, err);
    free(duration);
    free(token);
    return sent;
}

static bool send_events(void *arg, const char *const arrays[3], bool last, struct neap_error *err)
{
    const struct record *record = arg;
    if (last)
        return send_record(record, arrays, err);
    const struct pg_param params[] = {
        PG_TYPED(record->entry->attempt->uuid, PG_TYPE_UUID),
        hash_param(&record->entry->attempt->secret),
        PG_TYPED(arrays[0], PG_TYPE_INT8_ARRAY),
        PG_TYPED(arrays[1], PG_TYPE_TEXT_ARRAY),
        PG_TYPED(arrays[2], PG_TYPE_TEXT_ARRAY),
    };
    struct pg_statement statement = {
        .sql = sql_record_events, .params = params, .call_id = -1, .param_count = 5};
    return pg_send(record->client, &statement, NULL, err);
}

bool neap_history_record(struct pg_client *client, const struct neap_history_entry *entry,
                         struct neap_audit *audit, struct neap_error *err)
{
    struct record record = {.client = client, .entry = entry};
    struct neap_audit_carrier carrier = {.send = send_events, .arg = &record};
    return neap_audit_carry(audit, &carrier, err);
}

bool neap_history_has_attempt(struct pg_client *control, const char *attempt, bool *found,
                              struct neap_error *err)
{
    const char *params[] = {attempt};
    struct pg_op *op = NULL;
    bool asked = pg_exec_text(control, sql_has_attempt, 1, params, &op, err);
    *found = asked && pg_cell_bool(op, 0, 0);
    pg_op_free(op);
    return asked;
}

static int nibble(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

bool neap_history_bundle(struct pg_client *control, const char *id, void **bytes, size_t *length,
                         struct neap_error *err)
{
    const char *params[] = {id};
    struct pg_op *op = NULL;
    *bytes = NULL;
    *length = 0;
    if (!pg_exec_text(control, sql_bundle, 1, params, &op, err))
        return false;
    const char *hex = pg_cell(op, 0, 0); /* NULL: no row, or none was stored */
    if (hex != NULL) {
        *length = strlen(hex) / 2;
        unsigned char *out = neap_alloc(*length + 1);
        for (size_t i = 0; i < *length; i++)
            out[i] = (unsigned char)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
        *bytes = out;
    }
    pg_op_free(op);
    return true;
}
