/* SPDX-License-Identifier: MIT
 *
 * The target's server as a place for copies: a session that is not in the target, so
 * that databases can be made, renamed and dropped from it, and more sessions like it.
 */
#ifndef NEAP_BINDINGS_BACKUP_BACKUP_SERVER_H
#define NEAP_BINDINGS_BACKUP_BACKUP_SERVER_H

#include <jansson.h>

#include "bindings/pg/pg_client.h"

struct backup_server {
    struct neap_loop *loop;
    char *conninfo;           /* the way there, secrets among it; NULL: PG* */
    char *target;             /* the database that is never dropped, or NULL */
    struct pg_client *client; /* in the database postgres or template1 */
    char *system_identifier, *version, *user;
    int version_num;
    bool superuser;
};
/* db.connect; db.pooler, since what is done here needs sessions of its own; on a standby
 * target.standby. Waits. */
bool backup_server_open(struct neap_loop *loop, const char *conninfo, const char *target,
                        struct backup_server *out, struct neap_error *err);
/* One more of the host's own, in any database there, with limits that no setting of role
 * or database has shortened. `name` is for logs. */
bool backup_server_session(const struct backup_server *server, const char *database,
                           const char *name, struct pg_client **out, struct neap_error *err);
void backup_server_close(struct backup_server *server);

/* The way to a copy there, secrets among it; the caller frees. Its settings are the
 * database's own. */
char *backup_server_conninfo(const struct backup_server *server, const char *database);
/* A session by it. */
bool backup_server_copy(const struct backup_server *server, const char *database,
                        struct pg_client **out, struct neap_error *err);

/* 0 when there is no database of that name. */
bool backup_server_find(const struct backup_server *server, const char *database, int64_t *oid,
                        struct neap_error *err);
/* What the backup of this manifest needs and the server must have: its version, roles,
 * tablespaces and extensions. backup.version, backup.role, backup.extension, else
 * backup.failed, each naming what is missing and what to type. */
bool backup_server_check(const struct backup_server *server, const json_t *manifest,
                         struct neap_error *err);

#endif
