/* SPDX-License-Identifier: MIT
 *
 * lease show, lease break.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/json.h"
#include "host/cli/cmd_events.h"

static json_t *holder_json(const struct lease_holder *holder)
{
    json_t *json = json_object();
    neap_json_set(json, "token", json_integer(holder->token));
    neap_json_set(json, "run_id", neap_json_text(holder->run_id));
    neap_json_set(json, "actor", neap_json_text(holder->actor));
    neap_json_set(json, "host", neap_json_text(holder->host));
    neap_json_set(json, "backend_pid", json_integer(holder->backend_pid));
    neap_json_set(json, "acquired_at", neap_json_text(holder->acquired_at));
    neap_json_set(json, "expires_at", neap_json_text(holder->expires_at));
    neap_json_set(json, "expired", json_boolean(holder->expired));
    neap_json_set(json, "backend_gone", json_boolean(holder->backend_gone));
    neap_json_set(json, "foreign", json_boolean(holder->foreign));
    return json;
}

bool cmd_lease_json(struct neap_session *session, json_t **out, struct neap_error *err)
{
    struct lease_holder holder = {0};
    bool found = false;
    if (session->target->recovery) { /* the row is unlogged, so that no copy has it */
        neap_error_set(err, NEAP_ERR_TARGET_STANDBY, "%s is a standby, which has no lease",
                       pg_address(session->target->control));
        neap_error_hint(err, "Ask the primary: `neap lease show` there.");
        return false;
    }
    if (!session->history.current) {
        neap_error_set(err, NEAP_ERR_HISTORY_VERSION,
                       "schema neap is of an earlier version, whose lease this neap cannot read");
        neap_error_hint(err, "The next change upgrades it: `neap up`; where it belongs to "
                             "neap_owner, `neap help roles` prints the SQL for a superuser.");
        return false;
    }
    if (!lease_look(session->target->control, session->target->identity, &found, &holder, err))
        return false;
    if (found) {
        json_decref(*out);
        *out = holder_json(&holder);
    }
    lease_holder_clear(&holder);
    return true;
}

static const char *text_of(const json_t *holder, const char *key)
{
    const char *text = json_string_value(json_object_get(holder, key));
    return text == NULL ? "" : text;
}

static void print_holder(struct neap_cli *cli, const json_t *holder)
{
    if (json_is_null(holder)) {
        cli_print(cli, "nobody holds the lease");
        return;
    }
    cli_print(cli, "run     %s", text_of(holder, "run_id"));
    cli_print(cli, "actor   %s on %s", text_of(holder, "actor"), text_of(holder, "host"));
    cli_print(cli, "since   %s", text_of(holder, "acquired_at"));
    cli_print(cli, "until   %s%s", text_of(holder, "expires_at"),
              json_is_true(json_object_get(holder, "expired")) ? " (expired)" : "");
    if (json_is_true(json_object_get(holder, "backend_gone")))
        cli_print(cli, "Its session is gone: the next run takes the lease at once.");
    else if (json_is_true(json_object_get(holder, "foreign")))
        cli_print(cli, "It was written on another server or database: history, not a lock.");
}

int cmd_lease_show(struct neap_cli *cli)
{
    struct neap_session session;
    struct neap_error err = {0};
    memset(&session, 0, sizeof session);
    json_t *body = NULL, *holder = json_null();
    if (cli_arguments(cli, 0, 0, &err) && cli_look(cli, &session, false, &err) &&
        (!session.history.installed || cmd_lease_json(&session, &holder, &err))) {
        body = cli_target_json(&session);
        neap_json_set(body, "held", json_boolean(!json_is_null(holder)));
        neap_json_set(body, "holder", json_incref(holder));
        print_holder(cli, holder);
    }
    json_decref(holder);
    return cli_end(cli, &session, 0, body, &err);
}

/* The journal and run.begin without a lease of one's own: what is recorded is
 * that somebody's was broken, and why. */
static bool break_recorded(struct neap_cli *cli, struct neap_session *session, const json_t *holder,
                           struct neap_error *err)
{
    struct neap_session_opts begin = {
        .command = "lease break", .reason = cli->opt.reason, .bare = true};
    if (!neap_session_begin(session, &begin, err))
        return false;
    json_t *fields = json_object();
    neap_json_set(fields, "holder", json_deep_copy(holder));
    neap_json_set(fields, "terminate", json_boolean(cli->opt.terminate));
    neap_audit_add(session->audit, "lease.broken", fields);
    struct lease_opts opts = {.run_id = cli->run.id,
                              .actor = session->actor.name,
                              .host = session->actor.host,
                              .identity = session->target->identity,
                              .direct = session->target->direct,
                              .ttl_ms = cli->project.env.lease_ttl_ms,
                              .wait_ms = cli->project.env.lease_wait_ms};
    return neap_audit_sync(session->audit, err) &&
           lease_break(session->target->control, &opts, cli->opt.terminate, err);
}

int cmd_lease_break(struct neap_cli *cli)
{
    struct neap_session session;
    struct neap_error err = {0};
    memset(&session, 0, sizeof session);
    json_t *body = NULL, *holder = json_null();
    if (cli_arguments(cli, 0, 0, &err) && cli_need_reason(cli, &err) &&
        cli_look(cli, &session, true, &err) &&
        (!session.history.installed || cmd_lease_json(&session, &holder, &err)) &&
        cli_confirm(cli, &session, "breaking the lease", &err)) {
        bool broken = !json_is_null(holder) && break_recorded(cli, &session, holder, &err);
        cli->changed = broken;
        body = cli_target_json(&session);
        neap_json_set(body, "held", json_false());
        neap_json_set(body, "holder", json_incref(holder));
        neap_json_set(body, "broken", json_boolean(broken));
        if (json_is_null(holder))
            print_holder(cli, holder);
        else if (broken)
            cli_print(cli, "the lease of run %s is broken", text_of(holder, "run_id"));
    }
    json_decref(holder);
    return cli_end(cli, &session, 0, body, &err);
}
