/* SPDX-License-Identifier: MIT
 *
 * Lua's patterns, matched by neap: Lua's own matcher cannot be interrupted, and
 * (".-"):rep(30) on a long line outlives every deadline. Only host/script
 * includes it.
 */
#ifndef NEAP_SCRIPT_SCRIPT_MATCH_H
#define NEAP_SCRIPT_SCRIPT_MATCH_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#define NEAP_MATCH_CAPTURE_MAX 32 /* Lua's own limit */

struct neap_match {
    lua_State *L;
    const char *text, *text_end;
    const char *pattern_end;
    unsigned step_count;
    int depth;
    int level; /* captures so far */
    struct {
        const char *start;
        ptrdiff_t length; /* or NEAP_CAPTURE_* */
    } captures[NEAP_MATCH_CAPTURE_MAX];
};
enum { NEAP_CAPTURE_OPEN = -1, NEAP_CAPTURE_POSITION = -2 };

/* Matches `pattern` (no anchor) at `at`; the end of the match, or NULL. Raises on
 * a malformed pattern; leaves by the stop when the run stops meanwhile. */
const char *neap_match_at(struct neap_match *match, const char *at, const char *pattern);
/* Pushes capture `index` (0-based; index 0 without captures is the whole match). */
void neap_match_push(struct neap_match *match, int index, const char *start, const char *end);
/* Pushes all captures, or the whole match when there are none and `start` is
 * not NULL; gives their number. */
int neap_match_push_all(struct neap_match *match, const char *start, const char *end);

#endif
