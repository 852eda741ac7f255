/* SPDX-License-Identifier: MIT
 *
 * Chooses the environment and fills in its values. The order is the same for
 * all: flag, environment variable, neap.lua, default; the origin is kept with
 * the value, so that `neap doctor` can say where a surprise comes from.
 */
#include "host/project/project.h"

#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_pitr.h"
#include "bindings/pg/pg_conninfo.h"
#include "host/base/buffer.h"
#include "host/base/clock.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/base/text.h"
#include "host/project/project_archive.h"
#include "host/project/project_config.h"
#include "host/project/project_gates.h"
#include "host/project/project_preflight.h"

/* A value that has a unit. */
struct limit {
    const char *name;
    bool size;
    size_t offset; /* into struct neap_environment */
    const char *fallback;
    size_t flag_offset; /* into struct neap_project_opts; 0: no flag (dir is at 0) */
    const char *flag;
    const char *variable;
    int64_t least;
    const char *least_text;
};

#define ENVIRONMENT(field) offsetof(struct neap_environment, field)
#define FLAG(field) offsetof(struct neap_project_opts, field)

static const struct limit limits[] = {
    {"timeout", false, ENVIRONMENT(timeout_ms), "30s", FLAG(timeout), "--timeout", "NEAP_TIMEOUT",
     1, "1ms"},
    {"lock_timeout", false, ENVIRONMENT(lock_timeout_ms), "500ms", FLAG(lock_timeout),
     "--lock-timeout", "NEAP_LOCK_TIMEOUT", 1, "1ms"},
    {"lock_budget", false, ENVIRONMENT(lock_budget_ms), "2min", FLAG(lock_budget), "--lock-budget",
     "NEAP_LOCK_BUDGET", 1, "1ms"},
    {"lease_wait", false, ENVIRONMENT(lease_wait_ms), "30s", FLAG(lease_wait), "--lease-wait",
     "NEAP_LEASE_WAIT", 0, "0"},
    {"lease_ttl", false, ENVIRONMENT(lease_ttl_ms), "30s", 0, NULL, NULL, 3000, "3s"},
    {"connect_timeout", false, ENVIRONMENT(connect_timeout_ms), "10s", 0, NULL, NULL, 1, "1ms"},
    {"memory", true, ENVIRONMENT(memory_bytes), "256MB", FLAG(memory), "--memory", "NEAP_MEMORY",
     4LL * 1024 * 1024, "4MB"},
    {"backup_max_age", false, ENVIRONMENT(backup_max_age_ms), "1h", 0, NULL, NULL, 0, "0"},
};

static void add_setting(struct neap_project *project, const char *name, const char *value,
                        const char *origin)
{
    project->settings =
        neap_realloc(project->settings, (project->setting_count + 1) * sizeof *project->settings);
    project->settings[project->setting_count++] = (struct neap_setting){
        .name = name,
        .value = neap_strdup(value),
        .origin = neap_strdup(origin),
    };
}

static const char *variable(const char *name)
{
    const char *value = name ? getenv(name) : NULL;
    return value && value[strspn(value, " \t\n")] != '\0' ? value : NULL;
}

static const char *config_text(const json_t *table, const char *key)
{
    return json_string_value(json_object_get(table, key));
}

/* Sorted, "scratch" always among them. */
static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_environments(struct neap_project *project, const json_t *environments)
{
    size_t count = 0;
    const char *name;
    json_t *table;
    project->environment_names =
        neap_alloc((json_object_size(environments) + 2) * sizeof *project->environment_names);
    json_object_foreach((json_t *)(uintptr_t)environments, name,
                        table) if (strcmp(name, "scratch") != 0)
        project->environment_names[count++] = neap_strdup(name);
    project->environment_names[count++] = neap_strdup("scratch");
    qsort(project->environment_names, count, sizeof *project->environment_names, compare_names);
}

static bool unknown_environment(const struct neap_project *project, const char *name,
                                const char *origin, struct neap_error *err)
{
    struct neap_buffer list = {0};
    for (char **at = project->environment_names; *at; at++)
        neap_buffer_add_format(&list, "%s%s", list.length ? ", " : "", *at);
    const char *nearest = neap_text_nearest(name, (const char *const *)project->environment_names);
    neap_error_set(err, NEAP_ERR_CONFIG_INVALID, "no environment is named `%s`", name);
    neap_error_detail(err, "It was named by %s. There are: %s.", origin, neap_buffer_text(&list));
    if (nearest)
        neap_error_hint(err, "Did you mean `-e %s`?", nearest);
    else
        neap_error_hint(err, "Environments stand in neap.lua; see `neap help environments`.");
    neap_buffer_clear(&list);
    return false;
}

static bool has_environment(const struct neap_project *project, const char *name)
{
    for (char **at = project->environment_names; *at; at++)
        if (strcmp(*at, name) == 0)
            return true;
    return false;
}

/* What names the target, and where that stands. */
struct choice {
    const char *name;
    const char *origin;
    const char *url;     /* DATABASE_URL's */
    const json_t *table; /* the environment in neap.lua, or NULL */
    json_t *unset;       /* variables that neap.lua reads and that are not set */
};

static const char *pg_variable(void)
{
    static const char *const names[] = {"PGSERVICE", "PGHOST", "PGHOSTADDR", "PGDATABASE"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (variable(names[i]))
            return names[i];
    return NULL;
}

static struct choice choose(const struct neap_project_opts *opts, const json_t *config)
{
    if (opts->env)
        return (struct choice){.name = opts->env, .origin = "--env"};
    if (variable("NEAP_ENV"))
        return (struct choice){.name = variable("NEAP_ENV"), .origin = "NEAP_ENV"};
    if (variable("DATABASE_URL"))
        return (struct choice){
            .name = "DATABASE_URL", .origin = "DATABASE_URL", .url = variable("DATABASE_URL")};
    const char *pg = pg_variable();
    if (pg)
        return (struct choice){.name = "PG*", .origin = pg};
    return (struct choice){.name = config_text(config, "default"), .origin = "neap.lua"};
}

static bool is_named(const struct choice *choice)
{
    return strcmp(choice->origin, "DATABASE_URL") != 0 && strcmp(choice->name, "PG*") != 0;
}

/* Which of the variables its url is read from, only neap.lua knows. */
static void no_url(const struct choice *choice, struct neap_error *err)
{
    struct neap_buffer names = {0};
    const char *name;
    json_t *value;
    json_object_foreach(choice->unset, name, value)
        neap_buffer_add_format(&names, "%s%s", names.length ? ", " : "", name);
    neap_error_set(err, NEAP_ERR_CONFIG_INVALID, "environment %s has no url", choice->name);
    neap_error_where(err, "neap.lua", 0);
    if (names.length)
        neap_error_detail(err, "neap.lua reads variables that are not set: %s.",
                          neap_buffer_text(&names));
    if (json_object_size(choice->unset) == 1)
        neap_error_hint(err, "Set %s, then run it again.", neap_buffer_text(&names));
    else
        neap_error_hint(err, "Set the variable that its url is read from, or give neap.lua "
                             "url = \"service=NAME\".");
    neap_buffer_clear(&names);
}

static bool keep_url(struct neap_project *project, const char *name, const char *url,
                     const char *origin, struct neap_error *err)
{
    pg_conninfo_redact(url);
    if (!pg_conninfo_check(url, err))
        return false;
    char *shown = pg_conninfo_redacted(url);
    add_setting(project, name, shown, origin);
    free(shown);
    return true;
}

/* As url: what names no environment has it in `from`. *out is NULL where there is none. */
static bool fill_other_url(struct neap_project *project, const struct choice *choice,
                           const char *key, const char *from, char **out, struct neap_error *err)
{
    bool named = is_named(choice);
    const char *url = named ? config_text(choice->table, key) : variable(from);
    *out = neap_strdup(url);
    return !url || project->env.scratch ||
           keep_url(project, key, url, named ? "neap.lua" : from, err);
}

static bool fill_other_urls(struct neap_project *project, const struct choice *choice,
                            struct neap_error *err)
{
    return fill_other_url(project, choice, "control", "NEAP_CONTROL_URL", &project->env.control,
                          err) &&
           fill_other_url(project, choice, "backup", "NEAP_BACKUP_URL", &project->env.backup,
                          err) &&
           fill_other_url(project, choice, "restore", "NEAP_RESTORE_URL", &project->env.restore,
                          err);
}

static bool fill_url(struct neap_project *project, const struct choice *choice,
                     struct neap_error *err)
{
    struct neap_environment *env = &project->env;
    const char *url = is_named(choice) ? config_text(choice->table, "url") : choice->url;
    env->scratch = is_named(choice) && strcmp(choice->name, "scratch") == 0;
    if (env->scratch)
        return true;
    if (!url && is_named(choice)) {
        no_url(choice, err);
        return false;
    }
    env->url = neap_strdup(url);
    if (!url) {
        add_setting(project, "url", "libpq's PG* variables", choice->origin);
        return true;
    }
    return keep_url(project, "url", url, choice->url ? "DATABASE_URL" : "neap.lua", err);
}

static char *identifier_text(const json_t *value)
{
    if (json_is_integer(value))
        return neap_format("%" JSON_INTEGER_FORMAT, json_integer_value(value));
    return neap_strdup(json_string_value(value));
}

static void fill_rules(struct neap_project *project, const json_t *table)
{
    struct neap_environment *env = &project->env;
    env->is_protected = json_is_true(json_object_get(table, "protected"));
    env->allow_superuser = json_is_true(json_object_get(table, "allow_superuser"));
    env->role = neap_strdup(config_text(table, "role"));
    env->system_identifier = identifier_text(json_object_get(table, "system_identifier"));
    env->database = neap_strdup(config_text(table, "database"));
    env->pooler = config_text(table, "pooler") != NULL;
    add_setting(project, "protected", env->is_protected ? "true" : "false",
                json_object_get(table, "protected") ? "neap.lua" : "default");
    if (json_object_get(table, "allow_superuser"))
        add_setting(project, "allow_superuser", env->allow_superuser ? "true" : "false",
                    "neap.lua");
    if (env->role)
        add_setting(project, "role", env->role, "neap.lua");
    if (env->system_identifier)
        add_setting(project, "system_identifier", env->system_identifier, "neap.lua");
    if (env->database)
        add_setting(project, "database", env->database, "neap.lua");
    if (env->pooler)
        add_setting(project, "pooler", "transaction", "neap.lua");
}

/* The effective text of a limit and its origin. */
static const char *limit_text(const struct limit *limit, const struct neap_project_opts *opts,
                              const json_t *table, const char **origin)
{
    const char *flag = NULL;
    if (limit->flag)
        memcpy(&flag, (const char *)opts + limit->flag_offset, sizeof flag);
    *origin = limit->flag;
    if (flag)
        return flag;
    *origin = limit->variable;
    if (variable(limit->variable))
        return variable(limit->variable);
    *origin = "neap.lua";
    if (config_text(table, limit->name))
        return config_text(table, limit->name);
    *origin = "default";
    return limit->fallback;
}

static bool fill_limit(struct neap_project *project, const struct limit *limit,
                       const struct neap_project_opts *opts, const json_t *table,
                       struct neap_error *err)
{
    const char *origin;
    int64_t value;
    const char *text = limit_text(limit, opts, table, &origin);
    const char *name = strcmp(origin, "neap.lua") == 0 ? limit->name : origin;
    bool good = limit->size ? neap_size_parse(text, name, &value, err)
                            : neap_duration_parse(text, name, &value, err);
    if (!good)
        return false;
    if (value < limit->least) {
        neap_error_set(err, NEAP_ERR_CONFIG_INVALID, "%s is `%s`; it must be %s or more", name,
                       text, limit->least_text);
        return false;
    }
    memcpy((char *)&project->env + limit->offset, &value, sizeof value);
    add_setting(project, limit->name, text, origin);
    return true;
}

static bool fill_limits(struct neap_project *project, const struct neap_project_opts *opts,
                        const json_t *table, struct neap_error *err)
{
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        if (!fill_limit(project, &limits[i], opts, table, err))
            return false;
    return true;
}

static char *below_project(const struct neap_project *project, const char *path)
{
    return path[0] == '/' ? neap_strdup(path) : neap_path_join(project->dir, path);
}

/* Sets state_dir and signing_key; a relative path in neap.lua means the project,
 * one on the command line the current directory, as everywhere. */
static void fill_paths(struct neap_project *project, const struct neap_project_opts *opts,
                       const json_t *config)
{
    const char *configured = config_text(config, "state_dir");
    const char *key = config_text(config, "signing_key");
    if (opts->state_dir) {
        project->state_dir = neap_strdup(opts->state_dir);
        add_setting(project, "state_dir", project->state_dir, "--state-dir");
    } else if (configured && !variable("NEAP_STATE_DIR")) {
        project->state_dir = below_project(project, configured);
        add_setting(project, "state_dir", project->state_dir, "neap.lua");
    } else {
        project->state_dir = neap_path_state_dir();
        add_setting(project, "state_dir", project->state_dir,
                    variable("NEAP_STATE_DIR") ? "NEAP_STATE_DIR" : "default");
    }
    if (key) {
        project->signing_key = below_project(project, key);
        add_setting(project, "signing_key", project->signing_key, "neap.lua");
    }
}

static const char *origin_of(const json_t *table, const char *key)
{
    return json_object_get(table, key) != NULL ? "neap.lua" : "default";
}

static void fill_gates(struct neap_project *project, const json_t *table)
{
    struct neap_environment *env = &project->env;
    const char *dir = config_text(table, "backup_dir");
    project_gates_fill(table, env);
    env->backup_dir =
        dir == NULL ? neap_path_join(project->state_dir, "backups") : below_project(project, dir);
    char *gates = project_gates_text(env), *retention = project_retention_text(table);
    add_setting(project, "gates", gates, origin_of(table, "gates"));
    add_setting(project, "backup_dir", env->backup_dir, origin_of(table, "backup_dir"));
    add_setting(project, "retention", retention, origin_of(table, "retention"));
    add_setting(project, "auto_restore", env->auto_restore ? "true" : "false",
                origin_of(table, "auto_restore"));
    free(gates);
    free(retention);
}

static void fill_archive(struct neap_project *project, const json_t *table)
{
    project_archive_fill(table, &project->env);
    if (project->env.archive == NULL)
        return;
    char *archive = project_archive_text(&project->env);
    add_setting(project, "archive", archive, "neap.lua");
    free(archive);
}

static bool fill_environment(struct neap_project *project, const struct neap_project_opts *opts,
                             const json_t *config, json_t *unset, struct neap_error *err)
{
    struct choice choice = choose(opts, config);
    choice.unset = unset;
    project_preflight_fill(NULL, project->env.preflight);
    project_gates_fill(NULL, &project->env);
    if (!choice.name)
        return fill_limits(project, opts, NULL, err);
    bool named = is_named(&choice);
    if (named && !has_environment(project, choice.name))
        return unknown_environment(project, choice.name, choice.origin, err);
    if (named)
        choice.table = json_object_get(json_object_get(config, "environments"), choice.name);
    project->has_env = true;
    project->env.name = neap_strdup(choice.name);
    project->env.named = named;
    add_setting(project, "environment", choice.name, choice.origin);
    if (!fill_url(project, &choice, err) || !fill_other_urls(project, &choice, err))
        return false;
    fill_rules(project, choice.table);
    project_preflight_fill(json_object_get(choice.table, "preflight"), project->env.preflight);
    fill_gates(project, choice.table);
    fill_archive(project, choice.table);
    return fill_limits(project, opts, choice.table, err);
}

bool neap_project_open(struct neap_loop *loop, const struct neap_project_opts *opts,
                       struct neap_project *out, struct neap_error *err)
{
    json_t *config = NULL, *unset = NULL;
    *out = (struct neap_project){0};
    out->dir = realpath(opts->dir ? opts->dir : ".", NULL);
    if (!out->dir) {
        neap_error_set(err, NEAP_ERR_FILE_IO, "cannot open the project %s", opts->dir);
        return false;
    }
    if (variable("PGPASSWORD"))
        neap_redact_add(variable("PGPASSWORD"));
    bool good = project_config_load(loop, out->dir, &config, &unset, err);
    if (good) {
        out->has_config = config != NULL;
        list_environments(out, json_object_get(config, "environments"));
        fill_paths(out, opts, config);
        good = fill_environment(out, opts, config, unset, err);
    }
    json_decref(config);
    json_decref(unset);
    if (!good)
        neap_project_clear(out);
    return good;
}

bool neap_project_need_target(const struct neap_project *project, struct neap_error *err)
{
    struct neap_buffer list = {0};
    if (project->has_env)
        return true;
    for (char **at = project->environment_names; at && *at; at++)
        neap_buffer_add_format(&list, "%s%s", list.length ? ", " : "", *at);
    neap_error_set(err, NEAP_ERR_CONFIG_TARGET, "no target is named");
    neap_error_detail(err, "Environments here: %s.", neap_buffer_text(&list));
    neap_error_hint(err, "Give `-e ENV`, or set DATABASE_URL=postgresql://user@host/database "
                         "(or PGHOST, PGDATABASE, …). `-e scratch` starts a throwaway one.");
    neap_buffer_clear(&list);
    return false;
}

static void clear_environment(struct neap_environment *env)
{
    free(env->name);
    free(env->url);
    free(env->control);
    free(env->backup);
    free(env->restore);
    free(env->backup_dir);
    backup_pitr_free(env->archive);
    free(env->role);
    free(env->system_identifier);
    free(env->database);
}

void neap_project_clear(struct neap_project *project)
{
    for (size_t i = 0; i < project->setting_count; i++) {
        free(project->settings[i].value);
        free(project->settings[i].origin);
    }
    free(project->settings);
    for (char **name = project->environment_names; name && *name; name++)
        free(*name);
    free(project->environment_names);
    free(project->dir);
    free(project->state_dir);
    free(project->signing_key);
    clear_environment(&project->env);
    *project = (struct neap_project){0};
}
