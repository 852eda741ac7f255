/* SPDX-License-Identifier: MIT
 *
 * Files, as a hostile file system would have them: read once through one
 * descriptor, never through a link out of the project, private where private.
 */
#ifndef NEAP_BASE_PATH_H
#define NEAP_BASE_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "host/base/error.h"

char *neap_path_join(const char *dir, const char *name); /* the caller frees */
const char *neap_path_name(const char *path);            /* after the last '/' */

/* Reads a whole regular file through one descriptor. `root` NULL, or the
 * directory that the resolved file must lie in (else file.refused: "links out
 * of the project"). Over size_max: file.refused. Appends a NUL that is not
 * counted. The caller frees *text. */
bool neap_path_read(const char *path, const char *root, size_t size_max, char **text,
                    size_t *length, struct neap_error *err);
/* neap_path_read of many files, `path` relative to `root`, which is resolved already.
 * What it keeps open is the directory of the file before, known to lie in the root. */
struct neap_path_reader {
    char *root, *dir;
    int fd;
};
void neap_path_reader_init(struct neap_path_reader *reader, const char *root);
bool neap_path_reader_read(struct neap_path_reader *reader, const char *path, size_t size_max,
                           char **text, size_t *length, struct neap_error *err);
void neap_path_reader_clear(struct neap_path_reader *reader);
/* Writes beside `path`, fsyncs, renames, fsyncs the directory. */
bool neap_path_write(const char *path, const char *text, size_t length, int mode,
                     struct neap_error *err);
/* mkdir -p with 0700; refuses a directory of another owner or one others may
 * write (HAZARDS H2, X5), naming it and the mend. */
bool neap_path_private_dir(const char *path, struct neap_error *err);
/* What is there: also a link that leads nowhere. UNKNOWN where the system does not say
 * (an I/O error, a directory that may not be searched). */
enum neap_presence { NEAP_ABSENT, NEAP_PRESENT, NEAP_PRESENCE_UNKNOWN };
enum neap_presence neap_path_look(const char *path);
/* True also where it cannot be told: nobody takes the name for free. */
bool neap_path_exists(const char *path);
/* Free for us where the path is, or the nearest directory above it that is there. False:
 * it cannot be told. */
bool neap_path_free_bytes(const char *path, double *out);
/* NEAP_STATE_DIR, else $XDG_STATE_HOME/neap, else ~/.local/state/neap. The caller frees. */
char *neap_path_state_dir(void);

#endif
