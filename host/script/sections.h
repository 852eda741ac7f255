/* SPDX-License-Identifier: MIT
 *
 * A migration in plain SQL: which statements of NNNN_name.sql are up, verify
 * and down, and what its header directives say. No server, no Lua. A directive
 * is a `--` comment alone on its line, found by the SQL lexer: the same text
 * inside a string or a $$ body is none.
 *
 *   -- neap: summary Prices in cents       header directives come first, once each
 *   -- neap: ticket CIR-212
 *   -- neap: phase expand                  expand | contract
 *   -- neap: timeout 30s
 *   -- neap: lock_timeout 500ms
 *   -- neap: requires 0001, 0003
 *   -- neap: transaction false             true | false; default true
 *   -- neap: up
 *   alter table shop.product add column price_cents bigint;
 *   -- neap: verify                        or: -- neap: unverified WHY
 *   select count(*) = 1 from pg_attribute where …;
 *   -- neap: down                          or: -- neap: irreversible WHY
 *   alter table shop.product drop column price_cents;
 *
 * With `transaction false` every step is named and has its own three sections:
 *
 *   -- neap: step build the index
 *   -- neap: up
 *   create index concurrently …;
 *   -- neap: verify
 *   -- neap: down
 *   -- neap: step …
 */
#ifndef NEAP_SCRIPT_SECTIONS_H
#define NEAP_SCRIPT_SECTIONS_H

#include "bindings/pg/pg_sql.h"
#include "host/script/script.h"

/* The statements of one section; offset and line are those of the whole file. */
struct neap_sql_section {
    struct pg_sql_part *statements;
    size_t count; /* 0 only where the step is irreversible or unverified */
    int line;     /* of its directive */
};

/* Parallel to def.steps. */
struct neap_sql_step {
    int line; /* of `-- neap: step`, or of the up section */
    struct neap_sql_section up, verify, down;
};

struct neap_sections {
    /* What neap_script_def() gives for the file: steps named as the file names
     * them ("up" for the single one), why, risk and locks from the header
     * comments. Owned; freed by neap_sections_clear. */
    struct neap_script_def def;
    struct neap_sql_step *steps; /* def.step_count of them */
};

/* Parses and checks; `file` is borrowed for the call (keep it: statements are
 * offsets into file->text). Refused with where_file and where_line set:
 * script.contract (unknown or repeated directive with the nearest one, a section
 * that is missing or empty, a statement before the first section, a statement in
 * verify that returns no rows, COPY from or to the client),
 * script.syntax (an unfinished string or comment), db.argument (psql
 * meta-commands), db.transaction_control, and db.no_transaction where the file
 * does not say `transaction false`. Every statement has passed pg_sql_classify
 * (and is in its cache), so running it may classify again for nothing. */
bool neap_sections_parse(const struct neap_source_file *file, struct neap_sections *out,
                         struct neap_error *err);
void neap_sections_clear(struct neap_sections *sections); /* {0} is allowed */

/* What a verify statement must give, for the one who runs it: at least one row,
 * and the first column of every row boolean true. False with verify.failed that
 * says what came instead, at the statement's line, unless
 * row_count > 0, `is_bool` and `all_true`. A NULL is not true. */
bool neap_sections_verify_row_check(const struct neap_source_file *file,
                                    const struct pg_sql_part *statement, int64_t row_count,
                                    bool is_bool, bool all_true, struct neap_error *err);

#endif
