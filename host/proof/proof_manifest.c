/* SPDX-License-Identifier: MIT
 *
 * The identity ties a backup to its target and to the journal that recorded its making.
 */
#include "host/proof/proof_manifest.h"

#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/base/path.h"

static json_t *list_of(const char *const *words)
{
    json_t *list = json_array();
    for (; *words != NULL; words++)
        json_array_append_new(list, neap_json_text(*words));
    return list;
}

json_t *neap_proof_manifest(const struct neap_session *session,
                            const struct neap_proof_create_opts *opts, const char *kind,
                            const char *const *not_included)
{
    const char *id = neap_loop_run(session->loop)->id;
    json_t *manifest = json_object();
    char now[NEAP_UTC_SIZE];
    neap_clock_utc(now);
    neap_json_set(manifest, "schema_version", json_integer(BACKUP_SCHEMA_VERSION));
    neap_json_set(manifest, "id", neap_json_text(id));
    neap_json_set(manifest, "run_id", neap_json_text(id));
    neap_json_set(manifest, "neap_version", neap_json_text(NEAP_VERSION));
    neap_json_set(manifest, "environment", neap_json_text(session->project->env.name));
    neap_json_set(manifest, "identity", neap_json_text(session->target->identity));
    neap_json_set(manifest, "address", neap_json_text(pg_address(session->target->control)));
    neap_json_set(manifest, "actor", neap_json_text(session->actor.name));
    neap_json_set(manifest, "who", json_incref(session->actor.fields));
    neap_json_set(manifest, "reason", neap_json_text(opts->reason));
    neap_json_set(manifest, "ticket", neap_json_text(opts->ticket));
    neap_json_set(manifest, "tag", neap_json_text(opts->tag));
    neap_json_set(manifest, "kind", neap_json_text(kind));
    neap_json_set(manifest, "started_at", neap_json_text(now));
    neap_json_set(manifest, "not_included", list_of(not_included));
    neap_json_set(manifest, "verified", json_null());
    return manifest;
}

void neap_proof_manifest_end(json_t *manifest, int64_t begun_ms, int64_t bytes)
{
    char now[NEAP_UTC_SIZE];
    neap_clock_utc(now);
    neap_json_set(manifest, "finished_at", neap_json_text(now));
    neap_json_set(manifest, "duration_ms", json_integer(neap_clock_ms() - begun_ms));
    neap_json_set(manifest, "bytes", json_integer(bytes));
}

bool neap_proof_record_begin(struct neap_session *session, const json_t *manifest, const char *dir,
                             struct neap_error *err)
{
    static const char *const keys[] = {"id", "kind", "format", "tag", "pg_dump_version", NULL};
    json_t *fields = json_object();
    for (const char *const *key = keys; *key != NULL; key++)
        if (json_object_get(manifest, *key) != NULL)
            neap_json_set(fields, *key, json_incref(json_object_get(manifest, *key)));
    neap_json_set(fields, "dir", neap_json_text(dir));
    neap_audit_add(session->audit, "backup.begin", fields);
    return neap_audit_sync(session->audit, err);
}

void neap_proof_record_end(struct neap_session *session, const json_t *manifest,
                           const char *manifest_sha256, const struct neap_error *err)
{
    static const char *const keys[] = {"bytes", "fingerprint", "archive", NULL};
    json_t *fields = json_object();
    neap_json_set(fields, "id", json_incref(json_object_get(manifest, "id")));
    neap_json_set(fields, "ok", json_boolean(err == NULL));
    if (err != NULL)
        neap_json_set(fields, "error", neap_json_error(err));
    else
        neap_json_set(fields, "manifest_sha256", neap_json_text(manifest_sha256));
    for (const char *const *key = keys; err == NULL && *key != NULL; key++)
        if (json_object_get(manifest, *key) != NULL)
            neap_json_set(fields, *key, json_incref(json_object_get(manifest, *key)));
    neap_audit_add(session->audit, "backup.end", fields);
}

void neap_proof_give(const struct backup_part *part, json_t *manifest,
                     const char manifest_sha256[NEAP_HASH_HEX_SIZE], struct backup *out)
{
    *out = (struct backup){.id = neap_strdup(part->id),
                           .path = neap_path_join(part->dir, part->id),
                           .manifest = json_incref(manifest)};
    memcpy(out->manifest_sha256, manifest_sha256, sizeof out->manifest_sha256);
    (void)backup_hold(out);
}
