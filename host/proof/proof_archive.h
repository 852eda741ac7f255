/* SPDX-License-Identifier: MIT
 *
 * Backups of the whole server, made by the tool that archives it. The store of backups gets
 * a record of each: label, LSN, timeline; the files are the tool's. Private to host/proof.
 */
#ifndef NEAP_PROOF_PROOF_ARCHIVE_H
#define NEAP_PROOF_PROOF_ARCHIVE_H

#include "host/proof/proof.h"

/* neap_proof_create_in by the environment's `archive`. */
bool neap_proof_archive(struct neap_session *session, const struct neap_proof_create_opts *opts,
                        struct backup *out, struct neap_error *err);
/* How the tool of a record is run, by the environment that names it; NULL, with
 * archive.failed, where it names another or none. */
const struct backup_pitr *neap_proof_archive_rule(const struct neap_environment *env,
                                                  const struct backup *backup,
                                                  struct neap_error *err);
/* Of a record: the tool still has the backup; and unless `quick`, has read its files again. */
bool neap_proof_archive_check(struct neap_loop *loop, const struct neap_environment *env,
                              const struct backup *backup, bool quick, struct neap_error *err);

#endif
