/* SPDX-License-Identifier: MIT
 *
 * Child processes: argument vectors, never a shell; a minimal environment; own
 * process group; ended with their parent (PR_SET_PDEATHSIG); always reaped.
 */
#ifndef NEAP_LOOP_CHILD_H
#define NEAP_LOOP_CHILD_H

#include "host/base/buffer.h"
#include "host/loop/loop.h"

struct neap_child_opts {
    const char *const *argv; /* argv[0] is the file; NULL-terminated */
    const char *const *env;  /* NULL: PATH, HOME, LANG, TZ, TMPDIR and no other */
    const char *cwd;         /* NULL: ours */
    const char *user;        /* drop to this user when we are root; NULL: stay */
    const char *stdin_text;  /* fed then closed; NULL: /dev/null */
    int64_t deadline_ms;     /* monotonic; then TERM, 2 s later KILL to the group */
    size_t output_max;       /* kept bytes of each stream, 0: 1 MB; the rest is counted */
    bool inherit;            /* the terminal is the child's (psql); nothing is kept */
    bool daemon;             /* outlives us: no PDEATHSIG, own session */
    bool cleanup;            /* runs on after a stop, as in struct neap_wait */
};

struct neap_child_result {
    int exit_status; /* or 128 + signal */
    struct neap_buffer out;
    struct neap_buffer err;
    size_t out_bytes, err_bytes; /* written by it, kept or not */
    int64_t peak_bytes;          /* the most memory it had at once (resident) */
};

/* Starts the program and waits for its end. False only when it could not be
 * started (file.io) or a limit or stop came first; what it wrote until then is
 * in `result` all the same. A non-zero status is a result. What its group
 * leaves behind is killed, unless `daemon`. */
bool neap_child_run(struct neap_loop *loop, const struct neap_child_opts *opts,
                    struct neap_child_result *result, struct neap_error *err);

/* The same in two halves, for several children at once: `begin` starts it and does
 * not wait; opts->deadline_ms is the caller's to keep, and `inherit` is for
 * neap_child_run alone. `result` is the caller's until `end`; stdin_text is borrowed
 * until then. */
struct neap_child;
bool neap_child_begin(struct neap_loop *loop, const struct neap_child_opts *opts,
                      struct neap_child_result *result, struct neap_child **out,
                      struct neap_error *err);
bool neap_child_is_over(void *child); /* a struct neap_child, for a neap_wait's `done` */
/* Frees. A child that still runs is ended (TERM, 2 s later KILL), which waits. */
void neap_child_end(struct neap_child *child);

void neap_child_result_clear(struct neap_child_result *result);

#endif
