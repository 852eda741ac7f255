/* SPDX-License-Identifier: MIT
 *
 * What the files of the PostgreSQL client share: the client, its queue of
 * statements, and the doors between them. No one outside bindings/pg/pg_*.c of
 * the client includes it. The surprising decision: libpq is only ever asked for
 * results by pg_pump, so that its order rules hold in one place.
 */
#ifndef NEAP_BINDINGS_PG_PG_INTERNAL_H
#define NEAP_BINDINGS_PG_PG_INTERNAL_H

#include "bindings/pg/pg_client.h"
#include "host/base/buffer.h"

/* A COPY's way through the queue. */
enum pg_copy_state {
    PG_COPY_NONE,    /* not a COPY, or none that was asked for */
    PG_COPY_WANTED,  /* sent by pg_copy_in or pg_copy_out */
    PG_COPY_OPEN,    /* the server is in COPY: the pump stands still */
    PG_COPY_DISCARD, /* what comes is thrown away until the end */
};

struct pg_row {
    struct pg_row *next;
    PGresult *result;
};

struct pg_op {
    struct pg_op *next;
    struct pg_client *client; /* NULL once it is off the queue */
    struct pg_param *packed;  /* copied parameters while it waits for its turn */
    char *sql;
    char *where_file;
    int where_line;
    int param_count;
    int64_t call_id;
    int64_t sent_us;
    int64_t duration_us;
    int64_t row_count; /* -1: the server named none */
    PGresult *result;
    struct neap_error error;
    struct pg_row *rows, *rows_last; /* single rows not taken yet */
    size_t rows_bytes;
    int rows_queued;
    enum pg_copy_state copy;
    bool copy_in;
    bool sync;     /* our own marker: no statement */
    bool sent;     /* libpq has it */
    bool answered; /* a result came; the NULL after it is outstanding */
    bool single;   /* single-row mode was asked for */
    bool streams;  /* its rows are taken with pg_next_row */
    bool ended;
    bool shielded;
    bool binary; /* the form of its cells */
    bool owned;  /* somebody holds the pointer */
    bool called; /* its callback is running */
    void (*done)(void *arg, struct pg_op *op);
    void *arg;
};

struct pg_note {
    struct pg_note *next;
    char *severity, *sqlstate, *message, *source;
};

struct pg_notify {
    struct pg_notify *next;
    char *channel, *payload;
    int backend_pid;
};

struct pg_client {
    struct neap_loop *loop;
    PGconn *conn;
    uv_poll_t *poll;            /* on its own: it outlives the client by one turn */
    struct neap_timer *dropped; /* libpq closed the socket: tells it in a turn */
    int poll_events;
    char *name, *address, *waits_for;
    struct pg_op *head, *tail; /* in flight and waiting, in order */
    struct pg_op *unsent;      /* the first that libpq does not have */
    int op_count;
    size_t unflushed_bytes; /* given to libpq since its output was last empty */
    int64_t flushed_us;     /* when a statement last went out at once */
    bool connecting, connect_ended, ready;
    int64_t begun_ms, give_up_ms; /* this attempt to connect, all of them */
    const char *first_sql;        /* of pg_open_begin, or NULL */
    struct pg_op *first;          /* it was sent; taken by pg_open_end */
    bool pipeline;
    bool unsynced;   /* a statement was sent after the last sync */
    bool want_write; /* libpq holds output that the socket did not take */
    bool lost, closed, cleanup, pumping;
    bool cancelled;            /* what ends now was cancelled by us */
    int greedy;                /* waits that must not stand behind an untaken stream */
    int reading;               /* waits of an open COPY that want input */
    unsigned input_count;      /* how often the socket was read */
    int64_t turned_ms;         /* when a wait last gave the loop a turn */
    int holds;                 /* frames on the C stack that still look at the client */
    struct neap_error failure; /* the first */
    struct neap_error loss;    /* why it is lost */
    struct neap_error fatal;   /* the server's last word outside a statement */
    char *cause;               /* the statement behind db.aborted */
    void (*on_notice)(void *arg, const struct pg_notice *notice);
    void *on_notice_arg;
    struct pg_note *notes, *notes_last;
    int note_count;
    size_t note_bytes;
    int suppressed_count;
    struct pg_notify *notifies, *notifies_last;
    int notify_count;
};

/* pg_connect_error.c: what people read about the address and the password's place,
 * and about an address that has not answered for waited_ms. */
void pg_connect_failed(const struct pg_client *client, struct neap_error *err);
/* Did the last host refuse because it, or the role, has no connection free (53300)? */
bool pg_connect_is_full(const struct pg_client *client);
void pg_connect_silent(const struct pg_client *client, int64_t waited_ms, struct neap_error *err);

/* pg_poll.c: the socket's side. */
bool pg_watch(struct pg_client *client, int events);
void pg_unwatch(struct pg_client *client);
/* Asks the loop for what is wanted now. */
void pg_rewatch(struct pg_client *client);
void pg_flush(struct pg_client *client);
/* Takes what is there without waiting: before a wait, because what libpq or
 * OpenSSL holds already wakes no socket. */
void pg_catch_up(struct pg_client *client);
/* A holder's last line: frees a closed client that nobody looks at any more. */
void pg_hold(struct pg_client *client);
void pg_release(struct pg_client *client);
/* Ends everything with db.lost and closes the socket; `why` NULL: libpq's words. */
void pg_lose(struct pg_client *client, const char *why);
void pg_connect_step(struct pg_client *client);

/* pg_queue.c */
/* A wait that pg_client's rules bound: the stop unless cleanup is on, cancel and
 * drain when it comes. `op` (may be NULL) names the statement in the error. */
bool pg_wait_for(struct pg_client *client, bool (*done)(void *arg), void *arg, struct pg_op *op,
                 struct neap_error *err);
/* False when the run stops (and cleanup is off): cancelled and drained. For
 * loops whose waits may all be over before they begin. */
bool pg_go_on(struct pg_client *client, struct neap_error *err);
struct pg_op *pg_op_new(const struct pg_statement *statement);
void pg_op_append(struct pg_client *client, struct pg_op *op);
/* Hands the first waiting statement to libpq when it is its turn. */
void pg_send_next(struct pg_client *client);
/* Off the queue: remembers the failure, settles with the gate, calls back. */
void pg_op_end(struct pg_client *client, struct pg_op *op);
void pg_op_dispose(struct pg_op *op);
/* Ends what was never sent, with `code`. */
void pg_drop_unsent(struct pg_client *client, const struct neap_error *why);
bool pg_is_idle(const struct pg_client *client);

/* pg_pump.c: takes every result that is there. */
void pg_pump(struct pg_client *client);

/* pg_send.c */
bool pg_params_check(const struct pg_statement *statement, struct neap_error *err);
struct pg_param *pg_params_pack(const struct pg_param *params, int count);
bool pg_hand_over(struct pg_client *client, struct pg_op *op, const struct pg_param *params);

/* pg_notice.c */
void pg_notice_receive(void *arg, const PGresult *result);
void pg_notice_deliver(struct pg_client *client);
void pg_notify_take(struct pg_client *client);
void pg_notice_clear(struct pg_client *client);

/* pg_result.c */
bool pg_result_is_fatal(const PGresult *result);
void pg_error_place(struct neap_error *err, const struct pg_op *op);
int64_t pg_result_row_count(const PGresult *result);

#endif
