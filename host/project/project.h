/* SPDX-License-Identifier: MIT
 *
 * The project and its environments: neap.lua (run in the script sandbox), the
 * environment variables and the flags, each value with its origin. Connects to
 * nothing.
 *
 * neap.lua:
 *   return {
 *     environments = {
 *       production = {
 *         url = env "PRODUCTION_URL",     -- libpq URI or keywords; secrets from the
 *         control = env "CONTROL_URL",    -- another role's, for the bookkeeping; or url's
 *         protected = true,               -- environment, a service or a passfile
 *         role = "neap_migrator",         -- SET LOCAL ROLE in each step
 *         timeout = "30s", lock_timeout = "500ms", lock_budget = "2min",
 *         lease_wait = "30s", memory = "256MB",
 *         system_identifier = "7301…", database = "shop",   -- identity pin
 *         pooler = "transaction",         -- run through one knowingly
 *         allow_superuser = true,
 *         preflight = { connections = { warning = 70 } }, -- project_preflight.h
 *         backup = env "BACKUP_URL",      -- a role's that may read everything; or url's
 *         restore = env "RESTORE_URL",    -- a role's that may make databases; or url's
 *         gates = { "preflight", "backup" }, backup_max_age = "1h",
 *         backup_dir = "/srv/backups", retention = { daily = "7d", keep = 3 },
 *         auto_restore = true,            -- project_gates.h
 *         archive = { tool = "pgbackrest", stanza = "shop" },      -- project_archive.h
 *       },
 *     },
 *     default = nil,                      -- no default environment unless named here
 *     signing_key = "…", state_dir = "…",
 *   }
 */
#ifndef NEAP_PROJECT_PROJECT_H
#define NEAP_PROJECT_PROJECT_H

#include "host/change/environment.h"
#include "host/loop/loop.h"

struct neap_setting {
    const char *name; /* "lock_timeout" */
    char *value;      /* redacted, as people read it */
    char *origin;     /* "default", "neap.lua", "--lock-timeout", "NEAP_LOCK_TIMEOUT", … */
};

struct neap_project {
    char *dir;       /* absolute, resolved */
    bool has_config; /* neap.lua exists */
    char *state_dir;
    char *signing_key;             /* or NULL */
    struct neap_environment env;   /* the effective one */
    bool has_env;                  /* false: no target named (config.target when one is needed) */
    struct neap_setting *settings; /* effective, with origin: for doctor */
    size_t setting_count;
    char **environment_names; /* of neap.lua and "scratch", NULL-terminated */
};

/* What flags say; NULL or 0 where not given. */
struct neap_project_opts {
    const char *dir; /* -C */
    const char *env; /* -e */
    const char *timeout, *lock_timeout, *lock_budget, *lease_wait, *memory, *state_dir;
};

/* flag beats environment variable (NEAP_*) beats neap.lua beats default. Errors:
 * config.invalid naming the file, the key and the nearest known one; an unknown
 * -e names the ones there are. neap.lua readable by others while it holds a
 * password is refused (HAZARDS X5). */
bool neap_project_open(struct neap_loop *loop, const struct neap_project_opts *opts,
                       struct neap_project *out, struct neap_error *err);
/* config.target, saying both ways, when no target is named. */
bool neap_project_need_target(const struct neap_project *project, struct neap_error *err);
void neap_project_clear(struct neap_project *project);

#endif
