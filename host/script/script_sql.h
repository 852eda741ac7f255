/* SPDX-License-Identifier: MIT
 *
 * Runs one part of a SQL migration. Only host/script includes it.
 */
#ifndef NEAP_SCRIPT_SCRIPT_SQL_H
#define NEAP_SCRIPT_SCRIPT_SQL_H

#include "host/script/sections.h"

/* Sends the part's statements in order, without waiting where no result is looked
 * at; the caller settles. A verify waits for each and judges its rows. */
bool neap_script_sql_call(const struct neap_source_file *file, const struct neap_sql_step *step,
                          enum neap_script_part part, const struct neap_script_db *db,
                          struct neap_error *err);

#endif
