/* SPDX-License-Identifier: MIT
 *
 * What every manifest begins with, whoever makes the backup, and what the events of its
 * run say of it. Private to host/proof.
 */
#ifndef NEAP_PROOF_PROOF_MANIFEST_H
#define NEAP_PROOF_PROOF_MANIFEST_H

#include "host/proof/proof.h"

/* Who, why, when, of what; its id is the run's. `not_included` is NULL-terminated. New
 * reference. */
json_t *neap_proof_manifest(const struct neap_session *session,
                            const struct neap_proof_create_opts *opts, const char *kind,
                            const char *const *not_included);
/* The last words before its files are hashed. */
void neap_proof_manifest_end(json_t *manifest, int64_t begun_ms, int64_t bytes);
/* backup.begin, durable on return; then backup.end with its hash, or with the error. */
bool neap_proof_record_begin(struct neap_session *session, const json_t *manifest, const char *dir,
                             struct neap_error *err);
void neap_proof_record_end(struct neap_session *session, const json_t *manifest,
                           const char *manifest_sha256, const struct neap_error *err);
/* The backup that the part became. */
void neap_proof_give(const struct backup_part *part, json_t *manifest,
                     const char manifest_sha256[NEAP_HASH_HEX_SIZE], struct backup *out);

#endif
