/* SPDX-License-Identifier: MIT
 *
 * Inside host/script: the sandboxed state, its memory, and how it is stopped.
 * Nobody outside this folder includes it.
 */
#ifndef NEAP_SCRIPT_SCRIPT_STATE_H
#define NEAP_SCRIPT_SCRIPT_STATE_H

#include <lua.h>
#include <stdatomic.h>

#include "bindings/glue/glue.h"
#include "host/base/log.h"
#include "host/script/script.h"

#define NEAP_SCRIPT_GRACE_MS 2000
#define NEAP_SCRIPT_LOAD_CPU_MS 2000

/* The capped allocator's count. `cap` without the reserve is what scripts get;
 * the reserve opens when Lua has really run out, so that errors still format. */
struct neap_script_memory {
    size_t used, cap, reserve;
    bool is_reserve_open;
    const void *failed_block; /* the refused request: the same again is Lua's retry */
    size_t failed_size;
    int64_t *fail_in; /* of struct neap_script_opts */
};
void neap_script_memory_init(struct neap_script_memory *memory, int64_t cap_bytes);
/* A lua_Alloc; `arg` is a struct neap_script_memory. */
void *neap_script_memory_alloc(void *arg, void *block, size_t old_size, size_t new_size);
/* Counts bytes held outside Lua (negative: given back); false when over the cap. */
bool neap_script_memory_count(struct neap_script_memory *memory, int64_t bytes);
/* What a script may still allocate. */
size_t neap_script_memory_left(const struct neap_script_memory *memory);

struct neap_script_state {
    lua_State *L;
    struct glue_context context;
    struct neap_script_memory memory;
    struct neap_run *run;
    const struct neap_source *source; /* NULL: a configuration, no lib modules */
    const struct neap_script_opts *opts;
    lua_State *thread; /* the coroutine that the host resumes; looks like main */
    bool is_stopped;   /* the stop took hold, at the place and trace of: */
    struct neap_error stop_place;
    const void *env; /* identity of the frozen globals */
    bool is_config;  /* no bindings, no migration{} */
};

/* Creates the sandbox. `opts` and `source` are borrowed until close. */
bool neap_script_state_open(struct neap_script_state *state, const struct neap_script_opts *opts,
                            const struct neap_source *source, bool is_config,
                            struct neap_error *err);
void neap_script_state_close(struct neap_script_state *state); /* {0} is allowed */
struct neap_script_state *neap_script_state_of(lua_State *L);

/* Calls the C function `entry` with `arg` (a light userdata) in a new coroutine
 * under the deadline and the watchdog. cpu_limit_ms 0: no limit. False with the
 * stop, or with what was raised, its place and a traceback of script lines. On
 * success the result is on the returned coroutine's stack, which is anchored on
 * top of state->L: the caller pops it (lua_settop(state->L, 0)). */
bool neap_script_state_run(struct neap_script_state *state, lua_CFunction entry, void *arg,
                           int64_t cpu_limit_ms, lua_State **out, struct neap_error *err);
/* Loads text (never bytecode) with the frozen globals: pushes the function, or
 * raises script.syntax. */
void neap_script_load(lua_State *L, const char *text, size_t length, const char *chunk_name);
/* Gives the function on top the frozen globals. */
void neap_script_env_set(lua_State *L);
/* script_stdlib.c: the same for a module of the stdlib, compiled once a process. */
struct neap_embedded;
void neap_script_stdlib_load(lua_State *L, const struct neap_embedded *file,
                             const char *chunk_name);
/* The text of `file` as a chunk named "@path", BOM and #! line passed over. */
void neap_script_load_file(lua_State *L, const struct neap_source_file *file);

/* True once the run stops or the load's CPU limit passed. */
bool neap_script_is_stopping(lua_State *L);
/* An error that pcall and its kin pass on: run.*, and transaction control, whose
 * refusal the script's author must hear of. */
bool neap_script_is_final(lua_State *L, int index);
/* Leaves the running code for good: yields, never to be resumed, or where that is
 * not possible raises. A C function says `return neap_script_stop_here(L);`. */
int neap_script_stop_here(lua_State *L);
/* For coroutines about to run: arms the hook if the stop came already. */
void neap_script_stop_recheck(lua_State *L);
/* From begin to end the state's code is under the deadline, the run's signals and
 * the watchdog. Only one state at a time. */
bool neap_script_watch_begin(struct neap_script_state *state, int64_t cpu_limit_ms,
                             struct neap_error *err);
void neap_script_watch_end(struct neap_script_state *state);

/* What a script says, as one line of the log, cut at 16 KiB. */
void neap_script_say(enum neap_log_level level, const char *event, const char *text);

/* Each pushes what its name says; they raise. */
void neap_script_globals_push(lua_State *L);   /* the frozen globals, from an open stock library */
void neap_script_string_push(lua_State *L);    /* stock table | frozen string library */
void neap_script_table_push(lua_State *L);     /* stock table | frozen table library */
void neap_script_coroutine_push(lua_State *L); /* the frozen coroutine library */
void neap_script_module_push(lua_State *L);    /* the frozen module neap */
void neap_script_contract_open(lua_State *L);  /* globals | globals, with migration{} and kin */
void neap_script_match_open(lua_State *L); /* string table | string table, with bounded patterns */
int neap_script_require(lua_State *L);     /* the sandbox's require */
int neap_script_try(lua_State *L);         /* neap.try */
int neap_script_pcall(lua_State *L);
int neap_script_xpcall(lua_State *L);
/* Replaces functions of the table at the top: an upvalue holds the stock one. */
struct luaL_Reg;
void neap_script_wrap(lua_State *L, const struct luaL_Reg *functions);

/* What migration{} made: the definition and, in its user value, a list of
 * { up =, verify =, down = }. */
struct neap_script_contract {
    struct neap_script_def def;
    bool is_runbook;
};
/* The contract at `index`, or NULL when it is another value. */
struct neap_script_contract *neap_script_contract_at(lua_State *L, int index);
void neap_script_def_clear(struct neap_script_def *def);

/* Fills where and traceback (script lines only) from the coroutine's stack. */
void neap_script_trace(lua_State *thread, struct neap_error *err);
/* Replaces a raised value's message by its __tostring, run under the watch. */
void neap_script_describe(struct neap_script_state *state, lua_State *thread,
                          struct neap_error *err);

extern const struct glue_class neap_script_module;

#endif
