/* SPDX-License-Identifier: MIT
 *
 * What the files of a report share. Private to host/report.
 */
#ifndef NEAP_REPORT_REPORT_PARTS_H
#define NEAP_REPORT_REPORT_PARTS_H

#include <stdint.h>

#include "host/report/report.h"

struct neap_report {
    json_t *json;
    json_t *unit;    /* whose steps run now, borrowed from json; or NULL */
    json_t *step;    /* of it, likewise */
    json_t *settled; /* by a person's word, and not committed yet; likewise */
    json_t *open;    /* "up 0001" -> its place in units, of those that are not committed */
    json_t *seen;    /* "file:line" -> microseconds, of statements whose unit is not ended yet */
    int64_t statement_count, row_count; /* likewise */
    const char *at;                     /* of the event that is read */
    bool any;
};

/* What an event of this name adds. `fields` is its data. */
struct neap_report_part {
    const char *event;
    void (*add)(struct neap_report *report, const json_t *fields);
};
extern const struct neap_report_part neap_report_units[];  /* report_units.c */
extern const struct neap_report_part neap_report_proofs[]; /* report_proofs.c */

/* Of a member: "" and 0 where it is not there, or of another type. Borrowed. */
const char *neap_report_word(const json_t *json, const char *key);
int64_t neap_report_number(const json_t *json, const char *key);
bool neap_report_is(const json_t *json, const char *key, const char *word);
/* Copies the members that are there, up to the NULL. */
void neap_report_copy(json_t *to, const json_t *from, const char *const *keys);
/* Adds `item` (taken) to the list at `key`, which is made. */
void neap_report_append(json_t *json, const char *key, json_t *item);
/* "value" -> the place of the last item whose member `key` it is. New reference. */
json_t *neap_report_index(const json_t *list, const char *key);
/* Whole milliseconds between two times of events, never negative; 0 where one is none. */
int64_t neap_report_span_ms(const char *from, const char *to);

/* report_compare.c: the units beside what the rehearsal in the same run said. */
void neap_report_compare(json_t *json);
/* report_undo.c: how to go back from where the run ended. */
void neap_report_undo(json_t *json);
/* report_metrics.c: the values of report_metrics.def; null where there is none. */
void neap_report_metrics(json_t *json);

/* report_text_proofs.c: the part of the text about checks, gates, backup, rehearsal. */
struct neap_page;
void neap_report_say_proofs(struct neap_page *page, const json_t *json);

#endif
