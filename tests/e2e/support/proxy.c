/* SPDX-License-Identifier: MIT
 *
 * A bad network for the tests: relays a unix socket to another and breaks once,
 * at a chosen byte of what the server says. Compiled by network.lua.
 *
 *   proxy LISTEN TARGET HOW CONNECTION [commit+]BYTES
 *
 * HOW:  none  only counts
 *       cut   closes CONNECTION (1 is the first) when so many bytes came through
 *       dead  closes everything and ends
 *       hole  nothing moves any more, nothing is closed, nobody is let in
 *       late  holds what CONNECTION's server says, until SIGUSR1
 * "commit+" counts from the client's COMMIT; "commit+-1" breaks before the
 * server gets it. Says "ready", "fired", and "N BYTES" at each connection's end.
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
#include <unistd.h>

#define LINK_MAX_COUNT 64
#define LIFE_S 120 /* nobody waits for a proxy longer than that */

struct link {
    int client, server; /* -1: ended */
    long bytes;         /* of the server, relayed */
    long limit;         /* the rule fires here; -1: not this one, or not yet */
};

static struct link links[LINK_MAX_COUNT];
static int link_count;
static const char *how;
static int chosen;
static long break_at;
static bool from_commit, fired;
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
    printf("%d %ld\n", (int)(link - links) + 1, link->bytes);
}

static void freeze(void)
{
    for (;;)
        pause();
}

static void fire(struct link *link)
{
    fired = true;
    link->limit = -1;
    puts("fired");
    if (strcmp(how, "cut") == 0)
        close_link(link);
    else if (strcmp(how, "dead") == 0)
        exit(0);
    else if (strcmp(how, "hole") == 0)
        freeze();
}

static bool is_held(const struct link *link)
{
    return fired && !released && strcmp(how, "late") == 0 && link - links + 1 == chosen;
}

static void accept_link(int listener, const char *target)
{
    struct sockaddr_un address = address_of(target);
    if (link_count == LINK_MAX_COUNT)
        fail("too many connections");
    struct link *link = &links[link_count++];
    link->client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    link->server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    link->limit = link_count == chosen && !from_commit ? break_at : -1;
    if (connect(link->server, (struct sockaddr *)&address, sizeof address) != 0)
        fail(target);
    if (link->limit == 0)
        fire(link);
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
    ssize_t length = recv(link->client, bytes, sizeof bytes, 0);
    bool commits = length > 0 && memmem(bytes, (size_t)length, "commit", 7) != NULL;
    if (commits && from_commit && !fired && link - links + 1 == chosen) {
        link->limit = link->bytes + break_at;
        if (break_at < 0) {
            fire(link);
            return;
        }
    }
    if (length <= 0 || !send_all(link->server, bytes, length))
        close_link(link);
    else if (link->limit >= 0 && link->bytes >= link->limit)
        fire(link);
}

static void relay_server(struct link *link)
{
    char bytes[8192];
    size_t room = sizeof bytes;
    if (link->limit >= 0 && link->limit - link->bytes < (long)room)
        room = (size_t)(link->limit - link->bytes);
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
    int count = link_count;
    for (int i = 0; i < count; i++) {
        fds[1 + 2 * i] = (struct pollfd){.fd = links[i].client, .events = POLLIN};
        fds[2 + 2 * i] =
            (struct pollfd){.fd = is_held(&links[i]) ? -1 : links[i].server, .events = POLLIN};
    }
    if (poll(fds, (nfds_t)(1 + 2 * count), -1) < 0)
        return; /* SIGUSR1 */
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
    static const char after[] = "commit+";
    if (argc != 6)
        return 2;
    how = argv[3];
    chosen = (int)strtol(argv[4], NULL, 10);
    from_commit = strncmp(argv[5], after, sizeof after - 1) == 0;
    break_at = strtol(argv[5] + (from_commit ? sizeof after - 1 : 0), NULL, 10);
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
