/* SPDX-License-Identifier: MIT
 *
 * Classifies one statement: PostgreSQL's own parser first, first words where it
 * does not know the syntax. Owns the cache by text, or by shape. Surprising: a text that
 * could nest deeper than the C stack is not given to the parser, because
 * libpg_query has no stack check while it writes its tree and would end the
 * process; the server, which has one, decides.
 */
#include "bindings/pg/pg_sql.h"

#include <pg_query.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_sql_class.h"
#include "bindings/pg/pg_sql_shape.h"
#include "host/base/crash.h"
#include "host/base/memory.h"
#include "host/base/text.h"

/* Bounded: at most CACHE_SLOTS texts of at most CACHE_TEXT_MAX bytes. A slot is
 * taken over by the next text that falls on it. One thread runs the loop and
 * everything that classifies, so there is no lock. */
#define CACHE_SLOTS 2048
#define CACHE_TEXT_MAX 4096

/* libpg_query crashes near 60,000 levels on an 8 MB stack (+ chains); a level
 * takes a token at least. */
#define DEPTH_MAX 8000

/* Without memory libpg_query 15 frees what it never set (its fingerprint), or has
 * no handler yet for its own error. Both crash. */
static const char parser[] = "libpg_query";

/* A tree takes hundreds of times its text in memory that no cap counts, and time
 * in which no stop is heard. */
#define PARSE_MAX_BYTES ((size_t)1024 * 1024)

/* A text, or the shape of many. */
struct cache_key {
    const char *text;
    size_t length;
    bool is_shape;
};

struct cache_slot {
    char *text;
    size_t length;
    bool is_shape;
    struct pg_sql_class class;
};

static struct cache_slot *cache;

static struct cache_slot *cache_slot_of(const struct cache_key *key)
{
    uint64_t hash = 14695981039346656037ULL; /* FNV-1a */
    for (size_t i = 0; i < key->length; i++)
        hash = (hash ^ (unsigned char)key->text[i]) * 1099511628211ULL;
    if (cache == NULL)
        cache = neap_alloc(CACHE_SLOTS * sizeof *cache);
    return &cache[(hash ^ (hash >> 32)) % CACHE_SLOTS];
}

static bool cache_has(const struct cache_slot *slot, const struct cache_key *key)
{
    return slot->text != NULL && slot->length == key->length && slot->is_shape == key->is_shape &&
           memcmp(slot->text, key->text, key->length) == 0;
}

static void cache_put(struct cache_slot *slot, const struct cache_key *key,
                      const struct pg_sql_class *class)
{
    free(slot->text);
    slot->text = neap_strndup(key->text, key->length);
    slot->length = key->length;
    slot->is_shape = key->is_shape;
    slot->class = *class;
}

void pg_sql_cache_clear(void)
{
    for (size_t i = 0; cache != NULL && i < CACHE_SLOTS; i++)
        free(cache[i].text);
    free(cache);
    cache = NULL;
}

/* An upper bound of the tree's depth: tokens since the last comma, over all
 * open parentheses. */
static bool is_too_deep(const char *sql, size_t length)
{
    if (length < DEPTH_MAX)
        return false;
    static size_t levels[DEPTH_MAX + 1];
    size_t depth = 0, sum = 0;
    struct pg_sql_scan scan;
    struct pg_sql_token token;
    pg_sql_scan_init(&scan, sql, length);
    levels[0] = 0;
    while (sum < DEPTH_MAX && pg_sql_scan_next_code(&scan, &token)) {
        char c = token.kind == PG_SQL_TOKEN_PUNCTUATION ? sql[token.offset] : '\0';
        if (c == ',' || c == ';') {
            sum -= levels[depth];
            levels[depth] = 0;
            continue;
        }
        levels[depth]++;
        sum++;
        if (c == '(' || c == '[') {
            levels[++depth] = 0; /* sum >= depth, so depth stays in bounds */
        } else if ((c == ')' || c == ']') && depth > 0) {
            sum -= levels[depth--];
        }
    }
    return sum >= DEPTH_MAX;
}

static bool refuse(struct neap_error *err, const char *sql, const char *message)
{
    neap_error_set(err, NEAP_ERR_DB_ARGUMENT, "%s", message);
    neap_error_sql(err, sql, 0);
    return false;
}

static bool refuse_many(struct neap_error *err, const char *sql, const char *verb)
{
    if (verb != NULL) {
        neap_error_set(err, NEAP_ERR_DB_TRANSACTION_CONTROL,
                       "the text holds several statements, one of them transaction control (%s)",
                       verb);
        neap_error_sql(err, sql, 0);
        return false;
    }
    refuse(err, sql, "more than one statement in one call");
    neap_error_hint(err, "Send them one by one, without `;` between.");
    return false;
}

/* The parser gave up: look at every statement the scanner finds. */
static bool classify_words(const char *sql, size_t length, struct pg_sql_class *out,
                           struct neap_error *err)
{
    struct pg_sql_scan scan;
    struct pg_sql_part part;
    struct pg_sql_token bad;
    size_t count = 0;
    const char *control = NULL;
    bool whole = true;
    pg_sql_scan_init(&scan, sql, length);
    while (whole) {
        struct pg_sql_scan from = scan;
        whole = pg_sql_part_next(&scan, &part, &bad);
        if (!whole && bad.kind == PG_SQL_TOKEN_META)
            return refuse(err, sql, "psql meta-commands (`\\…`) are not SQL");
        if (part.length == 0)
            break;
        struct pg_sql_class class = {0};
        pg_sql_words_classify(from, &class);
        if (class.kind == PG_SQL_TRANSACTION_CONTROL && control == NULL)
            control = class.verb;
        if (count++ == 0)
            *out = class;
    }
    if (count > 1)
        return refuse_many(err, sql, control);
    if (count == 0 && whole)
        return refuse(err, sql, "there is no statement in the text");
    if (count == 0)
        *out = (struct pg_sql_class){.kind = PG_SQL_OTHER, .verb = "statement"};
    return true;
}

static void fingerprint(const char *sql, struct pg_sql_class *out)
{
    neap_crash_in(parser);
    PgQueryFingerprintResult result = pg_query_fingerprint(sql);
    if (result.error == NULL && result.fingerprint_str != NULL) {
        size_t length = strnlen(result.fingerprint_str, sizeof out->fingerprint - 1);
        memcpy(out->fingerprint, result.fingerprint_str, length);
        out->fingerprint[length] = '\0';
    }
    pg_query_free_fingerprint_result(result);
    neap_crash_in(NULL);
}

static bool classify_tree(const char *sql, const char *tree, struct pg_sql_class *out,
                          struct neap_error *err)
{
    size_t count = pg_sql_tree_count(tree);
    if (count == 0)
        return refuse(err, sql, "there is no statement in the text");
    if (count > 1) /* the words name the transaction control among them */
        return classify_words(sql, strlen(sql), out, err) && refuse_many(err, sql, NULL);
    if (!pg_sql_tree_classify(tree, out)) {
        struct pg_sql_scan scan;
        pg_sql_scan_init(&scan, sql, strlen(sql));
        pg_sql_words_classify(scan, out);
    }
    out->parsed = true;
    fingerprint(sql, out);
    return true;
}

/* False when the parser does not understand `sql`; *ok is the outcome else. */
static bool classify_parsed(const char *sql, struct pg_sql_class *out, bool *ok,
                            struct neap_error *err)
{
    neap_crash_in(parser);
    PgQueryParseResult result = pg_query_parse(sql);
    neap_crash_in(NULL);
    bool parsed = result.error == NULL && result.parse_tree != NULL;
    if (parsed)
        *ok = classify_tree(sql, result.parse_tree, out, err);
    neap_crash_in(parser);
    pg_query_free_parse_result(result);
    neap_crash_in(NULL);
    return parsed;
}

static bool classify(const char *sql, size_t length, struct pg_sql_class *out,
                     struct neap_error *err)
{
    bool ok = false;
    *out = (struct pg_sql_class){.verb = "statement"};
    bool by_words = length > PARSE_MAX_BYTES || is_too_deep(sql, length);
    if (by_words || !classify_parsed(sql, out, &ok, err))
        ok = classify_words(sql, length, out, err);
    return ok;
}

bool pg_sql_classify(const char *sql, size_t length, struct pg_sql_class *out,
                     struct neap_error *err)
{
    if (memchr(sql, '\0', length) != NULL) {
        neap_error_set(err, NEAP_ERR_DB_ARGUMENT, "the statement holds a NUL byte");
        return false;
    }
    if (!neap_text_is_utf8(sql, length)) {
        neap_error_set(err, NEAP_ERR_DB_ARGUMENT, "the statement is not valid UTF-8");
        return false;
    }
    char shape[CACHE_TEXT_MAX];
    struct cache_key key = {.text = sql, .length = length};
    bool fits = length <= CACHE_TEXT_MAX;
    size_t shape_length = fits ? pg_sql_shape(sql, length, shape) : 0;
    if (shape_length > 0)
        key = (struct cache_key){.text = shape, .length = shape_length, .is_shape = true};
    struct cache_slot *slot = fits ? cache_slot_of(&key) : NULL;
    if (slot != NULL && cache_has(slot, &key)) {
        *out = slot->class;
        return true;
    }
    char *text = neap_strndup(sql, length);
    bool ok = classify(text, length, out, err);
    if (ok && slot != NULL && (out->parsed || !key.is_shape))
        cache_put(slot, &key, out);
    free(text);
    return ok;
}
