/* SPDX-License-Identifier: MIT
 *
 * The statements of a SQL migration's sections: taken apart, classified, and
 * held against the rules that need no server. Owns what verify may hold.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/script/sections_parts.h"

/* The error's text has the line of the section; ours is the file's. */
static bool split(struct sections_read *read, size_t end)
{
    struct neap_sql_section *section = read->section;
    const char *text = read->file->text + read->section_from;
    struct neap_error cause = {0};
    bool ok =
        pg_sql_split(text, end - read->section_from, &section->statements, &section->count, &cause);
    if (!ok) {
        int line = cause.where_line + read->section_from_line - 1;
        const char *said = cause.message;
        if (strncmp(said, "line ", 5) == 0 && strchr(said, ':') != NULL)
            said = strchr(said, ':') + 2;
        neap_error_set(read->err, cause.code, "%s", said);
        if (cause.hint != NULL)
            neap_error_hint(read->err, "%s", cause.hint);
        neap_error_where(read->err, read->file->path, line);
        neap_error_clear(&cause);
        return false;
    }
    for (size_t i = 0; i < section->count; i++) {
        section->statements[i].offset += read->section_from;
        section->statements[i].line += read->section_from_line - 1;
    }
    return true;
}

static bool refuse(const struct sections_read *read, int line, enum neap_error_code code,
                   const char *message)
{
    neap_error_set(read->err, code, "%s", message);
    neap_error_where(read->err, read->file->path, line);
    return false;
}

static bool is_verify(const struct sections_read *read)
{
    const struct neap_sql_step *step = &read->out->steps[read->out->def.step_count - 1];
    return read->section == &step->verify;
}

static bool check_kind(const struct sections_read *read, const struct pg_sql_class *class, int line)
{
    bool inside = read->out->def.transaction;
    if (class->kind == PG_SQL_TRANSACTION_CONTROL) {
        char *message = neap_format("%s belongs to the host, not to a migration", class->verb);
        refuse(read, line, NEAP_ERR_DB_TRANSACTION_CONTROL, message);
        free(message);
        return false;
    }
    if (class->kind == PG_SQL_COPY_STREAM)
        return sections_fail(read, line,
                             "COPY from or to the client needs a Lua migration "
                             "(db:copy_in, db:copy_out)");
    if (is_verify(read) && class->parsed && class->kind != PG_SQL_SELECT)
        return sections_fail(read, line, "%s in verify: it may only ask, by SELECT", class->verb);
    bool outside = class->kind == PG_SQL_NO_TRANSACTION || class->kind == PG_SQL_INDEX_CONCURRENTLY;
    if (inside && outside) {
        char *message = neap_format("%s cannot run in a transaction", class->verb);
        refuse(read, line, NEAP_ERR_DB_NO_TRANSACTION, message);
        free(message);
        neap_error_hint(read->err, "Say `-- neap: transaction false` and name the steps with "
                                   "`-- neap: step NAME`.");
        return false;
    }
    return true;
}

static bool check_statement(const struct sections_read *read, const struct pg_sql_part *part)
{
    struct pg_sql_class class;
    if (!pg_sql_classify(read->file->text + part->offset, part->length, &class, read->err)) {
        neap_error_where(read->err, read->file->path, part->line);
        return false;
    }
    return check_kind(read, &class, part->line);
}

static bool check_empty(const struct sections_read *read)
{
    const struct neap_sql_section *section = read->section;
    const struct neap_sql_step *step = &read->out->steps[read->out->def.step_count - 1];
    if (section->count > 0)
        return true;
    if (section == &step->up)
        return sections_fail(read, section->line, "`up` holds no statement");
    if (section == &step->verify)
        return sections_fail(read, section->line,
                             "`verify` holds no statement; if nothing can be "
                             "checked, say `-- neap: unverified WHY`");
    return sections_fail(read, section->line,
                         "`down` holds no statement; if there is no way back, "
                         "say `-- neap: irreversible WHY`");
}

bool sections_end(struct sections_read *read, size_t end)
{
    if (read->section == NULL)
        return true;
    if (!split(read, end))
        return false;
    for (size_t i = 0; i < read->section->count; i++)
        if (!check_statement(read, &read->section->statements[i]))
            return false;
    return check_empty(read);
}

static bool check_step(const struct sections_read *read, size_t at)
{
    const struct neap_sql_step *step = &read->out->steps[at];
    const struct neap_step_def *def = &read->out->def.steps[at];
    char *who = read->out->def.transaction ? neap_strdup("the migration")
                                           : neap_format("step \"%s\"", def->name);
    bool ok = true;
    if (step->up.line == 0)
        ok = sections_fail(read, step->line, "%s has no `-- neap: up` section", who);
    else if (step->verify.line == 0 && def->unverified == NULL)
        ok = sections_fail(read, step->line,
                           "%s has no `-- neap: verify` section, and does not say `-- neap: "
                           "unverified WHY`",
                           who);
    else if (step->down.line == 0 && def->irreversible == NULL)
        ok = sections_fail(read, step->line,
                           "%s has no `-- neap: down` section, and does not say `-- neap: "
                           "irreversible WHY`",
                           who);
    free(who);
    return ok;
}

bool sections_check_whole(const struct sections_read *read)
{
    if (read->out->def.step_count == 0)
        return sections_fail(read, 1, "there are no sections; begin with `-- neap: up`");
    for (size_t i = 0; i < read->out->def.step_count; i++)
        if (!check_step(read, i))
            return false;
    return true;
}

bool neap_sections_verify_row_check(const struct neap_source_file *file,
                                    const struct pg_sql_part *statement, int64_t row_count,
                                    bool is_bool, bool all_true, struct neap_error *err)
{
    const char *found = row_count == 0 ? "no row"
                        : !is_bool     ? "a first column that is not boolean"
                        : !all_true    ? "a row that is not true"
                                       : NULL;
    if (found == NULL)
        return true;
    char *sql = neap_strndup(file->text + statement->offset, statement->length);
    neap_error_set(err, NEAP_ERR_VERIFY_FAILED, "a verify query gave %s", found);
    neap_error_detail(err, "Each verify query must give at least one row, and true in the first "
                           "column of every row.");
    neap_error_sql(err, sql, 0);
    neap_error_where(err, file->path, statement->line);
    free(sql);
    return false;
}
