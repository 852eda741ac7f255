/* SPDX-License-Identifier: MIT
 *
 * The event loop: one thread, one loop (libuv). A client starts an operation
 * and the caller waits for it here; meanwhile timers renew the lease, watch for
 * blockers and draw progress, and signals are heard. It knows no service.
 */
#ifndef NEAP_LOOP_LOOP_H
#define NEAP_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "host/base/error.h"
#include "host/base/run.h"

struct neap_loop;
struct neap_timer;

/* Installs the signal handlers (INT, TERM, HUP set the run's stop; PIPE is
 * ignored; a second INT or TERM ends the process at once with 130 or 143;
 * TSTP is refused with a message while neap_loop_hold_stop is on). */
bool neap_loop_open(struct neap_run *run, struct neap_loop **out, struct neap_error *err);
/* Ends all timers, closes every handle that is left on the loop (whoever owns
 * it keeps the memory until then) and puts the signal handlers back. NULL is
 * allowed. One loop is open at a time. */
void neap_loop_close(struct neap_loop *loop);
uv_loop_t *neap_loop_uv(struct neap_loop *loop);
struct neap_run *neap_loop_run(struct neap_loop *loop);
void neap_loop_hold_stop(struct neap_loop *loop, bool hold);

struct neap_wait {
    bool (*done)(void *arg); /* asked after every turn of the loop */
    void *arg;
    int64_t deadline_ms; /* own limit, monotonic; the run's holds too; 0: none of its own */
    bool cleanup;        /* waits on after a stop: rollback, cancel, COMMIT's answer */
    const char *what;    /* "the server", for people: what a wait over 1 s says */
};

/* Runs the loop until done. False: run.deadline when a limit passed, or the
 * run's sticky stop; the operation itself goes on and the caller ends it. Not
 * from inside a callback of the loop (internal.bug). */
bool neap_loop_wait(struct neap_loop *loop, const struct neap_wait *wait, struct neap_error *err);
/* Gives callbacks that are due a turn without waiting. */
void neap_loop_turn(struct neap_loop *loop);
/* False with the stop when it came before the time was over. */
bool neap_loop_sleep(struct neap_loop *loop, int64_t duration_ms, const char *what,
                     struct neap_error *err);

/* Called each second of a wait with its `what` and the milliseconds waited so
 * far; floor 5 prints who is in the way, the default prints `what`. */
void neap_loop_on_silence(struct neap_loop *loop,
                          void (*fn)(void *arg, const char *what, int64_t waited_ms), void *arg);

/* Called in waits for as long as nothing else is to be done, until it gives false; it
 * must be quick and must not wait. NULL ends it. */
void neap_loop_on_idle(struct neap_loop *loop, bool (*fn)(void *arg), void *arg);

/* Repeats until ended; `fn` runs inside loop turns and must not wait. */
struct neap_timer *neap_timer_begin(struct neap_loop *loop, int64_t first_ms, int64_t repeat_ms,
                                    void (*fn)(void *arg), void *arg);
void neap_timer_end(struct neap_timer *timer); /* frees; NULL is allowed; before the loop's end */

#endif
