/* SPDX-License-Identifier: MIT
 *
 * preflight: every check, whatever the one before it said.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/json.h"
#include "host/cli/cli_target.h"
#include "host/proof/preflight.h"

static void add_threshold(struct neap_buffer *text, const struct neap_preflight_row *row,
                          const char *level, double threshold)
{
    if (isnan(threshold))
        return;
    neap_buffer_add_format(text, "%s%s %s %g%s%s", text->length == 0 ? "" : ", ", level,
                           row->under ? "below" : "from", threshold,
                           row->unit[0] == '\0' ? "" : " ", row->unit);
}

static void print_row(struct neap_cli *cli, const struct neap_preflight_row *row)
{
    struct neap_buffer thresholds = {0}, text = {0};
    add_threshold(&thresholds, row, "warning", row->rule.warning);
    add_threshold(&thresholds, row, "error", row->rule.error);
    neap_buffer_add_text(&text, row->message);
    if (row->level != NEAP_CHECK_OK && !isnan(row->value) && thresholds.length > 0)
        neap_buffer_add_format(&text, " (%s)", neap_buffer_text(&thresholds));
    cli_print_check(cli, neap_check_level_name(row->level), row->name, neap_buffer_text(&text),
                    row->hint);
    neap_buffer_clear(&thresholds);
    neap_buffer_clear(&text);
}

int cmd_preflight(struct neap_cli *cli)
{
    struct neap_session session;
    struct neap_error err = {0};
    struct neap_preflight preflight = {0};
    json_t *body = NULL;
    memset(&session, 0, sizeof session);
    if (cli_arguments(cli, 0, 0, &err) && cli_look(cli, &session, false, &err) &&
        neap_preflight_run(&session, &preflight, &err)) {
        body = cli_target_json(&session);
        neap_json_set(body, "checks", neap_preflight_json(&preflight));
        neap_json_set(body, "warnings", json_integer((json_int_t)preflight.warnings));
        neap_json_set(body, "errors", json_integer((json_int_t)preflight.errors));
        for (size_t i = 0; i < preflight.count; i++)
            print_row(cli, &preflight.rows[i]);
        if (preflight.errors > 0)
            neap_preflight_error(&preflight, &err);
    }
    neap_preflight_clear(&preflight);
    return cli_end(cli, &session, 0, body, &err);
}
