/* SPDX-License-Identifier: MIT
 *
 * What a careful hand could write in C for one purpose: the statements of a file, each
 * sent as soon as the one before is on its way, one wait a transaction. The bound that
 * neap, which also verifies, records and fences, is held against.
 *
 *   pipelined CONNINFO FILE     the file: statements that end in ";\n", as psql -f takes it
 */
#include <libpq-fe.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static PGconn *conn;
static size_t due; /* results not read yet */

static void fail(void)
{
    fprintf(stderr, "%s", PQerrorMessage(conn));
    exit(1);
}

static void take_results(void)
{
    while (due > 0 && PQisBusy(conn) == 0) {
        PGresult *result = PQgetResult(conn);
        ExecStatusType status = PQresultStatus(result);
        PQclear(result);
        if (result == NULL)
            continue; /* the end of one statement's */
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK &&
            status != PGRES_PIPELINE_SYNC)
            fail();
        due--;
    }
}

/* Sends what is waiting; reads meanwhile, or both sides would wait for each other. */
static void move(bool until_all)
{
    for (;;) {
        int left = PQflush(conn);
        if (left < 0)
            fail();
        take_results();
        if (left == 0 && (!until_all || due == 0))
            return;
        struct pollfd at = {.fd = PQsocket(conn), .events = POLLIN};
        if (left > 0)
            at.events |= POLLOUT;
        poll(&at, 1, -1);
        if ((at.revents & POLLIN) != 0 && PQconsumeInput(conn) == 0)
            fail();
    }
}

static void send(const char *sql)
{
    if (PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0) == 0)
        fail();
    due++;
    if (strcmp(sql, "commit") == 0) {
        if (PQpipelineSync(conn) == 0)
            fail();
        due++;
        move(true);
    }
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    size_t capacity = 64UL * 1024 * 1024;
    char *text = malloc(capacity);
    if (file == NULL || text == NULL)
        exit(2);
    text[fread(text, 1, capacity - 1, file)] = '\0';
    fclose(file);
    return text;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    char *text = read_file(argv[2]);
    conn = PQconnectdb(argv[1]);
    if (PQstatus(conn) != CONNECTION_OK || PQenterPipelineMode(conn) == 0 ||
        PQsetnonblocking(conn, 1) != 0)
        fail();
    for (char *sql = text, *end; (end = strstr(sql, ";\n")) != NULL; sql = end + 2) {
        *end = '\0';
        send(sql + strspn(sql, "\n"));
    }
    PQpipelineSync(conn);
    due++;
    move(true);
    PQfinish(conn);
    return 0;
}
