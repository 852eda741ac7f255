/* SPDX-License-Identifier: MIT
 *
 * neap init [DIR]: makes a project, or completes one. What exists is kept,
 * whatever is in it; only the editor types under .neap/types/, which are neap's
 * own, follow the version of neap.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/embedded.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/cli/cli.h"
#include "host/cli/cli_write.h"

#define TYPES "neap/_meta/"

static const char config_text[] =
    "-- The project's environments. This file runs in the same sandbox as scripts;\n"
    "-- `neap doctor` shows what comes out of it, `neap help environments` every key.\n"
    "return {\n"
    "  environments = {\n"
    "    -- `scratch` is built in: a throwaway PostgreSQL that neap starts itself.\n"
    "    --\n"
    "    -- production = {\n"
    "    --   url = env \"PRODUCTION_URL\",  -- never a password in this file\n"
    "    --   protected = true,            -- asks for the database's name\n"
    "    --   role = \"shop_migrator\",      -- SET LOCAL ROLE in each step\n"
    "    --   timeout = \"30s\",             -- deadline of one step\n"
    "    --   lock_timeout = \"500ms\",      -- per attempt\n"
    "    --   lock_budget = \"2min\",        -- for all attempts\n"
    "    -- },\n"
    "  },\n"
    "}\n";

static const char luarc_text[] =
    "{\n"
    "  \"runtime.version\": \"Lua 5.4\",\n"
    "  \"runtime.builtin\": { \"io\": \"disable\", \"os\": \"disable\", \"debug\": "
    "\"disable\", \"package\": \"disable\" },\n"
    "  \"workspace.library\": [\".neap/types\"],\n"
    "  \"workspace.checkThirdParty\": false,\n"
    "  \"diagnostics.globals\": [\"migration\", \"runbook\", \"irreversible\", \"unverified\", "
    "\"env\"]\n"
    "}\n";

/* Types are made again by `neap init`; what runs leave behind is not for git. */
static const char ignore_text[] = "*\n";

struct init {
    struct neap_cli *cli;
    char *dir;
    json_t *created, *kept;
};

static void note(struct init *init, const char *name, bool created)
{
    json_array_append_new(created ? init->created : init->kept, neap_json_text(name));
    cli_print(init->cli, "%s %s", created ? "created" : "kept   ", name);
}

static bool make_dir(struct init *init, const char *name, bool say, struct neap_error *err)
{
    char *path = neap_path_join(init->dir, name);
    struct stat at;
    bool made = mkdir(path, 0777) == 0;
    bool good = made || (errno == EEXIST && stat(path, &at) == 0 && S_ISDIR(at.st_mode));
    if (!good)
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot make the directory %s", path);
    else if (say)
        note(init, name, made);
    free(path);
    return good;
}

static bool make_file(struct init *init, const char *name, const char *text, struct neap_error *err)
{
    char *path = neap_path_join(init->dir, name);
    bool created = false;
    bool good = cli_write_new(path, text, strlen(text), &created, err);
    if (good)
        note(init, name, created);
    free(path);
    return good;
}

/* "neap/_meta/pg.lua" goes to .neap/types/pg.lua. */
static bool write_type(struct init *init, const struct neap_embedded *file, struct neap_error *err)
{
    char *name = neap_format(".neap/types/%s", file->path + strlen(TYPES));
    char *path = neap_path_join(init->dir, name);
    bool existed = neap_path_exists(path);
    bool good = neap_path_write(path, file->bytes, file->length, 0644, err);
    if (good)
        note(init, name, !existed);
    free(path);
    free(name);
    return good;
}

static bool write_types(struct init *init, struct neap_error *err)
{
    if (!make_dir(init, ".neap", false, err) || !make_dir(init, ".neap/types", false, err))
        return false;
    if (!make_file(init, ".neap/.gitignore", ignore_text, err))
        return false;
    for (const struct neap_embedded *file = neap_embedded_all(); file->path; file++)
        if (strncmp(file->path, TYPES, strlen(TYPES)) == 0 && !write_type(init, file, err))
            return false;
    return true;
}

static bool make_project(struct init *init, struct neap_error *err)
{
    return make_dir(init, "migrations", true, err) && make_dir(init, "runbooks", true, err) &&
           make_dir(init, "lib", true, err) && make_file(init, "neap.lua", config_text, err) &&
           make_file(init, ".luarc.json", luarc_text, err) && write_types(init, err);
}

/* DIR is made when it is not there, but not what is above it. */
static bool open_dir(struct init *init, struct neap_error *err)
{
    const char *base = init->cli->opt.project ? init->cli->opt.project : ".";
    const char *name = init->cli->argc > 0 ? init->cli->argv[0] : ".";
    char *path = name[0] == '/' ? neap_strdup(name) : neap_path_join(base, name);
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot make the directory %s", path);
    else if (!(init->dir = realpath(path, NULL)))
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot open %s", path);
    free(path);
    return init->dir != NULL;
}

int cmd_init(struct neap_cli *cli)
{
    struct neap_error err = {0};
    struct init init = {.cli = cli, .created = json_array(), .kept = json_array()};
    json_t *body = json_object();
    /* A project is shared by a team; only neap's own state is private. */
    mode_t mask = umask(022);
    bool good =
        cli_arguments(cli, 0, 1, &err) && open_dir(&init, &err) && make_project(&init, &err);
    umask(mask);
    neap_json_set(body, "project", neap_json_text(init.dir));
    neap_json_set(body, "created", init.created);
    neap_json_set(body, "kept", init.kept);
    int exit_status = good ? 0 : cli_fail_with(cli, &err, body);
    if (good) {
        cli_print(cli, "\nNext: neap new NAME, then neap -e scratch up");
        cli_json(cli, 0, body);
    }
    free(init.dir);
    return exit_status;
}
