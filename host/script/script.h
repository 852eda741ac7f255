/* SPDX-License-Identifier: MIT
 *
 * The script host: the one place that runs user code. One `neap_script` is one
 * fresh sandboxed Lua state (or a SQL file's sections, which need none) for one
 * attempt; it is closed afterwards whatever happened. Floors above never see
 * lua.h.
 *
 * Promise 3 lives here: at the run's deadline or a signal the hook is armed,
 * the stop is sticky, and what no hook reaches the watchdog ends.
 */
#ifndef NEAP_SCRIPT_SCRIPT_H
#define NEAP_SCRIPT_SCRIPT_H

#include <jansson.h>

#include "bindings/pg/pg_client.h"
#include "host/script/source.h"

#define NEAP_SCRIPT_MEMORY_BYTES (256LL * 1024 * 1024) /* DESIGN: default cap */

struct neap_script_opts {
    struct neap_loop *loop;
    int64_t memory_bytes; /* Lua plus results; 0: NEAP_SCRIPT_MEMORY_BYTES */
    int64_t grace_ms;     /* watchdog after the deadline; 0: 2 s */
    /* Called by the watchdog thread just before it ends the process; writes the
     * audit line. Returns the exit status. */
    int (*last_word)(void *arg);
    void *last_word_arg;
    /* For tests, NULL else: counted down at each allocation of the script's state;
     * the one that makes it 0 finds no memory, nor does Lua's retry of it. */
    int64_t *memory_fail_in;
};

/* One step as the script declares it. A transactional migration has one. */
struct neap_step_def {
    char *name;         /* "up" for the single one */
    char *irreversible; /* why, or NULL: there is a down */
    char *unverified;   /* why, or NULL: there is a verify */
};

struct neap_script_def {
    char *summary, *ticket, *phase, *why, *risk, *locks; /* NULL when not given */
    int64_t timeout_ms, lock_timeout_ms;                 /* 0 when not given */
    bool transaction;                                    /* default true */
    char **requires;                                     /* ids, NULL-terminated */
    struct neap_step_def *steps;
    size_t step_count;
};

struct neap_script;

/* Creates the sandbox, runs the chunk (no effects allowed; CPU bounded to 2 s
 * and the run's deadline) and checks the contract. `source` is borrowed until
 * close. Errors: script.syntax, script.contract (nearest name), script.error,
 * script.memory, run.*. */
bool neap_script_open(const struct neap_script_opts *opts, const struct neap_source *source,
                      struct neap_script **out, struct neap_error *err);
const struct neap_script_def *neap_script_def(const struct neap_script *script);

enum neap_script_part { NEAP_PART_UP, NEAP_PART_VERIFY, NEAP_PART_DOWN };

/* How the part may use the database; host/change fills it in with the run's
 * `allowed` and `rule` already set. */
struct neap_script_db {
    struct pg_client *client;
    struct pg_client *control;
    const char *conninfo;
    bool transaction;
    bool read_only;
    bool index_ours;
    bool goes_on; /* the caller sends more and then waits: what is unlooked at the end of
                     the part may still be on its way when neap_script_call returns */
    /* Sets up and checks a connection that the script opens with db:connect (role,
     * timeouts, identity), or NULL. */
    bool (*opened)(void *arg, struct pg_client *client, struct neap_error *err);
    void *opened_arg;
};

/* Runs up, verify or down of step `index`. On return every statement has
 * settled. A verify that returns false or raises gives verify.failed (with the
 * cause's message, detail and place); an irreversible down gives policy.refused
 * with its why; an unverified verify succeeds. */
bool neap_script_call(struct neap_script *script, size_t index, enum neap_script_part part,
                      const struct neap_script_db *db, struct neap_error *err);
/* NULL is allowed. Before the clients of its calls are closed: what a stopped
 * script left open refers to them. */
void neap_script_close(struct neap_script *script);

/* Runs a configuration chunk (neap.lua: path, text, length of `file`) in the same
 * sandbox without bindings (`env "NAME"` reads one environment variable; everything
 * else as in scripts) and gives the table it returns as JSON. Durations and sizes
 * stay text. *unset has a key for each variable that it asked for and that is not
 * set. config.invalid with file and line. New references in *out and *unset; both
 * NULL on failure. */
bool neap_script_config(struct neap_loop *loop, const struct neap_source_file *file, json_t **out,
                        json_t **unset, struct neap_error *err);

#endif
