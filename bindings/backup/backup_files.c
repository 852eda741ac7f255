/* SPDX-License-Identifier: MIT
 *
 * Files of a backup. A failed fsync is final (a second one may lie, fsyncgate), so it
 * fails the backup. Every look is at the name's own file, never through a link.
 */
#include "bindings/backup/backup_files.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/base/path.h"

#define CHUNK_BYTES ((size_t)1 << 20)
#define OPEN_MAX_DIRS 16

void backup_error_errno(struct neap_error *err, int errnum, const char *format, ...)
{
    enum neap_error_code code = NEAP_ERR_BACKUP_FAILED;
    va_list args;
    va_start(args, format);
    char *what = neap_vformat(format, args);
    va_end(args);
    if (errnum == ENOSPC || errnum == EDQUOT)
        code = NEAP_ERR_BACKUP_DISK;
    else if (errnum == EACCES || errnum == EPERM || errnum == EROFS || errnum == ENOTDIR)
        code = NEAP_ERR_BACKUP_DIRECTORY;
    neap_error_errno(err, code, errnum, "%s", what);
    free(what);
}

static void set_refused(const char *path, const struct stat *found, struct neap_error *err)
{
    bool ours = found->st_uid == geteuid();
    if (S_ISLNK(found->st_mode) || (!S_ISDIR(found->st_mode) && !S_ISREG(found->st_mode)))
        neap_error_set(err, NEAP_ERR_BACKUP_DIRECTORY, "%s is a link or no plain file", path);
    else if (!ours)
        neap_error_set(err, NEAP_ERR_BACKUP_DIRECTORY, "%s belongs to another user", path);
    else
        neap_error_set(err, NEAP_ERR_BACKUP_DIRECTORY, "others may open %s (mode %04o)", path,
                       (unsigned)(found->st_mode & 07777));
    neap_error_detail(err, "A backup holds all that the database holds, so only its owner may "
                           "reach it: directories 0700, files 0600.");
    if (ours && !S_ISLNK(found->st_mode))
        neap_error_hint(err, "Run `chmod go-rwx %s`, and find out who could read it until now.",
                        path);
}

static bool is_private(const struct stat *found)
{
    return found->st_uid == geteuid() && (found->st_mode & 077) == 0;
}

bool backup_dir_check(const char *path, bool make, bool *found, struct neap_error *err)
{
    struct stat at;
    *found = lstat(path, &at) == 0;
    if (!*found && errno == ENOENT && make) {
        if (mkdir(path, 0700) != 0 && errno != EEXIST) {
            backup_error_errno(err, errno, "cannot make the directory %s", path);
            return false;
        }
        *found = lstat(path, &at) == 0;
    }
    if (!*found) {
        if (errno == ENOENT && !make)
            return true;
        backup_error_errno(err, errno, "cannot look at %s", path);
        return false;
    }
    if (S_ISDIR(at.st_mode) && is_private(&at))
        return true;
    set_refused(path, &at, err);
    return false;
}

bool backup_dir_sync(const char *path, struct neap_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (!synced)
        backup_error_errno(err, errno, "cannot make %s durable", path);
    if (fd >= 0)
        (void)close(fd);
    return synced;
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
    return fsync(fd) == 0;
}

bool backup_file_write(const char *path, const char *text, size_t length, struct neap_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool written = fd >= 0 && write_all(fd, text, length);
    int errnum = errno;
    if (fd >= 0 && close(fd) != 0 && written) {
        written = false;
        errnum = errno;
    }
    if (!written)
        backup_error_errno(err, errnum, "cannot write %s", path);
    return written;
}

static bool hash_all(int fd, const char *path, const struct backup_watch *watch,
                     crypto_hash_sha256_state *state, int64_t *bytes, struct neap_error *err)
{
    char *chunk = neap_alloc(CHUNK_BYTES);
    bool hashed = false;
    while (neap_run_check(watch->run, err)) {
        ssize_t got = read(fd, chunk, CHUNK_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            backup_error_errno(err, errno, "cannot read %s", path);
        hashed = got == 0;
        if (got <= 0)
            break;
        crypto_hash_sha256_update(state, (const unsigned char *)chunk, (size_t)got);
        *bytes += got;
        if (watch->progress != NULL)
            watch->progress(watch->arg, got);
    }
    free(chunk);
    return hashed;
}

static bool check_file(int fd, const char *path, const struct backup_watch *watch,
                       struct neap_error *err)
{
    struct stat at;
    if (fstat(fd, &at) != 0) {
        backup_error_errno(err, errno, "cannot look at %s", path);
        return false;
    }
    if (!S_ISREG(at.st_mode) || !is_private(&at)) {
        set_refused(path, &at, err);
        return false;
    }
    if (watch->sync && fsync(fd) != 0) {
        backup_error_errno(err, errno, "cannot make %s durable", path);
        return false;
    }
    return true;
}

bool backup_file_hash(const char *path, const struct backup_watch *watch,
                      char hex[NEAP_HASH_HEX_SIZE], int64_t *bytes, struct neap_error *err)
{
    crypto_hash_sha256_state state;
    struct neap_hash hash;
    *bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        backup_error_errno(err, errno, "cannot open %s", path);
        return false;
    }
    crypto_hash_sha256_init(&state);
    bool hashed = check_file(fd, path, watch, err) && hash_all(fd, path, watch, &state, bytes, err);
    (void)close(fd);
    crypto_hash_sha256_final(&state, hash.bytes);
    neap_hash_hex(&hash, hex);
    return hashed;
}

/* nftw has no argument for its callback, and neap is one thread. */
static struct {
    char **paths;
    size_t count, capacity;
    int64_t bytes;
} walk;

static int on_entry(const char *path, const struct stat *at, int type, struct FTW *ftw)
{
    (void)ftw;
    if (type != FTW_F && type != FTW_SL && type != FTW_NS)
        return 0;
    if (type == FTW_F)
        walk.bytes += at->st_size;
    if (walk.count == walk.capacity) {
        walk.capacity = walk.capacity == 0 ? 16 : walk.capacity * 2;
        walk.paths = neap_realloc(walk.paths, walk.capacity * sizeof *walk.paths);
    }
    walk.paths[walk.count++] = neap_strdup(path);
    return 0;
}

static void walk_clear(void)
{
    for (size_t i = 0; i < walk.count; i++)
        free(walk.paths[i]);
    free(walk.paths);
    memset(&walk, 0, sizeof walk);
}

static int by_path(const void *a, const void *b)
{
    const char *const *left = a, *const *right = b;
    return strcmp(*left, *right);
}

bool backup_files_hash(const char *root, const struct backup_watch *watch, json_t **out,
                       struct neap_error *err)
{
    size_t skip = strlen(root) + 1;
    json_t *files = json_array();
    bool hashed = nftw(root, on_entry, OPEN_MAX_DIRS, FTW_PHYS) == 0;
    if (!hashed)
        backup_error_errno(err, errno, "cannot look at %s", root);
    if (walk.count > 0)
        qsort(walk.paths, walk.count, sizeof *walk.paths, by_path);
    for (size_t i = 0; hashed && i < walk.count; i++) {
        char hex[NEAP_HASH_HEX_SIZE];
        int64_t bytes = 0;
        hashed = backup_file_hash(walk.paths[i], watch, hex, &bytes, err);
        if (!hashed)
            break;
        json_t *file = json_object();
        neap_json_set(file, "path", neap_json_text(walk.paths[i] + skip));
        neap_json_set(file, "bytes", json_integer(bytes));
        neap_json_set(file, "sha256", neap_json_text(hex));
        json_array_append_new(files, file);
    }
    walk_clear();
    if (hashed)
        *out = files;
    else
        json_decref(files);
    return hashed;
}

int64_t backup_files_bytes(const char *path)
{
    struct stat at;
    int64_t bytes = 0;
    if (lstat(path, &at) != 0)
        return 0;
    if (!S_ISDIR(at.st_mode))
        return at.st_size;
    (void)nftw(path, on_entry, OPEN_MAX_DIRS, FTW_PHYS);
    bytes = walk.bytes;
    walk_clear();
    return bytes;
}

static int on_delete(const char *path, const struct stat *at, int type, struct FTW *ftw)
{
    (void)at;
    (void)type;
    (void)ftw;
    return remove(path);
}

bool backup_files_delete(const char *path)
{
    return nftw(path, on_delete, OPEN_MAX_DIRS, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT;
}
