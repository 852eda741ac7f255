/* SPDX-License-Identifier: MIT
 *
 * What stands in the way of a change before it begins: the checks of preflight.def,
 * each with the number it saw. Looks only, and waits for each answer; a check that the
 * role may not look at is a warning that says so.
 */
#ifndef NEAP_PROOF_PREFLIGHT_H
#define NEAP_PROOF_PREFLIGHT_H

#include "host/migrate/session.h"

enum neap_check_level { NEAP_CHECK_OK, NEAP_CHECK_WARNING, NEAP_CHECK_ERROR };

struct neap_preflight_row {
    const char *name, *unit; /* unit: "", "%", "MB", "s" or "x" */
    enum neap_check_level level;
    double value; /* NAN: it could not be seen, or there is none */
    struct neap_preflight_rule rule;
    bool under;           /* a value below the thresholds is what is bad */
    char *message, *hint; /* hint NULL where all is well */
};

struct neap_preflight {
    struct neap_preflight_row rows[NEAP_PREFLIGHT_COUNT];
    size_t count; /* without those that the environment put off */
    size_t warnings, errors;
};

const char *neap_check_level_name(enum neap_check_level level);

/* After neap_session_look. False when the server was lost; a check that is not ok is
 * not an error here. */
bool neap_preflight_run(const struct neap_session *session, struct neap_preflight *out,
                        struct neap_error *err);
/* preflight.failed, naming the checks that are an error, with what they saw. */
void neap_preflight_error(const struct neap_preflight *preflight, struct neap_error *err);
void neap_preflight_clear(struct neap_preflight *preflight);
json_t *neap_preflight_json(const struct neap_preflight *preflight); /* an array */

#endif
