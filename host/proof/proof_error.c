/* SPDX-License-Identifier: MIT
 *
 * What proofs say: errors as exit 11, sizes as people read them.
 */
#include <string.h>

#include "host/proof/proof.h"

static bool has(const struct neap_error *err, const char *words)
{
    return (err->message != NULL && strstr(err->message, words) != NULL) ||
           (err->detail != NULL && strstr(err->detail, words) != NULL);
}

/* By which the exit status is not the backup's to say. */
static bool is_kept(const struct neap_error *err)
{
    switch (err->code) {
    case NEAP_ERR_DB_QUERY:
    case NEAP_ERR_DB_ABORTED:
    case NEAP_ERR_DB_LOST:
    case NEAP_ERR_FILE_IO:
    case NEAP_ERR_FILE_REFUSED:
    case NEAP_ERR_LOCK_TIMEOUT:
    case NEAP_ERR_LOCK_DEADLOCK:
    case NEAP_ERR_DB_SERIALIZATION:
        return false;
    default:
        return true;
    }
}

void neap_proof_error(struct neap_error *err)
{
    if (is_kept(err))
        return;
    if (strcmp(err->sqlstate, "42501") == 0)
        err->code = NEAP_ERR_BACKUP_RIGHTS;
    else if (strcmp(err->sqlstate, "53100") == 0 || has(err, "No space left on device"))
        err->code = NEAP_ERR_BACKUP_DISK;
    else
        err->code = NEAP_ERR_BACKUP_FAILED;
}

void neap_proof_restore_error(struct neap_error *err)
{
    neap_proof_error(err);
    if (err->code == NEAP_ERR_BACKUP_RIGHTS)
        neap_error_hint(err, "A restore needs CREATEDB and the rights of every owner: name a role "
                             "that has them as `restore` in the environment; see `neap help "
                             "restore`.");
}

void neap_proof_size(int64_t bytes, char text[NEAP_PROOF_SIZE])
{
    neap_size_text(bytes, text);
}
