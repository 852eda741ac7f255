/* SPDX-License-Identifier: MIT
 *
 * The restore is --exit-on-error and no single transaction: the whole database is thrown
 * away when it fails, and one transaction for 5,000 tables would run out of locks. On a
 * server of its own it is --create, because a database's own settings, rights and comment
 * come only with it. Subscriptions and user mappings stay out, and out of the list of what
 * is restored: no copy may talk to where its original does, also not while it is restored
 * (a materialized view is filled by its query, which may read a foreign table).
 */
#include "bindings/backup/backup_archive.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings/pg/pg_conninfo.h"
#include "host/base/buffer.h"
#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/loop/child.h"

#define JOBS_MAX 4
#define LIST_MAX ((size_t)256 << 20)

struct tool_run {
    const char *const *argv;
    char **env;
    const char *input; /* NULL: none */
};

/* `output` may be NULL. */
static bool run_tool(struct neap_loop *loop, const struct tool_run *run, struct neap_buffer *output,
                     struct neap_error *err)
{
    struct neap_child_opts opts = {.argv = run->argv,
                                   .env = (const char *const *)run->env,
                                   .stdin_text = run->input,
                                   .output_max = output == NULL ? 0 : LIST_MAX,
                                   .deadline_ms = NEAP_FOREVER};
    struct neap_child_result result = {0};
    bool ran = neap_child_run(loop, &opts, &result, err);
    bool passed = ran && result.exit_status == 0;
    if (ran && !passed)
        backup_tool_explain("pg_restore", result.exit_status, neap_buffer_text(&result.err), err);
    if (passed && output != NULL)
        neap_buffer_add(output, result.out.bytes, result.out.length);
    neap_child_result_clear(&result);
    return passed;
}

bool backup_archive_list(struct neap_loop *loop, const struct backup_tool *pg_restore,
                         const struct backup *backup, struct neap_error *err)
{
    char *dump = neap_path_join(backup->path, "dump");
    const char *const argv[] = {pg_restore->path, "--list", "--file=/dev/null", dump, NULL};
    struct tool_run run = {.argv = argv};
    struct neap_error why = {0};
    bool passed = run_tool(loop, &run, NULL, &why);
    if (!passed && why.code == NEAP_ERR_BACKUP_FAILED) {
        neap_error_set(err, NEAP_ERR_BACKUP_DAMAGED, "the archive of backup %s cannot be read",
                       backup->id);
        neap_error_detail(err, "%s", why.detail == NULL ? why.message : why.detail);
    } else if (!passed) {
        neap_error_move(err, &why);
    }
    neap_error_clear(&why);
    free(dump);
    return passed;
}

/* The kind of an entry and what follows: "TABLE DATA public users postgres"; "" for a
 * comment. A line is "3456; 0 16390 TABLE DATA public users postgres". */
static const char *entry_of(const char *line)
{
    const char *at = line + strcspn(line, ";\n");
    if (line[0] == ';' || *at != ';')
        return "";
    at++;
    return at + strspn(at, " 0123456789");
}

static bool begins(const char *entry, const char *words)
{
    return strncmp(entry, words, strlen(words)) == 0;
}

/* Content, of which a table alone wants its own and nothing else. */
static bool is_other_data(const struct backup_archive_opts *opts, const char *entry)
{
    static const char *const kinds[] = {"TABLE DATA ", "SEQUENCE SET ", "BLOB",
                                        "MATERIALIZED VIEW DATA "};
    char *own = neap_format("TABLE DATA %s %s ", opts->schema, opts->table);
    bool other = false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        other = other || begins(entry, kinds[i]);
    other = other && !begins(entry, own);
    free(own);
    return other;
}

static bool is_left_out(const struct backup_archive_opts *opts, const char *entry)
{
    return (!opts->mappings && begins(entry, "USER MAPPING ")) ||
           (opts->table != NULL && is_other_data(opts, entry));
}

/* The archive's table of contents, without what shall not be restored. */
static bool read_list(struct neap_loop *loop, const struct backup_archive_opts *opts,
                      const char *dump, struct neap_buffer *out, struct neap_error *err)
{
    const char *const argv[] = {opts->pg_restore->path, "--list", "--create", dump, NULL};
    struct tool_run run = {.argv = argv};
    struct neap_buffer all = {0};
    bool passed = run_tool(loop, &run, &all, err);
    for (const char *line = neap_buffer_text(&all); passed && *line != '\0';) {
        size_t length = strcspn(line, "\n");
        length += line[length] == '\n';
        if (!is_left_out(opts, entry_of(line)))
            neap_buffer_add(out, line, length);
        line += length;
    }
    neap_buffer_clear(&all);
    return passed;
}

bool backup_archive_restore(struct neap_loop *loop, const struct backup_archive_opts *opts,
                            struct neap_error *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    char *dump = neap_path_join(opts->backup->path, "dump");
    char *jobs = neap_format("--jobs=%ld", cores < 1 ? 1 : cores > JOBS_MAX ? JOBS_MAX : cores);
    char *into = neap_format("--dbname=%s", opts->database == NULL ? "template1" : opts->database);
    struct neap_buffer list = {0};
    const char *argv[12] = {opts->pg_restore->path, "--exit-on-error", "--no-password",
                            "--no-subscriptions", "--use-list=/dev/stdin"};
    size_t count = 5;
    if (opts->database == NULL)
        argv[count++] = "--create";
    if (opts->table != NULL) {
        argv[count++] = "--section=pre-data";
        argv[count++] = "--section=data";
    }
    argv[count++] = into;
    argv[count++] = jobs;
    argv[count] = dump;
    struct tool_run run = {.argv = argv};
    bool passed = read_list(loop, opts, dump, &list, err);
    if (passed) {
        run.env = pg_child_env(opts->client, opts->database);
        run.input = neap_buffer_text(&list);
        passed = run_tool(loop, &run, NULL, err);
    }
    pg_child_env_free(run.env);
    neap_buffer_clear(&list);
    free(into);
    free(jobs);
    free(dump);
    return passed;
}
