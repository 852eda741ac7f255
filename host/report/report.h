/* SPDX-License-Identifier: MIT
 *
 * The report of a run, made from the run's audit events and from nothing else: what is
 * not recorded is not reported, and the same events give the same report for ever. It
 * knows what events mean, and neither how they were stored nor who asks.
 */
#ifndef NEAP_REPORT_REPORT_H
#define NEAP_REPORT_REPORT_H

#include <jansson.h>
#include <stdbool.h>

#define NEAP_REPORT_VERSION 1 /* "report_version"; fields are only ever added */

struct neap_report;
struct neap_report *neap_report_begin(void);
/* The next event of the run, oldest first; as neap_audit_read calls it. Borrows. Always
 * true: an event that it does not know is passed over. */
bool neap_report_event(void *report, const char *hash, const json_t *event);
/* The content of report.json (stdlib/help/json.md), a new reference; NULL when there was
 * no event. Frees `report`. */
json_t *neap_report_end(struct neap_report *report);

/* report.txt: lines of at most 80 columns, but for commands that somebody will copy. The
 * caller frees. */
char *neap_report_text(const json_t *json);

#endif
