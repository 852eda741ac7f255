/* SPDX-License-Identifier: MIT
 *
 * What a thousand INSERTs of different values have in common. Internal to pg_sql.
 */
#ifndef NEAP_BINDINGS_PG_PG_SQL_SHAPE_H
#define NEAP_BINDINGS_PG_PG_SQL_SHAPE_H

#include <stdbool.h>
#include <stddef.h>

/* Writes the text of a plain INSERT, UPDATE, DELETE or SELECT without the values of its
 * integers and strings to `out`, which has room for `length` bytes; not ended by a NUL.
 * Two texts of one shape are one tree to the parser but for the constants' values: one
 * class, one fingerprint. 0: the text has no shape that is sure. */
size_t pg_sql_shape(const char *sql, size_t length, char *out);

#endif
