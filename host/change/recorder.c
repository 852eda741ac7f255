/* SPDX-License-Identifier: MIT
 *
 * The gate's sink. It knows calls and results, not connections. A loop that
 * sends the same statement a thousand times is one entry with a count, and text that
 * stands in the script is not repeated: the chain stays complete and small.
 */
#include "host/change/recorder.h"

#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_sql.h"
#include "host/base/embedded.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"

#define FINGERPRINT_MAX 48
#define TEXT_MAX 4096   /* of a statement that the script put together */
#define ENTRIES_MAX 200 /* per event: keeps one event well under a page of the journal */

struct neap_recorder_call {
    char fingerprint[FINGERPRINT_MAX];
    const char *name; /* static: the binding's */
    char *file;
    char *text;            /* only with keep_text */
    char *computed;        /* it does not stand in the source */
    size_t length;         /* of the statement, where computed may have its beginning only */
    struct neap_hash hash; /* of a long computed one */
    int line, last_line;
    int64_t rows, duration_us, count;
    enum pg_sql_kind kind;
    bool settled, failed;
};

static void copy_short(char *out, size_t size, const char *text)
{
    size_t length = text == NULL ? 0 : strnlen(text, size - 1);
    if (length > 0)
        memcpy(out, text, length);
    out[length] = '\0';
}

static json_t *call_json(const struct neap_recorder_call *call)
{
    json_t *json = json_object();
    neap_json_set(json, "call", neap_json_text(call->name));
    if (call->fingerprint[0] != '\0')
        neap_json_set(json, "fingerprint", neap_json_text(call->fingerprint));
    if (call->file != NULL) {
        neap_json_set(json, "file", neap_json_text(call->file));
        neap_json_set(json, "line", json_integer(call->line));
    }
    return json;
}

static bool record_durably(struct neap_recorder *recorder, const struct neap_recorder_call *call,
                           int64_t call_id, const char *statement, struct neap_error *err)
{
    json_t *fields = call_json(call);
    neap_json_set(fields, "id", json_integer(call_id));
    neap_json_set(fields, "statement", neap_json_text(statement));
    neap_audit_add(recorder->audit, "db.statement", fields);
    return neap_audit_sync(recorder->audit, err);
}

static enum pg_sql_kind kind_of(const char *statement)
{
    struct pg_sql_class class = {0};
    bool known = statement != NULL && pg_sql_classify(statement, strlen(statement), &class, NULL);
    return known ? class.kind : PG_SQL_OTHER;
}

/* The server said no, and the statement is one that then leaves nothing behind: not
 * CALL or DO, which may have committed on the way. What runs in several transactions
 * of its own is whole only when it was refused at the first look (class 42: the name
 * exists already, …). */
static bool is_refused_whole(const struct neap_recorder_call *call, const struct neap_error *error)
{
    if (error == NULL)
        return false;
    if (call->kind == PG_SQL_DDL || call->kind == PG_SQL_WRITE)
        return error->sqlstate[0] != '\0' && strncmp(error->sqlstate, "57P", 3) != 0;
    bool is_long = call->kind == PG_SQL_INDEX_CONCURRENTLY || call->kind == PG_SQL_NO_TRANSACTION;
    return is_long &&
           (error->code == NEAP_ERR_DB_INDEX_INVALID || strncmp(error->sqlstate, "42", 2) == 0);
}

/* Statements come in the order in which they stand, nearly always: the search goes on
 * from the last one, which a loop sends again. */
static bool stands_in_source(struct neap_recorder *recorder, const char *statement)
{
    const struct neap_source *source = recorder->source;
    size_t length = strlen(statement), count = source == NULL ? 0 : source->file_count;
    for (size_t i = 0; i <= count && count > 0; i++) { /* the first file twice: from its begin */
        size_t at = (recorder->source_file + i) % count;
        const struct neap_source_file *file = &source->files[at];
        size_t from = i == 0 && recorder->source_at <= file->length ? recorder->source_at : 0;
        const char *found = memmem(file->text + from, file->length - from, statement, length);
        if (found == NULL)
            continue;
        recorder->source_file = at;
        recorder->source_at = (size_t)(found - file->text);
        return true;
    }
    return false;
}

/* What `expect` asks is in the binary, whose version the run's first event tells. */
static bool stands_in_stdlib(const char *statement)
{
    size_t length = strlen(statement);
    for (const struct neap_embedded *file = neap_embedded_all(); file->path != NULL; file++)
        if (strncmp(file->path, "neap/", 5) == 0 &&
            memmem(file->bytes, file->length, statement, length) != NULL)
            return true;
    return false;
}

static void keep_computed(struct neap_recorder *recorder, struct neap_recorder_call *call,
                          const char *statement)
{
    if (recorder->durable || statement == NULL || stands_in_source(recorder, statement) ||
        stands_in_stdlib(statement))
        return;
    call->length = strlen(statement);
    call->computed = neap_strndup(statement, call->length < TEXT_MAX ? call->length : TEXT_MAX);
    if (call->length > TEXT_MAX)
        neap_hash_sha256(statement, call->length, &call->hash);
}

static bool on_record(void *sink, const struct neap_gate_call *gate, int64_t *call_id,
                      struct neap_error *err)
{
    struct neap_recorder *recorder = sink;
    const struct neap_observer *observer = recorder->observer;
    if (observer != NULL &&
        !observer->statement(observer->arg, gate,
                             recorder->first_id + (int64_t)recorder->call_count, err))
        return false;
    if (recorder->call_count == recorder->call_capacity) {
        recorder->call_capacity = recorder->call_capacity == 0 ? 64 : recorder->call_capacity * 2;
        recorder->calls =
            neap_realloc(recorder->calls, recorder->call_capacity * sizeof *recorder->calls);
    }
    struct neap_recorder_call *call = &recorder->calls[recorder->call_count];
    memset(call, 0, sizeof *call);
    copy_short(call->fingerprint, sizeof call->fingerprint, gate->fingerprint);
    call->name = gate->name;
    call->file = neap_strdup(gate->where_file);
    call->line = call->last_line = gate->where_line;
    call->count = 1;
    keep_computed(recorder, call, gate->statement);
    call->text = recorder->keep_text ? neap_strdup(gate->statement) : NULL;
    *call_id = recorder->first_id + (int64_t)recorder->call_count++;
    recorder->statement_count++;
    if (!recorder->durable)
        return true;
    recorder->effect_count++;
    call->kind = kind_of(gate->statement);
    return record_durably(recorder, call, *call_id, gate->statement, err);
}

static void on_settle(void *sink, const struct neap_gate_result *result)
{
    struct neap_recorder *recorder = sink;
    int64_t index = result->call_id - recorder->first_id;
    if (index < 0 || index >= (int64_t)recorder->call_count)
        return; /* told as unanswered: it must not answer for a later one */
    struct neap_recorder_call *call = &recorder->calls[index];
    call->settled = true;
    call->failed = result->error != NULL;
    call->rows = result->row_count;
    call->duration_us = result->duration_us;
    if (result->row_count > 0)
        recorder->row_count += result->row_count;
    if (recorder->on_statement != NULL) {
        struct neap_statement_seen seen = {.statement = call->text,
                                           .where_file = call->file,
                                           .where_line = call->line,
                                           .row_count = call->rows,
                                           .duration_us = call->duration_us,
                                           .failed = call->failed};
        recorder->on_statement(recorder->arg, &seen);
    }
    if (recorder->observer != NULL) {
        struct neap_observed observed = {.call_id = result->call_id,
                                         .row_count = call->rows,
                                         .duration_us = call->duration_us,
                                         .failed = call->failed};
        recorder->observer->settled(recorder->observer->arg, &observed);
    }
    if (recorder->durable && is_refused_whole(call, result->error))
        recorder->effect_count--;
    if (!recorder->durable)
        return;
    json_t *fields = json_object();
    neap_json_set(fields, "id", json_integer(result->call_id));
    neap_json_set(fields, "rows", json_integer(result->row_count));
    neap_json_set(fields, "us", json_integer(result->duration_us));
    if (result->error != NULL)
        neap_json_set(fields, "error", neap_json_error(result->error));
    neap_audit_add(recorder->audit, "db.statement.end", fields);
}

static void forget_calls(struct neap_recorder *recorder)
{
    for (size_t i = 0; i < recorder->call_count; i++) {
        free(recorder->calls[i].file);
        free(recorder->calls[i].text);
        free(recorder->calls[i].computed);
    }
    recorder->first_id += (int64_t)recorder->call_count;
    recorder->call_count = 0;
}

void neap_recorder_begin(struct neap_recorder *recorder, struct neap_run *run,
                         const struct neap_source *source, bool durable)
{
    forget_calls(recorder);
    recorder->source = source;
    recorder->source_file = recorder->source_at = 0;
    recorder->durable = durable;
    recorder->statement_count = 0;
    recorder->row_count = 0;
    run->gate = (struct neap_gate_sink){.record = on_record, .settle = on_settle, .sink = recorder};
}

void neap_recorder_end(struct neap_recorder *recorder, struct neap_run *run)
{
    recorder->source = NULL;
    if (run->gate.sink == recorder)
        run->gate = (struct neap_gate_sink){0};
}

static const char *or_empty(const char *text)
{
    return text == NULL ? "" : text;
}

static bool is_same(const struct neap_recorder_call *a, const struct neap_recorder_call *b)
{
    return b->line >= a->last_line && a->failed == b->failed && a->settled == b->settled &&
           a->length == b->length && strcmp(or_empty(a->computed), or_empty(b->computed)) == 0 &&
           memcmp(&a->hash, &b->hash, sizeof a->hash) == 0 &&
           strcmp(a->fingerprint, b->fingerprint) == 0 && strcmp(a->name, b->name) == 0 &&
           strcmp(or_empty(a->file), or_empty(b->file)) == 0;
}

static void append_entry(json_t *entries, const struct neap_recorder_call *call)
{
    json_t *entry = call_json(call);
    if (call->computed != NULL)
        neap_json_set(entry, "statement", neap_json_text(call->computed));
    if (call->length > TEXT_MAX) {
        char hex[NEAP_HASH_HEX_SIZE];
        neap_hash_hex(&call->hash, hex);
        neap_json_set(entry, "statement_bytes", json_integer((json_int_t)call->length));
        neap_json_set(entry, "statement_sha256", neap_json_text(hex));
    }
    if (call->count > 1)
        neap_json_set(entry, "count", json_integer(call->count));
    if (call->last_line > call->line)
        neap_json_set(entry, "last_line", json_integer(call->last_line));
    neap_json_set(entry, "rows", json_integer(call->rows));
    neap_json_set(entry, "us", json_integer(call->duration_us));
    if (call->failed)
        neap_json_set(entry, "failed", json_true());
    if (!call->settled)
        neap_json_set(entry, "unanswered", json_true());
    json_array_append_new(entries, entry);
}

static void add_event(struct neap_recorder *recorder, json_t *entries)
{
    json_t *fields = json_object();
    neap_json_set(fields, "statements", entries);
    neap_audit_add(recorder->audit, "step.statements", fields);
}

void neap_recorder_flush(struct neap_recorder *recorder)
{
    if (recorder->durable) {
        forget_calls(recorder);
        return;
    }
    json_t *entries = json_array();
    for (size_t i = 0; i < recorder->call_count;) {
        struct neap_recorder_call sum = recorder->calls[i++];
        while (i < recorder->call_count && is_same(&sum, &recorder->calls[i])) {
            sum.count += recorder->calls[i].count;
            sum.last_line = recorder->calls[i].line;
            sum.rows += recorder->calls[i].rows > 0 ? recorder->calls[i].rows : 0;
            sum.duration_us += recorder->calls[i++].duration_us;
        }
        append_entry(entries, &sum);
        if (json_array_size(entries) == ENTRIES_MAX) {
            add_event(recorder, entries);
            entries = json_array();
        }
    }
    if (json_array_size(entries) > 0)
        add_event(recorder, entries);
    else
        json_decref(entries);
    forget_calls(recorder);
}

void neap_recorder_clear(struct neap_recorder *recorder)
{
    forget_calls(recorder);
    free(recorder->calls);
    recorder->calls = NULL;
    recorder->call_capacity = 0;
}
