/* SPDX-License-Identifier: MIT
 *
 * The lock of a private scratch is held as long as its neap lives; what nobody has
 * locked is a remnant. The server dies by PR_SET_PDEATHSIG: TERM lets it wait for its
 * sessions, which end because their clients are gone. One that is kept is started anew as a
 * daemon, and its lock file says for whom and until when.
 */
#include "bindings/scratch/scratch_private.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "bindings/scratch/scratch_parts.h"
#include "host/base/clock.h"
#include "host/base/hash.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/loop/child.h"

#define READY_LIMIT_MS 30000
#define POLL_MS 10
#define ID_LENGTH 16
#define KEPT_SECONDS (24 * 60 * 60)
static const char kept_word[] = "kept until ";

/* As pg_ctl gives them to a shell; of one that is kept to be looked at. */
static const char server_daemon[] =
    "-c unix_socket_directories=.. -c unix_socket_permissions=0700 -c listen_addresses= "
    "-c port=5432 -c fsync=off -c synchronous_commit=off -c wal_level=replica "
    "-c max_wal_senders=0 -c max_locks_per_transaction=256 -c jit=off "
    "-c allow_in_place_tablespaces=on";

struct scratch_private {
    struct scratch scratch;
    struct neap_child *server;
    struct neap_child_result result;
    bool live; /* writes the log that a standby needs */
};

/* "p-" and what no other has; 16 characters, as a project's id. */
static void make_id(char id[NEAP_HASH_HEX_SIZE])
{
    struct neap_hash hash;
    neap_hash_random(&hash);
    neap_hash_hex(&hash, id);
    id[0] = 'p';
    id[1] = '-';
    id[ID_LENGTH] = '\0';
}

/* False when another neap has it. */
static bool lock_now(const char *path, int *fd)
{
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd >= 0 && flock(*fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    scratch_release(fd);
    return false;
}

static void delete_files(struct scratch *s)
{
    struct neap_error err = {0};
    s->cleanup = true;
    if (!scratch_end_server(s, &err) || !scratch_remove_tree(s, s->place.dir, &err))
        neap_log(NEAP_LOG_WARN, "scratch.left", "cannot remove %s: %s", s->place.dir, err.message);
    else
        (void)unlink(s->place.lock);
    neap_error_clear(&err);
}

/* Of a lock file: whose kept server it is, or NULL; *until in seconds since 1970. The
 * caller frees. */
static char *read_kept(const char *path, int64_t *until)
{
    char *text = scratch_read_text(path), *project = NULL;
    char *end = NULL;
    if (text != NULL && strncmp(text, kept_word, sizeof kept_word - 1) == 0) {
        *until = strtoll(text + sizeof kept_word - 1, &end, 10);
        if (*end == '\n') {
            end[1 + strcspn(end + 1, "\n")] = '\0';
            project = neap_strdup(end + 1);
        }
    }
    free(text);
    return project;
}

/* A clock that was set back must not keep it for ever. */
static bool is_kept(const struct scratch_place *place)
{
    int64_t until = 0, now = (int64_t)time(NULL);
    bool ready = false;
    char *project = read_kept(place->lock, &until);
    bool kept = project != NULL && now < until && until - now <= KEPT_SECONDS &&
                scratch_server_pid(place, &ready) != 0;
    free(project);
    return kept;
}

/* `path` is BASE/pg/p-… or BASE/p-….lock. `forced`: also one that is kept. False: it
 * stays. */
static bool sweep_one(struct neap_loop *loop, const char *path, bool forced)
{
    struct scratch s = {.loop = loop, .lock_fd = -1, .attached = true};
    char *id = neap_strdup(neap_path_name(path));
    id[strcspn(id, ".")] = '\0';
    bool gone = scratch_place_named(id, &s.place, NULL) && lock_now(s.place.lock, &s.lock_fd) &&
                (forced || !is_kept(&s.place));
    if (gone)
        delete_files(&s);
    scratch_clear(&s);
    free(id);
    return gone;
}

static void sweep(struct neap_loop *loop, const struct scratch_place *place)
{
    char *dirs = neap_format("%s/p-*", place->pg);
    char *locks = neap_format("%s/p-*.lock", place->base);
    glob_t found = {0};
    int first = glob(dirs, GLOB_NOSORT, NULL, &found);
    if (first == 0 || first == GLOB_NOMATCH)
        (void)glob(locks, GLOB_NOSORT | (first == 0 ? GLOB_APPEND : 0), NULL, &found);
    for (size_t i = 0; i < found.gl_pathc; i++)
        (void)sweep_one(loop, found.gl_pathv[i], false);
    globfree(&found);
    free(dirs);
    free(locks);
}

bool scratch_private_forget(struct neap_loop *loop, const char *project, int *count,
                            struct neap_error *err)
{
    struct scratch_place place = {0};
    glob_t found = {0};
    *count = 0;
    if (!scratch_place_named("p-none", &place, err))
        return false;
    char *locks = neap_format("%s/p-*.lock", place.base);
    (void)glob(locks, GLOB_NOSORT, NULL, &found);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        int64_t until = 0;
        char *keeper = read_kept(found.gl_pathv[i], &until);
        if (keeper != NULL && strcmp(keeper, project) == 0)
            *count += sweep_one(loop, found.gl_pathv[i], true);
        free(keeper);
    }
    globfree(&found);
    free(locks);
    scratch_place_clear(&place);
    return true;
}

static bool start(struct scratch_private *private, struct neap_error *err)
{
    struct scratch *s = &private->scratch;
    char *postgres = neap_path_join(s->bindir, "postgres");
    const char *const argv[] = {postgres,
                                "-D",
                                s->place.data,
                                "-c",
                                "unix_socket_directories=..",
                                "-c",
                                "unix_socket_permissions=0700",
                                "-c",
                                "listen_addresses=",
                                "-c",
                                "port=5432",
                                "-c",
                                "fsync=off",
                                "-c",
                                "synchronous_commit=off",
                                "-c",
                                private->live ? "full_page_writes=on" : "full_page_writes=off",
                                "-c",
                                private->live ? "wal_level=replica" : "wal_level=minimal",
                                "-c",
                                "max_wal_senders=0",
                                "-c",
                                "max_wal_size=4GB",
                                "-c",
                                "autovacuum=off",
                                "-c",
                                "shared_buffers=128MB",
                                "-c",
                                "maintenance_work_mem=256MB",
                                "-c",
                                "max_locks_per_transaction=256",
                                "-c",
                                "jit=off",
                                "-c",
                                "allow_in_place_tablespaces=on",
                                "-c",
                                "client_connection_check_interval=500ms",
                                NULL};
    struct neap_child_opts opts = {
        .argv = argv, .cwd = s->place.base, .user = s->place.user, .deadline_ms = NEAP_FOREVER};
    bool begun = neap_child_begin(s->loop, &opts, &private->result, &private->server, err);
    free(postgres);
    return begun;
}

static bool await_ready(struct scratch_private *private, struct neap_error *err)
{
    int64_t limit_ms = neap_clock_deadline_ms(READY_LIMIT_MS);
    bool ready = false;
    for (;;) {
        if (scratch_server_pid(&private->scratch.place, &ready) != 0 && ready)
            return true;
        bool over = neap_child_is_over(private->server);
        if (over || neap_clock_ms() > limit_ms) {
            neap_error_set(err, NEAP_ERR_DB_CONNECT, "the private scratch server %s",
                           over ? "did not start" : "is not ready after 30 s");
            neap_error_detail(err, "It says: %s", scratch_private_said(private));
            return false;
        }
        if (!neap_loop_sleep(private->scratch.loop, POLL_MS, "the copy's server", err))
            return false;
    }
}

bool scratch_private_begin(struct neap_loop *loop, int major, struct scratch_private **out,
                           struct neap_error *err)
{
    struct scratch_private *private = neap_alloc(sizeof *private);
    struct scratch *s = &private->scratch;
    char id[NEAP_HASH_HEX_SIZE];
    *s = (struct scratch){.loop = loop, .lock_fd = -1, .attached = true};
    *out = NULL;
    make_id(id);
    bool placed = scratch_place_named(id, &s->place, err) && scratch_place_make(&s->place, err);
    if (placed)
        sweep(loop, &s->place);
    if (placed && scratch_claim(s, s->place.lock, &s->lock_fd, err) &&
        scratch_bindir_of(major, &s->bindir, err) && scratch_find_version(s, err) &&
        scratch_copy_template(s, err) && start(private, err) && await_ready(private, err)) {
        *out = private;
        return true;
    }
    scratch_private_end(private);
    return false;
}

bool scratch_private_restart(struct scratch_private *private, struct neap_error *err)
{
    neap_child_end(private->server);
    private->server = NULL;
    neap_child_result_clear(&private->result);
    private->live = true;
    return start(private, err) && await_ready(private, err);
}

static bool note_kept(struct scratch *s, const char *project, struct neap_error *err)
{
    char *text =
        neap_format("%s%lld\n%s\n", kept_word, (long long)time(NULL) + KEPT_SECONDS, project);
    size_t length = strlen(text);
    bool noted =
        ftruncate(s->lock_fd, 0) == 0 && pwrite(s->lock_fd, text, length, 0) == (ssize_t)length;
    if (!noted)
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot write %s", s->place.lock);
    free(text);
    return noted;
}

bool scratch_private_keep(struct scratch_private *private, const char *project,
                          const char *database, char **url, struct neap_error *err)
{
    struct scratch *s = &private->scratch;
    int pid = 0;
    neap_child_end(private->server);
    private->server = NULL;
    s->attached = false;
    bool kept = scratch_start_server(s, server_daemon, err) && scratch_await_ready(s, &pid, err) &&
                note_kept(s, project, err);
    s->attached = true;
    if (!kept)
        return false;
    *url = scratch_private_url(private, database);
    neap_child_result_clear(&private->result);
    scratch_clear(s);
    free(private);
    return true;
}

void scratch_private_end(struct scratch_private *private)
{
    if (private == NULL)
        return;
    if (private->server != NULL)
        neap_child_end(private->server);
    if (private->scratch.lock_fd >= 0)
        delete_files(&private->scratch);
    neap_child_result_clear(&private->result);
    scratch_clear(&private->scratch);
    free(private);
}

const char *scratch_private_dir(const struct scratch_private *private)
{
    return private->scratch.place.dir;
}

const char *scratch_private_version(const struct scratch_private *private)
{
    return private->scratch.version;
}

const char *scratch_private_said(const struct scratch_private *private)
{
    const struct neap_buffer *said = &private->result.err;
    return neap_buffer_text(said) + (said->length > 2000 ? said->length - 2000 : 0);
}

char *scratch_private_url(const struct scratch_private *private, const char *database)
{
    struct neap_buffer url = {0};
    neap_buffer_add_text(&url, "postgresql:///");
    neap_buffer_add_encoded(&url, database);
    neap_buffer_add_text(&url, "?user=postgres&host=");
    neap_buffer_add_encoded(&url, private->scratch.place.dir);
    return neap_buffer_take(&url);
}
