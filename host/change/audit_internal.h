/* SPDX-License-Identifier: MIT
 *
 * The audit's own state, shared by audit.c (the chain) and audit_copy.c (the
 * target's copy). Nobody else includes it.
 */
#ifndef NEAP_CHANGE_AUDIT_INTERNAL_H
#define NEAP_CHANGE_AUDIT_INTERNAL_H

#include <pthread.h>

#include "host/base/clock.h"
#include "host/change/audit.h"
#include "host/change/audit_journal.h"
#include "host/change/audit_sign.h"
#include "host/change/audit_sync.h"

enum audit_event_state {
    AUDIT_ADDED,   /* in memory; no hash yet */
    AUDIT_WRITTEN, /* in the journal */
    AUDIT_COPYING, /* sent to the target, whose transaction is open */
};

struct audit_event {
    enum audit_event_state state;
    int64_t seq;
    char *event;
    json_t *fields; /* NULL once written */
    char time[NEAP_UTC_SIZE];
    char hash[NEAP_HASH_HEX_SIZE];
    char *body; /* canonical JSON, once written */
};

struct neap_audit {
    char *state_dir, *identity, *run_id;
    struct neap_journal journal;
    struct neap_audit_syncer *syncer; /* the main thread's alone; NULL until it is needed */
    pthread_mutex_t lock;             /* the watchdog thread's last word */
    struct audit_event *events;       /* not yet known to be in the target, in order */
    size_t event_count, event_capacity;
    int64_t seq;                   /* last one added */
    char head[NEAP_HASH_HEX_SIZE]; /* of the run's chain: its last written event */
    int64_t copied_seq;            /* the target has up to here */
    bool (*told)(void *arg, const char *hash, const json_t *event); /* opts.written */
    void *told_arg;
    bool begun, ended;
    bool signing;
    struct neap_sign_key key;
};

/* Under the lock: adds without redaction. Takes `fields`. */
void neap_audit_push(struct neap_audit *audit, const char *event, json_t *fields);

#endif
