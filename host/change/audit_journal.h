/* SPDX-License-Identifier: MIT
 *
 * The journal's file: lines, lock, tail, segments. It knows that a line is
 * "<hash> <json>" and that the first line of a segment is journal.begin; what
 * the other events mean is audit.c's. Internal to the audit.
 *
 * Segments: <dir>/<identity>.1.jsonl, .2.jsonl, … closed ones, and
 * <dir>/<identity>.jsonl, which is written.
 */
#ifndef NEAP_CHANGE_AUDIT_JOURNAL_H
#define NEAP_CHANGE_AUDIT_JOURNAL_H

#include <jansson.h>
#include <sys/types.h>

#include "host/base/error.h"
#include "host/base/hash.h"

#define NEAP_JOURNAL_RUN "journal" /* "run" of journal.begin lines */
#define NEAP_JOURNAL_ZERO "0000000000000000000000000000000000000000000000000000000000000000"
#define NEAP_JOURNAL_SEGMENT_BYTES (64LL * 1024 * 1024)
#define NEAP_JOURNAL_RESERVE_BYTES (1024LL * 1024)

struct neap_journal {
    char *dir, *base, *path; /* <state>/journal, "<sysid>-<dboid>", the written segment */
    int fd;
    int lock_fd;                   /* of <base>.lock: who holds its flock may write */
    int64_t segment;               /* of the written file, from 1 */
    int64_t segment_bytes;         /* rotate past this */
    char id[NEAP_UUID_SIZE];       /* the journal's, from journal.begin */
    char head[NEAP_HASH_HEX_SIZE]; /* hash of the last line */
    off_t end, reserved;           /* known size; allocated up to here */
    bool dirty;                    /* written, not yet synced */
    bool failed;                   /* an fsync failed: final */
    json_t *recovered;             /* array: torn records set aside, for audit.recovered */
};

/* Creates what is missing. Leaves the journal unlocked. Errors: audit.journal
 * (lock, room, NFS, owner and mode), audit.broken (the last line is not whole). */
bool neap_journal_open(const char *state_dir, const char *identity, int64_t segment_bytes,
                       struct neap_journal *journal, struct neap_error *err);
void neap_journal_close(struct neap_journal *journal);
/* Fills in dir, base and path alone, for readers; and frees them. */
void neap_journal_names(const char *state_dir, const char *identity, struct neap_journal *journal);
void neap_journal_names_free(struct neap_journal *journal);
/* Locks against other processes (at most 5 s) and takes in what they wrote:
 * after it `head` is the file's. */
bool neap_journal_lock(struct neap_journal *journal, struct neap_error *err);
void neap_journal_unlock(struct neap_journal *journal);
/* Under the lock: whole lines in one write(); `head` is the last one's hash. A
 * short write is taken back. */
bool neap_journal_append(struct neap_journal *journal, const char *bytes, size_t length,
                         const char *head, struct neap_error *err);
/* fdatasync; then makes sure of room for the outcomes to come. */
bool neap_journal_sync(struct neap_journal *journal, struct neap_error *err);
/* The same, where another thread's fdatasync gave `errnum` (0: done). */
bool neap_journal_synced(struct neap_journal *journal, int errnum, struct neap_error *err);
/* Under the lock: begins a new segment when this one is full. */
bool neap_journal_rotate(struct neap_journal *journal, struct neap_error *err);

/* "<hash> <json>" (without line feed) and the hash is the JSON's. */
bool neap_journal_is_whole(const char *line, size_t length);
/* Takes `body` fields apart from the end, without parsing JSON: everything after
 * "data" is ours. The run is borrowed from the line. */
bool neap_journal_run_seq(const char *line, size_t length, const char **run, size_t *run_length,
                          int64_t *seq);
/* Adds "<hash> <body>\n" to a buffer's end. */
struct neap_buffer;
void neap_journal_line(struct neap_buffer *out, const char *hash, const char *body);

struct neap_journal_line {
    int64_t segment, number; /* both from 1 */
    const char *bytes;       /* without the line feed; borrowed, no NUL at the end */
    size_t length;
    bool complete; /* ends in a line feed */
};
/* Every line of every segment, oldest first. `missing` (may be NULL) is called
 * for a segment that should be there and is not. No journal at all: no call.
 * `fn` returning false ends it with false. */
struct neap_journal_reader {
    bool (*line)(void *arg, const struct neap_journal_line *line, struct neap_error *err);
    void (*missing)(void *arg, int64_t segment);
    void *arg;
    int64_t tail_bytes; /* > 0: only so many bytes of the last closed and the written one */
};
bool neap_journal_read(const char *state_dir, const char *identity,
                       const struct neap_journal_reader *reader, struct neap_error *err);

#endif
