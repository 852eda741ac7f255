/* SPDX-License-Identifier: MIT
 *
 * The lock of a private scratch is held as long as its neap lives; what nobody has
 * locked is a remnant. The server dies by PR_SET_PDEATHSIG: TERM lets it wait for its
 * sessions, which end because their clients are gone.
 */
#include "bindings/scratch/scratch_private.h"

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
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

/* `path` is BASE/pg/p-… or BASE/p-….lock. */
static void sweep_one(struct neap_loop *loop, const char *path)
{
    struct scratch s = {.loop = loop, .lock_fd = -1, .attached = true};
    char *id = neap_strdup(neap_path_name(path));
    id[strcspn(id, ".")] = '\0';
    if (scratch_place_named(id, &s.place, NULL) && lock_now(s.place.lock, &s.lock_fd))
        delete_files(&s);
    scratch_clear(&s);
    free(id);
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
        sweep_one(loop, found.gl_pathv[i]);
    globfree(&found);
    free(dirs);
    free(locks);
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
