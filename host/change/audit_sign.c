/* SPDX-License-Identifier: MIT
 *
 * What is signed is "neap head v1", the run and the head, one a line: a
 * signature of one run's head cannot stand for another's.
 */
#include "host/change/audit_sign.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/change/audit.h"

#define KEY_FILE_MAX 4096
#define SECRET_WORD "neap-ed25519-secret"
#define PUBLIC_WORD "neap-ed25519-public"

_Static_assert(crypto_sign_PUBLICKEYBYTES == 32 && crypto_sign_SECRETKEYBYTES == 64 &&
                   crypto_sign_BYTES * 2 + 1 == NEAP_SIGNATURE_HEX_SIZE,
               "Ed25519 sizes");
_Static_assert(crypto_sign_SEEDBYTES == NEAP_HASH_SIZE, "a seed is as long as a hash");

static void set_id(struct neap_sign_key *key)
{
    struct neap_hash hash;
    char hex[NEAP_HASH_HEX_SIZE];
    neap_hash_bytes(key->public_key, sizeof key->public_key, &hash);
    neap_hash_hex(&hash, hex);
    memcpy(key->id, hex, NEAP_KEY_ID_SIZE - 1);
    key->id[NEAP_KEY_ID_SIZE - 1] = '\0';
}

/* "<word> <hex>\n" into `bytes`. */
static bool parse_key(const char *path, const char *word, uint8_t *bytes, size_t size,
                      struct neap_error *err)
{
    char *text = NULL;
    size_t length = 0, got = 0, skip = strlen(word) + 1;
    if (!neap_path_read(path, NULL, KEY_FILE_MAX, &text, &length, err))
        return false;
    bool parsed =
        length > skip && strncmp(text, word, skip - 1) == 0 && text[skip - 1] == ' ' &&
        sodium_hex2bin(bytes, size, text + skip, length - skip, "\r\n", &got, NULL) == 0 &&
        got == size;
    sodium_memzero(text, length);
    free(text);
    if (!parsed)
        neap_error_set(err, NEAP_ERR_FILE_REFUSED, "%s is not a key of the kind \"%s\"", path,
                       word);
    return parsed;
}

static bool check_private(const char *path, struct neap_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot open the signing key %s", path);
        return false;
    }
    if ((st.st_mode & 077) == 0)
        return true;
    neap_error_set(err, NEAP_ERR_FILE_REFUSED, "others can read the signing key %s", path);
    neap_error_hint(err, "Type `chmod 600 %s`, and think about a new key.", path);
    return false;
}

bool neap_sign_load_secret(const char *path, struct neap_sign_key *key, struct neap_error *err)
{
    if (!check_private(path, err) ||
        !parse_key(path, SECRET_WORD, key->secret_key, sizeof key->secret_key, err))
        return false;
    crypto_sign_ed25519_sk_to_pk(key->public_key, key->secret_key);
    set_id(key);
    return true;
}

bool neap_sign_load_public(const char *path, struct neap_sign_key *key, struct neap_error *err)
{
    memset(key->secret_key, 0, sizeof key->secret_key);
    if (!parse_key(path, PUBLIC_WORD, key->public_key, sizeof key->public_key, err))
        return false;
    set_id(key);
    return true;
}

static char *signed_text(const char *run_id, const char *head)
{
    return neap_format("neap head v1\n%s\n%s\n", run_id, head);
}

void neap_sign_head(const struct neap_sign_key *key, const char *run_id, const char *head,
                    char signature[NEAP_SIGNATURE_HEX_SIZE])
{
    uint8_t bytes[crypto_sign_BYTES];
    char *text = signed_text(run_id, head);
    crypto_sign_detached(bytes, NULL, (const unsigned char *)text, strlen(text), key->secret_key);
    sodium_bin2hex(signature, NEAP_SIGNATURE_HEX_SIZE, bytes, sizeof bytes);
    free(text);
}

bool neap_sign_check(const struct neap_sign_key *key, const char *run_id, const char *head,
                     const char *signature)
{
    uint8_t bytes[crypto_sign_BYTES];
    size_t got = 0;
    if (sodium_hex2bin(bytes, sizeof bytes, signature, strlen(signature), NULL, &got, NULL) != 0 ||
        got != sizeof bytes)
        return false;
    char *text = signed_text(run_id, head);
    bool good = crypto_sign_verify_detached(bytes, (const unsigned char *)text, strlen(text),
                                            key->public_key) == 0;
    free(text);
    return good;
}

void neap_sign_clear(struct neap_sign_key *key)
{
    sodium_memzero(key, sizeof *key);
}

/* Never over an existing file: an overwritten key cannot be had back. Half a key is
 * taken away again: it would only be in the way of the next try. */
static bool write_key(const char *path, const char *word, const uint8_t *bytes, size_t size,
                      mode_t mode, struct neap_error *err)
{
    char hex[crypto_sign_SECRETKEYBYTES * 2 + 1];
    sodium_bin2hex(hex, sizeof hex, bytes, size);
    char *text = neap_format("%s %s\n", word, hex);
    size_t length = strlen(text);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    ssize_t got = fd < 0 ? -1 : write(fd, text, length);
    bool written = got == (ssize_t)length && fsync(fd) == 0;
    if (!written)
        neap_error_errno(err, NEAP_ERR_FILE_IO, got >= 0 && got < (ssize_t)length ? ENOSPC : errno,
                         "cannot write the key %s", path);
    if (!written && fd >= 0)
        unlink(path);
    if (fd >= 0)
        close(fd);
    sodium_memzero(hex, sizeof hex);
    sodium_memzero(text, length);
    free(text);
    return written;
}

bool neap_audit_keygen(const char *path, struct neap_error *err)
{
    struct neap_sign_key key;
    struct neap_hash seed;
    neap_hash_random(&seed);
    crypto_sign_seed_keypair(key.public_key, key.secret_key, seed.bytes);
    neap_hash_wipe(&seed);
    char *public_path = neap_format("%s.pub", path);
    bool kept = write_key(path, SECRET_WORD, key.secret_key, sizeof key.secret_key, 0600, err);
    bool written = kept && write_key(public_path, PUBLIC_WORD, key.public_key,
                                     sizeof key.public_key, 0644, err);
    if (kept && !written)
        unlink(path); /* nobody signed with it yet */
    free(public_path);
    neap_sign_clear(&key);
    return written;
}
