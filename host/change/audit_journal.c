/* SPDX-License-Identifier: MIT
 *
 * The journal's file. The lock is held only around reading the tail and
 * appending: a second run that waits for the lease must be able to write too.
 * So the line before ours may be another process's, and what is hashed into a
 * line is known only under the lock.
 */
#include "host/change/audit_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "host/base/buffer.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/base/path.h"

#define LOCK_WAIT_MS 5000
#define LOCK_POLL_NS 20000000L
#define TAIL_CHUNK 65536
#define HASH_CHARS (NEAP_HASH_HEX_SIZE - 1)

/* statfs numbers of file systems where flock and O_APPEND do not hold. */
static bool is_network(long type)
{
    return type == 0x6969L || type == 0x517BL || (unsigned int)type == 0xFF534D42U ||
           (unsigned int)type == 0xFE534D42U;
}

static bool check_filesystem(const struct neap_journal *journal, struct neap_error *err)
{
    struct statfs fs;
    if (statfs(journal->dir, &fs) != 0) {
        neap_error_errno(err, NEAP_ERR_AUDIT_JOURNAL, errno, "cannot look at %s", journal->dir);
        return false;
    }
    if (!is_network((long)fs.f_type))
        return true;
    neap_error_set(err, NEAP_ERR_AUDIT_JOURNAL,
                   "the audit journal would be on a network file system");
    neap_error_detail(err, "%s is on NFS or SMB, where locks and appends are not safe.",
                      journal->dir);
    neap_error_hint(err, "Give a local directory with --state-dir or NEAP_STATE_DIR.");
    return false;
}

static bool check_file(const struct neap_journal *journal, struct neap_error *err)
{
    struct stat st;
    if (fstat(journal->fd, &st) != 0) {
        neap_error_errno(err, NEAP_ERR_AUDIT_JOURNAL, errno, "cannot look at %s", journal->path);
        return false;
    }
    const char *fault = !S_ISREG(st.st_mode)      ? "is not a regular file"
                        : st.st_uid != geteuid()  ? "belongs to another user"
                        : (st.st_mode & 077) != 0 ? "can be read or written by others"
                        : st.st_nlink > 1         ? "has a second name (a hard link)"
                                                  : NULL;
    if (fault == NULL)
        return true;
    neap_error_set(err, NEAP_ERR_AUDIT_JOURNAL, "the audit journal %s %s", journal->path, fault);
    neap_error_hint(err, "Make it yours alone: chown and `chmod 600 %s`.", journal->path);
    return false;
}

static bool sync_dir(const struct neap_journal *journal, struct neap_error *err)
{
    int fd = open(journal->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (!synced)
        neap_error_errno(err, NEAP_ERR_AUDIT_JOURNAL, errno, "cannot sync %s", journal->dir);
    if (fd >= 0)
        close(fd);
    return synced;
}

static bool open_file(struct neap_journal *journal, struct neap_error *err)
{
    if (journal->fd >= 0)
        close(journal->fd);
    journal->fd = open(journal->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (journal->fd < 0) {
        neap_error_errno(err, NEAP_ERR_AUDIT_JOURNAL, errno, "cannot open the audit journal %s",
                         journal->path);
        return false;
    }
    journal->end = -1;
    journal->reserved = 0;
    return check_file(journal, err);
}

static bool open_lock(struct neap_journal *journal, struct neap_error *err)
{
    char *path = neap_format("%s/%s.lock", journal->dir, journal->base);
    journal->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (journal->lock_fd < 0)
        neap_error_errno(err, NEAP_ERR_AUDIT_JOURNAL, errno, "cannot open the journal's lock %s",
                         path);
    free(path);
    return journal->lock_fd >= 0;
}

/* A whole pread; false also at an early end. */
static bool read_at(int fd, char *bytes, size_t length, off_t offset)
{
    while (length > 0) {
        ssize_t got = pread(fd, bytes, length, offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        bytes += got;
        length -= (size_t)got;
        offset += got;
    }
    return true;
}

/* Offset after the last line feed before `end`; 0 when there is none. */
static bool line_start(int fd, off_t end, off_t *start)
{
    char chunk[TAIL_CHUNK];
    while (end > 0) {
        size_t length = end < TAIL_CHUNK ? (size_t)end : TAIL_CHUNK;
        if (!read_at(fd, chunk, length, end - (off_t)length))
            return false;
        const char *feed = memrchr(chunk, '\n', length);
        if (feed != NULL) {
            *start = end - (off_t)length + (feed - chunk) + 1;
            return true;
        }
        end -= (off_t)length;
    }
    *start = 0;
    return true;
}

static bool fail_read(const struct neap_journal *journal, struct neap_error *err)
{
    neap_error_errno(err, NEAP_ERR_AUDIT_JOURNAL, errno == 0 ? EIO : errno,
                     "cannot read the audit journal %s", journal->path);
    return false;
}

/* Writes the torn bytes beside the journal, then cuts them off: in this order,
 * so that a crash in between loses nothing. */
static bool set_aside(struct neap_journal *journal, const char *bytes, size_t length, off_t start,
                      struct neap_error *err)
{
    struct neap_hash hash;
    char hex[NEAP_HASH_HEX_SIZE];
    neap_hash_bytes(bytes, length, &hash);
    neap_hash_hex(&hash, hex);
    char *path = neap_format("%s/%s.torn-%.16s", journal->dir, journal->base, hex);
    bool kept = neap_path_write(path, bytes, length, 0600, err);
    if (kept && (ftruncate(journal->fd, start) != 0 || fsync(journal->fd) != 0)) {
        neap_error_errno(err, NEAP_ERR_AUDIT_JOURNAL, errno, "cannot cut the torn record off %s",
                         journal->path);
        kept = false;
    }
    if (kept) {
        json_t *torn = json_object();
        neap_json_set(torn, "bytes", json_integer((json_int_t)length));
        neap_json_set(torn, "hash", neap_json_text(hex));
        neap_json_set(torn, "file", neap_json_text(neap_path_name(path)));
        json_array_append_new(journal->recovered, torn);
        journal->end = start;
    }
    free(path);
    return kept;
}

static bool take_torn(struct neap_journal *journal, off_t end, bool *torn, struct neap_error *err)
{
    off_t start;
    if (!line_start(journal->fd, end, &start))
        return fail_read(journal, err);
    *torn = start < end;
    if (!*torn)
        return true;
    size_t length = (size_t)(end - start);
    char *bytes = neap_alloc(length);
    bool taken = read_at(journal->fd, bytes, length, start)
                     ? set_aside(journal, bytes, length, start, err)
                     : fail_read(journal, err);
    free(bytes);
    return taken;
}

bool neap_journal_is_whole(const char *line, size_t length)
{
    if (length < HASH_CHARS + 3 || line[HASH_CHARS] != ' ')
        return false;
    struct neap_hash hash;
    char hex[NEAP_HASH_HEX_SIZE];
    neap_hash_bytes(line + HASH_CHARS + 1, length - HASH_CHARS - 1, &hash);
    neap_hash_hex(&hash, hex);
    return memcmp(hex, line, HASH_CHARS) == 0;
}

/* The line [start, end) without its line feed; the caller frees. */
static char *read_line(const struct neap_journal *journal, off_t start, off_t end)
{
    char *line = neap_alloc((size_t)(end - start) + 1);
    if (read_at(journal->fd, line, (size_t)(end - start), start))
        return line;
    free(line);
    return NULL;
}

static bool read_head(struct neap_journal *journal, off_t end, struct neap_error *err)
{
    off_t start;
    char *line = NULL;
    if (!line_start(journal->fd, end - 1, &start) ||
        (line = read_line(journal, start, end - 1)) == NULL)
        return fail_read(journal, err);
    bool whole = neap_journal_is_whole(line, (size_t)(end - 1 - start));
    if (whole)
        memcpy(journal->head, line, HASH_CHARS);
    else {
        neap_error_set(err, NEAP_ERR_AUDIT_BROKEN,
                       "the last record of the audit journal was changed");
        neap_error_detail(err, "%s: its last line does not have the hash it says.", journal->path);
        neap_error_hint(err, "Look at it with `neap audit verify`; to go on, move the file away "
                             "and keep it.");
    }
    free(line);
    return whole;
}

/* The journal's id and segment number, from the first line. */
static bool read_begin(struct neap_journal *journal, struct neap_error *err)
{
    int fd = dup(journal->fd);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    char *line = NULL;
    size_t capacity = 0;
    json_t *json = NULL;
    if (file != NULL && fseek(file, 0, SEEK_SET) == 0 &&
        getline(&line, &capacity, file) > (ssize_t)HASH_CHARS + 1)
        json = json_loads(line + HASH_CHARS + 1, 0, NULL);
    const json_t *fields = json_object_get(json, "data");
    const char *id = json_string_value(json_object_get(fields, "journal_id"));
    journal->segment = json_integer_value(json_object_get(json, "seq"));
    bool read = id != NULL && strlen(id) == NEAP_UUID_SIZE - 1 && journal->segment > 0;
    if (read)
        memcpy(journal->id, id, NEAP_UUID_SIZE);
    else
        neap_error_set(err, NEAP_ERR_AUDIT_BROKEN,
                       "the first record of the audit journal %s was changed", journal->path);
    json_decref(json);
    free(line);
    if (file != NULL)
        (void)fclose(file); /* only read */
    else if (fd >= 0)
        close(fd);
    return read;
}

/* Takes in what is in the file now. An empty file keeps `head`. */
static bool take_in(struct neap_journal *journal, struct neap_error *err)
{
    struct stat st;
    bool torn = false;
    if (fstat(journal->fd, &st) != 0)
        return fail_read(journal, err);
    if (st.st_size == journal->end)
        return true;
    off_t end = st.st_size;
    if (end > 0 && !take_torn(journal, end, &torn, err))
        return false;
    if (torn)
        end = journal->end;
    if (end > 0 && !read_head(journal, end, err))
        return false;
    if (end > 0 && journal->id[0] == '\0' && !read_begin(journal, err))
        return false;
    journal->end = end;
    return true;
}

/* The lock is on a file of its own, which is never renamed: closing a segment and
 * beginning the next is one act under it. */
static bool wait_lock(struct neap_journal *journal, struct neap_error *err)
{
    int64_t deadline_ms = neap_clock_ms() + LOCK_WAIT_MS;
    while (flock(journal->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            neap_error_errno(err, NEAP_ERR_AUDIT_JOURNAL, errno, "cannot lock %s", journal->path);
            return false;
        }
        if (neap_clock_ms() >= deadline_ms) {
            neap_error_set(err, NEAP_ERR_AUDIT_JOURNAL,
                           "another process has kept the audit journal locked for 5 s");
            neap_error_detail(err, "The file is %s.", journal->path);
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = LOCK_POLL_NS}, NULL);
    }
    return true;
}

bool neap_journal_append(struct neap_journal *journal, const char *bytes, size_t length,
                         const char *head, struct neap_error *err)
{
    ssize_t written;
    do
        written = write(journal->fd, bytes, length);
    while (written < 0 && errno == EINTR);
    if (written == (ssize_t)length) {
        journal->end += written;
        journal->dirty = true;
        memcpy(journal->head, head, NEAP_HASH_HEX_SIZE);
        return true;
    }
    int errnum = written < 0 ? errno : ENOSPC;
    if (written > 0 && ftruncate(journal->fd, journal->end) != 0)
        journal->failed = true; /* the next open sets the torn record aside */
    neap_error_errno(err, NEAP_ERR_AUDIT_JOURNAL, errnum, "cannot write the audit journal %s",
                     journal->path);
    return false;
}

/* Blocks past the end: an outcome must find room on a disk that filled up while
 * the effect was under way. Where the file system cannot, it is left out. */
static bool reserve(struct neap_journal *journal, struct neap_error *err)
{
    if (journal->end + NEAP_JOURNAL_RESERVE_BYTES / 2 <= journal->reserved)
        return true;
    if (fallocate(journal->fd, FALLOC_FL_KEEP_SIZE, journal->end, NEAP_JOURNAL_RESERVE_BYTES) ==
        0) {
        journal->reserved = journal->end + NEAP_JOURNAL_RESERVE_BYTES;
        return true;
    }
    if (errno != ENOSPC && errno != EDQUOT)
        return true;
    neap_error_errno(err, NEAP_ERR_AUDIT_JOURNAL, errno,
                     "no room for outcomes in the audit journal %s", journal->path);
    return false;
}

bool neap_journal_synced(struct neap_journal *journal, int errnum, struct neap_error *err)
{
    if (errnum == 0)
        return reserve(journal, err);
    journal->failed = true; /* a second fsync may lie about pages that were dropped */
    neap_error_errno(err, NEAP_ERR_AUDIT_JOURNAL, errnum, "cannot sync the audit journal %s",
                     journal->path);
    return false;
}

bool neap_journal_sync(struct neap_journal *journal, struct neap_error *err)
{
    int errnum = journal->dirty && fdatasync(journal->fd) != 0 ? errno : 0;
    if (errnum == 0)
        journal->dirty = false;
    return neap_journal_synced(journal, errnum, err);
}

void neap_journal_line(struct neap_buffer *out, const char *hash, const char *body)
{
    neap_buffer_add_text(out, hash);
    neap_buffer_add_char(out, ' ');
    neap_buffer_add_text(out, body);
    neap_buffer_add_char(out, '\n');
}

/* journal.begin lines are a chain of their own: seq is the segment. */
static bool append_begin(struct neap_journal *journal, const char *prev, struct neap_error *err)
{
    char at[NEAP_UTC_SIZE], hex[NEAP_HASH_HEX_SIZE];
    neap_clock_utc(at);
    json_t *json = json_object(), *fields = json_object();
    neap_json_set(fields, "journal_id", neap_json_text(journal->id));
    neap_json_set(json, "data", fields);
    neap_json_set(json, "event", neap_json_text("journal.begin"));
    neap_json_set(json, "file", neap_json_text(journal->head));
    neap_json_set(json, "prev", neap_json_text(prev));
    neap_json_set(json, "run", neap_json_text(NEAP_JOURNAL_RUN));
    neap_json_set(json, "seq", json_integer(journal->segment));
    neap_json_set(json, "time", neap_json_text(at));
    neap_json_set(json, "v", json_integer(1));
    char *body = neap_json_canonical(json);
    struct neap_hash hash;
    neap_hash_bytes(body, strlen(body), &hash);
    neap_hash_hex(&hash, hex);
    struct neap_buffer line = {0};
    neap_journal_line(&line, hex, body);
    bool appended = neap_journal_append(journal, line.bytes, line.length, hex, err);
    neap_buffer_clear(&line);
    free(body);
    json_decref(json);
    return appended && neap_journal_sync(journal, err) && sync_dir(journal, err);
}

/* Hash of the first line, what the next journal.begin links to. */
static bool begin_hash(const struct neap_journal *journal, char hex[NEAP_HASH_HEX_SIZE])
{
    hex[HASH_CHARS] = '\0';
    return read_at(journal->fd, hex, HASH_CHARS, 0);
}

static char *closed_path(const struct neap_journal *journal, int64_t segment)
{
    return neap_format("%s/%s.%lld.jsonl", journal->dir, journal->base, (long long)segment);
}

bool neap_journal_rotate(struct neap_journal *journal, struct neap_error *err)
{
    if (journal->end < journal->segment_bytes)
        return true;
    char prev[NEAP_HASH_HEX_SIZE];
    if (!begin_hash(journal, prev))
        return fail_read(journal, err);
    char *closed = closed_path(journal, journal->segment);
    bool moved = !neap_path_exists(closed) && rename(journal->path, closed) == 0;
    if (!moved)
        neap_error_set(err, NEAP_ERR_AUDIT_JOURNAL, "cannot close the audit journal as %s", closed);
    free(closed);
    /* Whoever waits sees that its file is not current and opens the new one. */
    if (!moved || !open_file(journal, err))
        return false;
    journal->end = 0;
    journal->segment++;
    return append_begin(journal, prev, err);
}

/* A process that died between closing a segment and beginning the next left an
 * empty file: the chain goes on from the closed one. */
static bool go_on_from(struct neap_journal *journal, const char *closed, struct neap_error *err)
{
    struct stat st;
    struct neap_journal old = {.path = journal->path, .fd = open(closed, O_RDONLY | O_CLOEXEC)};
    char prev[NEAP_HASH_HEX_SIZE];
    if (old.fd < 0 || fstat(old.fd, &st) != 0 || st.st_size == 0 || !begin_hash(&old, prev)) {
        if (old.fd >= 0)
            close(old.fd);
        return fail_read(journal, err);
    }
    bool read = read_head(&old, st.st_size, err) && read_begin(&old, err);
    close(old.fd);
    if (!read)
        return false;
    memcpy(journal->head, old.head, sizeof journal->head);
    memcpy(journal->id, old.id, sizeof journal->id);
    journal->segment = old.segment + 1;
    return append_begin(journal, prev, err);
}

static bool begin_first(struct neap_journal *journal, struct neap_error *err)
{
    if (journal->end > 0)
        return true;
    char *last = NULL;
    enum neap_presence presence = NEAP_PRESENT;
    for (int64_t segment = 1; presence == NEAP_PRESENT; segment++) {
        char *closed = closed_path(journal, segment);
        presence = neap_path_look(closed);
        free(presence == NEAP_ABSENT ? closed : last);
        last = presence == NEAP_ABSENT ? last : closed; /* unknown: reading it says why */
    }
    if (last == NULL) {
        journal->segment = 1;
        neap_uuid(journal->id);
        return append_begin(journal, NEAP_JOURNAL_ZERO, err);
    }
    bool begun = go_on_from(journal, last, err);
    free(last);
    return begun;
}

/* Another process may have renamed our file to a closed segment. */
static bool is_current(const struct neap_journal *journal)
{
    struct stat ours, named;
    return fstat(journal->fd, &ours) == 0 && stat(journal->path, &named) == 0 &&
           ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

bool neap_journal_lock(struct neap_journal *journal, struct neap_error *err)
{
    if (journal->failed) {
        neap_error_set(err, NEAP_ERR_AUDIT_JOURNAL,
                       "the audit journal %s could not be synced before", journal->path);
        return false;
    }
    if (!wait_lock(journal, err))
        return false;
    bool current = is_current(journal);
    if (!current)
        journal->id[0] = '\0';
    if ((current || open_file(journal, err)) && take_in(journal, err) && begin_first(journal, err))
        return true;
    neap_journal_unlock(journal);
    return false;
}

void neap_journal_unlock(struct neap_journal *journal)
{
    flock(journal->lock_fd, LOCK_UN);
}

void neap_journal_names(const char *state_dir, const char *identity, struct neap_journal *journal)
{
    journal->dir = neap_path_join(state_dir, "journal");
    journal->base = neap_strdup(identity);
    for (char *c = journal->base; *c != '\0'; c++)
        if (!(*c >= '0' && *c <= '9') && !(*c >= 'a' && *c <= 'z') && !(*c >= 'A' && *c <= 'Z'))
            *c = '-';
    journal->path = neap_format("%s/%s.jsonl", journal->dir, journal->base);
}

void neap_journal_names_free(struct neap_journal *journal)
{
    free(journal->dir);
    free(journal->base);
    free(journal->path);
}

static bool make_dir(const struct neap_journal *journal, struct neap_error *err)
{
    struct neap_error cause = {0};
    if (neap_path_private_dir(journal->dir, &cause))
        return true;
    cause.code = NEAP_ERR_AUDIT_JOURNAL; /* whatever the fault: nothing may be sent */
    neap_error_move(err, &cause);
    neap_error_clear(&cause);
    return false;
}

bool neap_journal_open(const char *state_dir, const char *identity, int64_t segment_bytes,
                       struct neap_journal *journal, struct neap_error *err)
{
    *journal = (struct neap_journal){.fd = -1,
                                     .lock_fd = -1,
                                     .end = -1,
                                     .head = NEAP_JOURNAL_ZERO,
                                     .segment_bytes = segment_bytes,
                                     .recovered = json_array()};
    neap_journal_names(state_dir, identity, journal);
    bool locked = make_dir(journal, err) && check_filesystem(journal, err) &&
                  open_lock(journal, err) && open_file(journal, err) &&
                  neap_journal_lock(journal, err);
    bool opened = locked && neap_journal_sync(journal, err);
    if (locked)
        neap_journal_unlock(journal);
    if (!opened)
        neap_journal_close(journal);
    return opened;
}

void neap_journal_close(struct neap_journal *journal)
{
    if (journal->fd >= 0)
        close(journal->fd);
    if (journal->lock_fd >= 0)
        close(journal->lock_fd);
    neap_journal_names_free(journal);
    json_decref(journal->recovered);
    *journal = (struct neap_journal){.fd = -1, .lock_fd = -1};
}
