/* SPDX-License-Identifier: MIT
 *
 * Small things that several unit tests need: cmocka's includes in their order,
 * a temporary directory, and stderr as text.
 */
#ifndef NEAP_TESTS_UNIT_TEST_SUPPORT_H
#define NEAP_TESTS_UNIT_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/path.h"

/* What must not hang took less: what it is kept from takes a minute. No measure of
 * speed, which is the benches' to tell: valgrind, sanitizers and load slow it all. */
#define TEST_HANG_MS 25000

/* How far a loop over "each of many" goes: by one, and under valgrind, where a turn
 * takes thirty times as long, by `stride`. */
static inline size_t test_stride(size_t stride)
{
    const char *preset = getenv("NEAP_PRESET");

    return preset && strcmp(preset, "valgrind") == 0 ? stride : 1;
}

#define assert_contains(text, part)                                     \
    do {                                                                \
        if (!strstr((text), (part)))                                    \
            fail_msg("\"%s\" does not contain \"%s\"", (text), (part)); \
    } while (0)
#define assert_lacks(text, part)                                \
    do {                                                        \
        if (strstr((text), (part)))                             \
            fail_msg("\"%s\" contains \"%s\"", (text), (part)); \
    } while (0)

/* A fresh directory; the caller removes it and frees the name. */
static inline char *test_temp_dir(void)
{
    char *dir = strdup("/tmp/neap-test-XXXXXX");

    assert_non_null(dir);
    assert_non_null(mkdtemp(dir));
    return dir;
}

/* Removes it with all that is in it. Hidden names are no test's. */
static inline void test_temp_remove(const char *dir)
{
    DIR *opened = opendir(dir);

    for (const struct dirent *entry; opened && (entry = readdir(opened));) {
        char *path = neap_path_join(dir, entry->d_name);

        if (entry->d_name[0] != '.' && unlink(path) != 0 && errno == EISDIR)
            test_temp_remove(path);
        free(path);
    }
    if (opened)
        closedir(opened);
    rmdir(dir);
}

/* From here stderr goes to a file until test_stderr_end gives its text. */
struct test_stderr {
    int saved, file;
};

static inline struct test_stderr test_stderr_begin(void)
{
    char name[] = "/tmp/neap-test-XXXXXX";
    struct test_stderr held = {dup(STDERR_FILENO), mkstemp(name)};

    assert_true(held.saved >= 0 && held.file >= 0);
    unlink(name);
    dup2(held.file, STDERR_FILENO);
    return held;
}

/* The caller frees. */
static inline char *test_stderr_end(struct test_stderr *held)
{
    char *text = calloc(1, 65536);
    ssize_t got = 0;

    assert_non_null(text);
    dup2(held->saved, STDERR_FILENO);
    got = pread(held->file, text, 65535, 0);
    assert_true(got >= 0);
    close(held->saved);
    close(held->file);
    return text;
}

#endif
