/* SPDX-License-Identifier: MIT
 *
 * Reads the journal without the lock: a reader must never hold up a run. What
 * is appended meanwhile may be seen or not; a line is written by one write().
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/change/audit.h"
#include "host/change/audit_journal.h"

#define BODY_AT NEAP_HASH_HEX_SIZE /* 64 hex and a space */

/* Finds the last `mark` in the line. A value after "data" cannot contain a
 * quote, so the last one is the field itself. */
static const char *last_mark(const char *line, size_t length, const char *mark)
{
    size_t size = strlen(mark);
    for (size_t at = length; at >= size; at--)
        if (memcmp(line + at - size, mark, size) == 0)
            return line + at;
    return NULL;
}

bool neap_journal_run_seq(const char *line, size_t length, const char **run, size_t *run_length,
                          int64_t *seq)
{
    const char *start = last_mark(line, length, ",\"run\":\"");
    const char *end = start == NULL ? NULL : memchr(start, '"', (size_t)(line + length - start));
    const char *number = last_mark(line, length, ",\"seq\":");
    if (end == NULL || number == NULL || number < end)
        return false;
    *run = start;
    *run_length = (size_t)(end - start);
    *seq = 0;
    for (; number < line + length && *number >= '0' && *number <= '9' && *seq < INT64_MAX / 16;
         number++)
        *seq = *seq * 10 + (*number - '0');
    return true;
}

/* False: the callback's error, or (ferror, with errno) the file could not be read. */
static bool read_lines(FILE *file, int64_t segment, const struct neap_journal_reader *reader,
                       struct neap_error *err)
{
    char *text = NULL;
    size_t capacity = 0;
    ssize_t length;
    bool read = true;
    struct neap_journal_line line = {.segment = segment};
    /* what came before a failed read is half a line: no fault of the journal's */
    while (read && (length = getline(&text, &capacity, file)) > 0 && !ferror(file)) {
        line.number++;
        line.complete = text[length - 1] == '\n';
        line.bytes = text;
        line.length = (size_t)length - (line.complete ? 1 : 0);
        read = reader->line(reader->arg, &line, err);
    }
    int errnum = errno;
    free(text);
    errno = errnum;
    return read && !ferror(file);
}

/* Goes to the first whole line of the last `tail_bytes`. */
static void skip_to_tail(FILE *file, int64_t tail_bytes)
{
    if (fseek(file, 0, SEEK_END) != 0 || ftell(file) <= tail_bytes ||
        fseek(file, (long)-tail_bytes, SEEK_END) != 0) {
        rewind(file);
        return;
    }
    int c = 0;
    while (c != EOF && c != '\n')
        c = getc(file);
}

/* *there false: no such file. */
static bool read_segment(const char *path, int64_t segment,
                         const struct neap_journal_reader *reader, bool *there,
                         struct neap_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    *there = fd >= 0 || errno != ENOENT;
    if (!*there)
        return true;
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    if (file == NULL) {
        neap_error_errno(err, NEAP_ERR_AUDIT_JOURNAL, errno, "cannot open the audit journal %s",
                         path);
        if (fd >= 0)
            close(fd);
        return false;
    }
    if (reader->tail_bytes > 0)
        skip_to_tail(file, reader->tail_bytes);
    bool read = read_lines(file, segment, reader, err);
    if (ferror(file))
        neap_error_errno(err, NEAP_ERR_AUDIT_JOURNAL, errno, "cannot read the audit journal %s",
                         path);
    (void)fclose(file); /* only read */
    return read;
}

static char *segment_path(const struct neap_journal *names, int64_t segment)
{
    return neap_format("%s/%s.%lld.jsonl", names->dir, names->base, (long long)segment);
}

#define GAP_MAX 8 /* missing segments looked over before the last one is believed */

static int64_t last_segment(const struct neap_journal *names)
{
    int64_t last = 0;
    for (int64_t segment = 1; segment <= last + GAP_MAX; segment++) {
        char *path = segment_path(names, segment);
        enum neap_presence presence = neap_path_look(path);
        if (presence != NEAP_ABSENT)
            last = segment;
        free(path);
        if (presence == NEAP_PRESENCE_UNKNOWN)
            break; /* reading it says why */
    }
    return last;
}

bool neap_journal_read(const char *state_dir, const char *identity,
                       const struct neap_journal_reader *reader, struct neap_error *err)
{
    struct neap_journal names = {0};
    neap_journal_names(state_dir, identity, &names);
    bool read = true, there = true;
    int64_t last = last_segment(&names);
    int64_t first = reader->tail_bytes > 0 && last > 0 ? last : 1;
    for (int64_t segment = first; read && segment <= last; segment++) {
        char *path = segment_path(&names, segment);
        read = read_segment(path, segment, reader, &there, err);
        free(path);
        if (read && !there && reader->missing != NULL)
            reader->missing(reader->arg, segment);
    }
    if (read)
        read = read_segment(names.path, last + 1, reader, &there, err);
    if (read && !there && last > 0 && reader->missing != NULL)
        reader->missing(reader->arg, last + 1);
    neap_journal_names_free(&names);
    return read;
}

struct event_reader {
    const char *run_id;
    bool (*fn)(void *arg, const char *hash, const json_t *event);
    void *arg;
    bool ended; /* by fn */
};

/* Without parsing it, as nearly all of a long journal is other runs'. */
static bool is_of(const struct neap_journal_line *line, const char *run_id)
{
    const char *run = NULL;
    size_t length = 0;
    int64_t seq = 0;
    return run_id == NULL ||
           (neap_journal_run_seq(line->bytes, line->length, &run, &length, &seq) &&
            strlen(run_id) == length && memcmp(run, run_id, length) == 0);
}

/* Lines that cannot be parsed are verify's to report. */
static bool on_line(void *arg, const struct neap_journal_line *line, struct neap_error *err)
{
    struct event_reader *reader = arg;
    (void)err;
    if (reader->ended || line->length <= BODY_AT || !is_of(line, reader->run_id))
        return true;
    json_t *json = json_loadb(line->bytes + BODY_AT, line->length - BODY_AT, 0, NULL);
    const char *run = json_string_value(json_object_get(json, "run"));
    if (run != NULL && strcmp(run, NEAP_JOURNAL_RUN) != 0) {
        char hash[NEAP_HASH_HEX_SIZE] = "";
        memcpy(hash, line->bytes, NEAP_HASH_HEX_SIZE - 1);
        reader->ended = !reader->fn(reader->arg, hash, json);
    }
    json_decref(json);
    return true;
}

bool neap_audit_read_tail(const struct neap_audit_reading *reading, int64_t tail_bytes,
                          struct neap_error *err)
{
    struct event_reader events = {
        .run_id = reading->run_id, .fn = reading->fn, .arg = reading->arg};
    struct neap_journal_reader reader = {.line = on_line, .arg = &events, .tail_bytes = tail_bytes};
    return neap_journal_read(reading->state_dir, reading->identity, &reader, err);
}

bool neap_audit_read(const char *state_dir, const char *identity, const char *run_id,
                     bool (*fn)(void *arg, const char *hash, const json_t *event), void *arg,
                     struct neap_error *err)
{
    struct neap_audit_reading reading = {
        .state_dir = state_dir, .identity = identity, .run_id = run_id, .fn = fn, .arg = arg};
    return neap_audit_read_tail(&reading, 0, err);
}

/* "7301-16384.jsonl", and neither a closed segment of it nor its lock. */
static size_t journal_length(const char *name)
{
    size_t length = strcspn(name, ".");
    return strcmp(name + length, ".jsonl") == 0 ? length : 0;
}

char **neap_audit_journals(const char *state_dir)
{
    char *path = neap_path_join(state_dir, "journal");
    char **names = neap_alloc(sizeof *names);
    size_t count = 0;
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        size_t length = journal_length(entry->d_name);
        if (length == 0)
            continue;
        names = neap_realloc(names, (count + 2) * sizeof *names);
        names[count++] = neap_strndup(entry->d_name, length);
        names[count] = NULL;
    }
    if (dir != NULL)
        closedir(dir);
    free(path);
    return names;
}
