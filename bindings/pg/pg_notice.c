/* SPDX-License-Identifier: MIT
 *
 * Notices and notifications. libpq calls in the middle of its own work, so the
 * receiver only copies; they are delivered after libpq has returned. A flood is
 * counted instead of kept, except the one warning that changes an outcome: a
 * commit whose wait for a standby was cut short.
 */
#include "bindings/pg/pg_internal.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/memory.h"

#define NOTE_MAX 1000
#define NOTE_BYTES_MAX (1U << 20)
#define NOTE_TEXT_MAX 16384 /* of one */
#define NOTIFY_MAX 10000

static const char *field_of(const PGresult *result, int code, const char *otherwise)
{
    const char *text = PQresultErrorField(result, code);

    return text ? text : otherwise;
}

static void note_free(struct pg_note *note)
{
    free(note->severity);
    free(note->sqlstate);
    free(note->message);
    free(note->source);
    free(note);
}

static void append(struct pg_client *client, struct pg_note *note)
{
    if (client->notes_last)
        client->notes_last->next = note;
    else
        client->notes = note;
    client->notes_last = note;
}

void pg_notice_receive(void *arg, const PGresult *result)
{
    struct pg_client *client = arg;
    const char *source = field_of(result, PG_DIAG_SOURCE_FUNCTION, "");
    const char *message = field_of(result, PG_DIAG_MESSAGE_PRIMARY, PQresultErrorMessage(result));
    bool decisive = strcmp(source, "SyncRepWaitForLSN") == 0;

    /* The end of an idle session comes here, not as a statement's result. */
    if (pg_result_is_fatal(result)) {
        pg_error_from_result(result, NULL, &client->fatal);
        client->fatal.code = NEAP_ERR_DB_LOST;
        return;
    }
    size_t bytes = strnlen(message, NOTE_TEXT_MAX);

    if (!decisive &&
        (client->note_count >= NOTE_MAX || client->note_bytes + bytes > NOTE_BYTES_MAX)) {
        client->suppressed_count++;
        return;
    }
    client->note_count++;
    client->note_bytes += bytes;
    struct pg_note *note = neap_alloc(sizeof *note);

    note->severity = neap_strdup(field_of(result, PG_DIAG_SEVERITY_NONLOCALIZED, "NOTICE"));
    note->sqlstate = neap_strdup(field_of(result, PG_DIAG_SQLSTATE, ""));
    note->message = neap_strndup(message, bytes);
    note->source = neap_strdup(source);
    append(client, note);
}

static void tell_suppressed(struct pg_client *client)
{
    char *words = neap_format("%d more notices suppressed", client->suppressed_count);
    struct pg_notice notice = {"NOTICE", "", words, ""};

    client->suppressed_count = 0;
    client->on_notice(client->on_notice_arg, &notice);
    free(words);
}

void pg_notice_deliver(struct pg_client *client)
{
    while (client->notes && !client->closed) {
        struct pg_note *note = client->notes;
        struct pg_notice notice = {note->severity, note->sqlstate, note->message, note->source};

        client->notes = note->next;
        if (!client->notes)
            client->notes_last = NULL;
        if (client->on_notice)
            client->on_notice(client->on_notice_arg, &notice);
        note_free(note);
    }
    if (!client->closed && client->suppressed_count && client->on_notice && pg_is_idle(client))
        tell_suppressed(client);
}

void pg_on_notice(struct pg_client *client, void (*fn)(void *arg, const struct pg_notice *notice),
                  void *arg)
{
    client->on_notice = fn;
    client->on_notice_arg = arg;
}

static void keep_notify(struct pg_client *client, const PGnotify *from)
{
    struct pg_notify *notify = neap_alloc(sizeof *notify);

    notify->channel = neap_strdup(from->relname);
    notify->payload = neap_strdup(from->extra);
    notify->backend_pid = from->be_pid;
    if (client->notifies_last)
        client->notifies_last->next = notify;
    else
        client->notifies = notify;
    client->notifies_last = notify;
    client->notify_count++;
}

void pg_notify_take(struct pg_client *client)
{
    PGnotify *from;

    if (client->lost || client->closed)
        return;
    while ((from = PQnotifies(client->conn))) {
        if (client->notify_count < NOTIFY_MAX)
            keep_notify(client, from);
        PQfreemem(from);
    }
}

static bool has_notify(void *arg)
{
    const struct pg_client *client = arg;

    return client->notifies || client->lost;
}

static bool wait_notify(struct pg_client *client, int64_t timeout_ms, struct neap_error *err)
{
    struct neap_wait wait = {
        .done = has_notify,
        .arg = client,
        .deadline_ms = neap_clock_deadline_ms(timeout_ms > 0 ? timeout_ms : 1),
        .cleanup = client->cleanup,
        .what = "a notification",
    };
    struct neap_error stop = {0};

    if (neap_loop_wait(client->loop, &wait, &stop) || client->cleanup) {
        neap_error_clear(&stop);
        return true;
    }
    neap_error_clear(&stop);
    return neap_run_check(neap_loop_run(client->loop), err); /* our own limit is an answer */
}

bool pg_notification(struct pg_client *client, int64_t timeout_ms, bool *found, char **channel,
                     char **payload, int *backend_pid, struct neap_error *err)
{
    *found = false;
    pg_hold(client);
    bool ok = wait_notify(client, timeout_ms, err);

    pg_release(client);
    if (!ok)
        return false;
    struct pg_notify *notify = client->notifies;

    if (!notify && client->lost)
        neap_error_copy(err, &client->loss);
    if (!notify)
        return !client->lost;
    client->notifies = notify->next;
    if (!client->notifies)
        client->notifies_last = NULL;
    client->notify_count--;
    *found = true;
    *channel = notify->channel;
    *payload = notify->payload;
    *backend_pid = notify->backend_pid;
    free(notify);
    return true;
}

void pg_notice_clear(struct pg_client *client)
{
    while (client->notes) {
        struct pg_note *note = client->notes;

        client->notes = note->next;
        note_free(note);
    }
    while (client->notifies) {
        struct pg_notify *notify = client->notifies;

        client->notifies = notify->next;
        free(notify->channel);
        free(notify->payload);
        free(notify);
    }
}
