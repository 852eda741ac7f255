/* SPDX-License-Identifier: MIT
 *
 * Watches a waiting statement from the control session: who blocks it (promise
 * 11). Runs in loop turns while somebody waits; costs nothing otherwise.
 */
#ifndef NEAP_CHANGE_WATCH_H
#define NEAP_CHANGE_WATCH_H

#include <jansson.h>

#include "host/change/target.h"

struct neap_watch;

/* Also makes silent waits of the loop say what was found (neap_watch_tell). */
struct neap_watch *neap_watch_begin(struct neap_target *target);
/* The same again, after another had neap_loop_on_silence. */
void neap_watch_tell(struct neap_watch *watch);
/* The server process whose waits are watched; 0: none. */
void neap_watch_backend(struct neap_watch *watch, int backend_pid);
/* Forgets who was in the way: another unit begins. Among the attempts of one it is
 * kept, because a short attempt may end before anybody was asked. */
void neap_watch_forget(struct neap_watch *watch);
/* "pid 123 (psql, transaction open for 45 s): update …; …", or NULL when nobody
 * was seen in the way since neap_watch_forget. Borrowed until the next turn. */
const char *neap_watch_blockers(const struct neap_watch *watch);
/* The same for the audit: an array of {pid, application, user, state, seconds,
 * query}. New reference. */
json_t *neap_watch_blockers_json(const struct neap_watch *watch);
/* How long somebody was seen in the way since the last call or neap_watch_forget, and what
 * neap_watch_paused added. Whoever was there for less than a tenth of a second may have
 * been missed. */
int64_t neap_watch_take_waited_ms(struct neap_watch *watch);
/* A pause between two attempts, made for the one in the way. */
void neap_watch_paused(struct neap_watch *watch, int64_t pause_ms);
void neap_watch_end(struct neap_watch *watch); /* NULL is allowed */

#endif
