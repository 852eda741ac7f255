/* SPDX-License-Identifier: MIT
 *
 * Where C meets Lua, for every binding: raising and catching neap_error,
 * options tables, handles, and the table of a binding's functions, from which
 * come registration, the gate's rule, editor types and help. Only *_lua.c files,
 * this folder and host/script see lua.h.
 *
 * A function may raise if and only if it takes a lua_State.
 */
#ifndef NEAP_BINDINGS_GLUE_GLUE_H
#define NEAP_BINDINGS_GLUE_GLUE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "host/base/run.h"
#include "host/loop/loop.h"

/* What lua_getextraspace of every state holds (one pointer). */
struct glue_context {
    struct neap_run *run;
    struct neap_loop *loop;
    lua_State *main;             /* the state's main thread */
    lua_State *volatile running; /* the coroutine that runs now, for the stop's hook */
    void *host;                  /* floor 4's own */
    /* Counts bytes held for the script outside Lua (negative: given back); false,
     * nothing counted, when they would pass the cap. NULL: no cap. */
    bool (*charge)(struct glue_context *context, int64_t bytes);
    struct neap_error pending; /* glue_raise's, while its userdata is being made */
};
struct glue_context *glue_context(lua_State *L);
/* Ties the context to a new state, before any coroutine exists. The context is
 * the caller's and outlives the state; glue_context_clear comes after lua_close. */
void glue_context_open(lua_State *L, struct glue_context *context);
void glue_context_clear(struct glue_context *context);

/* Counts memory that a result holds outside Lua against the script's cap; false
 * (nothing counted) when there is no room: raise script.memory then. Whoever
 * charged releases, also from a __gc. Neither raises. */
bool glue_memory_charge(lua_State *L, size_t size_bytes);
void glue_memory_release(lua_State *L, size_t size_bytes);

/* Raises `err` as neap's error object (a userdata: code, message, detail, hint,
 * sqlstate, sql, position, file, line; tostring gives one line) and clears it.
 * Never returns. Adds the script position when the error has none. */
int glue_raise(lua_State *L, struct neap_error *err) __attribute__((noreturn));
/* The same object, pushed instead of raised: for neap.try and for handing an
 * error to a script. May raise (memory); `err` is cleared in every outcome. */
void glue_error_push(lua_State *L, struct neap_error *err);
/* Raises `code` with a formatted message at the caller's script position. */
int glue_raise_code(lua_State *L, enum neap_error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));
/* Fills `err` from the value at `index`, whatever it is: our object, a string
 * ("file:line: " taken off), nil, a table, a userdata with an evil __tostring.
 * Cannot raise. */
void glue_error_of(lua_State *L, int index, struct neap_error *err);
/* The error object at `index`, or NULL when it is another value. Borrowed. */
const struct neap_error *glue_error_peek(lua_State *L, int index);

/* The script position of the Lua function that called us; false when none. The
 * file is borrowed from the state. A script's chunk is named "@path"; the
 * stdlib's are named "=neap.x" and passed over, so that an expectation points at
 * the line that expected. */
bool glue_where(lua_State *L, const char **file, int *line);

/* A string argument for SQL, a name or a path: NUL is refused. */
const char *glue_check_text(lua_State *L, int index, const char *what, size_t *length);

enum glue_opt_kind {
    GLUE_OPT_BOOL,
    GLUE_OPT_INTEGER,
    GLUE_OPT_TEXT,
    GLUE_OPT_DURATION,
    GLUE_OPT_SIZE
};
struct glue_opt {
    const char *name;
    enum glue_opt_kind kind;
    size_t offset; /* into the options struct: bool, int64_t, const char *, int64_t ms, int64_t
                      bytes */
};
/* Reads the table at `index` (absent or nil: nothing changes) by the rows, which
 * end with {0}; an unknown key raises with the nearest known one. */
void glue_opt_read(lua_State *L, int index, const struct glue_opt *rows, void *opts);

/* One function of a binding. */
struct glue_function {
    const char *name; /* "exec" */
    enum neap_effect effect;
    lua_CFunction call;
    const char *arguments; /* "sql: string, ...: any" */
    const char *returns;   /* "integer" */
    const char *doc;       /* one sentence, beginning with a verb */
};
/* A class (handle) or a module; rows end with {0}. */
struct glue_class {
    const char *name; /* "neap.pg.Conn" */
    const char *doc;
    const struct glue_function *functions;
    void (*close)(
        void *handle); /* idempotent; never blocks on the network, never raises; or NULL */
    size_t size;       /* of the userdata */
};
/* Creates the metatable (__index frozen, __gc, __close, __name, __tostring,
 * __metatable locked); idempotent in a state. */
void glue_class_register(lua_State *L, const struct glue_class *class);
/* Pushes a zeroed userdata of the class: owner before resource. */
void *glue_handle_push(lua_State *L, const struct glue_class *class);
/* The handle at `index`, or raises script.argument. */
void *glue_handle_check(lua_State *L, int index, const struct glue_class *class);
/* Pushes a frozen table with the functions of a module. */
void glue_module_push(lua_State *L, const struct glue_class *module);
/* Makes the table at the top read-only from scripts (a proxy-free freeze: the
 * table itself stays private behind a userdata-like metatable). */
void glue_freeze(lua_State *L);
/* True for what glue_freeze left: the sandbox's rawset refuses it. */
bool glue_is_frozen(lua_State *L, int index);

/* Every class and module that exists, NULL-terminated: help, types and tests
 * walk it. */
extern const struct glue_class *const glue_classes[];

/* Pushes neap.null; true when the value at `index` is it. */
void glue_push_null(lua_State *L);
bool glue_is_null(lua_State *L, int index);

#endif
