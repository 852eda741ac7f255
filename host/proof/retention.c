/* SPDX-License-Identifier: MIT
 *
 * A backup goes when three things are true: its tag has a time, that time is over, and
 * nothing speaks for it. In doubt it stays: room can be had, and the backup cannot.
 */
#include "host/proof/retention.h"

#include <string.h>

#include "host/base/clock.h"

static const char *const tags[] = {
#define NEAP_RETENTION(symbol, tag, time) tag,
#include "host/change/retention.def"
#undef NEAP_RETENTION
    NULL,
};

static const struct {
    const char *name, *text;
} reasons[] = {
    [NEAP_GOES] = {"over", ""},
    [NEAP_STAYS_YOUNG] = {"young", "its time is not over"},
    [NEAP_STAYS_PROVED] = {"proved", "one of the last that were proved"},
    [NEAP_STAYS_WAY_BACK] = {"way_back", "the way back of a run"},
    [NEAP_STAYS_UNTAGGED] = {"untagged", "no tag that has a time"},
    [NEAP_STAYS_FOR_EVER] = {"for_ever", "its tag stays for ever"},
    [NEAP_STAYS_FUTURE] = {"future", "made at a time that is yet to come: look at the clock"},
    [NEAP_STAYS_UNREADABLE] = {"unreadable", "it cannot be read"},
    [NEAP_STAYS_ENVIRONMENT] = {"environment", "another environment's"},
    [NEAP_STAYS_IN_USE] = {"in_use", "in use"},
};

const char *const *neap_retention_tags(void)
{
    return tags;
}

const char *neap_retention_why_text(enum neap_retention_why why)
{
    return reasons[why].text;
}

const char *neap_retention_why_name(enum neap_retention_why why)
{
    return reasons[why].name;
}

/* By the end, which is later than the moment that it holds: it stays a little longer. */
static struct neap_retention by_time(const struct neap_environment *env,
                                     const struct backup *backup, int64_t now_us)
{
    int64_t at_us = 0;
    size_t tag = 0;
    while (tag < NEAP_RETENTION_COUNT && strcmp(backup_text(backup, "tag"), tags[tag]) != 0)
        tag++;
    if (tag == NEAP_RETENTION_COUNT)
        return (struct neap_retention){.why = NEAP_STAYS_UNTAGGED};
    if (env->retention_ms[tag] == NEAP_FOREVER)
        return (struct neap_retention){.why = NEAP_STAYS_FOR_EVER};
    if (!neap_clock_utc_parse(backup_text(backup, "finished_at"), &at_us))
        return (struct neap_retention){.why = NEAP_STAYS_UNREADABLE};
    if (at_us > now_us)
        return (struct neap_retention){.why = NEAP_STAYS_FUTURE};
    int64_t until_us = at_us + env->retention_ms[tag] * 1000;
    return (struct neap_retention){.why = now_us < until_us ? NEAP_STAYS_YOUNG : NEAP_GOES,
                                   .until_us = until_us};
}

/* How many of the same database before it, which are newer, are proved. */
static int64_t count_proved(const struct neap_environment *env, const struct backup *backups,
                            size_t index)
{
    const char *identity = backup_text(&backups[index], "identity");
    int64_t count = 0;
    for (size_t i = 0; i < index; i++)
        count += backup_is_proved(&backups[i]) &&
                 strcmp(backup_text(&backups[i], "environment"), env->name) == 0 &&
                 strcmp(backup_text(&backups[i], "identity"), identity) == 0;
    return count;
}

static struct neap_retention judge(const struct neap_environment *env, const json_t *named,
                                   int64_t now_us, const struct backup *backups, size_t index)
{
    const struct backup *backup = &backups[index];
    if (backup->manifest == NULL)
        return (struct neap_retention){.why = NEAP_STAYS_UNREADABLE};
    if (strcmp(backup_text(backup, "environment"), env->name) != 0)
        return (struct neap_retention){.why = NEAP_STAYS_ENVIRONMENT};
    struct neap_retention verdict = by_time(env, backup, now_us);
    if (verdict.why != NEAP_GOES)
        return verdict;
    if (backup_is_proved(backup) && count_proved(env, backups, index) < env->retention_keep)
        verdict.why = NEAP_STAYS_PROVED;
    else if (json_object_get(named, backup->id) != NULL)
        verdict.why = NEAP_STAYS_WAY_BACK;
    return verdict;
}

void neap_retention_judge(const struct neap_environment *env, const json_t *named, int64_t now_us,
                          const struct backup *backups, size_t count, struct neap_retention *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = judge(env, named, now_us, backups, i);
}
