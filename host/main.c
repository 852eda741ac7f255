/* SPDX-License-Identifier: MIT
 *
 * What must hold before anything else runs: files are private, no core dump and
 * no debugger of the same user sees the secrets in memory, and a reader of
 * stdout that goes away does not end a run.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/crash.h"
#include "host/base/memory.h"
#include "host/cli/cli.h"

/* Whoever closed one of the three gave their numbers away: the next file that is opened,
 * a journal or a socket, would be what messages are written to. Opened the wrong way
 * round, so that reading or writing still fails. */
static bool hold_standard(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    if (!hold_standard())
        return 70;
    neap_memory_open();
    neap_crash_open();
    umask(077);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    (void)signal(SIGPIPE, SIG_IGN);
    return cli_main(argc, argv);
}
