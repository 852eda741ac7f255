/* SPDX-License-Identifier: MIT
 *
 * What pg_dump --verbose says is read as it comes, for the progress, and thrown away:
 * with thousands of tables it is megabytes. What is no note of progress is kept.
 */
#include "bindings/backup/backup_dump.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bindings/backup/backup_files.h"
#include "bindings/pg/pg_conninfo.h"
#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/loop/child.h"

#define TURN_MS 250      /* reads what came */
#define PROGRESS_MS 1000 /* and tells */
#define SAID_MAX 65536
#define ARGS_MAX 20
/* Of every table and sequence in a schema that is not neap: with the history, a schema
 * still says which migrations it is of. pg_dump's patterns have no "not", and ? and * are
 * its own. */
static const char exclude_rows[] =
    "--exclude-table-data=([^n]*|n|n[^e]*|ne|ne[^a]*|nea|nea[^p]*|neap?*).*";
static const char said_table[] = "pg_dump: dumping contents of table \"";

struct backup_dump {
    struct neap_loop *loop;
    struct neap_child *child;
    struct neap_child_result result;
    struct neap_timer *timer;
    struct backup_dump_opts opts;
    char *path;
    struct neap_buffer said; /* errors and warnings */
    int64_t begun_ms, told_ms;
    int64_t tables, tables_bytes; /* begun so far */
    int64_t current_bytes;        /* of the one begun last */
};

static const char *const kind_names[] = {"full", "schema", "data"};

const char *backup_kind_name(enum backup_kind kind)
{
    return kind_names[kind];
}

bool backup_kind_of(const char *name, enum backup_kind *out)
{
    *out = BACKUP_FULL;
    for (size_t i = 0; name != NULL && i < sizeof kind_names / sizeof *kind_names; i++)
        if (strcmp(name, kind_names[i]) == 0) {
            *out = (enum backup_kind)i;
            return true;
        }
    return name == NULL;
}

/* pg_dump: dumping contents of table "public.users" */
static bool count_table(struct backup_dump *dump, const char *line, size_t length)
{
    size_t skip = sizeof said_table - 1;
    if (length <= skip + 1 || strncmp(line, said_table, skip) != 0)
        return false;
    char *name = neap_strndup(line + skip, length - skip - 1);
    dump->current_bytes = json_integer_value(json_object_get(dump->opts.source->sizes, name));
    dump->tables_bytes += dump->current_bytes;
    dump->tables++;
    free(name);
    return true;
}

static bool is_note(const char *line, size_t length)
{
    static const char error[] = "pg_dump: error:", warning[] = "pg_dump: warning:";
    if (length < 9 || strncmp(line, "pg_dump: ", 9) != 0)
        return false; /* the rest of an error */
    return strncmp(line, error, sizeof error - 1) != 0 &&
           strncmp(line, warning, sizeof warning - 1) != 0;
}

/* Whole lines of what came; the rest stays for the next turn. */
static void read_said(struct backup_dump *dump)
{
    struct neap_buffer *err = &dump->result.err;
    size_t at = 0;
    while (at < err->length) {
        const char *line = err->bytes + at;
        const char *end = memchr(line, '\n', err->length - at);
        if (end == NULL)
            break;
        size_t length = (size_t)(end - line);
        if (!count_table(dump, line, length) && !is_note(line, length) &&
            dump->said.length < SAID_MAX)
            neap_buffer_add(&dump->said, line, length + 1);
        at += length + 1;
    }
    if (at == 0)
        return;
    memmove(err->bytes, err->bytes + at, err->length - at);
    err->length -= at;
    err->bytes[err->length] = '\0';
}

static void tell(struct backup_dump *dump)
{
    const struct backup_source *source = dump->opts.source;
    int64_t now_ms = neap_clock_ms();
    int64_t spent_ms = now_ms - dump->begun_ms;
    int64_t done = dump->tables_bytes - dump->current_bytes;
    struct backup_progress progress = {
        .tables_done = dump->tables > 0 ? dump->tables - 1 : 0,
        .tables_total = source->table_count,
        .bytes = backup_files_bytes(dump->path),
        .left_ms = -1,
    };
    dump->told_ms = now_ms;
    if (spent_ms > 0)
        progress.bytes_a_second = progress.bytes * 1000 / spent_ms;
    /* From a twentieth on; earlier it would only be a guess. */
    if (done * 20 > source->table_bytes && source->table_bytes > 0)
        progress.left_ms =
            (int64_t)((double)spent_ms * (double)(source->table_bytes - done) / (double)done);
    dump->opts.progress(dump->opts.arg, &progress);
}

static void on_turn(void *arg)
{
    struct backup_dump *dump = arg;
    read_said(dump);
    if (dump->opts.progress != NULL && neap_clock_ms() - dump->told_ms >= PROGRESS_MS)
        tell(dump);
}

static bool begin_child(struct backup_dump *dump, struct neap_error *err)
{
    const struct backup_dump_opts *opts = &dump->opts;
    const char *argv[ARGS_MAX] = {opts->tool->path, "--verbose", "--no-password",
                                  "--no-sync", /* every file is fsynced when it is hashed */
                                  "--exclude-table-data=neap.lease"};
    size_t count = 5;
    char *file = neap_format("--file=%s", dump->path);
    char *snapshot = neap_format("--snapshot=%s", opts->source->snapshot);
    char *wait = neap_format("--lock-wait-timeout=%lld", (long long)opts->lock_wait_ms);
    char *jobs = neap_format("--jobs=%d", opts->jobs);
    argv[count++] = file;
    argv[count++] = snapshot;
    argv[count++] = wait;
    argv[count++] = opts->jobs > 0 ? "--format=directory" : "--format=custom";
    if (opts->jobs > 0)
        argv[count++] = jobs;
    if (opts->kind == BACKUP_SCHEMA) {
        argv[count++] = exclude_rows;
        argv[count++] = "--no-blobs";
    }
    if (opts->kind == BACKUP_DATA)
        argv[count++] = "--data-only";
    char **env = pg_child_env(opts->source->client, NULL);
    struct neap_child_opts child = {.argv = argv, .env = (const char *const *)env};
    mode_t before = umask(077); /* the child's, from the fork on */
    bool begun = neap_child_begin(dump->loop, &child, &dump->result, &dump->child, err);
    (void)umask(before);
    pg_child_env_free(env);
    free(file);
    free(snapshot);
    free(wait);
    free(jobs);
    return begun;
}

bool backup_dump_begin(struct neap_loop *loop, const struct backup_dump_opts *opts,
                       struct backup_dump **out, struct neap_error *err)
{
    struct backup_dump *dump = neap_alloc(sizeof *dump);
    dump->loop = loop;
    dump->opts = *opts;
    dump->path = neap_strdup(opts->path);
    dump->begun_ms = dump->told_ms = neap_clock_ms();
    *out = NULL;
    if (!begin_child(dump, err)) {
        backup_dump_drop(dump);
        return false;
    }
    dump->timer = neap_timer_begin(loop, TURN_MS, TURN_MS, on_turn, dump);
    *out = dump;
    return true;
}

bool backup_dump_end(struct backup_dump *dump, struct neap_error *err)
{
    struct neap_wait wait = {.done = neap_child_is_over, .arg = dump->child};
    bool over = neap_loop_wait(dump->loop, &wait, err);
    neap_child_end(dump->child);
    dump->child = NULL;
    read_said(dump);
    neap_buffer_add(&dump->said, dump->result.err.bytes, dump->result.err.length);
    if (over && dump->result.exit_status != 0) {
        backup_tool_explain("pg_dump", dump->result.exit_status, neap_buffer_text(&dump->said),
                            err);
        over = false;
    }
    backup_dump_drop(dump);
    return over;
}

void backup_dump_drop(struct backup_dump *dump)
{
    if (dump == NULL)
        return;
    if (dump->child != NULL)
        neap_child_end(dump->child);
    neap_timer_end(dump->timer);
    neap_child_result_clear(&dump->result);
    neap_buffer_clear(&dump->said);
    free(dump->path);
    free(dump);
}
