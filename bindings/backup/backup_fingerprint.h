/* SPDX-License-Identifier: MIT
 *
 * The schema of a database as sorted lines of text and one hash over them: equal
 * before and after dump and restore, different after any DDL. Schema neap is no
 * part of it, and an extension stands for its objects (stdlib/sql/fingerprint.sql).
 */
#ifndef NEAP_BINDINGS_BACKUP_BACKUP_FINGERPRINT_H
#define NEAP_BINDINGS_BACKUP_BACKUP_FINGERPRINT_H

#include <stdbool.h>
#include <stddef.h>

#include "bindings/pg/pg_client.h"
#include "host/base/error.h"
#include "host/base/hash.h"

/* One line an object or a part of one, the kind first: "column public.users.email: text,
 * not null". Sorted by bytes, each once, without line breaks. */
struct backup_schema {
    char **lines;
    size_t count;
    char hash[NEAP_HASH_HEX_SIZE];
};

/* Reads lines and hash, outside a transaction in one of its own (repeatable read, read
 * only), inside one as it is now, changing none of its settings. `out` is filled on success
 * alone. The statement stays prepared in the session, so that the second time costs a
 * third. Waits. */
bool backup_schema_read(struct pg_client *client, struct backup_schema *out,
                        struct neap_error *err);
/* The hash of backup_schema_read alone. */
bool backup_schema_hash(struct pg_client *client, char hash[NEAP_HASH_HEX_SIZE],
                        struct neap_error *err);

/* Takes out the lines that begin with `kind` and a space or a colon, and hashes anew: for
 * what the way of the copy leaves out. All of "database" (owner, settings, grants, comment,
 * but not the encoding) needs pg_restore --create; "subscription" and "user
 * mapping" are in no copy, and "populated" (of materialized views) in none without rows. */
void backup_schema_forget(struct backup_schema *schema, const char *kind);

/* "- line\n" for each line that is gone and "+ line\n" for each that is new, sorted by line.
 * NULL when equal; the caller frees. */
char *backup_schema_diff(const struct backup_schema *before, const struct backup_schema *after);
void backup_schema_clear(struct backup_schema *schema);

#endif
