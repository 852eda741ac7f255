/* SPDX-License-Identifier: MIT
 *
 * Reads the corpus: lists in Lua files, in the binary or in a directory, each run
 * like neap.lua and thus as data. Owns which keys a case has.
 */
#include <dirent.h>
#include <fnmatch.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/embedded.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/base/text.h"
#include "host/script/script.h"
#include "host/selftest/selftest_parts.h"

#define CORPUS_DIR "selftest/limits/"
#define FILE_MAX_BYTES ((size_t)1024 * 1024)

/* up, verify, top: pieces of the common script; file, sql, hex: the whole file
 * instead. commands: what is run, the last one is judged. holds: nothing, applied
 * or any; without it by the exit status. timeout: the script's; limit: the
 * environment's, for what runs before the script said its own. early: refused before its hostile
 * line. brief: no innocent script and no look at the audit after it. */
static const char *const keys[] = {"id",       "attempt", "expect",  "up",    "verify", "down",
                                   "top",      "file",    "sql",     "hex",   "lib",    "config",
                                   "commands", "holds",   "timeout", "limit", "says",   "audit",
                                   "early",    "brief",   NULL};

static bool is_known(const char *key)
{
    for (const char *const *known = keys; *known != NULL; known++)
        if (strcmp(*known, key) == 0)
            return true;
    return false;
}

static bool refuse(const char *path, size_t index, const char *why, const char *what,
                   struct neap_error *err)
{
    neap_error_set(err, NEAP_ERR_CONFIG_INVALID, "%s: case %zu %s%s", path, index + 1, why, what);
    neap_error_where(err, path, 0);
    return false;
}

static bool check(const char *path, size_t index, json_t *entry, struct neap_error *err)
{
    static const char *const needed[] = {"id", "attempt", "expect", NULL};
    const char *key;
    json_t *value;
    if (!json_is_object(entry))
        return refuse(path, index, "is no table", "", err);
    for (const char *const *name = needed; *name != NULL; name++)
        if (json_object_get(entry, *name) == NULL)
            return refuse(path, index, "has no ", *name, err);
    json_object_foreach(entry, key, value)
    {
        if (!is_known(key))
            return refuse(path, index, "has an unknown key: ", key, err);
    }
    return true;
}

static bool is_there(const json_t *cases, const json_t *entry)
{
    size_t i;
    json_t *other;
    json_array_foreach(cases, i, other)
    {
        if (json_equal(json_object_get(other, "id"), json_object_get(entry, "id")))
            return true;
    }
    return false;
}

static bool add_file(struct neap_loop *loop, json_t *cases, const char *path, const char *text,
                     size_t length, struct neap_error *err)
{
    const struct neap_source_file file = {
        .path = (char *)(uintptr_t)path, .text = (char *)(uintptr_t)text, .length = length};
    json_t *list = NULL, *unset = NULL, *entry;
    size_t i;
    if (!neap_script_config(loop, &file, &list, &unset, err))
        return false;
    json_decref(unset);
    bool good = true;
    json_array_foreach(list, i, entry)
    {
        good = check(path, i, entry, err);
        if (good && is_there(cases, entry))
            good = refuse(path, i, "has the id of another", "", err);
        if (!good)
            break;
        json_array_append(cases, entry);
    }
    json_decref(list);
    return good;
}

static bool add_embedded(struct neap_loop *loop, json_t *cases, struct neap_error *err)
{
    for (const struct neap_embedded *file = neap_embedded_all(); file->path != NULL; file++) {
        if (strncmp(file->path, CORPUS_DIR, strlen(CORPUS_DIR)) == 0 &&
            !add_file(loop, cases, file->path, file->bytes, file->length, err))
            return false;
    }
    return true;
}

static int is_list(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return entry->d_name[0] != '.' && length > 4 && strcmp(entry->d_name + length - 4, ".lua") == 0;
}

static bool add_path(struct neap_loop *loop, json_t *cases, const char *path,
                     struct neap_error *err)
{
    char *text = NULL;
    size_t length = 0;
    bool good = neap_path_read(path, NULL, FILE_MAX_BYTES, &text, &length, err) &&
                add_file(loop, cases, path, text, length, err);
    free(text);
    return good;
}

static bool add_dir(struct neap_loop *loop, json_t *cases, const char *dir, struct neap_error *err)
{
    struct dirent **names = NULL;
    int count = scandir(dir, &names, is_list, alphasort);
    if (count < 0) {
        neap_error_set(err, NEAP_ERR_FILE_IO, "cannot read the corpus in %s", dir);
        return false;
    }
    bool good = true;
    for (int i = 0; i < count; i++) {
        char *path = neap_path_join(dir, names[i]->d_name);
        good = good && add_path(loop, cases, path, err);
        free(path);
        free(names[i]);
    }
    free(names);
    return good;
}

json_t *selftest_corpus(struct neap_loop *loop, const char *dir, struct neap_error *err)
{
    json_t *cases = json_array();
    bool good = dir == NULL ? add_embedded(loop, cases, err) : add_dir(loop, cases, dir, err);
    if (good)
        return cases;
    json_decref(cases);
    return NULL;
}

/* One of the globs of a list with commas matches anywhere in `id`. */
static bool is_named(const char *id, const char *globs)
{
    char *list = neap_strdup(globs), *rest = list;
    bool named = false;
    for (char *glob; !named && (glob = strsep(&rest, ",")) != NULL;) {
        char *anywhere = neap_format("*%s*", glob);
        named = *glob != '\0' && fnmatch(anywhere, id, 0) == 0;
        free(anywhere);
    }
    free(list);
    return named;
}

json_t *selftest_select(json_t *cases, const char *globs, struct neap_error *err)
{
    json_t *chosen = json_array(), *entry;
    size_t i;
    json_array_foreach(cases, i, entry)
    {
        const char *id = json_string_value(json_object_get(entry, "id"));
        if (id != NULL && (globs == NULL || is_named(id, globs)))
            json_array_append(chosen, entry);
    }
    json_decref(cases);
    if (json_array_size(chosen) > 0)
        return chosen;
    neap_error_set(err, NEAP_ERR_USAGE, "no case of the corpus is called `%s`",
                   globs == NULL ? "" : globs);
    json_decref(chosen);
    return NULL;
}
