/* SPDX-License-Identifier: MIT
 *
 * The checks of one record. After a fault the chain goes on from what is there,
 * so that one removed record is one or two findings and not one for each that
 * follows. What a record says of itself is believed only while its hash holds.
 */
#include "host/change/audit_chain.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/change/audit_journal.h"

#define HASH_CHARS (NEAP_HASH_HEX_SIZE - 1)
#define GAP_MAX 1000000   /* a record further ahead is a forged one */
#define FINDING_MAX 10000 /* a file of noise must not fill the memory */

void neap_chain_finding(struct neap_audit_report *report, const char *run_id, int64_t seq,
                        const char *where, const char *format, ...)
{
    if (report->finding_count == FINDING_MAX)
        return;
    va_list args;
    struct neap_buffer message = {0};
    va_start(args, format);
    neap_buffer_add_vformat(&message, format, args);
    va_end(args);
    report->findings =
        neap_realloc(report->findings, (report->finding_count + 1) * sizeof *report->findings);
    report->findings[report->finding_count++] =
        (struct neap_audit_finding){.run_id = neap_strdup(run_id == NULL ? "" : run_id),
                                    .seq = seq,
                                    .where = neap_strdup(where),
                                    .message = neap_buffer_take(&message)};
}

void neap_chain_note(struct neap_audit_report *report, const char *format, ...)
{
    va_list args;
    struct neap_buffer message = {0};
    va_start(args, format);
    neap_buffer_add_vformat(&message, format, args);
    va_end(args);
    report->notes = neap_realloc(report->notes, (report->note_count + 1) * sizeof *report->notes);
    report->notes[report->note_count++] = neap_buffer_take(&message);
}

void neap_chain_init(struct chain *chain, const char *where)
{
    *chain = (struct chain){
        .where = where, .index = json_object(), .hashes = json_object(), .journals = json_object()};
}

void neap_chain_clear(struct chain *chain)
{
    for (size_t i = 0; i < chain->run_count; i++) {
        struct chain_run *run = chain->runs[i];
        free(run->id);
        free(run->hashes);
        free(run->journal_id);
        free(run->target_head);
        free(run->kept);
        free(run->address);
        free(run);
    }
    free(chain->runs);
    json_decref(chain->index);
    json_decref(chain->hashes);
    json_decref(chain->journals);
    *chain = (struct chain){0};
}

struct chain_run *neap_chain_find(const struct chain *chain, const char *run_id)
{
    const json_t *at = json_object_get(chain->index, run_id);
    return at == NULL ? NULL : chain->runs[json_integer_value(at)];
}

bool neap_chain_has(const struct chain_run *run, int64_t seq)
{
    static const struct neap_hash zero;
    return run != NULL && seq >= 1 && seq <= run->last_seq &&
           memcmp(&run->hashes[seq - 1], &zero, sizeof zero) != 0;
}

static struct chain_run *find_or_add(struct chain *chain, const char *run_id)
{
    struct chain_run *run = neap_chain_find(chain, run_id);
    if (run != NULL)
        return run;
    if (chain->run_count == chain->run_capacity) {
        chain->run_capacity = chain->run_capacity == 0 ? 16 : chain->run_capacity * 2;
        chain->runs = neap_realloc(chain->runs, chain->run_capacity * sizeof(struct chain_run *));
    }
    run = neap_alloc(sizeof *run);
    run->id = neap_strdup(run_id);
    memcpy(run->last_hash, NEAP_JOURNAL_ZERO, sizeof run->last_hash);
    neap_json_set(chain->index, run_id, json_integer((json_int_t)chain->run_count));
    chain->runs[chain->run_count++] = run;
    return run;
}

static void keep_hash(struct chain_run *run, int64_t seq, const char hex[NEAP_HASH_HEX_SIZE])
{
    size_t needed = (size_t)seq;
    if (needed > run->capacity) {
        size_t capacity = needed < 64 ? 64 : needed * 2;
        run->hashes = neap_realloc(run->hashes, capacity * sizeof *run->hashes);
        memset(run->hashes + run->capacity, 0, (capacity - run->capacity) * sizeof *run->hashes);
        run->capacity = capacity;
    }
    neap_hash_from_hex(hex, &run->hashes[seq - 1]);
    run->last_seq = seq;
    memcpy(run->last_hash, hex, NEAP_HASH_HEX_SIZE);
}

/* The fields of a parsed body. */
struct fields {
    const char *run, *prev, *file, *event;
    int64_t seq;
    const json_t *data;
};

static bool read_fields(const json_t *json, struct fields *out)
{
    *out = (struct fields){
        .run = json_string_value(json_object_get(json, "run")),
        .prev = json_string_value(json_object_get(json, "prev")),
        .file = json_string_value(json_object_get(json, "file")),
        .event = json_string_value(json_object_get(json, "event")),
        .seq = json_integer_value(json_object_get(json, "seq")),
        .data = json_object_get(json, "data"),
    };
    return json_integer_value(json_object_get(json, "v")) == 1 && out->run != NULL &&
           out->prev != NULL && out->file != NULL && out->event != NULL && out->seq > 0 &&
           json_is_object(out->data);
}

/* Is it the next one of its run? False: it must not be kept. */
static bool check_link(struct chain_check *check, const struct chain *chain,
                       const struct chain_run *run, const struct fields *fields, bool holds)
{
    struct neap_audit_report *report = check->report;
    if (fields->seq == run->last_seq + 1) {
        if (holds && strcmp(fields->prev, run->last_hash) != 0)
            neap_chain_finding(report, run->id, fields->seq, chain->where,
                               "the record does not follow the one before it: record %lld was "
                               "replaced",
                               (long long)run->last_seq);
        return true;
    }
    if (!holds)
        return false;
    if (fields->seq <= run->last_seq || fields->seq > run->last_seq + GAP_MAX) {
        neap_chain_finding(report, run->id, fields->seq, chain->where,
                           "the record stands after record %lld: records were swapped or inserted",
                           (long long)run->last_seq);
        return false;
    }
    if (fields->seq - 1 == run->last_seq + 1)
        neap_chain_finding(report, run->id, fields->seq - 1, chain->where, "the record is missing");
    else
        neap_chain_finding(report, run->id, run->last_seq + 1, chain->where,
                           "records %lld to %lld are missing", (long long)run->last_seq + 1,
                           (long long)fields->seq - 1);
    return true;
}

static void check_signature(struct chain_check *check, struct chain *chain, struct chain_run *run,
                            const struct fields *fields)
{
    const char *head = json_string_value(json_object_get(fields->data, "head"));
    const char *signature = json_string_value(json_object_get(fields->data, "signature"));
    const char *key_id = json_string_value(json_object_get(fields->data, "key_id"));
    run->is_signed = true;
    check->any_signed = true;
    const char *fault = NULL;
    if (head == NULL || signature == NULL || key_id == NULL || strcmp(head, fields->prev) != 0)
        fault = "the signature is not of the record before it";
    else if (check->key != NULL && strcmp(key_id, check->key->id) != 0)
        fault = "the head is signed with another key";
    else if (check->key != NULL && !neap_sign_check(check->key, run->id, head, signature))
        fault = "the signature does not hold";
    if (fault != NULL)
        neap_chain_finding(check->report, run->id, fields->seq, "signature", "%s (%s)", fault,
                           chain->where);
}

static void keep_begin(struct chain_check *check, const struct chain *chain, struct chain_run *run,
                       const struct fields *fields)
{
    const char *journal_id = json_string_value(json_object_get(fields->data, "journal_id"));
    const char *target_head = json_string_value(json_object_get(fields->data, "target_head"));
    const char *journal_head = json_string_value(json_object_get(fields->data, "journal_head"));
    free(run->journal_id);
    free(run->target_head);
    free(run->address);
    run->address = neap_strdup(json_string_value(json_object_get(fields->data, "address")));
    run->journal_id = neap_strdup(journal_id);
    run->target_head = neap_strdup(target_head);
    if (journal_head == NULL || strcmp(journal_head, fields->file) != 0)
        neap_chain_finding(check->report, run->id, fields->seq, chain->where,
                           "the run began after another head than the line before it");
}

static void mark_copied(struct chain *chain, const char *run_id, int64_t seq)
{
    struct chain_run *run = run_id == NULL ? NULL : neap_chain_find(chain, run_id);
    if (run != NULL && seq > run->copied_seq)
        run->copied_seq = seq;
}

static void mark_backfilled(struct chain *chain, const json_t *data)
{
    const json_t *runs = json_object_get(data, "runs");
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *run = json_array_get(runs, i);
        mark_copied(chain, json_string_value(json_object_get(run, "run")),
                    json_integer_value(json_object_get(run, "seq")));
    }
}

/* What this run found in the target when it began, is not in the one that it restored. */
static void keep_swap(struct chain_run *run, const json_t *data)
{
    const char *kept = json_string_value(json_object_get(data, "kept"));
    if (!json_is_true(json_object_get(data, "ok")))
        return;
    free(run->kept);
    run->kept = neap_strdup(kept == NULL ? "" : kept);
}

/* What some events mean to the chain. */
static void keep_event(struct chain_check *check, struct chain *chain, struct chain_run *run,
                       const struct fields *fields)
{
    bool begins = strcmp(fields->event, "run.begin") == 0;
    if (begins && fields->seq == 1)
        keep_begin(check, chain, run, fields);
    else if (begins || (fields->seq == 1 && strcmp(fields->event, "journal.begin") != 0))
        neap_chain_finding(check->report, run->id, fields->seq, chain->where,
                           "a run has run.begin first and once");
    if (strcmp(fields->event, "run.end") == 0)
        run->ended = true;
    else if (strcmp(fields->event, "head.signed") == 0)
        check_signature(check, chain, run, fields);
    else if (strcmp(fields->event, "audit.backfilled") == 0)
        mark_backfilled(chain, fields->data);
    else if (strcmp(fields->event, "restore.swapped") == 0)
        keep_swap(run, fields->data);
    run->local_count = 0;
    if (strcmp(fields->event, "audit.copied") == 0) {
        run->local_count = 1;
        mark_copied(chain, run->id, json_integer_value(json_object_get(fields->data, "seq")));
    }
}

/* What only the journal has: the chain of lines, and what begins a segment. */
static void check_line(struct chain_check *check, struct chain *chain,
                       const struct chain_record *record, const struct fields *fields)
{
    const char *expected = chain->head[0] == '\0' ? NEAP_JOURNAL_ZERO : chain->head;
    if (strcmp(fields->file, expected) != 0)
        neap_chain_finding(check->report, fields->run, fields->seq, chain->where,
                           "the line before this one (%s) was removed, changed or inserted",
                           record->place);
    bool begins = strcmp(fields->event, "journal.begin") == 0;
    if (begins != record->first_line || (begins && fields->seq != record->segment))
        neap_chain_finding(check->report, fields->run, fields->seq, chain->where,
                           "%s: the file does not begin with its journal.begin", record->place);
    const char *id = json_string_value(json_object_get(fields->data, "journal_id"));
    if (begins && id != NULL)
        neap_json_set(chain->journals, id, json_true());
}

static void check_columns(struct chain_check *check, const struct chain *chain,
                          const struct chain_record *record, const struct fields *fields)
{
    if (strcmp(fields->run, record->run_id) != 0 || fields->seq != record->seq)
        neap_chain_finding(check->report, record->run_id, record->seq, chain->where,
                           "the row holds record %lld of run %s", (long long)fields->seq,
                           fields->run);
}

/* The record's hash against its bytes. */
static bool check_hash(struct chain_check *check, const struct chain *chain,
                       const struct chain_record *record, const struct fields *fields)
{
    struct neap_hash hash;
    char hex[NEAP_HASH_HEX_SIZE];
    neap_hash_bytes(record->body, record->body_length, &hash);
    neap_hash_hex(&hash, hex);
    if (memcmp(hex, record->hash, HASH_CHARS) == 0)
        return true;
    const char *run = record->run_id != NULL ? record->run_id : fields->run;
    neap_chain_finding(check->report, run, record->run_id != NULL ? record->seq : fields->seq,
                       chain->where,
                       "the record was changed (%s): its hash is %.12s… and not %.12s…",
                       record->place, hex, record->hash);
    return false;
}

void neap_chain_record(struct chain_check *check, struct chain *chain,
                       const struct chain_record *record)
{
    char hex[NEAP_HASH_HEX_SIZE] = "";
    struct neap_hash parsed;
    struct fields fields = {0};
    memcpy(hex, record->hash, HASH_CHARS);
    chain->event_count++;
    json_t *json = json_loadb(record->body, record->body_length, JSON_REJECT_DUPLICATES, NULL);
    bool readable = read_fields(json, &fields) && neap_hash_from_hex(hex, &parsed);
    bool holds = check_hash(check, chain, record, &fields);
    if (holds && !readable)
        neap_chain_finding(check->report, record->run_id, record->seq, chain->where,
                           "%s: the record is not one of neap's", record->place);
    if (readable && holds && record->run_id == NULL)
        check_line(check, chain, record, &fields);
    if (readable && holds && record->run_id != NULL)
        check_columns(check, chain, record, &fields);
    struct chain_run *run = !readable ? NULL
                            : holds   ? find_or_add(chain, fields.run)
                                      : neap_chain_find(chain, fields.run);
    if (run != NULL && check_link(check, chain, run, &fields, holds)) {
        keep_hash(run, fields.seq, hex);
        keep_event(check, chain, run, &fields);
    }
    memcpy(chain->head, hex, sizeof hex);
    neap_json_set(chain->hashes, hex, json_true());
    json_decref(json);
}
