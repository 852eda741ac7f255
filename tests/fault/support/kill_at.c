/* SPDX-License-Identifier: MIT
 *
 * Runs a program and ends it by SIGKILL: at an instant, or when it is about to
 * make its n-th system call that reaches outside the process. Compiled by
 * kill_trials.lua.
 *
 *   kill_at RESULT time MICROSECONDS PROGRAM ARGUMENT…
 *   kill_at RESULT call N[+MICROSECONDS] PROGRAM ARGUMENT…
 *
 * Calls are counted from the first connect() on, over all threads and children:
 * before it nothing has been sent or written. Calls that nobody outside can see
 * (memory, clock, futex, a file read or locked) are not counted: killed there, the
 * process leaves what it leaves at the next one that is. "+MICROSECONDS" lets the server go on so
 * long before the kill. N 0 kills never. RESULT gets one line:
 *
 *   killed COUNT NUMBER    at the COUNT-th call, which is system call NUMBER
 *   ended COUNT STATUS     by itself, with this exit status, after COUNT calls
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIFE_S 120 /* nobody waits longer for one run */

struct trial {
    long kill_at; /* 0: never */
    long pause_us;
    long count; /* calls so far */
    long number;
    bool connected, killed;
};

static const long outward[] = {
#ifdef SYS_epoll_wait
    SYS_epoll_wait,
#endif
#ifdef SYS_poll
    SYS_poll,
#endif
#ifdef SYS_mkdir
    SYS_mkdir,
#endif
#ifdef SYS_rename
    SYS_rename,
#endif
#ifdef SYS_unlink
    SYS_unlink,
#endif
    SYS_epoll_pwait, SYS_ppoll,   SYS_mkdirat,   SYS_renameat2,  SYS_unlinkat,
    SYS_connect,     SYS_sendto,  SYS_sendmsg,   SYS_write,      SYS_writev,
    SYS_pwrite64,    SYS_fsync,   SYS_fdatasync, SYS_ftruncate,  SYS_fallocate,
    SYS_recvfrom,    SYS_recvmsg, SYS_shutdown,  SYS_exit_group,
};

static void fail(const char *what)
{
    perror(what);
    exit(3);
}

static void pause_for(long microseconds)
{
    struct timespec left = {.tv_sec = microseconds / 1000000,
                            .tv_nsec = microseconds % 1000000 * 1000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

static bool is_outward(const struct __ptrace_syscall_info *info)
{
    long number = (long)info->entry.nr;
    if (number == SYS_openat)
        return (info->entry.args[2] & O_CREAT) != 0;
    for (size_t i = 0; i < sizeof outward / sizeof outward[0]; i++)
        if (outward[i] == number)
            return true;
    return false;
}

/* The entry of a system call: true when it is the one. */
static bool is_due(struct trial *trial, pid_t task)
{
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, task, sizeof info, &info) <= 0 ||
        info.op != PTRACE_SYSCALL_INFO_ENTRY)
        return false;
    long number = (long)info.entry.nr;
    trial->connected |= number == SYS_connect;
    if (!trial->connected || !is_outward(&info))
        return false;
    trial->number = number;
    return ++trial->count == trial->kill_at;
}

/* What the tracee is told when it goes on. */
static int signal_of(int status)
{
    int number = WSTOPSIG(status);
    bool ours =
        number == (SIGTRAP | 0x80) || number == SIGTRAP || status >> 16 != 0 || number == SIGSTOP;
    return ours ? 0 : number;
}

/* Until `pid` has ended; the status it ended with. Children of its own that outlive
 * it are let go, as a kill would. */
static int trace(struct trial *trial, pid_t pid)
{
    for (;;) {
        int status;
        pid_t task = waitpid(-1, &status, __WALL);
        if (task < 0)
            fail("waitpid");
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (task == pid)
                return status;
            continue;
        }
        if (!trial->killed && WSTOPSIG(status) == (SIGTRAP | 0x80) && is_due(trial, task)) {
            pause_for(trial->pause_us);
            trial->killed = true;
            kill(pid, SIGKILL);
            continue; /* it stays where it is: the call is never made */
        }
        ptrace(trial->killed ? PTRACE_DETACH : PTRACE_SYSCALL, task, NULL,
               (void *)(long)signal_of(status));
    }
}

static pid_t start(char **argv, bool traced)
{
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(3);
    if (traced) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
    }
    execv(argv[0], argv);
    fail(argv[0]);
    return -1;
}

static int run_to_call(struct trial *trial, char **argv)
{
    int status;
    pid_t pid = start(argv, true);
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        fail("the program did not stop at its beginning");
    if (ptrace(PTRACE_SETOPTIONS, pid, NULL,
               PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                   PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC) != 0)
        fail("ptrace");
    ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
    return trace(trial, pid);
}

static int run_for(struct trial *trial, char **argv)
{
    int status;
    pid_t pid = start(argv, false);
    pause_for(trial->pause_us);
    trial->killed = waitpid(pid, &status, WNOHANG) != pid;
    if (trial->killed) {
        kill(pid, SIGKILL);
        if (waitpid(pid, &status, 0) != pid)
            fail("waitpid");
    }
    return status;
}

int main(int argc, char **argv)
{
    struct trial trial = {0};
    if (argc < 5)
        return 2;
    alarm(LIFE_S);
    bool by_call = strcmp(argv[2], "call") == 0;
    char *rest = argv[3];
    if (by_call)
        trial.kill_at = strtol(rest, &rest, 10);
    trial.pause_us = strtol(rest, NULL, 10);
    int status = by_call ? run_to_call(&trial, argv + 4) : run_for(&trial, argv + 4);
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    FILE *file = fopen(argv[1], "w");
    if (file == NULL)
        fail(argv[1]);
    if (killed)
        fprintf(file, "killed %ld %ld\n", trial.count, trial.number);
    else
        fprintf(file, "ended %ld %d\n", trial.count,
                WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return fclose(file) == 0 ? 0 : 3;
}
