/* SPDX-License-Identifier: MIT
 *
 * The part of the text that tells what stood before the change: checks, gates, backup,
 * rehearsal.
 */
#include "host/base/clock.h"
#include "host/report/report_page.h"
#include "host/report/report_parts.h"

#define word neap_report_word
#define number neap_report_number

static void say_gates(struct neap_page *page, const json_t *json)
{
    const json_t *gates = json_object_get(json, "gates");
    char spent[NEAP_DURATION_SIZE];
    size_t i;
    const json_t *gate;
    if (json_array_size(gates) == 0)
        return;
    neap_page_heading(page, "Gates");
    json_array_foreach(gates, i, gate)
    {
        const char *by = word(gate, "by"), *reason = word(gate, "reason");
        neap_duration_text(number(gate, "duration_ms"), spent);
        neap_page_field(page, word(gate, "gate"), "%s%s%s%s%s%s%s", word(gate, "result"),
                        by[0] == '\0' ? "" : " by ", by, reason[0] == '\0' ? "" : ": ", reason,
                        number(gate, "duration_ms") > 0 ? ", " : "",
                        number(gate, "duration_ms") > 0 ? spent : "");
    }
}

/* Those that are well are only counted. */
static void say_checks(struct neap_page *page, const json_t *json)
{
    const json_t *checks = json_object_get(json, "checks");
    size_t i, ok = 0;
    const json_t *check;
    if (json_array_size(checks) == 0)
        return;
    neap_page_heading(page, "Checks before it");
    json_array_foreach(checks, i, check)
    {
        if (neap_report_is(check, "level", "ok"))
            ok++;
        else
            neap_page_line(page, 2, "%s  %s: %s", word(check, "level"), word(check, "check"),
                           word(check, "message"));
    }
    neap_page_line(page, 2, "%zu of %zu ok", ok, json_array_size(checks));
}

static void say_proof(struct neap_page *page, const json_t *backup)
{
    const json_t *verified = json_object_get(backup, "verified");
    const json_t *seconds = json_object_get(verified, "seconds");
    char spent[NEAP_DURATION_SIZE];
    if (verified == NULL) {
        neap_page_line(page, 4, "not proved in this run");
        return;
    }
    neap_duration_text((int64_t)(json_number_value(seconds) * 1000), spent);
    if (!json_is_true(json_object_get(verified, "ok")))
        neap_page_line(page, 4, "NOT PROVED: %s",
                       word(json_object_get(verified, "error"), "message"));
    else if (neap_report_is(verified, "level", "full"))
        neap_page_line(page, 4, "proved: restored and compared in %s", spent);
    else if (word(backup, "proved_at")[0] != '\0')
        neap_page_line(page, 4, "proved before this run, at %.19sZ; its files are as they were",
                       word(backup, "proved_at"));
    else
        neap_page_line(page, 4, "its files are as they were written; that is no proof");
}

static void say_backups(struct neap_page *page, const json_t *json)
{
    const json_t *backups = json_object_get(json, "backups");
    char spent[NEAP_DURATION_SIZE], size[NEAP_SIZE_SIZE];
    size_t i;
    const json_t *backup;
    if (json_array_size(backups) == 0)
        return;
    neap_page_heading(page, "Backup");
    json_array_foreach(backups, i, backup)
    {
        neap_duration_text(number(backup, "duration_ms"), spent);
        neap_size_text(number(backup, "bytes"), size);
        if (json_is_true(json_object_get(backup, "made")))
            neap_page_line(page, 2, "%s  %s, %s in %s", word(backup, "id"), word(backup, "kind"),
                           size, spent);
        else if (json_object_get(backup, "error") != NULL)
            neap_page_line(page, 2, "%s  failed: %s", word(backup, "id"),
                           word(json_object_get(backup, "error"), "message"));
        else
            neap_page_line(page, 2, "%s", word(backup, "id"));
        say_proof(page, backup);
    }
}

static void say_rehearsal(struct neap_page *page, const json_t *json)
{
    const json_t *rehearsal = json_object_get(json, "rehearsal");
    const json_t *ok = json_object_get(rehearsal, "ok");
    char spent[NEAP_DURATION_SIZE];
    size_t units = json_array_size(json_object_get(rehearsal, "units"));
    if (rehearsal == NULL)
        return;
    neap_duration_text((int64_t)(json_number_value(json_object_get(rehearsal, "seconds")) * 1000),
                       spent);
    neap_page_heading(page, "Rehearsal");
    if (ok == NULL)
        neap_page_line(page, 2, "begun from %s, and not ended", word(rehearsal, "from"));
    else
        neap_page_line(page, 2, "%s on a copy of %s%s in %s, %zu %s up, down and up again",
                       json_is_true(ok) ? "passed" : "FAILED", word(rehearsal, "from"),
                       json_is_false(json_object_get(rehearsal, "rows")) ? ", without rows" : "",
                       spent, units, units == 1 ? "migration" : "migrations");
    if (json_is_object(json_object_get(rehearsal, "error")))
        neap_page_line(page, 4, "%s", word(json_object_get(rehearsal, "error"), "message"));
}

static void say_restore(struct neap_page *page, const json_t *json)
{
    const json_t *restore = json_object_get(json, "restore");
    char spent[NEAP_DURATION_SIZE];
    if (restore == NULL)
        return;
    neap_duration_text(number(restore, "ms"), spent);
    neap_page_heading(page, "Restore");
    neap_page_line(page, 2, "backup %s%s%s", word(restore, "backup"),
                   number(restore, "ms") > 0 ? ", made a database and compared in " : "",
                   number(restore, "ms") > 0 ? spent : "");
    if (json_is_true(json_object_get(restore, "swapped")))
        neap_page_line(page, 2, "it is database %s now%s%s", word(restore, "database"),
                       word(restore, "kept")[0] == '\0' ? "" : "; the one before is kept as ",
                       word(restore, "kept"));
    else if (word(restore, "database")[0] != '\0')
        neap_page_line(page, 2, "it is database %s, beside the target", word(restore, "database"));
    else
        neap_page_line(page, 2, "the target is what it was");
}

void neap_report_say_proofs(struct neap_page *page, const json_t *json)
{
    say_gates(page, json);
    say_checks(page, json);
    say_backups(page, json);
    say_rehearsal(page, json);
    say_restore(page, json);
}
