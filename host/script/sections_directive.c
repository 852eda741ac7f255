/* SPDX-License-Identifier: MIT
 *
 * What each `-- neap:` directive of a SQL migration does. Owns their list and
 * their order: header, then sections, each once a step.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/base/text.h"
#include "host/script/sections_parts.h"

typedef bool obey_fn(struct sections_read *read, const struct sections_directive *directive);

struct directive_row {
    const char *word;
    obey_fn *obey;
    bool header; /* before the first section, once */
};

/* Copies a value that must be there. */
static bool take_text(struct sections_read *read, const struct sections_directive *directive,
                      char **out)
{
    if (directive->value[0] == '\0')
        return sections_fail(read, directive->line, "`-- neap: %s` needs a text behind it",
                             directive->word);
    *out = neap_strdup(directive->value);
    return true;
}

static bool take_none(struct sections_read *read, const struct sections_directive *directive)
{
    if (directive->value[0] == '\0')
        return true;
    return sections_fail(read, directive->line, "`-- neap: %s` stands alone; \"%s\" is too much",
                         directive->word, directive->value);
}

static bool obey_summary(struct sections_read *read, const struct sections_directive *directive)
{
    return take_text(read, directive, &read->out->def.summary);
}

static bool obey_ticket(struct sections_read *read, const struct sections_directive *directive)
{
    return take_text(read, directive, &read->out->def.ticket);
}

/* One of two words, or an error that names the nearest. */
static bool check_choice(struct sections_read *read, const struct sections_directive *directive,
                         const char *const *choices)
{
    for (size_t i = 0; choices[i] != NULL; i++)
        if (strcmp(directive->value, choices[i]) == 0)
            return true;
    sections_fail(read, directive->line, "%s must be %s or %s, not \"%s\"", directive->word,
                  choices[0], choices[1], directive->value);
    const char *nearest = neap_text_nearest(directive->value, choices);
    if (nearest != NULL)
        neap_error_hint(read->err, "Did you mean `-- neap: %s %s`?", directive->word, nearest);
    return false;
}

static bool obey_phase(struct sections_read *read, const struct sections_directive *directive)
{
    static const char *const choices[] = {"expand", "contract", NULL};
    return check_choice(read, directive, choices) &&
           take_text(read, directive, &read->out->def.phase);
}

static bool obey_transaction(struct sections_read *read, const struct sections_directive *directive)
{
    static const char *const choices[] = {"true", "false", NULL};
    if (!check_choice(read, directive, choices))
        return false;
    read->out->def.transaction = strcmp(directive->value, "true") == 0;
    return true;
}

static bool take_duration(struct sections_read *read, const struct sections_directive *directive,
                          int64_t *out_ms)
{
    struct neap_error cause = {0};
    if (neap_duration_parse(directive->value, directive->word, out_ms, &cause))
        return true;
    sections_fail(read, directive->line, "%s", cause.message);
    if (cause.hint != NULL)
        neap_error_hint(read->err, "%s", cause.hint);
    neap_error_clear(&cause);
    return false;
}

static bool obey_timeout(struct sections_read *read, const struct sections_directive *directive)
{
    return take_duration(read, directive, &read->out->def.timeout_ms);
}

static bool obey_lock_timeout(struct sections_read *read,
                              const struct sections_directive *directive)
{
    return take_duration(read, directive, &read->out->def.lock_timeout_ms);
}

static bool obey_requires(struct sections_read *read, const struct sections_directive *directive)
{
    char **ids = read->out->def.requires;
    size_t count = 0;
    const char *at = directive->value;
    do {
        at += strspn(at, " \t");
        size_t digits = strspn(at, "0123456789");
        const char *next = at + digits + strspn(at + digits, " \t");
        if (digits == 0 || (*next != ',' && *next != '\0'))
            return sections_fail(read, directive->line,
                                 "requires needs ids between commas, as `-- neap: requires "
                                 "0001, 0003`, not \"%s\"",
                                 directive->value);
        ids = neap_realloc(ids, (count + 2) * sizeof *ids);
        ids[count++] = neap_strndup(at, digits);
        ids[count] = NULL;
        read->out->def.requires = ids;
        at = next;
    } while (*at++ == ',');
    return true;
}

static struct neap_sql_step *last_step(const struct sections_read *read)
{
    size_t count = read->out->def.step_count;
    assert(count > 0); /* need_step has been asked */
    return &read->out->steps[count - 1];
}

static struct neap_step_def *last_def(const struct sections_read *read)
{
    size_t count = read->out->def.step_count;
    assert(count > 0);
    return &read->out->def.steps[count - 1];
}

static void add_step(struct sections_read *read, const char *name, int line)
{
    struct neap_script_def *def = &read->out->def;
    size_t count = def->step_count + 1;
    def->steps = neap_realloc(def->steps, count * sizeof *def->steps);
    read->out->steps = neap_realloc(read->out->steps, count * sizeof *read->out->steps);
    def->steps[def->step_count] = (struct neap_step_def){.name = neap_strdup(name)};
    read->out->steps[def->step_count] = (struct neap_sql_step){.line = line};
    def->step_count = count;
}

static bool obey_step(struct sections_read *read, const struct sections_directive *directive)
{
    const struct neap_script_def *def = &read->out->def;
    if (def->transaction)
        return sections_fail(read, directive->line,
                             "steps are for migrations without a transaction; say `-- neap: "
                             "transaction false` before the first one");
    if (directive->value[0] == '\0')
        return sections_fail(read, directive->line, "`-- neap: step` needs a name behind it");
    for (size_t i = 0; i < def->step_count; i++)
        if (strcmp(def->steps[i].name, directive->value) == 0)
            return sections_fail(read, directive->line, "two steps are named \"%s\"",
                                 directive->value);
    add_step(read, directive->value, directive->line);
    return true;
}

/* The step that a section belongs to; makes the single one of a transactional
 * migration. */
static bool need_step(struct sections_read *read, const struct sections_directive *directive)
{
    if (read->out->def.step_count > 0)
        return true;
    if (!read->out->def.transaction)
        return sections_fail(read, directive->line,
                             "without a transaction every section belongs to a step; write "
                             "`-- neap: step NAME` before it");
    add_step(read, "up", directive->line);
    return true;
}

static bool repeated(struct sections_read *read, const struct sections_directive *directive,
                     const char *before)
{
    const char *where = read->out->def.transaction ? "the migration" : "this step";
    if (strcmp(directive->word, before) == 0)
        return sections_fail(read, directive->line, "%s has two `%s`", where, before);
    return sections_fail(read, directive->line, "%s has `%s` and `%s`; only one can be", where,
                         before, directive->word);
}

static bool open_section(struct sections_read *read, const struct sections_directive *directive,
                         struct neap_sql_section *section)
{
    if (section->line != 0)
        return repeated(read, directive, directive->word);
    section->line = directive->line;
    read->section = section;
    read->section_from = directive->next;
    read->section_from_line = directive->line;
    return take_none(read, directive);
}

static bool obey_up(struct sections_read *read, const struct sections_directive *directive)
{
    return need_step(read, directive) && open_section(read, directive, &last_step(read)->up);
}

static bool obey_verify(struct sections_read *read, const struct sections_directive *directive)
{
    if (!need_step(read, directive))
        return false;
    if (last_def(read)->unverified != NULL)
        return repeated(read, directive, "unverified");
    return open_section(read, directive, &last_step(read)->verify);
}

static bool obey_down(struct sections_read *read, const struct sections_directive *directive)
{
    if (!need_step(read, directive))
        return false;
    if (last_def(read)->irreversible != NULL)
        return repeated(read, directive, "irreversible");
    return open_section(read, directive, &last_step(read)->down);
}

/* `irreversible WHY` and `unverified WHY`, in place of a section. */
static bool say_why(struct sections_read *read, const struct sections_directive *directive,
                    const char *section, bool is_open, char **why)
{
    if (*why != NULL)
        return repeated(read, directive, directive->word);
    if (is_open)
        return repeated(read, directive, section);
    if (directive->value[0] == '\0')
        return sections_fail(read, directive->line, "`-- neap: %s` must say why", directive->word);
    *why = neap_strdup(directive->value);
    return true;
}

static bool obey_irreversible(struct sections_read *read,
                              const struct sections_directive *directive)
{
    return need_step(read, directive) &&
           say_why(read, directive, "down", last_step(read)->down.line != 0,
                   &last_def(read)->irreversible);
}

static bool obey_unverified(struct sections_read *read, const struct sections_directive *directive)
{
    return need_step(read, directive) &&
           say_why(read, directive, "verify", last_step(read)->verify.line != 0,
                   &last_def(read)->unverified);
}

static const struct directive_row directive_rows[] = {
    {"summary", obey_summary, true},
    {"ticket", obey_ticket, true},
    {"phase", obey_phase, true},
    {"timeout", obey_timeout, true},
    {"lock_timeout", obey_lock_timeout, true},
    {"requires", obey_requires, true},
    {"transaction", obey_transaction, true},
    {"step", obey_step, false},
    {"up", obey_up, false},
    {"verify", obey_verify, false},
    {"down", obey_down, false},
    {"irreversible", obey_irreversible, false},
    {"unverified", obey_unverified, false},
};
#define ROW_COUNT (sizeof directive_rows / sizeof *directive_rows)

const char *sections_nearest(const char *word)
{
    const char *words[ROW_COUNT + 1];
    for (size_t i = 0; i < ROW_COUNT; i++) {
        words[i] = directive_rows[i].word;
        if (strcmp(words[i], word) == 0)
            return words[i];
    }
    words[ROW_COUNT] = NULL;
    return neap_text_nearest(word, words);
}

static bool unknown(struct sections_read *read, const struct sections_directive *directive)
{
    const char *nearest = sections_nearest(directive->word);
    if (directive->word[0] == '\0')
        return sections_fail(read, directive->line, "`-- neap:` needs a directive behind it");
    sections_fail(read, directive->line, "unknown directive \"%s\"%s%s%s", directive->word,
                  nearest != NULL ? "; did you mean \"" : "", nearest != NULL ? nearest : "",
                  nearest != NULL ? "\"?" : "");
    return false;
}

static bool check_header(struct sections_read *read, const struct sections_directive *directive,
                         size_t row)
{
    if (read->out->def.step_count > 0)
        return sections_fail(read, directive->line, "`%s` belongs before the first section",
                             directive->word);
    if (read->given & (1U << row))
        return sections_fail(read, directive->line, "`%s` is given twice", directive->word);
    read->given |= 1U << row;
    return true;
}

bool sections_obey(struct sections_read *read, const struct sections_directive *directive)
{
    if (!sections_end(read, directive->end))
        return false;
    read->section = NULL;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (strcmp(directive_rows[i].word, directive->word) != 0)
            continue;
        if (directive_rows[i].header && !check_header(read, directive, i))
            return false;
        return directive_rows[i].obey(read, directive);
    }
    return unknown(read, directive);
}
