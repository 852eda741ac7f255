/* SPDX-License-Identifier: MIT
 *
 * What is the same for every tool. Which of its backups is ours is told by what the tool
 * said while it made it, never by "the newest": somebody else's may have come in between.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_pitr_parts.h"
#include "host/base/memory.h"

static const struct pitr_tool *const tools[BACKUP_PITR_COUNT] = {
    [BACKUP_PITR_PGBACKREST] = &backup_pitr_pgbackrest,
    [BACKUP_PITR_BARMAN] = &backup_pitr_barman,
};

static const struct {
    const char *name, *server;
} names[BACKUP_PITR_COUNT] = {
#define BACKUP_PITR(symbol, name, server) {name, server},
#include "bindings/backup/backup_pitr.def"
#undef BACKUP_PITR
};

const char *backup_pitr_name(enum backup_pitr_tool tool)
{
    return names[tool].name;
}

const char *backup_pitr_server_word(enum backup_pitr_tool tool)
{
    return names[tool].server;
}

bool backup_pitr_of(const char *name, enum backup_pitr_tool *out)
{
    for (int i = 0; i < BACKUP_PITR_COUNT; i++)
        if (strcmp(names[i].name, name) == 0) {
            *out = (enum backup_pitr_tool)i;
            return true;
        }
    return false;
}

bool backup_pitr_is_word(const char *text)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return length > 0 && length <= 128 && text[length] == '\0' && text[0] != '-' && text[0] != '.';
}

void backup_pitr_free(struct backup_pitr *pitr)
{
    if (pitr == NULL)
        return;
    for (char **word = pitr->command; *word != NULL; word++)
        free(*word);
    free(pitr->command);
    free(pitr->server);
    free(pitr->type);
    free(pitr);
}

void backup_pitr_set_clear(struct backup_pitr_set *set)
{
    free(set->label);
    free(set->type);
    free(set->start_lsn);
    free(set->end_lsn);
    free(set->start_wal);
    free(set->end_wal);
    free(set->directory);
    *set = (struct backup_pitr_set){0};
}

void backup_pitr_sets_clear(struct pitr_sets *sets)
{
    for (size_t i = 0; i < sets->count; i++)
        backup_pitr_set_clear(&sets->items[i]);
    free(sets->items);
    *sets = (struct pitr_sets){0};
}

bool backup_pitr_check(struct neap_loop *loop, const struct backup_pitr *pitr,
                       const char *system_identifier, struct neap_error *err)
{
    struct pitr call = {.loop = loop, .rule = pitr, .tool = tools[pitr->tool]};
    return call.tool->check(&call, system_identifier, err);
}

/* The newest that `said` names: it may name the one before, too. */
static bool take_named(struct pitr *pitr, const char *said, struct backup_pitr_set *out,
                       struct neap_error *err)
{
    struct pitr_sets sets = {0};
    if (!pitr->tool->list(pitr, &sets, err))
        return false;
    bool found = false;
    for (size_t i = sets.count; !found && i-- > 0;) {
        found = strstr(said, sets.items[i].label) != NULL;
        if (found) {
            *out = sets.items[i];
            sets.items[i] = (struct backup_pitr_set){0};
        }
    }
    backup_pitr_sets_clear(&sets);
    return found || backup_pitr_strange(pitr, "backup", err);
}

bool backup_pitr_create(struct neap_loop *loop, const struct backup_pitr *pitr,
                        const struct backup_pitr_watch *watch, struct backup_pitr_set *out,
                        struct neap_error *err)
{
    struct pitr call = {.loop = loop, .rule = pitr, .tool = tools[pitr->tool], .watch = watch};
    struct neap_buffer said = {0};
    *out = (struct backup_pitr_set){0};
    bool made = call.tool->backup(&call, &said, err) &&
                take_named(&call, neap_buffer_text(&said), out, err);
    neap_buffer_clear(&said);
    return made;
}

bool backup_pitr_find(struct neap_loop *loop, const struct backup_pitr *pitr, const char *label,
                      struct neap_error *err)
{
    struct pitr call = {.loop = loop, .rule = pitr, .tool = tools[pitr->tool]};
    return call.tool->find(&call, label, err);
}

bool backup_pitr_verify(struct neap_loop *loop, const struct backup_pitr *pitr, const char *label,
                        struct neap_error *err)
{
    struct pitr call = {.loop = loop, .rule = pitr, .tool = tools[pitr->tool]};
    return call.tool->find(&call, label, err) && call.tool->verify(&call, label, err);
}

static bool is_plain(const char *word)
{
    return word[0] != '\0' && word[strspn(word, "abcdefghijklmnopqrstuvwxyz"
                                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                                "._-/=:@%+,")] == '\0';
}

/* For a shell: 'it'\''s'. */
void backup_pitr_add_word(struct neap_buffer *line, const char *word)
{
    if (line->length > 0)
        neap_buffer_add_char(line, ' ');
    if (is_plain(word)) {
        neap_buffer_add_text(line, word);
        return;
    }
    neap_buffer_add_char(line, '\'');
    for (; *word != '\0'; word++)
        if (*word == '\'')
            neap_buffer_add_text(line, "'\\''");
        else
            neap_buffer_add_char(line, *word);
    neap_buffer_add_char(line, '\'');
}

char *backup_pitr_restore_line(const struct backup_pitr *pitr,
                               const struct backup_pitr_target *target)
{
    struct neap_buffer line = {0};
    for (char **word = pitr->command; *word != NULL; word++)
        backup_pitr_add_word(&line, *word);
    tools[pitr->tool]->restore(pitr, target, &line);
    return neap_buffer_take(&line);
}
