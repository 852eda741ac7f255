/* SPDX-License-Identifier: MIT
 *
 * Paths, owners and modes of scratch. /var/tmp belongs to everybody, so each
 * directory is looked at without following links, and another owner is refused,
 * not mended.
 */
#include "bindings/scratch/scratch_place.h"

#include <errno.h>
#include <glob.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/hash.h"
#include "host/base/memory.h"
#include "host/base/path.h"

#define SOCKET_PATH_MAX 107 /* sun_path without its NUL */
#define PROJECT_ID_LENGTH 16
static const char socket_name[] = "/.s.PGSQL.5432";

/* pg_ctl hands paths to a shell, in double quotes. */
static bool is_plain(const char *path)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@";
    return path[0] == '/' && path[strspn(path, plain)] == '\0';
}

static bool is_usable(const char *base)
{
    size_t rest = strlen("/pg/") + PROJECT_ID_LENGTH + strlen(socket_name);
    return is_plain(base) && strlen(base) + rest <= SOCKET_PATH_MAX;
}

static bool find_base(bool root, char **out, struct neap_error *err)
{
    const char *given = getenv("NEAP_SCRATCH_DIR");
    if (given != NULL && given[0] != '\0') {
        if (!is_usable(given)) {
            neap_error_set(err, NEAP_ERR_CONFIG_INVALID,
                           "NEAP_SCRATCH_DIR cannot hold a socket: %s", given);
            neap_error_hint(err, "Name a short absolute path of letters, digits, '.', '_', '-'.");
            return false;
        }
        *out = neap_strdup(given);
        return true;
    }
    const char *cache = getenv("XDG_CACHE_HOME");
    if (!root && cache != NULL && cache[0] == '/') {
        *out = neap_path_join(cache, "neap");
        if (is_usable(*out))
            return true;
        free(*out);
    }
    *out = neap_format("/var/tmp/neap-%ld", (long)getuid());
    return true;
}

static bool find_user(struct scratch_place *place, struct neap_error *err)
{
    place->uid = geteuid();
    place->gid = getegid();
    if (place->uid != 0)
        return true;
    const struct passwd *row = getpwnam("postgres");
    if (row == NULL) {
        neap_error_set(err, NEAP_ERR_CONFIG_TARGET,
                       "PostgreSQL does not run as root, and there is no user postgres");
        neap_error_hint(err, "Install it (apt-get install postgresql), or run as another user.");
        return false;
    }
    place->user = "postgres";
    place->uid = row->pw_uid;
    place->gid = row->pw_gid;
    return true;
}

bool scratch_place_open(const char *project, struct scratch_place *out, struct neap_error *err)
{
    *out = (struct scratch_place){0};
    char *resolved = realpath(project, NULL);
    if (resolved == NULL) {
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot find the project %s", project);
        return false;
    }
    struct neap_hash hash;
    char hex[NEAP_HASH_HEX_SIZE];
    neap_hash_bytes(resolved, strlen(resolved), &hash);
    neap_hash_hex(&hash, hex);
    hex[PROJECT_ID_LENGTH] = '\0';
    free(resolved);
    return scratch_place_named(hex, out, err);
}

bool scratch_place_named(const char *id, struct scratch_place *out, struct neap_error *err)
{
    *out = (struct scratch_place){0};
    if (!find_user(out, err) || !find_base(out->user != NULL, &out->base, err))
        return false;
    out->pg = neap_path_join(out->base, "pg");
    out->dir = neap_path_join(out->pg, id);
    out->data = neap_path_join(out->dir, "data");
    out->log = neap_path_join(out->dir, "log");
    out->pid_file = neap_path_join(out->data, "postmaster.pid");
    out->lock = neap_format("%s/%s.lock", out->base, id);
    out->template_lock = neap_path_join(out->base, "template.lock");
    return true;
}

void scratch_place_clear(struct scratch_place *place)
{
    free(place->base);
    free(place->pg);
    free(place->dir);
    free(place->data);
    free(place->log);
    free(place->pid_file);
    free(place->lock);
    free(place->template_lock);
    *place = (struct scratch_place){0};
}

static bool check_dir(const char *path, uid_t uid, mode_t forbidden, bool *found,
                      struct neap_error *err)
{
    struct stat st;
    *found = lstat(path, &st) == 0;
    if (!*found) {
        if (errno == ENOENT)
            return true;
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot look at %s", path);
        return false;
    }
    if (S_ISDIR(st.st_mode) && st.st_uid == uid && (st.st_mode & forbidden) == 0)
        return true;
    neap_error_set(err, NEAP_ERR_FILE_REFUSED, "%s is not a private directory of user %ld", path,
                   (long)uid);
    neap_error_hint(err, "Remove it, or set NEAP_SCRATCH_DIR to another directory.");
    return false;
}

bool scratch_place_check(const struct scratch_place *place, bool *found, struct neap_error *err)
{
    if (!check_dir(place->base, geteuid(), S_IWGRP | S_IWOTH, found, err))
        return false;
    if (!*found)
        return true;
    return check_dir(place->pg, place->uid, S_IRWXG | S_IRWXO, found, err);
}

static bool make_dir(const char *path, mode_t mode, struct neap_error *err)
{
    if (mkdir(path, mode) == 0 || errno == EEXIST)
        return true;
    neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot make the directory %s", path);
    return false;
}

static bool make_base(const struct scratch_place *place, struct neap_error *err)
{
    bool found = false;
    if (!check_dir(place->base, geteuid(), S_IWGRP | S_IWOTH, &found, err))
        return false;
    if (!found && !neap_path_private_dir(place->base, err))
        return false;
    /* Ours and not writable by others from here on: no race is left. */
    if (place->user != NULL && chmod(place->base, 0711) != 0) {
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot open %s to %s", place->base,
                         place->user);
        return false;
    }
    return true;
}

bool scratch_place_make(const struct scratch_place *place, struct neap_error *err)
{
    bool found = false;
    if (!make_base(place, err) || !make_dir(place->pg, 0700, err))
        return false;
    if (place->user != NULL && lchown(place->pg, place->uid, place->gid) != 0) {
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot give %s to %s", place->pg,
                         place->user);
        return false;
    }
    return scratch_place_check(place, &found, err);
}

static bool has_server(const char *dir)
{
    char *path = neap_path_join(dir, "initdb");
    bool found = access(path, X_OK) == 0;
    free(path);
    return found;
}

/* The highest N of /usr/lib/postgresql/N/bin. */
static char *newest_packaged(void)
{
    static const char pattern[] = "/usr/lib/postgresql/*/bin";
    size_t number_at = strlen("/usr/lib/postgresql/");
    glob_t found;
    char *best = NULL;
    long best_number = -1;
    if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
        return NULL;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        long number = strtol(found.gl_pathv[i] + number_at, NULL, 10);
        if (number <= best_number || !has_server(found.gl_pathv[i]))
            continue;
        best_number = number;
        free(best);
        best = neap_strdup(found.gl_pathv[i]);
    }
    globfree(&found);
    return best;
}

static char *on_path(const char *program)
{
    const char *path = getenv("PATH");
    while (path != NULL && path[0] != '\0') {
        size_t length = strcspn(path, ":");
        char *file = neap_format("%.*s/%s", (int)length, path, program);
        char *resolved = length > 0 && access(file, X_OK) == 0 ? realpath(file, NULL) : NULL;
        free(file);
        if (resolved != NULL) {
            *strrchr(resolved, '/') = '\0';
            return resolved;
        }
        path += length + (path[length] == ':');
    }
    return NULL;
}

bool scratch_bindir_of(int major, char **bindir, struct neap_error *err)
{
    const char *given = getenv("NEAP_PG_BINDIR");
    char *packaged = neap_format("/usr/lib/postgresql/%d/bin", major);
    if ((given == NULL || given[0] == '\0') && has_server(packaged)) {
        *bindir = packaged;
        return true;
    }
    free(packaged);
    return scratch_bindir(bindir, err);
}

bool scratch_bindir(char **bindir, struct neap_error *err)
{
    const char *given = getenv("NEAP_PG_BINDIR");
    if (given != NULL && given[0] != '\0')
        *bindir = has_server(given) ? neap_strdup(given) : NULL;
    else
        *bindir = newest_packaged();
    if (*bindir == NULL && (given == NULL || given[0] == '\0'))
        *bindir = on_path("initdb");
    if (*bindir != NULL)
        return true;
    neap_error_set(err, NEAP_ERR_CONFIG_TARGET, "no PostgreSQL server is installed for scratch");
    if (given != NULL && given[0] != '\0')
        neap_error_detail(err, "NEAP_PG_BINDIR is %s, which has no initdb.", given);
    neap_error_hint(err, "Install the package postgresql (apt-get install postgresql), or set "
                         "NEAP_PG_BINDIR to the directory of initdb.");
    return false;
}
