/* SPDX-License-Identifier: MIT
 *
 * What must hold before anything else runs: files are private, no core dump and
 * no debugger of the same user sees the secrets in memory, and a reader of
 * stdout that goes away does not end a run.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "host/base/crash.h"
#include "host/base/memory.h"
#include "host/cli/cli.h"

int main(int argc, char **argv)
{
    neap_memory_open();
    neap_crash_open();
    umask(077);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    (void)signal(SIGPIPE, SIG_IGN);
    return cli_main(argc, argv);
}
