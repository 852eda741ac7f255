/* SPDX-License-Identifier: MIT
 *
 * Where a project's scratch lives, and which server binaries it uses. It starts
 * nothing.
 *
 *   base/            ours, 0700; as root 0711, so that postgres can pass through
 *   base/ID.lock     held while one neap starts or stops it; says its version
 *   base/pg/         the server's user's, 0700: nobody else reaches the sockets
 *   base/pg/template-VERSION-N/
 *   base/pg/ID/      data/, log, the socket
 *
 * base is NEAP_SCRATCH_DIR, else $XDG_CACHE_HOME/neap where that is short enough
 * for a socket, else /var/tmp/neap-UID. Root never uses its own cache directory:
 * the server's user could not enter it.
 */
#ifndef NEAP_BINDINGS_SCRATCH_SCRATCH_PLACE_H
#define NEAP_BINDINGS_SCRATCH_SCRATCH_PLACE_H

#include <stdbool.h>
#include <sys/types.h>

#include "host/base/error.h"

struct scratch_place {
    char *base;
    char *pg;
    char *dir;
    char *data;
    char *log;
    char *pid_file;
    char *lock;
    char *template_lock;
    const char *user; /* whom the server runs as, or NULL: as us */
    uid_t uid;
    gid_t gid;
};

/* Computes the paths; touches nothing. Errors: config.target (root without a
 * user postgres), config.invalid (the socket's path would be too long),
 * file.io (the project's directory does not resolve). */
bool scratch_place_open(const char *project, struct scratch_place *out, struct neap_error *err);
/* The same by the id itself: at most 16 plain characters. */
bool scratch_place_named(const char *id, struct scratch_place *out, struct neap_error *err);
/* Makes base and pg. Both calls refuse what is not ours (file.refused). */
bool scratch_place_make(const struct scratch_place *place, struct neap_error *err);
/* *found is false when they do not exist yet. */
bool scratch_place_check(const struct scratch_place *place, bool *found, struct neap_error *err);
void scratch_place_clear(struct scratch_place *place);

/* The directory of initdb and postgres: NEAP_PG_BINDIR, the newest of
 * /usr/lib/postgresql/N/bin, or PATH. The caller frees. config.target when there is none. */
bool scratch_bindir(char **bindir, struct neap_error *err);
/* The same, of PostgreSQL `major` where that is installed and NEAP_PG_BINDIR is not set. */
bool scratch_bindir_of(int major, char **bindir, struct neap_error *err);

#endif
