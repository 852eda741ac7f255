/* SPDX-License-Identifier: MIT
 *
 * Reading the store. Nothing in it is believed: a manifest is parsed, must name its own
 * directory, and no file of it may lead out.
 */
#include "bindings/backup/backup_store.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/base/path.h"

#define MANIFEST_BYTES_MAX ((size_t)256 << 20)
#define ID_TIME_LENGTH 15 /* 20261121T070812 */

void backup_clear(struct backup *backup)
{
    backup_release(backup);
    free(backup->id);
    free(backup->path);
    json_decref(backup->manifest);
    json_decref(backup->verified);
    neap_error_clear(&backup->problem);
    memset(backup, 0, sizeof *backup);
}

void backup_list_free(struct backup *backups, size_t count)
{
    for (size_t i = 0; i < count; i++)
        backup_clear(&backups[i]);
    free(backups);
}

const char *backup_text(const struct backup *backup, const char *key)
{
    const char *text = json_string_value(json_object_get(backup->manifest, key));
    return text == NULL ? "" : text;
}

const char *backup_archive_text(const struct backup *backup, const char *key)
{
    const json_t *archive = json_object_get(backup->manifest, "archive");
    const char *text = json_string_value(json_object_get(archive, key));
    return text == NULL ? "" : text;
}

bool backup_is_archive(const struct backup *backup)
{
    return strcmp(backup_text(backup, "kind"), BACKUP_ARCHIVE) == 0;
}

/* A path below the backup, in the manifest's words: nothing that leads elsewhere. */
static bool is_inside(const char *path)
{
    return path != NULL && path[0] != '\0' && path[0] != '/' && strstr(path, "..") == NULL;
}

static bool is_manifest(const json_t *manifest, const char *id)
{
    const json_t *files = json_object_get(manifest, "files");
    const char *named = json_string_value(json_object_get(manifest, "id"));
    size_t index;
    json_t *file;
    if (named == NULL || strcmp(named, id) != 0 || json_array_size(files) == 0)
        return false;
    json_array_foreach(files, index, file)
    {
        if (!is_inside(json_string_value(json_object_get(file, "path"))) ||
            !json_is_integer(json_object_get(file, "bytes")) ||
            !json_is_string(json_object_get(file, "sha256")))
            return false;
    }
    return true;
}

static bool check_manifest(const struct backup *backup, const json_t *manifest,
                           struct neap_error *err)
{
    json_int_t version = json_integer_value(json_object_get(manifest, "schema_version"));
    if (version > BACKUP_SCHEMA_VERSION) {
        neap_error_set(err, NEAP_ERR_BACKUP_VERSION,
                       "backup %s was made by a newer neap (manifest version %lld)", backup->id,
                       (long long)version);
        return false;
    }
    if (version == BACKUP_SCHEMA_VERSION && is_manifest(manifest, backup->id))
        return true;
    neap_error_set(err, NEAP_ERR_BACKUP_DAMAGED, "the manifest of backup %s is cut or changed",
                   backup->id);
    return false;
}

static bool read_json(const char *path, char sha256[NEAP_HASH_HEX_SIZE], json_t **out,
                      struct neap_error *err)
{
    char *text = NULL;
    size_t length = 0;
    struct neap_hash hash;
    struct neap_error why = {0};
    if (!neap_path_read(path, NULL, MANIFEST_BYTES_MAX, &text, &length, &why)) {
        neap_error_set(err, NEAP_ERR_BACKUP_DIRECTORY, "%s", why.message);
        neap_error_clear(&why);
        return false;
    }
    neap_hash_sha256(text, length, &hash);
    neap_hash_hex(&hash, sha256);
    *out = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    return true;
}

/* What the last verify said, when it was of this manifest. */
static void read_verified(struct backup *backup)
{
    char unused[NEAP_HASH_HEX_SIZE];
    char *path = neap_path_join(backup->path, "verified.json");
    json_t *verified = NULL;
    if (neap_path_exists(path) && read_json(path, unused, &verified, NULL)) {
        const char *of = json_string_value(json_object_get(verified, "manifest_sha256"));
        if (of != NULL && strcmp(of, backup->manifest_sha256) == 0)
            backup->verified = json_incref(verified);
    }
    json_decref(verified);
    free(path);
}

static void read_backup(struct backup *backup)
{
    char *path = neap_path_join(backup->path, "manifest.json");
    json_t *manifest = NULL;
    bool found = false;
    if (backup_dir_check(backup->path, false, &found, &backup->problem) &&
        read_json(path, backup->manifest_sha256, &manifest, &backup->problem) &&
        check_manifest(backup, manifest, &backup->problem)) {
        backup->manifest = json_incref(manifest);
        read_verified(backup);
    }
    json_decref(manifest);
    free(path);
}

bool backup_is_proved(const struct backup *backup)
{
    const char *level = json_string_value(json_object_get(backup->verified, "level"));
    return level != NULL && strcmp(level, "full") == 0 &&
           json_is_true(json_object_get(backup->verified, "ok"));
}

/* Newest first: ids begin with their second, and manifests have the rest. */
static int newest_first(const void *a, const void *b)
{
    const struct backup *left = a, *right = b;
    int order = strncmp(right->id, left->id, ID_TIME_LENGTH);
    if (order == 0)
        order = strcmp(backup_text(right, "started_at"), backup_text(left, "started_at"));
    return order != 0 ? order : strcmp(right->id, left->id);
}

static bool is_backup(const char *dir, const char *name)
{
    size_t length = strlen(name);
    if (name[0] == '.' || backup_is_gone(name) ||
        (length > 5 && strcmp(name + length - 5, ".part") == 0))
        return false;
    char *manifest = neap_format("%s/%s/manifest.json", dir, name);
    bool is = neap_path_exists(manifest);
    free(manifest);
    return is;
}

bool backup_list(const char *dir, struct backup **out, size_t *count, struct neap_error *err)
{
    bool found = false;
    size_t capacity = 0;
    *out = NULL;
    *count = 0;
    if (!backup_dir_check(dir, false, &found, err))
        return false;
    DIR *store = found ? opendir(dir) : NULL;
    if (found && store == NULL) {
        backup_error_errno(err, errno, "cannot read the directory %s", dir);
        return false;
    }
    for (struct dirent *entry; store != NULL && (entry = readdir(store)) != NULL;) {
        if (!is_backup(dir, entry->d_name))
            continue;
        if (*count == capacity) {
            capacity = capacity == 0 ? 16 : capacity * 2;
            *out = neap_realloc(*out, capacity * sizeof **out);
        }
        struct backup *backup = &(*out)[(*count)++];
        *backup = (struct backup){.id = neap_strdup(entry->d_name),
                                  .path = neap_path_join(dir, entry->d_name)};
        read_backup(backup);
    }
    if (store != NULL)
        (void)closedir(store);
    if (*count > 1)
        qsort(*out, *count, sizeof **out, newest_first);
    return true;
}

static bool is_meant(const struct backup *backup, const char *id, const char *environment)
{
    if (id != NULL)
        return strncmp(backup->id, id, strlen(id)) == 0;
    /* One that cannot be read may be the latest: it is no reason to fall back on an older. */
    return environment == NULL || backup->manifest == NULL ||
           strcmp(backup_text(backup, "environment"), environment) == 0;
}

static void set_unknown(const char *dir, const char *id, const char *environment,
                        struct neap_error *err)
{
    if (id != NULL)
        neap_error_set(err, NEAP_ERR_BACKUP_UNKNOWN, "there is no backup %s in %s", id, dir);
    else
        neap_error_set(err, NEAP_ERR_BACKUP_UNKNOWN, "there is no backup%s%s in %s",
                       environment == NULL ? "" : " of environment ",
                       environment == NULL ? "" : environment, dir);
}

bool backup_find(const char *dir, const char *id, const char *environment, struct backup *out,
                 struct neap_error *err)
{
    struct backup *all = NULL;
    size_t count = 0, matches = 0, chosen = 0;
    if (id != NULL && strcmp(id, "latest") == 0)
        id = NULL;
    if (!backup_list(dir, &all, &count, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (is_meant(&all[i], id, environment) && matches++ == 0)
            chosen = i;
    bool found = matches == 1 || (matches > 0 && id == NULL);
    if (matches == 0)
        set_unknown(dir, id, environment, err);
    else if (!found)
        neap_error_set(err, NEAP_ERR_BACKUP_UNKNOWN, "%zu backups begin with %s", matches, id);
    else if (all[chosen].manifest == NULL)
        neap_error_copy(err, &all[chosen].problem);
    found = found && all[chosen].manifest != NULL;
    if (found && !backup_hold(&all[chosen])) {
        neap_error_set(err, NEAP_ERR_BACKUP_UNKNOWN, "backup %s is being removed", all[chosen].id);
        found = false;
    }
    if (found) {
        *out = all[chosen];
        memset(&all[chosen], 0, sizeof all[chosen]);
    }
    backup_list_free(all, count);
    return found;
}

static bool set_damaged(const struct backup *backup, const char *path, int64_t bytes,
                        int64_t expected, struct neap_error *err)
{
    if (bytes == 0)
        neap_error_set(err, NEAP_ERR_BACKUP_DAMAGED, "%s of backup %s is empty", path, backup->id);
    else if (bytes < expected)
        neap_error_set(err, NEAP_ERR_BACKUP_DAMAGED, "%s of backup %s is cut", path, backup->id);
    else if (bytes > expected)
        neap_error_set(err, NEAP_ERR_BACKUP_DAMAGED, "%s of backup %s has grown", path, backup->id);
    else
        neap_error_set(err, NEAP_ERR_BACKUP_DAMAGED, "bytes of %s of backup %s were changed", path,
                       backup->id);
    if (bytes != expected)
        neap_error_detail(err, "It has %lld bytes; the manifest says %lld.", (long long)bytes,
                          (long long)expected);
    else
        neap_error_detail(err, "Its SHA-256 is not the one in the manifest.");
    return false;
}

/* Sizes first, of all: a cut file is told without reading the others. */
static bool check_sizes(const struct backup *backup, struct neap_error *err)
{
    const json_t *files = json_object_get(backup->manifest, "files");
    for (size_t i = 0; i < json_array_size(files); i++) {
        const json_t *file = json_array_get(files, i);
        const char *name = json_string_value(json_object_get(file, "path"));
        int64_t expected = json_integer_value(json_object_get(file, "bytes"));
        char *path = neap_path_join(backup->path, name);
        struct stat at;
        bool there = lstat(path, &at) == 0;
        if (!there && errno == ENOENT)
            neap_error_set(err, NEAP_ERR_BACKUP_DAMAGED, "%s of backup %s is missing", name,
                           backup->id);
        else if (!there)
            backup_error_errno(err, errno, "cannot look at %s", path);
        else if (S_ISREG(at.st_mode) && at.st_size != expected)
            there = set_damaged(backup, name, at.st_size, expected, err);
        free(path);
        if (!there)
            return false;
    }
    return true;
}

bool backup_check(const struct backup *backup, const struct backup_watch *watch,
                  struct neap_error *err)
{
    const json_t *files = json_object_get(backup->manifest, "files");
    bool good = check_sizes(backup, err);
    for (size_t i = 0; good && i < json_array_size(files); i++) {
        const json_t *file = json_array_get(files, i);
        const char *name = json_string_value(json_object_get(file, "path"));
        const char *expected = json_string_value(json_object_get(file, "sha256"));
        char *path = neap_path_join(backup->path, name);
        char hex[NEAP_HASH_HEX_SIZE];
        int64_t bytes = 0;
        good = backup_file_hash(path, watch, hex, &bytes, err);
        if (good && strcmp(hex, expected) != 0)
            good = set_damaged(backup, name, bytes,
                               json_integer_value(json_object_get(file, "bytes")), err);
        free(path);
    }
    return good;
}

bool backup_mark(const struct backup *backup, json_t *verified, struct neap_error *err)
{
    char *path = neap_path_join(backup->path, "verified.json");
    neap_json_set(verified, "manifest_sha256", neap_json_text(backup->manifest_sha256));
    char *text = neap_json_pretty(verified);
    bool written = neap_path_write(path, text, strlen(text), 0600, err);
    free(text);
    free(path);
    json_decref(verified);
    return written;
}
