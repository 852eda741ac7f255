/* SPDX-License-Identifier: MIT
 *
 * Which migrations the project has: names and ids, from the directory alone.
 * NNNN_name.lua|.sql, or a UTC timestamp (14 digits); the digits are the
 * identity, the rest may be renamed. Order is numeric (0010 after 0009, leading
 * zeros do not count).
 */
#ifndef NEAP_MIGRATE_DISCOVER_H
#define NEAP_MIGRATE_DISCOVER_H

#include "host/script/source.h"

struct neap_migration {
    char *id;   /* digits as written: "0003" */
    char *name; /* "translations" */
    char *path; /* "migrations/0003_translations.lua" */
    enum neap_source_kind kind;
};
struct neap_migrations {
    struct neap_migration *items; /* in order */
    size_t count;
};

/* Errors name the file: project.name (bad names, case twins, backup files ending
 * in "~" or ".orig", other endings), project.duplicate (both files),
 * file.refused (a link out of the project, not a regular file),
 * file.io. Hidden files (leading dot) and README.md are passed over. A project
 * without migrations/ is config.invalid that says `neap init`. */
bool neap_discover(const char *project, struct neap_migrations *out, struct neap_error *err);
/* The same for who wants to hear of every fault: `each` gets one at a time, clears it,
 * and the file is left out (of duplicates none is). False only where the folder itself
 * cannot be read. */
bool neap_discover_each(const char *project, void (*each)(void *arg, struct neap_error *fault),
                        void *arg, struct neap_migrations *out, struct neap_error *err);
void neap_migrations_clear(struct neap_migrations *migrations);
/* Exact digits, or the same number with other leading zeros; NULL when none. */
const struct neap_migration *neap_migration_find(const struct neap_migrations *migrations,
                                                 const char *id);
/* <0, 0, >0 by number: "0010" after "9". Works for ids of any length. */
int neap_migration_id_compare(const char *a, const char *b);
/* The id after the last one, four digits or more; the caller frees. */
char *neap_migration_next_id(const struct neap_migrations *migrations);

#endif
