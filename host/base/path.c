/* SPDX-License-Identifier: MIT
 *
 * Files, read and written as if somebody swapped them meanwhile: every question
 * (regular? how long? inside the project?) is asked of the one open descriptor,
 * never of the name again.
 */
#include "host/base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "host/base/memory.h"

char *neap_path_join(const char *dir, const char *name)
{
    size_t length = dir ? strlen(dir) : 0;

    if (length == 0)
        return neap_strdup(name);
    return neap_format("%s%s%s", dir, dir[length - 1] == '/' ? "" : "/", name);
}

const char *neap_path_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

enum neap_presence neap_path_look(const char *path)
{
    struct stat found;

    if (lstat(path, &found) == 0)
        return NEAP_PRESENT;
    return errno == ENOENT || errno == ENOTDIR ? NEAP_ABSENT : NEAP_PRESENCE_UNKNOWN;
}

bool neap_path_exists(const char *path)
{
    return neap_path_look(path) != NEAP_ABSENT;
}

static bool is_below(const char *real, const char *root)
{
    size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);

    return strncmp(real, root, length) == 0 && real[length] == '/';
}

/* Where the open file really is, by the kernel's own account, which is without
 * links. A file without a name any more (" (deleted)") is inside where it was. */
static bool is_inside(int fd, const char *root)
{
    char link[64], real[PATH_MAX];
    char *real_root = NULL;
    bool inside = false;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, real, sizeof real - 1);
    if (length <= 0 || (size_t)length >= sizeof real - 1)
        return false;
    real[length] = '\0';
    if (is_below(real, root)) /* a root that is resolved already, as a project's is */
        return true;
    real_root = realpath(root, NULL);
    inside = real_root && is_below(real, real_root);
    free(real_root);
    return inside;
}

static void refuse_size(const char *path, size_t size_max, struct neap_error *err)
{
    bool whole = size_max >= 1U << 20 && size_max % (1U << 20) == 0;

    neap_error_set(err, NEAP_ERR_FILE_REFUSED, "%s is over %zu %s", path,
                   whole ? size_max >> 20 : size_max, whole ? "MB" : "bytes");
}

static bool check_opened(int fd, const char *path, const char *root, size_t size_max, size_t *size,
                         struct neap_error *err)
{
    struct stat found;

    if (fstat(fd, &found) != 0) {
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot look at %s", path);
        return false;
    }
    if (!S_ISREG(found.st_mode)) {
        neap_error_set(err, NEAP_ERR_FILE_REFUSED, "%s is not a regular file", path);
        return false;
    }
    if (root && !is_inside(fd, root)) {
        neap_error_set(err, NEAP_ERR_FILE_REFUSED, "%s links out of the project", path);
        neap_error_hint(err, "Put the file itself into the project.");
        return false;
    }
    if (found.st_size < 0 || (uintmax_t)found.st_size > size_max) {
        refuse_size(path, size_max, err);
        return false;
    }
    *size = (size_t)found.st_size;
    return true;
}

static bool read_some(int fd, char *bytes, size_t room, size_t *got)
{
    ssize_t count = 0;

    do
        count = read(fd, bytes, room);
    while (count < 0 && errno == EINTR);
    *got = count > 0 ? (size_t)count : 0;
    return count >= 0;
}

/* Reads to the end, at most size_max: the file may grow while it is read, and some
 * (in /proc) say that they have no size. */
static bool read_all(int fd, const char *path, size_t size_max, size_t size, char **text,
                     size_t *length, struct neap_error *err)
{
    size_t capacity = size + 2, used = 0, got = 0;
    char *bytes = neap_alloc(capacity);

    for (;;) {
        if (!read_some(fd, bytes + used, capacity - used - 1, &got)) {
            neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot read %s", path);
            break;
        }
        used += got;
        if (used > size_max) {
            refuse_size(path, size_max, err);
            break;
        }
        if (got == 0 || (size > 0 && used == size)) { /* as long as it said, and no longer */
            bytes[used] = '\0';
            *text = bytes;
            *length = used;
            return true;
        }
        if (used + 1 == capacity)
            bytes = neap_realloc(bytes, capacity *= 2);
    }
    free(bytes);
    return false;
}

bool neap_path_read(const char *path, const char *root, size_t size_max, char **text,
                    size_t *length, struct neap_error *err)
{
    /* O_NONBLOCK: a FIFO must be refused, not waited for. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    size_t size = 0;
    bool ok = false;

    if (fd < 0) {
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot open %s", path);
        return false;
    }
    ok = check_opened(fd, path, root, size_max, &size, err) &&
         read_all(fd, path, size_max, size, text, length, err);
    close(fd);
    return ok;
}

void neap_path_reader_init(struct neap_path_reader *reader, const char *root)
{
    *reader = (struct neap_path_reader){.root = neap_strdup(root), .fd = -1};
}

static void leave_dir(struct neap_path_reader *reader)
{
    if (reader->fd >= 0)
        close(reader->fd);
    reader->fd = -1;
    free(reader->dir);
    reader->dir = NULL;
}

void neap_path_reader_clear(struct neap_path_reader *reader)
{
    leave_dir(reader);
    free(reader->root);
    *reader = (struct neap_path_reader){.fd = -1};
}

/* fd is then the directory of the first `length` bytes, or -1. */
static void enter_dir(struct neap_path_reader *reader, const char *path, size_t length)
{
    char *whole = NULL;

    if (reader->dir && strncmp(reader->dir, path, length) == 0 && reader->dir[length] == '\0')
        return;
    leave_dir(reader);
    reader->dir = neap_strndup(path, length);
    whole = neap_path_join(reader->root, reader->dir);
    reader->fd = open(whole, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(whole);
    if (reader->fd >= 0 && !is_inside(reader->fd, reader->root)) {
        close(reader->fd);
        reader->fd = -1;
    }
}

/* In a directory that is inside, what is no link is inside. */
static bool read_inside(int dir, const char *name, size_t size_max, char **text, size_t *length)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
    size_t size = 0;
    bool ok = false;

    if (fd < 0)
        return false;
    ok = check_opened(fd, name, NULL, size_max, &size, NULL) &&
         read_all(fd, name, size_max, size, text, length, NULL);
    close(fd);
    return ok;
}

bool neap_path_reader_read(struct neap_path_reader *reader, const char *path, size_t size_max,
                           char **text, size_t *length, struct neap_error *err)
{
    const char *name = neap_path_name(path);
    char *whole = NULL;
    bool ok = false;

    if (name != path) {
        enter_dir(reader, path, (size_t)(name - path) - 1);
        if (reader->fd >= 0 && read_inside(reader->fd, name, size_max, text, length))
            return true;
    }
    whole = neap_path_join(reader->root, path); /* a link; or it fails again, and says why */
    ok = neap_path_read(whole, reader->root, size_max, text, length, err);
    free(whole);
    return ok;
}

static bool write_all(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, text, length);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        text += written;
        length -= (size_t)written;
    }
    return true;
}

static char *dir_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return neap_strdup(".");
    return slash == path ? neap_strdup("/") : neap_strndup(path, (size_t)(slash - path));
}

/* Without it the rename may be lost with the power, although the file is not. */
static bool sync_dir_of(const char *path)
{
    char *dir = dir_of(path);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    int error = errno;

    if (fd >= 0)
        close(fd);
    free(dir);
    errno = error;
    return ok;
}

bool neap_path_write(const char *path, const char *text, size_t length, int mode,
                     struct neap_error *err)
{
    char *beside = neap_format("%s.XXXXXX", path);
    int fd = mkostemp(beside, O_CLOEXEC);
    bool ok = false;
    int error = errno;

    if (fd >= 0) {
        ok = fchmod(fd, (mode_t)mode) == 0 && write_all(fd, text, length) && fsync(fd) == 0;
        error = errno;
        if (close(fd) != 0 && ok) {
            ok = false;
            error = errno;
        }
        if (ok && rename(beside, path) != 0) {
            ok = false;
            error = errno;
        }
        if (!ok)
            unlink(beside);
    }
    if (ok && !sync_dir_of(path)) {
        ok = false;
        error = errno;
    }
    if (!ok)
        neap_error_errno(err, NEAP_ERR_FILE_IO, error, "cannot write %s", path);
    free(beside);
    return ok;
}

static bool make_dirs(const char *path, struct neap_error *err)
{
    char *made = neap_strdup(path);
    bool ok = true;

    for (char *at = made + 1; ok && at[-1]; at++) {
        char kept = *at;

        if (kept != '/' && kept != '\0')
            continue;
        *at = '\0';
        if (mkdir(made, 0700) != 0 && errno != EEXIST) {
            /* Some roots say EACCES or EROFS for what is there. */
            int error = errno;

            ok = neap_path_exists(made);
            if (!ok)
                neap_error_errno(err, NEAP_ERR_FILE_IO, error, "cannot create %s", made);
        }
        *at = kept;
    }
    free(made);
    return ok;
}

/* One directory on the way. Above the last one, root may own it, and others may
 * write where the sticky bit keeps them from renaming what is ours (/tmp). */
static bool check_dir(const char *dir, bool last, struct neap_error *err)
{
    struct stat found;
    bool owned = false, shared = false;

    if (lstat(dir, &found) != 0) {
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot look at %s", dir);
        return false;
    }
    if (!S_ISDIR(found.st_mode)) {
        neap_error_set(err, NEAP_ERR_FILE_REFUSED, "%s is not a directory", dir);
        return false;
    }
    owned = found.st_uid == geteuid() || (!last && found.st_uid == 0);
    shared = (found.st_mode & 022) && (last || !(found.st_mode & S_ISVTX));
    if (owned && !shared)
        return true;
    neap_error_set(err, NEAP_ERR_FILE_REFUSED,
                   owned ? "others may write to %s" : "%s belongs to another user", dir);
    neap_error_detail(err, "Who may change it could replace neap's records.");
    if (owned)
        neap_error_hint(err, "Run `chmod go-w %s`, or choose another with NEAP_STATE_DIR.", dir);
    else
        neap_error_hint(err, "Choose a directory of your own with NEAP_STATE_DIR.");
    return false;
}

bool neap_path_private_dir(const char *path, struct neap_error *err)
{
    char *real = NULL;
    bool ok = true;

    if (!*path) {
        neap_error_set(err, NEAP_ERR_FILE_IO, "cannot create a directory without a name");
        return false;
    }
    if (!make_dirs(path, err))
        return false;
    real = realpath(path, NULL);
    if (!real) {
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot look at %s", path);
        return false;
    }
    for (char *at = real + 1; ok && at[-1]; at++) {
        char kept = *at;

        if (kept != '/' && kept != '\0')
            continue;
        *at = '\0';
        ok = check_dir(real, kept == '\0', err);
        *at = kept;
    }
    free(real);
    return ok;
}

static char *home_dir(void)
{
    const char *home = getenv("HOME");
    struct passwd entry, *found = NULL;
    char buffer[4096];

    if (home && *home == '/')
        return neap_strdup(home);
    if (getpwuid_r(geteuid(), &entry, buffer, sizeof buffer, &found) == 0 && found)
        return neap_strdup(found->pw_dir);
    return neap_strdup("/");
}

char *neap_path_state_dir(void)
{
    const char *named = getenv("NEAP_STATE_DIR");
    const char *state = getenv("XDG_STATE_HOME");
    char *home = NULL;
    char *dir = NULL;

    if (named && *named)
        return neap_strdup(named);
    if (state && *state == '/') /* a relative one is invalid, says its specification */
        return neap_path_join(state, "neap");
    home = home_dir();
    dir = neap_path_join(home, ".local/state/neap");
    free(home);
    return dir;
}

bool neap_path_free_bytes(const char *path, double *out)
{
    struct statvfs found;
    char *at = neap_strdup(path);
    bool known = statvfs(at, &found) == 0;
    for (char *slash; !known && (slash = strrchr(at, '/')) != NULL;) {
        slash[slash == at] = '\0';
        known = statvfs(at, &found) == 0;
        if (slash == at)
            break;
    }
    free(at);
    if (known)
        *out = (double)found.f_bavail * (double)found.f_frsize;
    return known;
}
