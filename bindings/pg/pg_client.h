/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL client: libpq, non-blocking, on the loop. It owns the socket,
 * the queue of statements in flight and what the server said of each. It knows
 * neither Lua nor migrations. Used by the host and, through pg_lua, by scripts.
 *
 * Statements go out in order and their answers come back in order. Between
 * pg_pipeline_begin and pg_pipeline_end the client is in libpq's pipeline mode
 * and pg_send does not wait; outside it a statement is sent when the one before
 * it has ended. A statement is always one statement (extended protocol).
 */
#ifndef NEAP_BINDINGS_PG_PG_CLIENT_H
#define NEAP_BINDINGS_PG_PG_CLIENT_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/base/error.h"
#include "host/loop/loop.h"

struct pg_client;
struct pg_op;

struct pg_open_opts {
    const char *conninfo;         /* URI or keywords; NULL: PG* environment alone */
    const char *application_name; /* "neap:<run id>" */
    int64_t timeout_ms;           /* for the whole connect, over all hosts; 0: 10 s */
    const char *name;             /* "work", "control": for logs */
};

/* Connects without blocking the loop (name lookup by libpq is the exception in
 * libpq 15, documented) and sets client_encoding UTF8, keepalives and
 * tcp_user_timeout. Registers the password with the redaction. Errors:
 * db.connect, with host, port, database and user named and the password never. A
 * server with no connection free is tried again, with growing pauses, until the time
 * is up. */
bool pg_open(struct neap_loop *loop, const struct pg_open_opts *opts, struct pg_client **out,
             struct neap_error *err);
/* pg_open in two halves: what else the loop waits for meanwhile, this does not cost.
 * `first_sql` (static, without parameters) goes out as soon as there is a session. Never
 * fails: whatever went wrong, the second half tries again and tells. The client is good
 * for nothing but pg_open_end, with the same opts, and pg_close. */
struct pg_client *pg_open_begin(struct neap_loop *loop, const struct pg_open_opts *opts,
                                const char *first_sql);
/* Waits; *first is the answer, the caller's. False: the client is closed. */
bool pg_open_end(struct pg_client *client, const struct pg_open_opts *opts, struct pg_op **first,
                 struct neap_error *err);
/* Closes at once, whatever is in flight: statements end with db.lost, their
 * callbacks are not called. Before neap_loop_close. NULL is allowed. Does not
 * wait. Ops that are owned stay valid until pg_op_free. */
void pg_close(struct pg_client *client);
/* Borrowed; for PQescape*, PQparameterStatus and the transaction status. */
PGconn *pg_raw(struct pg_client *client);
struct neap_loop *pg_loop(struct pg_client *client);
bool pg_is_lost(const struct pg_client *client);
/* "host:port/dbname as user", never a password. Borrowed. */
const char *pg_address(const struct pg_client *client);

/* The server's own types; their numbers never change. */
enum pg_type {
    PG_TYPE_BOOL = 16,
    PG_TYPE_BYTEA = 17,
    PG_TYPE_INT8 = 20,
    PG_TYPE_TEXT = 25,
    PG_TYPE_TEXT_ARRAY = 1009,
    PG_TYPE_INT8_ARRAY = 1016,
    PG_TYPE_UUID = 2950,
};

/* One parameter. value NULL is SQL NULL. Text must be valid UTF-8 and without NUL
 * (db.argument), and be NUL-terminated also where `length` is given; binary is
 * for bytea. type 0 lets the server infer. */
struct pg_param {
    const char *value;
    int length; /* bytes; for text strlen */
    Oid type;
    bool binary;
};
#define PG_TEXT(text_)                 \
    {                                  \
        .value = (text_), .length = -1 \
    } /* length -1: strlen */
/* Of a type that the server need not work out; the value is text all the same. */
#define PG_TYPED(text_, type_)                          \
    {                                                   \
        .value = (text_), .length = -1, .type = (type_) \
    }

struct pg_statement {
    const char *sql;               /* borrowed for the call */
    const struct pg_param *params; /* borrowed for the call */
    int param_count;
    const char *where_file; /* script position for errors, or NULL for the host */
    int where_line;
    int64_t call_id; /* from neap_gate_pass; -1: do not settle */
    bool rows;       /* single-row mode: rows are taken with pg_next_row */
    bool binary;     /* cells come in the types' binary form */
    bool shielded;   /* COMMIT: a stop waits for its answer before it cancels */
    void (*done)(void *arg, struct pg_op *op); /* called in a loop turn, or NULL */
    void *arg;
};

/* Queues a statement, flushing without waiting. With `out` NULL the result is
 * discarded when it comes (its failure is the client's first failure). With
 * `out` the caller owns the op and frees it with pg_op_free. Refused with the
 * first failure while the client has one (pg_failure), and after a stop; pg_cleanup
 * lifts both. A call_id is settled with the gate in every outcome, also when the
 * statement is refused here. In a pipeline with much in flight it waits until
 * the server has caught up, except for statements with `done`. */
bool pg_send(struct pg_client *client, const struct pg_statement *statement, struct pg_op **out,
             struct neap_error *err);
/* Waits until `op` has ended. False with the statement's own error (db.query
 * and its kind by SQLSTATE, position, script place), db.lost, or the stop: then
 * the statement was cancelled on the server and drained. */
bool pg_wait(struct pg_client *client, struct pg_op *op, struct neap_error *err);
/* Waits for everything in flight; false with the first failure. */
bool pg_settle(struct pg_client *client, struct neap_error *err);
/* pg_send and pg_wait. `out` may be NULL. */
bool pg_exec(struct pg_client *client, const struct pg_statement *statement, struct pg_op **out,
             struct neap_error *err);
/* The common case: text parameters (NULL is SQL NULL), text result. */
bool pg_exec_text(struct pg_client *client, const char *sql, int param_count,
                  const char *const *params, struct pg_op **out, struct neap_error *err);
bool pg_send_text(struct pg_client *client, const char *sql, int param_count,
                  const char *const *params, struct neap_error *err);

bool pg_op_is_done(const struct pg_op *op);
const PGresult *pg_op_result(const struct pg_op *op);         /* borrowed; NULL until done */
const struct neap_error *pg_op_error(const struct pg_op *op); /* NULL: success */
int64_t pg_op_row_count(const struct pg_op *op);              /* rows affected or returned */
const char *pg_op_tag(const struct pg_op *op);                /* "COMMIT"; "" until done */
int64_t pg_op_duration_us(const struct pg_op *op);
/* Single-row mode: waits for one row (owned by the caller, PQclear) or the end
 * (*row NULL). Memory is constant as long as no later statement of this client
 * is waited for before the end: that reads the rest of the rows into memory. */
bool pg_next_row(struct pg_client *client, struct pg_op *op, PGresult **row,
                 struct neap_error *err);
void pg_op_free(struct pg_op *op); /* NULL is allowed; drains in the background if unfinished */

/* Cells as text, for the host's own queries. NULL for SQL NULL; borrowed. */
const char *pg_cell(const struct pg_op *op, int row, int column);
int64_t pg_cell_int(const struct pg_op *op, int row, int column);
bool pg_cell_bool(const struct pg_op *op, int row, int column);
int pg_rows(const struct pg_op *op);
/* Cells of a `binary` statement; texts are as pg_cell gives them. `bytes` NULL for SQL
 * NULL, borrowed. A number is int2, int4, int8 or timestamptz (microseconds from 2000);
 * 0 and false for SQL NULL. */
const char *pg_cell_bytes(const struct pg_op *op, int row, int column, size_t *length);
int64_t pg_cell_number(const struct pg_op *op, int row, int column);
bool pg_cell_truth(const struct pg_op *op, int row, int column);

/* Both are idempotent; end settles first. In a pipeline, pg_sync marks the
 * point where an error stops discarding; pg_wait and pg_settle send one. */
bool pg_pipeline_begin(struct pg_client *client, struct neap_error *err);
bool pg_pipeline_end(struct pg_client *client, struct neap_error *err);
bool pg_sync(struct pg_client *client, struct neap_error *err);
/* Asks for the answers so far, which ends nothing: behind a statement that failed the
 * server goes on skipping. Does not wait. */
void pg_ask(struct pg_client *client);
/* Lets what was sent leave now, and not with the next wait: for before work of the
 * host's own, so that the server is at its part meanwhile. Does not wait. */
void pg_push(struct pg_client *client);

/* The first failure since the last pg_failure_clear, of any statement, owned or
 * not: sticky, so that a script that swallows it cannot go on. db.aborted never
 * is one: it is a consequence. What waits unsent behind a failure is dropped
 * with db.aborted. NULL when there is none. */
const struct neap_error *pg_failure(const struct pg_client *client);
void pg_failure_clear(struct pg_client *client);
/* While on, statements are sent and waited for although the run stops:
 * ROLLBACK, the answer to COMMIT, records. */
void pg_cleanup(struct pg_client *client, bool on);

/* Cancels the statement in flight once and drains its answer. Waits, at most
 * 5 s, then closes the socket. PQcancel of libpq 15 blocks and runs on a detached
 * thread of its own (libuv's pool would be joined at exit). Always leaves the
 * client idle or lost. */
void pg_cancel(struct pg_client *client);
/* The same for a statement that we gave up: pg_failure is then `why`, and not what
 * the server says of a cancelled statement. */
void pg_cancel_because(struct pg_client *client, const struct neap_error *why);

PGTransactionStatusType pg_transaction_status(const struct pg_client *client);

/* COPY. `in` sends what `more` gives (false at the end; error: *failed set) in
 * constant memory; `out` hands rows' bytes to `take`. Outside a pipeline they
 * run alone; inside, the client settles and leaves the pipeline for the COPY.
 * row_count may be NULL. A failing callback ends the COPY with an error on the
 * server too. */
struct pg_copy {
    const struct pg_statement *statement;
    bool (*more)(void *arg, const char **bytes, size_t *length, struct neap_error *err);
    bool (*take)(void *arg, const char *bytes, size_t length, struct neap_error *err);
    void *arg;
};
bool pg_copy_in(struct pg_client *client, const struct pg_copy *copy, int64_t *row_count,
                struct neap_error *err);
bool pg_copy_out(struct pg_client *client, const struct pg_copy *copy, int64_t *row_count,
                 struct neap_error *err);

/* Called for each notice, from a loop turn, never from inside libpq. Notices
 * are capped per client (1,000 or 1 MB; "n suppressed" at the end). */
struct pg_notice {
    const char *severity; /* "WARNING" (non-localised) */
    const char *sqlstate;
    const char *message;
    const char *source_function; /* "SyncRepWaitForLSN": recognises HAZARDS T8 */
};
void pg_on_notice(struct pg_client *client, void (*fn)(void *arg, const struct pg_notice *notice),
                  void *arg);
/* Waits for a NOTIFY until the time is over. *found false: none came. The
 * strings are the caller's to free. */
bool pg_notification(struct pg_client *client, int64_t timeout_ms, bool *found, char **channel,
                     char **payload, int *backend_pid, struct neap_error *err);

/* libpq's quoting, NULL checked, NUL and invalid UTF-8 refused (db.argument).
 * The caller frees. */
bool pg_ident(struct pg_client *client, const char *name, size_t length, char **out,
              struct neap_error *err);
bool pg_literal(struct pg_client *client, const char *text, size_t length, char **out,
                struct neap_error *err);

/* Fills `err` from a failed result: the one classifier of SQLSTATEs (55P03 is
 * lock.timeout, 40P01 lock.deadlock, 40001 db.serialization, 57014
 * run.deadline or db.query, class 08 and 57P0x db.lost, …). */
void pg_error_from_result(const PGresult *result, const char *sql, struct neap_error *err);

#endif
