/* SPDX-License-Identifier: MIT
 *
 * db:savepoint(fn): the one way to survive a failing statement. Before it and
 * at its end everything in flight is waited for, so that a failure belongs to
 * the side where its statement was written. Surprise: deadlocks and
 * serialization failures pass through and leave the client failed, for they
 * are cured by running the whole transaction again and never a part of it.
 */
#include <stdio.h>

#include "bindings/pg/pg_lua_part.h"

#define SAVEPOINT_DEPTH_MAX 64

static bool is_survivable(enum neap_error_code code)
{
    return code == NEAP_ERR_DB_QUERY || code == NEAP_ERR_DB_ROWS || code == NEAP_ERR_LOCK_TIMEOUT;
}

/* Only running the whole transaction again, or nothing, cures these. */
static bool is_whole(enum neap_error_code code)
{
    return code == NEAP_ERR_LOCK_DEADLOCK || code == NEAP_ERR_DB_SERIALIZATION ||
           code == NEAP_ERR_DB_LOST || code == NEAP_ERR_RUN_DEADLINE ||
           code == NEAP_ERR_RUN_INTERRUPTED || code == NEAP_ERR_RUN_TERMINATED;
}

/* One of the three statements, recorded like the script's own. */
static void step(lua_State *L, struct pg_lua_conn *conn, const char *verb)
{
    char sql[64];
    struct neap_error err = {0};
    struct pg_lua_call call = {
        .name = "pg.savepoint",
        .effect = conn->rule.read_only ? NEAP_EFFECT_READ : NEAP_EFFECT_TX,
        .statement = {.sql = sql},
    };
    snprintf(sql, sizeof sql, "%s neap_savepoint_%d", verb, conn->savepoint_depth);
    pg_lua_pass(L, &call);
    if (!pg_exec(conn->client, &call.statement, NULL, &err))
        glue_raise(L, &err);
}

/* Which error ends the savepoint: what fn raised, unless that only repeats that
 * an earlier statement failed. False when there is none. */
static bool outcome(lua_State *L, struct pg_client *client, bool returned, struct neap_error *err)
{
    const struct neap_error *failure;
    if (!returned)
        glue_error_of(L, -1, err);
    (void)pg_settle(client, NULL);
    failure = pg_failure(client);
    if (failure != NULL &&
        (returned || err->code == NEAP_ERR_DB_ABORTED || is_whole(failure->code)))
        neap_error_copy(err, failure);
    return !returned || failure != NULL;
}

/* The server drops the cursors that were opened since the savepoint. */
static void rows_forget(struct pg_lua_conn *conn)
{
    for (struct rows_handle *rows = conn->rows, *next; rows != NULL; rows = next) {
        next = rows->next;
        if (rows->depth > conn->savepoint_depth)
            pg_lua_rows_forget(rows);
    }
}

/* … error object (when fn raised) | */
static int undo(lua_State *L, struct pg_lua_conn *conn, bool returned, struct neap_error *err)
{
    enum neap_error_code code = err->code;
    bool is_raised_own = !returned && glue_error_peek(L, -1) == NULL;
    if (is_whole(code))
        return glue_raise(L, err);
    if (is_raised_own)
        neap_error_clear(err); /* the script's own value goes on as it is */
    else
        glue_error_push(L, err);
    rows_forget(conn);
    pg_failure_clear(conn->client);
    step(L, conn, "ROLLBACK TO SAVEPOINT");
    step(L, conn, "RELEASE SAVEPOINT");
    if (is_raised_own || !is_survivable(code))
        return lua_error(L);
    lua_pushboolean(L, false);
    lua_insert(L, -2);
    return 2;
}

int pg_lua_savepoint(lua_State *L)
{
    struct pg_lua_conn *conn = pg_lua_check(L);
    struct neap_error err = {0};
    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (!conn->rule.transaction)
        return glue_raise_code(L, NEAP_ERR_DB_ARGUMENT,
                               "db:savepoint needs a transaction; here each statement is its own");
    if (conn->savepoint_depth >= SAVEPOINT_DEPTH_MAX)
        return glue_raise_code(L, NEAP_ERR_DB_ARGUMENT, "savepoints are nested more than %d deep",
                               SAVEPOINT_DEPTH_MAX);
    if (!pg_settle(conn->client, &err))
        return glue_raise(L, &err);
    step(L, conn, "SAVEPOINT");
    int depth = conn->savepoint_depth++;
    lua_pushvalue(L, 1);
    lua_insert(L, 3); /* db fn db … */
    /* Not lua_pcallk: a coroutine that is left inside would leave the savepoint open. */
    bool returned = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0) == LUA_OK;
    conn->savepoint_depth = depth;
    if (conn->client == NULL)
        return glue_raise_code(L, NEAP_ERR_HANDLE_CLOSED,
                               "the connection was closed in a savepoint");
    if (!neap_run_check(glue_context(L)->run, &err))
        return glue_raise(L, &err);
    if (outcome(L, conn->client, returned, &err))
        return undo(L, conn, returned, &err);
    step(L, conn, "RELEASE SAVEPOINT");
    lua_pushboolean(L, true); /* db results … true | */
    lua_replace(L, 1);
    return lua_gettop(L);
}
