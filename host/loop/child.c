/* SPDX-License-Identifier: MIT
 *
 * Running a child to its end. Its end is learnt from a pidfd (or, where the
 * kernel has none, by asking each 20 ms), never from the end of its output: a
 * server that it started may hold the pipe open for years. It is reaped in
 * every outcome; SIGCHLD stays untouched.
 */
#include "host/loop/child.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/loop/spawn.h"

#define OUTPUT_DEFAULT ((size_t)1 << 20)
#define GRACE_MS 2000 /* from TERM to KILL */
#define REAP_MS 5000  /* a killed process that does not go hangs in the kernel */
#define ASK_EVERY_MS 20

/* One watched descriptor. */
struct stream {
    uv_poll_t poll;
    struct neap_child *child;
    int fd; /* -1: closed or absent */
    struct neap_buffer *kept;
    size_t *total;
};

/* Heap, because libuv closes handles a turn later; freed by the last of them. */
struct neap_child {
    struct neap_child_opts opts;
    struct neap_loop *loop;
    struct neap_child_result *result;
    char *name;               /* of the program, for what a wait says */
    struct neap_timer *timer; /* where the kernel has no pidfd */
    struct stream in, out, err, end;
    const char *input; /* what is still to be fed */
    size_t output_max;
    pid_t pid; /* 0: reaped */
    int status;
    int handle_count;
    bool finished; /* neap_child_end returned */
};

static void release(struct neap_child *child)
{
    if (!child->finished || child->handle_count > 0)
        return;
    free(child->name);
    free(child);
}

static void on_closed(uv_handle_t *handle)
{
    struct stream *stream = handle->data;

    close(stream->fd);
    stream->fd = -1;
    stream->child->handle_count--;
    release(stream->child);
}

static void stream_close(struct stream *stream)
{
    uv_handle_t *handle = (uv_handle_t *)&stream->poll;

    if (stream->fd >= 0 && !uv_is_closing(handle))
        uv_close(handle, on_closed);
}

/* Takes `fd`, which may be -1. */
static void stream_open(struct neap_child *child, struct stream *stream, int fd, int events,
                        uv_poll_cb on_ready)
{
    stream->child = child;
    stream->fd = fd;
    stream->poll.data = stream;
    if (fd < 0)
        return;
    if (uv_poll_init(neap_loop_uv(child->loop), &stream->poll, fd) != 0) {
        close(fd);
        stream->fd = -1;
        return;
    }
    child->handle_count++;
    uv_poll_start(&stream->poll, events, on_ready);
}

static void keep(struct stream *stream, const char *bytes, size_t length)
{
    size_t room = stream->child->output_max - stream->kept->length;

    *stream->total += length;
    neap_buffer_add(stream->kept, bytes, length < room ? length : room);
}

/* Reads what is there; false when nothing more will come. */
static bool drain(struct stream *stream)
{
    char bytes[16384];

    for (int round = 0; round < 64; round++) { /* other streams want their turn */
        ssize_t got = read(stream->fd, bytes, sizeof bytes);

        if (got > 0)
            keep(stream, bytes, (size_t)got);
        else if (got == 0 || (errno != EINTR && errno != EAGAIN))
            return false;
        else if (errno == EAGAIN)
            return true;
    }
    return true;
}

static void on_output(uv_poll_t *poll, int status, int events)
{
    struct stream *stream = poll->data;

    (void)events;
    if (status < 0 || !drain(stream))
        stream_close(stream);
}

static void on_input(uv_poll_t *poll, int status, int events)
{
    struct stream *stream = poll->data;
    struct neap_child *child = stream->child;
    ssize_t written = 0;

    (void)events;
    if (status == 0 && *child->input)
        written = write(stream->fd, child->input, strlen(child->input));
    if (written > 0)
        child->input += written;
    if (status < 0 || (written < 0 && errno != EAGAIN && errno != EINTR) || !*child->input)
        stream_close(stream);
}

static void on_end(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    uv_poll_stop(poll); /* it stays readable; is_over asks */
}

static void signal_group(const struct neap_child *child, int number)
{
    if (child->pid > 0)
        kill(child->opts.inherit ? child->pid : -child->pid, number);
}

/* Reaps the child once it has ended. While it is a zombie its group id cannot
 * be anyone else's: that is the moment to end what it left behind. */
static bool reap(struct neap_child *child)
{
    siginfo_t ended = {0};
    struct rusage usage = {0};

    if (child->pid == 0)
        return true;
    if (waitid(P_PID, (id_t)child->pid, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        ended.si_pid == 0)
        return false;
    if (!child->opts.daemon && !child->opts.inherit)
        kill(-child->pid, SIGKILL);
    while (wait4(child->pid, &child->status, 0, &usage) < 0 && errno == EINTR)
        ;
    child->result->peak_bytes = (int64_t)usage.ru_maxrss * 1024;
    child->pid = 0;
    return true;
}

bool neap_child_is_over(void *child)
{
    return reap(child);
}

static void on_ask(void *arg)
{
    (void)arg; /* the turn is what counts: is_over asks after it */
}

static void watch(struct neap_child *child, const struct neap_spawn *spawn)
{
    struct neap_child_result *result = child->result;
    int pidfd = (int)syscall(SYS_pidfd_open, spawn->pid, 0);

    child->pid = spawn->pid;
    child->input = child->opts.stdin_text;
    child->out.kept = &result->out;
    child->out.total = &result->out_bytes;
    child->err.kept = &result->err;
    child->err.total = &result->err_bytes;
    stream_open(child, &child->in, spawn->in, UV_WRITABLE, on_input);
    stream_open(child, &child->out, spawn->out, UV_READABLE, on_output);
    stream_open(child, &child->err, spawn->err, UV_READABLE, on_output);
    stream_open(child, &child->end, pidfd, UV_READABLE, on_end);
}

static void end_group(struct neap_child *child, const char *what)
{
    struct neap_wait wait = {
        .done = neap_child_is_over, .arg = child, .cleanup = true, .what = what};

    signal_group(child, SIGTERM);
    wait.deadline_ms = neap_clock_ms() + GRACE_MS;
    if (neap_loop_wait(child->loop, &wait, NULL))
        return;
    signal_group(child, SIGKILL);
    wait.deadline_ms = neap_clock_ms() + REAP_MS;
    neap_loop_wait(child->loop, &wait, NULL);
}

static bool wait_for(struct neap_child *child, struct neap_error *err)
{
    struct neap_wait wait = {.done = neap_child_is_over,
                             .arg = child,
                             .deadline_ms = child->opts.deadline_ms,
                             .cleanup = child->opts.cleanup,
                             .what = child->opts.inherit ? NULL : child->name};

    return neap_loop_wait(child->loop, &wait, err);
}

/* What a child that inherits the terminal may not leave changed. */
struct terminal {
    struct sigaction interrupt, quit;
    struct termios modes;
    bool has_modes;
};

/* Ctrl-C in psql is psql's: as system() does, we look away meanwhile. */
static void terminal_lend(struct terminal *terminal)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    terminal->has_modes = tcgetattr(STDIN_FILENO, &terminal->modes) == 0;
    sigaction(SIGINT, &ignore, &terminal->interrupt);
    sigaction(SIGQUIT, &ignore, &terminal->quit);
}

/* A killed psql leaves the terminal raw. */
static void terminal_take(const struct terminal *terminal)
{
    if (terminal->has_modes)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal->modes);
    sigaction(SIGINT, &terminal->interrupt, NULL);
    sigaction(SIGQUIT, &terminal->quit, NULL);
}

bool neap_child_begin(struct neap_loop *loop, const struct neap_child_opts *opts,
                      struct neap_child_result *result, struct neap_child **out,
                      struct neap_error *err)
{
    struct neap_spawn spawn;

    *out = NULL;
    *result = (struct neap_child_result){0};
    if (!opts->cleanup && !neap_run_check(neap_loop_run(loop), err))
        return false;
    if (!neap_spawn(opts, &spawn, err))
        return false;
    struct neap_child *child = neap_alloc(sizeof *child);
    child->opts = *opts;
    child->opts.argv = child->opts.env = NULL; /* they may be gone by then */
    child->name = neap_strdup(neap_path_name(opts->argv[0]));
    child->loop = loop;
    child->result = result;
    child->output_max = opts->output_max ? opts->output_max : OUTPUT_DEFAULT;
    watch(child, &spawn);
    if (child->end.fd < 0)
        child->timer = neap_timer_begin(loop, ASK_EVERY_MS, ASK_EVERY_MS, on_ask, NULL);
    *out = child;
    return true;
}

/* Takes what the pipes still hold, closes them, and lets the child go. */
void neap_child_end(struct neap_child *child)
{
    struct stream *outputs[] = {&child->out, &child->err};

    if (!reap(child))
        end_group(child, child->name);
    neap_timer_end(child->timer);
    for (size_t i = 0; i < 2; i++)
        if (outputs[i]->fd >= 0 && !uv_is_closing((uv_handle_t *)&outputs[i]->poll))
            drain(outputs[i]);
    child->result->exit_status =
        WIFSIGNALED(child->status) ? 128 + WTERMSIG(child->status) : WEXITSTATUS(child->status);
    stream_close(&child->in);
    stream_close(&child->out);
    stream_close(&child->err);
    stream_close(&child->end);
    struct neap_loop *loop = child->loop;
    child->finished = true;
    if (child->handle_count == 0)
        release(child);
    else
        neap_loop_turn(loop); /* closes the descriptors now and not some time */
}

bool neap_child_run(struct neap_loop *loop, const struct neap_child_opts *opts,
                    struct neap_child_result *result, struct neap_error *err)
{
    struct terminal terminal = {.has_modes = false};
    struct neap_child *child;
    bool ok = false;

    if (opts->inherit) /* before it starts, or its first Ctrl-C would be ours */
        terminal_lend(&terminal);
    if (neap_child_begin(loop, opts, result, &child, err)) {
        ok = wait_for(child, err);
        neap_child_end(child);
    }
    if (opts->inherit)
        terminal_take(&terminal);
    return ok;
}

void neap_child_result_clear(struct neap_child_result *result)
{
    neap_buffer_clear(&result->out);
    neap_buffer_clear(&result->err);
}
