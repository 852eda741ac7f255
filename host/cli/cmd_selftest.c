/* SPDX-License-Identifier: MIT
 *
 * neap selftest limits: a table of hostile scripts and what became of each.
 */
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/cli/cli.h"
#include "host/selftest/selftest.h"

static const char *text_of(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text == NULL ? "" : text;
}

/* One text, or several with "or" between. */
static void add_expected(struct neap_buffer *out, const json_t *expected)
{
    size_t i;
    json_t *one;
    if (json_is_string(expected))
        neap_buffer_add_text(out, json_string_value(expected));
    json_array_foreach(expected, i, one)
        neap_buffer_add_format(out, "%s%s", i > 0 ? " or " : "", json_string_value(one));
}

static void add_row(struct cli_table *table, const json_t *row)
{
    struct neap_buffer expected = {0};
    char seconds[32];
    bool is_ok = json_is_true(json_object_get(row, "ok"));
    add_expected(&expected, json_object_get(row, "expected"));
    (void)snprintf(seconds, sizeof seconds, "%.2f",
                   json_real_value(json_object_get(row, "seconds")));
    const char *cells[] = {text_of(row, "id"),
                           text_of(row, "attempt"),
                           neap_buffer_text(&expected),
                           text_of(row, "got"),
                           seconds,
                           is_ok ? "ok" : "FAILED"};
    cli_table_row(table, is_ok ? CLI_PLAIN : CLI_RED, cells);
    neap_buffer_clear(&expected);
}

static size_t count_failed(const json_t *rows)
{
    size_t i, failed = 0;
    json_t *row;
    json_array_foreach(rows, i, row) failed += json_is_true(json_object_get(row, "ok")) ? 0 : 1;
    return failed;
}

static void print_rows(struct neap_cli *cli, const json_t *rows)
{
    static const char *const headings[] = {"id", "attempt", "expected", "got", "s", "ok", NULL};
    struct cli_table *table = cli_table_new(headings);
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) add_row(table, row);
    cli_table_print(cli, table);
    json_array_foreach(rows, i, row)
    {
        if (!json_is_true(json_object_get(row, "ok")))
            cli_print(cli, "%s: %s", text_of(row, "id"), text_of(row, "why"));
    }
}

/* Takes `rows`. */
static int report(struct neap_cli *cli, json_t *rows, int64_t took_ms)
{
    struct neap_error err = {0};
    json_t *body = json_object();
    char took[NEAP_DURATION_SIZE];
    size_t count = json_array_size(rows), failed = count_failed(rows);
    neap_duration_text(took_ms, took);
    print_rows(cli, rows);
    cli_print(cli, "%zu hostile scripts in %s: %zu held, %zu failed", count, took, count - failed,
              failed);
    neap_json_set(body, "limits", rows);
    neap_json_set(body, "held", json_integer((json_int_t)(count - failed)));
    neap_json_set(body, "failed", json_integer((json_int_t)failed));
    neap_json_set(body, "seconds", json_real((double)took_ms / 1000));
    if (failed == 0) {
        cli_json(cli, 0, body);
        return 0;
    }
    neap_error_set(&err, NEAP_ERR_SELFTEST_FAILED, "%zu of %zu limits did not hold", failed, count);
    return cli_fail_with(cli, &err, body);
}

int cmd_selftest_limits(struct neap_cli *cli)
{
    struct neap_error err = {0};
    struct neap_selftest_opts opts = {.corpus = cli->opt.corpus, .only = cli->opt.only};
    json_t *rows = NULL;
    int64_t began_ms = neap_clock_ms();
    if (!cli_arguments(cli, 0, 0, &err) || !cli_need_loop(cli, &err) ||
        !neap_selftest_limits(cli->loop, &opts, &rows, &err))
        return cli_fail(cli, &err);
    return report(cli, rows, neap_clock_ms() - began_ms);
}
