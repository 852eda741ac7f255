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
    bool transaction;  /* inside the host's transaction: pipelined, no CONCURRENTLY */
    bool read_only;    /* verify, dry look: the session enforces it as well */
    struct pg_client *control; /* for pg_index_build, or NULL */
    const char *conninfo;      /* for db:connect{}; NULL: refused */
    int64_t row_max_bytes;     /* of db:query results; over it: db.rows */
    bool index_ours;           /* an invalid index this step builds is our own leftover */
};

/* Registers neap.pg.Conn and its kin in the state. */
void pg_lua_open(lua_State *L);
/* Pushes `db`. The client stays the host's; pg_lua_retire makes the handle stale. */
void pg_lua_push(lua_State *L, struct pg_client *client, const struct pg_lua_rule *rule);
/* Every handle made in this state becomes stale (handle.closed) and what it
 * opened itself is closed. Called by the host when the function has ended. */
void pg_lua_retire(lua_State *L);

extern const struct glue_class pg_lua_conn, pg_lua_module;

#endif
