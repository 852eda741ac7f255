/* SPDX-License-Identifier: MIT
 *
 * A place can be reached where the backup was whole before it, on the same timeline or one
 * that came of it. Whether its WAL is in the archive, the recovery itself finds out: it
 * ends with an error, and not somewhere else.
 */
#include "host/proof/restore_archive.h"

#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_pitr.h"
#include "host/base/json.h"
#include "host/base/memory.h"
#include "host/change/audit.h"
#include "host/proof/proof_archive.h"

struct search {
    struct neap_restore_archive *out;
    const char *run; /* that is wanted, or NULL */
    bool seen;       /* it is there, whether it can be reached or not */
    uint64_t end_lsn;
    int64_t timeline;
};

/* "16/B374D848" */
static uint64_t lsn_of(const char *text)
{
    char *slash = NULL;
    if (text == NULL)
        return 0;
    uint64_t high = strtoull(text, &slash, 16);
    return *slash == '/' ? high << 32 | strtoull(slash + 1, NULL, 16) : 0;
}

static int64_t timeline_of(const struct backup *backup)
{
    return json_integer_value(
        json_object_get(json_object_get(backup->manifest, "archive"), "timeline"));
}

static void add_place(struct search *search, const json_t *event, const json_t *fields)
{
    struct neap_restore_archive *out = search->out;
    out->places = neap_realloc(out->places, (out->count + 1) * sizeof *out->places);
    out->places[out->count++] = (struct neap_restore_place){
        .run = neap_strdup(json_string_value(json_object_get(event, "run"))),
        .at = neap_strdup(json_string_value(json_object_get(event, "time"))),
        .name = neap_strdup(json_string_value(json_object_get(fields, "name"))),
        .lsn = neap_strdup(json_string_value(json_object_get(fields, "lsn"))),
        .timeline = json_integer_value(json_object_get(fields, "timeline")),
    };
}

static bool on_event(void *arg, const char *hash, const json_t *event)
{
    struct search *search = arg;
    const json_t *fields = json_object_get(event, "data");
    const char *name = json_string_value(json_object_get(event, "event"));
    const char *run = json_string_value(json_object_get(event, "run"));
    const char *point = json_string_value(json_object_get(fields, "name"));
    (void)hash;
    if (name == NULL || run == NULL || strcmp(name, "restore_point") != 0)
        return true;
    search->seen = search->seen || (search->run != NULL && strcmp(search->run, run) == 0);
    if (lsn_of(json_string_value(json_object_get(fields, "lsn"))) > search->end_lsn &&
        json_integer_value(json_object_get(fields, "timeline")) >= search->timeline &&
        (point == NULL || backup_pitr_is_word(point)))
        add_place(search, event, fields);
    return true;
}

static const struct neap_restore_place *find(const struct neap_restore_archive *archive,
                                             const char *run)
{
    for (size_t i = archive->count; i-- > 0;)
        if (strcmp(archive->places[i].run, run) == 0)
            return &archive->places[i];
    return NULL;
}

static bool choose(const struct search *search, const struct backup *backup, struct neap_error *err)
{
    struct neap_restore_archive *out = search->out;
    out->chosen = find(out, search->run != NULL ? search->run : backup->id);
    if (search->run == NULL && out->chosen == NULL && out->count > 0)
        out->chosen = &out->places[out->count - 1];
    if (search->run == NULL || out->chosen != NULL)
        return true;
    if (search->seen) {
        neap_error_set(err, NEAP_ERR_USAGE, "run %s began before backup %s was whole", search->run,
                       backup->id);
        neap_error_hint(err, "Take an older backup: see `neap backup list`.");
    } else {
        neap_error_set(err, NEAP_ERR_USAGE, "the journal here has no restore point of run %s",
                       search->run);
        neap_error_hint(err, "`neap restore %s` names the runs that there are.", backup->id);
    }
    return false;
}

/* As the environment runs the tool; where it names none any more, by its own name. */
static char *line_of(const struct neap_project *project, const struct backup *backup,
                     const struct neap_restore_place *place)
{
    const struct backup_pitr *rule = neap_proof_archive_rule(&project->env, backup, NULL);
    struct backup_pitr bare = {.tool = BACKUP_PITR_PGBACKREST};
    char *words[] = {NULL, NULL};
    const char *directory = backup_archive_text(backup, "directory");
    struct backup_pitr_target target = {
        .label = backup_archive_text(backup, "label"),
        .directory = directory[0] == '\0' ? NULL : directory,
        .name = place == NULL ? NULL : place->name,
        .lsn = place == NULL ? NULL : place->lsn,
        .timeline = place == NULL ? timeline_of(backup) : place->timeline,
    };
    if (rule == NULL) {
        (void)backup_pitr_of(backup_archive_text(backup, "tool"), &bare.tool);
        words[0] = neap_strdup(backup_pitr_name(bare.tool));
        bare.server = neap_strdup(backup_archive_text(backup, "server"));
        bare.command = words;
    }
    char *line = backup_pitr_restore_line(rule == NULL ? &bare : rule, &target);
    free(bare.server);
    free(words[0]);
    return line;
}

/* What a person will type is made of plain words, whatever stands in the record. */
static bool check_record(const struct backup *backup, struct neap_error *err)
{
    static const char *const keys[] = {"tool", "server", "label", "end_lsn", NULL};
    enum backup_pitr_tool tool;
    for (const char *const *key = keys; *key != NULL; key++) {
        const char *text = backup_archive_text(backup, *key);
        bool good = strcmp(*key, "end_lsn") == 0 ? lsn_of(text) > 0 : backup_pitr_is_word(text);
        if (good && (strcmp(*key, "tool") != 0 || backup_pitr_of(text, &tool)))
            continue;
        neap_error_set(err, NEAP_ERR_BACKUP_DAMAGED, "the record of backup %s has no %s",
                       backup->id, *key);
        return false;
    }
    return true;
}

bool neap_restore_archive(const struct neap_project *project, const struct backup *backup,
                          const char *run, struct neap_restore_archive *out, struct neap_error *err)
{
    struct search search = {.out = out, .run = run};
    *out = (struct neap_restore_archive){.line = NULL};
    if (!check_record(backup, err))
        return false;
    search.end_lsn = lsn_of(backup_archive_text(backup, "end_lsn"));
    search.timeline = timeline_of(backup);
    if (!neap_audit_read(project->state_dir, backup_text(backup, "identity"), NULL, on_event,
                         &search, err) ||
        !choose(&search, backup, err))
        return false;
    out->line = line_of(project, backup, out->chosen);
    return true;
}

void neap_restore_archive_clear(struct neap_restore_archive *archive)
{
    for (size_t i = 0; i < archive->count; i++) {
        free(archive->places[i].run);
        free(archive->places[i].name);
        free(archive->places[i].lsn);
        free(archive->places[i].at);
    }
    free(archive->places);
    free(archive->line);
    *archive = (struct neap_restore_archive){.line = NULL};
}
