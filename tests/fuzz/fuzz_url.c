/* SPDX-License-Identifier: MIT
 *
 * Connection strings: whatever libpq reads a password from, nothing that is
 * printed of it holds that password, in whatever spelling it stood there.
 */
#include <libpq-fe.h>

#include "bindings/pg/pg_conninfo.h"
#include "host/base/log.h"
#include "tests/fuzz/fuzz.h"

#define SIZE_MAX_BYTES 512
#define SECRET_LENGTH_MIN 4 /* of neap_redact_add */

/* libpq's reading of the text; NULL when it has none. */
static PQconninfoOption *parse(const char *text)
{
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(text, &message);

    PQfreemem(message);
    return options;
}

/* True when another part of the connection string shows the secret anyway. */
static bool is_elsewhere(const PQconninfoOption *options, const char *secret)
{
    for (; options->keyword; options++) {
        char *shown = neap_format(" %s=%s", options->keyword, options->val ? options->val : "");
        bool found = options->dispchar[0] != '*' && strstr(shown, secret) != NULL;

        free(shown);
        if (found)
            return true;
    }
    return strstr("password=*** sslpassword=*** ", secret) != NULL;
}

/* Redacted, the text has lost its password: nobody who reads it with libpq finds
 * it, even where the text spells it otherwise (%XX) than it was registered. */
static void check_shape(const char *text, const char *password)
{
    pg_conninfo_redact(text);
    char *shown = neap_redact(text);
    char *left = pg_conninfo_password(shown);

    FUZZ_CHECK(!left || strcmp(left, password) != 0, "the password is still in: %s", shown);
    free(left);
    free(shown);
    neap_redact_clear();
}

/* The registered secrets of `text` are in no text that passes the redaction. */
static void check_registered(const char *text, const char *secret)
{
    char *message = neap_format("could not connect (%s): %s", secret, text);

    pg_conninfo_redact(text);
    char *shown = neap_redact(message);
    FUZZ_CHECK(strstr(shown, secret) == NULL, "a registered secret is in: %s", shown);
    free(shown);
    free(message);
    neap_redact_clear();
}

static void check_secret(const char *text, const PQconninfoOption *options,
                         const PQconninfoOption *option)
{
    char *shown = pg_conninfo_redacted(text);

    /* Shorter ones are not registered; the stars make those that hold them. */
    if (strlen(option->val) >= SECRET_LENGTH_MIN && strchr(option->val, '*') == NULL) {
        FUZZ_CHECK(is_elsewhere(options, option->val) || strstr(shown, option->val) == NULL,
                   "%s is in: %s", option->keyword, shown);
        check_registered(text, option->val);
        if (strcmp(option->keyword, "password") == 0)
            check_shape(text, option->val);
    }
    free(shown);
}

static void check(const char *text)
{
    struct neap_error err = {0};
    PQconninfoOption *options = parse(text);
    char *shown = pg_conninfo_redacted(text);
    char *password = pg_conninfo_password(text);

    FUZZ_CHECK(pg_conninfo_check(text, &err) == (options != NULL), "not what libpq says");
    FUZZ_CHECK(options || (err.message && strcmp(shown, "(not valid)") == 0), "shown: %s", shown);
    FUZZ_CHECK(options || !password, "a password of nothing");
    for (PQconninfoOption *option = options; option && option->keyword; option++) {
        bool secret = option->dispchar[0] == '*' && option->val && option->val[0] != '\0';

        if (strcmp(option->keyword, "password") == 0)
            FUZZ_CHECK(secret == (password && strcmp(password, option->val) == 0), "password");
        if (secret)
            check_secret(text, options, option);
    }
    free(password);
    free(shown);
    PQconninfoFree(options);
    neap_error_clear(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > SIZE_MAX_BYTES)
        return 0;
    char *text = fuzz_string(data, size);

    unsetenv("PGSERVICE");
    check(text);
    free(text);
    return 0;
}
