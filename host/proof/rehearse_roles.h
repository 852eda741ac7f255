/* SPDX-License-Identifier: MIT
 *
 * The target's logins on a private copy, so that a right that is missing there is missing
 * here too: the roles, what they are members of, their attributes and settings. Never a
 * password. Private to host/proof.
 */
#ifndef NEAP_PROOF_REHEARSE_ROLES_H
#define NEAP_PROOF_REHEARSE_ROLES_H

#include "host/change/target.h"

/* Makes on `copy` (a superuser's session) whom the sessions of `target` are, and whom its
 * environment has them become. */
bool neap_rehearse_roles(struct neap_target *target, struct pg_client *copy,
                         struct neap_error *err);

#endif
