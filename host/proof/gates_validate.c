/* SPDX-License-Identifier: MIT
 *
 * What a COMMIT left is not always what the transaction saw: deferred triggers ran, others
 * wrote. So the verify is asked once more, as everybody sees the target now.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/proof/gates_parts.h"

/* Of the script, and not of the way to the server or of the run. */
static bool is_found(const struct neap_error *err)
{
    switch (err->code) {
    case NEAP_ERR_VERIFY_FAILED:
    case NEAP_ERR_EXPECT_FAILED:
    case NEAP_ERR_SCRIPT_ERROR:
    case NEAP_ERR_DB_QUERY:
    case NEAP_ERR_DB_ROWS:
        return true;
    default:
        return false;
    }
}

static bool fail(struct neap_gates *gates, json_t *fields, struct neap_error *err)
{
    struct neap_gate_said said = {.gate = "validate", .result = "failed", .fields = fields};
    neap_json_set(fields, "error", neap_json_error(err));
    neap_gates_say(gates, &said, "%s", err->message);
    return false;
}

bool neap_gates_unit(struct neap_gates *gates, const struct neap_unit *unit, struct neap_error *err)
{
    char *unverified = NULL;
    struct neap_error why = {0};
    if (!gates->any)
        return true;
    bool holds = neap_change_verify(&gates->session->change, unit, &unverified, &why);
    free(unverified);
    if (holds) {
        gates->validated++;
        return true;
    }
    if (!is_found(&why)) {
        neap_error_move(err, &why);
        return false;
    }
    json_t *fields = json_object();
    neap_json_set(fields, "id", neap_json_text(unit->id));
    neap_json_set(fields, "name", neap_json_text(unit->name));
    neap_error_set(err, NEAP_ERR_VALIDATION_FAILED,
                   "migration %s %s is applied, and its verify does not hold after the COMMIT: %s",
                   unit->id, unit->name, why.message);
    if (why.detail != NULL)
        neap_error_detail(err, "%s", why.detail);
    if (why.where_file != NULL)
        neap_error_where(err, why.where_file, why.where_line);
    neap_error_clear(&why);
    return fail(gates, fields, err);
}

static bool is_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool check_schema(struct neap_gates *gates, struct neap_error *err)
{
    struct backup_schema after = {0};
    if (!neap_gates_schema(gates, &after, err))
        return false;
    char *changed = backup_schema_diff(&gates->before, &after);
    backup_schema_clear(&after);
    bool same = is_same(changed, gates->rehearsed);
    if (!same) {
        neap_error_set(err, NEAP_ERR_VALIDATION_FAILED,
                       "all is applied, and the schema did not change as it did in the rehearsal");
        neap_error_detail(err, "In the rehearsal:\n%sHere:\n%s",
                          gates->rehearsed == NULL ? "nothing\n" : gates->rehearsed,
                          changed == NULL ? "nothing\n" : changed);
    }
    free(changed);
    return same || fail(gates, json_object(), err);
}

bool neap_gates_validate(struct neap_gates *gates, struct neap_error *err)
{
    if (!gates->any || gates->validated == 0)
        return true;
    if (gates->was_rehearsed && !check_schema(gates, err))
        return false;
    neap_gates_say(gates, &(struct neap_gate_said){.gate = "validate", .result = "passed"},
                   "the verify of %zu %s holds after the COMMIT%s", gates->validated,
                   gates->validated == 1 ? "migration" : "migrations",
                   gates->was_rehearsed ? "; the schema is as it was rehearsed" : "");
    return true;
}
