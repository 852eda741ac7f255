/* SPDX-License-Identifier: MIT
 *
 * The handlers. State is static because a handler gets no argument. The second
 * INT or TERM ends the process in the handler itself: whatever hangs cannot
 * hang that, and the server rolls back when the connection goes. What it may not
 * roll back, the run context knows.
 */
#include "host/loop/signals.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "host/base/crash.h"

static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
#define NUMBER_COUNT (sizeof numbers / sizeof *numbers)

static struct {
    struct neap_run *volatile run; /* NULL while no loop is open */
    uv_async_t *volatile wake;
    struct sigaction before[NUMBER_COUNT];
    struct sigaction before_stop;
    bool holds_stop;
    bool has_terminal;
    struct termios terminal;
    volatile int64_t first_ms; /* when the first INT or TERM came */
} state;

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now); /* async-signal-safe */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void say(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));

    (void)ignored;
}

static void end_at_once(const struct neap_run *run, int number)
{
    const struct neap_error_row *row = neap_error_row((enum neap_error_code)run->doubt);

    if (state.has_terminal)
        tcsetattr(STDIN_FILENO, TCSANOW, &state.terminal);
    if (run->doubt == NEAP_OK)
        neap_exit_now(128 + number);
    say("\nneap: ended at the second signal: ");
    say(row->summary);
    say("\n  ");
    say(row->next);
    say("\n");
    neap_exit_now(row->exit_status);
}

/* A repeat within NEAP_SIGNAL_AGAIN_MS is the same wish said twice. */
static bool is_again(struct neap_run *run)
{
    int64_t now = now_ms();

    if (run->stop_count == 0)
        state.first_ms = now;
    else if (now - state.first_ms < NEAP_SIGNAL_AGAIN_MS)
        return false;
    run->stop_count = run->stop_count + 1;
    return run->stop_count > 1;
}

static void on_signal(int number)
{
    struct neap_run *run = state.run;
    int error = errno;

    if (run) {
        if (number != SIGHUP && is_again(run))
            end_at_once(run, number);
        if (run->stop_signal == 0)
            run->stop_signal = number;
        if (run->arm)
            run->arm(run->arm_arg);
        if (state.wake)
            uv_async_send(state.wake);
    }
    errno = error;
}

static void on_stop(int number)
{
    static const char words[] = "\nneap does not stop inside a transaction, which would keep its "
                                "locks; Ctrl-C rolls back\n";
    int error = errno;

    (void)number;
    say(words);
    errno = error;
}

static bool is_ignored(const struct sigaction *action)
{
    return !(action->sa_flags & SA_SIGINFO) && action->sa_handler == SIG_IGN;
}

void neap_signals_open(struct neap_run *run, uv_async_t *wake)
{
    struct sigaction action;

    state.run = run;
    state.wake = wake;
    state.first_ms = 0;
    state.has_terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &state.terminal) == 0;
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        memset(&action, 0, sizeof action);
        action.sa_handler = numbers[i] == SIGPIPE ? SIG_IGN : on_signal;
        action.sa_flags = SA_RESTART;
        sigfillset(&action.sa_mask);
        sigaction(numbers[i], NULL, &state.before[i]);
        if (numbers[i] == SIGHUP && is_ignored(&state.before[i]))
            continue;
        sigaction(numbers[i], &action, NULL);
    }
}

void neap_signals_close(void)
{
    if (!state.run)
        return;
    neap_signals_hold_stop(false);
    for (size_t i = 0; i < NUMBER_COUNT; i++)
        sigaction(numbers[i], &state.before[i], NULL);
    state.run = NULL;
    state.wake = NULL;
}

void neap_signals_hold_stop(bool hold)
{
    struct sigaction action;

    if (hold == state.holds_stop)
        return;
    state.holds_stop = hold;
    if (!hold) {
        sigaction(SIGTSTP, &state.before_stop, NULL);
        return;
    }
    memset(&action, 0, sizeof action);
    action.sa_handler = on_stop;
    action.sa_flags = SA_RESTART;
    sigfillset(&action.sa_mask);
    sigaction(SIGTSTP, &action, &state.before_stop);
}
