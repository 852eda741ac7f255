/* SPDX-License-Identifier: MIT
 *
 * Says that neap crashed, and ends it as a bug. A library may crash where it finds
 * no memory (libpg_query 15 does), and a deep recursion leaves no stack: so the
 * handler runs on a stack of its own and calls nothing but write and _exit.
 */
#include "host/base/crash.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#ifdef NEAP_COVERAGE
#include <gcov.h>
#endif

#define EXIT_BUG 70

static const char *volatile library;

void neap_crash_in(const char *name)
{
    library = name;
}

#ifdef NEAP_COVERAGE
static volatile sig_atomic_t dump_status = -1; /* while libgcov writes */
#endif

_Noreturn void neap_exit_now(int status)
{
#ifdef NEAP_COVERAGE /* the lines of a process that ends here count as well */
    if (dump_status < 0) {
        sigset_t none;
        sigemptyset(&none); /* its own crash in our handler ends as ours would */
        sigprocmask(SIG_SETMASK, &none, NULL);
        dump_status = status;
        __gcov_dump();
    }
#endif
    _exit(status);
}

static void say(const char *words)
{
    ssize_t ignored = write(STDERR_FILENO, words, strlen(words));

    (void)ignored;
}

static void on_crash(int number)
{
#ifdef NEAP_COVERAGE /* libgcov crashes where it finds no memory: that is no bug of ours */
    if (dump_status >= 0)
        _exit(dump_status);
#endif
    char digits[] = {(char)('0' + number / 10 % 10), (char)('0' + number % 10), '\0'};
    const char *name = library;

    say("error: neap crashed (signal ");
    say(digits);
    say(name ? ") in " : ")");
    say(name ? name : "");
    say(", a bug; what was in doubt is settled by the next run\n");
    neap_exit_now(EXIT_BUG);
}

void neap_crash_open(void)
{
#ifndef NEAP_ASAN
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    static char room[65536];
    stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK};

    sigaltstack(&stack, NULL);
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
#else
    (void)on_crash;
#endif
}
