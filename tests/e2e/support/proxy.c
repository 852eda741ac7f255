/* SPDX-License-Identifier: MIT
 *
 * A bad network for the tests: relays a unix socket to another and breaks once,
 * at a chosen byte of what one side says. Compiled by network.lua.
 *
 *   proxy LISTEN TARGET HOW CONNECTION [commit+|sent+]BYTES
 *
 * HOW:  none   only counts
 *       cut    closes CONNECTION (1 is the first) when so many bytes came through
 *       dead   closes everything and ends
 *       hole   nothing moves any more, nothing is closed, nobody is let in
 *       stall  the same for CONNECTION alone
 *       delay  the same, and after DELAY_MS it goes on
 *       late   holds what CONNECTION's server says, until SIGUSR1
 * BYTES are the server's, with "sent+" the client's. "commit+" counts from the
 * client's first COMMIT; "commit+-1" breaks before the server gets it. Says "ready",
 * "fired", and at each connection's end "N BYTES BYTES": the server's, the client's.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LINK_MAX_COUNT 64
#define LIFE_S 120 /* nobody waits for a proxy longer than that */
#define DELAY_MS 300

struct link {
    int client, server; /* -1: ended */
    long bytes, sent;   /* of the server and of the client, relayed */
    long limit;         /* of `bytes`: the rule fires here; -1: not this one, or not yet */
    long sent_limit;    /* of `sent` */
    bool stalled;
    long until_ms; /* … until then; 0: for ever */
};

static struct link links[LINK_MAX_COUNT];
static int link_count;
static const char *how;
static int chosen;
static long break_at;
static bool from_commit, from_sent, fired;
static volatile sig_atomic_t released;

static void on_release(int number)
{
    (void)number;
    released = 1;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return address;
}

static int listen_on(const char *path)
{
    struct sockaddr_un address = address_of(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 16) != 0)
        fail(path);
    return fd;
}

static void close_link(struct link *link)
{
    if (link->client < 0)
        return;
    close(link->client);
    close(link->server);
    link->client = link->server = -1;
    printf("%d %ld %ld\n", (int)(link - links) + 1, link->bytes, link->sent);
}

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long)(now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

static void freeze(void)
{
    for (;;)
        pause();
}

static void fire(struct link *link)
{
    fired = true;
    link->limit = link->sent_limit = -1;
    puts("fired");
    if (strcmp(how, "cut") == 0)
        close_link(link);
    else if (strcmp(how, "dead") == 0)
        exit(0);
    else if (strcmp(how, "hole") == 0)
        freeze();
    else if (strcmp(how, "stall") == 0 || strcmp(how, "delay") == 0) {
        link->stalled = true;
        link->until_ms = how[0] == 'd' ? now_ms() + DELAY_MS : 0;
    }
}

/* How long until a delayed link goes on; -1: none waits. */
static int wait_ms(void)
{
    long wait = -1;
    for (int i = 0; i < link_count; i++) {
        if (!links[i].stalled || links[i].until_ms == 0)
            continue;
        long left = links[i].until_ms - now_ms();
        links[i].stalled = left > 0;
        if (left > 0)
            wait = left;
    }
    return (int)wait;
}

static bool is_held(const struct link *link)
{
    return link->stalled ||
           (fired && !released && strcmp(how, "late") == 0 && link - links + 1 == chosen);
}

static void accept_link(int listener, const char *target)
{
    struct sockaddr_un address = address_of(target);
    if (link_count == LINK_MAX_COUNT)
        fail("too many connections");
    struct link *link = &links[link_count++];
    link->client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    link->server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool counts = link_count == chosen && !from_commit;
    link->limit = counts && !from_sent ? break_at : -1;
    link->sent_limit = counts && from_sent ? break_at : -1;
    if (connect(link->server, (struct sockaddr *)&address, sizeof address) != 0)
        fail(target);
    if (link->limit == 0 || link->sent_limit == 0)
        fire(link);
}

/* Room in a buffer of `size` until `limit` is reached. */
static size_t room_until(long limit, long bytes, size_t size)
{
    return limit >= 0 && limit - bytes < (long)size ? (size_t)(limit - bytes) : size;
}

static bool send_all(int fd, const char *bytes, ssize_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, (size_t)length, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        length -= sent;
    }
    return true;
}

static void relay_client(struct link *link)
{
    char bytes[8192];
    ssize_t length =
        recv(link->client, bytes, room_until(link->sent_limit, link->sent, sizeof bytes), 0);
    bool commits = length > 0 && memmem(bytes, (size_t)length, "commit", 7) != NULL;
    if (commits && from_commit && link->limit < 0 && !fired && link - links + 1 == chosen) {
        link->limit = link->bytes + break_at;
        if (break_at < 0) {
            fire(link);
            return;
        }
    }
    if (length <= 0 || !send_all(link->server, bytes, length)) {
        close_link(link);
        return;
    }
    link->sent += length;
    if ((link->limit >= 0 && link->bytes >= link->limit) ||
        (link->sent_limit >= 0 && link->sent >= link->sent_limit))
        fire(link);
}

static void relay_server(struct link *link)
{
    char bytes[8192];
    size_t room = room_until(link->limit, link->bytes, sizeof bytes);
    ssize_t length = recv(link->server, bytes, room, 0);
    if (length <= 0 || !send_all(link->client, bytes, length)) {
        close_link(link);
        return;
    }
    link->bytes += length;
    if (link->limit >= 0 && link->bytes >= link->limit)
        fire(link);
}

static void serve(int listener, const char *target)
{
    struct pollfd fds[1 + 2 * LINK_MAX_COUNT];
    fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    int count = link_count, wait = wait_ms();
    for (int i = 0; i < count; i++) {
        int client = links[i].stalled ? -1 : links[i].client;
        fds[1 + 2 * i] = (struct pollfd){.fd = client, .events = POLLIN};
        fds[2 + 2 * i] =
            (struct pollfd){.fd = is_held(&links[i]) ? -1 : links[i].server, .events = POLLIN};
    }
    if (poll(fds, (nfds_t)(1 + 2 * count), wait) <= 0)
        return; /* SIGUSR1, or a delay is over */
    for (int i = 0; i < count; i++) {
        if (links[i].client >= 0 && fds[2 + 2 * i].revents != 0)
            relay_server(&links[i]);
        if (links[i].client >= 0 && fds[1 + 2 * i].revents != 0)
            relay_client(&links[i]);
    }
    if (fds[0].revents != 0)
        accept_link(listener, target);
}

int main(int argc, char **argv)
{
    static const char after[] = "commit+", of_client[] = "sent+";
    if (argc != 6)
        return 2;
    how = argv[3];
    chosen = (int)strtol(argv[4], NULL, 10);
    from_commit = strncmp(argv[5], after, sizeof after - 1) == 0;
    from_sent = strncmp(argv[5], of_client, sizeof of_client - 1) == 0;
    size_t skip = from_commit ? sizeof after - 1 : from_sent ? sizeof of_client - 1 : 0;
    break_at = strtol(argv[5] + skip, NULL, 10);
    if (strcmp(how, "none") == 0)
        chosen = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGUSR1, on_release);
    alarm(LIFE_S);
    int listener = listen_on(argv[1]);
    puts("ready");
    for (;;)
        serve(listener, argv[2]);
}
