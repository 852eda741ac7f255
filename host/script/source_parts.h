/* SPDX-License-Identifier: MIT
 *
 * What the source_*.c files share. For them alone.
 */
#ifndef NEAP_SCRIPT_SOURCE_PARTS_H
#define NEAP_SCRIPT_SOURCE_PARTS_H

#include "host/script/source.h"

/* Fills exact and token of `file` and, for Lua, unlooked. False with
 * script.syntax (bytecode, an unfinished string or comment) at file and line. */
bool source_file_look(struct neap_source_file *file, enum neap_source_kind kind,
                      struct neap_error *err);
/* The hashes over all files, from those of each. A lib counts with its module's
 * name; the script without its path, because a file may be renamed. */
void source_hash_all(struct neap_source *source);

/* Lua: finds where the result of `:exec` is not looked at. */
void source_exec_look(struct neap_source_file *file);

/* One static require. */
struct source_require {
    char *module;
    int line;
};
/* False: it surely requires no module. */
bool source_may_require(const struct neap_source_file *file);
/* The lib modules that `file` requires by name, in order, with repetitions;
 * the stdlib's (neap, neap.*) left out. The caller frees all. */
struct source_require *source_requires(const struct neap_source_file *file, size_t *count);
void source_requires_free(struct source_require *list, size_t count);

void source_file_clear(struct neap_source_file *file);

#endif
