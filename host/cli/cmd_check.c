/* SPDX-License-Identifier: MIT
 *
 * neap check [ID…]: one line a finding, in the form that editors jump to.
 */
#include "host/base/json.h"
#include "host/cli/cli.h"
#include "host/cli/cli_lint.h"

static void print_finding(struct neap_cli *cli, const json_t *finding)
{
    const json_t *line = json_object_get(finding, "line");
    const char *level = json_string_value(json_object_get(finding, "level"));
    const char *hint = json_string_value(json_object_get(finding, "hint"));
    const char *file = json_string_value(json_object_get(finding, "file"));
    const char *message = json_string_value(json_object_get(finding, "message"));
    const char *code = json_string_value(json_object_get(finding, "code"));
    if (json_is_integer(line))
        cli_print(cli, "%s:%d: %s: %s [%s]", file, (int)json_integer_value(line), level, message,
                  code);
    else
        cli_print(cli, "%s: %s: %s [%s]", file, level, message, code);
    if (hint && hint[0] != '\0')
        cli_print(cli, "  %s", hint);
}

static const char *plural(int count)
{
    return count == 1 ? "" : "s";
}

static int report(struct neap_cli *cli, struct cli_lint *lint)
{
    struct neap_error err = {0};
    json_t *body = json_object();
    size_t index;
    json_t *finding;
    json_array_foreach(lint->findings, index, finding) print_finding(cli, finding);
    cli_print(cli, "%d script%s checked: %d error%s, %d warning%s", lint->checked,
              plural(lint->checked), lint->error_count, plural(lint->error_count),
              lint->warning_count, plural(lint->warning_count));
    neap_json_set(body, "checked", json_integer(lint->checked));
    neap_json_set(body, "findings", lint->findings);
    if (lint->error_count == 0) {
        cli_json(cli, 0, body);
        return 0;
    }
    neap_error_set(&err, NEAP_ERR_LINT_FOUND, "%d error%s in the scripts", lint->error_count,
                   plural(lint->error_count));
    neap_error_hint(&err, "Mend the lines above, then run `neap check` again.");
    return cli_fail_with(cli, &err, body);
}

int cmd_check(struct neap_cli *cli)
{
    struct neap_error err = {0};
    if (!cli_need_project(cli, &err))
        return cli_fail(cli, &err);
    struct cli_lint lint = {
        .loop = cli->loop,
        .project = cli->project.dir,
        .memory_bytes = cli->project.env.memory_bytes,
        .ids = cli->argv,
        .findings = json_array(),
    };
    if (cli_lint_run(&lint, &err))
        return report(cli, &lint);
    json_decref(lint.findings);
    return cli_fail(cli, &err);
}
