/* SPDX-License-Identifier: MIT
 *
 * Files of a backup: written for good (fsync), hashed with SHA-256 (what sha256sum
 * prints, so that a person can check without neap), private, removed as a tree. It
 * knows neither manifests nor servers.
 */
#ifndef NEAP_BINDINGS_BACKUP_BACKUP_FILES_H
#define NEAP_BINDINGS_BACKUP_BACKUP_FILES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/base/hash.h"
#include "host/base/run.h"

/* The errno form with the backup's codes: backup.disk (no room), backup.directory (no
 * right), else backup.failed. */
void backup_error_errno(struct neap_error *err, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A private directory: ours, 0700 or tighter, no link; made when it is not there and
 * `make`. *found false: it is not there. backup.directory where it is looser. */
bool backup_dir_check(const char *path, bool make, bool *found, struct neap_error *err);
/* fsync of a directory: a rename in it may be lost without. */
bool backup_dir_sync(const char *path, struct neap_error *err);
/* New file, 0600, written and fsynced. */
bool backup_file_write(const char *path, const char *text, size_t length, struct neap_error *err);

/* What hashing tells as it goes on, and what stops it. */
struct backup_watch {
    struct neap_run *run; /* a stop ends it */
    void (*progress)(void *arg, int64_t bytes);
    void *arg;
    bool sync; /* fsync each file before it is read */
};
/* SHA-256 and size of one regular file that nobody else may read (backup.directory). */
bool backup_file_hash(const char *path, const struct backup_watch *watch,
                      char hex[NEAP_HASH_HEX_SIZE], int64_t *bytes, struct neap_error *err);
/* [{path, bytes, sha256}, …] of every file below `root`, by path. New reference. */
bool backup_files_hash(const char *root, const struct backup_watch *watch, json_t **out,
                       struct neap_error *err);
/* Bytes in the files below `path` (a file or a directory); 0 when it is not there. */
int64_t backup_files_bytes(const char *path);
/* Removes the tree; does not follow links. False when something stays. */
bool backup_files_delete(const char *path);

#endif
