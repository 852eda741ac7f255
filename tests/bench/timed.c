/* SPDX-License-Identifier: MIT
 *
 * Runs a command and says what it cost, by the kernel's own account of it:
 * "STATUS WALL_NS CPU_US PEAK_KIB" as the last line of stderr, which is the
 * command's stderr too. Status 128+n: ended by signal n.
 *
 *   timed COMMAND [ARGUMENT…]
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long long us_of(struct timeval time)
{
    return time.tv_sec * 1000000LL + time.tv_usec;
}

int main(int argc, char **argv)
{
    int status;
    struct rusage used;
    if (argc < 2)
        return 2;
    long long began = now_ns();
    pid_t child = fork();
    if (child == 0) {
        execvp(argv[1], argv + 1);
        perror(argv[1]);
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, &used) != child)
        return 2;
    fprintf(stderr, "\n%d %lld %lld %ld\n",
            WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), now_ns() - began,
            us_of(used.ru_utime) + us_of(used.ru_stime), used.ru_maxrss);
    return 0;
}
