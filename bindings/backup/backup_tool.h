/* SPDX-License-Identifier: MIT
 *
 * pg_dump and pg_restore: where they are, which version they are, and what their
 * failures mean.
 */
#ifndef NEAP_BINDINGS_BACKUP_BACKUP_TOOL_H
#define NEAP_BINDINGS_BACKUP_BACKUP_TOOL_H

#include "host/base/buffer.h"
#include "host/loop/loop.h"

struct backup_tool {
    char *path;
    char *version; /* "15.20" */
    int major;
};

/* The program: of NEAP_PG_BINDIR, else of PostgreSQL `major` where that is installed,
 * else of the newest, else of PATH. backup.version when there is none or it is older
 * than `major`, which it could not read. */
bool backup_tool_find(struct neap_loop *loop, const char *name, int major, struct backup_tool *out,
                      struct neap_error *err);
void backup_tool_clear(struct backup_tool *tool);

/* What a failed program said, as the error it means: no room, a lock, a missing role or
 * extension, a right; else backup.failed. `doing`: "pg_dump", for the message. */
void backup_tool_explain(const char *doing, int exit_status, const char *said,
                         struct neap_error *err);

#endif
