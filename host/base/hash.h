/* SPDX-License-Identifier: MIT
 *
 * BLAKE2b-256 (libsodium's generic hash), hex, random ids. The one hash neap
 * uses (scripts, audit chain, fingerprints), but for secrets that the server checks.
 */
#ifndef NEAP_BASE_HASH_H
#define NEAP_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEAP_HASH_SIZE 32
#define NEAP_HASH_HEX_SIZE 65

struct neap_hash {
    uint8_t bytes[NEAP_HASH_SIZE];
};

/* Opaque streaming state; crypto_generichash_state needs 64-byte alignment. */
struct neap_hasher {
    _Alignas(64) unsigned char state[384];
};

void neap_hash_bytes(const void *bytes, size_t length, struct neap_hash *out);
void neap_hasher_init(struct neap_hasher *hasher);
void neap_hasher_add(struct neap_hasher *hasher, const void *bytes, size_t length);
void neap_hasher_end(struct neap_hasher *hasher, struct neap_hash *out);

bool neap_hash_equal(const struct neap_hash *a, const struct neap_hash *b);
void neap_hash_hex(const struct neap_hash *hash, char text[NEAP_HASH_HEX_SIZE]);
bool neap_hash_from_hex(const char *text, struct neap_hash *out);

/* 256 random bits: a secret. Wiped when it was used. */
void neap_hash_random(struct neap_hash *out);
void neap_hash_wipe(struct neap_hash *hash);
/* SHA-256, for what PostgreSQL compares (its sha256()); everything else is BLAKE2b. */
void neap_hash_sha256(const void *bytes, size_t length, struct neap_hash *out);

#define NEAP_UUID_SIZE 37
/* A random (version 4) uuid in lower case. */
void neap_uuid(char text[NEAP_UUID_SIZE]);
#define NEAP_RUN_ID_SIZE 27
/* Sortable run id: UTC seconds and 50 random bits, "20261120T210538-9f3cq7hx2m":
 * 15 + 1 + 10 characters, safe in a file name and in application_name. */
void neap_run_id(char text[NEAP_RUN_ID_SIZE]);

#endif
