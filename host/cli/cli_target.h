/* SPDX-License-Identifier: MIT
 *
 * What the commands that talk to a target share: finding it, asking before what
 * is destructive, saying who it is.
 */
#ifndef NEAP_CLI_CLI_TARGET_H
#define NEAP_CLI_CLI_TARGET_H

#include "host/cli/cli.h"
#include "host/migrate/session.h"

/* Opens the project and settles its target; `scratch` is started when it is not
 * up. */
bool cli_need_target(struct neap_cli *cli, struct neap_error *err);
/* cli_need_target and neap_session_look; history.changed comes with its diff. */
bool cli_look(struct neap_cli *cli, struct neap_session *session, bool change,
              struct neap_error *err);
/* --on scratch or target: where a copy is restored; scratch when it is not given. */
bool cli_place(const struct neap_cli *cli, bool *on_target, struct neap_error *err);
/* On a protected environment the database's name must be typed, or given with
 * --confirm; without a terminal only the flag counts. approval.missing. */
bool cli_confirm(struct neap_cli *cli, const struct neap_session *session, const char *what,
                 struct neap_error *err);
/* The same wherever it is: `name` is the database's. */
bool cli_confirm_name(struct neap_cli *cli, const char *name, const char *address, const char *what,
                      struct neap_error *err);
/* There is somebody to ask, and --confirm has not answered. */
bool cli_is_asked(const struct neap_cli *cli);
/* --reason where it must be given. */
bool cli_need_reason(struct neap_cli *cli, struct neap_error *err);
/* Where the backups are: --to, else the environment's directory, else with the journal.
 * Absolute where it exists, so that a manifest's path holds. The caller frees. */
char *cli_store(const struct neap_cli *cli);
/* environment, database, server: the fields every document about a target has.
 * New reference. */
json_t *cli_target_json(const struct neap_session *session);
/* Ends the session; if it had begun, its report is kept. False when events could not be kept. */
bool cli_end_session(struct neap_cli *cli, struct neap_session *session, int exit_status,
                     const struct neap_error *err);
/* Ends the session and gives the exit status: prints `err` if it is set, `body`
 * (taken) in any case. */
int cli_end(struct neap_cli *cli, struct neap_session *session, int exit_status, json_t *body,
            struct neap_error *err);

#endif
