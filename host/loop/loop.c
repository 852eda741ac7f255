/* SPDX-License-Identifier: MIT
 *
 * The loop and its waits. A wait never spins and never sleeps past a limit: one
 * libuv timer ends each turn at the nearest of its own deadline, the run's, and
 * the next whole second, when people are told what it waits for. Signals end a
 * turn through a uv_async.
 */
#include "host/loop/loop.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "host/base/clock.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/loop/loop_timers.h"
#include "host/loop/signals.h"

#define SILENCE_MS 1000
#define CLOSE_MAX_MS 2000 /* for what a callback opens while handles close */

struct neap_loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_timer_t limit;
    struct neap_run *run;
    struct neap_timer *timers;
    void (*silence)(void *arg, const char *what, int64_t waited_ms);
    void *silence_arg;
    bool (*idle)(void *arg);
    void *idle_arg;
    bool turning;  /* inside uv_run, which cannot nest */
    bool speaking; /* inside silence, which may wait itself */
};

static bool is_open; /* signal handlers serve one loop */

static void on_wake(uv_async_t *async)
{
    (void)async;
}

static void on_limit(uv_timer_t *timer)
{
    (void)timer;
}

bool neap_loop_open(struct neap_run *run, struct neap_loop **out, struct neap_error *err)
{
    struct neap_loop *loop = NULL;
    int status = 0;

    *out = NULL;
    if (is_open) {
        neap_error_set(err, NEAP_ERR_INTERNAL_BUG, "a second event loop was opened");
        return false;
    }
    loop = neap_alloc(sizeof *loop);
    /* libuv aborts where it finds no memory, or says so to code that cannot help. */
    uv_replace_allocator(neap_alloc, neap_realloc, neap_alloc_many, free);
    status = uv_loop_init(&loop->uv);
    if (status != 0) {
        neap_error_set(err, NEAP_ERR_INTERNAL_BUG, "cannot open the event loop: %s",
                       uv_strerror(status));
        free(loop);
        return false;
    }
    is_open = true;
    loop->run = run;
    uv_timer_init(&loop->uv, &loop->limit);
    status = uv_async_init(&loop->uv, &loop->wake, on_wake);
    if (status != 0) {
        neap_error_set(err, NEAP_ERR_INTERNAL_BUG, "cannot open the event loop: %s",
                       uv_strerror(status));
        neap_loop_close(loop);
        return false;
    }
    neap_signals_open(run, &loop->wake);
    *out = loop;
    return true;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void pause_ms(long ms)
{
    struct timespec pause = {.tv_nsec = ms * 1000000};

    nanosleep(&pause, NULL);
}

void neap_loop_close(struct neap_loop *loop)
{
    int64_t deadline = neap_clock_ms() + CLOSE_MAX_MS;
    bool closed = false;

    if (!loop)
        return;
    neap_signals_close();
    while (loop->timers)
        neap_timer_end(loop->timers);
    uv_walk(&loop->uv, close_handle, NULL);
    for (;;) {
        uv_run(&loop->uv, UV_RUN_NOWAIT);
        closed = uv_loop_close(&loop->uv) == 0;
        if (closed || neap_clock_ms() >= deadline)
            break;
        pause_ms(2);
    }
    is_open = false;
    if (closed) /* else something still uses it: better lost than freed */
        free(loop);
}

uv_loop_t *neap_loop_uv(struct neap_loop *loop)
{
    return &loop->uv;
}

struct neap_run *neap_loop_run(struct neap_loop *loop)
{
    return loop->run;
}

void neap_loop_hold_stop(struct neap_loop *loop, bool hold)
{
    (void)loop;
    neap_signals_hold_stop(hold);
}

struct neap_timer **neap_loop_timers(struct neap_loop *loop)
{
    return &loop->timers;
}

void neap_loop_on_silence(struct neap_loop *loop,
                          void (*fn)(void *arg, const char *what, int64_t waited_ms), void *arg)
{
    loop->silence = fn;
    loop->silence_arg = arg;
}

void neap_loop_on_idle(struct neap_loop *loop, bool (*fn)(void *arg), void *arg)
{
    loop->idle = fn;
    loop->idle_arg = arg;
}

static bool turn(struct neap_loop *loop, uv_run_mode mode, struct neap_error *err)
{
    if (loop->turning) {
        neap_error_set(err, NEAP_ERR_INTERNAL_BUG, "a callback of the event loop waited");
        return false;
    }
    loop->turning = true;
    uv_run(&loop->uv, mode);
    loop->turning = false;
    return true;
}

void neap_loop_turn(struct neap_loop *loop)
{
    turn(loop, UV_RUN_NOWAIT, NULL);
}

/* One turn that ends at `until_ms` at the latest. */
static bool turn_until(struct neap_loop *loop, int64_t until_ms, struct neap_error *err)
{
    int64_t left = until_ms - neap_clock_ms();
    bool ok = false;

    uv_update_time(&loop->uv);
    uv_timer_start(&loop->limit, on_limit, left > 0 ? (uint64_t)left : 0, 0);
    ok = turn(loop, UV_RUN_ONCE, err);
    uv_timer_stop(&loop->limit);
    return ok;
}

/* One turn that does not wait, and if it brought nothing a piece of other work. */
static bool turn_idle(struct neap_loop *loop, const struct neap_wait *wait, struct neap_error *err)
{
    if (!turn(loop, UV_RUN_NOWAIT, err))
        return false;
    if (!wait->done(wait->arg) && !loop->idle(loop->idle_arg))
        loop->idle = NULL;
    return true;
}

static void speak(struct neap_loop *loop, const char *what, int64_t waited_ms)
{
    if (!what || loop->speaking)
        return;
    loop->speaking = true;
    if (loop->silence)
        loop->silence(loop->silence_arg, what, waited_ms);
    else
        neap_log_progress("waiting for %s, %" PRId64 " s", what, waited_ms / 1000);
    loop->speaking = false;
}

static int64_t earliest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* False with the reason when the wait may not go on at `now`. */
static bool may_go_on(const struct neap_loop *loop, const struct neap_wait *wait, int64_t own,
                      int64_t now, struct neap_error *err)
{
    if (!wait->cleanup && !neap_run_check(loop->run, err))
        return false;
    if (now < own)
        return true;
    neap_error_set(err, NEAP_ERR_RUN_DEADLINE, "the deadline passed while waiting for %s",
                   wait->what ? wait->what : "an answer");
    return false;
}

bool neap_loop_wait(struct neap_loop *loop, const struct neap_wait *wait, struct neap_error *err)
{
    int64_t begin = neap_clock_ms();
    int64_t next = begin + SILENCE_MS;
    int64_t own = wait->deadline_ms ? wait->deadline_ms : NEAP_FOREVER;
    bool ended = false, ok = true;

    while (ok && !(ended = wait->done(wait->arg))) {
        int64_t limit = own;
        int64_t now = neap_clock_ms();

        ok = may_go_on(loop, wait, own, now, err);
        if (ok && now >= next) {
            speak(loop, wait->what, now - begin);
            next += SILENCE_MS * (1 + (now - next) / SILENCE_MS);
            continue; /* speaking may have taken its time */
        }
        if (!wait->cleanup)
            limit = earliest(limit, loop->run->deadline_ms);
        ok = ok && (loop->idle ? turn_idle(loop, wait, err)
                               : turn_until(loop, earliest(limit, next), err));
    }
    if (next > begin + SILENCE_MS && !loop->speaking)
        neap_log_progress_end();
    return ended;
}

static bool is_time(void *arg)
{
    const int64_t *end_ms = arg;

    return neap_clock_ms() >= *end_ms;
}

bool neap_loop_sleep(struct neap_loop *loop, int64_t duration_ms, const char *what,
                     struct neap_error *err)
{
    int64_t now = neap_clock_ms();
    int64_t end_ms = duration_ms > NEAP_FOREVER - now ? NEAP_FOREVER : now + duration_ms;
    struct neap_wait wait = {.done = is_time, .arg = &end_ms, .what = what};
    struct neap_timer *timer = NULL;
    bool ok = false;

    if (!neap_run_check(loop->run, err))
        return false;
    if (duration_ms <= 0)
        return true;
    timer = neap_timer_begin(loop, duration_ms, 0, NULL, NULL); /* ends the last turn in time */
    ok = neap_loop_wait(loop, &wait, err);
    neap_timer_end(timer);
    return ok;
}
