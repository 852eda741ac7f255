/* SPDX-License-Identifier: MIT
 *
 * The redaction: a registered secret is in no output, neither as it is nor in any
 * spelling that log.h names. The spellings are made here again, by another hand
 * than the product's. The input is a secret, a newline, and a text in which each
 * of the bytes 0x10 to 0x1d stands for one spelling.
 */
#include <ctype.h>

#include "host/base/buffer.h"
#include "host/base/log.h"
#include "tests/fuzz/fuzz.h"

#define SIZE_MAX_BYTES 1024
#define SECRET_LENGTH_MIN 4
#define BASE64_LENGTH_MIN 5 /* shorter ones are not claimed: they hit by chance */
#define FORM_COUNT 14
#define FORM_BASE64 8 /* from here on */

static char *spell_url(const char *secret, bool upper)
{
    struct neap_buffer out = {0};

    for (; *secret; secret++) {
        unsigned char c = (unsigned char)*secret;
        bool plain = (c < 0x80 && isalnum(c)) || c == '-' || c == '.' || c == '_' || c == '~';

        if (plain)
            neap_buffer_add_char(&out, (char)c);
        else
            neap_buffer_add_format(&out, upper ? "%%%02X" : "%%%02x", c);
    }
    return neap_buffer_take(&out);
}

static char *spell_hex(const char *secret, bool upper)
{
    struct neap_buffer out = {0};

    for (; *secret; secret++)
        neap_buffer_add_format(&out, upper ? "%02X" : "%02x", (unsigned char)*secret);
    return neap_buffer_take(&out);
}

static char *spell_quoted(const char *secret, char quote, const char *special)
{
    struct neap_buffer out = {0};

    for (; *secret; secret++) {
        if (strchr(special, *secret))
            neap_buffer_add_char(&out, quote);
        neap_buffer_add_char(&out, *secret);
    }
    return neap_buffer_take(&out);
}

/* The bits of the secret in groups of six, `before` bytes into a text: the letters
 * that no other byte has a part in. */
static char *spell_base64(const char *secret, size_t before, bool url)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct neap_buffer out = {0};
    unsigned bits = 0;
    int count = 0;
    int skip = (int)((6 - before * 8 % 6) % 6); /* bits of a letter that is shared */

    for (; *secret; secret++)
        for (int i = 7; i >= 0; i--) {
            if (skip > 0) {
                skip--;
                continue;
            }
            bits = bits << 1 | (((unsigned char)*secret >> i) & 1U);
            if (++count < 6)
                continue;
            char letter = plain[bits];
            if (url && letter == '+')
                letter = '-';
            if (url && letter == '/')
                letter = '_';
            neap_buffer_add_char(&out, letter);
            bits = 0;
            count = 0;
        }
    return neap_buffer_take(&out);
}

static void make_forms(const char *secret, char *forms[FORM_COUNT])
{
    forms[0] = neap_strdup(secret);
    forms[1] = spell_url(secret, false);
    forms[2] = spell_url(secret, true);
    forms[3] = spell_hex(secret, false);
    forms[4] = spell_hex(secret, true);
    forms[5] = spell_quoted(secret, '\\', "\\\"");
    forms[6] = spell_quoted(secret, '\\', "\\'");
    forms[7] = spell_quoted(secret, '\'', "'");
    for (size_t before = 0; before < 3; before++) {
        forms[FORM_BASE64 + before] = spell_base64(secret, before, false);
        forms[FORM_BASE64 + 3 + before] = spell_base64(secret, before, true);
    }
}

/* The text with the spellings in it; `length` bytes at `data`. */
static char *embed(const uint8_t *data, size_t length, char *const forms[FORM_COUNT])
{
    struct neap_buffer out = {0};

    for (size_t i = 0; i < length && data[i]; i++) {
        if (data[i] < 0x20 && data[i] >= 0x10 && data[i] - 0x10 < FORM_COUNT)
            neap_buffer_add_text(&out, forms[data[i] - 0x10]);
        else
            neap_buffer_add_char(&out, (char)data[i]);
    }
    return neap_buffer_take(&out);
}

/* A secret with '*' may come about by the stars that replace another. */
static bool is_claimed(const char *form, size_t at)
{
    size_t least = at >= FORM_BASE64 ? BASE64_LENGTH_MIN : SECRET_LENGTH_MIN;

    return strlen(form) >= least && strchr(form, '*') == NULL;
}

static void check(const char *text, char *const forms[FORM_COUNT])
{
    size_t length = strlen(text);
    char *shown = neap_redact(text);

    for (size_t i = 0; i < FORM_COUNT; i++)
        if (is_claimed(forms[i], i))
            FUZZ_CHECK(!strstr(shown, forms[i]), "form %zu, %s, is in: %s", i, forms[i], shown);
    for (size_t at = 0; at <= length + 1; at += 1 + length / 8) {
        size_t moved = at;
        char *again = neap_redact_at(text, &moved);

        FUZZ_CHECK(strcmp(again, shown) == 0, "not the same text: %s", again);
        FUZZ_CHECK(moved <= strlen(shown), "place %zu became %zu", at, moved);
        free(again);
    }
    free(shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *forms[FORM_COUNT];

    if (size > SIZE_MAX_BYTES)
        return 0;
    const uint8_t *newline = memchr(data, '\n', size);
    size_t length = newline ? (size_t)(newline - data) : size / 4;
    char *secret = fuzz_string(data, length);
    size_t skip = newline ? length + 1 : length;

    neap_redact_add(secret);
    make_forms(secret, forms);
    char *text = embed(data + skip, size - skip, forms);
    if (strlen(secret) >= SECRET_LENGTH_MIN)
        check(text, forms);
    else
        free(neap_redact(text));
    neap_redact_clear();
    for (size_t i = 0; i < FORM_COUNT; i++)
        free(forms[i]);
    free(text);
    free(secret);
    return 0;
}
