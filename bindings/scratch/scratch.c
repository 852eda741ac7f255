/* SPDX-License-Identifier: MIT
 *
 * Life of a scratch server: template, copy, start, look, stop. The server is
 * known by its postmaster.pid only together with /proc/PID/cwd, so that a pid
 * the kernel gave to somebody else is never signalled. Data that no server runs
 * on is thrown away and copied anew: with fsync off it cannot be trusted.
 */
#include "bindings/scratch/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bindings/scratch/scratch_parts.h"
#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/loop/child.h"

#define TEMPLATE_LAYOUT 1 /* raise it when make_template changes */
#define STEP_LIMIT_MS 60000
#define READY_LIMIT_MS 20000
#define POLL_MS 10
#define TEXT_SIZE_MAX 65536
#define PROC_PATH_SIZE 64

/* Relative to data/, where the server works: no path needs quoting for pg_ctl's
 * shell. Everything durable is off; nothing here outlives a crash. */
static const char server_options[] =
    "-c unix_socket_directories=.. -c unix_socket_permissions=0700 -c listen_addresses= "
    "-c port=5432 -c fsync=off -c synchronous_commit=off -c full_page_writes=off "
    "-c max_connections=100 -c shared_buffers=32MB";

void scratch_status_clear(struct scratch_status *status)
{
    free(status->dir);
    free(status->url);
    free(status->version);
    *status = (struct scratch_status){0};
}

/* The file's text, or NULL when it is not there. Never through a link. */
char *scratch_read_text(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    char *text = neap_alloc(TEXT_SIZE_MAX + 1);
    ssize_t length = read(fd, text, TEXT_SIZE_MAX);
    (void)close(fd);
    text[length < 0 ? 0 : length] = '\0';
    return text;
}

/* The server's pid when it runs on exactly this data directory, else 0. */
int scratch_server_pid(const struct scratch_place *place, bool *ready)
{
    char proc[PROC_PATH_SIZE];
    char cwd[4096];
    *ready = false;
    char *text = scratch_read_text(place->pid_file);
    if (text == NULL)
        return 0;
    long pid = strtol(text, NULL, 10);
    *ready = strstr(text, "\nready") != NULL;
    free(text);
    if (pid <= 1 || pid > INT32_MAX)
        return 0;
    (void)snprintf(proc, sizeof proc, "/proc/%ld/cwd", pid);
    ssize_t length = readlink(proc, cwd, sizeof cwd - 1);
    if (length < 0)
        return 0;
    cwd[length] = '\0';
    char *data = realpath(place->data, NULL);
    bool ours = data != NULL && strcmp(cwd, data) == 0;
    free(data);
    return ours ? (int)pid : 0;
}

static char *make_url(const struct scratch_place *place)
{
    struct neap_buffer url = {0};
    neap_buffer_add_text(&url, "postgresql:///neap?host=");
    /* The path is of plain characters (scratch_place_open): these are the ones
     * that a URI must not hold. */
    for (const char *from = place->dir; *from != '\0'; from++) {
        if (*from == '/' || *from == '+' || *from == '@')
            neap_buffer_add_format(&url, "%%%02X", (unsigned)*from);
        else
            neap_buffer_add_char(&url, *from);
    }
    neap_buffer_add_text(&url, "&user=postgres");
    return neap_buffer_take(&url);
}

static void fill_status(const struct scratch_place *place, int pid, struct scratch_status *out)
{
    char *version = scratch_read_text(place->lock);
    if (version != NULL)
        version[strcspn(version, "\n")] = '\0';
    *out = (struct scratch_status){
        .running = true,
        .pid = pid,
        .dir = neap_strdup(place->dir),
        .url = make_url(place),
        .version = version,
    };
}

/* Runs one program of the server as the server's user; a non-zero status is an
 * error that shows what it said. */
bool scratch_run(struct scratch *s, const char *const *argv, const char *input,
                 struct neap_buffer *output, struct neap_error *err)
{
    struct neap_child_opts opts = {
        .argv = argv,
        .cwd = s->place.base,
        .user = s->place.user,
        .stdin_text = input,
        .deadline_ms = neap_clock_deadline_ms(STEP_LIMIT_MS),
        .output_max = TEXT_SIZE_MAX,
        .daemon = !s->attached, /* pg_ctl's child must live on */
        .cleanup = s->cleanup,
    };
    struct neap_child_result result = {0};
    if (!neap_child_run(s->loop, &opts, &result, err)) {
        neap_child_result_clear(&result);
        return false;
    }
    bool done = result.exit_status == 0;
    if (!done) {
        neap_error_set(err, NEAP_ERR_FILE_IO, "%s failed with status %d", argv[0],
                       result.exit_status);
        neap_error_detail(err, "%s", neap_buffer_text(&result.err));
    } else if (output != NULL) {
        neap_buffer_add(output, result.out.bytes, result.out.length);
    }
    neap_child_result_clear(&result);
    return done;
}

bool scratch_remove_tree(struct scratch *s, const char *path, struct neap_error *err)
{
    const char *const argv[] = {"/bin/rm", "-rf", "--one-file-system", "--", path, NULL};
    return scratch_run(s, argv, NULL, NULL, err);
}

/* False when stop deleted the file between our open and our lock. */
static bool is_still(const char *path, int fd)
{
    struct stat named;
    struct stat opened;
    return lstat(path, &named) == 0 && fstat(fd, &opened) == 0 && named.st_ino == opened.st_ino &&
           named.st_dev == opened.st_dev;
}

/* One lock file per project, so that two starts do not meet. Waits on the loop,
 * not in flock. */
static bool claim_once(struct scratch *s, const char *path, int *fd, struct neap_error *err)
{
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0) {
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot open %s", path);
        return false;
    }
    while (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot lock %s", path);
        } else if (neap_loop_sleep(s->loop, POLL_MS, "another neap that starts scratch", err)) {
            continue;
        }
        (void)close(*fd);
        *fd = -1;
        return false;
    }
    return true;
}

bool scratch_claim(struct scratch *s, const char *path, int *fd, struct neap_error *err)
{
    while (claim_once(s, path, fd, err)) {
        if (is_still(path, *fd))
            return true;
        (void)close(*fd);
    }
    return false;
}

void scratch_release(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

/* "postgres (PostgreSQL) 15.20 (Debian …)" -> "15.20" */
bool scratch_find_version(struct scratch *s, struct neap_error *err)
{
    struct neap_buffer text = {0};
    char *postgres = neap_path_join(s->bindir, "postgres");
    const char *const argv[] = {postgres, "--version", NULL};
    bool done = scratch_run(s, argv, NULL, &text, err);
    const char *number = strpbrk(neap_buffer_text(&text), "0123456789");
    if (number != NULL)
        s->version = neap_strndup(number, strcspn(number, " \n"));
    else if (done)
        neap_error_set(err, NEAP_ERR_CONFIG_TARGET, "%s does not say its version", postgres);
    neap_buffer_clear(&text);
    free(postgres);
    return done && number != NULL;
}

static bool initdb(struct scratch *s, const char *dir, struct neap_error *err)
{
    char *program = neap_path_join(s->bindir, "initdb");
    char *postgres = neap_path_join(s->bindir, "postgres");
    const char *const make[] = {program,
                                "-D",
                                dir,
                                "--username=postgres",
                                "--auth=trust",
                                "--encoding=UTF8",
                                "--locale=C.UTF-8",
                                "--wal-segsize=1",
                                "--no-sync",
                                NULL};
    /* Single-user mode: the database exists before the first start. */
    const char *const single[] = {postgres, "--single",  "-D",        dir,
                                  "-c",     "fsync=off", "template1", NULL};
    bool done = scratch_run(s, make, NULL, NULL, err) &&
                scratch_run(s, single, "create database neap template template0\n", NULL, err);
    free(program);
    free(postgres);
    return done;
}

/* *path is the template; made beside it and renamed, so that it is whole or not
 * there. */
static bool make_template(struct scratch *s, char **path, struct neap_error *err)
{
    *path = neap_format("%s/template-%s-%d", s->place.pg, s->version, TEMPLATE_LAYOUT);
    if (neap_path_exists(*path))
        return true;
    int fd = -1;
    if (!scratch_claim(s, s->place.template_lock, &fd, err))
        return false;
    bool done = neap_path_exists(*path);
    if (!done) {
        char *half = neap_format("%s.half", *path);
        done = scratch_remove_tree(s, half, err) && initdb(s, half, err);
        if (done && rename(half, *path) != 0) {
            neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot rename %s", half);
            done = false;
        }
        free(half);
    }
    scratch_release(&fd);
    return done;
}

bool scratch_copy_template(struct scratch *s, struct neap_error *err)
{
    char *template = NULL;
    if (!make_template(s, &template, err)) {
        free(template);
        return false;
    }
    const char *const make[] = {"/bin/mkdir", "-m", "0700", "--", s->place.dir, NULL};
    const char *const copy[] = {"/bin/cp",     "-a", "--reflink=auto", "--", template,
                                s->place.data, NULL};
    bool done = scratch_remove_tree(s, s->place.dir, err) &&
                scratch_run(s, make, NULL, NULL, err) && scratch_run(s, copy, NULL, NULL, err);
    free(template);
    return done;
}

static void fail_start(const struct scratch_place *place, const char *why, struct neap_error *err)
{
    char *log = scratch_read_text(place->log);
    size_t length = log == NULL ? 0 : strlen(log);
    neap_error_set(err, NEAP_ERR_DB_CONNECT, "the scratch server %s", why);
    if (length > 0)
        neap_error_detail(err, "Its log ends: %s", log + (length > 2000 ? length - 2000 : 0));
    neap_error_hint(err, "See %s, or try `neap scratch stop` and start again.", place->log);
    free(log);
}

static bool log_has_fatal(const struct scratch_place *place)
{
    char *log = scratch_read_text(place->log);
    bool fatal = log != NULL && strstr(log, "FATAL:") != NULL;
    free(log);
    return fatal;
}

bool scratch_await_ready(struct scratch *s, int *pid, struct neap_error *err)
{
    int64_t limit_ms = neap_clock_deadline_ms(READY_LIMIT_MS);
    bool ready = false;
    for (;;) {
        *pid = scratch_server_pid(&s->place, &ready);
        if (*pid != 0 && ready)
            return true;
        if (*pid == 0 && log_has_fatal(&s->place)) {
            fail_start(&s->place, "did not start", err);
            return false;
        }
        if (neap_clock_ms() > limit_ms) {
            fail_start(&s->place, "is not ready after 20 s", err);
            return false;
        }
        if (!neap_loop_sleep(s->loop, POLL_MS, "the scratch server's start", err))
            return false;
    }
}

/* What `neap scratch status` reads without starting a program. */
static bool note_version(struct scratch *s, const char *project, struct neap_error *err)
{
    char *text = neap_format("%s\n%s\n", s->version, project);
    size_t length = strlen(text);
    bool done =
        ftruncate(s->lock_fd, 0) == 0 && pwrite(s->lock_fd, text, length, 0) == (ssize_t)length;
    if (!done)
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot write %s", s->place.lock);
    free(text);
    return done;
}

bool scratch_start_server(struct scratch *s, const char *options, struct neap_error *err)
{
    char *pg_ctl = neap_path_join(s->bindir, "pg_ctl");
    const char *const argv[] = {pg_ctl,  "-D", s->place.data, "-l",    s->place.log, "-o",
                                options, "-W", "-s",          "start", NULL};
    bool done = scratch_run(s, argv, NULL, NULL, err);
    free(pg_ctl);
    return done;
}

static bool open_scratch(struct scratch *s, struct neap_loop *loop, const char *project,
                         struct neap_error *err)
{
    *s = (struct scratch){.loop = loop, .lock_fd = -1};
    return scratch_place_open(project, &s->place, err);
}

void scratch_clear(struct scratch *s)
{
    scratch_release(&s->lock_fd);
    scratch_place_clear(&s->place);
    free(s->bindir);
    free(s->version);
}

static bool begin_server(struct scratch *s, const char *project, int *pid, struct neap_error *err)
{
    bool ready = false;
    if (!scratch_place_make(&s->place, err) || !scratch_claim(s, s->place.lock, &s->lock_fd, err))
        return false;
    /* Another neap may have started it while we waited, or died starting it. */
    if (scratch_server_pid(&s->place, &ready) != 0)
        return scratch_await_ready(s, pid, err);
    return scratch_bindir(&s->bindir, err) && scratch_find_version(s, err) &&
           note_version(s, project, err) && scratch_copy_template(s, err) &&
           scratch_start_server(s, server_options, err) && scratch_await_ready(s, pid, err);
}

bool scratch_start(struct neap_loop *loop, const char *project, struct scratch_status *out,
                   struct neap_error *err)
{
    struct scratch s;
    bool done = scratch_look(loop, project, out, err);
    if (!done || out->running)
        return done;
    int pid = 0;
    done = open_scratch(&s, loop, project, err) && begin_server(&s, project, &pid, err);
    if (done) {
        scratch_status_clear(out);
        fill_status(&s.place, pid, out);
    }
    scratch_clear(&s);
    return done;
}

bool scratch_look(struct neap_loop *loop, const char *project, struct scratch_status *out,
                  struct neap_error *err)
{
    struct scratch s;
    bool found = false;
    bool ready = false;
    *out = (struct scratch_status){0};
    bool done = open_scratch(&s, loop, project, err) && scratch_place_check(&s.place, &found, err);
    int pid = done && found ? scratch_server_pid(&s.place, &ready) : 0;
    if (pid != 0 && ready)
        fill_status(&s.place, pid, out);
    scratch_clear(&s);
    return done;
}

/* Immediate shutdown; KILL when even that is not obeyed. */
bool scratch_end_server(struct scratch *s, struct neap_error *err)
{
    bool ready = false;
    int64_t begin_ms = neap_clock_ms();
    int pid = scratch_server_pid(&s->place, &ready);
    while (pid != 0) {
        int signal = neap_clock_ms() - begin_ms > 5000 ? SIGKILL : SIGQUIT;
        if (kill(pid, signal) != 0 && errno != ESRCH) {
            neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot stop the server %d", pid);
            return false;
        }
        if (!neap_loop_sleep(s->loop, POLL_MS, "the scratch server's end", err))
            return false;
        pid = scratch_server_pid(&s->place, &ready);
    }
    return true;
}

bool scratch_stop(struct neap_loop *loop, const char *project, struct neap_error *err)
{
    struct scratch s;
    bool found = false;
    bool done = open_scratch(&s, loop, project, err) && scratch_place_check(&s.place, &found, err);
    if (done && found && (neap_path_exists(s.place.lock) || neap_path_exists(s.place.dir)))
        done = scratch_claim(&s, s.place.lock, &s.lock_fd, err) && scratch_end_server(&s, err) &&
               scratch_remove_tree(&s, s.place.dir, err);
    if (done && s.lock_fd >= 0)
        (void)unlink(s.place.lock);
    scratch_clear(&s);
    return done;
}

bool scratch_psql(char **path, struct neap_error *err)
{
    char *bindir = NULL;
    if (!scratch_bindir(&bindir, err))
        return false;
    *path = neap_path_join(bindir, "psql");
    free(bindir);
    if (access(*path, X_OK) == 0)
        return true;
    neap_error_set(err, NEAP_ERR_CONFIG_TARGET, "no psql at %s", *path);
    neap_error_hint(err, "Install the package postgresql-client.");
    free(*path);
    *path = NULL;
    return false;
}
