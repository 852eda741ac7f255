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

#define BYTEA_OID 17

/* Times are text in UTC, the same whatever TimeZone the role has. */
#define UTC(column)                                              \
    "pg_catalog.to_char(pg_catalog.timezone('UTC', " column ")," \
    " 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

#define AT UTC("h.recorded_at")
#define STEP_AT UTC("t.recorded_at")
#define NO_TEXT "null::pg_catalog.text"

#define ANNOUNCED                                                                        \
    " left join neap.attempt a on a.attempt operator(pg_catalog.=) h.attempt"            \
    " and a.id operator(pg_catalog.=) h.id and a.action operator(pg_catalog.=) h.action" \
    " and a.run_id operator(pg_catalog.=) h.run_id"

/* AccessShare on the five tables, in one snapshot: the one row of meta, the rows of
 * history (forged when no attempt was announced for it), and the migrations that have
 * unsettled steps: one that is not undone, or (what a down that stopped leaves of an
 * applied one) undone ones alone. What sorting and picking there is to do is done
 * here: the server would sort texts. */
#define SQL_LOAD(kind, announced)                                                                  \
    "select 'm', m.version::pg_catalog.int8, coalesce((select e.hash from neap.event e"            \
    " order by e.position desc limit 1), ''), m.environment, " NO_TEXT ", " NO_TEXT ", " NO_TEXT   \
    ", " NO_TEXT ", " NO_TEXT ", " NO_TEXT " from neap.meta m"                                     \
    " union all"                                                                                   \
    " select " kind ", h.seq, h.id, h.name, h.action, pg_catalog.encode(h.exact_hash, 'hex'),"     \
    " pg_catalog.encode(h.token_hash, 'hex'), h.run_id, h.actor, " AT                              \
    " from neap.history h" announced " union all"                                                  \
    " (select distinct on (t.id) case when t.state operator(pg_catalog.=) 'undone' then 'u' else " \
    "'p' end,"                                                                                     \
    " 0::pg_catalog.int8, t.id, '', '', " NO_TEXT ","                                              \
    " pg_catalog.encode(t.token_hash, 'hex'), t.run_id, " NO_TEXT ", " STEP_AT " from"             \
    " (select distinct on (s.id, s.step_index) s.id, s.state, s.token_hash, s.run_id,"             \
    " s.recorded_at from neap.step s where not s.settled"                                          \
    " order by s.id, s.step_index, s.seq desc) t"                                                  \
    " order by t.id, t.state operator(pg_catalog.=) 'undone'::pg_catalog.text,"                    \
    " t.recorded_at desc)"

static const char sql_load[] =
    SQL_LOAD("case when a.attempt is null then 'f' else 'h' end", ANNOUNCED);
/* A schema that was not upgraded yet. */
static const char sql_load_v1[] = SQL_LOAD("'h'", "");

/* The columns of sql_load and more, for every row there ever was. */
static const char sql_all[] =
    "select 'm', m.version::pg_catalog.int8, '', m.environment, " NO_TEXT ", " NO_TEXT ", " NO_TEXT
    ", " NO_TEXT ", " NO_TEXT ", " NO_TEXT ", " NO_TEXT ", " NO_TEXT ", null::pg_catalog.int8"
    " from neap.meta m"
    " union all"
    " (select 'h', h.seq, h.id, h.name, h.action, pg_catalog.encode(h.exact_hash, 'hex'),"
    " pg_catalog.encode(h.token_hash, 'hex'), h.run_id, h.actor, " AT
    ", h.reason, h.ticket, h.duration_ms from neap.history h order by h.seq)";

static const char sql_forged[] =
    "select h.seq, h.id, h.action, h.run_id, h.db_user, " AT " from neap.history h" ANNOUNCED
    " where a.attempt is null order by h.seq";

static const char sql_mark[] =
    "update neap.meta set environment = $1::pg_catalog.text where environment is null";

/* What a line is: 'm' meta (seq the version, id the head, name the environment),
 * 'h' history, 'f' history that is forged, 'p' partial, 'u' partial if applied. */
enum load_column {
    LOAD_KIND,
    LOAD_SEQ,
    LOAD_ID,
    LOAD_NAME,
    LOAD_ACTION,
    LOAD_EXACT,
    LOAD_TOKEN,
    LOAD_RUN,
    LOAD_ACTOR,
    LOAD_AT,
    LOAD_REASON, /* from here on in sql_all alone */
    LOAD_TICKET,
    LOAD_DURATION
};

/* RowExclusive on neap.history and neap.event, KEY SHARE on the lease's row. First what
 * the script may have changed in its session is put back, also for whoever has it next. */
static const char sql_record[] =
    "select neap.tidy(), neap.record($1::pg_catalog.uuid, $2::pg_catalog.bytea, "
    "$3::pg_catalog.text,"
    " $4::pg_catalog.text, $5::pg_catalog.text, $6::pg_catalog.bytea, $7::pg_catalog.bytea,"
    " $8::pg_catalog.bytea, $9::pg_catalog.text, $10::pg_catalog.text, $11::pg_catalog.text,"
    " $12::pg_catalog.text, $13::pg_catalog.int8, $14::pg_catalog.int8, $15::pg_catalog.text,"
    " $16::pg_catalog.bool, $17::pg_catalog._int8, $18::pg_catalog._text,"
    " $19::pg_catalog._text)";

static const char sql_record_events[] =
    "select neap.record_events($1::pg_catalog.uuid, $2::pg_catalog.bytea,"
    " $3::pg_catalog._int8, $4::pg_catalog._text, $5::pg_catalog._text)";

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

/* By number: "0010" after "9". */
static int compare_ids(const char *a, const char *b)
{
    a += strspn(a, "0");
    b += strspn(b, "0");
    size_t a_length = strlen(a), b_length = strlen(b);
    if (a_length != b_length)
        return a_length < b_length ? -1 : 1;
    return strcmp(a, b);
}

static int compare_rows(const void *left, const void *right)
{
    const struct neap_history_row *a = left, *b = right;
    int order = compare_ids(a->id, b->id);
    return order != 0 ? order : (a->seq > b->seq) - (a->seq < b->seq);
}

static enum neap_history_state state_of(const char *action)
{
    bool pending = strcmp(action, "undo") == 0 || strcmp(action, "repair.pending") == 0;
    return pending ? NEAP_STATE_PENDING : NEAP_STATE_APPLIED;
}

static void read_hash(const struct pg_op *op, int row, int column, struct neap_hash *out)
{
    const char *hex = pg_cell(op, row, column);
    if (hex != NULL)
        neap_hash_from_hex(hex, out);
}

static char *copy_cell(const struct pg_op *op, int row, int column)
{
    return neap_strdup(pg_cell(op, row, column));
}

static void read_row(const struct pg_op *op, int row, bool all, struct neap_history_row *out)
{
    *out = (struct neap_history_row){
        .seq = pg_cell_int(op, row, LOAD_SEQ),
        .id = copy_cell(op, row, LOAD_ID),
        .name = copy_cell(op, row, LOAD_NAME),
        .action = copy_cell(op, row, LOAD_ACTION),
        .run_id = copy_cell(op, row, LOAD_RUN),
        .actor = copy_cell(op, row, LOAD_ACTOR),
        .at = copy_cell(op, row, LOAD_AT),
        .reason = all ? copy_cell(op, row, LOAD_REASON) : NULL,
        .ticket = all ? copy_cell(op, row, LOAD_TICKET) : NULL,
        .duration_ms = all ? pg_cell_int(op, row, LOAD_DURATION) : 0,
    };
    out->forged = pg_cell(op, row, LOAD_KIND)[0] == 'f';
    out->state = state_of(out->action);
    read_hash(op, row, LOAD_EXACT, &out->exact);
    read_hash(op, row, LOAD_TOKEN, &out->token);
}

static void clear_row(struct neap_history_row *row)
{
    free(row->id);
    free(row->name);
    free(row->action);
    free(row->run_id);
    free(row->actor);
    free(row->reason);
    free(row->ticket);
    free(row->at);
}

/* "3" and "0003" are one migration: the later word holds. */
static void drop_earlier_spellings(struct neap_history *history)
{
    size_t kept = 0;
    for (size_t i = 0; i < history->count; i++) {
        struct neap_history_row row = history->rows[i];
        /* The analyzer loses the row that took the freed one's place.
         * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        if (kept > 0 && compare_ids(history->rows[kept - 1].id, row.id) == 0)
            clear_row(&history->rows[--kept]);
        history->rows[kept++] = row;
    }
    history->count = kept;
}

static bool read_meta(const struct pg_op *op, int row, struct neap_history *out,
                      struct neap_error *err)
{
    const char *head = pg_cell(op, row, LOAD_ID);
    int64_t version = pg_cell_int(op, row, LOAD_SEQ);
    out->installed = true;
    out->current = version == NEAP_SCHEMA_VERSION;
    if (strlen(head) < sizeof out->target_head)
        memcpy(out->target_head, head, strlen(head) + 1);
    out->environment = copy_cell(op, row, LOAD_NAME);
    return neap_history_check_version(version, err);
}

static bool is_kind(const struct pg_op *op, int row, char kind)
{
    return pg_cell(op, row, LOAD_KIND)[0] == kind;
}

static bool is_unsettled(const struct pg_op *op, int row)
{
    return is_kind(op, row, 'p') || is_kind(op, row, 'u');
}

/* A migration that was never recorded as a whole has no row but this. When all of its
 * steps were undone it is as if it had never begun, unless history says applied. */
static void mark_partial(const struct pg_op *op, int row, struct neap_history *out)
{
    const char *id = pg_cell(op, row, LOAD_ID);
    struct neap_history_row *found = NULL;
    for (size_t i = 0; found == NULL && i < out->count; i++)
        if (compare_ids(out->rows[i].id, id) == 0)
            found = &out->rows[i];
    if (is_kind(op, row, 'u') && (found == NULL || found->state != NEAP_STATE_APPLIED))
        return;
    if (found == NULL) {
        found = &out->rows[out->count++];
        read_row(op, row, false, found);
    }
    found->state = NEAP_STATE_PARTIAL;
    read_hash(op, row, LOAD_TOKEN, &found->token);
}

static void sort_rows(struct neap_history *history)
{
    if (history->count > 1)
        qsort(history->rows, history->count, sizeof *history->rows, compare_rows);
}

static bool read_rows(const struct pg_op *op, bool all, struct neap_history *out,
                      struct neap_error *err)
{
    int count = pg_rows(op);
    bool known = true;
    out->rows = neap_alloc((size_t)(count + 1) * sizeof *out->rows);
    for (int row = 0; known && row < count; row++) {
        if (is_kind(op, row, 'm'))
            known = read_meta(op, row, out, err);
        else if (!is_unsettled(op, row))
            read_row(op, row, all, &out->rows[out->count++]);
    }
    if (known && !out->installed) { /* a schema without its one meta row is not ours */
        neap_error_set(err, NEAP_ERR_HISTORY_VERSION, "schema neap has no version");
        neap_error_hint(err,
                        "Table neap.meta has lost its one row. Restore it, or say that the schema "
                        "is this neap's: INSERT INTO neap.meta (version, neap_version) VALUES "
                        "(%d, '%s');",
                        NEAP_SCHEMA_VERSION, NEAP_VERSION);
        return false;
    }
    if (!known || all)
        return known;
    sort_rows(out);
    drop_earlier_spellings(out);
    for (int row = 0; row < count; row++)
        if (is_unsettled(op, row))
            mark_partial(op, row, out);
    sort_rows(out);
    return true;
}

/* A table is not there: the schema is of an earlier version, or there is none. */
static bool load_earlier(struct pg_client *control, const char *sql, struct pg_op **op,
                         struct neap_error *err)
{
    int64_t version = 0;
    pg_failure_clear(control);
    return neap_history_version(control, &version, err) &&
           (version == 0 || pg_exec_text(control, sql, 0, NULL, op, err));
}

/* A target without schema neap is an answer, not an error. */
static bool load_rows(struct pg_client *control, bool all, struct neap_history *out,
                      struct neap_error *err)
{
    struct neap_error cause = {0};
    struct pg_op *op = NULL;
    *out = (struct neap_history){0};
    bool loaded = pg_exec_text(control, all ? sql_all : sql_load, 0, NULL, &op, &cause);
    if (!loaded && neap_history_is_missing(&cause)) {
        neap_error_clear(&cause);
        pg_op_free(op);
        op = NULL;
        loaded = load_earlier(control, all ? sql_all : sql_load_v1, &op, &cause);
    }
    loaded = loaded && (op == NULL || read_rows(op, all, out, &cause));
    pg_op_free(op);
    if (!loaded) {
        neap_history_explain_rights(control, &cause);
        neap_error_move(err, &cause);
    }
    neap_error_clear(&cause);
    return loaded;
}

bool neap_history_load(struct pg_client *control, struct neap_history *out, struct neap_error *err)
{
    return load_rows(control, false, out, err);
}

bool neap_history_all(struct pg_client *control, struct neap_history *out, struct neap_error *err)
{
    return load_rows(control, true, out, err);
}

bool neap_history_forged(struct pg_client *control,
                         void (*fn)(void *arg, const struct neap_history_forgery *forgery),
                         void *arg, struct neap_error *err)
{
    struct pg_op *op = NULL;
    struct neap_error cause = {0};
    bool asked = pg_exec_text(control, sql_forged, 0, NULL, &op, &cause);
    for (int row = 0; asked && row < pg_rows(op); row++) {
        struct neap_history_forgery forgery = {.seq = pg_cell_int(op, row, 0),
                                               .id = pg_cell(op, row, 1),
                                               .action = pg_cell(op, row, 2),
                                               .run_id = pg_cell(op, row, 3),
                                               .db_user = pg_cell(op, row, 4),
                                               .at = pg_cell(op, row, 5)};
        fn(arg, &forgery);
    }
    pg_op_free(op);
    if (!asked && neap_history_is_missing(&cause)) { /* before there were attempts */
        pg_failure_clear(control);
        asked = true;
    }
    if (!asked)
        neap_error_move(err, &cause);
    neap_error_clear(&cause);
    return asked;
}

const struct neap_history_row *neap_history_find(const struct neap_history *history, const char *id)
{
    size_t low = 0, high = history->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_ids(history->rows[middle].id, id);
        if (order == 0)
            return &history->rows[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

void neap_history_clear(struct neap_history *history)
{
    for (size_t i = 0; i < history->count; i++)
        clear_row(&history->rows[i]);
    free(history->rows);
    free(history->environment);
    *history = (struct neap_history){0};
}

bool neap_history_mark(struct pg_client *control, const char *environment, struct neap_error *err)
{
    return pg_exec_text(control, sql_mark, 1, &environment, NULL, err);
}

static struct pg_param bytes_param(const void *bytes, size_t length)
{
    return (struct pg_param){
        .value = bytes, .length = (int)length, .type = BYTEA_OID, .binary = true};
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
        PG_TEXT(entry->attempt->uuid),
        hash_param(&entry->attempt->secret),
        PG_TEXT(entry->id),
        PG_TEXT(entry->name),
        PG_TEXT(entry->action),
        hash_param(entry->exact),
        hash_param(entry->token),
        bytes_param(entry->bundle, entry->bundle_length),
        PG_TEXT(entry->summary),
        PG_TEXT(entry->actor),
        PG_TEXT(entry->reason),
        PG_TEXT(entry->ticket),
        PG_TEXT(duration),
        PG_TEXT(token),
        PG_TEXT(entry->xid),
        PG_TEXT(entry->settle_steps ? "true" : "false"),
        PG_TEXT(arrays[0]),
        PG_TEXT(arrays[1]),
        PG_TEXT(arrays[2]),
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
        PG_TEXT(record->entry->attempt->uuid),
        hash_param(&record->entry->attempt->secret),
        PG_TEXT(arrays[0]),
        PG_TEXT(arrays[1]),
        PG_TEXT(arrays[2]),
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
