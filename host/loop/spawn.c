/* SPDX-License-Identifier: MIT
 *
 * fork and exec. Between the two only async-signal-safe calls are made, since
 * libuv's threads may hold any lock: users, groups and the environment are
 * looked up before. What fails in the child comes back through a pipe that
 * exec closes.
 */
#include "host/loop/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/base/crash.h"
#include "host/base/memory.h"

#define GROUP_MAX 256
#define ENV_MAX 8
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

/* What the child needs, made before the fork. */
struct plan {
    const struct neap_child_opts *opts;
    bool drops; /* to uid, gid, groups */
    uid_t uid;
    gid_t gid;
    gid_t groups[GROUP_MAX];
    int group_count;
    char *home; /* of the user */
    char *own_env[ENV_MAX];
    pid_t parent;
    int in[2], out[2], err[2], report[2]; /* pipes; -1 when absent */
};

/* What went wrong in the child. */
struct report {
    int error;
    char step[24];
};

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0)
            close(pair[i]);
        pair[i] = -1;
    }
}

static void plan_clear(struct plan *plan)
{
    close_pair(plan->in);
    close_pair(plan->out);
    close_pair(plan->err);
    close_pair(plan->report);
    for (size_t i = 0; i < ENV_MAX; i++)
        free(plan->own_env[i]);
    free(plan->home);
}

static bool plan_user(struct plan *plan, const char *user, struct neap_error *err)
{
    struct passwd entry, *found = NULL;
    char buffer[8192];
    int status = 0;

    if (!user || geteuid() != 0)
        return true;
    status = getpwnam_r(user, &entry, buffer, sizeof buffer, &found);
    if (!found) {
        neap_error_set(err, NEAP_ERR_FILE_IO, "there is no user %s%s%s", user, status ? ": " : "",
                       status ? strerrordesc_np(status) : "");
        return false;
    }
    plan->group_count = GROUP_MAX;
    if (getgrouplist(user, found->pw_gid, plan->groups, &plan->group_count) < 0)
        plan->group_count = GROUP_MAX; /* cut: fewer rights, never more */
    plan->uid = found->pw_uid;
    plan->gid = found->pw_gid;
    plan->home = neap_strdup(found->pw_dir);
    plan->drops = true;
    return true;
}

/* Secrets come in environments (PGPASSWORD, DATABASE_URL): a child gets none
 * of ours but what programs cannot do without. */
static void plan_env(struct plan *plan)
{
    static const char *const names[] = {"PATH", "HOME", "LANG", "TZ", "TMPDIR"};
    size_t count = 0;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);

        if (plan->home && strcmp(names[i], "HOME") == 0)
            value = plan->home;
        if (value)
            plan->own_env[count++] = neap_format("%s=%s", names[i], value);
    }
}

static bool plan_pipes(struct plan *plan)
{
    const struct neap_child_opts *opts = plan->opts;

    if (pipe2(plan->report, O_CLOEXEC) != 0)
        return false;
    if (opts->inherit)
        return true;
    if (opts->stdin_text) {
        if (pipe2(plan->in, O_CLOEXEC) != 0)
            return false;
    } else {
        plan->in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (plan->in[0] < 0)
            return false;
    }
    return pipe2(plan->out, O_CLOEXEC) == 0 && pipe2(plan->err, O_CLOEXEC) == 0;
}

static _Noreturn void fail_child(const struct plan *plan, const char *step)
{
    struct report report = {.error = errno};
    ssize_t ignored = 0;

    memcpy(report.step, step, strnlen(step, sizeof report.step - 1));
    ignored = write(plan->report[1], &report, sizeof report);
    (void)ignored;
    neap_exit_now(127);
}

static void reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        sigaction(number, &action, NULL); /* KILL and STOP refuse: no matter */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* All but the three standard ones close at exec, also those that a library
 * opened without the flag. */
static void mark_descriptors(void)
{
    if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    for (int fd = 3; fd < 4096; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static void drop_rights(const struct plan *plan)
{
    if (!plan->drops)
        return;
    if (setgroups((size_t)plan->group_count, plan->groups) != 0)
        fail_child(plan, "set its groups");
    if (setgid(plan->gid) != 0)
        fail_child(plan, "set its group");
    if (setuid(plan->uid) != 0)
        fail_child(plan, "set its user");
}

/* After the rights are dropped: the kernel forgets the wish when they change. */
static void tie_to_parent(const struct plan *plan)
{
    if (plan->opts->daemon)
        return;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != plan->parent)
        neap_exit_now(127); /* it died before the wish was made */
}

static void set_streams(const struct plan *plan)
{
    if (plan->opts->inherit)
        return;
    if (dup2(plan->in[0], STDIN_FILENO) < 0 || dup2(plan->out[1], STDOUT_FILENO) < 0 ||
        dup2(plan->err[1], STDERR_FILENO) < 0)
        fail_child(plan, "set its streams");
}

static _Noreturn void run_child(const struct plan *plan, char *const *argv, char *const *env)
{
    const struct neap_child_opts *opts = plan->opts;

    reset_signals();
    if (opts->daemon)
        setsid();
    else if (!opts->inherit) /* psql stays in the terminal's foreground group */
        setpgid(0, 0);
    set_streams(plan);
    mark_descriptors();
    drop_rights(plan);
    tie_to_parent(plan);
    if (opts->cwd && chdir(opts->cwd) != 0)
        fail_child(plan, "change directory");
    execvpe(argv[0], argv, env);
    fail_child(plan, "start");
}

static bool read_report(int fd, struct report *report)
{
    ssize_t got = 0;

    do
        got = read(fd, report, sizeof *report);
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof *report;
}

static int take(int *fd)
{
    int taken = *fd;

    if (taken >= 0)
        fcntl(taken, F_SETFL, fcntl(taken, F_GETFL) | O_NONBLOCK);
    *fd = -1;
    return taken;
}

/* True when exec took place. Else the child is reaped here. */
static bool check_started(struct plan *plan, pid_t pid, struct neap_error *err)
{
    const struct neap_child_opts *opts = plan->opts;
    struct report report = {0};

    close(plan->report[1]);
    plan->report[1] = -1;
    if (!read_report(plan->report[0], &report))
        return true;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    report.step[sizeof report.step - 1] = '\0';
    neap_error_errno(err, NEAP_ERR_FILE_IO, report.error, "cannot start %s (%s%s%s)", opts->argv[0],
                     report.step, opts->cwd ? " in " : "", opts->cwd ? opts->cwd : "");
    return false;
}

/* exec takes `char *const *` for history's sake and changes nothing. */
static char *const *as_vector(const char *const *words)
{
    char *const *vector = NULL;

    memcpy(&vector, &words, sizeof vector);
    return vector;
}

static pid_t fork_child(struct plan *plan)
{
    const struct neap_child_opts *opts = plan->opts;
    char *const *argv = as_vector(opts->argv);
    sigset_t all, before;
    pid_t pid = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* our handlers must not run in the child */
    pid = fork();
    if (pid == 0)
        run_child(plan, argv, opts->env ? as_vector(opts->env) : plan->own_env);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid;
}

bool neap_spawn(const struct neap_child_opts *opts, struct neap_spawn *out, struct neap_error *err)
{
    struct plan plan = {.opts = opts,
                        .parent = getpid(),
                        .in = {-1, -1},
                        .out = {-1, -1},
                        .err = {-1, -1},
                        .report = {-1, -1}};
    bool ok = plan_user(&plan, opts->user, err);
    pid_t pid = -1;

    *out = (struct neap_spawn){.pid = -1, .in = -1, .out = -1, .err = -1};
    if (ok) {
        plan_env(&plan);
        pid = plan_pipes(&plan) ? fork_child(&plan) : -1;
        if (pid < 0)
            neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot start %s", opts->argv[0]);
        ok = pid > 0 && check_started(&plan, pid, err);
    }
    if (ok)
        *out = (struct neap_spawn){pid, take(&plan.in[1]), take(&plan.out[0]), take(&plan.err[0])};
    plan_clear(&plan);
    return ok;
}
