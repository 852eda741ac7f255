/* SPDX-License-Identifier: MIT
 *
 * Who uses a backup, and how one is removed: by its name first, in one rename, so that what
 * is half removed is no backup to anybody. The locks are of the process and go with it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "bindings/backup/backup_store.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/path.h"

static const char gone[] = ".gone";

bool backup_is_gone(const char *name)
{
    size_t length = strlen(name), end = sizeof gone - 1;
    return length > end && strcmp(name + length - end, gone) == 0;
}

/* The open directory; *busy when another has it otherwise. A file system without locks is
 * no reason not to restore at night: -1, and not busy. */
static int lock_dir(const char *path, int how, bool *busy)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    *busy = fd < 0 && errno == ENOENT;
    if (fd < 0 || flock(fd, how | LOCK_NB) == 0)
        return fd;
    *busy = errno == EWOULDBLOCK;
    (void)close(fd);
    return -1;
}

static bool take(struct backup *backup, int how)
{
    bool busy = false;
    backup_release(backup);
    int fd = lock_dir(backup->path, how, &busy);
    backup->held = fd + 1;
    return fd >= 0 || (!busy && how == LOCK_SH);
}

bool backup_hold(struct backup *backup)
{
    return take(backup, LOCK_SH);
}

bool backup_seize(struct backup *backup)
{
    return take(backup, LOCK_EX);
}

void backup_release(struct backup *backup)
{
    if (backup->held > 0)
        (void)close(backup->held - 1);
    backup->held = 0;
}

bool backup_remove(struct backup *backup, struct neap_error *err)
{
    char *away = neap_format("%s%s", backup->path, gone);
    char *dir = neap_strndup(backup->path, (size_t)(strrchr(backup->path, '/') - backup->path));
    bool named = rename(backup->path, away) == 0 || errno == ENOENT;
    if (!named)
        backup_error_errno(err, errno, "cannot remove %s", backup->path);
    named = named && backup_dir_sync(dir, err);
    if (named && !backup_files_delete(away))
        neap_log(NEAP_LOG_WARN, "backup.left", "cannot remove %s; the next prune tries again",
                 away);
    backup_release(backup);
    free(dir);
    free(away);
    return named;
}

void backup_sweep_gone(const char *store)
{
    DIR *dir = opendir(store);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        if (!backup_is_gone(entry->d_name))
            continue;
        bool busy = false;
        char *path = neap_path_join(store, entry->d_name);
        int fd = lock_dir(path, LOCK_EX, &busy);
        if (fd >= 0 && backup_files_delete(path))
            neap_log(NEAP_LOG_INFO, "backup.swept", "removed %s, which a killed run left",
                     entry->d_name);
        if (fd >= 0)
            (void)close(fd);
        free(path);
    }
    if (dir != NULL)
        (void)closedir(dir);
}
