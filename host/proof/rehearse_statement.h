/* SPDX-License-Identifier: MIT
 *
 * One statement of a rehearsal as it was measured, and as people and programs read it: the
 * fields of `neap help json`. Private to host/proof.
 */
#ifndef NEAP_PROOF_REHEARSE_STATEMENT_H
#define NEAP_PROOF_REHEARSE_STATEMENT_H

#include <jansson.h>

#include "host/change/observer.h"

/* PostgreSQL's lock modes by what they conflict with, weakest first. */
enum neap_lock_rank {
    NEAP_RANK_NONE,
    NEAP_RANK_ACCESS_SHARE,
    NEAP_RANK_ROW_SHARE,
    NEAP_RANK_ROW_EXCLUSIVE,
    NEAP_RANK_SHARE_UPDATE_EXCLUSIVE,
    NEAP_RANK_SHARE,
    NEAP_RANK_SHARE_ROW_EXCLUSIVE,
    NEAP_RANK_EXCLUSIVE,
    NEAP_RANK_ACCESS_EXCLUSIVE,
};
/* {relation, mode, blocks}; blocks is "reads and writes", "writes", "schema changes" or
 * null. New reference. */
json_t *neap_lock_json(const char *relation, int rank);

struct neap_measured {
    enum neap_script_part part;
    char *text, *file; /* text: redacted, the beginning of a long one; file may be NULL */
    const char *verb;  /* static */
    char fingerprint[48];
    int line;
    int64_t first_id, last_id; /* of the gate's calls */
    int64_t count;             /* a loop sends it more than once */
    int64_t rows, duration_us, wal_bytes;
    bool failed;
    json_t *locks, *rewrites, *scans;
};
void neap_measured_init(struct neap_measured *statement, const struct neap_gate_call *call,
                        int64_t call_id, enum neap_script_part part);
void neap_measured_clear(struct neap_measured *statement);
/* It is the same, sent again. */
bool neap_measured_is(const struct neap_measured *statement, const struct neap_gate_call *call,
                      enum neap_script_part part);
/* The strongest counts. */
void neap_measured_lock(struct neap_measured *statement, const char *relation, int rank);
void neap_measured_rewrite(struct neap_measured *statement, const char *relation);
void neap_measured_scan(struct neap_measured *statement, const char *relation);
/* Appends them to unit.statements; of very many only those worth seeing, and the number of
 * the others in unit.statements_left_out. */
void neap_measured_add(json_t *unit, const struct neap_measured *statements, size_t count);

#endif
