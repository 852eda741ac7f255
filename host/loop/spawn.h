/* SPDX-License-Identifier: MIT
 *
 * fork and exec for child.c. libuv's uv_spawn cannot set PR_SET_PDEATHSIG, the
 * groups of a user, or close descriptors that others left open.
 */
#ifndef NEAP_LOOP_SPAWN_H
#define NEAP_LOOP_SPAWN_H

#include <sys/types.h>

#include "host/loop/child.h"

struct neap_spawn {
    pid_t pid;
    int in, out, err; /* our ends, non-blocking, close-on-exec; -1: not piped */
};

/* Returns when the program runs, or with file.io and the reason why it does
 * not. The caller closes the descriptors and reaps the process. */
bool neap_spawn(const struct neap_child_opts *opts, struct neap_spawn *out, struct neap_error *err);

#endif
