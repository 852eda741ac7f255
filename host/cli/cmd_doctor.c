/* SPDX-License-Identifier: MIT
 *
 * neap doctor: what neap would do here, and why: the project, each effective
 * value with its origin, and (when a target is named) what answers there. It
 * looks at everything it can and starts or changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/scratch/scratch.h"
#include "host/base/buffer.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/change/target.h"
#include "host/cli/cli.h"
#include "host/cli/cli_versions.h"
#include "host/migrate/discover.h"

struct doctor {
    struct neap_cli *cli;
    json_t *checks;
    struct neap_error worst; /* the first error; its exit status is the command's */
};

static void check(struct doctor *doctor, const char *name, const char *level, const char *message,
                  const char *hint)
{
    json_t *row = json_object();
    cli_print_check(doctor->cli, level, name, message, hint);
    neap_json_set(row, "check", neap_json_text(name));
    neap_json_set(row, "level", neap_json_text(level));
    neap_json_set(row, "message", neap_json_text(message));
    neap_json_set(row, "hint", neap_json_text(hint));
    json_array_append_new(doctor->checks, row);
}

static void check_error(struct doctor *doctor, const char *name, struct neap_error *err)
{
    const char *hint = err->hint ? err->hint : neap_error_row(err->code)->next;
    check(doctor, name, "error", err->message, hint);
    if (err->detail)
        cli_print(doctor->cli, "        %.*s", (int)strcspn(err->detail, "\n"), err->detail);
    if (doctor->worst.code == NEAP_OK)
        neap_error_move(&doctor->worst, err);
    else
        neap_error_clear(err);
}

static void check_migrations(struct doctor *doctor)
{
    struct neap_migrations migrations = {0};
    struct neap_error err = {0};
    if (!neap_discover(doctor->cli->project.dir, &migrations, &err)) {
        check_error(doctor, "migrations", &err);
        return;
    }
    char *message = neap_format("%zu in migrations/", migrations.count);
    check(doctor, "migrations", "ok", message, "");
    free(message);
    neap_migrations_clear(&migrations);
}

static void print_settings(struct neap_cli *cli)
{
    static const char *const headings[] = {"setting", "value", "from", NULL};
    struct cli_table *table = cli_table_new(headings);
    for (size_t i = 0; i < cli->project.setting_count; i++) {
        const struct neap_setting *setting = &cli->project.settings[i];
        const char *cells[] = {setting->name, setting->value, setting->origin, NULL};
        cli_table_row(table, CLI_PLAIN, cells);
    }
    cli_table_print(cli, table);
    cli_print(cli, "%s", "");
}

/* Looking must not start it: doctor changes nothing. */
static bool fill_scratch(struct doctor *doctor)
{
    struct neap_environment *env = &doctor->cli->project.env;
    struct scratch_status status = {0};
    struct neap_error err = {0};
    bool running = false;
    if (!scratch_look(doctor->cli->loop, doctor->cli->project.dir, &status, &err)) {
        check_error(doctor, "scratch", &err);
        return false;
    }
    running = status.running;
    if (running) {
        free(env->url);
        env->url = neap_strdup(status.url);
    } else {
        check(doctor, "scratch", "ok", "it does not run now",
              "`neap scratch start`, or any command with -e scratch, starts it.");
    }
    scratch_status_clear(&status);
    return running;
}

static void check_identity(struct doctor *doctor, const struct neap_target *target)
{
    const struct neap_environment *env = &doctor->cli->project.env;
    char *message = neap_format("PostgreSQL %s, database %s as %s, system identifier %s",
                                target->server_version, target->database, target->user,
                                target->system_identifier);
    check(doctor, "server", "ok", message, "");
    free(message);
    if (env->is_protected && !env->system_identifier) {
        char *hint = neap_format("system_identifier = \"%s\", database = \"%s\" in neap.lua "
                                 "pins it.",
                                 target->system_identifier, target->database);
        check(doctor, "pin", "warning", "a protected environment without an identity pin", hint);
        free(hint);
    }
}

static void check_target_rules(struct doctor *doctor, const struct neap_target *target)
{
    const struct neap_environment *env = &doctor->cli->project.env;
    if (target->standby)
        check(doctor, "writable", "warning", "the server is a standby or read-only",
              "status and verify work here; up does not.");
    else
        check(doctor, "writable", "ok", "the server takes writes", "");
    if (target->direct)
        check(doctor, "pooler", "ok", "none in the way", "");
    else
        check(doctor, "pooler", "warning", "a transaction pooler is in the way",
              "See `neap help poolers`.");
    if (target->superuser && !env->scratch)
        check(doctor, "role", "warning", "the role is a superuser, which no rule holds",
              "See `neap help security`.");
}

/* Whether a script could write history itself. */
static const char sql_may_write[] =
    "select pg_catalog.has_table_privilege(c.oid, 'insert, update, delete')"
    " from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
    " where n.nspname = 'neap' and c.relname = 'history'";

static void check_roles(struct doctor *doctor, struct neap_target *target)
{
    struct neap_error err = {0};
    struct pg_op *op = NULL;
    bool two = target->env->control != NULL;
    if (two && !neap_target_work(target, &err)) {
        check_error(doctor, "work", &err);
        return;
    }
    const char *user = two ? target->work_user : target->user;
    if (!pg_exec_text(two ? target->work : target->control, sql_may_write, 0, NULL, &op, &err)) {
        check_error(doctor, "roles", &err);
    } else if (target->superuser || target->env->scratch || pg_rows(op) == 0) {
        /* said already, of no account, or not known yet */
    } else if (pg_cell_bool(op, 0, 0)) {
        char *message = neap_format("scripts run as %s, who may write history", user);
        check(doctor, "roles", "warning", message, "See `neap help security`.");
        free(message);
    } else {
        char *message = neap_format("scripts run as %s and cannot write history; %s keeps the "
                                    "books",
                                    user, target->user);
        check(doctor, "roles", "ok", message, "");
        free(message);
    }
    pg_op_free(op);
}

/* What `neap up` skips here is seen before it is run. */
static void check_gates(struct doctor *doctor)
{
    static const char *const names[] = {
#define NEAP_GATE(symbol, name, about) name,
#include "host/change/gates.def"
#undef NEAP_GATE
    };
    const struct neap_environment *env = &doctor->cli->project.env;
    struct neap_buffer missing = {0};
    for (int gate = 0; gate < NEAP_GATE_COUNT; gate++)
        if (!env->gates[gate])
            neap_buffer_add_format(&missing, "%s%s", missing.length == 0 ? "" : ", ", names[gate]);
    if (env->is_protected && missing.length > 0) {
        char *message = neap_format("`neap up` asks for no %s here, although it is protected",
                                    neap_buffer_text(&missing));
        check(doctor, "gates", "warning", message, "See `gates` in `neap help environments`.");
        free(message);
    }
    neap_buffer_clear(&missing);
}

static void check_target(struct doctor *doctor)
{
    struct neap_cli *cli = doctor->cli;
    struct neap_target *target = NULL;
    struct neap_error err = {0};
    if (!cli->project.has_env) {
        check(doctor, "target", "ok", "none is named", "Give -e ENV to look at one.");
        return;
    }
    check_gates(doctor);
    if (cli->project.env.scratch && !fill_scratch(doctor))
        return;
    if (!neap_target_open(cli->loop, &cli->project.env, false, &target, &err)) {
        check_error(doctor, "target", &err);
        return;
    }
    check_identity(doctor, target);
    check_roles(doctor, target);
    check_target_rules(doctor, target);
    neap_target_close(target);
}

static json_t *body_of(struct doctor *doctor)
{
    const struct neap_project *project = &doctor->cli->project;
    json_t *body = json_object();
    json_t *environments = json_array();
    json_t *settings = json_array();
    for (char **name = project->environment_names; *name; name++)
        json_array_append_new(environments, neap_json_text(*name));
    for (size_t i = 0; i < project->setting_count; i++) {
        json_t *row = json_object();
        neap_json_set(row, "name", neap_json_text(project->settings[i].name));
        neap_json_set(row, "value", neap_json_text(project->settings[i].value));
        neap_json_set(row, "origin", neap_json_text(project->settings[i].origin));
        json_array_append_new(settings, row);
    }
    neap_json_set(body, "neap", neap_json_text(NEAP_VERSION));
    neap_json_set(body, "libraries", cli_versions());
    neap_json_set(body, "project", neap_json_text(project->dir));
    neap_json_set(body, "environment", neap_json_text(project->env.name));
    neap_json_set(body, "environments", environments);
    neap_json_set(body, "settings", settings);
    neap_json_set(body, "checks", doctor->checks);
    return body;
}

int cmd_doctor(struct neap_cli *cli)
{
    struct neap_error err = {0};
    struct doctor doctor = {.cli = cli};
    if (!cli_arguments(cli, 0, 0, &err) || !cli_need_project(cli, &err))
        return cli_fail(cli, &err);
    doctor.checks = json_array();
    cli_print(cli, "neap %s in %s%s\n", NEAP_VERSION, cli->project.dir,
              cli->project.has_config ? "" : " (no neap.lua)");
    print_settings(cli);
    check_migrations(&doctor);
    check_target(&doctor);
    json_t *body = body_of(&doctor);
    if (doctor.worst.code != NEAP_OK)
        return cli_fail_with(cli, &doctor.worst, body);
    cli_json(cli, 0, body);
    return 0;
}
