/* SPDX-License-Identifier: MIT
 *
 * The faults that can be seen without a database. An error is what `up` would
 * stop at, or what would leave a secret in the server's log; a warning is what
 * works today and hurts later.
 */
#include "host/cli/cli_lint.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/script/script.h"

static void add_finding(struct cli_lint *lint, const char *level, const char *code,
                        const char *file, int line, const char *message, const char *hint)
{
    json_t *finding = json_object();
    neap_json_set(finding, "file", neap_json_text(file));
    neap_json_set(finding, "line", line > 0 ? json_integer(line) : json_null());
    neap_json_set(finding, "level", neap_json_text(level));
    neap_json_set(finding, "code", neap_json_text(code));
    neap_json_set(finding, "message", neap_json_text(message));
    neap_json_set(finding, "hint", neap_json_text(hint));
    json_array_append_new(lint->findings, finding);
    if (level[0] == 'e')
        lint->error_count++;
    else
        lint->warning_count++;
}

static void add_error(struct cli_lint *lint, const char *file, struct neap_error *err)
{
    const struct neap_error_row *row = neap_error_row(err->code);
    const char *hint = err->hint ? err->hint : row->next;
    add_finding(lint, "error", row->code, err->where_file ? err->where_file : file, err->where_line,
                err->message, hint && hint[0] ? hint : err->detail);
    neap_error_clear(err);
}

/* One line in lower case, spaces run together, what stands after "--" gone. */
static char *fold_line(const char *line, size_t length)
{
    char *folded = neap_alloc(length + 1);
    size_t kept = 0;
    for (size_t i = 0; i < length; i++) {
        if (line[i] == '-' && i + 1 < length && line[i + 1] == '-')
            break;
        bool space = isspace((unsigned char)line[i]) != 0;
        if (space && kept > 0 && folded[kept - 1] == ' ')
            continue;
        folded[kept++] = space ? ' ' : (char)tolower((unsigned char)line[i]);
    }
    return folded;
}

/* A PASSWORD with a literal beside it; the server writes a failed statement into
 * its log as it is. NULL and parameters are no literals. */
static bool has_password(const char *folded)
{
    for (const char *at = strstr(folded, "password"); at; at = strstr(at + 1, "password")) {
        const char *after = at + strlen("password");
        bool word = at == folded || !(isalnum((unsigned char)at[-1]) || at[-1] == '_');
        after += strspn(after, " ");
        if (word && (*after == '\'' || strncmp(after, "e'", 2) == 0))
            return true;
    }
    return false;
}

static void lint_line(struct cli_lint *lint, const char *path, int line, const char *folded)
{
    if (strstr(folded, "concurrently") && strstr(folded, "if not exists"))
        add_finding(lint, "warning", "lint.index", path, line,
                    "CONCURRENTLY with IF NOT EXISTS takes an invalid index for done",
                    "Leave IF NOT EXISTS out: neap drops its own invalid leftover itself.");
    if (has_password(folded))
        add_finding(lint, "error", "lint.password", path, line,
                    "a password stands in the statement",
                    "The server logs statements that fail. Set the password outside of "
                    "migrations, or give its SCRAM hash as a parameter.");
}

void cli_lint_text(struct cli_lint *lint, const char *path, const char *text)
{
    int line = 1;
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        char *folded = fold_line(text, length);
        lint_line(lint, path, line++, folded);
        free(folded);
        text += length;
        text += *text == '\n';
    }
}

static void lint_requires(struct cli_lint *lint, const struct neap_migrations *all,
                          const struct neap_migration *migration, const struct neap_script_def *def)
{
    for (char **id = def->requires; id && *id; id++) {
        const struct neap_migration *other = neap_migration_find(all, *id);
        char *message = NULL;
        if (!other)
            message = neap_format("it requires %s, which does not exist", *id);
        else if (neap_migration_id_compare(other->id, migration->id) >= 0)
            message = neap_format("it requires %s, which comes later", *id);
        if (message)
            add_finding(lint, "error", "history.requires", migration->path, 0, message,
                        "Name ids of earlier migrations.");
        free(message);
    }
}

static void lint_definition(struct cli_lint *lint, const struct neap_migration *migration,
                            const struct neap_script_def *def)
{
    if (!def->summary || def->summary[0] == '\0')
        add_finding(lint, "warning", "lint.summary", migration->path, 0, "it has no summary",
                    "History and status show the summary to people.");
}

/* Opens one script as `up` would; its faults become findings. */
static void lint_script(struct cli_lint *lint, struct neap_source_cache *cache,
                        const struct neap_migrations *all, const struct neap_migration *migration)
{
    struct neap_script_opts opts = {.loop = lint->loop, .memory_bytes = lint->memory_bytes};
    struct neap_source source = {0};
    struct neap_script *script = NULL;
    struct neap_error err = {0};
    lint->checked++;
    if (!neap_source_load(cache, migration->path, NULL, &source, &err)) {
        add_error(lint, migration->path, &err);
        return;
    }
    for (size_t i = 0; i < source.file_count; i++)
        cli_lint_text(lint, source.files[i].path, source.files[i].text);
    if (neap_script_open(&opts, &source, &script, &err)) {
        lint_requires(lint, all, migration, neap_script_def(script));
        lint_definition(lint, migration, neap_script_def(script));
        neap_script_close(script);
    } else {
        add_error(lint, migration->path, &err);
    }
    neap_source_clear(&source);
}

static bool is_wanted(const struct cli_lint *lint, const struct neap_migration *migration)
{
    if (!lint->ids || !lint->ids[0])
        return true;
    for (const char *const *id = lint->ids; *id; id++)
        if (neap_migration_id_compare(*id, migration->id) == 0)
            return true;
    return false;
}

static bool check_ids(const struct cli_lint *lint, const struct neap_migrations *all,
                      struct neap_error *err)
{
    for (const char *const *id = lint->ids; id && *id; id++) {
        bool digits = (*id)[0] != '\0' && (*id)[strspn(*id, "0123456789")] == '\0';
        if (digits && neap_migration_find(all, *id))
            continue;
        neap_error_set(err, NEAP_ERR_HISTORY_UNKNOWN, "no migration has the id `%s`", *id);
        return false;
    }
    return true;
}

static void on_fault(void *arg, struct neap_error *fault)
{
    add_error(arg, "migrations", fault);
}

bool cli_lint_run(struct cli_lint *lint, struct neap_error *err)
{
    struct neap_migrations all = {0};
    if (!neap_discover_each(lint->project, on_fault, lint, &all, err))
        return false;
    struct neap_source_cache *cache = neap_source_cache_new(lint->project);
    bool good = check_ids(lint, &all, err);
    for (size_t i = 0; good && i < all.count; i++) {
        if (is_wanted(lint, &all.items[i]))
            lint_script(lint, cache, &all, &all.items[i]);
        good = neap_run_check(neap_loop_run(lint->loop), err);
    }
    neap_source_cache_free(cache);
    neap_migrations_clear(&all);
    return good;
}
