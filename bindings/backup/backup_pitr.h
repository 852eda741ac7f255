/* SPDX-License-Identifier: MIT
 *
 * A whole server's backups and WAL, kept by pgBackRest or Barman (backup_pitr.def): made,
 * looked at and verified by running that tool, never restored by it. Its files are its own;
 * neap keeps the label. What leads to a restore is a command for a person.
 */
#ifndef NEAP_BINDINGS_BACKUP_BACKUP_PITR_H
#define NEAP_BINDINGS_BACKUP_BACKUP_PITR_H

#include <jansson.h>

#include "host/loop/loop.h"

enum backup_pitr_tool {
#define BACKUP_PITR(symbol, name, server) BACKUP_PITR_##symbol,
#include "bindings/backup/backup_pitr.def"
#undef BACKUP_PITR
    BACKUP_PITR_COUNT
};
const char *backup_pitr_name(enum backup_pitr_tool tool);        /* "pgbackrest" */
const char *backup_pitr_server_word(enum backup_pitr_tool tool); /* "stanza" */
/* False when there is no such tool. */
bool backup_pitr_of(const char *name, enum backup_pitr_tool *out);
/* Letters, digits, ".", "_" and "-", not first: what goes into an argument list, and
 * through a remote shell, as one word. For names of servers, labels and restore points. */
bool backup_pitr_is_word(const char *text);

/* How it is run. */
struct backup_pitr {
    enum backup_pitr_tool tool;
    char *server;       /* the stanza, or Barman's server */
    char **command;     /* the program and its first arguments, NULL-terminated; no shell */
    char *type;         /* of the next backup, for pgBackRest; NULL: as it chooses */
    bool verify;        /* a backup is verified before a change, too: it may take long */
    int64_t timeout_ms; /* of all that one backup takes */
};
void backup_pitr_free(struct backup_pitr *pitr); /* NULL is allowed */

/* One backup of the tool's. */
struct backup_pitr_set {
    char *label;
    char *type;                /* "full", "incr"; NULL: it has no word for it */
    char *start_lsn, *end_lsn; /* it is whole from the second on */
    char *start_wal, *end_wal;
    char *directory; /* of the server's data, where the tool says it; or NULL */
    int64_t timeline;
    int64_t bytes, database_bytes; /* added to the repository, and of the server */
};
void backup_pitr_set_clear(struct backup_pitr_set *set);

/* All that can be known before an hour of copying: the tool runs, it keeps the server with
 * this system identifier (target.wrong), and WAL arrives in its archive. archive.failed.
 * Waits, as all here; the run's deadline and stop hold, and the tool ends with them. */
bool backup_pitr_check(struct neap_loop *loop, const struct backup_pitr *pitr,
                       const char *system_identifier, struct neap_error *err);
/* Makes a backup. `progress` may be NULL; percent is -1 while it is not known. */
struct backup_pitr_watch {
    void (*progress)(void *arg, double percent);
    void *arg;
};
bool backup_pitr_create(struct neap_loop *loop, const struct backup_pitr *pitr,
                        const struct backup_pitr_watch *watch, struct backup_pitr_set *out,
                        struct neap_error *err);
/* Whether the tool has it still: backup.damaged when it expired. */
bool backup_pitr_find(struct neap_loop *loop, const struct backup_pitr *pitr, const char *label,
                      struct neap_error *err);
/* Has the tool read its files again and compare their checksums: backup.damaged when the
 * backup or WAL that it needs is not as it was, or is not there any more. That is no
 * restore, and proves less. */
bool backup_pitr_verify(struct neap_loop *loop, const struct backup_pitr *pitr, const char *label,
                        struct neap_error *err);

/* Where a recovery ends: at a restore point, right before what came at the LSN, or, with
 * neither, where the backup is whole. */
struct backup_pitr_target {
    const char *label, *directory; /* of the backup it begins with; directory may be NULL */
    const char *name, *lsn;        /* the name goes before */
    int64_t timeline;
};
/* The command that goes back to it, quoted for a shell. The caller frees. */
char *backup_pitr_restore_line(const struct backup_pitr *pitr,
                               const struct backup_pitr_target *target);

/* What the tool's own JSON says of its backups, oldest first; the caller clears each and
 * frees. False when it is not as expected. Seen by tests. */
bool backup_pitr_pgbackrest_sets(const json_t *info, struct backup_pitr_set **out, size_t *count);
bool backup_pitr_barman_set(const json_t *shown, const char *server, struct backup_pitr_set *out);
/* What `pgbackrest verify` printed, which exits with 0 also when it found damage. */
enum backup_pitr_verdict { BACKUP_PITR_VALID, BACKUP_PITR_OTHERS_DAMAGED, BACKUP_PITR_DAMAGED };
enum backup_pitr_verdict backup_pitr_pgbackrest_verdict(const char *said, const char *label);

#endif
