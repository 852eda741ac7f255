/* SPDX-License-Identifier: MIT
 *
 * neap.step: the journal of steps outside a transaction. A state is a new row,
 * committed on its own; the last row of each step counts until the migration is
 * settled by its history row.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/change/history.h"

/* RowExclusive on neap.step. */
static const char sql_step[] =
    "insert into neap.step (id, step_index, name, state, run_id, attempt, token_hash)"
    " values ($1::pg_catalog.text, $2::pg_catalog.int4, $3::pg_catalog.text, $4::pg_catalog.text,"
    " $5::pg_catalog.text, $6::pg_catalog.uuid, $7::pg_catalog.bytea)";

static const char sql_steps[] =
    "select distinct on (s.id, s.step_index) s.id, s.step_index, s.name, s.state, s.run_id,"
    " s.attempt::pg_catalog.text, pg_catalog.to_char(pg_catalog.timezone('UTC', s.recorded_at),"
    " 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), pg_catalog.encode(s.token_hash, 'hex')"
    " from neap.step s where not s.settled and ($1::pg_catalog.text is null or"
    " pg_catalog.ltrim(s.id, '0') operator(pg_catalog.=)"
    " pg_catalog.ltrim($1::pg_catalog.text, '0'))"
    " order by s.id, s.step_index, s.seq desc";

bool neap_history_step(struct pg_client *control, const struct neap_step_row *row,
                       struct neap_error *err)
{
    char *index = neap_format("%d", row->index);
    const struct pg_param params[] = {
        PG_TEXT(row->id),
        PG_TEXT(index),
        PG_TEXT(row->name),
        PG_TEXT(row->state),
        PG_TEXT(row->run_id),
        PG_TEXT(row->attempt),
        {.value = (const char *)row->token.bytes,
         .length = NEAP_HASH_SIZE,
         .type = PG_TYPE_BYTEA,
         .binary = true},
    };
    struct pg_statement statement = {.sql = sql_step,
                                     .params = params,
                                     .call_id = -1,
                                     .param_count = sizeof params / sizeof params[0]};
    bool recorded = pg_exec(control, &statement, NULL, err);
    free(index);
    return recorded;
}

static void read_step(const struct pg_op *op, int row, struct neap_step_row *out)
{
    *out = (struct neap_step_row){
        .id = neap_strdup(pg_cell(op, row, 0)),
        .index = (int)pg_cell_int(op, row, 1),
        .name = neap_strdup(pg_cell(op, row, 2)),
        .state = neap_strdup(pg_cell(op, row, 3)),
        .run_id = neap_strdup(pg_cell(op, row, 4)),
        .attempt = neap_strdup(pg_cell(op, row, 5)),
        .at = neap_strdup(pg_cell(op, row, 6)),
    };
    const char *hex = pg_cell(op, row, 7);
    if (hex != NULL)
        neap_hash_from_hex(hex, &out->token);
}

bool neap_history_steps(struct pg_client *control, const char *id, struct neap_step_rows *out,
                        struct neap_error *err)
{
    const char *params[] = {id};
    struct neap_error cause = {0};
    struct pg_op *op = NULL;
    *out = (struct neap_step_rows){0};
    bool loaded = pg_exec_text(control, sql_steps, 1, params, &op, &cause);
    if (loaded && pg_rows(op) > 0) {
        out->count = (size_t)pg_rows(op);
        out->rows = neap_alloc(out->count * sizeof *out->rows);
        for (int row = 0; row < pg_rows(op); row++)
            read_step(op, row, &out->rows[row]);
    }
    pg_op_free(op);
    if (!loaded && neap_history_is_missing(&cause)) { /* no schema, no steps */
        pg_failure_clear(control);
        loaded = true;
    }
    if (!loaded)
        neap_error_move(err, &cause);
    neap_error_clear(&cause);
    return loaded;
}

void neap_step_rows_clear(struct neap_step_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        struct neap_step_row *row = &rows->rows[i];
        free(row->id);
        free(row->name);
        free(row->state);
        free(row->run_id);
        free(row->attempt);
        free(row->at);
    }
    free(rows->rows);
    *rows = (struct neap_step_rows){0};
}
