/* SPDX-License-Identifier: MIT
 *
 * Verify: reads both copies, has each checked by itself (audit_chain.c) and
 * compares them. The target is read first: the journal is always ahead of it. A
 * run under way can still look like a fault, so faults are looked for twice.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/change/audit_chain.h"
#include "host/change/audit_journal.h"
#include "host/change/history.h"

#define HASH_CHARS (NEAP_HASH_HEX_SIZE - 1)
#define ROWS_EACH "5000"

struct verify {
    const struct neap_audit_verify_opts *opts;
    struct chain_check check;
    struct chain journal, target;
    int64_t segment; /* of the last line seen */
    bool has_target;
};

static bool on_line(void *arg, const struct neap_journal_line *line, struct neap_error *err)
{
    struct verify *verify = arg;
    struct chain *chain = &verify->journal;
    struct chain_record record = {.hash = line->bytes,
                                  .body = line->bytes + HASH_CHARS + 1,
                                  .body_length = line->length - HASH_CHARS - 1,
                                  .segment = line->segment,
                                  .first_line = line->segment != verify->segment};
    (void)err;
    verify->segment = line->segment;
    snprintf(record.place, sizeof record.place, "line %lld of journal %lld",
             (long long)line->number, (long long)line->segment);
    if (line->length <= HASH_CHARS + 1 || line->bytes[HASH_CHARS] != ' ') {
        neap_chain_finding(verify->check.report, NULL, 0, chain->where, "%s is not a record",
                           record.place);
        chain->event_count++;
        return true;
    }
    if (!line->complete)
        neap_chain_finding(verify->check.report, NULL, 0, chain->where,
                           "%s, the last one, is not complete", record.place);
    neap_chain_record(&verify->check, chain, &record);
    return true;
}

static void on_missing_segment(void *arg, int64_t segment)
{
    struct verify *verify = arg;
    neap_chain_finding(verify->check.report, NULL, 0, "journal", "journal %lld is missing",
                       (long long)segment);
}

static void on_row(void *to, const struct chain_record *record)
{
    struct verify *verify = to;
    neap_chain_record(&verify->check, &verify->target, record);
}

/* "records 3 to 5" at `first`, or one. */
static void find_range(struct verify *verify, const char *run_id, int64_t first, int64_t last,
                       const char *where, const char *what)
{
    if (first == last)
        neap_chain_finding(verify->check.report, run_id, first, where, "%s", what);
    else
        neap_chain_finding(verify->check.report, run_id, first, where, "%s: %lld to %lld", what,
                           (long long)first, (long long)last);
}

/* Records of the target that the journal has not, or has otherwise. */
static void compare_to_journal(struct verify *verify, const struct chain_run *target,
                               const struct chain_run *journal)
{
    int64_t journal_last = journal == NULL ? 0 : journal->last_seq;
    for (int64_t seq = 1; seq <= target->last_seq && seq <= journal_last; seq++) {
        if (!neap_chain_has(target, seq) || !neap_chain_has(journal, seq))
            continue; /* the gap is a finding already */
        if (!neap_hash_equal(&target->hashes[seq - 1], &journal->hashes[seq - 1]))
            neap_chain_finding(verify->check.report, target->id, seq, "target",
                               "the target's record is not the journal's");
    }
    if (target->last_seq > journal_last)
        find_range(verify, target->id, journal_last + 1, target->last_seq, "journal",
                   "the record is in the target and was removed here");
}

/* Records at the end of a run that the target has not. */
static void compare_to_target(struct verify *verify, const struct chain_run *journal,
                              const struct chain_run *target)
{
    int64_t target_last = target == NULL ? 0 : target->last_seq;
    int64_t expected = journal->last_seq - journal->local_count;
    if (journal->copied_seq > target_last)
        find_range(verify, journal->id, target_last + 1, journal->copied_seq, "target",
                   "the record was copied here and is gone");
    else if (expected > target_last)
        neap_chain_note(verify->check.report,
                        "run %s: %lld of its records are not in the target yet; the next run "
                        "copies them",
                        journal->id, (long long)(expected - target_last));
}

/* What a run saw last in the target must still be there. */
static void compare_seen(struct verify *verify, const struct chain_run *run)
{
    if (run->target_head == NULL || run->target_head[0] == '\0' ||
        json_object_get(verify->target.hashes, run->target_head) != NULL)
        return;
    if (run->kept != NULL)
        neap_chain_note(verify->check.report,
                        "run %s restored a backup in the place of this database: what was recorded "
                        "after the backup is in the journal, and in %s",
                        run->id, run->kept[0] == '\0' ? "no database" : run->kept);
    else
        neap_chain_finding(verify->check.report, run->id, 1, "target",
                           "the record that this run found last (%.12s…) is gone",
                           run->target_head);
}

/* "host:port/database as user": who asked makes no other place. */
static bool is_same_place(const char *a, const char *b)
{
    const char *a_end = strstr(a, " as "), *b_end = strstr(b, " as ");
    size_t a_length = a_end == NULL ? strlen(a) : (size_t)(a_end - a);
    size_t b_length = b_end == NULL ? strlen(b) : (size_t)(b_end - b);
    return a_length == b_length && strncmp(a, b, a_length) == 0;
}

static bool has_hash(const struct chain_run *run, const char *head)
{
    char hex[NEAP_HASH_HEX_SIZE];
    for (int64_t seq = 1; seq <= run->last_seq; seq++) {
        neap_hash_hex(&run->hashes[seq - 1], hex);
        if (strcmp(hex, head) == 0)
            return true;
    }
    return false;
}

/* The run after which the history parted, or NULL. A physical copy of the server has
 * the same identity, so its runs share the journal. Two runs that found the same last
 * record, at two addresses, and of which this target has one: it parted there. Without
 * a run of its own after it, a copy cannot be told from a target that was cut. */
static const struct chain_run *find_parting(const struct verify *verify,
                                            const struct chain_run *journal)
{
    if (journal->target_head == NULL || journal->target_head[0] == '\0' || journal->address == NULL)
        return NULL;
    for (size_t i = 0; i < verify->target.run_count; i++) {
        const struct chain_run *target = verify->target.runs[i];
        if (target->target_head != NULL && target->address != NULL &&
            strcmp(target->target_head, journal->target_head) == 0 &&
            !is_same_place(target->address, journal->address) &&
            neap_chain_find(&verify->journal, target->id) != NULL)
            return target;
    }
    for (size_t i = 0; i < verify->journal.run_count; i++)
        if (verify->journal.runs[i]->branched &&
            has_hash(verify->journal.runs[i], journal->target_head))
            return verify->journal.runs[i];
    return NULL;
}

static void mark_branches(struct verify *verify)
{
    int64_t count = 0;
    const char *place = NULL;
    for (size_t i = 0; i < verify->journal.run_count; i++) {
        struct chain_run *journal = verify->journal.runs[i];
        journal->branched = neap_chain_find(&verify->target, journal->id) == NULL &&
                            find_parting(verify, journal) != NULL;
        if (journal->branched) {
            place = journal->address;
            count++;
        }
    }
    if (count > 0)
        neap_chain_note(verify->check.report,
                        "%lld %s of the journal on another copy of this database (%s): verify "
                        "there",
                        (long long)count, count == 1 ? "run is" : "runs are", place);
}

static bool is_ours(const struct verify *verify, const struct chain_run *target)
{
    if (neap_chain_find(&verify->journal, target->id) != NULL)
        return true;
    return target->journal_id != NULL &&
           json_object_get(verify->journal.journals, target->journal_id) != NULL;
}

static void compare_copies(struct verify *verify)
{
    int64_t elsewhere = 0;
    mark_branches(verify);
    for (size_t i = 0; i < verify->target.run_count; i++) {
        const struct chain_run *target = verify->target.runs[i];
        compare_seen(verify, target);
        if (is_ours(verify, target))
            compare_to_journal(verify, target, neap_chain_find(&verify->journal, target->id));
        else
            elsewhere++;
    }
    for (size_t i = 0; i < verify->journal.run_count; i++) {
        const struct chain_run *journal = verify->journal.runs[i];
        const struct chain_run *target = neap_chain_find(&verify->target, journal->id);
        if (strcmp(journal->id, NEAP_JOURNAL_RUN) == 0 || journal->branched)
            continue;
        compare_to_target(verify, journal, target);
        if (target == NULL)
            compare_seen(verify, journal);
    }
    if (elsewhere > 0)
        neap_chain_note(verify->check.report,
                        "%lld %s in the target, of which this journal has nothing: verify where "
                        "it is kept (or the journal that was here is gone)",
                        (long long)elsewhere, elsewhere == 1 ? "run is" : "runs are");
}

static void check_ends(struct verify *verify, const struct chain *chain)
{
    bool after_signed = false;
    for (size_t i = 0; i < chain->run_count; i++) {
        const struct chain_run *run = chain->runs[i];
        after_signed = after_signed || run->is_signed;
        if (strcmp(run->id, NEAP_JOURNAL_RUN) == 0)
            continue;
        if (!run->ended)
            neap_chain_note(verify->check.report,
                            "run %s has no run.end: it was killed, or is under way (%s)", run->id,
                            chain->where);
        else if (verify->check.key != NULL && after_signed && !run->is_signed)
            neap_chain_finding(verify->check.report, run->id, run->last_seq, "signature",
                               "the run's head is not signed, earlier ones are (%s)", chain->where);
    }
    if (verify->check.key != NULL && !verify->check.any_signed)
        neap_chain_finding(verify->check.report, NULL, 0, "signature", "no head is signed");
}

static void check_head(struct verify *verify)
{
    const char *head = verify->opts->head;
    if (head != NULL && json_object_get(verify->journal.hashes, head) == NULL &&
        json_object_get(verify->target.hashes, head) == NULL)
        neap_chain_finding(verify->check.report, NULL, 0, "head",
                           "the head kept elsewhere (%.12s…) is not in the chain: records up to it "
                           "were removed",
                           head);
}

static void count_all(struct verify *verify)
{
    struct neap_audit_report *report = verify->check.report;
    report->event_count = verify->journal.event_count + verify->target.event_count;
    report->run_count = (int64_t)verify->journal.run_count;
    if (neap_chain_find(&verify->journal, NEAP_JOURNAL_RUN) != NULL)
        report->run_count--;
    for (size_t i = 0; i < verify->target.run_count; i++)
        if (neap_chain_find(&verify->journal, verify->target.runs[i]->id) == NULL)
            report->run_count++;
    memcpy(report->head,
           verify->journal.head[0] != '\0' ? verify->journal.head : verify->target.head,
           sizeof report->head);
}

bool neap_audit_verify_rows(const struct neap_audit_verify_opts *opts,
                            const struct chain_rows *rows, struct neap_audit_report *out,
                            struct neap_error *err)
{
    struct neap_sign_key key;
    *out = (struct neap_audit_report){0};
    if (opts->public_key != NULL && !neap_sign_load_public(opts->public_key, &key, err))
        return false;
    struct verify verify = {.opts = opts,
                            .has_target = rows != NULL,
                            .check = {.report = out, .key = opts->public_key ? &key : NULL}};
    neap_chain_init(&verify.journal, "journal");
    neap_chain_init(&verify.target, "target");
    struct neap_journal_reader reader = {
        .line = on_line, .missing = on_missing_segment, .arg = &verify};
    bool looked = (rows == NULL || rows->load(rows->arg, on_row, &verify, err)) &&
                  neap_journal_read(opts->state_dir, opts->identity, &reader, err);
    if (looked && verify.has_target)
        compare_copies(&verify);
    if (looked) {
        check_ends(&verify, verify.journal.event_count > 0 ? &verify.journal : &verify.target);
        check_head(&verify);
        count_all(&verify);
    } else
        neap_audit_report_clear(out);
    neap_chain_clear(&verify.journal);
    neap_chain_clear(&verify.target);
    return looked;
}

/* AccessShare on neap.event, a page of rows at a time. */
static const char sql_rows[] =
    "select e.position, e.run_id, e.seq, e.hash, e.body from neap.event e"
    " where e.position operator(pg_catalog.>) $1::pg_catalog.int8"
    " order by e.position limit " ROWS_EACH;

static void take_row(const struct pg_op *op, int row,
                     void (*take)(void *to, const struct chain_record *record), void *to)
{
    char hash[NEAP_HASH_HEX_SIZE];
    const char *stored = pg_cell(op, row, 3), *body = pg_cell(op, row, 4);
    memset(hash, '?', sizeof hash); /* a hash of another length is no hash */
    if (strlen(stored) == HASH_CHARS)
        memcpy(hash, stored, HASH_CHARS);
    struct chain_record record = {.hash = hash,
                                  .body = body,
                                  .body_length = strlen(body),
                                  .run_id = pg_cell(op, row, 1),
                                  .seq = pg_cell_int(op, row, 2)};
    snprintf(record.place, sizeof record.place, "row %lld", (long long)pg_cell_int(op, row, 0));
    take(to, &record);
}

static bool load_rows(void *arg, void (*take)(void *to, const struct chain_record *record),
                      void *to, struct neap_error *err)
{
    struct pg_client *control = arg;
    bool more = true, loaded = true;
    int64_t position = -1;
    while (more && loaded) {
        char *text = neap_format("%lld", (long long)position);
        const char *params[] = {text};
        struct pg_op *op = NULL;
        loaded = pg_exec_text(control, sql_rows, 1, params, &op, err);
        int count = loaded ? pg_rows(op) : 0;
        for (int row = 0; row < count; row++)
            take_row(op, row, take, to);
        more = count > 0;
        if (more)
            position = pg_cell_int(op, count - 1, 0);
        pg_op_free(op);
        free(text);
    }
    return loaded;
}

/* What the chain saw committed, and history has no more. By text and not as JSON:
 * a record may be anything here. AccessShare on both. */
static const char sql_gone[] =
    "select e.run_id, e.seq, e.attempt from (select run_id, seq, pg_catalog.substring(body,"
    " '\"attempt\":\"([0-9a-f-]{36})\"') as attempt from neap.event"
    " where pg_catalog.strpos(body, '\"step.committed\"') operator(pg_catalog.>) 0) e"
    " where e.attempt is not null and not exists (select from neap.history h"
    " where h.attempt::pg_catalog.text operator(pg_catalog.=) e.attempt) order by e.run_id, e.seq";

static bool compare_history(struct pg_client *control, struct neap_audit_report *report,
                            struct neap_error *err)
{
    struct pg_op *op = NULL;
    if (!pg_exec_text(control, sql_gone, 0, NULL, &op, err))
        return false;
    for (int row = 0; row < pg_rows(op); row++)
        neap_chain_finding(report, pg_cell(op, row, 0), pg_cell_int(op, row, 1), "history",
                           "the row of this commit (attempt %s) is gone from neap.history",
                           pg_cell(op, row, 2));
    pg_op_free(op);
    return true;
}

static void on_forgery(void *arg, const struct neap_history_forgery *forgery)
{
    neap_chain_finding(arg, forgery->run_id, 0, "history",
                       "the row %s of %s is forged: role %s wrote it at %s, and no run of neap "
                       "announced it",
                       forgery->action, forgery->id, forgery->db_user, forgery->at);
}

static bool verify_once(const struct neap_audit_verify_opts *opts, const struct chain_rows *rows,
                        struct neap_audit_report *out, struct neap_error *err)
{
    if (!neap_audit_verify_rows(opts, rows, out, err))
        return false;
    if (rows == NULL || (neap_history_forged(opts->control, on_forgery, out, err) &&
                         compare_history(opts->control, out, err)))
        return true;
    neap_audit_report_clear(out);
    return false;
}

bool neap_audit_verify(const struct neap_audit_verify_opts *opts, struct neap_audit_report *out,
                       struct neap_error *err)
{
    struct chain_rows rows = {.load = load_rows, .arg = opts->control};
    const struct chain_rows *from = opts->control == NULL ? NULL : &rows;
    if (!verify_once(opts, from, out, err))
        return false;
    if (out->finding_count == 0)
        return true;
    neap_audit_report_clear(out);
    return verify_once(opts, from, out, err);
}

void neap_audit_report_clear(struct neap_audit_report *report)
{
    for (size_t i = 0; i < report->finding_count; i++) {
        free(report->findings[i].run_id);
        free(report->findings[i].where);
        free(report->findings[i].message);
    }
    for (size_t i = 0; i < report->note_count; i++)
        free(report->notes[i]);
    free(report->findings);
    free(report->notes);
    *report = (struct neap_audit_report){0};
}
