/* SPDX-License-Identifier: MIT
 *
 * What belongs to a database and stands outside of it, where no dump of its content has
 * it: owner, rights, settings, connection limit, comment.
 */
#ifndef NEAP_BINDINGS_BACKUP_BACKUP_PROPERTIES_H
#define NEAP_BINDINGS_BACKUP_BACKUP_PROPERTIES_H

#include "bindings/backup/backup_server.h"

/* Gives database `to` all of them as `from` has them now, in the transaction that
 * `client` is in, or each at once. Waits. */
bool backup_properties_copy(struct pg_client *client, const char *from, const char *to,
                            struct neap_error *err);

/* Settings and rights alone: for a copy that scripts and their roles shall find as they
 * find its original. None where there is no `from`. */
bool backup_properties_lend(struct pg_client *client, const char *from, const char *to,
                            struct neap_error *err);

/* What holds on to the database and would not follow a rename to its successor:
 * replication slots, subscriptions and prepared transactions of it, security labels. One
 * line each; NULL when there is none; the caller frees. False: it could not be asked. */
bool backup_properties_bonds(struct pg_client *client, const char *database, char **out,
                             struct neap_error *err);

#endif
