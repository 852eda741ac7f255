/* SPDX-License-Identifier: MIT
 *
 * Preloaded into neap (and no program it starts): the n-th allocation of the
 * whole process fails, whoever asks: neap, Lua, libpq, libuv, jansson, libpg_query,
 * the C library itself. With MODE=rest every later one of the same thread does.
 *
 *   MEMORY_FAULT_AT=N        0: none fails, they are only counted
 *   MEMORY_FAULT_MODE=once|rest
 *   MEMORY_FAULT_FROM=NAME   only what is asked by the object NAME* counts: libpq, neap
 *   MEMORY_FAULT_REPORT=FILE "failed N BYTES OBJECT+OFFSET" and, at exit, "count N"
 *
 * Surprise: the report is written by write(2) into a buffer on the stack, because
 * whatever formats may allocate.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* glibc's own, which what we replace would call. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);

static atomic_long counted;
static long fail_at;
static bool is_armed, is_rest;
static const char *from;
static int report = -1;

static void add_text(char *line, size_t *length, const char *text)
{
    while (*text && *length < 250)
        line[(*length)++] = *text++;
}

static void add_number(char *line, size_t *length, uintptr_t number, unsigned base)
{
    char digits[24];
    size_t count = 0;

    do {
        digits[count++] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number);
    while (count > 0 && *length < 250)
        line[(*length)++] = digits[--count];
}

static const char *object_of(const void *caller, uintptr_t *offset)
{
    Dl_info place = {0};

    if (!dladdr(caller, &place) || !place.dli_fname)
        return "?";
    const char *slash = strrchr(place.dli_fname, '/');

    *offset = (uintptr_t)caller - (uintptr_t)place.dli_fbase;
    return slash ? slash + 1 : place.dli_fname;
}

static void say_failed(long n, size_t size, const void *caller)
{
    char line[256];
    size_t length = 0;
    uintptr_t offset = 0;
    const char *object = object_of(caller, &offset);

    add_text(line, &length, "failed ");
    add_number(line, &length, (uintptr_t)n, 10);
    add_text(line, &length, " ");
    add_number(line, &length, size, 10);
    add_text(line, &length, " ");
    add_text(line, &length, object);
    add_text(line, &length, "+0x");
    add_number(line, &length, offset, 16);
    add_text(line, &length, "\n");
    if (write(report, line, length) < 0)
        abort();
}

static bool is_counted(const void *caller)
{
    uintptr_t offset = 0;

    return !from || strncmp(object_of(caller, &offset), from, strlen(from)) == 0;
}

/* True when this allocation is the one to fail. */
static bool fails(size_t size, const void *caller)
{
    if (!is_armed || size == 0 || !is_counted(caller))
        return false;
    long n = atomic_fetch_add(&counted, 1) + 1;

    if (fail_at == 0 || n < fail_at || (n > fail_at && !is_rest))
        return false;
    if (n == fail_at)
        say_failed(n, size, caller);
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return fails(size, __builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails(count && size, __builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    return fails(size, __builtin_return_address(0)) ? NULL : __libc_realloc(block, size);
}

__attribute__((constructor)) static void begin(void)
{
    const char *at = getenv("MEMORY_FAULT_AT");
    const char *mode = getenv("MEMORY_FAULT_MODE");
    const char *path = getenv("MEMORY_FAULT_REPORT");

    /* `env` and `timeout` run before neap and hand the variables on. */
    if (!at || !path || strcmp(program_invocation_short_name, "neap") != 0)
        return;
    report = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    fail_at = atol(at);
    from = getenv("MEMORY_FAULT_FROM");
    is_rest = mode && strcmp(mode, "rest") == 0;
    unsetenv("LD_PRELOAD");
    is_armed = report >= 0;
}

__attribute__((destructor)) static void end(void)
{
    char line[64];
    size_t length = 0;

    if (!is_armed)
        return;
    is_armed = false;
    add_text(line, &length, "count ");
    add_number(line, &length, (uintptr_t)atomic_load(&counted), 10);
    add_text(line, &length, "\n");
    if (write(report, line, length) < 0)
        abort();
}
