/* SPDX-License-Identifier: MIT
 *
 * The run context: deadline, sticky stop, what the current step may do, and
 * where effects are recorded. Floor 5 fills it in; every binding passes each
 * effect through neap_gate_pass before anything is sent. It knows neither Lua
 * nor a server.
 */
#ifndef NEAP_BASE_RUN_H
#define NEAP_BASE_RUN_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/base/error.h"
#include "host/base/hash.h"

/* What a binding's function does, as its row in the binding table says. */
enum neap_effect {
    NEAP_EFFECT_PURE,  /* touches nothing */
    NEAP_EFFECT_READ,  /* asks a server; changes nothing */
    NEAP_EFFECT_TX,    /* changes what the step's transaction can undo */
    NEAP_EFFECT_WRITE, /* changes what no transaction undoes */
};
#define NEAP_ALLOW(effect) (1U << (effect))
#define NEAP_ALLOW_READ (NEAP_ALLOW(NEAP_EFFECT_PURE) | NEAP_ALLOW(NEAP_EFFECT_READ))
#define NEAP_ALLOW_TX (NEAP_ALLOW_READ | NEAP_ALLOW(NEAP_EFFECT_TX))
#define NEAP_ALLOW_ALL (NEAP_ALLOW_TX | NEAP_ALLOW(NEAP_EFFECT_WRITE))

/* One effect on its way out. The strings are borrowed for the call. */
struct neap_gate_call {
    enum neap_effect effect;
    const char *name;        /* "pg.exec" */
    const char *statement;   /* SQL or command text, or NULL */
    const char *fingerprint; /* hex, or NULL */
    const char *where_file;  /* script, or NULL for the host */
    int where_line;
    int param_count;
};

/* What came of an effect that was recorded as `call_id`. */
struct neap_gate_result {
    int64_t call_id;
    int64_t row_count; /* -1 when not known */
    int64_t duration_us;
    const struct neap_error *error; /* NULL: success */
};

/* Where floor 5 records. `record` makes the call durable if the step's rule
 * says so and returns its id; false means that it must not be sent. */
struct neap_gate_sink {
    bool (*record)(void *sink, const struct neap_gate_call *call, int64_t *call_id,
                   struct neap_error *err);
    void (*settle)(void *sink, const struct neap_gate_result *result);
    void *sink;
};

struct neap_run {
    char id[NEAP_RUN_ID_SIZE];
    int64_t deadline_ms; /* monotonic; NEAP_FOREVER when there is none */
    unsigned allowed;    /* NEAP_ALLOW_* of the current step */
    const char *rule;    /* why not more: "in verify", "in a transaction" */
    struct neap_gate_sink gate;
    struct neap_error stop;            /* sticky: the first reason to stop */
    volatile sig_atomic_t stop_signal; /* SIGINT or SIGTERM as the handler saw it */
    volatile sig_atomic_t stop_count;  /* how many of them */
    /* What is true if the process ends now, an error code; NEAP_OK: it rolls back. Floor
     * 5 sets it, around COMMIT and steps; the handler of a second signal reads it. */
    volatile sig_atomic_t doubt;
    void (*arm)(void *arg); /* async-signal-safe: makes running Lua look (script host) */
    void *arm_arg;
};

/* New id, no deadline, everything allowed, nothing recorded. */
void neap_run_init(struct neap_run *run);
void neap_run_clear(struct neap_run *run);

/* Makes the stop sticky; a second call changes nothing. */
void neap_run_stop(struct neap_run *run, enum neap_error_code code, const char *message);
/* True when a signal came, the deadline passed or neap_run_stop was called. */
bool neap_run_stopping(struct neap_run *run);
/* False (and `err` the sticky reason) when the run is stopping. */
bool neap_run_check(struct neap_run *run, struct neap_error *err);
/* How long a server may still be waited for while ending: `limit_ms`, and after a
 * signal at most 1,400 ms, so that one cancel and one record that nobody answers
 * (each of up to two waits) end before the 5 s that a first signal may take. */
int64_t neap_run_patience_ms(const struct neap_run *run, int64_t limit_ms);
/* For the step machine, between attempts: forgets a stop by deadline, never one
 * by signal. */
void neap_run_rearm(struct neap_run *run);

/* The one gate: stop, deadline, the step's rule, record. On success the caller
 * sends, and later reports with neap_gate_settle. */
bool neap_gate_pass(struct neap_run *run, const struct neap_gate_call *call, int64_t *call_id,
                    struct neap_error *err);
void neap_gate_settle(struct neap_run *run, const struct neap_gate_result *result);

#endif
