/* SPDX-License-Identifier: MIT
 *
 * Why a connection failed, and what to look at. libpq 15 has no result for it, only
 * text: the words, and in a verbose text the server's code, which stands where the
 * words are in another language. A connection string that libpq cannot parse is never
 * quoted back: its pieces may be pieces of the password.
 */
#include "bindings/pg/pg_internal.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/memory.h"

#define FULL " 53300: " /* too_many_connections, as a verbose text has it */
#define CODE_LENGTH 5

static const struct {
    const char *words;
    const char *hint;
} causes[] = {
    {"Connection refused", "Nothing listens there: is the server running, and is the port right?"},
    {"No such file or directory", "No server has a socket there: is it running, and is the host "
                                  "(socket directory) right?"},
    {"Permission denied", "This OS user may not enter the socket's directory: connect as one who "
                          "may, or give a host."},
    {"could not translate host name", "The host name is not known: is it spelled right?"},
    {"No route to host", "The network does not reach the host: is a VPN or tunnel missing?"},
    {"Network is unreachable", "The network does not reach the host: is a VPN or tunnel missing?"},
    {"does not exist", "Create it, or look at the name: `psql -l` lists databases, `\\du` roles."},
    {"no pg_hba.conf entry", "The server's pg_hba.conf does not let this user in from here."},
    {"Peer authentication failed", "Over the socket the OS user must be the database user; "
                                   "give a host to use a password."},
    {"does not support SSL", "The server has no TLS and sslmode asks for it."},
    {"certificate", "The server's certificate was not accepted: see sslmode and sslrootcert."},
    {"SSL error", "TLS could not be agreed on: see sslmode."},
    {"unsupported startup parameter", "A pooler refuses a startup parameter: remove it from the "
                                      "connection string, or list it in its "
                                      "ignore_startup_parameters."},
    {"too many clients", "The server has no free connection; try again when some have ended."},
    {"remaining connection slots", "The server has no free connection; try again later."},
    {"too many connections", "All connections that this role or database may have are taken: "
                             "pg_stat_activity shows by whom."},
    {"permission denied for database", "Give the role the right: GRANT CONNECT ON DATABASE."},
    {"not permitted to log in", "Give the role the right (ALTER ROLE … LOGIN), or use another."},
    {"not currently accepting", "Somebody set ALLOW_CONNECTIONS to false for this database."},
    {"starting up", "The server is starting; try again in a moment."},
    {"shutting down", "The server is shutting down."},
    {FULL, "All connections of the server, or of this role or database, are taken: "
           "pg_stat_activity shows by whom."},
    {" 3D000: ", "Create the database, or look at its name: `psql -l` lists them."},
    {" 57P03: ", "The server starts, stops or recovers; try again in a moment."},
    {" 42501: ", "Give the role the right: GRANT CONNECT ON DATABASE."},
};

static char *option_of(PGconn *conn, const char *keyword)
{
    PQconninfoOption *options = PQconninfo(conn);
    char *value = NULL;

    for (PQconninfoOption *at = options; at && at->keyword; at++)
        if (strcmp(at->keyword, keyword) == 0)
            value = neap_strdup(at->val);
    PQconninfoFree(options);
    return value;
}

static char *password_place(PGconn *conn)
{
    char *given = option_of(conn, "password");
    char *file = option_of(conn, "passfile");
    const char *env = getenv("PGPASSWORD");
    char *place = NULL;

    if (given && *given)
        place =
            neap_strdup(env && strcmp(env, given) == 0 ? "PGPASSWORD" : "the connection string");
    else
        place = neap_format("the password file %s", file && *file ? file : "~/.pgpass");
    free(given);
    free(file);
    return place;
}

static bool hint_password(const struct pg_client *client, struct neap_error *err)
{
    PGconn *conn = client->conn;

    if (PQconnectionNeedsPassword(conn)) {
        char *file = option_of(conn, "passfile");

        neap_error_hint(err,
                        "The server asks for a password for user \"%s\" and none was found: not in "
                        "the connection string, PGPASSWORD, or %s.",
                        PQuser(conn), file && *file ? file : "~/.pgpass");
        free(file);
        return true;
    }
    if (!PQconnectionUsedPassword(conn))
        return false;
    char *place = password_place(conn);

    neap_error_hint(err, "The password for user \"%s\" was taken from %s.", PQuser(conn), place);
    free(place);
    return true;
}

static void hint_cause(const struct pg_client *client, const char *words, struct neap_error *err)
{
    for (size_t i = 0; i < sizeof causes / sizeof causes[0]; i++) {
        if (strstr(words, causes[i].words)) {
            neap_error_hint(err, "%s", causes[i].hint);
            return;
        }
    }
    hint_password(client, err);
}

static void add_next(struct neap_error *err)
{
    if (err && err->hint)
        neap_error_hint(err, "%s %s", err->hint, neap_error_row(err->code)->next);
}

static const char *last_attempt(const char *words)
{
    const char *next;

    while ((next = strstr(words, "failed: ")))
        words = next + strlen("failed: ");
    return words;
}

static bool is_code(const char *at)
{
    return strspn(at, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == CODE_LENGTH &&
           strncmp(at + CODE_LENGTH, ": ", 2) == 0;
}

/* Without what only a verbose text has: the code before the words, and LOCATION. */
static char *plain_words(const char *words)
{
    struct neap_buffer text = {0};

    for (const char *at = words; *at;) {
        size_t length = strcspn(at, "\n") + 1;
        const char *colon = strstr(at, ":  ");

        if (length > strlen(at))
            length = strlen(at);
        if (strncmp(at, "LOCATION:  ", 11) != 0) {
            size_t head =
                colon && colon < at + length && is_code(colon + 3) ? (size_t)(colon - at) + 3 : 0;
            size_t rest = head ? head + CODE_LENGTH + 2 : 0;

            neap_buffer_add(&text, at, head);
            neap_buffer_add(&text, at + rest, length - rest);
        }
        at += length;
    }
    return neap_buffer_take(&text);
}

/* The last attempt's first line, without what the address says already. */
static char *short_words(const char *words)
{
    const char *at = last_attempt(words);

    if (strncmp(at, "FATAL:  ", 8) == 0)
        at += 8;
    return neap_strndup(at, strcspn(at, "\n"));
}

bool pg_connect_is_full(const struct pg_client *client)
{
    const char *words = last_attempt(PQerrorMessage(client->conn));
    const char *found = strstr(words, FULL);

    return found && found < words + strcspn(words, "\n");
}

/* Only words that come from a server or the system are safe to repeat. */
static bool is_own_complaint(const char *words)
{
    return strncmp(words, "connection to server", 20) != 0 &&
           strncmp(words, "could not translate", 19) != 0 && *words;
}

/* Keeps what is between quotes only where it is the name of an option. */
static char *without_quoted(const char *words)
{
    struct neap_buffer text = {0};
    PQconninfoOption *options = PQconndefaults();

    for (const char *at = words; *at && *at != '\n'; at++) {
        const char *end = *at == '"' ? strrchr(at + 1, '"') : NULL;
        const char *first = end ? strchr(at + 1, '"') : NULL;
        bool known = false;

        for (PQconninfoOption *o = options; first && o && o->keyword; o++)
            known = known || (strlen(o->keyword) == (size_t)(first - at - 1) &&
                              strncmp(o->keyword, at + 1, strlen(o->keyword)) == 0);
        if (first && !known) {
            neap_buffer_add_text(&text, "\"***\"");
            at = first;
        } else {
            neap_buffer_add_char(&text, *at);
        }
    }
    PQconninfoFree(options);
    return neap_buffer_take(&text);
}

static void set_unusable(const char *words, struct neap_error *err)
{
    char *safe = without_quoted(words);

    neap_error_set(err, NEAP_ERR_DB_CONNECT, "the connection settings cannot be used: %s", safe);
    neap_error_hint(err, "Look at the connection string, the PG* variables and the service file; "
                         "in a URI, percent-encode the special characters of a password.");
    free(safe);
}

void pg_connect_silent(const struct pg_client *client, int64_t waited_ms, struct neap_error *err)
{
    char waited[NEAP_DURATION_SIZE];

    neap_duration_text(waited_ms, waited);
    neap_error_set(err, NEAP_ERR_DB_CONNECT, "cannot connect to %s: no answer in %s",
                   client->address, waited);
    neap_error_hint(err, "A firewall may drop the packets, or something else listens there; is the "
                         "host right? A slow server may need a longer `connect_timeout`.");
    add_next(err);
}

void pg_connect_failed(const struct pg_client *client, struct neap_error *err)
{
    const char *words = PQerrorMessage(client->conn);

    if (is_own_complaint(words)) {
        set_unusable(words, err);
        return;
    }
    char *plain = plain_words(words);
    char *first = short_words(plain);

    neap_error_set(err, NEAP_ERR_DB_CONNECT, "cannot connect to %s: %s", client->address,
                   *first ? first : "no reason given");
    if (strchr(plain, '\n') && strchr(plain, '\n')[1])
        neap_error_detail(err, "%s", plain);
    hint_cause(client, words, err);
    add_next(err);
    free(first);
    free(plain);
}
