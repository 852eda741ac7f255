/* SPDX-License-Identifier: MIT
 *
 * neap selftest limits: the corpus of hostile scripts, each run by this very
 * binary against a scratch PostgreSQL of its own, and what it left behind looked
 * at. It decides nothing about limits; it only tries them.
 */
#ifndef NEAP_SELFTEST_SELFTEST_H
#define NEAP_SELFTEST_SELFTEST_H

#include <jansson.h>

#include "host/loop/loop.h"

struct neap_selftest_opts {
    const char *corpus; /* a directory of *.lua, each a list; NULL: the built-in ones */
    const char *only;   /* ids that match or hold one of these globs: "tx.,wait.s"; NULL: all */
};

/* Tries them all, several at once; waits, and says on stderr what for. *out is a
 * list in the corpus's order (new reference): id, attempt, expected, got, seconds,
 * peak_bytes, ok, why (null where ok). A script that broke its limit is such a
 * row, not a failure. False: nothing could be tried (usage.arguments: no id
 * matches; config.invalid: a corpus is wrong; config.target: no server) or the
 * run was stopped. The scratch server and every file are removed in each outcome. */
bool neap_selftest_limits(struct neap_loop *loop, const struct neap_selftest_opts *opts,
                          json_t **out, struct neap_error *err);

#endif
