/* SPDX-License-Identifier: MIT
 *
 * Who runs this: what the kernel says, and apart from it what the environment
 * merely claims (HAZARDS A9).
 */
#ifndef NEAP_CHANGE_ACTOR_H
#define NEAP_CHANGE_ACTOR_H

#include <jansson.h>

struct neap_actor {
    char *name;     /* "alice" (login uid's), "root (alice)" under sudo: for people */
    char *host;     /* this machine's name */
    json_t *fields; /* uid, euid, login_uid, user, tty, host, claimed: {sudo_user, ssh_client} */
};

void neap_actor_open(struct neap_actor *actor);
void neap_actor_clear(struct neap_actor *actor);

#endif
