/* SPDX-License-Identifier: MIT
 *
 * The restored copy against the manifest, in the copy's own session: lines of the schema,
 * then counts and digests of the content.
 */
#include "host/proof/proof_compare.h"

#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_digest.h"
#include "bindings/backup/backup_fingerprint.h"
#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/path.h"

#define SCHEMA_BYTES_MAX ((size_t)1 << 30)

struct compare {
    const struct backup *backup;
    struct pg_client *copy;
    const char *command; /* that compares, for the progress */
    int64_t told_ms;
};

static void on_digest(void *arg, int64_t tables_done, int64_t tables_total)
{
    struct compare *compare = arg;
    if (neap_clock_ms() - compare->told_ms < 1000)
        return;
    compare->told_ms = neap_clock_ms();
    neap_log_progress("%s: comparing, %lld of %lld tables", compare->command,
                      (long long)tables_done, (long long)tables_total);
}

/* The lines of schema.txt, whose hash the manifest vouches for. */
static bool read_schema(const struct backup *backup, struct backup_schema *out,
                        struct neap_error *err)
{
    char *path = neap_path_join(backup->path, "schema.txt");
    char *text = NULL;
    size_t length = 0, capacity = 0;
    bool read = neap_path_read(path, NULL, SCHEMA_BYTES_MAX, &text, &length, err);
    *out = (struct backup_schema){0};
    for (char *line = text; read && line < text + length;) {
        size_t width = strcspn(line, "\n");
        if (out->count == capacity) {
            capacity = capacity == 0 ? 64 : capacity * 2;
            out->lines = neap_realloc(out->lines, capacity * sizeof *out->lines);
        }
        out->lines[out->count++] = neap_strndup(line, width);
        line += width + 1;
    }
    free(text);
    free(path);
    return read;
}

/* What no copy has, and what is the database's own where it is not called as its original.
 * `bare`: without rows no view is filled. */
static void forget_left_out(struct backup_schema *schema, bool renamed, bool bare)
{
    if (renamed)
        backup_schema_forget(schema, "database");
    backup_schema_forget(schema, "subscription");
    backup_schema_forget(schema, "user mapping");
    backup_schema_forget(schema, "option of user mapping");
    if (bare)
        backup_schema_forget(schema, "populated");
}

static char *schema_diff(const struct compare *compare, struct neap_error *err)
{
    struct backup_schema source = {0}, restored = {0};
    char *diff = NULL;
    if (read_schema(compare->backup, &source, err) &&
        backup_schema_read(compare->copy, &restored, err)) {
        bool bare = strcmp(backup_text(compare->backup, "kind"), "schema") == 0;
        bool renamed =
            strcmp(PQdb(pg_raw(compare->copy)), backup_text(compare->backup, "database")) != 0;
        forget_left_out(&source, renamed, bare);
        forget_left_out(&restored, renamed, bare);
        diff = backup_schema_diff(&source, &restored);
    }
    backup_schema_clear(&source);
    backup_schema_clear(&restored);
    return diff;
}

static bool is_between(json_int_t value, json_int_t a, json_int_t b)
{
    return (a <= value && value <= b) || (b <= value && value <= a);
}

/* A sequence that moved while the dump was made may have any of the values it took. */
static json_t *settle_sequences(const json_t *manifest, const json_t *copy)
{
    json_t *source = json_deep_copy(manifest);
    json_t *before = json_object_get(source, "sequences");
    const char *name;
    json_t *range;
    json_object_foreach(json_object_get(source, "sequences_moved"), name, range)
    {
        json_t *restored = json_object_get(json_object_get(copy, "sequences"), name);
        if (json_object_get(before, name) != NULL && restored != NULL &&
            is_between(json_integer_value(json_object_get(restored, "last_value")),
                       json_integer_value(json_array_get(range, 0)),
                       json_integer_value(json_array_get(range, 1))))
            neap_json_set(before, name, json_incref(restored));
    }
    return source;
}

static char *content_diff(struct compare *compare, struct neap_error *err)
{
    struct backup_digest_opts opts = {.sample_rows_over = json_integer_value(json_object_get(
                                          compare->backup->manifest, "sample_rows_over")),
                                      .progress = on_digest,
                                      .arg = compare};
    json_t *restored = NULL;
    char *diff = NULL;
    if (strcmp(backup_text(compare->backup, "kind"), "schema") == 0)
        return NULL;
    if (backup_digest_read(compare->copy, &opts, &restored, err)) {
        json_t *source = settle_sequences(compare->backup->manifest, restored);
        diff = backup_digest_diff(source, restored);
        json_decref(source);
    }
    neap_log_progress_end();
    json_decref(restored);
    return diff;
}

bool neap_proof_compare(const struct backup *backup, struct pg_client *copy, const char *command,
                        struct neap_error *err)
{
    struct compare compare = {.backup = backup, .copy = copy, .command = command};
    char *schema = schema_diff(&compare, err);
    char *content = err->code == NEAP_OK ? content_diff(&compare, err) : NULL;
    if (schema != NULL || content != NULL) {
        neap_error_set(err, NEAP_ERR_BACKUP_DIFFERS,
                       "the copy restored from backup %s is not what was backed up", backup->id);
        neap_error_detail(err, "%s%s", schema == NULL ? "" : schema,
                          content == NULL ? "" : content);
    }
    free(schema);
    free(content);
    return err->code == NEAP_OK;
}
