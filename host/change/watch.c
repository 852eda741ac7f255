/* SPDX-License-Identifier: MIT
 *
 * Asks pg_blocking_pids through the control session, ten times a second while
 * the work session is busy: the default lock timeout is 500 ms, and the blocker
 * must be known before it strikes. Never more than one question in flight.
 */
#include "host/change/watch.h"

#include <stdlib.h>

#include "host/base/buffer.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"

#define TICK_MS 100     /* several looks within the default lock_timeout of 500 ms */
#define QUERY_MAX "160" /* characters of a blocker's query that people read */

struct neap_watch {
    struct neap_target *target;
    struct neap_timer *timer;
    int backend_pid;
    bool asking;
    int64_t asked_ms, blocked_ms; /* the last question; the first that somebody was seen by, or 0 */
    int64_t waited_ms;            /* in waits that are over */
    char *blockers;
    json_t *json;
};

static const char sql_blockers[] =
    "select a.pid, coalesce(a.application_name, ''), coalesce(a.usename::pg_catalog.text, ''),"
    " coalesce(a.state, ''),"
    " extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::pg_catalog.int8,"
    " pg_catalog.\"left\"(pg_catalog.regexp_replace(coalesce(a.query, ''), '\\s+', ' ', "
    "'g'), " QUERY_MAX ")"
    " from pg_catalog.unnest(pg_catalog.pg_blocking_pids($1::pg_catalog.int4)) as b (pid)"
    " join pg_catalog.pg_stat_activity a on a.pid = b.pid order by 5 desc nulls last limit 5";

static void forget(struct neap_watch *watch)
{
    free(watch->blockers);
    json_decref(watch->json);
    watch->blockers = NULL;
    watch->json = NULL;
}

static void add_blocker(struct neap_watch *watch, struct neap_buffer *text, const struct pg_op *op,
                        int row)
{
    int64_t seconds = pg_cell_int(op, row, 4);
    const char *application = pg_cell(op, row, 1);
    neap_buffer_add_format(text, "%spid %s (%s, %s, transaction open for %lld s): %s",
                           row == 0 ? "" : "; ", pg_cell(op, row, 0),
                           application[0] == '\0' ? "no application name" : application,
                           pg_cell(op, row, 3), (long long)seconds, pg_cell(op, row, 5));
    json_t *blocker = json_object();
    neap_json_set(blocker, "pid", json_integer(pg_cell_int(op, row, 0)));
    neap_json_set(blocker, "application", neap_json_text(application));
    neap_json_set(blocker, "user", neap_json_text(pg_cell(op, row, 2)));
    neap_json_set(blocker, "state", neap_json_text(pg_cell(op, row, 3)));
    neap_json_set(blocker, "seconds", json_integer(seconds));
    neap_json_set(blocker, "query", neap_json_text(pg_cell(op, row, 5)));
    json_array_append_new(watch->json, blocker);
}

static void end_wait(struct neap_watch *watch)
{
    if (watch->blocked_ms > 0)
        watch->waited_ms += neap_clock_ms() - watch->blocked_ms;
    watch->blocked_ms = 0;
}

static void on_answer(void *arg, struct pg_op *op)
{
    struct neap_watch *watch = arg;
    watch->asking = false;
    if (pg_op_error(op) != NULL) /* a look that failed must not stop the heartbeat */
        pg_failure_clear(watch->target->control);
    else if (pg_rows(op) == 0)
        end_wait(watch);
    if (pg_op_error(op) != NULL || pg_rows(op) == 0)
        return; /* keeps who was seen before: they are the reason for a timeout just now */
    forget(watch);
    watch->blocked_ms = watch->blocked_ms > 0 ? watch->blocked_ms : watch->asked_ms;
    watch->json = json_array();
    struct neap_buffer text = {0};
    for (int row = 0; row < pg_rows(op); row++)
        add_blocker(watch, &text, op, row);
    watch->blockers = neap_buffer_take(&text);
}

static bool work_is_busy(const struct neap_watch *watch)
{
    struct pg_client *work = watch->target->work;
    return work != NULL && !pg_is_lost(work) && pg_transaction_status(work) == PQTRANS_ACTIVE;
}

static void on_tick(void *arg)
{
    struct neap_watch *watch = arg;
    struct pg_client *control = watch->target->control;
    if (!work_is_busy(watch))
        end_wait(watch);
    if (watch->backend_pid == 0 || watch->asking || !work_is_busy(watch) || pg_is_lost(control))
        return;
    char *pid = neap_format("%d", watch->backend_pid);
    struct pg_param param = PG_TEXT(pid);
    struct pg_statement statement = {.sql = sql_blockers,
                                     .params = &param,
                                     .param_count = 1,
                                     .call_id = -1,
                                     .done = on_answer,
                                     .arg = watch};
    watch->asking = pg_send(control, &statement, NULL, NULL);
    watch->asked_ms = neap_clock_ms();
    free(pid);
}

static void on_silence(void *arg, const char *what, int64_t waited_ms)
{
    struct neap_watch *watch = arg;
    char waited[NEAP_DURATION_SIZE];
    neap_duration_text(waited_ms, waited);
    if (watch->blockers != NULL && watch->backend_pid != 0)
        neap_log_progress("waiting for %s, %s; blocked by %s", what, waited, watch->blockers);
    else
        neap_log_progress("waiting for %s, %s", what, waited);
}

struct neap_watch *neap_watch_begin(struct neap_target *target)
{
    struct neap_watch *watch = neap_alloc(sizeof *watch);
    watch->target = target;
    watch->timer = neap_timer_begin(target->loop, TICK_MS, TICK_MS, on_tick, watch);
    neap_watch_tell(watch);
    return watch;
}

void neap_watch_tell(struct neap_watch *watch)
{
    neap_loop_on_silence(watch->target->loop, on_silence, watch);
}

void neap_watch_backend(struct neap_watch *watch, int backend_pid)
{
    watch->backend_pid = backend_pid;
}

void neap_watch_forget(struct neap_watch *watch)
{
    forget(watch);
    watch->blocked_ms = watch->waited_ms = 0;
}

int64_t neap_watch_take_waited_ms(struct neap_watch *watch)
{
    end_wait(watch);
    int64_t waited_ms = watch->waited_ms;
    watch->waited_ms = 0;
    return waited_ms;
}

void neap_watch_paused(struct neap_watch *watch, int64_t pause_ms)
{
    watch->waited_ms += pause_ms;
}

const char *neap_watch_blockers(const struct neap_watch *watch)
{
    return watch->blockers;
}

json_t *neap_watch_blockers_json(const struct neap_watch *watch)
{
    return watch->json == NULL ? json_array() : json_incref(watch->json);
}

/* The control session may still owe an answer that names this watch: it is
 * waited for, and it ends at once since nothing blocks a look at the catalog. */
static bool has_answer(void *arg)
{
    struct neap_watch *watch = arg;
    return !watch->asking || pg_is_lost(watch->target->control);
}

void neap_watch_end(struct neap_watch *watch)
{
    if (watch == NULL)
        return;
    neap_timer_end(watch->timer);
    struct neap_wait wait = {.done = has_answer,
                             .arg = watch,
                             .cleanup = true,
                             .deadline_ms = neap_clock_deadline_ms(2000),
                             .what = "the server"};
    if (!neap_loop_wait(watch->target->loop, &wait, NULL)) {
        pg_close(watch->target->control); /* it will not call back any more */
        watch->target->control = NULL;
    }
    neap_loop_on_silence(watch->target->loop, NULL, NULL);
    forget(watch);
    free(watch);
}
