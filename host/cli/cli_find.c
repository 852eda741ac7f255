/* SPDX-License-Identifier: MIT
 *
 * Finds the project above the current directory, as git does, and as git learned
 * to do it: /tmp/neap.lua of another user must not be run because somebody works
 * in /tmp/x.
 */
#include "host/cli/cli_find.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/memory.h"
#include "host/base/path.h"

static bool is_kind(const char *dir, const char *name, mode_t kind)
{
    struct stat at;
    char *path = neap_path_join(dir, name);
    bool found = stat(path, &at) == 0 && (at.st_mode & S_IFMT) == kind;
    free(path);
    return found;
}

bool cli_is_project(const char *dir)
{
    return is_kind(dir, "neap.lua", S_IFREG) || is_kind(dir, "migrations", S_IFDIR);
}

static bool is_trusted(const char *dir)
{
    struct stat at;
    const char *sudo = geteuid() == 0 ? getenv("SUDO_UID") : NULL;
    if (stat(dir, &at) != 0 || (at.st_mode & S_IWOTH))
        return false;
    if (at.st_uid == geteuid() || at.st_uid == 0)
        return true;
    return sudo && (uid_t)strtoul(sudo, NULL, 10) == at.st_uid;
}

static bool no_project(const char *dir, const char *where, struct neap_error *err)
{
    neap_error_set(err, NEAP_ERR_CONFIG_INVALID, "no project in %s%s", dir, where);
    neap_error_detail(err, "A project has migrations/ or neap.lua.");
    neap_error_hint(err, "Make one with `neap init`, or name one with `-C DIR`.");
    return false;
}

bool cli_find_project(const char *dir, char **out, struct neap_error *err)
{
    char *here = realpath(dir ? dir : ".", NULL);
    if (!here) {
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot open %s", dir ? dir : ".");
        return false;
    }
    char *at = neap_strdup(here);
    bool found = cli_is_project(at);
    while (!found && !dir && at[1] != '\0') {
        char *slash = strrchr(at, '/');
        slash[slash == at] = '\0';
        found = is_trusted(at) && cli_is_project(at);
    }
    if (found)
        *out = at;
    else {
        free(at);
        if (access(here, R_OK | X_OK) != 0)
            neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot open %s", here);
        else
            no_project(here, dir ? "" : " or above it", err);
    }
    free(here);
    return found;
}
