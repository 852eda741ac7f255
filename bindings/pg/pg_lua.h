/* SPDX-License-Identifier: MIT
 *
 * The thin Lua face of pg_client: `db` as scripts see it, and module neap.pg.
 */
#ifndef NEAP_BINDINGS_PG_PG_LUA_H
#define NEAP_BINDINGS_PG_PG_LUA_H

#include <lua.h>
#include <stdint.h>

#include "bindings/glue/glue.h"
#include "bindings/pg/pg_client.h"

/* How a script may use the connection it is given. */
struct pg_lua_rule {
    bool transaction;          /* inside the host's transaction: pipelined, no CONCURRENTLY */
    bool read_only;            /* verify, dry look: the session enforces it as well */
    struct pg_client *control; /* for pg_index_build, or NULL */
    const char *conninfo;      /* for db:connect{}; NULL: refused */
    int64_t row_max_bytes;     /* of db:query results; over it: db.rows */
    bool index_ours;           /* an invalid index this step builds is our own leftover */
    /* True when every :exec call on the line stands as a statement, so that
     * nobody looks at its result; NULL: each db:exec waits. */
    bool (*unlooked)(void *arg, const char *file, int line);
    void *unlooked_arg;
    /* Sets up and checks a connection that db:connect opened, as the host does
     * its own (role, timeouts, identity); NULL: nothing is done. */
    bool (*opened)(void *arg, struct pg_client *client, struct neap_error *err);
    void *opened_arg;
};

/* Registers neap.pg.Conn and its kin in the state. */
void pg_lua_open(lua_State *L);
/* Pushes `db`. The client stays the host's; pg_lua_retire makes the handle stale.
 * The rule is copied, its strings and arguments are borrowed until then. */
void pg_lua_push(lua_State *L, struct pg_client *client, const struct pg_lua_rule *rule);
/* Every handle made in this state becomes stale (handle.closed) and what it
 * opened itself is closed. Called by the host when the function has ended. */
void pg_lua_retire(lua_State *L);

/* neap.pg.Conn, its iterator neap.pg.Rows, and module neap.pg. */
extern const struct glue_class pg_lua_conn, pg_lua_rows, pg_lua_module;

#endif
