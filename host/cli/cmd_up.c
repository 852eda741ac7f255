/* SPDX-License-Identifier: MIT
 *
 * up, down, redo, resume.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/cli/cmd_change.h"

static int go(struct neap_cli *cli, enum neap_direction direction)
{
    struct cmd_change change;
    struct neap_error err = {0};
    bool nothing = false;
    cmd_change_open(&change, cli);
    if (cmd_change_select(&change, &err) && cmd_change_begin(&change, direction, &nothing, &err) &&
        !nothing) {
        if (cli->opt.dry_run)
            cmd_change_dry_run(&change, direction, &err);
        else
            cmd_change_run(&change, direction, &err);
    }
    return cmd_change_end(&change, nothing, &err);
}

int cmd_up(struct neap_cli *cli)
{
    return go(cli, NEAP_UP);
}

int cmd_down(struct neap_cli *cli)
{
    return go(cli, NEAP_DOWN);
}

/* What would stop the way up again is found before the way down: a redo that ends
 * after its down is a down that nobody asked for. */
static bool check_redo(const struct cmd_change *change, struct neap_error *err)
{
    struct neap_plan_item *item = change->items[0];
    struct neap_plan_item **items = NULL;
    size_t count = 0;
    if (item->file == NULL) {
        neap_error_set(err, NEAP_ERR_HISTORY_MISSING,
                       "migration %s %s cannot be applied again: its file is missing", item->id,
                       item->name);
        neap_error_hint(err, "Restore the file; or only undo it: `neap down --only %s`.", item->id);
        return false;
    }
    enum neap_problem own = item->problem;
    item->problem = NEAP_PROBLEM_NONE; /* the file as it is now is what is wanted */
    bool can = neap_plan_up(&change->session.plan, &(struct neap_selection){.only = item->id},
                            &items, &count, err);
    item->problem = own;
    free(items);
    return can;
}

/* Down, then up of the same one: with the file as it is now, which is what an
 * author who edits the last migration wants. */
int cmd_redo(struct neap_cli *cli)
{
    struct cmd_change change;
    struct neap_error err = {0};
    bool nothing = false;
    char *id = NULL;
    cmd_change_open(&change, cli);
    if (cli_arguments(cli, 0, 0, &err) && cmd_change_begin(&change, NEAP_DOWN, &nothing, &err) &&
        !nothing) {
        id = neap_strdup(change.items[0]->id);
        if (check_redo(&change, &err) && cmd_change_run(&change, NEAP_DOWN, &err) &&
            neap_session_reload(&change.session, &err)) {
            change.selection = (struct neap_selection){.only = id};
            change.done_count = 0;
            if (cmd_change_pick(&change, NEAP_UP, &err) &&
                neap_session_plan(&change.session, change.items, change.count, "apply", &err))
                cmd_change_run(&change, NEAP_UP, &err);
        }
    }
    int status = cmd_change_end(&change, nothing, &err);
    free(id);
    return status;
}

/* The first that stopped halfway, and the way it was going: history says applied
 * only when it was its down that stopped. */
static char *find_partial(struct neap_cli *cli, enum neap_direction *direction,
                          struct neap_error *err)
{
    struct neap_session session;
    char *id = NULL;
    if (cli_look(cli, &session, true, err))
        for (size_t i = 0; id == NULL && i < session.plan.count; i++) {
            const struct neap_plan_item *item = &session.plan.items[i];
            if (item->state != NEAP_STATE_PARTIAL)
                continue;
            id = neap_strdup(item->id);
            *direction = neap_plan_was_applied(item) ? NEAP_DOWN : NEAP_UP;
        }
    neap_session_end(&session, 0, NULL);
    return id;
}

int cmd_resume(struct neap_cli *cli)
{
    struct cmd_change change;
    struct neap_error err = {0};
    bool nothing = false;
    enum neap_direction direction = NEAP_UP;
    cmd_change_open(&change, cli);
    char *id = cli_arguments(cli, 0, 0, &err) ? find_partial(cli, &direction, &err) : NULL;
    change.selection.only = id;
    if (err.code == NEAP_OK && id == NULL)
        nothing = cli_look(cli, &change.session, true, &err);
    else if (err.code == NEAP_OK && cmd_change_begin(&change, direction, &nothing, &err) &&
             !nothing)
        cmd_change_run(&change, direction, &err);
    int status = cmd_change_end(&change, nothing, &err);
    free(id);
    return status;
}
