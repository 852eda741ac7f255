/* SPDX-License-Identifier: MIT
 *
 * What up, down, redo and resume share: going through items one by one, telling
 * of each, and the account at the end. Private to host/cli.
 */
#ifndef NEAP_CLI_CMD_CHANGE_H
#define NEAP_CLI_CMD_CHANGE_H

#include "host/cli/cli_target.h"
#include "host/proof/gates.h"

struct cmd_change {
    struct neap_cli *cli;
    struct neap_session session;
    struct neap_gates gates;
    struct neap_gates_opts gates_opts;
    bool gated; /* they are passed */
    struct neap_selection selection;
    struct neap_plan_item **items; /* picked, in order */
    size_t count;
    json_t *plan, *applied, *undone, *remaining, *warnings;
    json_t *failed;        /* null until something failed */
    json_t *executed;      /* of the unit a dry run is in */
    bool statement_failed; /* in a dry run */
    size_t done_count;
    size_t unconfirmed; /* index of the item whose COMMIT is not answered */
    bool unreplicated, audit_incomplete;
};

void cmd_change_open(struct cmd_change *change, struct neap_cli *cli);
/* Reads [N], --to and --only; more than one of them is usage.arguments. */
bool cmd_change_select(struct cmd_change *change, struct neap_error *err);
/* Looks, picks, and begins the run unless nothing was picked (then *nothing). */
bool cmd_change_begin(struct cmd_change *change, enum neap_direction direction, bool *nothing,
                      struct neap_error *err);
bool cmd_change_pick(struct cmd_change *change, enum neap_direction direction,
                     struct neap_error *err);
/* Passes the gates, then goes through the picked items; stops at the first failure. */
bool cmd_change_run(struct cmd_change *change, enum neap_direction direction,
                    struct neap_error *err);
/* The flags that go over a gate have a reason. */
bool cmd_gates_check(struct cmd_change *change, struct neap_error *err);
/* After the look and before the session begins: preflight, unless this is a dry run. */
bool cmd_gates_look(struct cmd_change *change, enum neap_gates_way way, struct neap_error *err);
bool cmd_change_dry_run(struct cmd_change *change, enum neap_direction direction,
                        struct neap_error *err);
/* A statement as one line of a terminal: runs of blanks as one, cut with a mark.
 * The caller frees it. */
char *cmd_change_one_line(const char *sql);
/* Where the run stopped halfway and the environment says auto_restore: ends it, and puts its
 * backup in the target's place, in a run of its own. The error says what became of it. */
void cmd_auto_restore(struct cmd_change *change, struct neap_error *err);
/* Prints the end and frees everything; the exit status. */
int cmd_change_end(struct cmd_change *change, bool nothing, struct neap_error *err);

#endif
