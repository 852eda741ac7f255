/* SPDX-License-Identifier: MIT
 *
 * The migrations of a project by their file names. Owns the grammar of names;
 * reads no file. Strict on purpose: a file that is silently not a migration is
 * one that an operator believes applied.
 */
#include "host/migrate/discover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/base/text.h"

#define FOLDER "migrations"
#define ID_LENGTH_MAX 18 /* a timestamp has 14; more could not be counted on from */
#define NAME_LENGTH_MAX 200

static const char *significant(const char *id)
{
    while (id[0] == '0' && id[1] != '\0')
        id++;
    return id;
}

int neap_migration_id_compare(const char *a, const char *b)
{
    const char *left = significant(a);
    const char *right = significant(b);
    size_t left_length = strlen(left), right_length = strlen(right);
    if (left_length != right_length)
        return left_length < right_length ? -1 : 1;
    return strcmp(left, right);
}

static int compare_items(const void *a, const void *b)
{
    const struct neap_migration *left = a;
    const struct neap_migration *right = b;
    int order = neap_migration_id_compare(left->id, right->id);
    return order != 0 ? order : strcmp(left->path, right->path);
}

static bool bad_name(struct neap_error *err, const char *file, const char *why)
{
    neap_error_set(err, NEAP_ERR_PROJECT_NAME, FOLDER "/%s: %s", file, why);
    return false;
}

static bool ends_with(const char *text, size_t length, const char *ending)
{
    size_t size = strlen(ending);
    return length > size && strcmp(text + length - size, ending) == 0;
}

/* Why a file name that is no migration's is none, in the reader's terms. */
static const char *name_fault(const char *file)
{
    size_t length = strlen(file);
    if (!neap_text_is_utf8(file, length))
        return "the name is not valid UTF-8";
    if (ends_with(file, length, "~") || ends_with(file, length, ".orig") ||
        ends_with(file, length, ".rej") || ends_with(file, length, ".bak") ||
        ends_with(file, length, ".swp"))
        return "a backup file of an editor or of version control does not belong here";
    size_t digits = strspn(file, "0123456789");
    if (digits == 0)
        return "the name does not begin with digits";
    if (digits > ID_LENGTH_MAX)
        return "the id has more than 18 digits";
    if (file[digits] != '_')
        return "the digits are not followed by `_`";
    if (!ends_with(file, length, ".lua") && !ends_with(file, length, ".sql"))
        return "the name does not end with .lua or .sql";
    return "the name may hold letters, digits, `_` and `-` only";
}

/* A name in the folder; `plain`: the folder itself says that it is a regular file. */
struct entry {
    char *name;
    bool plain;
};

/* "migrations/<file>" */
static char *path_of(const char *file)
{
    size_t length = strlen(file);
    char *path = neap_alloc(sizeof FOLDER + length + 1);
    memcpy(path, FOLDER "/", sizeof FOLDER);
    memcpy(path + sizeof FOLDER, file, length + 1);
    return path;
}

/* NNNN_name.lua|.sql. */
static bool parse_name(const char *file, struct neap_migration *out, struct neap_error *err)
{
    static const char known[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    size_t digits = strspn(file, "0123456789");
    bool begins = digits > 0 && digits <= ID_LENGTH_MAX && file[digits] == '_';
    size_t name = begins ? strspn(file + digits + 1, known) : 0;
    const char *ending = file + digits + 1 + name;
    bool is_lua = begins && strcmp(ending, ".lua") == 0;
    bool is_sql = begins && strcmp(ending, ".sql") == 0;
    if (name == 0 || name > NAME_LENGTH_MAX || !(is_lua || is_sql))
        return bad_name(err, file, name_fault(file));
    if (strspn(file, "0") == digits)
        return bad_name(err, file, "the id is zero; ids begin at 1");
    out->id = neap_strndup(file, digits);
    out->name = neap_strndup(file + digits + 1, name);
    out->path = path_of(file);
    out->kind = is_sql ? NEAP_SOURCE_SQL : NEAP_SOURCE_LUA;
    return true;
}

static bool refuse(struct neap_error *err, const char *file, const char *why)
{
    neap_error_set(err, NEAP_ERR_FILE_REFUSED, FOLDER "/%s %s", file, why);
    return false;
}

/* A link is good when what it leads to lies in the project. */
static bool check_link(const char *project, const char *file, struct neap_error *err)
{
    char here[PATH_MAX], there[PATH_MAX];
    char *path = neap_format("%s/" FOLDER "/%s", project, file);
    bool resolved = realpath(project, here) != NULL && realpath(path, there) != NULL;
    free(path);
    if (!resolved)
        return refuse(err, file, "is a link to nothing");
    size_t length = strlen(here);
    bool inside = strncmp(here, there, length) == 0 && (there[length] == '/' || length == 1);
    return inside || refuse(err, file, "links out of the project");
}

static bool look_at(int dir, const char *file, int flags, struct stat *status,
                    struct neap_error *err)
{
    if (fstatat(dir, file, status, flags) == 0)
        return true;
    neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot look at " FOLDER "/%s", file);
    return false;
}

static bool check_file(const char *project, int dir, const char *file, struct neap_error *err)
{
    struct stat status;
    if (!look_at(dir, file, AT_SYMLINK_NOFOLLOW, &status, err))
        return false;
    if (S_ISLNK(status.st_mode) &&
        !(check_link(project, file, err) && look_at(dir, file, 0, &status, err)))
        return false;
    return S_ISREG(status.st_mode) || refuse(err, file, "is not a regular file");
}

static bool is_passed_over(const char *file)
{
    return file[0] == '.' || strcmp(file, "README.md") == 0;
}

static void clear_item(struct neap_migration *item)
{
    free(item->id);
    free(item->name);
    free(item->path);
}

static bool add_file(const char *project, int dir, const struct entry *entry,
                     struct neap_migrations *out, struct neap_error *err)
{
    struct neap_migration *item = &out->items[out->count];
    if (!parse_name(entry->name, item, err))
        return false;
    if (entry->plain || check_file(project, dir, entry->name, err)) {
        out->count++;
        return true;
    }
    clear_item(item);
    return false;
}

/* Where faults go; without `each` the first one ends it. */
struct faults {
    void (*each)(void *arg, struct neap_error *fault);
    void *arg;
};

static bool goes_on(const struct faults *faults, bool good, struct neap_error *err)
{
    if (good || faults->each == NULL)
        return good;
    faults->each(faults->arg, err);
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/* Sorted, so that the first fault is the same one on every file system. */
static bool read_entries(DIR *dir, struct entry **entries, size_t *count, struct neap_error *err)
{
    const struct dirent *found;
    size_t capacity = 0;
    errno = 0;
    while ((found = readdir(dir)) != NULL) {
        if (is_passed_over(found->d_name))
            continue;
        if (*count == capacity) {
            capacity = capacity == 0 ? 64 : capacity * 2;
            *entries = neap_realloc(*entries, capacity * sizeof **entries);
        }
        (*entries)[(*count)++] =
            (struct entry){neap_strdup(found->d_name), found->d_type == DT_REG};
        errno = 0;
    }
    if (errno != 0) {
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot read " FOLDER "/");
        return false;
    }
    if (*count > 0)
        qsort(*entries, *count, sizeof **entries, compare_names);
    return true;
}

static int compare_case(const void *a, const void *b)
{
    return strcasecmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/* Thousands are in order already, and a sort costs more than a look. */
static bool is_in_order(const void *items, size_t count, size_t size,
                        int (*compare)(const void *a, const void *b))
{
    const char *item = items;
    for (size_t i = 1; i < count; i++, item += size)
        if (compare(item, item + size) >= 0)
            return false;
    return true;
}

/* Two names that are one on a file system without case: of two checkouts one
 * would have lost a file. */
static bool check_case_twins(const struct entry *entries, size_t count, const struct faults *faults,
                             struct neap_error *err)
{
    if (entries == NULL || is_in_order(entries, count, sizeof *entries, compare_case))
        return true;
    struct entry *sorted = neap_alloc(count * sizeof *sorted);
    bool ok = true;
    memcpy(sorted, entries, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_case);
    for (size_t i = 1; ok && i < count; i++) {
        if (strcasecmp(sorted[i - 1].name, sorted[i].name) != 0)
            continue;
        neap_error_set(err, NEAP_ERR_PROJECT_NAME,
                       FOLDER "/%s and " FOLDER "/%s differ in upper and lower case alone",
                       sorted[i - 1].name, sorted[i].name);
        ok = goes_on(faults, false, err);
    }
    free(sorted);
    return ok;
}

static bool check_duplicates(const struct neap_migrations *list, const struct faults *faults,
                             struct neap_error *err)
{
    bool ok = true;
    for (size_t i = 1; ok && i < list->count; i++) {
        if (neap_migration_id_compare(list->items[i - 1].id, list->items[i].id) != 0)
            continue;
        neap_error_set(err, NEAP_ERR_PROJECT_DUPLICATE, "%s and %s have the same id %s",
                       list->items[i - 1].path, list->items[i].path,
                       significant(list->items[i].id));
        ok = goes_on(faults, false, err);
    }
    return ok;
}

static bool discover_in(const char *project, DIR *dir, const struct faults *faults,
                        struct neap_migrations *out, struct neap_error *err)
{
    struct entry *entries = NULL;
    size_t count = 0;
    bool ok =
        read_entries(dir, &entries, &count, err) && check_case_twins(entries, count, faults, err);
    out->items = neap_alloc((count + 1) * sizeof *out->items);
    for (size_t i = 0; i < count; i++) {
        ok = ok && goes_on(faults, add_file(project, dirfd(dir), &entries[i], out, err), err);
        free(entries[i].name);
    }
    free(entries);
    if (ok && !is_in_order(out->items, out->count, sizeof *out->items, compare_items))
        qsort(out->items, out->count, sizeof *out->items, compare_items);
    return ok && check_duplicates(out, faults, err);
}

static bool no_folder(const char *project, int errnum, struct neap_error *err)
{
    if (errnum != ENOENT) {
        neap_error_errno(err, NEAP_ERR_FILE_IO, errnum, "cannot open %s/" FOLDER, project);
        return false;
    }
    neap_error_set(err, NEAP_ERR_CONFIG_INVALID, "%s has no " FOLDER "/ directory", project);
    neap_error_hint(err, "Make a project of it with `neap init`, or name another with -C DIR.");
    return false;
}

bool neap_discover(const char *project, struct neap_migrations *out, struct neap_error *err)
{
    return neap_discover_each(project, NULL, NULL, out, err);
}

bool neap_discover_each(const char *project, void (*each)(void *arg, struct neap_error *fault),
                        void *arg, struct neap_migrations *out, struct neap_error *err)
{
    struct faults faults = {.each = each, .arg = arg};
    *out = (struct neap_migrations){0};
    char *path = neap_path_join(project, FOLDER);
    DIR *dir = opendir(path);
    int errnum = errno;
    free(path);
    if (dir == NULL)
        return no_folder(project, errnum, err);
    bool ok = discover_in(project, dir, &faults, out, err);
    closedir(dir);
    if (!ok)
        neap_migrations_clear(out);
    return ok;
}

void neap_migrations_clear(struct neap_migrations *migrations)
{
    for (size_t i = 0; i < migrations->count; i++)
        clear_item(&migrations->items[i]);
    free(migrations->items);
    *migrations = (struct neap_migrations){0};
}

const struct neap_migration *neap_migration_find(const struct neap_migrations *migrations,
                                                 const char *id)
{
    if (id[0] == '\0' || id[strspn(id, "0123456789")] != '\0')
        return NULL;
    size_t low = 0, high = migrations->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = neap_migration_id_compare(id, migrations->items[middle].id);
        if (order == 0)
            return &migrations->items[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

char *neap_migration_next_id(const struct neap_migrations *migrations)
{
    unsigned long long last = 0;
    int width = 4;
    if (migrations->count > 0) {
        const char *id = migrations->items[migrations->count - 1].id;
        int written = (int)strlen(id);
        last = strtoull(id, NULL, 10);
        width = written > width ? written : width;
    }
    return neap_format("%0*llu", width, last + 1);
}
