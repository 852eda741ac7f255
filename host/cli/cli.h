/* SPDX-License-Identifier: MIT
 *
 * The command line's shared state: which command, which options, where output
 * goes. Commands and options are rows of commands.def and options.def; parsing,
 * help, man page and completions come from these lists.
 */
#ifndef NEAP_CLI_CLI_H
#define NEAP_CLI_CLI_H

#include <jansson.h>

#include "host/loop/loop.h"
#include "host/project/project.h"

struct neap_cli;

/* A row of options.def gives one field: FLAG -> bool, TEXT -> const char *. */
struct neap_options {
#define NEAP_OPTION_FLAG(field, long_, short_, env, help) bool field;
#define NEAP_OPTION_TEXT(field, long_, short_, arg, env, help) const char *field;
#include "host/cli/options.def"
#undef NEAP_OPTION_FLAG
#undef NEAP_OPTION_TEXT
};

struct neap_command {
    const char *name;    /* "lease show": two words are a subcommand */
    const char *args;    /* "[N]" */
    const char *options; /* fields it takes beside the global ones: "to only dry_run" */
    const char *summary;
    int (*run)(struct neap_cli *cli); /* gives the exit status; errors go to cli_fail */
};
extern const struct neap_command neap_commands[]; /* ends with a NULL name */

struct neap_cli {
    const struct neap_command *command;
    struct neap_options opt;
    int argc; /* positional arguments after the command's words */
    const char **argv;
    struct neap_run run;
    struct neap_loop *loop;
    struct neap_project project; /* after cli_need_project */
    bool json;
    bool terminal; /* stdout is one */
    bool colour;   /* it is one, and neither NO_COLOR nor --no-color */
    int broken;    /* errno of the first write to stdout that failed: nothing more is printed */
    bool changed;  /* the target is not as it was: no failure may say that it is */
    int width;     /* columns of it; 80 when it is none */
};

/* Opens the loop (signals are heard from then on) once. The commands that need
 * none do without: start-up is measured. */
bool cli_need_loop(struct neap_cli *cli, struct neap_error *err);
/* Opens the loop and the project once; later calls do nothing. Without -C the
 * project is the current directory, or the nearest one above it, that has
 * neap.lua or migrations/. */
bool cli_need_project(struct neap_cli *cli, struct neap_error *err);
/* Prints the error (stderr; with --json one document on stdout: schema_version,
 * run_id, command, status "failed", exit_status, error), clears it and returns
 * its exit status. Every command ends failing in this. */
int cli_fail(struct neap_cli *cli, struct neap_error *err);
/* The same, where part of the work was done: the document also has the fields of
 * `body` (taken; NULL is allowed). */
int cli_fail_with(struct neap_cli *cli, struct neap_error *err, json_t *body);
/* usage.arguments unless there are between `min` and `max` arguments. */
bool cli_arguments(const struct neap_cli *cli, int min, int max, struct neap_error *err);
/* Prints one JSON document: adds schema_version, run_id, command, exit_status
 * and, unless `body` has one, status ("ok" for 0, "pending" for 3, else
 * "failed") to `body` (taken). Does nothing without --json. */
void cli_json(struct neap_cli *cli, int exit_status, json_t *body);
/* A line of the result on stdout; nothing with --json. EPIPE is remembered, not
 * fatal (HAZARDS G2). Control characters in the text are escaped. */
void cli_print(struct neap_cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One look of several: `level` ("ok", "warning", "error") in its colour, and below the
 * message what to do; `hint` may be NULL or "". */
void cli_print_check(struct neap_cli *cli, const char *level, const char *name, const char *message,
                     const char *hint);

/* cli_print without the escapes for text made by neap: several lines, colours. */
void cli_print_raw(struct neap_cli *cli, const char *text);
/* True when everything printed so far arrived; EPIPE counts as arrived. Else
 * file.io, or output.lost where the target was changed. */
bool cli_flush(struct neap_cli *cli, struct neap_error *err);

enum cli_colour { CLI_PLAIN, CLI_GREEN, CLI_YELLOW, CLI_RED, CLI_DIM, CLI_BOLD };
/* A table that fits the terminal: the widest columns are cut with "…"; on a pipe
 * nothing is cut. Cells are copied. */
struct cli_table;
struct cli_table *cli_table_new(const char *const *headings); /* NULL-terminated */
void cli_table_row(struct cli_table *table, enum cli_colour colour, const char *const *cells);
void cli_table_print(struct neap_cli *cli, struct cli_table *table); /* and frees */

/* The escape that begins `colour` (CLI_PLAIN ends it), or "" where stdout takes
 * no colours. Static. */
const char *cli_colour(const struct neap_cli *cli, enum cli_colour colour);

/* An optional count argument: "3"; false with usage.arguments when it is none. */
bool cli_count(const char *text, const char *what, int *out, struct neap_error *err);

/* One function a command, each in host/cli/cmd_<name>.c. */
#define NEAP_COMMAND(function, name, args, options, summary) int function(struct neap_cli *cli);
#include "host/cli/commands.def"
#undef NEAP_COMMAND

/* The whole program: parses, runs the command, gives the exit status. */
int cli_main(int argc, char **argv);

#endif
