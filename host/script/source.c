/* SPDX-License-Identifier: MIT
 *
 * Loading a script and the lib modules that belong to it. Owns the cache of lib
 * files, so that all scripts of one run see one state of lib/. Knows no Lua
 * state. Surprising: a module is copied into each source that requires it, so
 * that a source stays whole when the cache is gone.
 */
#include "host/script/source.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/script/source_parts.h"

struct neap_source_cache {
    char *project;
    struct neap_path_reader reader;
    struct neap_source_file *libs;
    size_t lib_count;
};

struct neap_source_cache *neap_source_cache_new(const char *project)
{
    struct neap_source_cache *cache = neap_alloc(sizeof *cache);
    cache->project = neap_strdup(project);
    neap_path_reader_init(&cache->reader, project);
    return cache;
}

void source_file_clear(struct neap_source_file *file)
{
    free(file->path);
    free(file->module);
    free(file->text);
    free(file->unlooked);
    *file = (struct neap_source_file){0};
}

void neap_source_cache_free(struct neap_source_cache *cache)
{
    if (cache == NULL)
        return;
    for (size_t i = 0; i < cache->lib_count; i++)
        source_file_clear(&cache->libs[i]);
    free(cache->libs);
    neap_path_reader_clear(&cache->reader);
    free(cache->project);
    free(cache);
}

void neap_source_clear(struct neap_source *source)
{
    for (size_t i = 0; i < source->file_count; i++)
        source_file_clear(&source->files[i]);
    free(source->files);
    *source = (struct neap_source){0};
}

static struct neap_source_file *add_file(struct neap_source *source)
{
    size_t count = source->file_count + 1;
    source->files = neap_realloc(source->files, count * sizeof *source->files);
    source->files[source->file_count] = (struct neap_source_file){0};
    return &source->files[source->file_count++];
}

static void copy_file(struct neap_source_file *to, const struct neap_source_file *from)
{
    size_t bits = (size_t)from->line_max / 8 + 1;
    *to = *from;
    to->path = neap_strdup(from->path);
    to->module = neap_strdup(from->module);
    to->text = neap_alloc(from->length + 1);
    memcpy(to->text, from->text, from->length + 1);
    to->unlooked = NULL;
    if (from->unlooked != NULL) {
        to->unlooked = neap_alloc(bits);
        memcpy(to->unlooked, from->unlooked, bits);
    }
}

/* Reads one file; `file` has its path. */
static bool read_file(struct neap_source_cache *cache, struct neap_source_file *file,
                      struct neap_error *err)
{
    return neap_path_reader_read(&cache->reader, file->path, NEAP_SOURCE_SIZE_MAX, &file->text,
                                 &file->length, err);
}

/* Letters, digits, '_' and '-', in parts between single dots. */
static bool is_module_name(const char *name)
{
    static const char known[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    for (;;) {
        size_t length = strspn(name, known);
        if (length == 0)
            return false;
        if (name[length] == '\0')
            return length < 200;
        if (name[length] != '.')
            return false;
        name += length + 1;
    }
}

/* "lib/a/b.lua", or "lib/a/b/init.lua" when only that exists; NULL for neither. */
static char *module_path(const char *project, const char *module)
{
    char *base = neap_strdup(module);
    for (char *dot = base; (dot = strchr(dot, '.')) != NULL;)
        *dot = '/';
    char *paths[] = {neap_format("lib/%s.lua", base), neap_format("lib/%s/init.lua", base)};
    char *found = NULL;
    for (size_t i = 0; i < 2; i++) {
        char *full = neap_path_join(project, paths[i]);
        if (found == NULL && neap_path_exists(full))
            found = neap_strdup(paths[i]);
        free(full);
        free(paths[i]);
    }
    free(base);
    return found;
}

static bool require_fail(struct neap_error *err, const char *module, const char *why)
{
    char *text = neap_strdup(why);
    neap_error_set(err, NEAP_ERR_SCRIPT_REQUIRE, "cannot load module \"%s\": %s", module, text);
    free(text);
    return false;
}

/* Reads the module into the cache. Its own syntax errors stay as they are. */
static bool load_lib(struct neap_source_cache *cache, const char *module, struct neap_error *err)
{
    if (!is_module_name(module))
        return require_fail(err, module, "not a module's name (letters, digits, dots between)");
    char *path = module_path(cache->project, module);
    if (path == NULL) {
        require_fail(err, module, "no such file below lib/");
        neap_error_detail(err,
                          "Looked for lib/%s.lua and lib/%s/init.lua, with a directory for "
                          "each dot.",
                          module, module);
        return false;
    }
    struct neap_source_file lib = {.path = path, .module = neap_strdup(module)};
    struct neap_error cause = {0};
    bool ok = read_file(cache, &lib, &cause) && source_file_look(&lib, NEAP_SOURCE_LUA, &cause);
    if (ok) {
        size_t count = cache->lib_count + 1;
        cache->libs = neap_realloc(cache->libs, count * sizeof *cache->libs);
        cache->libs[cache->lib_count++] = lib;
        return true;
    }
    if (cause.code == NEAP_ERR_SCRIPT_SYNTAX)
        neap_error_move(err, &cause);
    else
        require_fail(err, module, cause.message);
    neap_error_clear(&cause);
    source_file_clear(&lib);
    return false;
}

static const struct neap_source_file *find_lib(const struct neap_source_file *files, size_t count,
                                               const char *module)
{
    for (size_t i = 0; i < count; i++)
        if (files[i].module != NULL && strcmp(files[i].module, module) == 0)
            return &files[i];
    return NULL;
}

/* Adds the module unless the source has it. */
static bool add_lib(struct neap_source_cache *cache, const char *module, struct neap_source *source,
                    struct neap_error *err)
{
    if (find_lib(source->files, source->file_count, module) != NULL)
        return true;
    const struct neap_source_file *lib = find_lib(cache->libs, cache->lib_count, module);
    if (lib == NULL && !load_lib(cache, module, err))
        return false;
    if (lib == NULL)
        lib = &cache->libs[cache->lib_count - 1];
    copy_file(add_file(source), lib);
    return true;
}

/* Files are added at the end while this goes through them, so that what a
 * module requires is found too; a module is added once, so that cycles end. */
static bool add_libs(struct neap_source_cache *cache, struct neap_source *source,
                     struct neap_error *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < source->file_count; i++) {
        size_t count;
        struct source_require *list = source_requires(&source->files[i], &count);
        for (size_t n = 0; ok && n < count; n++) {
            ok = add_lib(cache, list[n].module, source, err);
            if (!ok && err != NULL && err->code == NEAP_ERR_SCRIPT_REQUIRE)
                neap_error_where(err, source->files[i].path, list[n].line);
        }
        source_requires_free(list, count);
    }
    return ok;
}

static enum neap_source_kind kind_of(const char *path)
{
    size_t length = strlen(path);
    bool is_sql = length >= 4 && strcmp(path + length - 4, ".sql") == 0;
    return is_sql ? NEAP_SOURCE_SQL : NEAP_SOURCE_LUA;
}

/* A script that requires nothing is its one file. */
static bool is_known(const struct neap_source *source, const struct neap_source_known *known)
{
    struct neap_source_file *file = &source->files[0];
    if (known == NULL || !neap_hash_equal(&file->exact, &known->exact) ||
        (source->kind == NEAP_SOURCE_LUA && source_may_require(file)))
        return false;
    file->token = known->token;
    return true;
}

bool neap_source_read(struct neap_source_cache *cache, const char *path, struct neap_source *out,
                      struct neap_error *err)
{
    *out = (struct neap_source){.kind = kind_of(path)};
    struct neap_source_file *file = add_file(out);
    file->path = neap_strdup(path);
    if (!read_file(cache, file, err)) {
        neap_source_clear(out);
        return false;
    }
    neap_hash_bytes(file->text, file->length, &file->exact);
    return true;
}

bool neap_source_complete(struct neap_source_cache *cache, const struct neap_source_known *known,
                          struct neap_source *source, struct neap_error *err)
{
    bool ok = is_known(source, known) ||
              (source_file_look(&source->files[0], source->kind, err) &&
               (source->kind == NEAP_SOURCE_SQL || add_libs(cache, source, err)));
    source->complete = ok;
    if (ok)
        source_hash_all(source);
    else
        neap_source_clear(source);
    return ok;
}

bool neap_source_load(struct neap_source_cache *cache, const char *path,
                      const struct neap_source_known *known, struct neap_source *out,
                      struct neap_error *err)
{
    return neap_source_read(cache, path, out, err) && neap_source_complete(cache, known, out, err);
}

bool neap_source_look(struct neap_source *source, struct neap_error *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < source->file_count; i++)
        if (!source->files[i].looked)
            ok = source_file_look(&source->files[i], source->kind, err);
    return ok;
}
