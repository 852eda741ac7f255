/* SPDX-License-Identifier: MIT
 *
 * A backup on its way into the store. The lock on its directory goes with the process:
 * a .part that nobody has locked is a remnant.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bindings/backup/backup_store.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/path.h"

/* The open directory, locked; -1 when another process has it. */
static int lock_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static bool is_part(const char *name)
{
    size_t length = strlen(name);
    return length > 5 && strcmp(name + length - 5, ".part") == 0;
}

static void sweep(const char *dir)
{
    DIR *store = opendir(dir);
    for (struct dirent *entry; store != NULL && (entry = readdir(store)) != NULL;) {
        if (!is_part(entry->d_name))
            continue;
        char *path = neap_path_join(dir, entry->d_name);
        int fd = lock_dir(path);
        if (fd >= 0 && backup_files_delete(path))
            neap_log(NEAP_LOG_INFO, "backup.swept", "removed %s, which a killed run left",
                     entry->d_name);
        if (fd >= 0)
            (void)close(fd);
        free(path);
    }
    if (store != NULL)
        (void)closedir(store);
}

bool backup_part_begin(const char *dir, const char *id, struct backup_part *out,
                       struct neap_error *err)
{
    bool found = false;
    *out = (struct backup_part){.fd = -1};
    if (!backup_dir_check(dir, true, &found, err))
        return false;
    sweep(dir);
    out->dir = neap_strdup(dir);
    out->id = neap_strdup(id);
    out->path = neap_format("%s/%s.part", dir, id);
    if (mkdir(out->path, 0700) != 0) {
        backup_error_errno(err, errno, "cannot make the directory %s", out->path);
        return false;
    }
    out->fd = lock_dir(out->path);
    if (out->fd < 0)
        backup_error_errno(err, errno, "cannot lock %s", out->path);
    return out->fd >= 0;
}

static bool sync_dirs(const char *path, struct neap_error *err)
{
    char *dump = neap_path_join(path, "dump");
    struct stat at;
    bool is_dir = lstat(dump, &at) == 0 && S_ISDIR(at.st_mode);
    bool synced = (!is_dir || backup_dir_sync(dump, err)) && backup_dir_sync(path, err);
    free(dump);
    return synced;
}

static bool write_manifest(const struct backup_part *part, const json_t *manifest,
                           char sha256[NEAP_HASH_HEX_SIZE], struct neap_error *err)
{
    struct neap_hash hash;
    char *path = neap_path_join(part->path, "manifest.json");
    char *text = neap_json_pretty(manifest);
    bool written = backup_file_write(path, text, strlen(text), err);
    neap_hash_sha256(text, strlen(text), &hash);
    neap_hash_hex(&hash, sha256);
    free(text);
    free(path);
    return written;
}

bool backup_part_end(struct backup_part *part, json_t *manifest, const struct backup_watch *watch,
                     char manifest_sha256[NEAP_HASH_HEX_SIZE], struct neap_error *err)
{
    json_t *files = NULL;
    if (!backup_files_hash(part->path, watch, &files, err))
        return false;
    neap_json_set(manifest, "files", files);
    if (!write_manifest(part, manifest, manifest_sha256, err) || !sync_dirs(part->path, err))
        return false;
    char *path = neap_path_join(part->dir, part->id);
    bool named = rename(part->path, path) == 0;
    if (!named)
        backup_error_errno(err, errno, "cannot rename %s", part->path);
    free(path);
    if (named) {
        free(part->path);
        part->path = NULL;
    }
    return named && backup_dir_sync(part->dir, err);
}

void backup_part_clear(struct backup_part *part)
{
    if (part->path != NULL && part->fd >= 0 && !backup_files_delete(part->path))
        neap_log(NEAP_LOG_WARN, "backup.left", "cannot remove %s; the next backup tries again",
                 part->path);
    if (part->fd >= 0)
        (void)close(part->fd);
    free(part->dir);
    free(part->id);
    free(part->path);
    *part = (struct backup_part){.fd = -1};
}
