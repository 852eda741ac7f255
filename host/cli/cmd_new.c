/* SPDX-License-Identifier: MIT
 *
 * neap new NAME: the next migration, from one of four templates. The file is
 * created exclusively; when somebody else took the number in between, that is
 * said instead of silently taking another.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/base/buffer.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/cli/cli.h"
#include "host/cli/cli_write.h"
#include "host/migrate/discover.h"

#define NAME_MAX_BYTES 60

/* In the templates @S is the summary, @T the ticket's line. */
static const char template_lua[] = "--- why:\n"
                                   "--- risk:\n"
                                   "--- locks:\n"
                                   "return migration {\n"
                                   "  summary = \"@S\",\n"
                                   "@T"
                                   "  up = function(db)\n"
                                   "    db:exec [[\n"
                                   "      CREATE TABLE example (id bigint PRIMARY KEY)\n"
                                   "    ]]\n"
                                   "  end,\n"
                                   "  verify = function(db, expect)\n"
                                   "    expect.table \"example\"\n"
                                   "  end,\n"
                                   "  down = function(db)\n"
                                   "    db:exec \"DROP TABLE example\"\n"
                                   "  end,\n"
                                   "}\n";

static const char template_steps[] =
    "--- why:\n"
    "--- risk:\n"
    "--- locks:\n"
    "return migration {\n"
    "  summary = \"@S\",\n"
    "@T"
    "  transaction = false,\n"
    "  steps = {\n"
    "    {\n"
    "      name = \"index\",\n"
    "      up = function(db)\n"
    "        db:exec \"CREATE INDEX CONCURRENTLY example_name_idx ON example (name)\"\n"
    "      end,\n"
    "      verify = function(db, expect)\n"
    "        expect.index(\"example_name_idx\", { valid = true })\n"
    "      end,\n"
    "      down = function(db)\n"
    "        db:exec \"DROP INDEX CONCURRENTLY IF EXISTS example_name_idx\"\n"
    "      end,\n"
    "    },\n"
    "  },\n"
    "}\n";

static const char template_sql[] = "-- why:\n"
                                   "-- risk:\n"
                                   "-- locks:\n"
                                   "-- neap: summary @S\n"
                                   "@T"
                                   "\n"
                                   "-- neap: up\n"
                                   "CREATE TABLE example (id bigint PRIMARY KEY);\n"
                                   "\n"
                                   "-- neap: verify\n"
                                   "-- Every statement must give true in each row.\n"
                                   "SELECT to_regclass('example') IS NOT NULL;\n"
                                   "\n"
                                   "-- neap: down\n"
                                   "DROP TABLE example;\n";

static const char template_sql_steps[] =
    "-- why:\n"
    "-- risk:\n"
    "-- locks:\n"
    "-- neap: summary @S\n"
    "@T"
    "-- neap: transaction false\n"
    "\n"
    "-- neap: step index\n"
    "-- neap: up\n"
    "CREATE INDEX CONCURRENTLY example_name_idx ON example (name);\n"
    "\n"
    "-- neap: verify\n"
    "SELECT indisvalid FROM pg_index WHERE indexrelid = 'example_name_idx'::regclass;\n"
    "\n"
    "-- neap: down\n"
    "DROP INDEX CONCURRENTLY IF EXISTS example_name_idx;\n";

/* "Add e-mail to Users!" -> "add_e_mail_to_users"; NULL when nothing is left. */
static char *sanitise(const char *name)
{
    struct neap_buffer clean = {0};
    for (; *name != '\0' && clean.length < NAME_MAX_BYTES; name++) {
        unsigned char c = (unsigned char)*name;
        if (c < 0x80 && isalnum(c))
            neap_buffer_add_char(&clean, (char)tolower(c));
        else if (clean.length > 0 && clean.bytes[clean.length - 1] != '_')
            neap_buffer_add_char(&clean, '_');
    }
    while (clean.length > 0 && clean.bytes[clean.length - 1] == '_')
        clean.bytes[--clean.length] = '\0';
    if (clean.length > 0)
        return neap_buffer_take(&clean);
    neap_buffer_clear(&clean);
    return NULL;
}

/* The words as they were typed, safe inside a Lua string and an SQL comment. */
static char *summary_of(const struct neap_cli *cli)
{
    struct neap_buffer text = {0};
    for (int i = 0; i < cli->argc; i++) {
        if (i > 0)
            neap_buffer_add_char(&text, ' ');
        for (const char *at = cli->argv[i]; *at != '\0'; at++)
            neap_buffer_add_char(&text, (unsigned char)*at < 0x20   ? ' '
                                        : *at == '"' || *at == '\\' ? '\''
                                        : *at == '_'                ? ' '
                                                                    : *at);
    }
    if (text.length > 0)
        text.bytes[0] = (char)toupper((unsigned char)text.bytes[0]);
    return neap_buffer_take(&text);
}

static char *ticket_line(const struct neap_cli *cli)
{
    if (!cli->opt.ticket)
        return neap_strdup("");
    char *clean = neap_strdup(cli->opt.ticket);
    for (char *at = clean; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == '"' || *at == '\\')
            *at = '_';
    char *line = cli->opt.sql ? neap_format("-- neap: ticket %s\n", clean)
                              : neap_format("  ticket = \"%s\",\n", clean);
    free(clean);
    return line;
}

static const char *template_of(const struct neap_cli *cli)
{
    if (cli->opt.sql)
        return cli->opt.no_transaction ? template_sql_steps : template_sql;
    return cli->opt.no_transaction ? template_steps : template_lua;
}

static char *fill_template(const struct neap_cli *cli)
{
    struct neap_buffer text = {0};
    const char *at = template_of(cli);
    char *summary = summary_of(cli);
    char *ticket = ticket_line(cli);
    for (; *at != '\0'; at++) {
        if (at[0] == '@' && (at[1] == 'S' || at[1] == 'T'))
            neap_buffer_add_text(&text, *++at == 'S' ? summary : ticket);
        else
            neap_buffer_add_char(&text, *at);
    }
    free(ticket);
    free(summary);
    return neap_buffer_take(&text);
}

static bool name_it(struct neap_cli *cli, char **name, char **id, struct neap_error *err)
{
    struct neap_migrations migrations = {0};
    struct neap_buffer words = {0};
    for (int i = 0; i < cli->argc; i++)
        neap_buffer_add_format(&words, "%s%s", i ? "_" : "", cli->argv[i]);
    *name = sanitise(neap_buffer_text(&words));
    neap_buffer_clear(&words);
    if (!*name) {
        neap_error_set(err, NEAP_ERR_USAGE, "a name needs letters or digits (a-z, 0-9)");
        return false;
    }
    if (!neap_discover(cli->project.dir, &migrations, err))
        return false;
    *id = neap_migration_next_id(&migrations);
    neap_migrations_clear(&migrations);
    return true;
}

static bool write_migration(struct neap_cli *cli, const char *path, struct neap_error *err)
{
    bool created;
    char *full = neap_path_join(cli->project.dir, path);
    char *text = fill_template(cli);
    mode_t mask = umask(022); /* for the team, not for us alone */
    bool good = cli_write_new(full, text, strlen(text), &created, err);
    umask(mask);
    if (good && !created) {
        neap_error_set(err, NEAP_ERR_FILE_IO, "%s exists already", path);
        neap_error_hint(err, "Run `neap new` again: it takes the next number.");
        good = false;
    }
    free(text);
    free(full);
    return good;
}

int cmd_new(struct neap_cli *cli)
{
    struct neap_error err = {0};
    char *name = NULL;
    char *id = NULL;
    char *path = NULL;
    bool good = cli_arguments(cli, 1, 64, &err) && cli_need_project(cli, &err) &&
                name_it(cli, &name, &id, &err);
    if (good) {
        path = neap_format("migrations/%s_%s.%s", id, name, cli->opt.sql ? "sql" : "lua");
        good = write_migration(cli, path, &err);
    }
    int exit_status = good ? 0 : cli_fail(cli, &err);
    if (good) {
        json_t *body = json_object();
        neap_json_set(body, "path", neap_json_text(path));
        neap_json_set(body, "id", neap_json_text(id));
        cli_print(cli, "%s", path);
        cli_print(cli, "Next: edit it, then neap check and neap -e scratch up --dry-run");
        cli_json(cli, 0, body);
    }
    free(path);
    free(id);
    free(name);
    return exit_status;
}
