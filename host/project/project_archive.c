/* SPDX-License-Identifier: MIT
 *
 * Every word of it ends in an argument list, and perhaps beyond an ssh in front of it in a
 * shell: names are plain words, and nothing is put together here but by lists.
 */
#include "host/project/project_archive.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_pitr.h"
#include "host/base/buffer.h"
#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/project/project_word.h"

#define TIMEOUT_DEFAULT "2h"

static const char *const tool_names[] = {
#define BACKUP_PITR(symbol, name, server) name,
#include "bindings/backup/backup_pitr.def"
#undef BACKUP_PITR
    NULL,
};

static const char *const types[] = {"full", "diff", "incr", NULL};

static bool is_wordy(const json_t *list)
{
    size_t i;
    json_t *word;
    json_array_foreach((json_t *)(uintptr_t)list, i, word)
    {
        const char *text = json_string_value(word);
        if (text == NULL || text[0] == '\0')
            return false;
    }
    return json_array_size(list) > 0;
}

static bool check_text(const char *where, const char *name, const char *value,
                       struct neap_error *err)
{
    if (value != NULL && backup_pitr_is_word(value))
        return true;
    return project_refuse(where, name, "must be a name of letters, digits, \".\", \"_\" and \"-\"",
                          err);
}

static bool check_type(const char *where, enum backup_pitr_tool tool, const json_t *value,
                       struct neap_error *err)
{
    const char *type = json_string_value(value);
    if (tool != BACKUP_PITR_PGBACKREST)
        return project_refuse(where, "type", "is for pgbackrest alone", err);
    if (type != NULL && project_word_find(types, type) >= 0)
        return true;
    return project_refuse(where, "type", "must be \"full\", \"diff\" or \"incr\"", err);
}

static bool check_timeout(const char *where, const json_t *value, struct neap_error *err)
{
    int64_t ms;
    if (json_is_string(value) && neap_duration_parse(json_string_value(value), "", &ms, NULL) &&
        ms > 0)
        return true;
    return project_refuse(where, "timeout", "must be a duration with its unit, such as \"2h\"",
                          err);
}

static bool check_key(const char *where, enum backup_pitr_tool tool, const char *name,
                      const json_t *value, struct neap_error *err)
{
    const char *const keys[] = {
        "tool", backup_pitr_server_word(tool), "command", "type", "timeout", "verify", NULL};
    switch (project_word_find(keys, name)) {
    case 0:
        return true;
    case 1:
        return check_text(where, name, json_string_value(value), err);
    case 2:
        return is_wordy(value) ||
               project_refuse(where, name, "must be a list of words: a program and its arguments",
                              err);
    case 3:
        return check_type(where, tool, value, err);
    case 4:
        return check_timeout(where, value, err);
    case 5:
        return json_is_boolean(value) || project_refuse(where, name, "must be true or false", err);
    default:
        return project_unknown(where, name, "key", keys, err);
    }
}

static bool check_archive(const char *where, const json_t *archive, struct neap_error *err)
{
    const char *tool_name = json_string_value(json_object_get(archive, "tool")), *name;
    enum backup_pitr_tool tool;
    json_t *value;
    if (tool_name == NULL)
        return project_refuse(where, "tool", "must be \"pgbackrest\" or \"barman\"", err);
    if (!backup_pitr_of(tool_name, &tool))
        return project_unknown(where, tool_name, "tool", tool_names, err);
    json_object_foreach((json_t *)(uintptr_t)archive, name, value)
    {
        if (!check_key(where, tool, name, value, err))
            return false;
    }
    const char *server = backup_pitr_server_word(tool);
    return json_object_get(archive, server) != NULL ||
           project_refuse(where, server, "is missing: what the tool calls this server", err);
}

bool project_archive_check(const char *where, const json_t *table, struct neap_error *err)
{
    const json_t *archive = json_object_get(table, "archive");
    if (archive == NULL)
        return true;
    char *inner = neap_format("%sarchive.", where);
    bool good = check_archive(inner, archive, err);
    free(inner);
    return good;
}

static char **command_of(const json_t *list, const char *program)
{
    size_t count = json_array_size(list);
    char **command = neap_alloc((count + 2) * sizeof *command);
    for (size_t i = 0; i < count; i++)
        command[i] = neap_strdup(json_string_value(json_array_get(list, i)));
    if (count == 0)
        command[0] = neap_strdup(program);
    return command;
}

void project_archive_fill(const json_t *table, struct neap_environment *env)
{
    const json_t *archive = json_object_get(table, "archive");
    const json_t *preflight = json_object_get(json_object_get(table, "preflight"), "archiving");
    const char *name = json_string_value(json_object_get(archive, "tool"));
    const char *timeout = json_string_value(json_object_get(archive, "timeout"));
    struct neap_preflight_rule *rule = &env->preflight[NEAP_PREFLIGHT_ARCHIVING];
    if (archive == NULL)
        return;
    struct backup_pitr *pitr = env->archive = neap_alloc(sizeof *pitr);
    (void)backup_pitr_of(name, &pitr->tool);
    pitr->server = neap_strdup(
        json_string_value(json_object_get(archive, backup_pitr_server_word(pitr->tool))));
    pitr->type = neap_strdup(json_string_value(json_object_get(archive, "type")));
    pitr->command = command_of(json_object_get(archive, "command"), name);
    pitr->verify = !json_is_false(json_object_get(archive, "verify"));
    (void)neap_duration_parse(timeout == NULL ? TIMEOUT_DEFAULT : timeout, "", &pitr->timeout_ms,
                              NULL);
    if (json_object_get(preflight, "error") == NULL)
        rule->error = isnan(rule->warning) ? 1 : rule->warning;
}

char *project_archive_text(const struct neap_environment *env)
{
    const struct backup_pitr *pitr = env->archive;
    struct neap_buffer text = {0};
    neap_buffer_add_format(&text, "%s, %s %s:", backup_pitr_name(pitr->tool),
                           backup_pitr_server_word(pitr->tool), pitr->server);
    for (char **word = pitr->command; *word != NULL; word++)
        neap_buffer_add_format(&text, " %s", *word);
    return neap_buffer_take(&text);
}
