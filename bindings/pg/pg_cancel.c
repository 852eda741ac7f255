/* SPDX-License-Identifier: MIT
 *
 * Ending a statement on the server. PQcancel of libpq 15 blocks and has no time
 * limit, so it runs on a thread of its own: detached, because a worker of libuv's
 * pool would be joined at exit and hold the process as long as a dead network.
 * We come back only when the request was delivered and the answer is in: a late
 * cancel would hit the next statement. (Newer libpq cancels without blocking.)
 */
#include "bindings/pg/pg_internal.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/memory.h"

#define CANCEL_LIMIT_MS 5000
#define CANCEL_AGAIN_MS 1000
#define LOOK_EVERY_MS 5

enum { JOB_RUNS, JOB_SENT, JOB_LEFT };

/* Owned by both sides; the second to say so frees it. */
struct cancel_job {
    PGcancel *cancel;
    atomic_int state;
};

static void job_free(struct cancel_job *job)
{
    PQfreeCancel(job->cancel);
    free(job);
}

static void *cancel_on_thread(void *arg)
{
    struct cancel_job *job = arg;
    char words[256];

    PQcancel(job->cancel, words, sizeof words);
    if (atomic_exchange(&job->state, JOB_SENT) == JOB_LEFT)
        job_free(job);
    return NULL;
}

static void job_leave(struct cancel_job *job)
{
    if (job && atomic_exchange(&job->state, JOB_LEFT) == JOB_SENT)
        job_free(job);
}

/* Signals belong to the loop's thread. */
static bool thread_begin(struct cancel_job *job)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;

    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool begun = pthread_create(&thread, &attr, cancel_on_thread, job) == 0;

    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return begun;
}

static struct cancel_job *job_begin(struct pg_client *client)
{
    struct cancel_job *job = neap_alloc(sizeof *job);

    job->cancel = PQgetCancel(client->conn);
    atomic_init(&job->state, JOB_RUNS);
    if (job->cancel && thread_begin(job))
        return job;
    job_free(job);
    return NULL;
}

struct drain {
    struct pg_client *client;
    struct cancel_job *job;
};

static bool is_drained(void *arg)
{
    const struct drain *drain = arg;
    bool sent = !drain->job || atomic_load(&drain->job->state) != JOB_RUNS;

    return drain->client->lost || drain->client->closed || (sent && pg_is_idle(drain->client));
}

static void look(void *arg)
{
    (void)arg; /* its turn is what makes the wait ask again */
}

static bool drain_until(struct drain *drain, int64_t deadline_ms)
{
    struct neap_wait wait = {
        .done = is_drained,
        .arg = drain,
        .deadline_ms = deadline_ms,
        .cleanup = true,
        .what = "the server to cancel the statement",
    };

    return neap_loop_wait(drain->client->loop, &wait, NULL);
}

/* Nobody wants what still comes: rows are dropped, a COPY is ended, and what the
 * server does not have yet is not sent. */
static void give_up(struct pg_client *client)
{
    struct neap_error why = {0};

    if (neap_run_check(neap_loop_run(client->loop), &why))
        neap_error_set(&why, NEAP_ERR_DB_ABORTED, "the statement was cancelled before it was sent");
    for (struct pg_op *op = client->head; op; op = op->next)
        op->streams = false;
    pg_drop_unsent(client, &why);
    neap_error_clear(&why);
    struct pg_op *op = client->head;

    if (op && op->copy == PG_COPY_OPEN) {
        op->copy = PG_COPY_DISCARD;
        if (op->copy_in)
            PQputCopyEnd(client->conn, "cancelled");
    }
    if (client->unsynced)
        pg_sync(client, NULL);
    pg_flush(client);
}

/* A request that arrives between two statements of a pipeline is ignored by the
 * server; asking again is safe as long as answers are outstanding. */
static void cancel_and_drain(struct pg_client *client)
{
    int64_t patience_ms = neap_run_patience_ms(neap_loop_run(client->loop), CANCEL_LIMIT_MS);
    int64_t deadline_ms = neap_clock_ms() + patience_ms;
    struct drain drain = {.client = client};
    bool drained = false;

    while (!drained && neap_clock_ms() < deadline_ms) {
        int64_t again_ms = neap_clock_ms() + CANCEL_AGAIN_MS;
        bool busy = drain.job && atomic_load(&drain.job->state) == JOB_RUNS;

        if (!busy && !pg_is_idle(client)) {
            job_leave(drain.job);
            drain.job = job_begin(client);
        }
        drained = drain_until(&drain, again_ms < deadline_ms ? again_ms : deadline_ms);
    }
    job_leave(drain.job);
    if (!drained)
        pg_lose(client, "the server did not answer a cancel request in time");
}

void pg_cancel(struct pg_client *client)
{
    if (client->lost || client->closed || pg_is_idle(client))
        return;
    if (client->pumping) { /* a callback cannot wait */
        pg_lose(client, "cancelled in a callback");
        return;
    }
    pg_hold(client);
    client->greedy++;
    give_up(client);
    pg_pump(client);
    client->cancelled = true;
    struct neap_timer *timer =
        neap_timer_begin(client->loop, LOOK_EVERY_MS, LOOK_EVERY_MS, look, NULL);

    if (!client->closed && !pg_is_idle(client))
        cancel_and_drain(client);
    neap_timer_end(timer);
    client->cancelled = false;
    client->greedy--;
    pg_release(client);
}

void pg_cancel_because(struct pg_client *client, const struct neap_error *why)
{
    bool is_first = client->failure.code == NEAP_OK;

    pg_cancel(client);
    if (!is_first || strcmp(client->failure.sqlstate, "57014") != 0)
        return;
    neap_error_copy(&client->failure, why);
    free(client->cause);
    client->cause = neap_strdup(why->message);
}
