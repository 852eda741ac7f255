/* SPDX-License-Identifier: MIT
 *
 * One copy of the chain as verify sees it, record by record: per run the last
 * link and every hash. Decisions only: it reads no file and asks no server.
 * Internal to the audit.
 */
#ifndef NEAP_CHANGE_AUDIT_CHAIN_H
#define NEAP_CHANGE_AUDIT_CHAIN_H

#include "host/change/audit.h"
#include "host/change/audit_sign.h"

struct chain_run {
    char *id;
    struct neap_hash *hashes; /* [seq - 1]; all zero: missing */
    size_t capacity;
    int64_t last_seq;
    char last_hash[NEAP_HASH_HEX_SIZE];
    char *journal_id, *target_head, *address; /* of run.begin, or NULL */
    bool branched;       /* made on another copy of the target (audit_verify.c) */
    int64_t copied_seq;  /* the journal says that the target has up to here */
    int64_t local_count; /* trailing events that never go to the target */
    bool ended, is_signed;
    char *kept; /* it put a restored database here: the name of the one before, or "" */
};

struct chain {
    const char *where;       /* "journal" or "target" */
    struct chain_run **runs; /* in order of appearance */
    size_t run_count, run_capacity;
    json_t *index;    /* run id → position in runs */
    json_t *hashes;   /* set of hex hashes */
    json_t *journals; /* set of journal ids (journal only) */
    char head[NEAP_HASH_HEX_SIZE];
    int64_t event_count;
};

struct chain_check {
    struct neap_audit_report *report; /* findings go here */
    const struct neap_sign_key *key;  /* or NULL */
    bool any_signed;
};

/* One record as a copy holds it; borrowed. */
struct chain_record {
    const char *hash; /* 64 characters, no NUL needed */
    const char *body;
    size_t body_length;
    const char *run_id; /* the target's columns; NULL and 0 for the journal */
    int64_t seq;
    int64_t segment; /* of the journal; 0 for the target */
    bool first_line; /* of a segment */
    char place[48];  /* "line 12", for what cannot be parsed */
};

void neap_chain_init(struct chain *chain, const char *where);
void neap_chain_clear(struct chain *chain);
/* Checks a record against its hash and its run's chain, and keeps it. */
void neap_chain_record(struct chain_check *check, struct chain *chain,
                       const struct chain_record *record);
struct chain_run *neap_chain_find(const struct chain *chain, const char *run_id);
bool neap_chain_has(const struct chain_run *run, int64_t seq);

void neap_chain_finding(struct neap_audit_report *report, const char *run_id, int64_t seq,
                        const char *where, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void neap_chain_note(struct neap_audit_report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The target's rows, in order of position, given one at a time to `take`. */
struct chain_rows {
    bool (*load)(void *arg, void (*take)(void *to, const struct chain_record *record), void *to,
                 struct neap_error *err);
    void *arg;
};
/* neap_audit_verify with the target's rows from elsewhere; rows NULL: the
 * journal alone. One look, without the second that a run under way may need. */
bool neap_audit_verify_rows(const struct neap_audit_verify_opts *opts,
                            const struct chain_rows *rows, struct neap_audit_report *out,
                            struct neap_error *err);

#endif
