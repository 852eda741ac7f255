/* SPDX-License-Identifier: MIT
 *
 * A PostgreSQL of one run's own, for copies that are looked at and thrown away. Unlike
 * the project's scratch it is our child: it ends with us, however we end, and what a
 * killed neap left of its files the next one removes.
 */
#ifndef NEAP_BINDINGS_SCRATCH_SCRATCH_PRIVATE_H
#define NEAP_BINDINGS_SCRATCH_SCRATCH_PRIVATE_H

#include "host/loop/loop.h"

struct scratch_private;

/* Removes remnants, then makes and starts one, of PostgreSQL `major` where that is
 * installed. Errors as scratch_start. */
bool scratch_private_begin(struct neap_loop *loop, int major, struct scratch_private **out,
                           struct neap_error *err);
/* Stops it and starts it again with the write-ahead log of a server that lives: until then
 * rows that come with their table are not in it. Nobody may be connected. */
bool scratch_private_restart(struct scratch_private *private, struct neap_error *err);
/* Lets it live on without us, as one that `project` asked for, for a day: the next private
 * server to begin after that ends it, as scratch_private_forget does. Nobody may be
 * connected. `private` is freed on success; *url, of `database`, is the caller's to free. */
bool scratch_private_keep(struct scratch_private *private, const char *project,
                          const char *database, char **url, struct neap_error *err);
/* Ends those that the project kept and removes their files. */
bool scratch_private_forget(struct neap_loop *loop, const char *project, int *count,
                            struct neap_error *err);
/* Ends the server and removes its files, also after a stop. NULL is allowed. */
void scratch_private_end(struct scratch_private *private);

const char *scratch_private_dir(const struct scratch_private *private);     /* of the socket */
const char *scratch_private_version(const struct scratch_private *private); /* "15.20" */
/* A libpq URI of a database there; the caller frees. */
char *scratch_private_url(const struct scratch_private *private, const char *database);
/* The last of what the server wrote to its log; borrowed. */
const char *scratch_private_said(const struct scratch_private *private);

#endif
