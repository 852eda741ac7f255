/* SPDX-License-Identifier: MIT
 *
 * What concerns a session and not a statement: LISTEN and NOTIFY, and further
 * connections to the same target. Surprise: listening is for steps without a
 * transaction only, since a LISTEN takes effect, and a NOTIFY arrives, at COMMIT.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bindings/pg/pg_lua_part.h"

static void settle(lua_State *L, const struct pg_lua_call *call, const struct neap_error *err)
{
    const struct neap_gate_result result = {
        .call_id = call->statement.call_id, .row_count = -1, .error = err};
    if (call->statement.call_id >= 0)
        neap_gate_settle(glue_context(L)->run, &result);
}

/* ---- LISTEN, NOTIFY ---- */

static int listen_send(lua_State *L, const char *verb, bool all)
{
    struct pg_lua_conn *conn = pg_lua_check(L);
    struct pg_lua_call call = {.name = "pg.listen", .effect = NEAP_EFFECT_WRITE};
    struct neap_error err = {0};
    size_t length = 0;
    const char *channel = all ? NULL : glue_check_text(L, 2, "a channel", &length);
    if (conn->rule.transaction)
        return glue_raise_code(L, NEAP_ERR_DB_NO_TRANSACTION,
                               "%s does nothing before COMMIT; use it in steps with "
                               "`transaction = false`",
                               verb);
    struct pg_lua_slot *slot = pg_lua_slot_push(L);
    if (channel != NULL && !pg_ident(conn->client, channel, length, &slot->text, &err))
        return glue_raise(L, &err);
    neap_buffer_add_format(&slot->buffer, "%s %s", verb, all ? "*" : slot->text);
    call.statement.sql = neap_buffer_text(&slot->buffer);
    pg_lua_pass(L, &call);
    if (!pg_exec(conn->client, &call.statement, NULL, &err))
        return glue_raise(L, &err);
    return 0;
}

int pg_lua_listen(lua_State *L)
{
    return listen_send(L, "LISTEN", false);
}

int pg_lua_unlisten(lua_State *L)
{
    return listen_send(L, "UNLISTEN", lua_isnoneornil(L, 2));
}

int pg_lua_notify(lua_State *L)
{
    /* No lock; delivered when the transaction commits. */
    static const char sql_notify[] = "select pg_catalog.pg_notify($1, $2)";
    struct pg_lua_conn *conn = pg_lua_check(L);
    struct neap_error err = {0};
    const struct pg_param params[] = {
        PG_TEXT(glue_check_text(L, 2, "a channel", NULL)),
        PG_TEXT(lua_isnoneornil(L, 3) ? "" : glue_check_text(L, 3, "a payload", NULL)),
    };
    struct pg_lua_call call = {
        .name = "pg.notify",
        .effect = pg_lua_effect(conn),
        .statement = {.sql = sql_notify, .params = params, .param_count = 2},
    };
    pg_lua_pass(L, &call);
    if (!pg_exec(conn->client, &call.statement, NULL, &err))
        return glue_raise(L, &err);
    return 0;
}

/* Takes both strings: the slots own them before Lua is called. */
static void notification_push(lua_State *L, const struct pg_lua_slot *channel,
                              const struct pg_lua_slot *payload, int pid)
{
    lua_createtable(L, 0, 3);
    lua_pushstring(L, channel->text);
    lua_setfield(L, -2, "channel");
    lua_pushstring(L, payload->text != NULL ? payload->text : "");
    lua_setfield(L, -2, "payload");
    lua_pushinteger(L, pid);
    lua_setfield(L, -2, "pid");
}

int pg_lua_wait_notification(lua_State *L)
{
    static const struct glue_opt rows[] = {{"timeout", GLUE_OPT_DURATION, 0}, {0}};
    struct {
        int64_t timeout_ms;
    } opts = {5000};
    struct pg_lua_conn *conn = pg_lua_check(L);
    struct pg_lua_call call = {.name = "pg.wait_notification", .effect = NEAP_EFFECT_READ};
    struct neap_error err = {0};
    bool found = false;
    int pid = 0;
    lua_settop(L, 2);
    glue_opt_read(L, 2, rows, &opts);
    struct pg_lua_slot *channel = pg_lua_slot_push(L), *payload = pg_lua_slot_push(L);
    pg_lua_pass(L, &call);
    bool ok = pg_notification(conn->client, opts.timeout_ms, &found, &channel->text, &payload->text,
                              &pid, &err);
    settle(L, &call, ok ? NULL : &err);
    if (!ok)
        return glue_raise(L, &err);
    if (found)
        notification_push(L, channel, payload, pid);
    else
        lua_pushnil(L);
    return 1;
}

/* ---- another connection ---- */

/* The rule of a further connection: no transaction, nothing to open from it. */
static struct pg_lua_rule further_rule(const struct pg_lua_conn *conn)
{
    struct pg_lua_rule rule = conn->rule;
    rule.transaction = false;
    rule.control = NULL;
    rule.conninfo = NULL;
    rule.unlooked = NULL;
    return rule;
}

static bool further_set_up(const struct pg_lua_conn *further, struct neap_error *err)
{
    const struct pg_lua_rule *rule = &further->rule;
    /* Takes no lock. */
    static const char sql_read_only[] = "set default_transaction_read_only = on";
    if (rule->opened != NULL && !rule->opened(rule->opened_arg, further->client, err))
        return false;
    return !rule->read_only || pg_exec_text(further->client, sql_read_only, 0, NULL, NULL, err);
}

int pg_lua_connect(lua_State *L)
{
    static const struct glue_opt rows[] = {{"timeout", GLUE_OPT_DURATION, 0}, {0}};
    struct {
        int64_t timeout_ms;
    } opts = {10000};
    struct pg_lua_conn *conn = pg_lua_check_any(L);
    struct pg_lua_call call = {.name = "pg.connect", .effect = NEAP_EFFECT_WRITE};
    struct neap_error err = {0};
    char application_name[64];
    lua_settop(L, 2);
    glue_opt_read(L, 2, rows, &opts);
    if (conn->rule.transaction || conn->rule.conninfo == NULL)
        return glue_raise_code(L, NEAP_ERR_GATE_REFUSED,
                               "db:connect is refused %s: what another connection does, a "
                               "rollback here does not undo",
                               conn->rule.transaction ? "in a transaction" : "here");
    const struct pg_lua_rule rule = further_rule(conn);
    struct pg_lua_conn *further = pg_lua_conn_push(L, &rule);
    pg_lua_pass(L, &call);
    snprintf(application_name, sizeof application_name, "neap:%s", glue_context(L)->run->id);
    const struct pg_open_opts open = {.conninfo = conn->rule.conninfo,
                                      .application_name = application_name,
                                      .timeout_ms = opts.timeout_ms,
                                      .name = "script"};
    further->owned = true;
    bool ok = pg_open(glue_context(L)->loop, &open, &further->client, &err) &&
              further_set_up(further, &err);
    settle(L, &call, ok ? NULL : &err);
    if (!ok) {
        pg_lua_conn_close(further);
        return glue_raise(L, &err);
    }
    return 1;
}
