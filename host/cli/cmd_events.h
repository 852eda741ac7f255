/* SPDX-License-Identifier: MIT
 *
 * What several commands print alike. Private to host/cli.
 */
#ifndef NEAP_CLI_CMD_EVENTS_H
#define NEAP_CLI_CMD_EVENTS_H

#include "host/cli/cli_target.h"

/* The holder as `lease show --json` gives it, or null. New reference in *out,
 * whose former value is released. */
bool cmd_lease_json(struct neap_session *session, json_t **out, struct neap_error *err);
/* Calls `fn` with the events of --run, or all, oldest first. */
bool cmd_events_each(struct neap_cli *cli, struct neap_session *session,
                     bool (*fn)(void *arg, const char *hash, const json_t *event), void *arg,
                     struct neap_error *err);
/* Prints them and adds them to `list`. */
bool cmd_events(struct neap_cli *cli, struct neap_session *session, json_t *list,
                struct neap_error *err);

#endif
