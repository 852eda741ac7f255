/* SPDX-License-Identifier: MIT
 *
 * BLAKE2b-256 against its published value, hex both ways, ids.
 */
#include "tests/unit/test_support.h"

#include "host/base/hash.h"

/* `printf abc | b2sum -l 256` */
#define ABC "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"

static void test_hash__is_blake2b(void **unused)
{
    struct neap_hash whole, parts;
    struct neap_hasher hasher;
    char hex[NEAP_HASH_HEX_SIZE];

    (void)unused;
    neap_hash_bytes("abc", 3, &whole);
    neap_hash_hex(&whole, hex);
    assert_string_equal(hex, ABC);
    neap_hasher_init(&hasher);
    neap_hasher_add(&hasher, "a", 1);
    neap_hasher_add(&hasher, "", 0);
    neap_hasher_add(&hasher, "bc", 2);
    neap_hasher_end(&hasher, &parts);
    assert_true(neap_hash_equal(&whole, &parts));
    parts.bytes[31] ^= 1;
    assert_false(neap_hash_equal(&whole, &parts));
}

static void test_hash__reads_only_its_own_hex(void **unused)
{
    struct neap_hash hash, again;
    char hex[NEAP_HASH_HEX_SIZE];

    (void)unused;
    neap_hash_bytes("x", 1, &hash);
    neap_hash_hex(&hash, hex);
    assert_true(neap_hash_from_hex(hex, &again));
    assert_true(neap_hash_equal(&hash, &again));
    hex[63] = '\0';
    assert_false(neap_hash_from_hex(hex, &again));
    hex[63] = 'g';
    assert_false(neap_hash_from_hex(hex, &again));
    hex[63] = 'A';
    assert_false(neap_hash_from_hex(hex, &again));
    assert_false(neap_hash_from_hex("", &again));
}

static void test_hash__ids_have_their_form(void **unused)
{
    char uuid[NEAP_UUID_SIZE], other[NEAP_UUID_SIZE];
    char id[NEAP_RUN_ID_SIZE], id_other[NEAP_RUN_ID_SIZE];

    (void)unused;
    neap_uuid(uuid);
    neap_uuid(other);
    assert_int_equal(strlen(uuid), 36);
    assert_int_equal(uuid[14], '4');
    assert_true(strchr("89ab", uuid[19]) != NULL);
    assert_string_not_equal(uuid, other);
    neap_run_id(id);
    neap_run_id(id_other);
    assert_int_equal(strlen(id), 26);
    assert_int_equal(id[8], 'T');
    assert_int_equal(id[15], '-');
    assert_int_equal(strspn(id, "0123456789abcdefghijklmnopqrstuvwxyzT-"), 26);
    assert_string_not_equal(id, id_other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash__is_blake2b),
        cmocka_unit_test(test_hash__reads_only_its_own_hex),
        cmocka_unit_test(test_hash__ids_have_their_form),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
