/* SPDX-License-Identifier: MIT
 *
 * The chain of one run. Events are hashed when they are written, not when they
 * are added: each line also links to the line before it in the file, which may
 * be another process's and is known only under the journal's lock.
 */
#include "host/change/audit.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/base/buffer.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/change/audit_internal.h"

#define LAST_WORD_WAIT_S 1

/* A copy with every string redacted. New reference. */
static json_t *redacted(const json_t *value)
{
    if (json_is_string(value)) {
        char *clean = neap_redact(json_string_value(value));
        json_t *text = neap_json_text(clean);
        free(clean);
        return text;
    }
    if (json_is_array(value)) {
        json_t *copy = json_array();
        for (size_t i = 0; i < json_array_size(value); i++)
            json_array_append_new(copy, redacted(json_array_get(value, i)));
        return copy;
    }
    if (json_is_object(value)) {
        json_t *copy = json_object();
        void *at = json_object_iter((json_t *)(uintptr_t)value);
        for (; at != NULL; at = json_object_iter_next((json_t *)(uintptr_t)value, at))
            neap_json_set(copy, json_object_iter_key(at), redacted(json_object_iter_value(at)));
        return copy;
    }
    return json_copy((json_t *)(uintptr_t)value);
}

void neap_audit_push(struct neap_audit *audit, const char *event, json_t *fields)
{
    if (audit->event_count == audit->event_capacity) {
        audit->event_capacity = audit->event_capacity == 0 ? 32 : audit->event_capacity * 2;
        audit->events = neap_realloc(audit->events, audit->event_capacity * sizeof *audit->events);
    }
    struct audit_event *added = &audit->events[audit->event_count++];
    *added = (struct audit_event){.state = AUDIT_ADDED,
                                  .seq = ++audit->seq,
                                  .event = neap_strdup(event),
                                  .fields = fields == NULL ? json_object() : fields};
    neap_clock_utc(added->time);
}

void neap_audit_add(struct neap_audit *audit, const char *event, json_t *fields)
{
    json_t *clean = fields == NULL ? json_object() : redacted(fields);
    json_decref(fields);
    pthread_mutex_lock(&audit->lock);
    neap_audit_push(audit, event, clean);
    pthread_mutex_unlock(&audit->lock);
}

/* The event's bytes and hash, now that the line before it is known. */
static void hash_event(struct neap_audit *audit, struct audit_event *event, const char *file_head)
{
    if (strcmp(event->event, "run.begin") == 0)
        neap_json_set(event->fields, "journal_head", neap_json_text(file_head));
    json_t *json = json_object();
    neap_json_set(json, "data", json_incref(event->fields));
    neap_json_set(json, "event", neap_json_text(event->event));
    neap_json_set(json, "file", neap_json_text(file_head));
    neap_json_set(json, "prev", neap_json_text(audit->head));
    neap_json_set(json, "run", neap_json_text(audit->run_id));
    neap_json_set(json, "seq", json_integer(event->seq));
    neap_json_set(json, "time", neap_json_text(event->time));
    neap_json_set(json, "v", json_integer(1));
    free(event->body); /* of a try that failed: another line may be before it now */
    event->body = neap_json_canonical(json);
    json_decref(json);
    struct neap_hash hash;
    neap_hash_bytes(event->body, strlen(event->body), &hash);
    neap_hash_hex(&hash, event->hash);
    memcpy(audit->head, event->hash, sizeof audit->head);
}

static void push_signature(struct neap_audit *audit)
{
    char signature[NEAP_SIGNATURE_HEX_SIZE];
    neap_sign_head(&audit->key, audit->run_id, audit->head, signature);
    json_t *fields = json_object();
    neap_json_set(fields, "head", neap_json_text(audit->head));
    neap_json_set(fields, "key_id", neap_json_text(audit->key.id));
    neap_json_set(fields, "signature", neap_json_text(signature));
    neap_audit_push(audit, "head.signed", fields);
}

static void push_recovered(struct neap_audit *audit)
{
    json_t *torn = audit->journal.recovered;
    for (size_t i = 0; i < json_array_size(torn); i++)
        neap_audit_push(audit, "audit.recovered", json_incref(json_array_get(torn, i)));
    json_array_clear(torn);
}

static void free_event(struct audit_event *event)
{
    free(event->event);
    free(event->body);
    json_decref(event->fields);
}

/* Takes back what could not be written. */
static void unhash(struct neap_audit *audit, const char *head)
{
    memcpy(audit->head, head, sizeof audit->head);
    struct audit_event *last = &audit->events[audit->event_count - 1];
    if (strcmp(last->event, "head.signed") == 0) { /* of a hash that never was */
        free_event(last);
        audit->event_count--;
        audit->seq--;
    }
}

/* Under both locks. */
static void tell_written(const struct neap_audit *audit, const struct audit_event *event)
{
    if (audit->told == NULL)
        return;
    json_t *json = json_object();
    neap_json_set(json, "data", json_incref(event->fields));
    neap_json_set(json, "event", neap_json_text(event->event));
    neap_json_set(json, "run", neap_json_text(audit->run_id));
    neap_json_set(json, "time", neap_json_text(event->time));
    audit->told(audit->told_arg, event->hash, json);
    json_decref(json);
}

static bool write_added(struct neap_audit *audit, struct neap_error *err)
{
    if (audit->begun)
        push_recovered(audit);
    size_t first = 0;
    while (first < audit->event_count && audit->events[first].state != AUDIT_ADDED)
        first++;
    char run_head[NEAP_HASH_HEX_SIZE], file_head[NEAP_HASH_HEX_SIZE];
    memcpy(run_head, audit->head, sizeof run_head);
    memcpy(file_head, audit->journal.head, sizeof file_head);
    struct neap_buffer lines = {0};
    for (size_t i = first; i < audit->event_count; i++) {
        hash_event(audit, &audit->events[i], file_head);
        neap_journal_line(&lines, audit->events[i].hash, audit->events[i].body);
        memcpy(file_head, audit->events[i].hash, sizeof file_head);
        bool ends = strcmp(audit->events[i].event, "run.end") == 0;
        audit->ended = audit->ended || ends;
        if (ends && audit->signing && i + 1 == audit->event_count)
            push_signature(audit); /* the loop comes to it next */
    }
    bool written = lines.length == 0 ||
                   neap_journal_append(&audit->journal, lines.bytes, lines.length, file_head, err);
    neap_buffer_clear(&lines);
    if (!written)
        unhash(audit, run_head);
    for (size_t i = first; written && i < audit->event_count; i++) {
        tell_written(audit, &audit->events[i]);
        json_decref(audit->events[i].fields);
        audit->events[i].fields = NULL;
        audit->events[i].state = AUDIT_WRITTEN;
    }
    return written;
}

static bool has_added(const struct neap_audit *audit)
{
    return audit->event_count > 0 && audit->events[audit->event_count - 1].state == AUDIT_ADDED;
}

/* Under our lock. */
static bool write_file(struct neap_audit *audit, bool rotate, struct neap_error *err)
{
    if (!has_added(audit) && !rotate)
        return true;
    if (!neap_journal_lock(&audit->journal, err))
        return false;
    bool written =
        (!rotate || neap_journal_rotate(&audit->journal, err)) && write_added(audit, err);
    neap_journal_unlock(&audit->journal);
    return written;
}

bool neap_audit_write(struct neap_audit *audit, struct neap_error *err)
{
    pthread_mutex_lock(&audit->lock);
    bool written = write_file(audit, false, err);
    pthread_mutex_unlock(&audit->lock);
    return written;
}

bool neap_audit_sync_begin(struct neap_audit *audit, struct neap_error *err)
{
    struct neap_journal *journal = &audit->journal;
    pthread_mutex_lock(&audit->lock);
    bool begun = write_file(audit, false, err);
    if (begun && journal->dirty && neap_audit_syncer_begin(&audit->syncer, journal->fd))
        journal->dirty = false;
    else if (begun)
        begun = neap_journal_sync(journal, err);
    pthread_mutex_unlock(&audit->lock);
    return begun;
}

bool neap_audit_sync_end(struct neap_audit *audit, struct neap_error *err)
{
    int errnum = neap_audit_syncer_end(audit->syncer); /* without the lock: it may take long */
    pthread_mutex_lock(&audit->lock);
    bool synced = neap_journal_synced(&audit->journal, errnum, err);
    pthread_mutex_unlock(&audit->lock);
    return synced;
}

bool neap_audit_sync(struct neap_audit *audit, struct neap_error *err)
{
    if (audit->syncer != NULL && !neap_audit_sync_end(audit, err))
        return false;
    pthread_mutex_lock(&audit->lock);
    bool synced = write_file(audit, false, err) && neap_journal_sync(&audit->journal, err);
    pthread_mutex_unlock(&audit->lock);
    return synced;
}

bool neap_audit_begin(struct neap_audit *audit, const char *target_head, json_t *fields,
                      struct neap_error *err)
{
    json_t *clean = fields == NULL ? json_object() : redacted(fields);
    json_decref(fields);
    pthread_mutex_lock(&audit->lock);
    neap_json_set(clean, "target_head", neap_json_text(target_head == NULL ? "" : target_head));
    neap_json_set(clean, "journal_id", neap_json_text(audit->journal.id));
    neap_audit_push(audit, "run.begin", clean);
    audit->begun = true;
    bool begun = write_file(audit, true, err) && neap_journal_sync(&audit->journal, err);
    pthread_mutex_unlock(&audit->lock);
    return begun;
}

void neap_audit_head(const struct neap_audit *audit, char text[NEAP_HASH_HEX_SIZE])
{
    memcpy(text, audit->head, NEAP_HASH_HEX_SIZE);
}

void neap_audit_last_word(struct neap_audit *audit, const char *event, const char *reason)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LAST_WORD_WAIT_S;
    /* The main thread may hang in fsync with the lock held: then it goes unsaid. */
    if (pthread_mutex_timedlock(&audit->lock, &until) != 0)
        return;
    char *clean = neap_redact(reason);
    json_t *fields = json_object();
    neap_json_set(fields, "reason", neap_json_text(clean));
    free(clean);
    neap_audit_push(audit, event, fields);
    if (write_file(audit, false, NULL))
        neap_journal_sync(&audit->journal, NULL);
    pthread_mutex_unlock(&audit->lock);
}

bool neap_audit_open(const struct neap_audit_opts *opts, struct neap_audit **out,
                     struct neap_error *err)
{
    struct neap_audit *audit = neap_alloc(sizeof *audit);
    int64_t segment_bytes =
        opts->segment_bytes > 0 ? opts->segment_bytes : NEAP_JOURNAL_SEGMENT_BYTES;
    audit->signing = opts->signing_key != NULL;
    if ((audit->signing && !neap_sign_load_secret(opts->signing_key, &audit->key, err)) ||
        !neap_journal_open(opts->state_dir, opts->identity, segment_bytes, &audit->journal, err)) {
        neap_sign_clear(&audit->key);
        free(audit);
        return false;
    }
    audit->state_dir = neap_strdup(opts->state_dir);
    audit->identity = neap_strdup(opts->identity);
    audit->run_id = neap_strdup(opts->run_id);
    audit->told = opts->written;
    audit->told_arg = opts->arg;
    memcpy(audit->head, NEAP_JOURNAL_ZERO, sizeof audit->head);
    pthread_mutex_init(&audit->lock, NULL);
    *out = audit;
    return true;
}

/* Says in the journal alone that the target has all of it: so that a target
 * whose tail was cut off is told from one that was never sent it. */
static void close_chain(struct neap_audit *audit)
{
    if (audit->ended && audit->event_count == 0 && audit->copied_seq > 0) {
        json_t *fields = json_object();
        neap_json_set(fields, "seq", json_integer(audit->copied_seq));
        neap_audit_push(audit, "audit.copied", fields);
    }
    write_file(audit, false, NULL);
}

void neap_audit_close(struct neap_audit *audit)
{
    if (audit == NULL)
        return;
    if (audit->begun)
        close_chain(audit);
    for (size_t i = 0; i < audit->event_count; i++)
        free_event(&audit->events[i]);
    free(audit->events);
    neap_audit_syncer_free(audit->syncer);
    neap_journal_close(&audit->journal);
    neap_sign_clear(&audit->key);
    pthread_mutex_destroy(&audit->lock);
    free(audit->state_dir);
    free(audit->identity);
    free(audit->run_id);
    free(audit);
}
