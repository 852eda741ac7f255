/* SPDX-License-Identifier: MIT
 *
 * Owns running the sections of a SQL migration: each statement through the gate,
 * then to the client. It knows no Lua. Surprise: nothing waits between the
 * statements of up and down; the client reports the first that the server refused.
 */
#include "host/script/script_sql.h"

#include <stdlib.h>

#include "bindings/pg/pg_index.h"
#include "host/base/memory.h"

#define BOOL_OID 16

static enum neap_effect effect_of(const struct pg_sql_class *class, bool transaction)
{
    if (class->kind == PG_SQL_SELECT)
        return NEAP_EFFECT_READ;
    return transaction ? NEAP_EFFECT_TX : NEAP_EFFECT_WRITE;
}

static bool judge_rows(const struct neap_source_file *file, const struct pg_sql_part *part,
                       const struct pg_op *op, struct neap_error *err)
{
    const PGresult *result = pg_op_result(op);
    int count = pg_rows(op);
    bool is_bool = PQnfields(result) > 0 && PQftype(result, 0) == BOOL_OID;
    bool all_true = is_bool;
    for (int row = 0; all_true && row < count; row++)
        all_true = pg_cell(op, row, 0) != NULL && pg_cell_bool(op, row, 0);
    return neap_sections_verify_row_check(file, part, count, is_bool, all_true, err);
}

static bool run_statement(const struct neap_source_file *file, const struct pg_sql_part *part,
                          bool is_verify, const struct neap_script_db *db, struct neap_error *err)
{
    struct neap_run *run = neap_loop_run(pg_loop(db->client));
    struct pg_sql_class class;
    struct pg_op *op = NULL;
    char *sql = neap_strndup(file->text + part->offset, part->length);
    bool is_done = pg_sql_classify(sql, part->length, &class, err);
    struct pg_statement statement = {
        .sql = sql, .where_file = file->path, .where_line = part->line, .call_id = -1};
    if (is_done) {
        const struct neap_gate_call gate = {
            .effect = effect_of(&class, db->transaction),
            .name = "pg.exec",
            .statement = sql,
            .fingerprint = class.fingerprint[0] != '\0' ? class.fingerprint : NULL,
            .where_file = file->path,
            .where_line = part->line};
        is_done = neap_gate_pass(run, &gate, &statement.call_id, err);
    }
    if (is_done && class.kind == PG_SQL_INDEX_CONCURRENTLY) {
        const struct pg_index_build build = {.work = db->client,
                                             .control = db->control,
                                             .statement = &statement,
                                             .class = &class,
                                             .ours = db->index_ours};
        is_done = pg_index_build(&build, err);
    } else if (is_done && is_verify) {
        is_done = pg_exec(db->client, &statement, &op, err) && judge_rows(file, part, op, err);
    } else if (is_done) {
        is_done = pg_send(db->client, &statement, NULL, err);
    }
    pg_op_free(op);
    free(sql);
    return is_done;
}

bool neap_script_sql_call(const struct neap_source_file *file, const struct neap_sql_step *step,
                          enum neap_script_part part, const struct neap_script_db *db,
                          struct neap_error *err)
{
    const struct neap_sql_section *section = part == NEAP_PART_UP       ? &step->up
                                             : part == NEAP_PART_VERIFY ? &step->verify
                                                                        : &step->down;
    for (size_t i = 0; i < section->count; i++) {
        if (!run_statement(file, &section->statements[i], part == NEAP_PART_VERIFY, db, err)) {
            if (err != NULL && err->where_file == NULL)
                neap_error_where(err, file->path, section->statements[i].line);
            return false;
        }
    }
    return true;
}
