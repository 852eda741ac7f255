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
#include "host/change/observer.h"
#include "host/script/source.h"

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
    const struct neap_observer *observer; /* borrowed; NULL: nobody looks */
    const struct neap_source *source;     /* history keeps it: its statements need no text */
    size_t source_file, source_at;        /* where the last statement was found in it */
    struct neap_recorder_call *calls;
    size_t call_count, call_capacity;
    int64_t first_id;                   /* of calls[0]: an id is given once in a recorder's life */
    int64_t statement_count, row_count; /* since neap_recorder_begin */
    /* Statements that may have changed something: all but those the server refused
     * as a whole. Counted only when durable (outside a transaction). */
    int64_t effect_count;
};

/* Makes the recorder the run's gate sink and forgets what it held. `source` is borrowed
 * until neap_recorder_end. */
void neap_recorder_begin(struct neap_recorder *recorder, struct neap_run *run,
                         const struct neap_source *source, bool durable);
/* Adds the kept statements to the chain as step.statements. One that follows another
 * of the same shape (a loop, a list of inserts) shares its entry, which counts. A
 * statement that stands neither in `source` nor in stdlib as it was sent, because the
 * script put it together, has its text in the chain; of a long one the beginning, and its hash. */
void neap_recorder_flush(struct neap_recorder *recorder);
/* Takes it off the gate. */
void neap_recorder_end(struct neap_recorder *recorder, struct neap_run *run);
void neap_recorder_clear(struct neap_recorder *recorder);

#endif
