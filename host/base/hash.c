/* SPDX-License-Identifier: MIT
 *
 * BLAKE2b-256 by libsodium, hex, and random ids. libsodium wants sodium_init
 * before its random numbers; it is idempotent, so whoever needs it calls it.
 */
#include "host/base/hash.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"

_Static_assert(sizeof(crypto_generichash_state) <= sizeof(struct neap_hasher),
               "the streaming state fits");
_Static_assert(crypto_generichash_BYTES == NEAP_HASH_SIZE, "BLAKE2b-256");
_Static_assert(crypto_hash_sha256_BYTES == NEAP_HASH_SIZE, "SHA-256");

/* Without random numbers there are no run ids and nothing may run. */
static void make_ready(void)
{
    if (sodium_init() < 0)
        abort();
}

void neap_hash_bytes(const void *bytes, size_t length, struct neap_hash *out)
{
    make_ready();
    crypto_generichash(out->bytes, sizeof out->bytes, bytes, length, NULL, 0);
}

static crypto_generichash_state *state_of(struct neap_hasher *hasher)
{
    return (crypto_generichash_state *)(void *)hasher->state;
}

void neap_hasher_init(struct neap_hasher *hasher)
{
    make_ready();
    crypto_generichash_init(state_of(hasher), NULL, 0, NEAP_HASH_SIZE);
}

void neap_hasher_add(struct neap_hasher *hasher, const void *bytes, size_t length)
{
    crypto_generichash_update(state_of(hasher), bytes, length);
}

void neap_hasher_end(struct neap_hasher *hasher, struct neap_hash *out)
{
    crypto_generichash_final(state_of(hasher), out->bytes, sizeof out->bytes);
}

/* Not sodium's: a hash is no secret, and thousands are compared at each start. */
bool neap_hash_equal(const struct neap_hash *a, const struct neap_hash *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

void neap_hash_hex(const struct neap_hash *hash, char text[NEAP_HASH_HEX_SIZE])
{
    sodium_bin2hex(text, NEAP_HASH_HEX_SIZE, hash->bytes, sizeof hash->bytes);
}

/* The value of a lower-case digit, or -1: one hash has one spelling. */
static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* As neap_hash_equal: not sodium's. */
bool neap_hash_from_hex(const char *text, struct neap_hash *out)
{
    struct neap_hash read;

    for (size_t i = 0; i < sizeof read.bytes; i++) {
        int high = digit(text[2 * i]);
        int low = high < 0 ? -1 : digit(text[2 * i + 1]);
        if (low < 0)
            return false;
        read.bytes[i] = (uint8_t)(high << 4 | low);
    }
    if (text[2 * sizeof read.bytes] != '\0')
        return false;
    *out = read;
    return true;
}

void neap_hash_random(struct neap_hash *out)
{
    make_ready();
    randombytes_buf(out->bytes, sizeof out->bytes);
}

void neap_hash_sha256(const void *bytes, size_t length, struct neap_hash *out)
{
    make_ready();
    crypto_hash_sha256(out->bytes, bytes, length);
}

void neap_hash_wipe(struct neap_hash *hash)
{
    sodium_memzero(hash->bytes, sizeof hash->bytes);
}

void neap_uuid(char text[NEAP_UUID_SIZE])
{
    uint8_t b[16];

    make_ready();
    randombytes_buf(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(text, NEAP_UUID_SIZE,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
}

void neap_run_id(char text[NEAP_RUN_ID_SIZE])
{
    /* 32 letters that cannot be misread: no i, l, o, u. */
    static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";
    uint8_t random[10];
    char tail[sizeof random + 1] = "";
    char utc[NEAP_UTC_SIZE], head[16] = "";
    size_t length = 0;

    make_ready();
    randombytes_buf(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        tail[i] = letters[random[i] & 31];
    neap_clock_utc(utc);
    for (const char *at = utc; *at != '.'; at++)
        if (*at != '-' && *at != ':')
            head[length++] = *at;
    snprintf(text, NEAP_RUN_ID_SIZE, "%s-%s", head, tail);
}
