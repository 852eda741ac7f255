/* SPDX-License-Identifier: MIT
 *
 * Who is acting, as the kernel says; what the environment says is a claim.
 */
#include "tests/unit/test_support.h"

#include <fcntl.h>

#include "host/base/memory.h"
#include "host/change/actor.h"

static const char *text_of(const json_t *json, const char *key)
{
    return json_string_value(json_object_get(json, key));
}

static int no_claims(void **state)
{
    (void)state;
    return unsetenv("SUDO_USER") || unsetenv("SSH_CLIENT");
}

static void test_actor__the_kernel_says_who_it_is(void **state)
{
    struct neap_actor actor;
    char host[256] = "";
    (void)state;
    assert_int_equal(setenv("USER", "mallory", 1), 0);
    neap_actor_open(&actor);
    assert_int_equal(json_integer_value(json_object_get(actor.fields, "uid")), getuid());
    assert_int_equal(json_integer_value(json_object_get(actor.fields, "euid")), geteuid());
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    assert_string_equal(actor.host, host);
    assert_lacks(actor.name, "mallory");
    assert_int_equal(json_object_size(json_object_get(actor.fields, "claimed")), 0);
    neap_actor_clear(&actor);
    assert_null(actor.name);
}

static void test_actor__what_the_environment_says_is_a_claim(void **state)
{
    struct neap_actor actor, plain;
    (void)state;
    neap_actor_open(&plain);
    assert_int_equal(setenv("SUDO_USER", "mallory", 1), 0);
    assert_int_equal(setenv("SSH_CLIENT", "192.0.2.1 50022 22", 1), 0);
    neap_actor_open(&actor);
    const json_t *claimed = json_object_get(actor.fields, "claimed");
    assert_string_equal(text_of(claimed, "sudo_user"), "mallory");
    assert_string_equal(text_of(claimed, "ssh_client"), "192.0.2.1 50022 22");
    assert_string_equal(text_of(actor.fields, "user"), text_of(plain.fields, "user"));
    if (json_object_get(actor.fields, "login_user") == NULL) { /* else the kernel knows */
        char *name = neap_format("%s (mallory)", text_of(actor.fields, "user"));
        assert_string_equal(actor.name, name);
        free(name);
    }
    neap_actor_clear(&actor);
    neap_actor_clear(&plain);
}

/* A container's user that no passwd file names, on a terminal. */
static void test_actor__a_user_without_a_name_is_a_number(void **state)
{
    enum { NOBODY_KNOWN = 54321 };
    struct neap_actor actor;
    (void)state;
    if (geteuid() != 0) {
        print_message("not root: no other user to become\n");
        return;
    }
    int master = posix_openpt(O_RDWR | O_NOCTTY), was_stdin = dup(STDIN_FILENO);
    assert_true(master >= 0 && was_stdin >= 0 && unlockpt(master) == 0);
    const char *name = ptsname(master);
    int terminal = open(name, O_RDWR | O_NOCTTY);
    assert_int_equal(dup2(terminal, STDIN_FILENO), STDIN_FILENO);
    assert_int_equal(setresuid(NOBODY_KNOWN, 0, 0), 0);
    neap_actor_open(&actor);
    assert_int_equal(setresuid(0, 0, 0), 0);
    assert_int_equal(dup2(was_stdin, STDIN_FILENO), STDIN_FILENO);
    assert_string_equal(text_of(actor.fields, "user"), "uid 54321");
    assert_string_equal(text_of(actor.fields, "tty"), name);
    assert_int_equal(json_integer_value(json_object_get(actor.fields, "uid")), NOBODY_KNOWN);
    assert_int_equal(json_integer_value(json_object_get(actor.fields, "euid")), 0);
    neap_actor_clear(&actor);
    close(terminal);
    close(master);
    close(was_stdin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup(test_actor__##name, no_claims)
        CASE(the_kernel_says_who_it_is),
        CASE(what_the_environment_says_is_a_claim),
        CASE(a_user_without_a_name_is_a_number),
#undef CASE
    };
    return cmocka_run_group_tests_name("actor", tests, NULL, NULL);
}
