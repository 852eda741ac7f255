/* SPDX-License-Identifier: MIT
 *
 * neap's own databases beside the target, and the one door through which any is dropped.
 * Three things must agree before that (HAZARDS B11): the name is one that neap gives,
 * with the run that made it in it; the database was made by neap, as its comment says, or
 * its connection limit where a kill came before the comment; and no session of that run
 * is left.
 */
#ifndef NEAP_BINDINGS_BACKUP_BACKUP_BESIDE_H
#define NEAP_BINDINGS_BACKUP_BACKUP_BESIDE_H

#include "bindings/backup/backup_archive.h"
#include "bindings/backup/backup_server.h"

enum backup_beside_kind {
    BACKUP_BESIDE_COPY,    /* is looked at and dropped by the run that made it */
    BACKUP_BESIDE_RESTORE, /* shall be used when it is whole */
    BACKUP_BESIDE_KEPT,    /* was the target until another took its place */
};
const char *backup_beside_kind_name(enum backup_beside_kind kind);

/* A database that neap made, or that it put aside. */
struct backup_beside {
    enum backup_beside_kind kind;
    char *name;
    int64_t oid, bytes; /* bytes -1: not known */
    char *run_id;
    json_t *mark; /* of its comment, whose fields the maker chose; NULL: it has none yet */
    bool alive;   /* its run has a session */
    bool named;   /* as neap names what it may drop again */
};
void backup_beside_clear(struct backup_beside *beside);

/* All of them, by name. */
bool backup_beside_list(const struct backup_server *server, struct backup_beside **out,
                        size_t *count, struct neap_error *err);
void backup_beside_list_free(struct backup_beside *list, size_t count);

/* Makes an empty one with the encoding, locale and tablespace of the manifest, closed to
 * everybody who was not granted it. *name is the caller's to free. `mark` (borrowed) is
 * what its comment says besides kind, run and time. Waits. */
bool backup_beside_make(const struct backup_server *server, enum backup_beside_kind kind,
                        const json_t *manifest, const json_t *mark, char **name,
                        struct neap_error *err);
/* Writes the comment anew: `mark` with kind, run and time. */
bool backup_beside_mark(const struct backup_server *server, const char *name,
                        enum backup_beside_kind kind, const json_t *mark, struct neap_error *err);
/* The comment as SQL, for who writes it among other things. The caller frees; NULL: err. */
char *backup_beside_mark_sql(const struct backup_server *server, const char *name,
                             enum backup_beside_kind kind, const json_t *mark,
                             struct neap_error *err);

/* Makes one and restores the archive into it (its client and database are filled in
 * here). False: what was made is dropped again, also after a stop. */
bool backup_beside_restore(const struct backup_server *server, enum backup_beside_kind kind,
                           struct backup_archive_opts *archive, const json_t *mark, char **name,
                           struct neap_error *err);

/* Drops one of neap's that was not put aside, of this run, also after a stop. False, and
 * nothing is dropped, where one of the three does not hold. */
bool backup_beside_drop(const struct backup_server *server, const char *name,
                        struct neap_error *err);
/* A restore that is whole and still to be used: where it was made to take the place of a
 * database, that one is there yet, by its oid. */
bool backup_beside_is_due(const struct backup_server *server, const struct backup_beside *beside,
                          bool *due, struct neap_error *err);
/* Drops what killed runs left, but for restores that are due. What cannot be dropped is
 * logged. */
bool backup_beside_sweep(const struct backup_server *server, struct neap_error *err);

#endif
