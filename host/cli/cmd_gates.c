/* SPDX-License-Identifier: MIT
 *
 * The gates of up, down, redo and resume, as the command line has them: the flags that go
 * over one, each with a reason, and what is printed of each.
 */
#include "host/cli/cmd_change.h"

static void on_tell(void *arg, const char *result, const char *gate, const char *text)
{
    const struct cmd_change *change = arg;
    cli_print(change->cli, "%-7s %-9s  %s", result, gate, text);
}

bool cmd_gates_check(struct cmd_change *change, struct neap_error *err)
{
    const struct neap_options *opt = &change->cli->opt;
    const struct {
        bool given;
        const char *name;
    } flags[] = {{opt->skip_backup, "--skip-backup"},
                 {opt->skip_rehearsal, "--skip-rehearsal"},
                 {opt->force, "--force"}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (!flags[i].given || (opt->reason != NULL && opt->reason[0] != '\0'))
            continue;
        neap_error_set(err, NEAP_ERR_USAGE, "%s needs a reason", flags[i].name);
        neap_error_hint(err, "Give `--reason TEXT`: it is kept in history and audit.");
        return false;
    }
    return true;
}

bool cmd_gates_look(struct cmd_change *change, enum neap_gates_way way, struct neap_error *err)
{
    const struct neap_cli *cli = change->cli;
    change->gates_opts = (struct neap_gates_opts){
        .way = way,
        .command = cli->command->name,
        .skip_backup = cli->opt.skip_backup,
        .skip_rehearsal = cli->opt.skip_rehearsal,
        .force = cli->opt.force,
        .reason = cli->opt.reason,
        .ticket = cli->opt.ticket,
        .tell = on_tell,
        .arg = change,
    };
    neap_gates_init(&change->gates, &change->session, &change->gates_opts);
    return cli->opt.dry_run || neap_gates_preflight(&change->gates, err);
}
