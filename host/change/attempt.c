/* SPDX-License-Identifier: MIT
 *
 * The announcements, in the order of the plan: what is taken is nearly always the
 * next one.
 */
#include "host/change/attempt.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/memory.h"

struct neap_attempts_item {
    struct neap_attempt attempt;
    char *id, *action;
    bool used;
};

/* RowExclusive on neap.attempt. Arrays, so that one statement announces all. */
static const char sql_announce[] =
    "insert into neap.attempt (attempt, secret_hash, id, action, run_id)"
    " select a.attempt::pg_catalog.uuid, pg_catalog.decode(a.hash, 'hex'), a.id, a.action,"
    " $5::pg_catalog.text"
    " from rows from (pg_catalog.unnest($1::pg_catalog._text),"
    " pg_catalog.unnest($2::pg_catalog._text), pg_catalog.unnest($3::pg_catalog._text),"
    " pg_catalog.unnest($4::pg_catalog._text)) as a (attempt, hash, id, action)";

/* Ids are digits, actions and uuids are ours: nothing needs quoting. */
static void add_element(struct neap_buffer *column, const char *text)
{
    neap_buffer_add_format(column, "%s%s", column->length == 0 ? "{" : ",", text);
}

static void add_item(struct neap_attempts *attempts, const struct neap_attempt_key *key,
                     struct neap_buffer columns[4])
{
    if (attempts->count == attempts->capacity) {
        attempts->capacity = attempts->capacity == 0 ? 16 : attempts->capacity * 2;
        attempts->items =
            neap_realloc(attempts->items, attempts->capacity * sizeof *attempts->items);
    }
    struct neap_attempts_item *item = &attempts->items[attempts->count++];
    *item =
        (struct neap_attempts_item){.id = neap_strdup(key->id), .action = neap_strdup(key->action)};
    struct neap_hash hash;
    char hex[NEAP_HASH_HEX_SIZE];
    neap_uuid(item->attempt.uuid);
    neap_hash_random(&item->attempt.secret);
    neap_hash_sha256(item->attempt.secret.bytes, sizeof item->attempt.secret.bytes, &hash);
    neap_hash_hex(&hash, hex);
    const char *const cells[] = {item->attempt.uuid, hex, item->id, item->action};
    for (size_t i = 0; i < 4; i++)
        add_element(&columns[i], cells[i]);
}

bool neap_attempts_announce(struct neap_attempts *attempts, struct pg_client *control,
                            const char *run_id, const struct neap_attempt_key *keys, size_t count,
                            struct neap_error *err)
{
    struct neap_buffer columns[4] = {{0}};
    struct pg_param params[5];
    size_t before = attempts->count;
    for (size_t i = 0; i < count; i++)
        add_item(attempts, &keys[i], columns);
    for (size_t i = 0; i < 4; i++) {
        neap_buffer_add_char(&columns[i], '}');
        params[i] = (struct pg_param)PG_TEXT(neap_buffer_text(&columns[i]));
    }
    params[4] = (struct pg_param)PG_TEXT(run_id);
    struct pg_statement statement = {
        .sql = sql_announce, .params = params, .param_count = 5, .call_id = -1};
    pg_op_free(attempts->sent);
    attempts->sent = NULL;
    bool sent = pg_send(control, &statement, &attempts->sent, err);
    for (size_t i = before; !sent && i < attempts->count; i++)
        attempts->items[i].used = true;
    for (size_t i = 0; i < 4; i++)
        neap_buffer_clear(&columns[i]);
    return sent;
}

static struct neap_attempts_item *find_item(struct neap_attempts *attempts,
                                            const struct neap_attempt_key *key)
{
    while (attempts->next < attempts->count && attempts->items[attempts->next].used)
        attempts->next++;
    for (size_t i = attempts->next; i < attempts->count; i++) {
        struct neap_attempts_item *item = &attempts->items[i];
        if (!item->used && strcmp(item->id, key->id) == 0 && strcmp(item->action, key->action) == 0)
            return item;
    }
    return NULL;
}

/* An answer that did not come leaves all of them unknown: none is used. */
static bool wait_answer(struct neap_attempts *attempts, struct pg_client *control,
                        struct neap_error *err)
{
    if (attempts->sent == NULL)
        return true;
    bool answered = pg_wait(control, attempts->sent, err);
    pg_op_free(attempts->sent);
    attempts->sent = NULL;
    for (size_t i = attempts->next; !answered && i < attempts->count; i++)
        attempts->items[i].used = true;
    return answered;
}

bool neap_attempts_take(struct neap_attempts *attempts, struct pg_client *control,
                        const char *run_id, const struct neap_attempt_key *key,
                        struct neap_attempt *out, struct neap_error *err)
{
    struct neap_attempts_item *item = find_item(attempts, key);
    if (item == NULL) {
        if (!neap_attempts_announce(attempts, control, run_id, key, 1, err))
            return false;
        item = &attempts->items[attempts->count - 1];
    }
    if (!wait_answer(attempts, control, err))
        return false;
    *out = item->attempt;
    item->used = true;
    neap_hash_wipe(&item->attempt.secret);
    return true;
}

void neap_attempts_clear(struct neap_attempts *attempts)
{
    for (size_t i = 0; i < attempts->count; i++) {
        neap_hash_wipe(&attempts->items[i].attempt.secret);
        free(attempts->items[i].id);
        free(attempts->items[i].action);
    }
    free(attempts->items);
    pg_op_free(attempts->sent);
    *attempts = (struct neap_attempts){0};
}
