/* SPDX-License-Identifier: MIT
 *
 * Between the files of backup_pitr: a tool as a row of functions, and running it. Private
 * to them.
 */
#ifndef NEAP_BINDINGS_BACKUP_BACKUP_PITR_PARTS_H
#define NEAP_BINDINGS_BACKUP_BACKUP_PITR_PARTS_H

#include "bindings/backup/backup_pitr.h"
#include "host/base/buffer.h"

struct pitr_tool;

struct pitr {
    struct neap_loop *loop;
    const struct backup_pitr *rule;
    const struct pitr_tool *tool;
    const struct backup_pitr_watch *watch; /* NULL: nobody asks how far it is */
};

/* What it knows of its backups, oldest first. */
struct pitr_sets {
    struct backup_pitr_set *items;
    size_t count;
};
void backup_pitr_sets_clear(struct pitr_sets *sets);

struct pitr_tool {
    bool (*check)(struct pitr *pitr, const char *system_identifier, struct neap_error *err);
    /* *said is what it printed, for the label that is in it. */
    bool (*backup)(struct pitr *pitr, struct neap_buffer *said, struct neap_error *err);
    bool (*list)(struct pitr *pitr, struct pitr_sets *out, struct neap_error *err);
    bool (*find)(struct pitr *pitr, const char *label, struct neap_error *err);
    bool (*verify)(struct pitr *pitr, const char *label, struct neap_error *err);
    /* Adds the words that go back to it, by backup_pitr_add_word. */
    void (*restore)(const struct backup_pitr *rule, const struct backup_pitr_target *target,
                    struct neap_buffer *line);
    double (*percent)(const char *line); /* of a line of output; below 0: it says nothing */
};
extern const struct pitr_tool backup_pitr_pgbackrest, backup_pitr_barman;

/* Runs the command with `words` (NULL-terminated) behind it to its end. The first word that
 * is no option is what it is to do. False: it could not
 * be run, a stop or deadline came, or it failed: archive.failed with what it said. `out`
 * (may be NULL) takes what it printed on stdout, also then. */
bool backup_pitr_run(struct pitr *pitr, const char *const *words, struct neap_buffer *out,
                     struct neap_error *err);
/* The same for what prints JSON. */
bool backup_pitr_run_json(struct pitr *pitr, const char *const *words, json_t **out,
                          struct neap_error *err);
/* The same for what takes its time: lines are looked through for progress as they come, and
 * of many a part is kept. */
bool backup_pitr_run_long(struct pitr *pitr, const char *const *words, struct neap_buffer *out,
                          struct neap_error *err);
/* archive.failed: its answer is none that neap knows. Gives false. */
bool backup_pitr_strange(const struct pitr *pitr, const char *command, struct neap_error *err);
/* target.wrong unless the two are the same. `found` may be NULL. */
bool backup_pitr_check_identity(const struct pitr *pitr, const char *found, const char *wanted,
                                struct neap_error *err);
/* Adds " word", quoted for a shell where it must be. */
void backup_pitr_add_word(struct neap_buffer *line, const char *word);
/* Of the name of a WAL segment: its first eight hex digits. 0 when it is none. */
int64_t backup_pitr_timeline(const char *segment);

#endif
