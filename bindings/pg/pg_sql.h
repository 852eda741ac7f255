/* SPDX-License-Identifier: MIT
 *
 * What a statement is, by PostgreSQL's own parser (libpg_query): split,
 * classify, fingerprint. Pure: no server, no Lua. Where the parser does not
 * know newer syntax, its scanner still finds transaction control, and the
 * statement is otherwise let through as PG_SQL_OTHER.
 */
#ifndef NEAP_BINDINGS_PG_PG_SQL_H
#define NEAP_BINDINGS_PG_PG_SQL_H

#include <stdbool.h>
#include <stddef.h>

#include "host/base/error.h"

enum pg_sql_kind {
    PG_SQL_OTHER,
    PG_SQL_SELECT,
    PG_SQL_WRITE, /* INSERT, UPDATE, DELETE, MERGE, TRUNCATE */
    PG_SQL_DDL,
    PG_SQL_TRANSACTION_CONTROL, /* BEGIN … ROLLBACK, SAVEPOINT, PREPARE TRANSACTION,
                                   SET TRANSACTION, SET SESSION CHARACTERISTICS, DISCARD,
                                   SET of transaction_* settings */
    PG_SQL_NO_TRANSACTION,      /* VACUUM, CREATE DATABASE, … CONCURRENTLY, ALTER SYSTEM, … */
    PG_SQL_INDEX_CONCURRENTLY,  /* CREATE INDEX CONCURRENTLY */
    PG_SQL_COPY_STREAM,         /* COPY … FROM STDIN or TO STDOUT */
    PG_SQL_COPY_PROGRAM,        /* COPY … PROGRAM, COPY to or from a server file */
    PG_SQL_SESSION,             /* SET, RESET, SET ROLE: put back after the step */
};

struct pg_sql_class {
    enum pg_sql_kind kind;
    char fingerprint[41]; /* libpg_query's, hex; "" when it could not parse */
    const char *verb;     /* "CREATE INDEX CONCURRENTLY", static; for messages */
    bool parsed;          /* false: only the scanner understood it */
    /* PG_SQL_INDEX_CONCURRENTLY only; "" when not given. */
    char index_name[64];
    char table_schema[64];
    char table_name[64];
    bool index_if_not_exists;
};

/* Classifies one statement. More than one statement (";" between two), none,
 * NUL, invalid UTF-8 or a psql meta-command (`\restrict` of newer pg_dump,
 * `\connect`): db.argument that says which. A syntax error the scanner cannot
 * pass either is left to the server. Several statements with transaction control
 * among them are db.transaction_control. Results are cached, by the text or (pg_sql_shape.h) by
 * what simple statements of different values have in common. */
bool pg_sql_classify(const char *sql, size_t length, struct pg_sql_class *out,
                     struct neap_error *err);

/* One statement of a longer text. */
struct pg_sql_part {
    size_t offset; /* of its first byte that is neither space nor comment */
    size_t length; /* without the ';' */
    int line;      /* 1-based line of `offset` */
};
/* Splits; the caller frees *parts. `\restrict`/`\unrestrict` lines (pg_dump
 * 15.14 and later write them) are skipped, other meta-commands are db.argument
 * and unfinished strings or comments script.syntax, both with the line. */
bool pg_sql_split(const char *text, size_t length, struct pg_sql_part **parts, size_t *count,
                  struct neap_error *err);

void pg_sql_cache_clear(void);

#endif
