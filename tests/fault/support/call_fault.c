/* SPDX-License-Identifier: MIT
 *
 * Preloaded into neap (and no program it starts): something happens at the n-th
 * statement that it sends, or at the n-th call that it makes on a file.
 *
 *   CALL_FAULT_AT=N          0: nothing happens, calls are only counted
 *   CALL_FAULT_MODE=MODE     at a statement:
 *     lose      the connection is shut before it is sent
 *     refuse    the server refuses it (the disk is full)
 *     lock      the server says that a lock was not got in time
 *     stop      neap gets SIGTERM
 *     unsent    libpq does not send it
 *                            at a file (opened, written, synced, locked, looked at, cut):
 *     file      the call fails with EIO, a write with ENOSPC
 *     short     a write comes to its half, and every later one fails with ENOSPC
 *   CALL_FAULT_MATCH=TEXT    only statements that begin so count
 *   CALL_FAULT_REPORT=FILE   "WHAT" where it happened and, at exit, "count N"
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static long counted, fail_at;
static const char *mode = "";
static const char *report_path, *match = "";
static bool is_armed, is_full;

static void say(const char *what, long n)
{
    FILE *file = fopen(report_path, "a");
    if (file == NULL)
        abort();
    fprintf(file, "%s %ld\n", what, n);
    fclose(file);
}

static bool is_mode(const char *name)
{
    return strcmp(mode, name) == 0;
}

static bool is_file_mode(void)
{
    return is_mode("file") || is_mode("short");
}

/* True when this call is the one. */
static bool is_due(const char *what)
{
    if (!is_armed || ++counted != fail_at)
        return false;
    is_armed = false; /* what we do ourselves is not counted */
    say(what, counted);
    is_armed = true;
    return true;
}

typedef int send_fn(PGconn *, const char *, int, const Oid *, const char *const *, const int *,
                    const int *, int);

static const char *refused(void)
{
    return is_mode("lock") ? "do $$ begin raise exception 'test' using errcode = '55P03'; end $$"
                           : "do $$ begin raise exception 'test' using errcode = '53100'; end $$";
}

int PQsendQueryParams(PGconn *conn, const char *sql, int count, const Oid *types,
                      const char *const *values, const int *lengths, const int *formats, int binary)
{
    send_fn *real = (send_fn *)dlsym(RTLD_NEXT, "PQsendQueryParams");
    if (is_file_mode() || strncmp(sql, match, strlen(match)) != 0 || !is_due(sql))
        return real(conn, sql, count, types, values, lengths, formats, binary);
    if (is_mode("unsent"))
        return 0;
    if (is_mode("refuse") || is_mode("lock"))
        return real(conn, refused(), 0, NULL, NULL, NULL, NULL, binary);
    if (is_mode("lose"))
        shutdown(PQsocket(conn), SHUT_RDWR);
    else
        kill(getpid(), SIGTERM);
    return real(conn, sql, count, types, values, lengths, formats, binary);
}

/* A file of neap's own: not its terminal, and not what a library opened. */
static bool is_file_due(const char *what, const void *caller)
{
    Dl_info place = {0};
    if (!is_armed || !is_file_mode() || !dladdr(caller, &place) || place.dli_fname == NULL)
        return false;
    const char *slash = strrchr(place.dli_fname, '/');
    return strcmp(slash ? slash + 1 : place.dli_fname, "neap") == 0 && is_due(what);
}

#define CALLER __builtin_return_address(0)
#define FAILS(what) (is_mode("file") && is_file_due(what, CALLER) && ((errno = EIO), true))
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static bool is_plain_file(int fd)
{
    struct stat found;
    return REAL(fstat)(fd, &found) == 0 && S_ISREG(found.st_mode);
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    if (is_armed && is_file_mode() && fd > STDERR_FILENO && is_plain_file(fd)) {
        bool is_due_now = is_file_due("write", CALLER);
        if (is_due_now && is_mode("short")) {
            is_full = true;
            return REAL(write)(fd, bytes, length / 2);
        }
        if (is_due_now || is_full) {
            errno = ENOSPC;
            return -1;
        }
    }
    return REAL(write)(fd, bytes, length);
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t permissions = (flags & O_CREAT) ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (FAILS("open"))
        return -1;
    return REAL(open)(path, flags, permissions);
}

int fsync(int fd)
{
    return FAILS("fsync") ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd)
{
    return FAILS("fdatasync") ? -1 : REAL(fdatasync)(fd);
}

int ftruncate(int fd, off_t length)
{
    return FAILS("ftruncate") ? -1 : REAL(ftruncate)(fd, length);
}

int flock(int fd, int operation)
{
    return operation != LOCK_UN && FAILS("flock") ? -1 : REAL(flock)(fd, operation);
}

int fstat(int fd, struct stat *found)
{
    return FAILS("fstat") ? -1 : REAL(fstat)(fd, found);
}

int fchmod(int fd, mode_t permissions)
{
    return FAILS("fchmod") ? -1 : REAL(fchmod)(fd, permissions);
}

int rename(const char *from, const char *to)
{
    return FAILS("rename") ? -1 : REAL(rename)(from, to);
}

FILE *fdopen(int fd, const char *how)
{
    return FAILS("fdopen") ? NULL : REAL(fdopen)(fd, how);
}

__attribute__((constructor)) static void begin(void)
{
    const char *at = getenv("CALL_FAULT_AT");

    /* `env` and `timeout` run before neap and hand the variables on. */
    if (!at || strcmp(program_invocation_short_name, "neap") != 0)
        return;
    fail_at = atol(at);
    mode = getenv("CALL_FAULT_MODE");
    report_path = getenv("CALL_FAULT_REPORT");
    if (getenv("CALL_FAULT_MATCH") != NULL)
        match = getenv("CALL_FAULT_MATCH");
    unsetenv("LD_PRELOAD");
    is_armed = mode != NULL && report_path != NULL;
}

__attribute__((destructor)) static void end(void)
{
    if (!is_armed)
        return;
    is_armed = false;
    say("count", counted);
}
