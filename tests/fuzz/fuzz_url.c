/* SPDX-License-Identifier: MIT
 *
 * Connection strings: what is shown of one is what libpq parsed, the secrets starred;
 * and where one is printed as it was given (somebody typed it for an environment's
 * name), no letter that libpq takes for a part of a secret comes through.
 */
#include <libpq-fe.h>

#include "bindings/pg/pg_conninfo.h"
#include "host/base/buffer.h"
#include "host/base/log.h"
#include "tests/fuzz/fuzz.h"

#define SIZE_MAX_BYTES 512
#define PLACES_MAX 192
#define SECRET_LENGTH_MIN 4 /* of neap_redact_add */
#define MARK 'Q'

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

/* How many `letter` stand in what libpq takes for secret; -1 when it takes nothing. */
static int secret_letters(const char *text, char letter)
{
    PQconninfoOption *options = parse(text);
    int count = options ? 0 : -1;

    for (PQconninfoOption *option = options; option && option->keyword; option++)
        for (const char *at = option->dispchar[0] == '*' ? option->val : NULL; at && *at; at++)
            count += *at == letter;
    PQconninfoFree(options);
    return count;
}

static void check_shown(const char *before, const char *text, const char *after)
{
    char *message = neap_format("%s%s%s", before, text, after);
    char *shown = neap_redact(message);

    FUZZ_CHECK(!strchr(shown, MARK), "a letter of the secret in %s is in: %s", text, shown);
    free(shown);
    free(message);
}

/* With nothing registered: a letter more at any place of the text is hidden if libpq
 * takes it for a part of a secret, as quoted, escaped and ambiguous as it may stand
 * there. Inside a message that holds for keywords: where a URI's query ends is known
 * only to who sees where the text does. */
static void check_every_place(const char *text)
{
    size_t length = strlen(text);
    char *marked = neap_alloc(length + 2);

    for (size_t place = 0; place <= length && length <= PLACES_MAX; place++) {
        memcpy(marked, text, place);
        marked[place] = MARK;
        memcpy(marked + place + 1, text + place, length - place + 1);
        if (secret_letters(marked, MARK) != 1)
            continue;
        check_shown("", marked, "");
        if (!strstr(text, "://"))
            check_shown("unknown command `", marked, "`");
    }
    free(marked);
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
        /* Shorter ones are not registered; the stars make those that hold them. */
        if (secret && strlen(option->val) >= SECRET_LENGTH_MIN && !strchr(option->val, '*'))
            check_registered(text, option->val);
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
    for (char *at = text; (at = strchr(at, MARK)) != NULL;)
        *at = 'q';
    check_every_place(text);
    free(text);
    return 0;
}
