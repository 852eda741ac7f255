/* SPDX-License-Identifier: MIT
 *
 * Reading neap.history: every command begins with it, so the server does no more than
 * scan and join, cells come in binary form, and rows point into the answer. What
 * sorting and picking there is to do is done here: a new session looks up each
 * operator that it has not met, and would sort texts.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/change/history.h"

#define EPOCH_US 946684800000000 /* PostgreSQL counts from 2000 */

/* One of the columns that say whether the host announced the row; the others of the
 * attempt are compared for it, and not joined on: that would hash texts. */
#define ANNOUNCED                                                                   \
    "a.id operator(pg_catalog.=) h.id and a.action operator(pg_catalog.=) h.action" \
    " and a.run_id operator(pg_catalog.=) h.run_id"
#define ATTEMPT " left join neap.attempt a on a.attempt operator(pg_catalog.=) h.attempt"

#define NO_TEXT "null::pg_catalog.text"
#define NO_BYTES "null::pg_catalog.bytea"

/* AccessShare on the five tables, in one snapshot: the one row of meta, the rows of
 * history, and of the steps that are not settled. */
#define SQL_LOAD(announced, attempt)                                                               \
    "select 'm', m.version::pg_catalog.int8, coalesce((select e.hash from neap.event e"            \
    " order by e.position desc limit 1), ''), m.environment, " NO_TEXT ", " NO_BYTES ", " NO_BYTES \
    ", " NO_TEXT ", " NO_TEXT ", null::pg_catalog.timestamptz,"                                    \
    " null::pg_catalog.bool, null::pg_catalog.int4 from neap.meta m"                               \
    " union all"                                                                                   \
    " select 'h', h.seq, h.id, h.name, h.action, h.exact_hash, h.token_hash, h.run_id,"            \
    " h.actor, h.recorded_at, " announced ", null from neap.history h" attempt " union all"        \
    " select 's', s.seq, s.id, '', s.state, null, s.token_hash, s.run_id, null,"                   \
    " s.recorded_at, null, s.step_index from neap.step s where not s.settled"

static const char sql_load[] = SQL_LOAD(ANNOUNCED, ATTEMPT);
/* A schema that was not upgraded yet. */
static const char sql_load_v1[] = SQL_LOAD("true", "");

/* The columns of sql_load and more, for every row there ever was. */
static const char sql_all[] =
    "select 'm', m.version::pg_catalog.int8, '', m.environment, " NO_TEXT ", " NO_BYTES
    ", " NO_BYTES ", " NO_TEXT ", " NO_TEXT ", null::pg_catalog.timestamptz, true,"
    " null::pg_catalog.int4, " NO_TEXT ", " NO_TEXT ", null::pg_catalog.int8 from neap.meta m"
    " union all"
    " (select 'h', h.seq, h.id, h.name, h.action, h.exact_hash, h.token_hash, h.run_id,"
    " h.actor, h.recorded_at, true, null, h.reason, h.ticket, h.duration_ms"
    " from neap.history h order by h.seq)";

static const char sql_forged[] = "select h.seq, h.id, h.action, h.run_id, h.db_user,"
                                 " pg_catalog.to_char(pg_catalog.timezone('UTC', h.recorded_at),"
                                 " 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') from neap.history h" ATTEMPT
                                 " where (" ANNOUNCED ") is not true order by h.seq";

/* What a line is: 'm' meta (seq the version, id the head, name the environment),
 * 'h' history, 's' the state of a step (action). */
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
    LOAD_ANNOUNCED,
    LOAD_STEP,
    LOAD_REASON, /* from here on in sql_all alone */
    LOAD_TICKET,
    LOAD_DURATION
};

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
    size_t length;
    const char *bytes = pg_cell_bytes(op, row, column, &length);
    if (bytes != NULL && length == sizeof out->bytes)
        memcpy(out->bytes, bytes, length);
}

/* 'infinity' is the largest number there is. */
static int64_t read_moment(const struct pg_op *op, int row)
{
    int64_t at_us = pg_cell_number(op, row, LOAD_AT);
    return at_us > INT64_MAX - EPOCH_US ? INT64_MAX : at_us + EPOCH_US;
}

static void read_row(const struct pg_op *op, int row, bool all, struct neap_history_row *out)
{
    *out = (struct neap_history_row){
        .seq = pg_cell_number(op, row, LOAD_SEQ),
        .id = pg_cell(op, row, LOAD_ID),
        .name = pg_cell(op, row, LOAD_NAME),
        .action = pg_cell(op, row, LOAD_ACTION),
        .run_id = pg_cell(op, row, LOAD_RUN),
        .actor = pg_cell(op, row, LOAD_ACTOR),
        .at_us = read_moment(op, row),
        .reason = all ? pg_cell(op, row, LOAD_REASON) : NULL,
        .ticket = all ? pg_cell(op, row, LOAD_TICKET) : NULL,
        .duration_ms = all ? pg_cell_number(op, row, LOAD_DURATION) : 0,
    };
    out->state = state_of(out->action);
    read_hash(op, row, LOAD_EXACT, &out->exact);
    read_hash(op, row, LOAD_TOKEN, &out->token);
}

static bool read_meta(const struct pg_op *op, int row, struct neap_history *out,
                      struct neap_error *err)
{
    const char *head = pg_cell(op, row, LOAD_ID);
    int64_t version = pg_cell_number(op, row, LOAD_SEQ);
    out->installed = true;
    out->current = version == NEAP_SCHEMA_VERSION;
    if (strlen(head) < sizeof out->target_head)
        memcpy(out->target_head, head, strlen(head) + 1);
    out->environment = pg_cell(op, row, LOAD_NAME);
    return neap_history_check_version(version, err);
}

static bool is_kind(const struct pg_op *op, int row, char kind)
{
    return pg_cell(op, row, LOAD_KIND)[0] == kind;
}

/* "3" and "0003" are one migration: the later word holds. */
static void drop_earlier_spellings(struct neap_history *history)
{
    size_t kept = 0;
    for (size_t i = 0; i < history->count; i++) {
        if (kept > 0 && compare_ids(history->rows[kept - 1].id, history->rows[i].id) == 0)
            kept--;
        history->rows[kept++] = history->rows[i];
    }
    history->count = kept;
}

/* Rows mostly come as they were written, and so in order. */
static void sort_rows(struct neap_history *history)
{
    size_t i = 1;
    while (i < history->count && compare_rows(&history->rows[i - 1], &history->rows[i]) < 0)
        i++;
    if (i < history->count)
        qsort(history->rows, history->count, sizeof *history->rows, compare_rows);
}

/* A row of neap.step that is not settled. */
struct load_step {
    const char *id;
    int64_t index, seq, at_us;
    int row;
    bool undone;
};

static int compare_steps(const void *left, const void *right)
{
    const struct load_step *a = left, *b = right;
    int order = strcmp(a->id, b->id);
    if (order == 0)
        order = (a->index > b->index) - (a->index < b->index);
    return order != 0 ? order : (a->seq > b->seq) - (a->seq < b->seq);
}

/* The last state of a step is its state; a step that is not undone says more of its
 * migration than one that is, and of two the later one. */
static bool says_more(const struct load_step *step, const struct load_step *than)
{
    if (than == NULL || step->undone != than->undone)
        return than == NULL || than->undone;
    return step->at_us > than->at_us;
}

/* A migration that was never recorded as a whole has no row but this. When all of its
 * steps were undone it is as if it had never begun, unless history says applied: a
 * down that stopped leaves undone ones alone. */
static void mark_partial(const struct pg_op *op, const struct load_step *step,
                         struct neap_history *out)
{
    struct neap_history_row *found = NULL;
    for (size_t i = 0; found == NULL && i < out->count; i++)
        if (compare_ids(out->rows[i].id, step->id) == 0)
            found = &out->rows[i];
    if (step->undone && (found == NULL || found->state != NEAP_STATE_APPLIED))
        return;
    if (found == NULL) {
        found = &out->rows[out->count++];
        read_row(op, step->row, false, found);
        found->action = "";
    }
    found->state = NEAP_STATE_PARTIAL;
    read_hash(op, step->row, LOAD_TOKEN, &found->token);
}

static void mark_partials(const struct pg_op *op, struct load_step *steps, size_t count,
                          struct neap_history *out)
{
    const struct load_step *best = NULL;
    qsort(steps, count, sizeof *steps, compare_steps);
    for (size_t i = 0; i < count; i++) {
        const struct load_step *step = &steps[i], *next = i + 1 < count ? step + 1 : NULL;
        bool same_id = next != NULL && strcmp(next->id, step->id) == 0;
        bool last_word = !same_id || next->index != step->index;
        if (last_word && says_more(step, best))
            best = step;
        if (!same_id) {
            mark_partial(op, best, out);
            best = NULL;
        }
    }
    sort_rows(out);
}

static void add_step(const struct pg_op *op, int row, struct load_step **steps, size_t *count)
{
    *steps = neap_realloc(*steps, (*count + 1) * sizeof **steps);
    (*steps)[(*count)++] = (struct load_step){
        .id = pg_cell(op, row, LOAD_ID),
        .index = pg_cell_number(op, row, LOAD_STEP),
        .seq = pg_cell_number(op, row, LOAD_SEQ),
        .at_us = pg_cell_number(op, row, LOAD_AT),
        .row = row,
        .undone = strcmp(pg_cell(op, row, LOAD_ACTION), "undone") == 0,
    };
}

static bool no_version(struct neap_error *err)
{
    neap_error_set(err, NEAP_ERR_HISTORY_VERSION, "schema neap has no version");
    neap_error_hint(err,
                    "Table neap.meta has lost its one row. Restore it, or say that the schema "
                    "is this neap's: INSERT INTO neap.meta (version, neap_version) VALUES "
                    "(%d, '%s');",
                    NEAP_SCHEMA_VERSION, NEAP_VERSION);
    return false;
}

static bool read_rows(const struct pg_op *op, bool all, struct neap_history *out,
                      struct neap_error *err)
{
    struct load_step *steps = NULL;
    size_t step_count = 0;
    int count = pg_rows(op);
    bool known = true;
    out->rows = neap_alloc((size_t)(count + 1) * sizeof *out->rows);
    for (int row = 0; known && row < count; row++) {
        if (is_kind(op, row, 'm')) {
            known = read_meta(op, row, out, err);
        } else if (is_kind(op, row, 's')) {
            add_step(op, row, &steps, &step_count);
        } else {
            struct neap_history_row *into = &out->rows[out->count++];
            read_row(op, row, all, into);
            into->forged = !pg_cell_truth(op, row, LOAD_ANNOUNCED);
        }
    }
    if (known && !out->installed) /* a schema without its one meta row is not ours */
        known = no_version(err);
    if (known && !all) {
        sort_rows(out);
        drop_earlier_spellings(out);
    }
    if (known && step_count > 0)
        mark_partials(op, steps, step_count, out);
    free(steps);
    return known;
}

static bool ask(struct pg_client *control, const char *sql, struct pg_op **op,
                struct neap_error *err)
{
    struct pg_statement statement = {.sql = sql, .call_id = -1, .binary = true};
    return pg_exec(control, &statement, op, err);
}

/* A table is not there: the schema is of an earlier version, or there is none. */
static bool load_earlier(struct pg_client *control, const char *sql, struct pg_op **op,
                         struct neap_error *err)
{
    int64_t version = 0;
    pg_failure_clear(control);
    return neap_history_version(control, &version, err) &&
           (version == 0 || ask(control, sql, op, err));
}

/* A target without schema neap is an answer, not an error. */
static bool load_rows(struct pg_client *control, bool all, struct neap_history *out,
                      struct neap_error *err)
{
    struct neap_error cause = {0};
    *out = (struct neap_history){0};
    bool loaded = ask(control, all ? sql_all : sql_load, &out->answer, &cause);
    if (!loaded && neap_history_is_missing(&cause)) {
        neap_error_clear(&cause);
        loaded = load_earlier(control, all ? sql_all : sql_load_v1, &out->answer, &cause);
    }
    loaded = loaded && (out->answer == NULL || read_rows(out->answer, all, out, &cause));
    if (!loaded) {
        neap_history_clear(out);
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
    pg_op_free(history->answer);
    free(history->rows);
    *history = (struct neap_history){0};
}
