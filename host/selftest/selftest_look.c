/* SPDX-License-Identifier: MIT
 *
 * What a hostile script left in its database, asked from outside neap's own
 * sessions. Surprise: a killed client's server notices after a moment (its
 * client_connection_check_interval), so sessions get some seconds to end.
 */
#include <string.h>

#include "host/base/clock.h"
#include "host/selftest/selftest_parts.h"

#define END_WAIT_MS 8000
#define POLL_MS 5 /* the other cases wait meanwhile */

/* AccessShare on what it reads. */
static const char sql_look[] =
    "select coalesce((select string_agg(h.id, ' ' order by h.seq) from neap.history h), ''),"
    " to_regclass('public.left_over') is not null,"
    " (select count(*) from public.witness),"
    " (select count(*) from pg_catalog.pg_prepared_xacts where database = current_database()),"
    " (select count(*) from neap.lease l join pg_catalog.pg_stat_activity a"
    "  on a.pid = l.backend_pid and a.backend_start = l.backend_start"
    "  where l.released_at is null)";

static const char sql_sessions[] =
    "select count(*) from pg_catalog.pg_stat_activity where datname = current_database()"
    " and backend_type = 'client backend' and pid <> pg_catalog.pg_backend_pid()";

static bool await_end(const struct selftest_place *place, struct selftest_trial *trial,
                      struct pg_client *client, struct neap_error *err)
{
    int64_t limit_ms = neap_clock_ms() + END_WAIT_MS;
    for (;;) {
        struct pg_op *op = NULL;
        bool asked = pg_exec_text(client, sql_sessions, 0, NULL, &op, err);
        bool is_over = asked && pg_cell_int(op, 0, 0) == 0;
        pg_op_free(op);
        if (!asked || is_over)
            return asked;
        if (neap_clock_ms() > limit_ms) {
            selftest_blame(trial, "a session of it still runs on the server");
            return true;
        }
        if (!neap_loop_sleep(place->loop, POLL_MS, "its sessions to end", err))
            return false;
    }
}

static void compare(struct selftest_trial *trial, const struct pg_op *op, enum selftest_state state)
{
    const char *history = pg_cell(op, 0, 0);
    bool is_left = strcmp(pg_cell(op, 0, 1), "t") == 0;
    bool is_applied = state == SELFTEST_APPLIED;
    const char *wanted = is_applied ? "0001 0002 0003" : "0001";
    if (pg_cell_int(op, 0, 3) != 0)
        selftest_blame(trial, "a prepared transaction was left behind");
    if (pg_cell_int(op, 0, 4) != 0)
        selftest_blame(trial, "the lease is still held");
    if (state == SELFTEST_ANY)
        return;
    if (pg_cell_int(op, 0, 2) != 1)
        selftest_blame(trial, "what was there before was changed");
    if (strcmp(history, wanted) != 0)
        selftest_blame(trial, "history has \"%s\" instead of \"%s\"", history, wanted);
    if (is_left != is_applied)
        selftest_blame(trial, "its table %s", is_left ? "was left behind" : "is not there");
}

/* Refused before anything was sent (a file that is no script, neap.lua): there is
 * no schema neap yet. */
static bool is_untouched(struct pg_client *client, enum selftest_state state)
{
    static const char sql_is_there[] = "select to_regnamespace('neap') is not null";
    struct pg_op *op = NULL;
    bool is_there = !pg_exec_text(client, sql_is_there, 0, NULL, &op, NULL) ||
                    strcmp(pg_cell(op, 0, 0), "t") == 0;
    pg_op_free(op);
    return state == SELFTEST_NOTHING && !is_there;
}

void selftest_look(const struct selftest_place *place, struct selftest_trial *trial,
                   enum selftest_state state)
{
    const struct pg_open_opts opts = {
        .conninfo = trial->url, .application_name = "neap selftest", .name = "selftest"};
    struct pg_client *client = NULL;
    struct pg_op *op = NULL;
    struct neap_error err = {0};
    bool looked = pg_open(place->loop, &opts, &client, &err) &&
                  await_end(place, trial, client, &err) &&
                  (state == SELFTEST_ANY || is_untouched(client, state) ||
                   pg_exec_text(client, sql_look, 0, NULL, &op, &err));
    if (!looked)
        selftest_blame(trial, "its database cannot be looked at: %s", err.message);
    else if (op != NULL)
        compare(trial, op, state);
    pg_op_free(op);
    pg_close(client);
    neap_error_clear(&err);
}
