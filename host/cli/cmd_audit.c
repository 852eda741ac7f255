/* SPDX-License-Identifier: MIT
 *
 * audit verify, show, export, keygen.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/cli/cmd_events.h"

static void print_finding(struct neap_cli *cli, const struct neap_audit_finding *finding)
{
    bool has_run = finding->run_id != NULL && finding->run_id[0] != '\0';
    char *record =
        finding->seq > 0 ? neap_format("  record %lld", (long long)finding->seq) : neap_strdup("");
    cli_print(cli, "%s%s%s%s  %s", finding->where, has_run ? "  run " : "",
              has_run ? finding->run_id : "", record, finding->message);
    free(record);
}

static void print_holds(struct neap_cli *cli, const struct neap_audit_report *report)
{
    if (report->event_count == 0)
        cli_print(cli, "nothing is recorded yet, here or in the target");
    else
        cli_print(cli, "the chain holds: %lld events of %lld %s, head %s",
                  (long long)report->event_count, (long long)report->run_count,
                  report->run_count == 1 ? "run" : "runs", report->head);
}

static json_t *findings_json(struct neap_cli *cli, const struct neap_audit_report *report)
{
    json_t *list = json_array();
    for (size_t i = 0; i < report->finding_count; i++) {
        const struct neap_audit_finding *finding = &report->findings[i];
        json_t *json = json_object();
        neap_json_set(json, "run_id", neap_json_text(finding->run_id));
        neap_json_set(json, "seq", json_integer(finding->seq));
        neap_json_set(json, "where", neap_json_text(finding->where));
        neap_json_set(json, "message", neap_json_text(finding->message));
        json_array_append_new(list, json);
        print_finding(cli, finding);
    }
    for (size_t i = 0; i < report->note_count; i++)
        cli_print(cli, "note  %s", report->notes[i]);
    return list;
}

/* A mistyped one would look like records that somebody took away. */
static bool read_head(const char *text, char head[NEAP_HASH_HEX_SIZE], struct neap_error *err)
{
    if (text == NULL)
        return true;
    size_t digits = strspn(text, "0123456789abcdefABCDEF");
    if (digits == NEAP_HASH_HEX_SIZE - 1 && text[digits] == '\0') {
        for (size_t i = 0; i <= digits; i++)
            head[i] = (char)tolower((unsigned char)text[i]);
        return true;
    }
    neap_error_set(err, NEAP_ERR_USAGE, "--head is %d hexadecimal digits, not \"%s\"",
                   NEAP_HASH_HEX_SIZE - 1, text);
    return false;
}

int cmd_audit_verify(struct neap_cli *cli)
{
    struct neap_session session;
    struct neap_error err = {0};
    struct neap_audit_report report = {0};
    char head[NEAP_HASH_HEX_SIZE] = "";
    memset(&session, 0, sizeof session);
    json_t *body = NULL;
    if (cli_arguments(cli, 0, 0, &err) && read_head(cli->opt.head, head, &err) &&
        cli_look(cli, &session, false, &err)) {
        struct neap_audit_verify_opts opts = {
            .state_dir = session.project->state_dir,
            .identity = session.target->identity,
            .control = session.history.installed ? session.target->control : NULL,
            .head = cli->opt.head == NULL ? NULL : head,
            .public_key = cli->opt.public_key};
        body = cli_target_json(&session);
        if (neap_audit_verify(&opts, &report, &err)) {
            neap_json_set(body, "runs", json_integer(report.run_count));
            neap_json_set(body, "events", json_integer(report.event_count));
            neap_json_set(body, "head", neap_json_text(report.head));
            neap_json_set(body, "findings", findings_json(cli, &report));
            if (report.finding_count > 0)
                neap_error_set(&err, NEAP_ERR_AUDIT_BROKEN, "the audit chain has %zu %s",
                               report.finding_count,
                               report.finding_count == 1 ? "fault" : "faults");
            else
                print_holds(cli, &report);
        }
    }
    neap_audit_report_clear(&report);
    return cli_end(cli, &session, 0, body, &err);
}

int cmd_audit_show(struct neap_cli *cli)
{
    struct neap_session session;
    struct neap_error err = {0};
    memset(&session, 0, sizeof session);
    json_t *body = NULL;
    if (cli_arguments(cli, 0, 0, &err) && cli_look(cli, &session, false, &err)) {
        json_t *list = json_array();
        body = cli_target_json(&session);
        neap_json_set(body, "events", list);
        cmd_events(cli, &session, list, &err);
    }
    return cli_end(cli, &session, 0, body, &err);
}

struct exporter {
    struct neap_cli *cli;
    bool csv;
};

/* RFC 4180: quotes doubled. A leading = + - @ would be a formula to a
 * spreadsheet; canonical JSON begins with a brace, and the other columns are ours. */
static void add_csv(struct neap_buffer *line, const char *text)
{
    neap_buffer_add_char(line, '"');
    for (const char *c = text == NULL ? "" : text; *c != '\0'; c++) {
        if (*c == '"')
            neap_buffer_add_char(line, '"');
        neap_buffer_add_char(line, *c);
    }
    neap_buffer_add_char(line, '"');
}

static bool export_event(void *arg, const char *hash, const json_t *event)
{
    struct exporter *exporter = arg;
    struct neap_buffer line = {0};
    if (exporter->csv) {
        static const char *const columns[] = {"time", "run", "event"};
        for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
            add_csv(&line, json_string_value(json_object_get(event, columns[i])));
            neap_buffer_add_char(&line, ',');
        }
        neap_buffer_add_format(&line, "%lld,",
                               (long long)json_integer_value(json_object_get(event, "seq")));
        char *fields = neap_json_canonical(json_object_get(event, "data"));
        add_csv(&line, fields);
        free(fields);
        neap_buffer_add_char(&line, ',');
        add_csv(&line, hash);
    } else {
        json_t *copy = json_deep_copy(event);
        neap_json_set(copy, "hash", neap_json_text(hash));
        char *text = neap_json_canonical(copy);
        neap_buffer_add_text(&line, text);
        free(text);
        json_decref(copy);
    }
    neap_buffer_add_char(&line, '\n');
    cli_print_raw(exporter->cli, neap_buffer_text(&line));
    neap_buffer_clear(&line);
    return !exporter->cli->broken;
}

int cmd_audit_export(struct neap_cli *cli)
{
    struct neap_session session;
    struct neap_error err = {0};
    memset(&session, 0, sizeof session);
    const char *format = cli->opt.format == NULL ? "jsonl" : cli->opt.format;
    struct exporter exporter = {.cli = cli, .csv = strcmp(format, "csv") == 0};
    if (!exporter.csv && strcmp(format, "jsonl") != 0)
        neap_error_set(&err, NEAP_ERR_USAGE, "--format is jsonl or csv, not \"%s\"", format);
    else if (cli_arguments(cli, 0, 0, &err) && cli_look(cli, &session, false, &err)) {
        cli->json = false; /* the events are the document; a failure before them has its own */
        if (exporter.csv)
            cli_print_raw(cli, "time,run,event,seq,data,hash\n");
        cmd_events_each(cli, &session, export_event, &exporter, &err);
    }
    return cli_end(cli, &session, 0, NULL, &err);
}

int cmd_audit_keygen(struct neap_cli *cli)
{
    struct neap_error err = {0};
    if (!cli_arguments(cli, 1, 1, &err) || !neap_audit_keygen(cli->argv[0], &err))
        return cli_fail(cli, &err);
    char *public_key = neap_format("%s.pub", cli->argv[0]);
    json_t *body = json_object();
    neap_json_set(body, "secret_key", neap_json_text(cli->argv[0]));
    neap_json_set(body, "public_key", neap_json_text(public_key));
    cli_print(cli,
              "%s signs heads (signing_key in neap.lua); keep %s elsewhere and check with "
              "`neap audit verify --public-key`",
              cli->argv[0], public_key);
    cli_json(cli, 0, body);
    free(public_key);
    return 0;
}
