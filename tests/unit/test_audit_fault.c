/* SPDX-License-Identifier: MIT
 *
 * The journal on a disk that fails: in each scenario every call on a file fails in
 * turn (the linker puts ours before libc's, see tests/CMakeLists.txt). What was said
 * to be durable is there, a refusal has its reason, and the next run's chain holds.
 */
#include "tests/unit/test_support.h"

#include <sys/file.h>
#include <sys/stat.h>

#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/change/audit.h"

#define IDENTITY "7301/16384"
#define FILE_NAME "7301-16384.jsonl"
#define SEGMENT_BYTES 1000

static struct {
    bool armed, short_write; /* a write comes to its half instead */
    int calls, fail_at, error;
    int refused; /* of the scenario's trials */
} fault;

static bool fails(void)
{
    if (!fault.armed || ++fault.calls != fault.fail_at)
        return false;
    errno = fault.error;
    return true;
}

/* One line for each function: its result when it fails, and how the real one is called. */
#define WRAP(type, name, parameters, arguments, failed)      \
    type __real_##name parameters;                           \
    type __wrap_##name parameters;                           \
    type __wrap_##name parameters                            \
    {                                                        \
        return fails() ? (failed) : __real_##name arguments; \
    }

WRAP(ssize_t, pread, (int fd, void *bytes, size_t length, off_t at), (fd, bytes, length, at), -1)
WRAP(int, fsync, (int fd), (fd), -1)
WRAP(int, fdatasync, (int fd), (fd), -1)
WRAP(int, ftruncate, (int fd, off_t length), (fd, length), -1)
WRAP(int, fallocate, (int fd, int how, off_t at, off_t length), (fd, how, at, length), -1)
WRAP(int, flock, (int fd, int how), (fd, how), -1)
WRAP(int, fstat, (int fd, struct stat *out), (fd, out), -1)
WRAP(int, rename, (const char *from, const char *to), (from, to), -1)
WRAP(FILE *, fdopen, (int fd, const char *how), (fd, how), NULL)
WRAP(int, fseek, (FILE * file, long at, int from), (file, at, from), -1)

ssize_t __real_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length)
{
    if (!fails())
        return __real_write(fd, bytes, length);
    return fault.short_write ? __real_write(fd, bytes, length / 2) : -1;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fails() ? -1 : __real_open(path, flags, mode);
}

static char *state_dir;

/* A run as neap makes one. True: it was told that all of it is durable. */
static bool write_run(const char *run_id, const char *key, struct neap_error *err)
{
    struct neap_audit *audit = NULL;
    struct neap_audit_opts opts = {.state_dir = state_dir,
                                   .identity = IDENTITY,
                                   .run_id = run_id,
                                   .signing_key = key,
                                   .segment_bytes = SEGMENT_BYTES};
    if (!neap_audit_open(&opts, &audit, err))
        return false;
    bool done = neap_audit_begin(audit, "", json_object(), err);
    for (int i = 0; done && i < 3; i++) {
        neap_audit_add(audit, "step.begin", json_object());
        done = neap_audit_sync(audit, err);
    }
    if (done) {
        neap_audit_add(audit, "run.end", json_object());
        done = neap_audit_sync(audit, err);
    }
    neap_audit_close(audit);
    return done;
}

static bool count_event(void *arg, const char *hash, const json_t *event)
{
    (void)hash;
    (void)event;
    ++*(int *)arg;
    return true;
}

static int count_events(const char *run_id)
{
    int count = 0;
    assert_true(neap_audit_read(state_dir, IDENTITY, run_id, count_event, &count, NULL));
    return count;
}

static char *key_path(const char *ending)
{
    return neap_format("%s/key%s", state_dir, ending);
}

struct scenario {
    void (*prepare)(void);
    bool (*act)(struct neap_error *err);
    void (*check)(bool done); /* of what act did, beside the chain */
};

static void prepare_nothing(void)
{
}

static void prepare_run(void)
{
    assert_true(write_run("before", NULL, NULL));
}

/* What a crash in the middle of a write leaves. */
static void prepare_torn(void)
{
    prepare_run();
    char *path = neap_format("%s/journal/" FILE_NAME, state_dir);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    assert_true(fputs("0123456789 torn", file) >= 0);
    assert_int_equal(fclose(file), 0);
    free(path);
}

/* What a crash between closing a segment and beginning the next leaves. */
static void prepare_half_rotated(void)
{
    prepare_run();
    char *path = neap_format("%s/journal/" FILE_NAME, state_dir);
    int segment = 1;
    char *closed = NULL;
    do {
        free(closed);
        closed = neap_format("%s/journal/7301-16384.%d.jsonl", state_dir, segment++);
    } while (neap_path_exists(closed));
    assert_int_equal(rename(path, closed), 0);
    free(closed);
    free(path);
}

static void prepare_key(void)
{
    char *path = key_path("");
    assert_true(neap_audit_keygen(path, NULL));
    free(path);
}

static bool act_run(struct neap_error *err)
{
    return write_run("now", NULL, err);
}

static bool act_signed_run(struct neap_error *err)
{
    char *path = key_path("");
    bool done = write_run("now", path, err);
    free(path);
    return done;
}

static void check_run(bool done)
{
    int count = count_events("now");
    if (done)
        assert_true(count >= 5);
}

static bool act_keygen(struct neap_error *err)
{
    char *path = key_path("");
    bool done = neap_audit_keygen(path, err);
    free(path);
    return done;
}

/* A key that was said to be there signs, and its other half checks. */
static void check_key(bool done)
{
    if (!done)
        return;
    char *public_path = key_path(".pub");
    assert_true(act_signed_run(NULL));
    struct neap_audit_verify_opts opts = {
        .state_dir = state_dir, .identity = IDENTITY, .public_key = public_path};
    struct neap_audit_report report;
    assert_true(neap_audit_verify(&opts, &report, NULL));
    assert_int_equal(report.finding_count, 0);
    neap_audit_report_clear(&report);
    free(public_path);
}

/* Reading fails as a whole, or finds everything: never a part of it. */
static bool act_read(struct neap_error *err)
{
    int count = 0;
    bool read = neap_audit_read(state_dir, IDENTITY, "before", count_event, &count, err);
    if (read)
        assert_int_equal(count, 5);
    return read;
}

static bool act_verify(struct neap_error *err)
{
    struct neap_audit_verify_opts opts = {.state_dir = state_dir, .identity = IDENTITY};
    struct neap_audit_report report;
    if (!neap_audit_verify(&opts, &report, err))
        return false;
    assert_int_equal(report.finding_count, 0);
    assert_int_equal(report.event_count, 6); /* and journal.begin */
    neap_audit_report_clear(&report);
    return true;
}

static void check_nothing(bool done)
{
    (void)done;
}

/* One trial; false when the scenario made fewer calls than fail_at. */
static bool try_at(const struct scenario *scenario, int fail_at, int error, bool is_short)
{
    struct neap_error err = {0};
    state_dir = test_temp_dir();
    scenario->prepare();
    fault.calls = 0;
    fault.fail_at = fail_at;
    fault.error = error;
    fault.short_write = is_short;
    fault.armed = true;
    bool done = scenario->act(&err);
    fault.armed = false;
    fault.refused += !done;
    if (!done && err.code == NEAP_OK)
        fail_msg("call %d: refused without a reason", fail_at);
    neap_error_clear(&err);
    scenario->check(done);
    if (!write_run("after", NULL, &err))
        fail_msg("call %d: the next run was refused: %s", fail_at, err.message);
    struct neap_audit_verify_opts opts = {.state_dir = state_dir, .identity = IDENTITY};
    struct neap_audit_report report;
    assert_true(neap_audit_verify(&opts, &report, NULL));
    if (report.finding_count > 0)
        fail_msg("call %d: %s %s", fail_at, report.findings[0].where, report.findings[0].message);
    neap_audit_report_clear(&report);
    test_temp_remove(state_dir);
    free(state_dir);
    return fault.calls >= fail_at;
}

static void try_all(const struct scenario *scenario)
{
    fault.refused = 0;
    assert_true(try_at(scenario, 0, 0, false));
    assert_true(fault.calls > 0 && fault.refused == 0);
    int n = 1;
    while (try_at(scenario, n, EIO, false))
        n++;
    n = 1;
    while (try_at(scenario, n, ENOSPC, true))
        n++;
    assert_true(fault.refused > 0);
}

#define SCENARIO(name, prepare, act, check)                            \
    static void test_audit_fault__##name(void **state)                 \
    {                                                                  \
        static const struct scenario scenario = {prepare, act, check}; \
        (void)state;                                                   \
        try_all(&scenario);                                            \
    }

SCENARIO(a_first_run, prepare_nothing, act_run, check_run)
SCENARIO(a_run_that_closes_a_segment, prepare_run, act_run, check_run)
SCENARIO(a_run_after_a_torn_write, prepare_torn, act_run, check_run)
SCENARIO(a_run_after_half_a_rotation, prepare_half_rotated, act_run, check_run)
SCENARIO(a_signed_run, prepare_key, act_signed_run, check_run)
SCENARIO(a_new_key, prepare_nothing, act_keygen, check_key)
SCENARIO(reading, prepare_run, act_read, check_nothing)
SCENARIO(verifying, prepare_run, act_verify, check_nothing)

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test(test_audit_fault__##name)
        CASE(a_first_run),
        CASE(a_run_that_closes_a_segment),
        CASE(a_run_after_a_torn_write),
        CASE(a_run_after_half_a_rotation),
        CASE(a_signed_run),
        CASE(a_new_key),
        CASE(reading),
        CASE(verifying),
#undef CASE
    };
    return cmocka_run_group_tests_name("audit_fault", tests, NULL, NULL);
}
