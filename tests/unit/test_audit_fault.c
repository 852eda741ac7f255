/* SPDX-License-Identifier: MIT
 *
 * The journal on a disk that fails: in each scenario every call on a file fails in
 * turn (the linker puts ours before libc's, see tests/CMakeLists.txt). What was said
 * to be durable is there, a refusal has its reason, and the next run's chain holds.
 */
#include "tests/unit/test_support.h"

#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/change/audit.h"

#define IDENTITY "7301/16384"
#define FILE_NAME "7301-16384.jsonl"
#define SEGMENT_BYTES 1000

static struct {
    bool armed, short_write; /* a write comes to its half instead */
    bool lasting;            /* every later call fails too */
    int calls, fail_at, error;
    int refused; /* of the scenario's trials */
    int syncs;   /* fdatasync's that were done */
    bool beside; /* runs sync as they do at a COMMIT */
} fault;

static bool fails(void)
{
    if (!fault.armed)
        return false;
    fault.calls++;
    bool is_due = fault.calls == fault.fail_at || (fault.lasting && fault.calls > fault.fail_at);
    if (is_due)
        errno = fault.error;
    return is_due;
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
WRAP(int, ftruncate, (int fd, off_t length), (fd, length), -1)
WRAP(int, fallocate, (int fd, int how, off_t at, off_t length), (fd, how, at, length), -1)
WRAP(int, flock, (int fd, int how), (fd, how), -1)
WRAP(int, fstat, (int fd, struct stat *out), (fd, out), -1)
WRAP(int, lstat, (const char *path, struct stat *out), (path, out), -1)
WRAP(int, rename, (const char *from, const char *to), (from, to), -1)
WRAP(FILE *, fdopen, (int fd, const char *how), (fd, how), NULL)
WRAP(int, fseek, (FILE * file, long at, int from), (file, at, from), -1)

/* Without waiting for the disk, thousands of times: no test here cuts the power. */
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    (void)fd;
    return fails() ? -1 : 0;
}

int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    (void)fd;
    if (fails())
        return -1;
    fault.syncs++;
    return 0;
}

static long pretended_type; /* of the journal's file system; 0: what it is */

int __real_statfs(const char *path, struct statfs *out);
int __wrap_statfs(const char *path, struct statfs *out);
int __wrap_statfs(const char *path, struct statfs *out)
{
    if (fails())
        return -1;
    int result = __real_statfs(path, out);
    if (pretended_type != 0)
        out->f_type = (__typeof__(out->f_type))pretended_type;
    return result;
}

ssize_t __real_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length)
{
    if (!fails())
        return __real_write(fd, bytes, length);
    bool is_first = fault.calls == fault.fail_at;
    return fault.short_write && is_first ? __real_write(fd, bytes, length / 2) : -1;
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

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    long argument = va_arg(args, long);
    va_end(args);
    return fails() ? -1 : __real_fcntl(fd, command, argument);
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg)
{
    return fails() ? EAGAIN : __real_pthread_create(thread, attr, run, arg);
}

static char *state_dir;

static bool sync_one(struct neap_audit *audit, struct neap_error *err)
{
    int before = fault.syncs;
    bool done = fault.beside ? neap_audit_sync_begin(audit, err) && neap_audit_sync_end(audit, err)
                             : neap_audit_sync(audit, err);
    if (done)
        assert_int_equal(fault.syncs, before + 1);
    return done;
}

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
        done = sync_one(audit, err);
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

/* On another thread, which the end waits for: what failed there is told here. */
static bool act_run_beside(struct neap_error *err)
{
    fault.beside = true;
    bool done = write_run("now", NULL, err);
    fault.beside = false;
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

/* A key that was said to be there signs, and its other half checks. One that was not
 * is not in the way of the next try. */
static void check_key(bool done)
{
    char *public_path = key_path(".pub");
    struct neap_error err = {0};
    if (!done && !act_keygen(&err))
        fail_msg("the next try: %s %s", err.message, err.detail ? err.detail : "");
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

static const struct kind {
    int error;
    bool is_short, is_lasting;
} kinds[] = {{EIO, false, false}, {ENOSPC, true, false}, {EINTR, false, false}, {EIO, true, true}};

/* One trial; false when the scenario made fewer calls than fail_at. */
static bool try_at(const struct scenario *scenario, int fail_at, const struct kind *kind)
{
    struct neap_error err = {0};
    state_dir = test_temp_dir();
    scenario->prepare();
    fault.calls = 0;
    fault.fail_at = fail_at;
    fault.error = kind->error;
    fault.short_write = kind->is_short;
    fault.lasting = kind->is_lasting;
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
    assert_true(try_at(scenario, 0, &(struct kind){0}));
    assert_true(fault.calls > 0 && fault.refused == 0);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        int n = 1;
        while (try_at(scenario, n, &kinds[i]))
            n++;
    }
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
SCENARIO(a_run_that_syncs_beside, prepare_nothing, act_run_beside, check_run)
SCENARIO(a_run_that_closes_a_segment, prepare_run, act_run, check_run)
SCENARIO(a_run_after_a_torn_write, prepare_torn, act_run, check_run)
SCENARIO(a_run_after_half_a_rotation, prepare_half_rotated, act_run, check_run)
SCENARIO(a_signed_run, prepare_key, act_signed_run, check_run)
SCENARIO(a_new_key, prepare_nothing, act_keygen, check_key)
SCENARIO(reading, prepare_run, act_read, check_nothing)
SCENARIO(verifying, prepare_run, act_verify, check_nothing)

/* After a failed fdatasync the kernel may have dropped the pages and say that all is
 * well next time: nothing more is promised by this run. */
static void test_audit_fault__a_failed_sync_is_final(void **state)
{
    struct neap_error err = {0};
    struct neap_audit *audit = NULL;
    (void)state;
    state_dir = test_temp_dir();
    struct neap_audit_opts opts = {.state_dir = state_dir, .identity = IDENTITY, .run_id = "now"};
    assert_true(neap_audit_open(&opts, &audit, NULL));
    assert_true(neap_audit_begin(audit, "", NULL, NULL));
    bool is_synced = true;
    for (int n = 1; is_synced || strstr(err.message, "cannot sync") == NULL; n++) {
        assert_in_range(n, 1, 20);
        neap_error_clear(&err);
        fault.calls = 0;
        fault.fail_at = n;
        fault.error = EIO;
        fault.short_write = fault.lasting = false;
        neap_audit_add(audit, "step.begin", NULL);
        fault.armed = true;
        is_synced = neap_audit_sync(audit, &err);
        fault.armed = false;
    }
    neap_error_clear(&err);
    int count = count_events("now");
    neap_audit_add(audit, "step.end", NULL);
    for (int i = 0; i < 2; i++) {
        assert_false(neap_audit_sync(audit, &err));
        assert_int_equal(err.code, NEAP_ERR_AUDIT_JOURNAL);
        assert_non_null(strstr(err.message, "could not be synced before"));
        neap_error_clear(&err);
    }
    neap_audit_close(audit);
    assert_int_equal(count_events("now"), count);
    assert_true(write_run("after", NULL, NULL));
    test_temp_remove(state_dir);
    free(state_dir);
}

/* Where locks and appends do not hold, nothing is begun, and nothing left behind. */
static void test_audit_fault__a_network_file_system_is_refused(void **state)
{
    const long types[] = {0x6969L, 0x517BL, 0xFF534D42L, 0xFE534D42L}; /* NFS; SMB, 1 to 3 */
    (void)state;
    state_dir = test_temp_dir();
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct neap_error err = {0};
        char *path = neap_format("%s/journal/" FILE_NAME, state_dir);
        pretended_type = types[i];
        bool done = write_run("now", NULL, &err);
        pretended_type = 0;
        assert_false(done);
        assert_int_equal(err.code, NEAP_ERR_AUDIT_JOURNAL);
        assert_non_null(strstr(err.message, "network file system"));
        assert_non_null(strstr(err.hint, "--state-dir"));
        assert_false(neap_path_exists(path));
        neap_error_clear(&err);
        free(path);
    }
    test_temp_remove(state_dir);
    free(state_dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test(test_audit_fault__##name)
        CASE(a_first_run),
        CASE(a_run_that_syncs_beside),
        CASE(a_run_that_closes_a_segment),
        CASE(a_run_after_a_torn_write),
        CASE(a_run_after_half_a_rotation),
        CASE(a_signed_run),
        CASE(a_new_key),
        CASE(reading),
        CASE(verifying),
        CASE(a_failed_sync_is_final),
        CASE(a_network_file_system_is_refused),
#undef CASE
    };
    return cmocka_run_group_tests_name("audit_fault", tests, NULL, NULL);
}
