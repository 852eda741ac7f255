/* SPDX-License-Identifier: MIT
 *
 * The lease's life: claimed, kept, let go of. It decides by looking (which locks
 * nothing) and takes by the token it saw, so that of many that look at once one
 * takes it, and nobody queues on the row while a step's transaction holds it.
 */
#include "bindings/lock/lease.h"

#include <stdlib.h>
#include <string.h>

#include "bindings/lock/lease_sql.h"
#include "host/base/clock.h"
#include "host/base/log.h"
#include "host/base/memory.h"

#define TTL_MS 30000
#define BEATS_PER_TTL 3
#define POLL_MIN_MS 200
#define POLL_MAX_MS 1000
#define SAY_EVERY_MS 1000
#define RELEASE_WAIT_MS 2000

struct lease {
    struct neap_loop *loop;
    struct pg_client *control;
    struct lease_opts opts; /* strings owned */
    int64_t token;
    int64_t valid_until_ms; /* monotonic */
    int64_t beat_sent_ms;
    int64_t tick_ms;    /* when the timer last ran */
    struct pg_op *beat; /* in flight */
    struct neap_timer *timer;
    bool lost;
    bool paused; /* the token is being changed: a beat would miss it */
};

/* A wait for the lease: until when, how long between looks, what was said. */
struct patience {
    struct neap_loop *loop;
    int64_t begun_ms, deadline_ms, pause_ms, said_ms;
};

void lease_holder_clear(struct lease_holder *holder)
{
    free(holder->run_id);
    free(holder->actor);
    free(holder->host);
    free(holder->acquired_at);
    free(holder->expires_at);
    *holder = (struct lease_holder){0};
}

static const char *or_unknown(const char *text)
{
    return text == NULL || text[0] == '\0' ? "unknown" : text;
}

static void set_held(const struct lease_row *row, const char *why, struct neap_error *err)
{
    const struct lease_holder *holder = &row->holder;
    neap_error_set(err, NEAP_ERR_LEASE_HELD, "run %s of %s on %s holds the lease since %s",
                   or_unknown(holder->run_id), or_unknown(holder->actor), or_unknown(holder->host),
                   or_unknown(holder->acquired_at));
    if (why != NULL)
        neap_error_detail(err, "%s", why);
    else if (holder->backend_pid != 0)
        neap_error_detail(err, "Its server process is %d; without a sign of life it expires at %s.",
                          holder->backend_pid, holder->expires_at);
    else
        neap_error_detail(err, "Without a sign of life it expires at %s.", holder->expires_at);
}

static struct patience patience_begin(struct pg_client *control, int64_t wait_ms)
{
    int64_t now_ms = neap_clock_ms();
    return (struct patience){.loop = pg_loop(control),
                             .begun_ms = now_ms,
                             .said_ms = now_ms,
                             .deadline_ms = wait_ms > 0 ? now_ms + wait_ms : now_ms,
                             .pause_ms = POLL_MIN_MS};
}

/* Says for whom, once a second, and sleeps. *over: no time is left. */
static bool patience_wait(struct patience *patience, const struct lease_row *row, bool *over,
                          struct neap_error *err)
{
    int64_t now_ms = neap_clock_ms(), left_ms = patience->deadline_ms - now_ms;
    *over = left_ms <= 0;
    if (*over)
        return true;
    if (now_ms - patience->said_ms >= SAY_EVERY_MS) {
        patience->said_ms = now_ms;
        neap_log_progress(
            "waiting for the lease: run %s of %s on %s holds it since %s%s%s (%lld s)",
            or_unknown(row->holder.run_id), or_unknown(row->holder.actor),
            or_unknown(row->holder.host), or_unknown(row->holder.acquired_at),
            row->sessions == NULL ? "" : ", ", row->sessions == NULL ? "" : row->sessions,
            (long long)((now_ms - patience->begun_ms) / 1000));
    }
    int64_t pause_ms = patience->pause_ms < left_ms ? patience->pause_ms : left_ms;
    patience->pause_ms = patience->pause_ms * 3 / 2;
    if (patience->pause_ms > POLL_MAX_MS)
        patience->pause_ms = POLL_MAX_MS;
    return neap_loop_sleep(patience->loop, pause_ms, "the lease", err);
}

static bool is_gone(const struct lease_opts *opts, const struct lease_row *row)
{
    return opts->direct && row->holder.backend_gone;
}

static bool is_free(const struct lease_opts *opts, const struct lease_row *row)
{
    return row->released || row->holder.expired || row->holder.foreign || is_gone(opts, row) ||
           strcmp(row->holder.run_id, opts->run_id) == 0;
}

/* One look and, when it is free, one try. `err` is set only on failure. */
static bool try_claim(struct pg_client *control, const struct lease_opts *opts,
                      struct lease_row *row, int64_t *token, struct neap_error *err)
{
    bool there;
    struct neap_error cause = {0};
    *token = 0;
    if (!lease_sql_look(control, opts->identity, &there, row, err))
        return false;
    if (there && !is_free(opts, row))
        return true;
    if (lease_sql_claim(control, opts, row->holder.token, is_gone(opts, row), token, &cause))
        return true;
    /* The old holder's transaction is still under way: it is waited for. */
    bool again = cause.code == NEAP_ERR_LOCK_TIMEOUT;
    if (!again)
        neap_error_move(err, &cause);
    neap_error_clear(&cause);
    return again;
}

/* Waits until it is ours; `row` is then what was there before. */
static bool claim_row(struct pg_client *control, const struct lease_opts *opts,
                      struct patience *patience, struct lease_row *row, int64_t *token,
                      int64_t *sent_ms, struct neap_error *err)
{
    for (;;) {
        bool over;
        *sent_ms = neap_clock_ms();
        if (!try_claim(control, opts, row, token, err))
            return false;
        if (*token != 0)
            return true;
        if (!patience_wait(patience, row, &over, err))
            return false;
        if (over) {
            set_held(row, NULL, err);
            return false;
        }
        lease_row_clear(row);
    }
}

/* What earlier runs left on the server ends before anything of ours begins: an
 * index build outside a transaction holds no fence. It may be an older run's than
 * the one it was taken from, which ended while it waited as we do. */
static bool wait_sessions(struct pg_client *control, struct patience *patience,
                          struct lease_row *row, struct neap_error *err)
{
    while (row->session_count > 0) {
        bool over;
        if (!patience_wait(patience, row, &over, err))
            return false;
        if (!lease_sql_sessions(control, row, err))
            return false;
        if (over && row->session_count > 0) {
            char *why =
                neap_format("Sessions of a run before are still at work: %s.", row->sessions);
            set_held(row, why, err);
            neap_error_hint(err, "Wait, or end them: `neap lease break --terminate`.");
            free(why);
            return false;
        }
    }
    return true;
}

static int64_t beat_ms(const struct lease *lease)
{
    return lease->opts.ttl_ms / BEATS_PER_TTL;
}

static void on_beat(void *arg, struct pg_op *op);

static void send_beat(struct lease *lease)
{
    char *token = neap_format("%lld", (long long)lease->token);
    char *ttl = neap_format("%lld", (long long)lease->opts.ttl_ms);
    const struct pg_param params[] = {PG_TEXT(token), PG_TEXT(ttl)};
    struct pg_statement statement = {.sql = lease_sql_beat,
                                     .params = params,
                                     .param_count = 2,
                                     .call_id = -1,
                                     .done = on_beat,
                                     .arg = lease};
    lease->beat_sent_ms = neap_clock_ms();
    if (!pg_send(lease->control, &statement, &lease->beat, NULL))
        lease->beat = NULL; /* validity runs out */
    free(token);
    free(ttl);
}

static void lose(struct lease *lease, const char *message)
{
    lease->lost = true;
    neap_run_stop(neap_loop_run(lease->loop), NEAP_ERR_LEASE_LOST, message);
}

/* A beat that failed is not the control session's failure. */
static void forget_failure(struct pg_client *control, const struct neap_error *own)
{
    const struct neap_error *first = pg_failure(control);
    if (first != NULL && first->message != NULL && own->message != NULL &&
        strcmp(first->message, own->message) == 0)
        pg_failure_clear(control);
}

static void on_beat(void *arg, struct pg_op *op)
{
    struct lease *lease = arg;
    const struct neap_error *error = pg_op_error(op);
    if (error != NULL)
        forget_failure(lease->control, error);
    else if (pg_op_row_count(op) == 1)
        lease->valid_until_ms = lease->beat_sent_ms + lease->opts.ttl_ms;
    else
        lose(lease, "another run took the lease");
    lease->beat = NULL;
    pg_op_free(op);
}

/* Late is not lost: while a script computes (or the process is stopped) no beat
 * is sent, and a row that still has our token was taken by nobody, since whoever
 * takes it changes the token. So when it was we who slept, one more beat asks; a
 * server that does not answer within a beat's time, as before, means lost. */
static void on_timer(void *arg)
{
    struct lease *lease = arg;
    int64_t now_ms = neap_clock_ms();
    bool slept = now_ms - lease->tick_ms >= 2 * beat_ms(lease);
    lease->tick_ms = now_ms;
    if (lease->lost)
        return;
    if (now_ms >= lease->valid_until_ms && (!slept || pg_is_lost(lease->control)))
        lose(lease, "the lease expired: it could not be renewed in time");
    else if (lease->beat == NULL && !lease->paused && !pg_is_lost(lease->control))
        send_beat(lease);
}

static struct lease *lease_new(struct pg_client *control, const struct lease_opts *opts)
{
    struct lease *lease = neap_alloc(sizeof *lease);
    lease->loop = pg_loop(control);
    lease->control = control;
    lease->opts = *opts;
    lease->opts.run_id = neap_strdup(opts->run_id);
    lease->opts.actor = neap_strdup(opts->actor);
    lease->opts.host = neap_strdup(opts->host);
    lease->opts.identity = neap_strdup(opts->identity);
    if (lease->opts.ttl_ms <= 0)
        lease->opts.ttl_ms = TTL_MS;
    return lease;
}

static void lease_free(struct lease *lease)
{
    const char *owned[] = {lease->opts.run_id, lease->opts.actor, lease->opts.host,
                           lease->opts.identity};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        free((void *)(uintptr_t)owned[i]);
    free(lease);
}

static void begin_beats(struct lease *lease)
{
    int64_t each_ms = beat_ms(lease);
    lease->tick_ms = neap_clock_ms();
    lease->timer = neap_timer_begin(lease->loop, each_ms, each_ms, on_timer, lease);
}

bool lease_claim(struct pg_client *control, const struct lease_opts *opts, struct lease **out,
                 struct neap_error *err)
{
    struct lease *lease = lease_new(control, opts);
    struct lease_row row = {0};
    struct patience patience = patience_begin(control, opts->wait_ms);
    int64_t sent_ms;
    bool claimed = claim_row(control, &lease->opts, &patience, &row, &lease->token, &sent_ms, err);
    if (claimed) { /* it beats while the earlier run's sessions are waited for */
        lease->valid_until_ms = sent_ms + lease->opts.ttl_ms;
        begin_beats(lease);
    }
    bool own = row.holder.run_id != NULL && strcmp(row.holder.run_id, opts->run_id) == 0;
    bool ready = claimed && (own || wait_sessions(control, &patience, &row, err));
    neap_log_progress_end();
    lease_row_clear(&row);
    if (ready) {
        *out = lease;
        return true;
    }
    if (claimed)
        lease_release(lease);
    else
        lease_free(lease);
    return false;
}

int64_t lease_token(const struct lease *lease)
{
    return lease->token;
}

bool lease_check(const struct lease *lease, struct neap_error *err)
{
    if (lease->lost)
        neap_error_set(err, NEAP_ERR_LEASE_LOST, "another run took the lease");
    return !lease->lost;
}

bool lease_fence(struct lease *lease, struct pg_client *work, struct neap_error *err)
{
    if (!lease_check(lease, err))
        return false;
    char *token = neap_format("%lld", (long long)lease->token);
    const char *params[] = {token};
    bool sent = pg_send_text(work, lease_sql_fence, 1, params, err);
    free(token);
    return sent;
}

/* A new token in place of ours. Where there is no row the server crashed (the table is
 * unlogged) or a standby was promoted: nobody took it, and it is claimed as at first. */
static bool renew_token(struct lease *lease, struct pg_client *control, int64_t *token,
                        struct neap_error *err)
{
    return lease_sql_claim(control, &lease->opts, lease->token, false, token, err) &&
           (*token != 0 || lease_sql_claim(control, &lease->opts, 0, false, token, err));
}

bool lease_refence(struct lease *lease, struct pg_client *control, int64_t wait_ms,
                   struct neap_error *err)
{
    struct patience patience = patience_begin(control, wait_ms);
    if (lease->control != control) { /* what is in flight there has the old token */
        pg_op_free(lease->beat);
        lease->beat = NULL;
        lease->control = control; /* the old one may be closed already */
    }
    for (;;) {
        struct lease_row row = {0};
        struct neap_error cause = {0};
        int64_t token = 0, sent_ms = neap_clock_ms();
        bool over = false;
        lease->paused = true;
        bool asked = renew_token(lease, control, &token, &cause);
        lease->paused = false;
        if (asked && token == 0) {
            lease->lost = true;
            neap_error_set(&cause, NEAP_ERR_LEASE_LOST, "another run took the lease");
        }
        if (token != 0) {
            lease->token = token;
            lease->valid_until_ms = sent_ms + lease->opts.ttl_ms;
            return true;
        }
        bool again = cause.code == NEAP_ERR_LOCK_TIMEOUT &&
                     patience_wait(&patience, &row, &over, err) && !over;
        if (!again && (over || cause.code != NEAP_ERR_LOCK_TIMEOUT))
            neap_error_move(err, &cause);
        neap_error_clear(&cause);
        if (!again)
            return false;
    }
}

static bool is_done(void *arg)
{
    return pg_op_is_done(arg);
}

static bool is_told(void *arg)
{
    const struct lease *lease = arg;
    return lease->beat == NULL || pg_is_lost(lease->control);
}

bool lease_is_lost(struct lease *lease)
{
    bool over = neap_clock_ms() >= lease->valid_until_ms;
    if (!lease->lost && over && lease->beat == NULL && !pg_is_lost(lease->control))
        send_beat(lease);
    if (!lease->lost && !is_told(lease)) {
        struct neap_wait wait = {.done = is_told,
                                 .arg = lease,
                                 .cleanup = true,
                                 .what = "the lease",
                                 .deadline_ms = neap_clock_ms() + RELEASE_WAIT_MS};
        neap_loop_wait(lease->loop, &wait, NULL);
    }
    if (!lease->lost && neap_clock_ms() >= lease->valid_until_ms)
        lose(lease, "the lease expired: it could not be renewed in time");
    if (lease->lost) /* a new token was refused without a stop */
        neap_run_stop(neap_loop_run(lease->loop), NEAP_ERR_LEASE_LOST,
                      "another run took the lease");
    return lease->lost;
}

/* At most RELEASE_WAIT_MS, whatever the server does. */
static void send_release(struct pg_client *control, int64_t token)
{
    char *text = neap_format("%lld", (long long)token);
    const struct pg_param params[] = {PG_TEXT(text)};
    struct pg_statement statement = {
        .sql = lease_sql_release, .params = params, .param_count = 1, .call_id = -1};
    struct pg_op *op = NULL;
    pg_failure_clear(control);
    pg_cleanup(control, true);
    if (pg_send(control, &statement, &op, NULL)) {
        struct neap_wait wait = {.done = is_done,
                                 .arg = op,
                                 .cleanup = true,
                                 .what = "the server",
                                 .deadline_ms = neap_clock_ms() + RELEASE_WAIT_MS};
        neap_loop_wait(pg_loop(control), &wait, NULL);
    }
    pg_op_free(op);
    pg_cleanup(control, false);
    free(text);
}

void lease_release(struct lease *lease)
{
    if (lease == NULL)
        return;
    neap_timer_end(lease->timer);
    pg_op_free(lease->beat);
    lease->beat = NULL;
    if (!pg_is_lost(lease->control))
        send_release(lease->control, lease->token);
    lease_free(lease);
}

bool lease_look(struct pg_client *control, const char *identity, bool *found,
                struct lease_holder *out, struct neap_error *err)
{
    struct lease_row row;
    *out = (struct lease_holder){0};
    if (!lease_sql_look(control, identity, found, &row, err))
        return false;
    /* Its holder gave up waiting for an older run's sessions: they hold it. */
    if (row.released && row.earlier_count == 0)
        *found = false;
    if (*found) {
        *out = row.holder;
        row.holder = (struct lease_holder){0};
    }
    lease_row_clear(&row);
    return true;
}

/* A new token for the row; the holder's transaction is waited for. */
static bool break_row(struct pg_client *control, struct patience *patience, struct lease_row *row,
                      int64_t *token, struct neap_error *err)
{
    for (;;) {
        struct neap_error cause = {0};
        bool over = false;
        if (lease_sql_break(control, row->holder.token, token, &cause))
            return true;
        bool waits = cause.code == NEAP_ERR_LOCK_TIMEOUT;
        if (!waits)
            neap_error_move(err, &cause);
        neap_error_clear(&cause);
        if (!waits || !patience_wait(patience, row, &over, err))
            return false;
        if (over) {
            set_held(row, "A transaction of that run holds on to it.", err);
            neap_error_hint(err, "Wait, or end it: `neap lease break --terminate`.");
            return false;
        }
    }
}

bool lease_break(struct pg_client *control, const struct lease_opts *opts, bool terminate,
                 struct neap_error *err)
{
    struct lease_row row;
    bool there;
    int64_t token = 0;
    if (!lease_sql_look(control, opts->identity, &there, &row, err))
        return false;
    struct patience patience = patience_begin(control, opts->wait_ms);
    bool held = there && (!row.released || row.earlier_count > 0);
    bool broken = !held || ((!terminate || lease_sql_terminate(control, row.holder.run_id, err)) &&
                            break_row(control, &patience, &row, &token, err) &&
                            lease_sql_sessions(control, &row, err) &&
                            wait_sessions(control, &patience, &row, err));
    if (broken && held)
        send_release(control, token);
    neap_log_progress_end();
    lease_row_clear(&row);
    return broken;
}
