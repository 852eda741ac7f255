/* SPDX-License-Identifier: MIT
 *
 * The two ways pg_sql classifies: by the parser's tree, and by first words where
 * the parser knows the syntax not yet. For pg_sql.c alone.
 */
#ifndef NEAP_BINDINGS_PG_PG_SQL_CLASS_H
#define NEAP_BINDINGS_PG_PG_SQL_CLASS_H

#include "bindings/pg/pg_sql.h"
#include "bindings/pg/pg_sql_scan.h"

/* From libpg_query's JSON of one text: how many statements it holds. */
size_t pg_sql_tree_count(const char *tree);
/* Fills kind, verb and names from the first statement of `tree`. False when the
 * tree is too deep to be decoded and the words must decide. */
bool pg_sql_tree_classify(const char *tree, struct pg_sql_class *out);

/* Fills kind, verb and names by the words that begin the text at `scan`'s place. */
void pg_sql_words_classify(struct pg_sql_scan scan, struct pg_sql_class *out);

/* Where the statement that begins at the scan's place ends: leaves the scan
 * behind its ';' (or at the end) and fills `part`; length 0 when nothing but
 * comments was left. False when a token is unfinished or a psql meta-command
 * stands at `*bad`. */
bool pg_sql_part_next(struct pg_sql_scan *scan, struct pg_sql_part *part, struct pg_sql_token *bad);

/* transaction_isolation and its kin, in any case. */
bool pg_sql_is_transaction_setting(const char *name);

#endif
