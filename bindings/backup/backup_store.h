/* SPDX-License-Identifier: MIT
 *
 * Where backups lie, and which there are. A backup is a directory of the store:
 *
 *   DIR/ID/manifest.json   what it is, and SHA-256 and size of every other file
 *   DIR/ID/dump            pg_dump's file, or directory
 *   DIR/ID/archive.json    instead of it: which backup of the archiving tool it is
 *   DIR/ID/schema.txt      the lines behind the schema's fingerprint
 *   DIR/ID/verified.json   what the last verify found; bound to the manifest's hash
 *   DIR/ID.part/           one that is being made, or that a killed neap left
 *   DIR/ID.gone/           one that is being removed, likewise
 *
 * The directory gets its name when everything in it is fsynced, so that what has no
 * manifest, or is called .part or .gone, is no backup. A .part is locked while neap makes it.
 */
#ifndef NEAP_BINDINGS_BACKUP_BACKUP_STORE_H
#define NEAP_BINDINGS_BACKUP_BACKUP_STORE_H

#include "bindings/backup/backup_files.h"

#define BACKUP_SCHEMA_VERSION 1
/* The kind of one whose files are not here: of the whole server, in the repository of the
 * tool that its manifest names (backup_pitr.h). */
#define BACKUP_ARCHIVE "archive"

struct backup {
    char *id;
    char *path;
    json_t *manifest; /* NULL when it cannot be believed: see problem */
    char manifest_sha256[NEAP_HASH_HEX_SIZE];
    json_t *verified; /* NULL: never verified, or it was another manifest */
    struct neap_error problem;
    int held; /* its descriptor and one; 0: not held (backup_hold) */
};
void backup_clear(struct backup *backup);
const char *backup_text(const struct backup *backup, const char *key); /* of manifest, or "" */
bool backup_is_proved(const struct backup *backup); /* it was restored and compared */
/* Of its `archive`: tool, server, label, end_lsn, …; or "". */
const char *backup_archive_text(const struct backup *backup, const char *key);
bool backup_is_archive(const struct backup *backup);

/* All backups of the store, newest first; one that cannot be read is listed with its
 * problem. A store that is not there has none. The caller frees with backup_list_free. */
bool backup_list(const char *dir, struct backup **out, size_t *count, struct neap_error *err);
void backup_list_free(struct backup *backups, size_t count);
/* One backup, held: `id` is its id or an unambiguous beginning of it; NULL or "latest" is the
 * newest (of `environment`, unless NULL). backup.unknown when there is none; its problem
 * when its manifest cannot be believed. */
bool backup_find(const char *dir, const char *id, const char *environment, struct backup *out,
                 struct neap_error *err);
/* Rights, sizes and SHA-256 of every file that the manifest names: backup.damaged or
 * backup.directory. */
bool backup_check(const struct backup *backup, const struct backup_watch *watch,
                  struct neap_error *err);
/* Writes verified.json (adds the manifest's hash). Takes `verified`. */
bool backup_mark(const struct backup *backup, json_t *verified, struct neap_error *err);

/* Nobody removes it until backup_clear; several may hold it. False: it is being removed. */
bool backup_hold(struct backup *backup);
/* Ours alone, to be removed. False: somebody holds it, or it is not there any more. */
bool backup_seize(struct backup *backup);
void backup_release(struct backup *backup);
/* Removes one that was seized, first its name; what cannot be deleted then is warned of, and
 * left to backup_sweep_gone. */
bool backup_remove(struct backup *backup, struct neap_error *err);
/* Deletes what killed removals left. */
void backup_sweep_gone(const char *store);
bool backup_is_gone(const char *name); /* a name of such a one */

/* One that is being made. */
struct backup_part {
    char *dir, *id;
    char *path; /* DIR/ID.part */
    int fd;     /* of that directory, locked; -1: none */
};
/* Makes it, after removing what killed runs left. */
bool backup_part_begin(const char *dir, const char *id, struct backup_part *out,
                       struct neap_error *err);
/* Hashes every file into manifest.files, writes the manifest and gives the directory its
 * name: the backup exists from here on. `manifest_sha256` is the manifest's. */
bool backup_part_end(struct backup_part *part, json_t *manifest, const struct backup_watch *watch,
                     char manifest_sha256[NEAP_HASH_HEX_SIZE], struct neap_error *err);
/* Lets go of it; what did not become a backup is removed. */
void backup_part_clear(struct backup_part *part);

#endif
