/* SPDX-License-Identifier: MIT
 *
 * PostgreSQL's programs say what went wrong in words alone. Their own words come in C
 * (LC_ALL); a server's may be translated, and then the cause is told as they are.
 */
#include "bindings/backup/backup_tool.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings/scratch/scratch_place.h"
#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/loop/child.h"

#define VERSION_LIMIT_MS 10000
#define SAID_MAX 4000

/* First that matches; `say` is the primary message. */
static const struct cause {
    const char *words;
    enum neap_error_code code;
    const char *say;
} causes[] = {
    {"No space left on device", NEAP_ERR_BACKUP_DISK, "there is no room left for %s"},
    {"Disk quota exceeded", NEAP_ERR_BACKUP_DISK, "the disk quota is used up by %s"},
    {"canceling statement due to lock timeout", NEAP_ERR_BACKUP_LOCKED,
     "%s waited too long for a lock"},
    {"is not available", NEAP_ERR_BACKUP_EXTENSION, "%s needs an extension that is not there"},
    {"extension control file", NEAP_ERR_BACKUP_EXTENSION,
     "%s needs an extension that is not there"},
    {"user mapping not found", NEAP_ERR_BACKUP_FAILED,
     "%s would fill a materialized view from a foreign server, and no copy may talk to it"},
    {"query would be affected by row-level security", NEAP_ERR_BACKUP_RIGHTS,
     "%s would get only the rows that a policy lets it see"},
    {"permission denied for", NEAP_ERR_BACKUP_RIGHTS, "%s may not read everything"},
    {"server version mismatch", NEAP_ERR_BACKUP_VERSION, "%s is older than the server"},
    {"unsupported version", NEAP_ERR_BACKUP_VERSION, "%s is older than what made the dump"},
    {"could not uncompress data", NEAP_ERR_BACKUP_DAMAGED, "%s cannot read the dump"},
    {"could not read from input file", NEAP_ERR_BACKUP_DAMAGED, "%s cannot read the dump"},
    {"does not appear to be a valid archive", NEAP_ERR_BACKUP_DAMAGED, "%s cannot read the dump"},
};

static const struct cause *find_cause(const char *said)
{
    const char *role = strstr(said, "role \"");
    static const struct cause missing_role = {"role", NEAP_ERR_BACKUP_ROLE,
                                              "%s needs a role that is not there"};
    while (role != NULL) {
        const char *end = strchr(role, '\n');
        const char *words = strstr(role, "\" does not exist");
        if (words != NULL && (end == NULL || words < end))
            return &missing_role;
        role = strstr(role + 1, "role \"");
    }
    for (size_t i = 0; i < sizeof causes / sizeof *causes; i++)
        if (strstr(said, causes[i].words) != NULL)
            return &causes[i];
    return NULL;
}

void backup_tool_explain(const char *doing, int exit_status, const char *said,
                         struct neap_error *err)
{
    const struct cause *cause = find_cause(said);
    size_t length = strlen(said);
    char *message = NULL;
    if (cause != NULL) {
        const char *at = strstr(cause->say, "%s");
        message = neap_format("%.*s%s%s", (int)(at - cause->say), cause->say, doing, at + 2);
    } else if (exit_status > 128) {
        message = neap_format("%s was ended by signal %d", doing, exit_status - 128);
    } else {
        message = neap_format("%s failed with status %d", doing, exit_status);
    }
    neap_error_set(err, cause == NULL ? NEAP_ERR_BACKUP_FAILED : cause->code, "%s", message);
    if (length > 0)
        neap_error_detail(err, "%s", said + (length > SAID_MAX ? length - SAID_MAX : 0));
    free(message);
}

void backup_tool_clear(struct backup_tool *tool)
{
    free(tool->path);
    free(tool->version);
    *tool = (struct backup_tool){0};
}

static char *find_path(const char *name, int major)
{
    const char *given = getenv("NEAP_PG_BINDIR");
    char *bindir = NULL;
    if (given != NULL && given[0] != '\0')
        return neap_path_join(given, name);
    char *path = neap_format("/usr/lib/postgresql/%d/bin/%s", major, name);
    if (access(path, X_OK) == 0)
        return path;
    free(path);
    if (!scratch_bindir(&bindir, NULL))
        return neap_strdup(name); /* of PATH: clients alone are installed */
    path = neap_path_join(bindir, name);
    free(bindir);
    return path;
}

/* "pg_dump (PostgreSQL) 15.20 (Debian …)" */
static void read_version(const char *said, struct backup_tool *tool)
{
    const char *number = strchr(said, ')');
    number = number == NULL ? NULL : strpbrk(number, "0123456789");
    if (number == NULL)
        return;
    tool->version = neap_strndup(number, strcspn(number, " \n"));
    tool->major = (int)strtol(number, NULL, 10);
}

static bool ask_version(struct neap_loop *loop, struct backup_tool *tool, struct neap_error *err)
{
    const char *const argv[] = {tool->path, "--version", NULL};
    struct neap_child_opts opts = {.argv = argv,
                                   .deadline_ms = neap_clock_deadline_ms(VERSION_LIMIT_MS)};
    struct neap_child_result result = {0};
    struct neap_error why = {0};
    bool ran = neap_child_run(loop, &opts, &result, &why);
    read_version(neap_buffer_text(&result.out), tool);
    neap_child_result_clear(&result);
    if (!ran && why.code != NEAP_ERR_FILE_IO)
        neap_error_move(err, &why);
    else if (tool->version == NULL)
        neap_error_set(err, NEAP_ERR_BACKUP_VERSION, "%s cannot be run%s%s", tool->path,
                       why.message == NULL ? "" : ": ", why.message == NULL ? "" : why.message);
    neap_error_clear(&why);
    return ran && tool->version != NULL;
}

bool backup_tool_find(struct neap_loop *loop, const char *name, int major, struct backup_tool *out,
                      struct neap_error *err)
{
    *out = (struct backup_tool){.path = find_path(name, major)};
    if (!ask_version(loop, out, err))
        return false;
    if (out->major >= major)
        return true;
    neap_error_set(err, NEAP_ERR_BACKUP_VERSION, "%s is of PostgreSQL %s, older than %d", out->path,
                   out->version, major);
    neap_error_hint(err,
                    "Install the package postgresql-client-%d, or set NEAP_PG_BINDIR to its "
                    "directory.",
                    major);
    return false;
}
