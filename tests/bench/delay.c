/* SPDX-License-Identifier: MIT
 *
 * A longer wire for the benches: relays a unix socket to another and delivers
 * every byte so many microseconds after it came, in both directions, however
 * many are on their way (a pipe, not a valve).
 *
 *   delay LISTEN TARGET MICROSECONDS
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LINK_MAX_COUNT 16
#define CHUNK_BYTES 16384
#define LIFE_S 900

struct chunk {
    struct chunk *next;
    long long due_ns;
    size_t length;
    char bytes[CHUNK_BYTES];
};

/* One direction of one connection. */
struct way {
    int from, to; /* -1: ended */
    struct chunk *first, *last;
    bool ended; /* `from` said its last word */
};

static struct way ways[2 * LINK_MAX_COUNT];
static int way_count;
static long long delay_ns;

static long long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int unix_socket(struct sockaddr_un *address, const char *path)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof address->sun_path, "%s", path);
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void accept_link(int listener, const char *target)
{
    struct sockaddr_un address;
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    int server = unix_socket(&address, target);
    if (way_count == 2 * LINK_MAX_COUNT) { /* both ways of the oldest, ended, are free */
        memmove(ways, ways + 2, sizeof ways - 2 * sizeof *ways);
        way_count -= 2;
    }
    if (connect(server, (struct sockaddr *)&address, sizeof address) != 0)
        fail(target);
    ways[way_count++] = (struct way){.from = client, .to = server};
    ways[way_count++] = (struct way){.from = server, .to = client};
}

static void take(struct way *way)
{
    struct chunk *chunk = malloc(sizeof *chunk);
    ssize_t length = chunk == NULL ? -1 : recv(way->from, chunk->bytes, sizeof chunk->bytes, 0);
    if (length <= 0) {
        free(chunk);
        way->ended = true;
        return;
    }
    chunk->length = (size_t)length;
    chunk->due_ns = now_ns() + delay_ns;
    chunk->next = NULL;
    if (way->last != NULL)
        way->last->next = chunk;
    else
        way->first = chunk;
    way->last = chunk;
}

static void deliver(struct way *way, long long now)
{
    while (way->first != NULL && way->first->due_ns <= now) {
        struct chunk *chunk = way->first;
        for (size_t sent = 0; sent < chunk->length;) {
            ssize_t part = send(way->to, chunk->bytes + sent, chunk->length - sent, MSG_NOSIGNAL);
            if (part <= 0)
                break;
            sent += (size_t)part;
        }
        way->first = chunk->next;
        if (way->first == NULL)
            way->last = NULL;
        free(chunk);
    }
    if (way->ended && way->first == NULL && way->from >= 0) {
        shutdown(way->to, SHUT_WR);
        shutdown(way->from, SHUT_RD);
        way->from = -1;
    }
}

/* Closes a connection when both ways have ended. */
static void close_ended(void)
{
    for (int i = 0; i < way_count; i += 2)
        if (ways[i].from < 0 && ways[i + 1].from < 0 && ways[i].to >= 0) {
            close(ways[i].to);
            close(ways[i + 1].to);
            ways[i].to = ways[i + 1].to = -1;
        }
}

static void serve(int listener, const char *target)
{
    struct pollfd fds[1 + 2 * LINK_MAX_COUNT];
    long long soonest = -1;
    int count = way_count;
    fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (int i = 0; i < count; i++) {
        fds[1 + i] = (struct pollfd){.fd = ways[i].ended ? -1 : ways[i].from, .events = POLLIN};
        if (ways[i].first != NULL && (soonest < 0 || ways[i].first->due_ns < soonest))
            soonest = ways[i].first->due_ns;
    }
    long long left = soonest < 0 ? 1000000000LL : soonest - now_ns();
    struct timespec limit = {.tv_sec = left > 0 ? left / 1000000000LL : 0,
                             .tv_nsec = left > 0 ? left % 1000000000LL : 0};
    ppoll(fds, (nfds_t)(1 + count), &limit, NULL);
    for (int i = 0; i < count; i++)
        if (fds[1 + i].revents != 0)
            take(&ways[i]);
    for (int i = 0; i < count; i++)
        deliver(&ways[i], now_ns());
    close_ended();
    if (fds[0].revents != 0)
        accept_link(listener, target);
}

int main(int argc, char **argv)
{
    struct sockaddr_un address;
    if (argc != 4)
        return 2;
    delay_ns = strtoll(argv[3], NULL, 10) * 1000LL;
    int listener = unix_socket(&address, argv[1]);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, LINK_MAX_COUNT) != 0)
        fail(argv[1]);
    alarm(LIFE_S);
    puts("ready");
    fflush(stdout);
    for (;;)
        serve(listener, argv[2]);
}
