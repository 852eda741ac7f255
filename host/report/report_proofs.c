/* SPDX-License-Identifier: MIT
 *
 * What stood before the change and after it: checks, gates, backup, rehearsal, the way
 * back, a restore. These events are nearly the report already.
 */
#include <string.h>

#include "host/base/json.h"
#include "host/report/report_parts.h"

static void on_preflight(struct neap_report *report, const json_t *fields)
{
    neap_json_set(report->json, "checks", json_deep_copy(json_object_get(fields, "rows")));
}

/* The one of this id, or a new one. */
static json_t *need_backup(struct neap_report *report, const char *id)
{
    json_t *backups = json_object_get(report->json, "backups");
    size_t i;
    json_t *backup;
    json_array_foreach(backups, i, backup)
    {
        if (neap_report_is(backup, "id", id))
            return backup;
    }
    backup = json_object();
    neap_json_set(backup, "id", neap_json_text(id));
    neap_json_set(backup, "made", json_false());
    neap_report_append(report->json, "backups", backup);
    return backup;
}

static void on_gate(struct neap_report *report, const json_t *fields)
{
    neap_report_append(report->json, "gates", json_deep_copy(fields));
    if (neap_report_is(fields, "gate", "verify") && neap_report_is(fields, "result", "reused"))
        neap_report_copy(need_backup(report, neap_report_word(fields, "backup")), fields,
                         (const char *const[]){"proved_at", NULL});
}

static void on_backup_begin(struct neap_report *report, const json_t *fields)
{
    static const char *const keys[] = {"kind", "format", "tag", "dir", NULL};
    json_t *backup = need_backup(report, neap_report_word(fields, "id"));
    neap_json_set(backup, "began_at", neap_json_text(report->at));
    neap_report_copy(backup, fields, keys);
}

static void on_backup_end(struct neap_report *report, const json_t *fields)
{
    static const char *const keys[] = {"bytes", "manifest_sha256", "fingerprint", "error", NULL};
    json_t *backup = need_backup(report, neap_report_word(fields, "id"));
    neap_json_set(backup, "made", json_boolean(json_is_true(json_object_get(fields, "ok"))));
    neap_json_set(
        backup, "duration_ms",
        json_integer(neap_report_span_ms(neap_report_word(backup, "began_at"), report->at)));
    neap_report_copy(backup, fields, keys);
}

static void on_backup_verified(struct neap_report *report, const json_t *fields)
{
    static const char *const keys[] = {"level",          "ok",    "at", "seconds",
                                       "server_version", "error", NULL};
    json_t *verified = json_object();
    neap_report_copy(verified, fields, keys);
    neap_json_set(need_backup(report, neap_report_word(fields, "id")), "verified", verified);
}

static void on_rehearsal_begin(struct neap_report *report, const json_t *fields)
{
    neap_json_set(report->json, "rehearsal", json_deep_copy(fields));
}

static void on_rehearsal_end(struct neap_report *report, const json_t *fields)
{
    json_t *rehearsal = json_deep_copy(fields);
    const json_t *begun = json_object_get(report->json, "rehearsal");
    neap_report_copy(rehearsal, begun, (const char *const[]){"ids", NULL});
    neap_json_set(report->json, "rehearsal", rehearsal);
}

static void on_turn(struct neap_report *report, const json_t *fields)
{
    json_t *turn = json_deep_copy(fields);
    neap_json_set(turn, "at", neap_json_text(report->at));
    neap_report_append(report->json, "way_back", turn);
}

/* One restore in a run: what each of its events says is added to what was said before. */
static void on_restore(struct neap_report *report, const json_t *fields)
{
    json_t *restore = json_object_get(report->json, "restore");
    if (restore == NULL) {
        restore = json_object();
        neap_json_set(report->json, "restore", restore);
        neap_json_set(restore, "swapped", json_false());
    }
    json_t *copy = json_deep_copy(fields);
    (void)json_object_update(restore, copy);
    json_decref(copy);
}

static void on_swapped(struct neap_report *report, const json_t *fields)
{
    on_restore(report, fields);
    neap_json_set(json_object_get(report->json, "restore"), "swapped",
                  json_boolean(!json_is_object(json_object_get(fields, "error"))));
}

static void on_restore_point(struct neap_report *report, const json_t *fields)
{
    neap_json_set(report->json, "restore_point", json_deep_copy(fields));
}

static void on_broken(struct neap_report *report, const json_t *fields)
{
    neap_json_set(report->json, "broken", json_deep_copy(fields));
}

static void on_failed_over(struct neap_report *report, const json_t *fields)
{
    neap_json_set(report->json, "failed_over_to",
                  json_deep_copy(json_object_get(fields, "timeline")));
}

const struct neap_report_part neap_report_proofs[] = {{"preflight", on_preflight},
                                                      {"gate", on_gate},
                                                      {"backup.begin", on_backup_begin},
                                                      {"backup.end", on_backup_end},
                                                      {"backup.verified", on_backup_verified},
                                                      {"rehearsal.begin", on_rehearsal_begin},
                                                      {"rehearsal.end", on_rehearsal_end},
                                                      {"way_back.turn", on_turn},
                                                      {"restore.begin", on_restore},
                                                      {"restore.copy", on_restore},
                                                      {"restore.swap", on_restore},
                                                      {"restore.swapped", on_swapped},
                                                      {"restore.end", on_restore},
                                                      {"restore_point", on_restore_point},
                                                      {"lease.broken", on_broken},
                                                      {"target.failed_over", on_failed_over},
                                                      {NULL, NULL}};
