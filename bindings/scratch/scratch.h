/* SPDX-License-Identifier: MIT
 *
 * Scratch: a throwaway PostgreSQL on a unix socket. initdb once into a cached
 * template, copy, start with fsync off: under 0.3 s (FACTS). As root the server
 * runs as the unprivileged user postgres.
 */
#ifndef NEAP_BINDINGS_SCRATCH_SCRATCH_H
#define NEAP_BINDINGS_SCRATCH_SCRATCH_H

#include "host/loop/loop.h"

struct scratch_status {
    bool running;
    int pid;
    char *dir;     /* its directory (data, socket, log) */
    char *url;     /* postgresql:///neap?host=…&user=… ; a libpq URI */
    char *version; /* "15.20" */
};
void scratch_status_clear(struct scratch_status *status);

/* Every function takes the project's directory: one scratch per project.
 * Starts it when it is not up (two at once: one starts, both get it). Errors:
 * config.target when no server binaries are installed (names the package),
 * file.*, db.connect with the tail of its log. */
bool scratch_start(struct neap_loop *loop, const char *project, struct scratch_status *out,
                   struct neap_error *err);
/* Stops (immediate) and removes its data. Nothing to stop is success. */
bool scratch_stop(struct neap_loop *loop, const char *project, struct neap_error *err);
bool scratch_look(struct neap_loop *loop, const char *project, struct scratch_status *out,
                  struct neap_error *err);
/* Path of psql of the same installation; the caller frees. */
bool scratch_psql(char **path, struct neap_error *err);

#endif
