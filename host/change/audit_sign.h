/* SPDX-License-Identifier: MIT
 *
 * Ed25519 signatures of a run's head: libsodium, key files of one line. It knows
 * nothing of events. Internal to the audit.
 */
#ifndef NEAP_CHANGE_AUDIT_SIGN_H
#define NEAP_CHANGE_AUDIT_SIGN_H

#include <stdint.h>

#include "host/base/error.h"
#include "host/base/hash.h"

#define NEAP_SIGNATURE_HEX_SIZE 129
#define NEAP_KEY_ID_SIZE 17

struct neap_sign_key {
    uint8_t public_key[32];
    uint8_t secret_key[64];    /* zero in a public key */
    char id[NEAP_KEY_ID_SIZE]; /* of the public key: 16 hex of its hash */
};

/* Errors: file.refused (a secret key others can read, not a key), file.io. */
bool neap_sign_load_secret(const char *path, struct neap_sign_key *key, struct neap_error *err);
bool neap_sign_load_public(const char *path, struct neap_sign_key *key, struct neap_error *err);
void neap_sign_head(const struct neap_sign_key *key, const char *run_id, const char *head,
                    char signature[NEAP_SIGNATURE_HEX_SIZE]);
bool neap_sign_check(const struct neap_sign_key *key, const char *run_id, const char *head,
                     const char *signature);
void neap_sign_clear(struct neap_sign_key *key); /* wipes */

#endif
