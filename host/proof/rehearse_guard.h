/* SPDX-License-Identifier: MIT
 *
 * On a copy beside the target: what a script would change of the server that both share
 * (roles, databases, their settings) is refused before it is committed: policy.refused.
 * Private to host/proof.
 */
#ifndef NEAP_PROOF_REHEARSE_GUARD_H
#define NEAP_PROOF_REHEARSE_GUARD_H

#include "bindings/pg/pg_client.h"
#include "host/proof/rehearse_statement.h"

/* In the transaction that the statement (NULL: unknown) was in. */
bool neap_rehearse_guard_look(struct pg_client *work, const struct neap_measured *statement,
                              struct neap_error *err);
/* Before one that no transaction can hold: it must stay within its database. */
bool neap_rehearse_guard_check(const char *verb, const struct neap_gate_call *call,
                               struct neap_error *err);

#endif
