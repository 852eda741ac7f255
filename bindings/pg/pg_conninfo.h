/* SPDX-License-Identifier: MIT
 *
 * What a libpq URL or keyword string says, by libpq's own parser, without
 * connecting. Knows which parts are secret.
 */
#ifndef NEAP_BINDINGS_PG_PG_CONNINFO_H
#define NEAP_BINDINGS_PG_PG_CONNINFO_H

#include <stdbool.h>

#include "host/base/error.h"

/* config.invalid when libpq cannot parse it; the text is never in the message. */
bool pg_conninfo_check(const char *conninfo, struct neap_error *err);
/* "host=db user=app password=*** dbname=shop": what was given, secrets starred.
 * The caller frees; "(not valid)" when it cannot be parsed. */
char *pg_conninfo_redacted(const char *conninfo);
/* The decoded password, or NULL when none stands in it; the caller frees. */
char *pg_conninfo_password(const char *conninfo);
/* The database that it leads to, by its own words, PGDATABASE or the user's name; NULL
 * when none of them says, or a service file does. The caller frees. */
char *pg_conninfo_database(const char *conninfo);
/* The way to another database of the same server, with `options` (" -c name=value", or
 * NULL) behind those of its own: keywords, secrets among them. The caller wipes and frees
 * it (pg_conninfo_free). `conninfo` NULL: PG* alone. NULL when it cannot be parsed. */
char *pg_conninfo_on(const char *conninfo, const char *database, const char *options);
void pg_conninfo_free(char *conninfo);
/* Registers every secret part (password, sslpassword) with the redaction. */
void pg_conninfo_redact(const char *conninfo);
struct pg_client;
/* The environment for a child that shall talk to the very server that `client` talks
 * to, as its role (pg_dump): PG* with the password, and what programs cannot do
 * without. NULL-terminated. `database` NULL: the client's. */
char **pg_child_env(struct pg_client *client, const char *database);
void pg_child_env_free(char **env); /* wipes */

/* Of the libpq that is loaded now: 150020. */
int pg_library_version(void);

#endif
