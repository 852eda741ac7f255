/* SPDX-License-Identifier: MIT
 *
 * Whether a restored copy is what was backed up: what `backup verify` proves, and what
 * `restore` wants to know before anybody uses the copy.
 */
#ifndef NEAP_PROOF_PROOF_COMPARE_H
#define NEAP_PROOF_PROOF_COMPARE_H

#include "bindings/backup/backup_store.h"
#include "bindings/pg/pg_client.h"

/* Compares schema, tables, sequences and large objects of the database that `copy` is a
 * session in with the manifest. backup.differs, with a line for each difference; else the
 * error that kept it from looking. `command` is whose progress is told. Waits. */
bool neap_proof_compare(const struct backup *backup, struct pg_client *copy, const char *command,
                        struct neap_error *err);

#endif
