/* SPDX-License-Identifier: MIT
 *
 * Making a backup. pg_dump runs while the digests are taken in the snapshot that it
 * dumps: the one is busy here, the other in the server. What is in the manifest was
 * read from the source, never from the dump, or it would prove nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_digest.h"
#include "bindings/backup/backup_fingerprint.h"
#include "bindings/backup/backup_source.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/change/tx.h"
#include "host/proof/proof_archive.h"
#include "host/proof/proof_manifest.h"

struct create {
    struct neap_session *session;
    struct pg_client *client; /* in which the target is held still */
    const struct neap_proof_create_opts *opts;
    struct backup_tool pg_dump;
    struct backup_part part;
    struct backup_source source;
    struct backup_schema schema;
    json_t *manifest;
    char sha256[NEAP_HASH_HEX_SIZE]; /* of the manifest */
    int64_t begun_ms;
    int64_t hashed_bytes, hashed_told_ms;
};

/* What a dump of pg_dump's never has. */
static const char *const not_included[] = {"passwords, settings and memberships of roles",
                                           "the places of tablespaces",
                                           "other databases",
                                           "rows of foreign tables",
                                           "the lease of neap",
                                           NULL};

static void on_progress(void *arg, const struct backup_progress *progress)
{
    char bytes[NEAP_PROOF_SIZE], rate[NEAP_PROOF_SIZE], left[NEAP_DURATION_SIZE] = "";
    (void)arg;
    neap_proof_size(progress->bytes, bytes);
    neap_proof_size(progress->bytes_a_second, rate);
    if (progress->left_ms >= 0)
        neap_duration_text(progress->left_ms, left);
    neap_log_progress("backup: %lld of %lld tables, %s, %s/s%s%s%s",
                      (long long)progress->tables_done, (long long)progress->tables_total, bytes,
                      rate, left[0] == '\0' ? "" : ", about ", left,
                      left[0] == '\0' ? "" : " left");
}

static void on_silence(void *arg, const char *what, int64_t waited_ms)
{
    (void)arg; /* the progress tells */
    (void)what;
    (void)waited_ms;
}

static void on_hashed(void *arg, int64_t bytes)
{
    struct create *create = arg;
    char text[NEAP_PROOF_SIZE];
    create->hashed_bytes += bytes;
    neap_loop_turn(create->session->loop); /* a lease must be renewed meanwhile */
    if (neap_clock_ms() - create->hashed_told_ms < 1000)
        return;
    create->hashed_told_ms = neap_clock_ms();
    neap_proof_size(create->hashed_bytes, text);
    neap_log_progress("backup: hashing, %s", text);
}

static void begin_manifest(struct create *create)
{
    const struct neap_proof_create_opts *opts = create->opts;
    json_t *manifest = create->manifest =
        neap_proof_manifest(create->session, opts, backup_kind_name(opts->kind), not_included);
    neap_json_set(manifest, "address", neap_json_text(pg_address(create->client)));
    neap_json_set(manifest, "format", neap_json_text(opts->jobs > 0 ? "directory" : "custom"));
    if (opts->sample_rows_over > 0)
        neap_json_set(manifest, "sample_rows_over", json_integer(opts->sample_rows_over));
    neap_json_set(manifest, "pg_dump_version", neap_json_text(create->pg_dump.version));
}

static bool write_schema(struct create *create, struct neap_error *err)
{
    struct neap_buffer text = {0};
    char *path = neap_path_join(create->part.path, "schema.txt");
    for (size_t i = 0; i < create->schema.count; i++)
        neap_buffer_add_format(&text, "%s\n", create->schema.lines[i]);
    neap_json_set(create->manifest, "fingerprint", neap_json_text(create->schema.hash));
    bool written = backup_file_write(path, neap_buffer_text(&text), text.length, err);
    free(path);
    neap_buffer_clear(&text);
    return written;
}

/* Dump and digests, side by side. */
static bool dump(struct create *create, struct neap_error *err)
{
    char *path = neap_path_join(create->part.path, "dump");
    struct backup_dump_opts opts = {
        .tool = &create->pg_dump,
        .source = &create->source,
        .path = path,
        .kind = create->opts->kind,
        .jobs = create->opts->jobs,
        .lock_wait_ms = create->session->project->env.lock_budget_ms,
        .progress = on_progress,
    };
    struct backup_dump *dump = NULL;
    struct backup_digest_opts digest = {.sample_rows_over = create->opts->sample_rows_over};
    json_t *digests = NULL;
    struct neap_error digest_err = {0};
    if (!backup_dump_begin(create->session->loop, &opts, &dump, err)) {
        free(path);
        return false;
    }
    bool digested = create->opts->kind == BACKUP_SCHEMA ||
                    backup_digest_read(create->source.client, &digest, &digests, &digest_err);
    bool dumped = false;
    if (digested)
        dumped = backup_dump_end(dump, err);
    else
        backup_dump_drop(dump);
    if (!digested)
        neap_error_move(err, &digest_err);
    if (digests != NULL)
        (void)json_object_update(create->manifest, digests);
    json_decref(digests);
    free(path);
    return digested && dumped;
}

/* "schema.sequence" -> [value, called or not]. New reference; NULL: it failed. */
static json_t *read_sequences(struct create *create, struct neap_error *err)
{
    static const char sql[] = "select pg_catalog.format('%I.%I', schemaname, sequencename),"
                              " coalesce(last_value, start_value), last_value is not null"
                              " from pg_catalog.pg_sequences";
    struct pg_op *op = NULL;
    if (!pg_exec_text(create->source.client, sql, 0, NULL, &op, err))
        return NULL;
    json_t *states = json_object();
    for (int i = 0; i < pg_rows(op); i++) {
        json_t *state = json_array();
        json_array_append_new(state, json_integer(pg_cell_int(op, i, 1)));
        json_array_append_new(state, json_boolean(pg_cell_bool(op, i, 2)));
        neap_json_set(states, pg_cell(op, i, 0), state);
    }
    pg_op_free(op);
    return states;
}

/* nextval knows no snapshot: pg_dump and the digest read values of different moments.
 * Kept for each sequence that moved: where it was before both, and after. */
static bool dump_between(struct create *create, struct neap_error *err)
{
    json_t *before = read_sequences(create, err);
    bool dumped = before != NULL && dump(create, err);
    json_t *after = dumped ? read_sequences(create, err) : NULL;
    json_t *moved = json_object();
    const char *name;
    json_t *state;
    json_object_foreach(after, name, state)
    {
        json_t *first = json_object_get(before, name);
        if (first == NULL || json_equal(first, state))
            continue;
        json_t *range = json_array();
        json_array_append(range, json_array_get(first, 0));
        json_array_append(range, json_array_get(state, 0));
        neap_json_set(moved, name, range);
    }
    neap_json_set(create->manifest, "sequences_moved", moved);
    json_decref(before);
    json_decref(after);
    return after != NULL;
}

/* The schema is the same now as in the snapshot. pg_dump asks the server for definitions
 * as they are at that moment, whatever its snapshot says. */
static bool check_unchanged(struct create *create, struct neap_error *err)
{
    struct backup_schema now = {0};
    if (!backup_source_end(&create->source, err) ||
        !backup_schema_read(create->source.client, &now, err))
        return false;
    char *diff = backup_schema_diff(&create->schema, &now);
    if (diff != NULL) {
        neap_error_set(err, NEAP_ERR_BACKUP_CHANGED,
                       "the schema was changed while the backup was made");
        neap_error_detail(err, "%s", diff);
    }
    bool same = diff == NULL;
    free(diff);
    backup_schema_clear(&now);
    return same;
}

static bool seal(struct create *create, struct neap_error *err)
{
    struct backup_watch watch = {.run = neap_loop_run(create->session->loop),
                                 .progress = on_hashed,
                                 .arg = create,
                                 .sync = true};
    neap_proof_manifest_end(create->manifest, create->begun_ms,
                            backup_files_bytes(create->part.path));
    return backup_part_end(&create->part, create->manifest, &watch, create->sha256, err);
}

/* What needs no server's time and fails often comes first. */
static bool prepare(struct create *create, struct neap_error *err)
{
    struct neap_session *session = create->session;
    int major = session->target->server_version_num / 10000;
    return neap_target_session(session->target, "backup", &create->client, err) &&
           backup_tool_find(session->loop, "pg_dump", major, &create->pg_dump, err) &&
           backup_part_begin(create->opts->dir, neap_loop_run(session->loop)->id, &create->part,
                             err);
}

static bool make(struct create *create, struct neap_error *err)
{
    struct neap_session *session = create->session;
    begin_manifest(create);
    if (!neap_proof_record_begin(session, create->manifest, create->part.dir, err) ||
        !backup_source_begin(create->client, session->project->env.lock_budget_ms, &create->source,
                             err))
        return false;
    (void)json_object_update(create->manifest, create->source.facts);
    return backup_schema_read(create->source.client, &create->schema, err) &&
           write_schema(create, err) && dump_between(create, err) && check_unchanged(create, err) &&
           seal(create, err);
}

bool neap_proof_create_in(struct neap_session *session, const struct neap_proof_create_opts *opts,
                          struct backup *out, struct neap_error *err)
{
    struct create create = {
        .session = session, .opts = opts, .part = {.fd = -1}, .begun_ms = neap_clock_ms()};
    if (opts->archive)
        return neap_proof_archive(session, opts, out, err);
    neap_loop_on_silence(session->loop, on_silence, NULL);
    neap_loop_run(session->loop)->deadline_ms = neap_clock_deadline_ms(opts->timeout_ms);
    bool made = prepare(&create, err) && make(&create, err);
    neap_log_progress_end();
    neap_loop_run(session->loop)->deadline_ms = NEAP_FOREVER;
    neap_watch_tell(session->watch);
    pg_close(create.client); /* and with it the locks */
    if (!made)
        neap_proof_error(err);
    if (create.manifest != NULL)
        neap_proof_record_end(session, create.manifest, create.sha256, made ? NULL : err);
    if (made)
        neap_proof_give(&create.part, create.manifest, create.sha256, out);
    backup_schema_clear(&create.schema);
    backup_source_clear(&create.source);
    backup_part_clear(&create.part);
    backup_tool_clear(&create.pg_dump);
    json_decref(create.manifest);
    return made;
}

bool neap_proof_create(struct neap_session *session, const struct neap_proof_create_opts *opts,
                       struct backup *out, struct neap_error *err)
{
    struct neap_session_opts begin = {
        .command = "backup create", .reason = opts->reason, .ticket = opts->ticket, .bare = true};
    return neap_session_begin(session, &begin, err) &&
           neap_proof_create_in(session, opts, out, err);
}
