/* SPDX-License-Identifier: MIT
 *
 * Holds the places of commands that are not in the tree yet: weak, so that the
 * real one wins as soon as it is linked. Goes away with the last of them.
 */
#include "host/cli/cli.h"

static int pending(struct neap_cli *cli)
{
    struct neap_error err = {0};
    neap_error_set(&err, NEAP_ERR_INTERNAL_BUG, "`neap %s` is not in this build",
                   cli->command->name);
    return cli_fail(cli, &err);
}

__attribute__((weak)) int cmd_status(struct neap_cli *cli)
{
    return pending(cli);
}

__attribute__((weak)) int cmd_up(struct neap_cli *cli)
{
    return pending(cli);
}

__attribute__((weak)) int cmd_down(struct neap_cli *cli)
{
    return pending(cli);
}

__attribute__((weak)) int cmd_redo(struct neap_cli *cli)
{
    return pending(cli);
}

__attribute__((weak)) int cmd_verify(struct neap_cli *cli)
{
    return pending(cli);
}

__attribute__((weak)) int cmd_history(struct neap_cli *cli)
{
    return pending(cli);
}

__attribute__((weak)) int cmd_resume(struct neap_cli *cli)
{
    return pending(cli);
}

__attribute__((weak)) int cmd_repair(struct neap_cli *cli)
{
    return pending(cli);
}

__attribute__((weak)) int cmd_accept(struct neap_cli *cli)
{
    return pending(cli);
}

__attribute__((weak)) int cmd_baseline(struct neap_cli *cli)
{
    return pending(cli);
}

__attribute__((weak)) int cmd_lease_show(struct neap_cli *cli)
{
    return pending(cli);
}

__attribute__((weak)) int cmd_lease_break(struct neap_cli *cli)
{
    return pending(cli);
}

__attribute__((weak)) int cmd_audit_verify(struct neap_cli *cli)
{
    return pending(cli);
}

__attribute__((weak)) int cmd_audit_show(struct neap_cli *cli)
{
    return pending(cli);
}

__attribute__((weak)) int cmd_audit_export(struct neap_cli *cli)
{
    return pending(cli);
}

__attribute__((weak)) int cmd_audit_keygen(struct neap_cli *cli)
{
    return pending(cli);
}
