/* SPDX-License-Identifier: MIT
 *
 * The files of stdlib/ that are in the binary: Lua modules, editor types, help.
 * The rows are written by stdlib/embed.cmake at build time.
 */
#ifndef NEAP_BASE_EMBEDDED_H
#define NEAP_BASE_EMBEDDED_H

#include <stddef.h>

struct neap_embedded {
    const char *path;  /* relative to stdlib/: "neap/expect.lua", "help/audit.md" */
    const char *bytes; /* static; a NUL follows that is not counted */
    size_t length;
};

/* The file with exactly this path, or NULL. */
const struct neap_embedded *neap_embedded_find(const char *path);
/* All of them, sorted by path; ends with a row whose path is NULL. */
const struct neap_embedded *neap_embedded_all(void);

/* What the generated file defines; use the functions. */
extern const struct neap_embedded neap_embedded_rows[];
extern const size_t neap_embedded_count;

#endif
