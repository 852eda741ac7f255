/* SPDX-License-Identifier: MIT
 *
 * What the files of the gates share. Private to host/proof.
 */
#ifndef NEAP_PROOF_GATES_PARTS_H
#define NEAP_PROOF_GATES_PARTS_H

#include "host/proof/gates.h"

/* The result of one gate. */
struct neap_gate_said {
    const char *gate, *result; /* "backup"; "passed", "skipped", "reused" or "failed" */
    const char *by;            /* the flag that skipped it, or went on; or NULL */
    json_t *fields;            /* of its own; taken; NULL: none */
    int64_t begun_ms;          /* 0: it took no time */
};
/* Records it, and tells people. */
void neap_gates_say(struct neap_gates *gates, const struct neap_gate_said *said, const char *format,
                    ...) __attribute__((format(printf, 3, 4)));
/* The same of a gate that stops the run: the error gets a hint that names `flag`, unless it
 * is the run's own (a stop, a lost lease). Gives false. */
bool neap_gates_fail(struct neap_gates *gates, const struct neap_gate_said *said, const char *flag,
                     struct neap_error *err);

/* The gates backup and verify: a proved backup of the target as it is. */
bool neap_gates_backup(struct neap_gates *gates, struct neap_error *err);
/* Of a change that stopped halfway: the backup of the run that began it, where that has one
 * and it is still there. Asks for none. */
bool neap_gates_resumed(struct neap_gates *gates, const char *migration, struct neap_error *err);
/* The same where the environment has an `archive`: of the whole server. */
bool neap_gates_archive(struct neap_gates *gates, struct neap_error *err);
/* For both. A clock that was put back makes a backup look younger than it is: what is of the
 * future is not believed. */
#define NEAP_GATES_TAG "pre_migration"
bool neap_gates_is_young(const struct neap_gates *gates, const struct backup *backup);
/* The run before which the whole server is the way back; NULL: a database is. Borrowed. */
const char *neap_gates_archive_run(const struct neap_gates *gates);
json_t *neap_gates_backup_fields(const struct neap_gates *gates);
void neap_gates_say_backup(struct neap_gates *gates, const char *result, int64_t begun_ms);
/* The gate rehearsal, on gates->copy where there is one. */
bool neap_gates_rehearsal(struct neap_gates *gates, struct neap_plan_item *const *items,
                          size_t count, struct neap_error *err);
/* Whether the command and its environment ask for it; a flag may skip it. */
bool neap_gates_wants(const struct neap_gates *gates, enum neap_gate_name gate);
/* The schema of the target, as the role of backups sees it. */
bool neap_gates_schema(struct neap_gates *gates, struct backup_schema *out, struct neap_error *err);

#endif
