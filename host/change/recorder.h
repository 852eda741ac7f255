/* SPDX-License-Identifier: MIT
 *
 * Where the gate records a step's statements. In a transaction they are kept
 * and become events before COMMIT; outside one each is durable in the journal
 * before it is sent (promise 8).
 */
#ifndef NEAP_CHANGE_RECORDER_H
#define NEAP_CHANGE_RECORDER_H

#include "host/base/run.h"
#include "host/change/audit.h"

/* One statement that has ended, for whoever wants to print it. Borrowed. */
struct neap_statement_seen {
    const char *statement;
    const char *where_file;
    int where_line;
    int64_t row_count; /* -1: not known */
    int64_t duration_us;
    bool failed;
};

struct neap_recorder_call;
struct neap_recorder {
    struct neap_audit *audit;
    bool durable;   /* journal before it is sent */
    bool keep_text; /* for on_statement */
    void (*on_statement)(void *arg, const struct neap_statement_seen *seen);
    void *arg;
    struct neap_recorder_call *calls;
    size_t call_count, call_capacity;
    int64_t first_id;                   /* of calls[0]: an id is given once in a recorder's life */
    int64_t statement_count, row_count; /* since neap_recorder_begin */
    /* Statements that may have changed something: all but those the server refused
     * as a whole. Counted only when durable (outside a transaction). */
    int64_t effect_count;
};

/* Makes the recorder the run's gate sink and forgets what it held. */
void neap_recorder_begin(struct neap_recorder *recorder, struct neap_run *run, bool durable);
/* Adds the kept statements to the chain as step.statements: runs of the same
 * statement (a loop) are one entry with its count. */
void neap_recorder_flush(struct neap_recorder *recorder);
/* Takes it off the gate. */
void neap_recorder_end(const struct neap_recorder *recorder, struct neap_run *run);
void neap_recorder_clear(struct neap_recorder *recorder);

#endif
