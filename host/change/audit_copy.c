/* SPDX-License-Identifier: MIT
 *
 * The target's copy of the chain: neap.event. Bodies are stored as text, byte
 * for byte what was hashed. One statement carries all pending events, as arrays,
 * so that copying costs no round trip of its own.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/change/audit_internal.h"

#define BATCH_EVENTS 1000
#define BATCH_BYTES ((size_t)1024 * 1024)
#define BACKFILL_RUNS 200
#define BACKFILL_TAIL_BYTES (8LL * 1024 * 1024)
#define BODY_AT NEAP_HASH_HEX_SIZE

/* neap.append_only() is made by the history's schema, before these. */
const char *const neap_audit_schema_sql[] = {
    "create table neap.event ("
    "\n  position pg_catalog.int8 generated always as identity unique,"
    "\n  run_id pg_catalog.text not null,"
    "\n  seq pg_catalog.int8 not null,"
    "\n  hash pg_catalog.text not null,"
    "\n  body pg_catalog.text not null,"
    "\n  primary key (run_id, seq))",
    "create trigger append_only before update or delete or truncate on neap.event"
    " for each statement execute function neap.append_only()",
    NULL,
};

/* Takes RowExclusive on neap.event. Positions follow the order of the arrays. */
static const char sql_copy[] =
    "insert into neap.event (run_id, seq, hash, body)"
    " select e.run_id, e.seq, e.hash, e.body"
    " from rows from (pg_catalog.unnest($1::pg_catalog._text),"
    " pg_catalog.unnest($2::pg_catalog._int8), pg_catalog.unnest($3::pg_catalog._text),"
    " pg_catalog.unnest($4::pg_catalog._text)) with ordinality"
    " as e (run_id, seq, hash, body, n)"
    " order by e.n"
    " on conflict (run_id, seq) do nothing";

static const char sql_copied[] =
    "select e.run_id, pg_catalog.max(e.seq) from neap.event e"
    " where e.run_id operator(pg_catalog.=) any ($1::pg_catalog._text) group by e.run_id";

/* Four columns as PostgreSQL array literals. */
struct batch {
    struct neap_buffer columns[4];
    size_t count;
};

static void add_element(struct neap_buffer *column, const char *text, size_t length)
{
    neap_buffer_add_text(column, column->length == 0 ? "{\"" : ",\"");
    for (size_t from = 0, i = 0; i <= length; i++) {
        if (i < length && text[i] != '"' && text[i] != '\\')
            continue;
        neap_buffer_add(column, text + from, i - from);
        if (i < length)
            neap_buffer_add_char(column, '\\');
        from = i;
    }
    neap_buffer_add_char(column, '"');
}

static void batch_add(struct batch *batch, const char *run, size_t run_length, int64_t seq,
                      const char *hash, const char *body, size_t body_length)
{
    add_element(&batch->columns[0], run, run_length);
    neap_buffer_add_format(&batch->columns[1], "%s%lld", batch->count == 0 ? "{" : ",",
                           (long long)seq);
    add_element(&batch->columns[2], hash, NEAP_HASH_HEX_SIZE - 1);
    add_element(&batch->columns[3], body, body_length);
    batch->count++;
}

static bool is_full(const struct batch *batch)
{
    return batch->count >= BATCH_EVENTS || batch->columns[3].length >= BATCH_BYTES;
}

static void batch_clear(struct batch *batch)
{
    for (size_t i = 0; i < 4; i++)
        neap_buffer_clear(&batch->columns[i]);
    batch->count = 0;
}

/* Its columns as array literals; it can only be cleared afterwards. */
static void batch_end(struct batch *batch, const char *params[4])
{
    for (size_t i = 0; i < 4; i++) {
        neap_buffer_add_text(&batch->columns[i], batch->count == 0 ? "{}" : "}");
        params[i] = neap_buffer_text(&batch->columns[i]);
    }
}

/* Sends and empties it; waits when `wait`. */
static bool batch_send(struct batch *batch, struct pg_client *client, bool wait,
                       struct neap_error *err)
{
    if (batch->count == 0)
        return true;
    const char *params[4];
    batch_end(batch, params);
    bool sent = wait ? pg_exec_text(client, sql_copy, 4, params, NULL, err)
                     : pg_send_text(client, sql_copy, 4, params, err);
    batch_clear(batch);
    return sent;
}

/* Moves written events into the batch until it is full or (false) there are none. */
static bool gather_batch(struct neap_audit *audit, struct batch *batch, size_t *next)
{
    while (*next < audit->event_count && !is_full(batch)) {
        struct audit_event *event = &audit->events[(*next)++];
        if (event->state != AUDIT_WRITTEN)
            continue;
        batch_add(batch, audit->run_id, strlen(audit->run_id), event->seq, event->hash, event->body,
                  strlen(event->body));
        event->state = AUDIT_COPYING;
    }
    return *next < audit->event_count;
}

bool neap_audit_carry(struct neap_audit *audit, const struct neap_audit_carrier *carrier,
                      struct neap_error *err)
{
    struct batch batch = {0};
    const char *params[4];
    size_t next = 0;
    bool sent = true, more = true;
    if (audit != NULL)
        pthread_mutex_lock(&audit->lock);
    while (sent && more) {
        more = audit != NULL && gather_batch(audit, &batch, &next);
        batch_end(&batch, params);
        sent = carrier->send(carrier->arg, &params[1], !more, err);
        batch_clear(&batch);
    }
    if (audit != NULL)
        pthread_mutex_unlock(&audit->lock);
    if (!sent && audit != NULL)
        neap_audit_copied(audit, false);
    return sent;
}

bool neap_audit_copy(struct neap_audit *audit, struct pg_client *client, struct neap_error *err)
{
    struct batch batch = {0};
    size_t next = 0;
    bool sent = true, more = true;
    pthread_mutex_lock(&audit->lock);
    while (sent && more) {
        more = gather_batch(audit, &batch, &next);
        sent = batch_send(&batch, client, false, err);
    }
    pthread_mutex_unlock(&audit->lock);
    batch_clear(&batch);
    if (!sent)
        neap_audit_copied(audit, false);
    return sent;
}

void neap_audit_copied(struct neap_audit *audit, bool kept)
{
    pthread_mutex_lock(&audit->lock);
    size_t left = 0;
    for (size_t i = 0; i < audit->event_count; i++) {
        struct audit_event event = audit->events[i];
        if (event.state == AUDIT_COPYING && kept) {
            audit->copied_seq = event.seq;
            free(event.event);
            free(event.body);
            json_decref(event.fields);
            continue;
        }
        if (event.state == AUDIT_COPYING)
            event.state = AUDIT_WRITTEN;
        audit->events[left++] = event;
    }
    audit->event_count = left;
    pthread_mutex_unlock(&audit->lock);
}

/* One earlier run of this journal. */
struct past_run {
    char *run_id;
    int64_t first;  /* first one that was read; the run may have begun before it */
    int64_t seq;    /* last one in the journal */
    int64_t copied; /* last one in the target */
    bool settled;   /* the journal says that the target has all of it */
};

struct backfill {
    const char *own_run;
    struct past_run *runs;
    size_t count, capacity;
    struct pg_client *client;
    struct batch batch;
    int copied;
};

static struct past_run *find_run(struct backfill *fill, const char *run, size_t length)
{
    for (size_t i = fill->count; i-- > 0;) {
        struct past_run *past = &fill->runs[i];
        if (strncmp(past->run_id, run, length) == 0 && past->run_id[length] == '\0')
            return past;
    }
    return NULL;
}

static void forget_first(struct backfill *fill)
{
    free(fill->runs[0].run_id);
    memmove(fill->runs, fill->runs + 1, --fill->count * sizeof *fill->runs);
}

static struct past_run *add_run(struct backfill *fill, const char *run, size_t length)
{
    if (fill->count == BACKFILL_RUNS)
        forget_first(fill);
    if (fill->count == fill->capacity) {
        fill->capacity = fill->capacity == 0 ? 16 : fill->capacity * 2;
        fill->runs = neap_realloc(fill->runs, fill->capacity * sizeof *fill->runs);
    }
    struct past_run *past = &fill->runs[fill->count++];
    *past = (struct past_run){.run_id = neap_strndup(run, length)};
    return past;
}

static bool is_local_event(const struct neap_journal_line *line)
{
    static const char mark[] = ",\"event\":\"audit.copied\",\"file\":\"";
    return memmem(line->bytes, line->length, mark, sizeof mark - 1) != NULL;
}

/* First pass: which runs there are. Lines that do not parse are verify's. */
static bool on_run_line(void *arg, const struct neap_journal_line *line, struct neap_error *err)
{
    struct backfill *fill = arg;
    const char *run;
    size_t length;
    int64_t seq;
    (void)err;
    if (!line->complete || !neap_journal_run_seq(line->bytes, line->length, &run, &length, &seq))
        return true;
    bool own = strncmp(run, fill->own_run, length) == 0 && fill->own_run[length] == '\0';
    if (own || (length == strlen(NEAP_JOURNAL_RUN) && memcmp(run, NEAP_JOURNAL_RUN, length) == 0))
        return true;
    struct past_run *past = find_run(fill, run, length);
    if (past == NULL)
        past = add_run(fill, run, length);
    if (past->first == 0)
        past->first = seq;
    if (is_local_event(line))
        past->settled = true;
    else if (seq > past->seq)
        past->seq = seq;
    return true;
}

/* Second pass: what the target lacks. A line that was changed stays here. */
static bool on_missing_line(void *arg, const struct neap_journal_line *line, struct neap_error *err)
{
    struct backfill *fill = arg;
    const char *run;
    size_t length;
    int64_t seq;
    if (!line->complete || !neap_journal_run_seq(line->bytes, line->length, &run, &length, &seq))
        return true;
    const struct past_run *past = find_run(fill, run, length);
    if (past == NULL || past->settled || seq <= past->copied || is_local_event(line) ||
        !neap_journal_is_whole(line->bytes, line->length))
        return true;
    batch_add(&fill->batch, run, length, seq, line->bytes, line->bytes + BODY_AT,
              line->length - BODY_AT);
    fill->copied++;
    return !is_full(&fill->batch) || batch_send(&fill->batch, fill->client, true, err);
}

/* Asks how far the target has the runs that are not settled: one at least. */
static bool ask_copied(struct backfill *fill, struct neap_error *err)
{
    struct neap_buffer ids = {0};
    for (size_t i = 0; i < fill->count; i++)
        if (!fill->runs[i].settled)
            add_element(&ids, fill->runs[i].run_id, strlen(fill->runs[i].run_id));
    neap_buffer_add_char(&ids, '}');
    const char *params[] = {neap_buffer_text(&ids)};
    struct pg_op *op = NULL;
    bool asked = pg_exec_text(fill->client, sql_copied, 1, params, &op, err);
    for (int row = 0; asked && row < pg_rows(op); row++) {
        const char *run = pg_cell(op, row, 0);
        struct past_run *past = find_run(fill, run, strlen(run));
        if (past != NULL)
            past->copied = pg_cell_int(op, row, 1);
    }
    pg_op_free(op);
    neap_buffer_clear(&ids);
    return asked;
}

/* Runs that need nothing are settled; true when one is left. */
static bool is_needed(struct backfill *fill)
{
    bool needed = false;
    for (size_t i = 0; i < fill->count; i++) {
        struct past_run *past = &fill->runs[i];
        past->settled = past->settled || past->copied >= past->seq;
        needed = needed || !past->settled;
    }
    return needed;
}

/* Does one that is left begin before what was read? Without its beginning its copy
 * would look tampered with. */
static bool is_cut(const struct backfill *fill)
{
    for (size_t i = 0; i < fill->count; i++)
        if (!fill->runs[i].settled && fill->runs[i].first > fill->runs[i].copied + 1)
            return true;
    return false;
}

static void record_backfill(struct neap_audit *audit, const struct backfill *fill)
{
    json_t *fields = json_object(), *runs = json_array();
    for (size_t i = 0; i < fill->count; i++) {
        if (fill->runs[i].settled)
            continue;
        json_t *run = json_object();
        neap_json_set(run, "run", neap_json_text(fill->runs[i].run_id));
        neap_json_set(run, "seq", json_integer(fill->runs[i].seq));
        json_array_append_new(runs, run);
    }
    neap_json_set(fields, "runs", runs);
    neap_json_set(fields, "events", json_integer(fill->copied));
    neap_audit_add(audit, "audit.backfilled", fields);
}

bool neap_audit_backfill(struct neap_audit *audit, struct pg_client *control, int *count,
                         struct neap_error *err)
{
    struct backfill fill = {.own_run = audit->run_id, .client = control};
    struct neap_journal_reader reader = {
        .line = on_run_line, .arg = &fill, .tail_bytes = BACKFILL_TAIL_BYTES};
    bool filled = neap_journal_read(audit->state_dir, audit->identity, &reader, err);
    if (filled && is_needed(&fill))
        filled = ask_copied(&fill, err);
    if (filled && is_needed(&fill)) {
        reader.line = on_missing_line;
        if (is_cut(&fill))
            reader.tail_bytes = 0;
        filled = neap_journal_read(audit->state_dir, audit->identity, &reader, err) &&
                 batch_send(&fill.batch, control, true, err);
        if (filled && fill.copied > 0)
            record_backfill(audit, &fill);
    }
    if (count != NULL)
        *count = filled ? fill.copied : 0;
    for (size_t i = 0; i < fill.count; i++)
        free(fill.runs[i].run_id);
    free(fill.runs);
    batch_clear(&fill.batch);
    return filled;
}
