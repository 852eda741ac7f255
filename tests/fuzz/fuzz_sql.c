/* SPDX-License-Identifier: MIT
 *
 * Scanner, splitter and classifier against each other and against libpg_query:
 * the three must agree on where a statement ends and on what is transaction
 * control, because what one of them lets through reaches the server.
 */
#include <pg_query.h>

#include "bindings/pg/pg_sql.h"
#include "bindings/pg/pg_sql_class.h"
#include "host/base/text.h"
#include "tests/fuzz/fuzz.h"

#define SIZE_MAX_BYTES 4096

static bool is_space(char c)
{
    return c != '\0' && strchr(" \t\r\n\f\v", c) != NULL;
}

/* Tokens stand in order with nothing but spaces between. Says whether one has no
 * end, or is a psql meta-command. */
static void check_tokens(const char *text, size_t length, bool *unfinished, bool *meta)
{
    struct pg_sql_scan scan;
    struct pg_sql_token token;
    size_t at = 0;
    int line = 1;

    pg_sql_scan_init(&scan, text, length);
    at = scan.at;
    *unfinished = *meta = false;
    while (pg_sql_scan_next(&scan, &token)) {
        FUZZ_CHECK(token.offset >= at && token.length > 0, "offset %zu", token.offset);
        FUZZ_CHECK(token.length <= length - token.offset, "length %zu", token.length);
        for (; at < token.offset; at++) {
            FUZZ_CHECK(is_space(text[at]), "byte %zu is in no token", at);
            line += text[at] == '\n';
        }
        FUZZ_CHECK(token.line == line, "line %d, counted %d", token.line, line);
        for (; at < token.offset + token.length; at++)
            line += text[at] == '\n';
        *unfinished = *unfinished || token.unfinished;
        *meta = *meta || token.kind == PG_SQL_TOKEN_META;
    }
    for (; at < length; at++)
        FUZZ_CHECK(is_space(text[at]), "byte %zu is behind the end", at);
}

/* What no part took is spaces, comments, ';' and skipped meta-commands: parts and
 * gaps together are the input. */
static void check_gap(const char *text, size_t begin, size_t end)
{
    struct pg_sql_scan scan;
    struct pg_sql_token token;

    pg_sql_scan_init(&scan, text, end);
    scan.at = begin > scan.at ? begin : scan.at;
    while (pg_sql_scan_next_code(&scan, &token))
        FUZZ_CHECK(token.kind == PG_SQL_TOKEN_META || pg_sql_token_is_char(text, &token, ';'),
                   "a token at %zu is in no statement", token.offset);
}

static size_t check_parts(const char *text, size_t length, const struct pg_sql_part *parts,
                          size_t count)
{
    size_t at = 0;

    for (size_t i = 0; i < count; i++) {
        const struct pg_sql_part *part = &parts[i];

        FUZZ_CHECK(part->offset >= at && part->length > 0, "statement %zu", i);
        FUZZ_CHECK(part->length <= length - part->offset, "statement %zu", i);
        check_gap(text, at, part->offset);
        at = part->offset + part->length;
        FUZZ_CHECK(!is_space(text[at - 1]), "statement %zu ends with a space", i);
    }
    check_gap(text, at, length);
    return count;
}

static bool classify(const char *text, size_t length, struct pg_sql_class *class)
{
    struct neap_error err = {0};
    bool ok = pg_sql_classify(text, length, class, &err);

    FUZZ_CHECK(ok == (err.message == NULL), "refused without a message, or let through with one");
    FUZZ_CHECK(!ok || class->verb, "no verb");
    neap_error_clear(&err);
    return ok;
}

/* Nothing but the statement decides: not a comment before it or behind it, not
 * the cache, not whether the parser or the words looked at it. */
static void check_class(const char *text, size_t length, const struct pg_sql_class *class)
{
    struct pg_sql_class again = {0}, words = {0};
    struct pg_sql_scan scan;
    char *dressed = neap_format("/* a */ %.*s\n-- b\n", (int)length, text);

    pg_sql_scan_init(&scan, text, length);
    pg_sql_words_classify(scan, &words);
    if (words.kind == PG_SQL_TRANSACTION_CONTROL)
        FUZZ_CHECK(class->kind == PG_SQL_TRANSACTION_CONTROL, "%s let through as %s", words.verb,
                   class->verb);
    FUZZ_CHECK(classify(text, length, &again), "refused the second time");
    FUZZ_CHECK(memcmp(&again, class, sizeof again) == 0, "another answer the second time");
    FUZZ_CHECK(classify(dressed, strlen(dressed), &again), "refused with comments");
    FUZZ_CHECK(again.kind == class->kind && again.parsed == class->parsed,
               "%s with comments, %s without", again.verb, class->verb);
    free(dressed);
}

/* How many statements libpg_query finds, and whether one is transaction control;
 * false when it does not understand the text. */
static bool parse(const char *text, size_t *count, bool *control)
{
    PgQueryParseResult result = pg_query_parse(text);
    bool parsed = result.error == NULL;

    if (parsed) {
        *count = pg_sql_tree_count(result.parse_tree);
        *control = strstr(result.parse_tree, "{\"stmt\":{\"TransactionStmt\"") != NULL;
    }
    pg_query_free_parse_result(result);
    return parsed;
}

static void check_against_parser(const char *text, size_t length, size_t part_count)
{
    char *string = neap_strndup(text, length);
    struct pg_sql_class class = {0};
    size_t count = 0;
    bool control = false;

    if (parse(string, &count, &control)) {
        bool ok = classify(text, length, &class);

        FUZZ_CHECK(count == part_count, "the parser finds %zu statements, the scanner %zu", count,
                   part_count);
        FUZZ_CHECK(ok == (count == 1), "%zu statements: %s", count, ok ? class.verb : "refused");
        FUZZ_CHECK(!ok || !control || class.kind == PG_SQL_TRANSACTION_CONTROL,
                   "transaction control let through as %s", class.verb);
    }
    free(string);
}

static void check(const char *text, size_t length)
{
    struct neap_error err = {0};
    struct pg_sql_part *parts = NULL;
    struct pg_sql_class class = {0};
    size_t count = 0;
    bool unfinished = false, meta = false;
    bool is_text = neap_text_is_utf8(text, length) && memchr(text, '\0', length) == NULL;
    bool bom = length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0;

    check_tokens(text, length, &unfinished, &meta);
    bool split = pg_sql_split(text, length, &parts, &count, &err);
    FUZZ_CHECK(split == (err.message == NULL), "refused without a message");
    FUZZ_CHECK(!split || !unfinished, "split what has no end");
    if (split)
        check_parts(text, length, parts, count);
    bool ok = classify(text, length, &class);
    FUZZ_CHECK(!ok || is_text, "let bytes through that are not text");
    if (ok && !unfinished && !meta && !bom)
        check_class(text, length, &class);
    if (is_text && split && !meta && !bom)
        check_against_parser(text, length, count);
    neap_error_clear(&err);
    free(parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > SIZE_MAX_BYTES)
        return 0;
    char *text = fuzz_block(data, size);

    check(text, size);
    free(text);
    return 0;
}
