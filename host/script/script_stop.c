/* SPDX-License-Identifier: MIT
 *
 * Owns the deadline that nothing catches (promise 3): the signal that arms the
 * hook, the hook, and the watchdog thread behind both. It knows no binding.
 * Surprise: at a stop the hook yields and the host never resumes. What cannot
 * yield (a sort comparator, a gsub callback) is left by an error instead, and
 * the sandbox's own pcall and coroutine functions pass the stop on.
 *
 * The watchdog counts CPU time of the Lua thread, not wall time: a thread that
 * waits in a binding uses none and ends by itself, so nothing has to mark it.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/base/clock.h"
#include "host/base/crash.h"
#include "host/base/log.h"
#include "host/script/script_state.h"

#define STOP_SIGNAL (SIGRTMIN + 3)
#define REPEAT_MS 10        /* the arming signal, until the call has ended */
#define WALL_GRACE_MS 15000 /* beyond the CPU grace: a blocking call of a C library */

/* One Lua thread and one watchdog per process. `lock` guards what has no atomic. */
static struct {
    pthread_mutex_t lock;
    sem_t wake;
    bool is_started;
    pthread_t lua_thread;
    clockid_t cpu_clock;
    bool is_active;
    int64_t wakes_ms;     /* when the watchdog looks again, unless it is woken */
    int64_t deadline_ms;  /* the run's, monotonic */
    int64_t cpu_limit_us; /* of the Lua thread's CPU clock; NEAP_FOREVER: none */
    int64_t grace_ms;
    int64_t stop_ms; /* when the watchdog first saw a stop; 0: not yet */
    int64_t stop_cpu_us;
    int (*last_word)(void *arg);
    void *last_word_arg;
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct neap_script_state *volatile armed_state; /* read by the signal handler */
static volatile sig_atomic_t is_armed;                 /* the stop signal came in this call */
static atomic_bool is_stop_asked;                      /* by run->arm */
static atomic_bool is_cpu_spent;

bool neap_script_is_stopping(lua_State *L)
{
    struct neap_run *run = glue_context(L)->run;
    if (atomic_load(&is_cpu_spent))
        neap_run_stop(run, NEAP_ERR_RUN_DEADLINE,
                      "the script used 2 s of CPU time while it was loaded");
    return neap_run_stopping(run);
}

int neap_script_stop_here(lua_State *L)
{
    struct neap_error err = {0};
    struct neap_script_state *state = neap_script_state_of(L);
    /* Taken now: after a yield from the hook the instruction is one back. */
    if (!state->is_stopped)
        neap_script_trace(L, &state->stop_place);
    state->is_stopped = true;
    if (lua_isyieldable(L))
        return lua_yield(L, 0);
    neap_run_check(glue_context(L)->run, &err);
    return glue_raise(L, &err);
}

static void on_count(lua_State *L, lua_Debug *frame)
{
    (void)frame;
    if (!neap_script_is_stopping(L)) {
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    /* Count 1 stays: callers above a pcall are hit at once (they re-raise). */
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    neap_script_stop_here(L);
}

/* On the Lua thread. lua_sethook is what lua.c calls from its own handler. */
static void on_stop_signal(int signal_number)
{
    int saved = errno;
    struct neap_script_state *state = armed_state;
    (void)signal_number;
    is_armed = 1;
    if (state != NULL && state->context.running != NULL)
        lua_sethook(state->context.running, on_count, LUA_MASKCOUNT, 1);
    errno = saved;
}

void neap_script_stop_recheck(lua_State *L)
{
    if (is_armed)
        lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
}

/* run->arm: in a signal handler, on whichever thread the kernel chose. The Lua
 * state is touched only by its own thread. */
static void on_arm(void *arg)
{
    (void)arg;
    atomic_store(&is_stop_asked, true);
    sem_post(&watch.wake);
    pthread_kill(watch.lua_thread, STOP_SIGNAL);
}

static int64_t cpu_us(void)
{
    struct timespec now = {0};
    clock_gettime(watch.cpu_clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Ends the process: the server sees the connection drop and rolls back. */
static void end_process(void)
{
    static const char line[] =
        "neap: a script could not be stopped; ending the process; see `neap status`\n";
    int status = 124;
    if (write(STDERR_FILENO, line, sizeof line - 1) < 0)
        status = 124; /* nothing else to do: stderr is gone */
    if (watch.last_word != NULL)
        status = watch.last_word(watch.last_word_arg);
    neap_exit_now(status);
}

/* Under the lock. Signals what is due; returns when to look again. */
static int64_t look(int64_t now_ms)
{
    int64_t spent_us = cpu_us();
    if (spent_us >= watch.cpu_limit_us)
        atomic_store(&is_cpu_spent, true);
    bool is_due =
        now_ms >= watch.deadline_ms || atomic_load(&is_stop_asked) || atomic_load(&is_cpu_spent);
    if (!is_due) {
        int64_t next_ms = watch.deadline_ms;
        int64_t cpu_ms = watch.cpu_limit_us == NEAP_FOREVER
                             ? NEAP_FOREVER
                             : now_ms + (watch.cpu_limit_us - spent_us) / 1000 + 1;
        return cpu_ms < next_ms ? cpu_ms : next_ms;
    }
    if (watch.stop_ms == 0) {
        watch.stop_ms = now_ms;
        watch.stop_cpu_us = spent_us;
    }
    if (spent_us - watch.stop_cpu_us >= watch.grace_ms * 1000 ||
        now_ms - watch.stop_ms >= watch.grace_ms + WALL_GRACE_MS)
        end_process();
    pthread_kill(watch.lua_thread, STOP_SIGNAL);
    return now_ms + REPEAT_MS;
}

static void *watchdog(void *arg)
{
    (void)arg;
    for (;;) {
        int64_t next_ms = NEAP_FOREVER;
        pthread_mutex_lock(&watch.lock);
        if (watch.is_active)
            next_ms = look(neap_clock_ms());
        watch.wakes_ms = next_ms;
        pthread_mutex_unlock(&watch.lock);
        struct timespec until = {.tv_sec = (time_t)(next_ms / 1000),
                                 .tv_nsec = (long)(next_ms % 1000) * 1000000};
        if (next_ms == NEAP_FOREVER)
            sem_wait(&watch.wake);
        else
            sem_clockwait(&watch.wake, CLOCK_MONOTONIC, &until);
    }
    return NULL;
}

static bool start_watchdog(struct neap_error *err)
{
    struct sigaction action = {.sa_handler = on_stop_signal, .sa_flags = SA_RESTART};
    sigset_t all, before;
    pthread_t thread;
    if (watch.is_started)
        return true;
    watch.lua_thread = pthread_self();
    sigfillset(&all);
    sem_init(&watch.wake, 0, 0);
    sigaction(STOP_SIGNAL, &action, NULL);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_getcpuclockid(watch.lua_thread, &watch.cpu_clock);
    if (failure == 0)
        failure = pthread_create(&thread, NULL, watchdog, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure != 0) {
        neap_error_errno(err, NEAP_ERR_INTERNAL_BUG, failure, "cannot start the watchdog");
        return false;
    }
    pthread_detach(thread);
    watch.is_started = true;
    return true;
}

bool neap_script_watch_begin(struct neap_script_state *state, int64_t cpu_limit_ms,
                             struct neap_error *err)
{
    if (!start_watchdog(err))
        return false;
    is_armed = 0;
    atomic_store(&is_cpu_spent, false);
    atomic_store(&is_stop_asked, state->run->stop_count > 0);
    armed_state = state;
    pthread_mutex_lock(&watch.lock);
    watch.deadline_ms = state->run->deadline_ms;
    watch.cpu_limit_us = cpu_limit_ms > 0 ? cpu_us() + cpu_limit_ms * 1000 : NEAP_FOREVER;
    watch.grace_ms = state->opts->grace_ms > 0 ? state->opts->grace_ms : NEAP_SCRIPT_GRACE_MS;
    watch.last_word = state->opts->last_word;
    watch.last_word_arg = state->opts->last_word_arg;
    watch.stop_ms = 0;
    watch.is_active = true;
    /* Three calls a migration: each waking would cost both threads a turn. */
    int64_t first_ms = cpu_limit_ms > 0 ? neap_clock_ms() + cpu_limit_ms : NEAP_FOREVER;
    bool is_sooner = first_ms < watch.wakes_ms || watch.deadline_ms < watch.wakes_ms;
    pthread_mutex_unlock(&watch.lock);
    state->run->arm = on_arm;
    state->run->arm_arg = NULL;
    if (is_sooner || atomic_load(&is_stop_asked))
        sem_post(&watch.wake);
    return true;
}

void neap_script_watch_end(struct neap_script_state *state)
{
    state->run->arm = NULL;
    /* If the watchdog is ending the process, this waits for ever: rightly so. */
    pthread_mutex_lock(&watch.lock);
    watch.is_active = false;
    pthread_mutex_unlock(&watch.lock);
    armed_state = NULL;
    atomic_store(&is_cpu_spent, false);
}
