/* SPDX-License-Identifier: MIT
 *
 * Connection strings: whatever libpq reads a password from, nothing that is
 * printed of it holds that password, in whatever spelling it stood there.
 */
#include <libpq-fe.h>

#include "bindings/pg/pg_conninfo.h"
#include "host/base/buffer.h"
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

/* What may be shown: each option but the secret ones, which are stars. */
static char *shown_of(const PQconninfoOption *options)
{
    struct neap_buffer out = {0};

    for (; options->keyword; options++) {
        if (!options->val || options->val[0] == '\0')
            continue;
        neap_buffer_add_format(&out, "%s%s=", out.length ? " " : "", options->keyword);
        neap_buffer_add_text(&out, options->dispchar[0] == '*' ? "***" : options->val);
    }
    return neap_buffer_take(&out);
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

/* Shorter ones are not registered; the stars make those that hold them. */
static void check_secret(const char *text, const PQconninfoOption *option)
{
    if (strlen(option->val) < SECRET_LENGTH_MIN || strchr(option->val, '*') != NULL)
        return;
    check_registered(text, option->val);
    /* A keyword string's backslashes and quotes together are not claimed: only what
     * was registered is found there, and it is spelled otherwise. */
    if (strcmp(option->keyword, "password") == 0 && (strstr(text, "://") || !strchr(text, '\\')))
        check_shape(text, option->val);
}

static void check(const char *text)
{
    struct neap_error err = {0};
    PQconninfoOption *options = parse(text);
    char *shown = pg_conninfo_redacted(text);
    char *expected = options ? shown_of(options) : neap_strdup("(not valid)");
    char *password = pg_conninfo_password(text);

    FUZZ_CHECK(pg_conninfo_check(text, &err) == (options != NULL), "not what libpq says");
    FUZZ_CHECK(strcmp(shown, expected) == 0, "shown: %s", shown);
    FUZZ_CHECK(options || err.message, "refused without a message");
    FUZZ_CHECK(options || !password, "a password of nothing");
    for (PQconninfoOption *option = options; option && option->keyword; option++) {
        bool secret = option->dispchar[0] == '*' && option->val && option->val[0] != '\0';

        if (strcmp(option->keyword, "password") == 0)
            FUZZ_CHECK(secret == (password && strcmp(password, option->val) == 0), "password");
        if (secret)
            check_secret(text, option);
    }
    free(password);
    free(expected);
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
