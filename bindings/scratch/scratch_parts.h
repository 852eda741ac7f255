/* SPDX-License-Identifier: MIT
 *
 * What the project's scratch and a private one share: the template, programs run as the
 * server's user, the lock, the server known by its pid file.
 */
#ifndef NEAP_BINDINGS_SCRATCH_SCRATCH_PARTS_H
#define NEAP_BINDINGS_SCRATCH_SCRATCH_PARTS_H

#include "bindings/scratch/scratch_place.h"
#include "host/base/buffer.h"
#include "host/loop/loop.h"

struct scratch {
    struct neap_loop *loop;
    struct scratch_place place;
    char *bindir;
    char *version; /* "15.20" */
    int lock_fd;
    bool attached; /* what it runs ends with us */
    bool cleanup;  /* and runs on after a stop */
};

/* The file's text, or NULL when it is not there; never through a link. The caller frees. */
char *scratch_read_text(const char *path);
/* The server's pid when it runs on exactly this data directory, else 0. */
int scratch_server_pid(const struct scratch_place *place, bool *ready);
/* Runs one program of the server as the server's user; a non-zero status is an error
 * that shows what it said. `output` may be NULL. */
bool scratch_run(struct scratch *s, const char *const *argv, const char *input,
                 struct neap_buffer *output, struct neap_error *err);
bool scratch_remove_tree(struct scratch *s, const char *path, struct neap_error *err);
/* Opens and locks the file; waits on the loop while another has it. */
bool scratch_claim(struct scratch *s, const char *path, int *fd, struct neap_error *err);
void scratch_release(int *fd);
/* Of the server in s->bindir. */
bool scratch_find_version(struct scratch *s, struct neap_error *err);
/* The data directory, from the cached template, which is made when it is not there. */
bool scratch_copy_template(struct scratch *s, struct neap_error *err);
/* Starts it as a daemon that outlives us (s->attached false); its log is place.log. */
bool scratch_start_server(struct scratch *s, const char *options, struct neap_error *err);
/* Waits until it takes sessions. */
bool scratch_await_ready(struct scratch *s, int *pid, struct neap_error *err);
/* Ends the server at once (QUIT, then KILL); none is success. */
bool scratch_end_server(struct scratch *s, struct neap_error *err);
void scratch_clear(struct scratch *s);

#endif
