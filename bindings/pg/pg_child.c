/* SPDX-License-Identifier: MIT
 *
 * The way to a server for a program of PostgreSQL's, as environment variables: what
 * stands in argv is read by everybody on the machine.
 */
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_client.h"
#include "bindings/pg/pg_conninfo.h"
#include "host/base/memory.h"

/* Not as they were given: a list of hosts, a service or a passfile may lead to another
 * server than the one that we talk to. A dump is in the server's encoding. */
static bool is_passed(const char *keyword)
{
    static const char *const others[] = {"host",
                                         "hostaddr",
                                         "port",
                                         "user",
                                         "dbname",
                                         "password",
                                         "passfile",
                                         "service",
                                         "client_encoding",
                                         "target_session_attrs"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(keyword, others[i]) == 0)
            return false;
    return true;
}

struct list {
    char **words;
    size_t count;
};

static void add(struct list *list, const char *name, const char *value)
{
    if (name == NULL || value == NULL || value[0] == '\0')
        return;
    list->words = neap_realloc(list->words, (list->count + 2) * sizeof *list->words);
    list->words[list->count++] = neap_format("%s=%s", name, value);
    list->words[list->count] = NULL;
}

char **pg_child_env(struct pg_client *client, const char *database)
{
    static const char *const own[] = {"PATH", "HOME", "TMPDIR", "TZ"};
    PGconn *conn = pg_raw(client);
    struct list list = {0};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        add(&list, own[i], getenv(own[i]));
    add(&list, "LC_ALL", "C"); /* we read what it says */
    PQconninfoOption *options = PQconninfo(conn);
    for (PQconninfoOption *option = options; option && option->keyword; option++)
        if (is_passed(option->keyword))
            add(&list, option->envvar, option->val);
    PQconninfoFree(options);
    add(&list, "PGHOST", PQhost(conn));
    add(&list, "PGHOSTADDR", PQhostaddr(conn));
    add(&list, "PGPORT", PQport(conn));
    add(&list, "PGUSER", PQuser(conn));
    add(&list, "PGDATABASE", database == NULL ? PQdb(conn) : database);
    add(&list, "PGPASSWORD", PQpass(conn));
    return list.words;
}

void pg_child_env_free(char **env)
{
    for (char **word = env; word != NULL && *word != NULL; word++) {
        explicit_bzero(*word, strlen(*word));
        free(*word);
    }
    free(env);
}
