/* SPDX-License-Identifier: MIT
 *
 * What a statement is by the words it begins with: for syntax newer than
 * libpg_query's parser. Owns which first words mean transaction control and
 * which cannot run in a transaction; everything else is PG_SQL_OTHER, and the
 * server decides.
 */
#include <string.h>

#include "bindings/pg/pg_sql_class.h"

/* The first tokens are all that a rule looks at. */
#define WORD_MAX 64

struct words {
    const char *text;
    struct pg_sql_token tokens[WORD_MAX];
    size_t count;
};

static bool word_is(const struct words *words, size_t at, const char *word)
{
    return at < words->count && pg_sql_token_is(words->text, &words->tokens[at], word);
}

static bool char_is(const struct words *words, size_t at, char c)
{
    return at < words->count && pg_sql_token_is_char(words->text, &words->tokens[at], c);
}

/* The first place of `word` in [from, to), or the count when there is none. */
static size_t find_word(const struct words *words, size_t from, const char *word)
{
    while (from < words->count && !word_is(words, from, word))
        from++;
    return from;
}

/* A rule: up to four words that begin the statement; NULL ends them. */
struct word_rule {
    const char *words[4];
    enum pg_sql_kind kind;
    const char *verb;
};

static const struct word_rule word_rules[] = {
    {{"begin"}, PG_SQL_TRANSACTION_CONTROL, "BEGIN"},
    {{"start"}, PG_SQL_TRANSACTION_CONTROL, "START TRANSACTION"},
    {{"commit", "prepared"}, PG_SQL_TRANSACTION_CONTROL, "COMMIT PREPARED"},
    {{"commit"}, PG_SQL_TRANSACTION_CONTROL, "COMMIT"},
    {{"end"}, PG_SQL_TRANSACTION_CONTROL, "COMMIT"},
    {{"rollback", "prepared"}, PG_SQL_TRANSACTION_CONTROL, "ROLLBACK PREPARED"},
    {{"rollback"}, PG_SQL_TRANSACTION_CONTROL, "ROLLBACK"},
    {{"abort"}, PG_SQL_TRANSACTION_CONTROL, "ROLLBACK"},
    {{"savepoint"}, PG_SQL_TRANSACTION_CONTROL, "SAVEPOINT"},
    {{"release"}, PG_SQL_TRANSACTION_CONTROL, "RELEASE SAVEPOINT"},
    {{"prepare", "transaction"}, PG_SQL_TRANSACTION_CONTROL, "PREPARE TRANSACTION"},
    {{"discard"}, PG_SQL_TRANSACTION_CONTROL, "DISCARD"},
    {{"set", "transaction"}, PG_SQL_TRANSACTION_CONTROL, "SET TRANSACTION"},
    {{"set", "local", "transaction"}, PG_SQL_TRANSACTION_CONTROL, "SET TRANSACTION"},
    {{"set", "session", "transaction"}, PG_SQL_TRANSACTION_CONTROL, "SET TRANSACTION"},
    {{"set", "session", "characteristics"},
     PG_SQL_TRANSACTION_CONTROL,
     "SET SESSION CHARACTERISTICS"},
    {{"set", "constraints"}, PG_SQL_OTHER, "SET CONSTRAINTS"},
    {{"set"}, PG_SQL_SESSION, "SET"},
    {{"reset"}, PG_SQL_SESSION, "RESET"},
    {{"vacuum"}, PG_SQL_NO_TRANSACTION, "VACUUM"},
    {{"create", "database"}, PG_SQL_NO_TRANSACTION, "CREATE DATABASE"},
    {{"drop", "database"}, PG_SQL_NO_TRANSACTION, "DROP DATABASE"},
    {{"create", "tablespace"}, PG_SQL_NO_TRANSACTION, "CREATE TABLESPACE"},
    {{"drop", "tablespace"}, PG_SQL_NO_TRANSACTION, "DROP TABLESPACE"},
    {{"create", "subscription"}, PG_SQL_NO_TRANSACTION, "CREATE SUBSCRIPTION"},
    {{"drop", "subscription"}, PG_SQL_NO_TRANSACTION, "DROP SUBSCRIPTION"},
    {{"alter", "system"}, PG_SQL_NO_TRANSACTION, "ALTER SYSTEM"},
    {{"drop", "index", "concurrently"}, PG_SQL_NO_TRANSACTION, "DROP INDEX CONCURRENTLY"},
    {{"create", "index", "concurrently"}, PG_SQL_INDEX_CONCURRENTLY, "CREATE INDEX CONCURRENTLY"},
    {{"create", "unique", "index", "concurrently"},
     PG_SQL_INDEX_CONCURRENTLY,
     "CREATE INDEX CONCURRENTLY"},
    {{"reindex"}, PG_SQL_DDL, "REINDEX"},
    {{"copy"}, PG_SQL_COPY_STREAM, "COPY"},
};

static bool rule_fits(const struct words *words, const struct word_rule *rule)
{
    for (size_t i = 0; i < 4 && rule->words[i] != NULL; i++)
        if (!word_is(words, i, rule->words[i]))
            return false;
    return true;
}

/* SET [SESSION | LOCAL] name, RESET name: quoted or not. */
static void look_setting(const struct words *words, struct pg_sql_class *out)
{
    size_t at = word_is(words, 1, "session") || word_is(words, 1, "local") ? 2 : 1;
    char name[64] = "";
    if (at < words->count)
        pg_sql_token_name(words->text, &words->tokens[at], name, sizeof name);
    if (pg_sql_is_transaction_setting(name) && strchr(name, '_') != NULL)
        out->kind = PG_SQL_TRANSACTION_CONTROL;
}

static void name_at(const struct words *words, size_t at, char name[64])
{
    if (at < words->count)
        pg_sql_token_name(words->text, &words->tokens[at], name, 64);
}

/* … CONCURRENTLY [IF NOT EXISTS] [name] ON [ONLY] [schema.]table */
static void look_index(const struct words *words, struct pg_sql_class *out)
{
    size_t at = find_word(words, 2, "concurrently") + 1;
    out->index_if_not_exists = word_is(words, at, "if");
    if (out->index_if_not_exists)
        at += 3;
    if (!word_is(words, at, "on"))
        name_at(words, at++, out->index_name);
    if (!word_is(words, at++, "on"))
        return;
    if (word_is(words, at, "only"))
        at++;
    if (char_is(words, at + 1, '.')) {
        name_at(words, at, out->table_schema);
        at += 2;
    }
    name_at(words, at, out->table_name);
}

/* REINDEX of a schema or a database, or CONCURRENTLY, however it is spelled. */
static void look_reindex(const struct words *words, struct pg_sql_class *out)
{
    static const char *const wide[] = {"schema", "database", "system"};
    if (find_word(words, 1, "concurrently") < words->count)
        out->kind = PG_SQL_NO_TRANSACTION;
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (find_word(words, 1, wide[i]) < words->count)
            out->kind = PG_SQL_NO_TRANSACTION;
}

/* STDIN and STDOUT are words behind FROM or TO outside of any parentheses. */
static void look_copy(const struct words *words, struct pg_sql_class *out)
{
    int depth = 0;
    out->kind = PG_SQL_COPY_PROGRAM;
    for (size_t i = 1; i < words->count; i++) {
        depth += char_is(words, i, '(') ? 1 : 0;
        depth -= char_is(words, i, ')') ? 1 : 0;
        bool direction = word_is(words, i, "from") || word_is(words, i, "to");
        bool client = word_is(words, i + 1, "stdin") || word_is(words, i + 1, "stdout");
        if (depth == 0 && direction && client)
            out->kind = PG_SQL_COPY_STREAM;
    }
    /* Where the direction lies beyond what was read, the common one. */
    if (words->count == WORD_MAX)
        out->kind = PG_SQL_COPY_STREAM;
}

static void look_detach(const struct words *words, struct pg_sql_class *out)
{
    size_t detach = find_word(words, 2, "detach");
    if (!word_is(words, 1, "table") || find_word(words, detach, "concurrently") >= words->count)
        return;
    out->kind = PG_SQL_NO_TRANSACTION;
    out->verb = "ALTER TABLE DETACH PARTITION CONCURRENTLY";
}

void pg_sql_words_classify(struct pg_sql_scan scan, struct pg_sql_class *out)
{
    struct words words = {.text = scan.text};
    struct pg_sql_token token;
    while (words.count < WORD_MAX && pg_sql_scan_next_code(&scan, &token)) {
        if (pg_sql_token_is_char(scan.text, &token, ';')) {
            if (words.count > 0)
                break;
            continue;
        }
        words.tokens[words.count++] = token;
    }
    out->kind = PG_SQL_OTHER;
    out->verb = "statement";
    for (size_t i = 0; i < sizeof word_rules / sizeof *word_rules; i++) {
        if (!rule_fits(&words, &word_rules[i]))
            continue;
        out->kind = word_rules[i].kind;
        out->verb = word_rules[i].verb;
        break;
    }
    if (out->kind == PG_SQL_SESSION)
        look_setting(&words, out);
    if (out->kind == PG_SQL_INDEX_CONCURRENTLY)
        look_index(&words, out);
    if (word_is(&words, 0, "reindex"))
        look_reindex(&words, out);
    if (word_is(&words, 0, "copy"))
        look_copy(&words, out);
    if (word_is(&words, 0, "alter"))
        look_detach(&words, out);
}
