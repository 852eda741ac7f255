/* SPDX-License-Identifier: MIT
 *
 * Loads neap.lua and checks it against lists of keys. All environments are
 * checked, also those that are not used now: a mistake in `production` should
 * show on the author's machine. A url that is missing is only missed when the
 * environment is used, because it may come from a variable that is not set here.
 */
#include "host/project/project_config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bindings/pg/pg_conninfo.h"
#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/base/text.h"
#include "host/project/project_archive.h"
#include "host/project/project_gates.h"
#include "host/project/project_preflight.h"
#include "host/script/script.h"

#define CONFIG_SIZE_MAX ((size_t)256 * 1024)
#define READABLE_BY_OTHERS (S_IRGRP | S_IROTH)

enum key_kind {
    KEY_TEXT,
    KEY_NUMBER_TEXT,
    KEY_BOOL,
    KEY_DURATION,
    KEY_SIZE,
    KEY_TABLE,
    KEY_POOLER,
    KEY_LIST,
};

struct key {
    const char *name;
    enum key_kind kind;
};

static const struct key top_keys[] = {
    {"environments", KEY_TABLE}, {"default", KEY_TEXT}, {"signing_key", KEY_TEXT},
    {"state_dir", KEY_TEXT},     {NULL, KEY_TEXT},
};

static const struct key environment_keys[] = {
    {"url", KEY_TEXT},
    {"control", KEY_TEXT},
    {"protected", KEY_BOOL},
    {"allow_superuser", KEY_BOOL},
    {"role", KEY_TEXT},
    {"system_identifier", KEY_NUMBER_TEXT},
    {"database", KEY_TEXT},
    {"pooler", KEY_POOLER},
    {"timeout", KEY_DURATION},
    {"lock_timeout", KEY_DURATION},
    {"lock_budget", KEY_DURATION},
    {"lease_wait", KEY_DURATION},
    {"lease_ttl", KEY_DURATION},
    {"connect_timeout", KEY_DURATION},
    {"memory", KEY_SIZE},
    {"preflight", KEY_TABLE},
    {"gates", KEY_LIST},
    {"backup", KEY_TEXT},
    {"restore", KEY_TEXT},
    {"backup_dir", KEY_TEXT},
    {"backup_max_age", KEY_DURATION},
    {"retention", KEY_TABLE},
    {"auto_restore", KEY_BOOL},
    {"archive", KEY_TABLE},
    {NULL, KEY_TEXT},
};

static const char *kind_text(enum key_kind kind)
{
    switch (kind) {
    case KEY_TEXT:
    case KEY_NUMBER_TEXT:
        return "a string";
    case KEY_BOOL:
        return "true or false";
    case KEY_DURATION:
        return "a duration with its unit, such as \"30s\"";
    case KEY_SIZE:
        return "a size with its unit, such as \"256MB\"";
    case KEY_TABLE:
        return "a table with names";
    case KEY_POOLER:
        return "\"transaction\"";
    case KEY_LIST:
        return "a list of names";
    }
    return "something else";
}

/* An empty Lua table cannot say whether it is a list. */
static bool is_table(const json_t *value)
{
    return json_is_object(value) || (json_is_array(value) && json_array_size(value) == 0);
}

static bool is_of_kind(const json_t *value, enum key_kind kind)
{
    int64_t number;
    switch (kind) {
    case KEY_TEXT:
        return json_is_string(value);
    case KEY_NUMBER_TEXT:
        return json_is_string(value) || json_is_integer(value);
    case KEY_BOOL:
        return json_is_boolean(value);
    case KEY_DURATION:
        return json_is_string(value) &&
               neap_duration_parse(json_string_value(value), "", &number, NULL);
    case KEY_SIZE:
        return json_is_string(value) &&
               neap_size_parse(json_string_value(value), "", &number, NULL);
    case KEY_TABLE:
        return is_table(value);
    case KEY_POOLER:
        return json_is_string(value) && strcmp(json_string_value(value), "transaction") == 0;
    case KEY_LIST:
        return json_is_array(value) || (json_is_object(value) && json_object_size(value) == 0);
    }
    return false;
}

static bool unknown_key(const char *where, const char *name, const struct key *keys,
                        struct neap_error *err)
{
    const char *names[32] = {0};
    for (size_t i = 0; keys[i].name; i++)
        names[i] = keys[i].name;
    const char *nearest = neap_text_nearest(name, names);
    neap_error_set(err, NEAP_ERR_CONFIG_INVALID, "neap.lua: %s%s is not a known key", where, name);
    if (nearest)
        neap_error_hint(err, "Did you mean %s?", nearest);
    else
        neap_error_hint(err, "See `neap help environments`.");
    return false;
}

/* libpq takes an empty connection string for its defaults: some other database. */
static bool is_blank(const json_t *value)
{
    const char *text = json_string_value(value);
    return text != NULL && text[strspn(text, " \t\n")] == '\0';
}

static bool check_keys(const char *where, const json_t *table, const struct key *keys,
                       struct neap_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)table, name, value)
    {
        const struct key *key = keys;
        while (key->name && strcmp(key->name, name) != 0)
            key++;
        if (!key->name)
            return unknown_key(where, name, keys, err);
        if (is_blank(value)) {
            neap_error_set(err, NEAP_ERR_CONFIG_INVALID, "neap.lua: %s%s must not be empty", where,
                           name);
            return false;
        }
        if (is_of_kind(value, key->kind))
            continue;
        neap_error_set(err, NEAP_ERR_CONFIG_INVALID, "neap.lua: %s%s must be %s", where, name,
                       kind_text(key->kind));
        return false;
    }
    return true;
}

static bool is_name(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    return length > 0 && length <= 63 && name[length] == '\0';
}

/* The keys of an environment that are connection strings. */
static const char *const url_keys[] = {"url", "control", "backup", "restore", NULL};

static bool check_environment(const char *name, const json_t *table, struct neap_error *err)
{
    if (!is_name(name)) {
        neap_error_set(err, NEAP_ERR_CONFIG_INVALID, "neap.lua: `%s` is not an environment's name",
                       name);
        neap_error_detail(err, "A name has letters, digits, \"_\" and \"-\".");
        return false;
    }
    if (!is_table(table)) {
        neap_error_set(err, NEAP_ERR_CONFIG_INVALID, "neap.lua: environments.%s must be a table",
                       name);
        return false;
    }
    static const char *const not_scratch[] = {"url", "control", "backup", "archive", NULL};
    for (const char *const *key = not_scratch; *key; key++) {
        if (strcmp(name, "scratch") != 0 || !json_object_get(table, *key))
            continue;
        neap_error_set(err, NEAP_ERR_CONFIG_INVALID,
                       "neap.lua: environments.scratch is built in and takes no %s", *key);
        return false;
    }
    char *where = neap_format("environments.%s.", name);
    bool good = check_keys(where, table, environment_keys, err) &&
                project_preflight_check(where, json_object_get(table, "preflight"), err) &&
                project_gates_check(where, table, err) && project_archive_check(where, table, err);
    free(where);
    return good;
}

static bool check_table(const json_t *config, struct neap_error *err)
{
    const char *name;
    json_t *table;
    if (!is_table(config)) {
        neap_error_set(err, NEAP_ERR_CONFIG_INVALID, "neap.lua must return a table");
        return false;
    }
    if (!check_keys("", config, top_keys, err))
        return false;
    json_object_foreach(json_object_get(config, "environments"), name,
                        table) if (!check_environment(name, table, err)) return false;
    return true;
}

bool project_config_check(const json_t *config, struct neap_error *err)
{
    if (check_table(config, err))
        return true;
    neap_error_where(err, "neap.lua", 0);
    return false;
}

static bool has(const char *text, const char *before, const char *secret, const char *after)
{
    char *wanted = neap_format("%s%s%s", before, secret, after);
    bool found = strstr(text, wanted) != NULL;
    free(wanted);
    return found;
}

/* The password itself could be a common word ("shop"), so only its places in a
 * connection string or as a whole Lua string count. */
static bool url_is_literal(const char *url, const char *text)
{
    char *password = pg_conninfo_password(url);
    if (!password)
        return false;
    bool found = strstr(text, url) || has(text, ":", password, "@") ||
                 has(text, "password=", password, "") || has(text, "\"", password, "\"") ||
                 has(text, "'", password, "'");
    free(password);
    return found;
}

bool project_config_has_password(const json_t *config, const char *text)
{
    const char *name;
    json_t *table;
    json_object_foreach(json_object_get(config, "environments"), name, table)
    {
        for (const char *const *key = url_keys; *key; key++) {
            const char *url = json_string_value(json_object_get(table, *key));
            if (url && url_is_literal(url, text))
                return true;
        }
    }
    return false;
}

static bool check_mode(const char *path, const json_t *config, const char *text,
                       struct neap_error *err)
{
    struct stat at;
    if (stat(path, &at) != 0)
        return true; /* it was read a moment ago; what was read counts */
    if (at.st_mode & S_IWOTH) {
        neap_error_set(err, NEAP_ERR_FILE_REFUSED, "anybody may write to %s", path);
        neap_error_hint(err, "chmod o-w %s", path);
        return false;
    }
    if ((at.st_mode & READABLE_BY_OTHERS) && project_config_has_password(config, text)) {
        neap_error_set(err, NEAP_ERR_FILE_REFUSED, "%s holds a password and others may read it",
                       path);
        neap_error_detail(err, "A password belongs in a variable (url = env \"NAME\"), a service "
                               "or a passfile.");
        neap_error_hint(err, "chmod 600 %s", path);
        return false;
    }
    return true;
}

/* The secrets are registered before anything else can fail and be printed. */
static void redact_urls(const json_t *config)
{
    const char *name;
    json_t *table;
    json_object_foreach(json_object_get(config, "environments"), name, table)
    {
        for (const char *const *key = url_keys; *key; key++) {
            const char *url = json_string_value(json_object_get(table, *key));
            if (url)
                pg_conninfo_redact(url);
        }
    }
}

bool project_config_load(struct neap_loop *loop, const char *dir, json_t **out, json_t **unset,
                         struct neap_error *err)
{
    char *path = neap_path_join(dir, "neap.lua");
    char name[] = "neap.lua";
    struct neap_source_file file = {.path = name};
    bool good = true;
    *out = *unset = NULL;
    if (neap_path_exists(path)) {
        good = neap_path_read(path, dir, CONFIG_SIZE_MAX, &file.text, &file.length, err) &&
               neap_script_config(loop, &file, out, unset, err);
        if (good)
            redact_urls(*out);
        good = good && project_config_check(*out, err) && check_mode(path, *out, file.text, err);
    }
    if (!good) {
        json_decref(*out);
        json_decref(*unset);
        *out = *unset = NULL;
    }
    free(file.text);
    free(path);
    return good;
}
