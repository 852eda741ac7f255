/* SPDX-License-Identifier: MIT
 *
 * pg_dump as a child, from a snapshot that somebody holds. It may run while the caller
 * asks the server other things: `begin`, then `end`, which waits.
 */
#ifndef NEAP_BINDINGS_BACKUP_BACKUP_DUMP_H
#define NEAP_BINDINGS_BACKUP_BACKUP_DUMP_H

#include "bindings/backup/backup_source.h"
#include "bindings/backup/backup_tool.h"

enum backup_kind { BACKUP_FULL, BACKUP_SCHEMA, BACKUP_DATA };
const char *backup_kind_name(enum backup_kind kind);
/* NULL is full; false when there is no such kind. */
bool backup_kind_of(const char *name, enum backup_kind *out);

/* What is known while it runs. */
struct backup_progress {
    int64_t tables_done, tables_total;
    int64_t bytes;          /* written so far */
    int64_t bytes_a_second; /* since the beginning */
    int64_t left_ms;        /* -1: not known */
};

struct backup_dump_opts {
    const struct backup_tool *tool;
    const struct backup_source *source;
    const char *path; /* of the file or directory that it makes */
    enum backup_kind kind;
    int jobs; /* 0: one file (custom format); else a directory, by so many */
    int64_t lock_wait_ms;
    void (*progress)(void *arg, const struct backup_progress *progress); /* in loop turns */
    void *arg;
};

struct backup_dump;
bool backup_dump_begin(struct neap_loop *loop, const struct backup_dump_opts *opts,
                       struct backup_dump **out, struct neap_error *err);
/* Waits for its end; false with what it said, or with the stop or deadline. Frees. */
bool backup_dump_end(struct backup_dump *dump, struct neap_error *err);
/* Ends it before its time (TERM, 2 s later KILL) and frees; NULL is allowed. */
void backup_dump_drop(struct backup_dump *dump);

#endif
