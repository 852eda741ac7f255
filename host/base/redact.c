/* SPDX-License-Identifier: MIT
 *
 * The one redaction point. It marks the bytes to hide in a mask, once for the
 * registered secrets and once for the shapes that carry a password, and then
 * copies the text with each marked stretch as "***". Whatever overlaps is
 * hidden whole. Time is linear in the text: each scan goes on behind what it
 * has marked. Where a shape is ambiguous, too much is hidden.
 */
#include <ctype.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/base/buffer.h"
#include "host/base/log.h"
#include "host/base/memory.h"

#define SECRET_LENGTH_MIN 4
#define FORM_LENGTH_MIN 5 /* of a base64 form: shorter ones hit by chance */
#define COMMENT_MAX 512   /* keeps the scan linear; comments there are short */

/* One spelling of a secret. */
struct form {
    char *text;
    size_t length;
    bool any_case; /* hex digits */
};

static struct {
    struct form *forms;
    size_t count, capacity;
    bool begins[256]; /* the first bytes of all forms */
} known;

static bool is_form_known(const char *text, size_t length)
{
    for (size_t i = 0; i < known.count; i++)
        if (known.forms[i].length == length && memcmp(known.forms[i].text, text, length) == 0)
            return true;
    return false;
}

/* Takes `text`. */
static void add_form(char *text, bool any_case)
{
    size_t length = strlen(text);
    unsigned char first = (unsigned char)text[0];

    if (length < SECRET_LENGTH_MIN || is_form_known(text, length)) {
        sodium_memzero(text, length);
        free(text);
        return;
    }
    if (known.count == known.capacity) {
        known.capacity = known.capacity ? known.capacity * 2 : 16;
        known.forms = neap_realloc(known.forms, known.capacity * sizeof *known.forms);
    }
    known.forms[known.count++] = (struct form){text, length, any_case};
    known.begins[first] = true;
    if (any_case) {
        known.begins[(unsigned char)toupper(first)] = true;
        known.begins[(unsigned char)tolower(first)] = true;
    }
}

static char *url_form(const char *secret)
{
    struct neap_buffer out = {0};

    for (; *secret; secret++) {
        unsigned char c = (unsigned char)*secret;

        if (isalnum(c) || strchr("-._~", c))
            neap_buffer_add_char(&out, (char)c);
        else
            neap_buffer_add_format(&out, "%%%02X", c);
    }
    return neap_buffer_take(&out);
}

static char *hex_form(const char *secret)
{
    size_t length = strlen(secret);
    char *hex = neap_alloc(length * 2 + 1);

    return sodium_bin2hex(hex, length * 2 + 1, (const unsigned char *)secret, length);
}

/* As a string literal of JSON, Lua or SQL spells it: `quote` before each of
 * `special`. */
static char *quoted_form(const char *secret, char quote, const char *special)
{
    struct neap_buffer out = {0};

    for (; *secret; secret++) {
        if (strchr(special, *secret))
            neap_buffer_add_char(&out, quote);
        neap_buffer_add_char(&out, *secret);
    }
    return neap_buffer_take(&out);
}

/* The letters of base64 that only the secret decides when `offset` bytes stand
 * before it ("user:secret" of an Authorization header). */
static void add_base64_form(const char *secret, size_t offset, int variant)
{
    size_t length = strlen(secret);
    size_t size = sodium_base64_ENCODED_LEN(length + offset, sodium_base64_VARIANT_URLSAFE);
    size_t begin = (offset * 8 + 5) / 6;
    size_t end = (offset + length) * 8 / 6;
    unsigned char *bytes = neap_alloc(offset + length);
    char *encoded = neap_alloc(size);

    memcpy(bytes + offset, secret, length); /* NOLINT(bugprone-not-null-terminated-result): bytes */
    sodium_bin2base64(encoded, size, bytes, offset + length, variant);
    if (end - begin >= FORM_LENGTH_MIN)
        add_form(neap_strndup(encoded + begin, end - begin), false);
    sodium_memzero(bytes, offset + length);
    sodium_memzero(encoded, size);
    free(bytes);
    free(encoded);
}

void neap_redact_add(const char *secret)
{
    if (!secret || strlen(secret) < SECRET_LENGTH_MIN)
        return;
    add_form(neap_strdup(secret), false);
    add_form(url_form(secret), true);
    add_form(hex_form(secret), true);
    add_form(quoted_form(secret, '\\', "\\\""), false);
    add_form(quoted_form(secret, '\\', "\\'"), false);
    add_form(quoted_form(secret, '\'', "'"), false);
    for (size_t offset = 0; offset < 3; offset++) {
        add_base64_form(secret, offset, sodium_base64_VARIANT_ORIGINAL);
        add_base64_form(secret, offset, sodium_base64_VARIANT_URLSAFE);
    }
}

void neap_redact_clear(void)
{
    for (size_t i = 0; i < known.count; i++) {
        sodium_memzero(known.forms[i].text, known.forms[i].length);
        free(known.forms[i].text);
    }
    free(known.forms);
    memset(&known, 0, sizeof known);
}

/* A text and the mask over it: mask[i] is 1 where byte i is to be hidden. */
struct scan {
    const char *text;
    size_t length;
    unsigned char *mask;
};

static void hide(struct scan *scan, size_t begin, size_t end)
{
    if (end > scan->length)
        end = scan->length;
    if (begin < end)
        memset(scan->mask + begin, 1, end - begin);
}

static size_t longest_form_at(const struct scan *scan, size_t at)
{
    size_t longest = 0;

    for (size_t i = 0; i < known.count; i++) {
        const struct form *form = &known.forms[i];
        const char *here = scan->text + at;

        if (form->length <= longest || form->length > scan->length - at)
            continue;
        if (form->any_case ? strncasecmp(here, form->text, form->length) == 0
                           : memcmp(here, form->text, form->length) == 0)
            longest = form->length;
    }
    return longest;
}

static void hide_known(struct scan *scan)
{
    size_t hidden = 0; /* end of what is marked: forms may overlap */

    for (size_t i = 0; i < scan->length; i++) {
        size_t end = 0;

        if (!known.begins[(unsigned char)scan->text[i]])
            continue;
        end = i + longest_form_at(scan, i);
        if (end > hidden) {
            hide(scan, i > hidden ? i : hidden, end);
            hidden = end;
        }
    }
}

/* libpq takes all up to the first '@' for user and password, blanks and quotes
 * among it, unless a '/' comes before; NULL for other schemes. */
static const char *libpq_sign(const char *text, const char *colon)
{
    static const char *const schemes[] = {"postgres", "postgresql"};
    const char *end = colon + 3 + strcspn(colon + 3, "@/");

    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t length = strlen(schemes[i]);

        if ((size_t)(colon - text) >= length && *end == '@' &&
            strncasecmp(colon - length, schemes[i], length) == 0)
            return end;
    }
    return NULL;
}

/* scheme://user:password@host: from the first ':' to the last '@' before a
 * blank or a quote, because people write '@' and '/' unencoded. */
static void hide_urls(struct scan *scan)
{
    const char *at = scan->text;

    while ((at = strchr(at, ':')) != NULL) {
        const char *begin = at + 3;
        const char *end = NULL, *colon = NULL, *sign = NULL;

        if (at[1] != '/' || at[2] != '/') {
            at++;
            continue;
        }
        end = begin + strcspn(begin, " \t\r\n\v\f\"'<>`");
        sign = memrchr(begin, '@', (size_t)(end - begin));
        sign = sign ? sign : libpq_sign(scan->text, at);
        colon = sign ? memchr(begin, ':', (size_t)(sign - begin)) : NULL;
        if (at > scan->text && isalnum((unsigned char)at[-1]) && colon)
            hide(scan, (size_t)(colon + 1 - scan->text), (size_t)(sign - scan->text));
        at = end;
    }
}

/* Behind blanks and SQL comments. */
static const char *skip_blanks(const char *at)
{
    for (;;) {
        size_t room = strnlen(at, COMMENT_MAX);
        const char *end = NULL;

        if (isspace((unsigned char)*at)) {
            at++;
            continue;
        }
        if (at[0] == '-' && at[1] == '-')
            end = memchr(at, '\n', room);
        else if (at[0] == '/' && at[1] == '*' && (end = memmem(at, room, "*/", 2)) != NULL)
            end++;
        if (!end)
            return at;
        at = end + 1;
    }
}

/* The end of a literal that `quote` opened before `at`: both a doubled quote
 * and a backslash continue it, since hiding too much is the safe side. */
static const char *end_of_quoted(const char *at, char quote)
{
    for (; *at; at++) {
        if ((*at == '\\' && at[1]) || (*at == quote && at[1] == quote))
            at++;
        else if (*at == quote)
            break;
    }
    return at;
}

/* $tag$ at `at`: its length, or 0. */
static size_t dollar_tag(const char *at)
{
    size_t length = 1;

    if (*at != '$')
        return 0;
    while (isalnum((unsigned char)at[length]) || at[length] == '_' || (at[length] & 0x80))
        length++;
    return at[length] == '$' && !isdigit((unsigned char)at[1]) ? length + 1 : 0;
}

/* Hides the literal that begins at `at`, if one does; returns where it ended. */
static const char *hide_literal(struct scan *scan, const char *at)
{
    const char *begin = at;
    const char *end = NULL;
    size_t tag = dollar_tag(at);

    if (tag) {
        begin = at + tag;
        end = memmem(begin, scan->length - (size_t)(begin - scan->text), at, tag);
        end = end ? end : scan->text + scan->length;
    } else {
        if (strncasecmp(begin, "u&'", 3) == 0)
            begin += 2;
        else if (strchr("eEnNbBxX", *begin) && *begin && begin[1] == '\'')
            begin += 1;
        if (*begin != '\'')
            return NULL;
        begin++;
        end = end_of_quoted(begin, '\'');
    }
    hide(scan, (size_t)(begin - scan->text), (size_t)(end - scan->text));
    return *end ? end + (tag ? tag : 1) : end;
}

/* True when "keyword=" before `at` stands in a URL's query, where '&' ends it. */
static bool is_query(const char *text, const char *at)
{
    if (at > text && at[-1] == '=')
        at--;
    while (at > text && (isalnum((unsigned char)at[-1]) || strchr("%_", at[-1])))
        at--;
    return at > text && strchr("?&", at[-1]);
}

/* True when the value that begins at `at` goes on at `next`, behind a quote: to
 * libpq a '"' is a letter as any other. Behind a colon, as in JSON, punctuation
 * ends it; behind '=' only where a blank follows. */
static bool goes_on(const char *text, const char *at, const char *next)
{
    bool colon = false;

    if (*next == '\0' || isspace((unsigned char)*next))
        return false;
    while (at > text && isspace((unsigned char)at[-1]))
        at--;
    colon = at > text && at[-1] == ':';
    return !strchr(",;)]}>&", *next) ||
           (!colon && next[1] != '\0' && !isspace((unsigned char)next[1]));
}

/* The value behind `password =`; returns where it ended. */
static const char *hide_value(struct scan *scan, const char *at)
{
    const char *end = at;

    if (*at == '\'' || *at == '"') {
        end = end_of_quoted(at + 1, *at);
        if (*end && goes_on(scan->text, at, end + 1))
            while (*end && !isspace((unsigned char)*end))
                end++;
        hide(scan, (size_t)(at + 1 - scan->text), (size_t)(end - scan->text));
        return *end ? end + 1 : end;
    }
    const char *ends = is_query(scan->text, at) ? "&\"'" : "\"'";

    while (*end && !isspace((unsigned char)*end) && !strchr(ends, *end))
        end += *end == '\\' && end[1] ? 2 : 1;
    hide(scan, (size_t)(at - scan->text), (size_t)(end - scan->text));
    return end;
}

/* What follows one word "password". */
static const char *hide_after_word(struct scan *scan, const char *word_end)
{
    bool quoted = *word_end == '"' || *word_end == '\'';
    const char *sign = skip_blanks(word_end + quoted);
    const char *end = NULL;

    if (*sign == '=' || (*sign == ':' && quoted) ||
        (*sign == ':' && strchr("\"'", *skip_blanks(sign + 1)))) {
        sign += sign[0] == ':' && sign[1] == '=';
        sign = skip_blanks(sign + 1);
        end = hide_literal(scan, sign);
        return end ? end : hide_value(scan, sign);
    }
    if (strncmp(word_end, "'s ", 3) == 0) /* the password's owner */
        return word_end;
    end = hide_literal(scan, skip_blanks(word_end));
    return end ? end : word_end;
}

/* One letter at `at`, lower case, as a URL may spell it (%70); *size its bytes. */
static int letter_at(const char *at, size_t *size)
{
    unsigned char byte = 0;

    *size = 1;
    if (*at == '%' && isxdigit((unsigned char)at[1]) && isxdigit((unsigned char)at[2])) {
        sodium_hex2bin(&byte, 1, at + 1, 2, NULL, NULL, NULL);
        *size = 3;
        return tolower(byte);
    }
    return tolower((unsigned char)*at);
}

/* The end of `word` if it stands at `at`, in any case, or NULL. */
static const char *word_at(const char *at, const char *word)
{
    size_t size = 0;

    for (; *word; word++, at += size)
        if (letter_at(at, &size) != *word)
            return NULL;
    return at;
}

/* The next "password", "passwd" or "passphrase" in any case; its end. */
static const char *next_word(const char *at)
{
    static const char *const words[] = {"password", "passwd", "passphrase"};

    for (; (at = strpbrk(at, "pP%")) != NULL; at++)
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
            const char *end = word_at(at, words[i]);

            if (end)
                return end;
        }
    return NULL;
}

static void hide_words(struct scan *scan)
{
    const char *at = scan->text;

    while ((at = next_word(at)) != NULL)
        at = hide_after_word(scan, at);
}

/* The end of a keyword's value as libpq reads it: in quotes or to a blank, and a
 * backslash takes the next letter's meaning. */
static const char *libpq_value_end(const char *at)
{
    bool quoted = *at == '\'';

    for (at += quoted; *at && (quoted ? *at != '\'' : !isspace((unsigned char)*at)); at++)
        at += *at == '\\' && at[1];
    return at;
}

/* Without the quotes around a value, and a comma or bracket behind the second. */
static void hide_inside(struct scan *scan, const char *begin, const char *end)
{
    const char *last = end;

    if (*begin == '"') {
        last -= last - begin > 2 && strchr(",;)]}>&", last[-1]) && last[-2] == '"';
        end = last - begin > 1 && last[-1] == '"' ? last - 1 : end;
    }
    begin += *begin == '"' || *begin == '\'';
    hide(scan, (size_t)(begin - scan->text), (size_t)(end - scan->text));
}

/* The same inside a literal, where each quote is doubled or has a backslash before
 * it; NULL when `at` is not at such a quote or it has no end. */
static const char *nested_value_end(const struct scan *scan, const char *at)
{
    bool opens = (*at == '\'' && at[1] == '\'') || (*at == '\\' && at[1] && strchr("'\"", at[1]));

    if (!opens || at[2] == '\0' || isspace((unsigned char)at[2]))
        return NULL;
    return memmem(at + 2, scan->length - (size_t)(at + 2 - scan->text), at, 2);
}

/* A text that is a URI is nothing else: libpq reads a value to the next '&'. */
static bool is_uri(const char *text)
{
    return strncmp(text, "postgres://", 11) == 0 || strncmp(text, "postgresql://", 13) == 0;
}

/* Every value that libpq could take for a password, also of a word that stands in
 * what another shape has hidden. A value that runs on through another's has its
 * end, so `hidden` keeps this linear. */
static void hide_conninfo(struct scan *scan)
{
    bool uri = is_uri(scan->text);
    const char *at = scan->text;
    const char *hidden = at; /* the end of the last one without quotes */

    while ((at = next_word(at)) != NULL) {
        const char *sign = at + strspn(at, " \t\n\v\f\r");
        const char *begin = sign + 1, *end = NULL, *nested = NULL;
        bool quoted = false;

        if (*sign != '=')
            continue;
        begin += strspn(begin, " \t\n\v\f\r");
        quoted = !uri && *begin == '\'';
        nested = uri ? NULL : nested_value_end(scan, begin);
        if (!nested && !quoted && begin < hidden)
            continue;
        end = uri ? begin + strcspn(begin, "&") : libpq_value_end(begin);
        hidden = quoted ? hidden : end;
        end = nested && nested > end ? nested : end; /* libpq's next may begin in it */
        hide_inside(scan, begin, end);
    }
}

static bool begins_word(const char *at, const char *const *words, const char **end)
{
    for (; *words; words++)
        if (strncasecmp(at, *words, strlen(*words)) == 0) {
            *end = at + strlen(*words);
            return true;
        }
    return false;
}

/* Every literal of a statement about roles: a mistyped PASSWORD is a password
 * still, and the server's syntax error shows the statement. */
static void hide_roles(struct scan *scan)
{
    static const char *const verbs[] = {"create", "alter", NULL};
    static const char *const nouns[] = {"role", "user", "group", NULL};
    const char *at = scan->text;

    while ((at = strpbrk(at, "cCaA")) != NULL) {
        const char *end = NULL;

        if (!begins_word(at, verbs, &end) || !isspace((unsigned char)*end) ||
            !begins_word(skip_blanks(end), nouns, &end)) {
            at++;
            continue;
        }
        for (at = end; *at && *at != ';';) {
            end = hide_literal(scan, at);
            at = end ? end : at + 1;
        }
    }
}

char *neap_redact_at(const char *text, size_t *offset)
{
    size_t length = strlen(text);
    struct scan scan = {text, length, neap_alloc(length + 1)};
    struct neap_buffer out = {0};
    size_t moved = 0;

    hide_known(&scan);
    hide_urls(&scan);
    hide_words(&scan);
    hide_conninfo(&scan);
    hide_roles(&scan);
    if (memchr(scan.mask, 1, length) == NULL) { /* as nearly always */
        *offset = *offset < length ? *offset : length;
        free(scan.mask);
        return neap_strndup(text, length);
    }
    for (size_t i = 0; i < length; i++) {
        bool starts = scan.mask[i] && (i == 0 || !scan.mask[i - 1]);

        if (i == *offset)
            moved = scan.mask[i] && !starts ? out.length - 3 : out.length;
        if (starts)
            neap_buffer_add(&out, "***", 3);
        else if (!scan.mask[i])
            neap_buffer_add_char(&out, text[i]);
    }
    *offset = *offset < length ? moved : out.length;
    free(scan.mask);
    return neap_buffer_take(&out);
}

char *neap_redact(const char *text)
{
    size_t nowhere = 0;

    return text ? neap_redact_at(text, &nowhere) : NULL;
}
