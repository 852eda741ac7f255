/* SPDX-License-Identifier: MIT
 *
 * What the parts of pg_lua share, and nobody else includes: the handle behind
 * `db`, the owner of what must not outlive a call, and the functions that the
 * class rows name. Functions with a lua_State may raise, the others may not.
 */
#ifndef NEAP_BINDINGS_PG_PG_LUA_PART_H
#define NEAP_BINDINGS_PG_PG_LUA_PART_H

#include <lauxlib.h>
#include <lua.h>

#include "bindings/pg/pg_lua.h"
#include "bindings/pg/pg_sql.h"
#include "host/base/buffer.h"

struct rows_handle;

/* `db`. A stale handle has no client. */
struct pg_lua_conn {
    struct pg_client *client; /* NULL: retired or closed */
    struct pg_lua_rule rule;
    bool owned;   /* made by db:connect: closed with the handle */
    bool copying; /* inside a COPY: nothing else may be sent */
    int savepoint_depth;
    struct rows_handle *streaming;    /* the rows that keep the connection busy, or NULL */
    struct rows_handle *rows;         /* every open iterator */
    struct pg_lua_conn *next, **link; /* in the state's list */
};

/* db:rows: a cursor in a transaction, single-row mode outside one. */
struct rows_handle {
    struct pg_lua_conn *conn;  /* NULL: ended */
    struct pg_op *op;          /* single-row mode, or the batch of a cursor */
    char cursor[32];           /* "" in single-row mode */
    int batch_size, batch_row; /* of a cursor: rows asked for, next row of the batch */
    bool is_last;              /* the batch at hand is the cursor's last */
    bool is_stale;             /* the host retired it: not an ordinary end */
    int depth;                 /* savepoints around it: a rollback takes the cursor away */
    PGresult *result;          /* the row at hand, of single-row mode */
    struct rows_handle *next, **link;
};

/* Owner of what C acquires during a call; cleared when the call returns or raises. */
struct pg_lua_slot {
    struct glue_context *context;
    size_t counted; /* bytes of `buffer` that the script's memory was charged for */
    struct pg_op *op;
    PGresult *result;
    char *text;
    struct neap_buffer buffer;
};
/* Pushes a slot and marks it to be closed: it must stay below what is pushed later. */
struct pg_lua_slot *pg_lua_slot_push(lua_State *L);
/* For loops in C over what a script made, before each piece of `length` bytes that
 * goes into the slot's buffer: charges them to the script (script.memory), and ends
 * at a stop. A table of 90 tables that is 2^90 values would else never end. */
void pg_lua_slot_count(lua_State *L, struct pg_lua_slot *slot, size_t length);

/* The live handle at 1; raises handle.closed, or db.argument while rows stream. */
struct pg_lua_conn *pg_lua_check(lua_State *L);
/* Live, whether or not rows stream. */
struct pg_lua_conn *pg_lua_check_any(lua_State *L);
void pg_lua_conn_close(void *handle);
void pg_lua_rows_close(void *handle);
/* The same for a cursor that is gone on the server: nothing is sent. */
void pg_lua_rows_forget(struct rows_handle *rows);
/* Pushes a handle that is in the state's list; the caller sets the client. */
struct pg_lua_conn *pg_lua_conn_push(lua_State *L, const struct pg_lua_rule *rule);

/* One effect: gate, place, parameters. */
struct pg_lua_call {
    const char *name; /* "pg.exec" */
    enum neap_effect effect;
    const struct pg_sql_class *class; /* or NULL */
    struct pg_statement statement;
};
/* Reads (self, sql, ...): the live connection, a classified statement with its
 * parameters (one value may be pushed). `reads` says that rows are looked at. */
struct pg_lua_conn *pg_lua_call_check(lua_State *L, const char *name, bool reads,
                                      struct pg_lua_call *call, struct pg_sql_class *class);
/* Passes the gate and fills in place and call_id; raises when refused. */
void pg_lua_pass(lua_State *L, struct pg_lua_call *call);
/* What an effect is that no parser looked at: TX in a transaction, else WRITE. */
enum neap_effect pg_lua_effect(const struct pg_lua_conn *conn);

/* Parameters from the arguments `first`…top, of which the first is number 1 in
 * messages. The block lives on the Lua stack (one value is pushed when there
 * are any), its strings in the arguments. Returns NULL for none. */
const struct pg_param *pg_lua_params_check(lua_State *L, int first, int *count);
/* Adds the text of the scalar at `index` (not nil, null or a plain table);
 * false when it has none. Raises on invalid text. `what` names it. */
bool pg_lua_scalar_add(lua_State *L, int index, const char *what, struct pg_lua_slot *slot);
/* The bytes behind neap.pg.bytea(…) at `index`, or NULL. */
const char *pg_lua_bytea_peek(lua_State *L, int index, size_t *length);

/* Pushes a cell as the Lua value of its type; nil for NULL. */
void pg_lua_cell_push(lua_State *L, const PGresult *result, int row, int column);
/* Pushes the elements of an array's text; `type` is the elements'. */
void pg_lua_array_push(lua_State *L, const char *text, Oid type);
/* Pushes the metatable of this result's rows (its columns); refuses duplicates. */
void pg_lua_shape_push(lua_State *L, const PGresult *result);
/* Pushes one row as a table with the metatable at `shape`. */
void pg_lua_row_push(lua_State *L, const PGresult *result, int row, int shape);

/* The functions of the classes. */
int pg_lua_exec(lua_State *L);
int pg_lua_query(lua_State *L);
int pg_lua_row(lua_State *L);
int pg_lua_value(lua_State *L);
int pg_lua_rows_open(lua_State *L);
int pg_lua_rows_next(lua_State *L);
int pg_lua_copy_in(lua_State *L);
int pg_lua_copy_out(lua_State *L);
int pg_lua_savepoint(lua_State *L);
int pg_lua_listen(lua_State *L);
int pg_lua_unlisten(lua_State *L);
int pg_lua_notify(lua_State *L);
int pg_lua_wait_notification(lua_State *L);
int pg_lua_connect(lua_State *L);
int pg_lua_array(lua_State *L);
int pg_lua_json(lua_State *L);
int pg_lua_bytea(lua_State *L);
int pg_lua_decode_array(lua_State *L);
int pg_lua_decode_json(lua_State *L);

/* Classifies and refuses what no rule allows: transaction control and what
 * cannot run in a transaction. Raises. */
void pg_lua_classify(lua_State *L, const struct pg_lua_conn *conn, const char *sql, size_t length,
                     struct pg_sql_class *out);
/* CREATE INDEX CONCURRENTLY. */
void pg_lua_index_build(lua_State *L, struct pg_lua_conn *conn, struct pg_lua_call *call);

#endif
