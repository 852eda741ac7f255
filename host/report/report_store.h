/* SPDX-License-Identifier: MIT
 *
 * Where reports lie: <state>/reports/RUN/report.json and report.txt, 0700 and 0600, of the
 * last 200 runs that changed something. What is not there is made again from the journals
 * of the state directory; no target is asked.
 */
#ifndef NEAP_REPORT_REPORT_STORE_H
#define NEAP_REPORT_REPORT_STORE_H

#include "host/base/error.h"
#include "host/report/report.h"

/* Writes the report of a run that has ended (its events were given to `report`, which is
 * taken), if it was one that may change something, logs where it is, and removes the oldest
 * ones. It fails with a warning: the run is over. */
void neap_report_keep(const char *state_dir, const char *run_id, struct neap_report *report);

/* The directory of a run's report. The caller frees it. */
char *neap_report_dir(const char *state_dir, const char *run_id);
/* The kept report, else one made from the journals: *kept says which. *out is a new
 * reference; NULL: no such run here. False when it could not look. */
bool neap_report_find(const char *state_dir, const char *run_id, json_t **out, bool *kept,
                      struct neap_error *err);

/* Of what the newest run is asked for. */
struct neap_report_scope {
    const char *project, *environment; /* environment NULL: any */
};
/* The run of the project that began last among those that may change something, killed ones
 * too. The caller frees *run_id; NULL: there is none. */
bool neap_report_newest(const char *state_dir, const struct neap_report_scope *scope, char **run_id,
                        struct neap_error *err);

#endif
