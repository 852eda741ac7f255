/* SPDX-License-Identifier: MIT
 *
 * The audit chain: events as canonical JSON, each carrying the hash of the one
 * before; a local journal (durable first) and a copy in neap.event of the
 * target. A chain shows accidents and naive edits; against one who rewrites all
 * of it, heads kept elsewhere and the Ed25519 signature of the head (README).
 *
 * Journal: <state>/journal/<identity>.jsonl, 0600, one line an event:
 *   <64 hex of BLAKE2b-256 over the JSON bytes> SP <canonical JSON> LF
 * The JSON has: v (1), run, seq (1… in the run), prev (hash of the run's event
 * before, or 64 zeros), file (hash of the line before in the journal, whoever's
 * it is), time (UTC), event ("step.begin"), and the event's own fields under
 * "data". So there are two chains: one per run, one over all lines of the file.
 * The first event of a run, run.begin, has data.journal_head (= file),
 * data.target_head (the last hash in the target's copy) and data.journal_id. A
 * full journal is closed as <identity>.<n>.jsonl when a run begins; the first
 * line of each is journal.begin (run "journal", seq n), never in the target.
 *
 * `file` is known only under the journal's lock, so events get their hash when
 * they are written. The order is therefore: neap_audit_add, neap_audit_sync (or
 * _write), neap_audit_copy, COMMIT, neap_audit_copied. With a signing key
 * run.end is followed by head.signed, with the signature of run.end's hash.
 */
#ifndef NEAP_CHANGE_AUDIT_H
#define NEAP_CHANGE_AUDIT_H

#include <jansson.h>

#include "bindings/pg/pg_client.h"
#include "host/base/hash.h"

struct neap_audit;

struct neap_audit_opts {
    const char *state_dir; /* neap_path_state_dir() or --state-dir */
    const char *identity;  /* "<system identifier>/<database oid>" */
    const char *run_id;
    const char *signing_key; /* path of an Ed25519 secret key file, or NULL */
    int64_t segment_bytes;   /* a journal is closed past this; 0: 64 MB */
    /* Each event of the run once it is in the journal, as neap_audit_read gives it but
     * without what chains it; may be NULL. Under the audit's lock, also from the watchdog's
     * thread: it must not call back. */
    bool (*written)(void *arg, const char *hash, const json_t *event);
    void *arg;
};

/* Opens or creates the journal. Its lock is held only while lines are written
 * (each waits at most 5 s for it, then audit.journal): runs that wait for the
 * lease write too. Quarantines a torn last line beside it and says so in an
 * audit.recovered event, preallocates room for outcomes. Refuses NFS. */
bool neap_audit_open(const struct neap_audit_opts *opts, struct neap_audit **out,
                     struct neap_error *err);
void neap_audit_close(struct neap_audit *audit); /* NULL is allowed */

/* Begins the run in the chain; durable on return. target_head is hex or "". Takes
 * `fields` (a new reference) in every outcome, as every function here does. */
bool neap_audit_begin(struct neap_audit *audit, const char *target_head, json_t *fields,
                      struct neap_error *err);
/* Adds an event to the chain in memory: ordered, not yet hashed or durable. Cannot
 * fail. `event` is "<area>.<noun>[.<state>]". Text in fields is redacted here. */
void neap_audit_add(struct neap_audit *audit, const char *event, json_t *fields);
/* Writes and fsyncs what was added: one write(), then fdatasync. audit.journal
 * when it cannot; a failed fsync is final for this journal (fsyncgate). Also
 * false, though the record is durable, when there is no room for the outcomes to
 * come: an effect must not be sent then. */
bool neap_audit_sync(struct neap_audit *audit, struct neap_error *err);
/* The same in two parts, for while the server is at a COMMIT: writes, and begins to make
 * it durable; waits until it is. neap_audit_sync waits for what was begun, too. */
bool neap_audit_sync_begin(struct neap_audit *audit, struct neap_error *err);
bool neap_audit_sync_end(struct neap_audit *audit, struct neap_error *err);
/* Writes without fsync: outcomes that the next sync makes durable. */
bool neap_audit_write(struct neap_audit *audit, struct neap_error *err);
/* Queues the written events not yet in the target's copy as INSERTs on `client`
 * (in its transaction or alone); does not wait. On success of that transaction
 * call neap_audit_copied(true), else (false): they are queued again. What is
 * already there (an unknown COMMIT) is passed over. */
bool neap_audit_copy(struct neap_audit *audit, struct pg_client *client, struct neap_error *err);
/* The same, inside another statement's parameters: `send` is called with seqs,
 * hashes and bodies as array literals, once per statement's worth, at least once;
 * `last` says that it is the end. `audit` NULL: once, with empty arrays. */
struct neap_audit_carrier {
    bool (*send)(void *arg, const char *const arrays[3], bool last, struct neap_error *err);
    void *arg;
};
bool neap_audit_carry(struct neap_audit *audit, const struct neap_audit_carrier *carrier,
                      struct neap_error *err);
void neap_audit_copied(struct neap_audit *audit, bool kept);
/* Head of the run's chain as written so far, hex. */
void neap_audit_head(const struct neap_audit *audit, char text[NEAP_HASH_HEX_SIZE]);
/* From the watchdog thread: one event, straight to the file. */
void neap_audit_last_word(struct neap_audit *audit, const char *event, const char *reason);

/* Events of earlier runs that this journal has and the target lacks (a run that
 * was killed): copied now, and recorded as audit.backfilled. Looks at the last
 * 200 runs. Call it under the lease, after neap_audit_begin. *count may be NULL. */
bool neap_audit_backfill(struct neap_audit *audit, struct pg_client *control, int *count,
                         struct neap_error *err);

struct neap_audit_finding {
    char *run_id;
    int64_t seq;   /* 0: the run as a whole */
    char *where;   /* "journal", "target", "signature", "head", "history" */
    char *message; /* "the record was changed: its hash is …" */
};
struct neap_audit_report {
    int64_t run_count, event_count; /* checked, in both copies together */
    char head[NEAP_HASH_HEX_SIZE];
    struct neap_audit_finding *findings;
    size_t finding_count; /* 0: the chain holds */
    char **notes;         /* no fault: "run X ended without run.end; 3 events …" */
    size_t note_count;
};
struct neap_audit_verify_opts {
    const char *state_dir, *identity;
    struct pg_client *control; /* NULL: the journal alone */
    const char *head;          /* a head kept elsewhere, hex, or NULL: must be in the chain */
    const char *public_key;    /* Ed25519 public key file, or NULL */
};
/* Finds removed, changed, swapped, inserted and truncated records in either
 * copy, what one has and the other lacks, and forged rows of history. False only when it could not
 * look. */
bool neap_audit_verify(const struct neap_audit_verify_opts *opts, struct neap_audit_report *out,
                       struct neap_error *err);
void neap_audit_report_clear(struct neap_audit_report *report);

/* Reads events of the local journal, oldest first; `run_id` NULL: all. The
 * callback borrows. */
bool neap_audit_read(const char *state_dir, const char *identity, const char *run_id,
                     bool (*fn)(void *arg, const char *hash, const json_t *event), void *arg,
                     struct neap_error *err);
/* The same, of the end of the journal alone (0: all of it): what just ended stands there. */
struct neap_audit_reading {
    const char *state_dir, *identity, *run_id;
    bool (*fn)(void *arg, const char *hash, const json_t *event);
    void *arg;
};
bool neap_audit_read_tail(const struct neap_audit_reading *reading, int64_t tail_bytes,
                          struct neap_error *err);
/* The journals of a state directory, whatever targets they are of: each name stands for the
 * identity in the functions here. NULL-terminated; the caller frees the names and the list. */
char **neap_audit_journals(const char *state_dir);
/* neap_audit_read, and the events of runs that were made elsewhere from the target's copy,
 * put in by their time between the runs of the journal. `where`: state_dir,
 * identity and control (NULL: no schema neap there); the rest is not looked at. */
bool neap_audit_gather(const struct neap_audit_verify_opts *where, const char *run_id,
                       bool (*fn)(void *arg, const char *hash, const json_t *event), void *arg,
                       struct neap_error *err);
/* Writes a new key pair: <path> 0600 and <path>.pub. */
bool neap_audit_keygen(const char *path, struct neap_error *err);

extern const char *const neap_audit_schema_sql[]; /* DDL of neap.event */

#endif
