/* SPDX-License-Identifier: MIT
 *
 * A script's bytes and what can be known without running them: both hashes
 * (exact bytes; token stream without comments, spaces, CRLF, BOM), the lib/
 * modules it requires (by its own token stream, transitively; their hashes are
 * part of both), and where the result of db:exec is not looked at. No Lua state.
 */
#ifndef NEAP_SCRIPT_SOURCE_H
#define NEAP_SCRIPT_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/error.h"
#include "host/base/hash.h"

#define NEAP_SOURCE_SIZE_MAX ((size_t)1024 * 1024) /* the limit: 1 MB a file */

enum neap_source_kind { NEAP_SOURCE_LUA, NEAP_SOURCE_SQL };

/* One file that belongs to a script: itself, or a lib module. */
struct neap_source_file {
    char *path;   /* relative to the project: "migrations/0001_x.lua", "lib/a/b.lua" */
    char *module; /* "a.b" for a lib module, NULL for the script itself */
    char *text;
    size_t length;
    struct neap_hash exact, token;
    /* Lua: one bit a line, for neap_source_exec_unlooked; NULL when none is set. */
    uint8_t *unlooked;
    int line_max; /* lines the bits are for */
    bool looked;  /* its text was scanned; else token is what neap_source_known said */
};

struct neap_source {
    enum neap_source_kind kind;
    struct neap_source_file *files; /* [0] is the script; libs in first-required order */
    size_t file_count;
    struct neap_hash exact, token; /* over all files */
    bool complete;                 /* by neap_source_complete */
};

/* A cache of lib files of one project, read once per run (HAZARDS N4). */
struct neap_source_cache;
struct neap_source_cache *neap_source_cache_new(const char *project);
void neap_source_cache_free(struct neap_source_cache *cache);

/* The hashes of a script that was looked at before. */
struct neap_source_known {
    struct neap_hash exact, token;
};
/* Reads `path` (relative) once and hashes its bytes. Errors: file.*. */
bool neap_source_read(struct neap_source_cache *cache, const char *path, struct neap_source *out,
                      struct neap_error *err);
/* Hashes the rest of what was read. When its bytes are what
 * `known` (may be NULL) says and it requires nothing, that is believed of the
 * tokens too and they are not scanned: most of a long history is such files.
 * Clears `source` on failure. Errors: script.require (a lib module that is missing, or links out of
 * the project), script.syntax (bytecode, an unfinished string or comment). */
bool neap_source_complete(struct neap_source_cache *cache, const struct neap_source_known *known,
                          struct neap_source *source, struct neap_error *err);
/* Both. */
bool neap_source_load(struct neap_source_cache *cache, const char *path,
                      const struct neap_source_known *known, struct neap_source *out,
                      struct neap_error *err);
/* Scans what neap_source_load did not, before the script is run. */
bool neap_source_look(struct neap_source *source, struct neap_error *err);
/* The stored copy: a bundle as neap_source_bundle made it. Hashes are computed
 * again from the texts. */
bool neap_source_unbundle(const void *bytes, size_t length, struct neap_source *out,
                          struct neap_error *err);
/* zlib-compressed JSON {v, kind, files: [{path, module, text}]}; caller frees. */
void neap_source_bundle(const struct neap_source *source, void **bytes, size_t *length);
void neap_source_clear(struct neap_source *source);
/* A unified diff of the two scripts' files, for people; the caller frees. */
char *neap_source_diff(const struct neap_source *applied, const struct neap_source *now);

/* True when every `:exec` call on `line` of `file` stands as a statement of its
 * own, so that nobody looks at its result and it need not be waited for. */
bool neap_source_exec_unlooked(const struct neap_source_file *file, int line);

/* Value of a `--- why`, `--- risk`, `--- locks` header comment (also `-- why:`
 * in SQL), or NULL. The caller frees. */
char *neap_source_header(const struct neap_source_file *file, const char *key);

#endif
