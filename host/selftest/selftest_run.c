/* SPDX-License-Identifier: MIT
 *
 * Runs the trials, several at once: each has a database, a project and a state
 * directory of its own, and goes through its commands, an innocent script in the
 * hostile one's place, and the audit. It judges nothing.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/clock.h"
#include "host/base/json.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/selftest/selftest_parts.h"

#define AT_ONCE_MAX 16
#define AHEAD 4               /* databases made before somebody needs them */
#define CHILD_LIMIT_MS 120000 /* no script comes near it: beyond, promise 3 is broken */
#define ARGUMENT_MAX 16

struct run {
    const struct selftest_place *place;
    json_t *cases, *rows;
    struct selftest_trial slots[AT_ONCE_MAX];
    size_t slot_count, next, done, failed;
    struct pg_op *making[AHEAD]; /* a ring: CREATE DATABASE of the cases after `next` */
    size_t made;
};

static const char *id_of(const struct selftest_trial *trial)
{
    return json_string_value(json_object_get(trial->entry, "id"));
}

/* ---- one program ---- */

/* The child's whole environment; the caller frees the strings. */
static void fill_environment(const struct selftest_place *place, const struct selftest_trial *trial,
                             char *env[ARGUMENT_MAX])
{
    static const char *const inherited[] = {"PATH", "TZ", "TMPDIR", "ASAN_OPTIONS",
                                            "UBSAN_OPTIONS"};
    const char *limit = json_string_value(json_object_get(trial->entry, "limit"));
    size_t count = 0;
    for (size_t i = 0; i < sizeof inherited / sizeof *inherited; i++)
        if (getenv(inherited[i]) != NULL)
            env[count++] = neap_format("%s=%s", inherited[i], getenv(inherited[i]));
    env[count++] = neap_format("HOME=%s", place->dir);
    env[count++] = neap_strdup("LANG=C.UTF-8");
    env[count++] = neap_format("DATABASE_URL=%s", trial->url);
    env[count++] = neap_format("NEAP_STATE_DIR=%s/state", trial->dir);
    env[count++] = neap_strdup("NEAP_MEMORY=32MB");
    env[count++] = neap_format("NEAP_TIMEOUT=%s", limit == NULL ? "20s" : limit);
    env[count++] = neap_strdup("NEAP_LOCK_TIMEOUT=100ms");
    env[count++] = neap_strdup("NEAP_LOCK_BUDGET=300ms");
    env[count] = NULL;
}

/* Starts `neap WORDS --json` on the trial's project. */
static bool begin_command(const struct selftest_place *place, struct selftest_trial *trial,
                          const char *words, struct neap_error *err)
{
    char *env[ARGUMENT_MAX] = {NULL}, *text = neap_strdup(words), *rest = text;
    const char *argv[ARGUMENT_MAX + 2] = {place->program};
    size_t count = 1;
    for (char *word; (word = strsep(&rest, " ")) != NULL && count < ARGUMENT_MAX;)
        argv[count++] = word;
    argv[count++] = "--json";
    fill_environment(place, trial, env);
    neap_child_result_clear(&trial->result);
    trial->began_ms = neap_clock_ms();
    trial->limit_ms = trial->began_ms + CHILD_LIMIT_MS;
    const struct neap_child_opts opts = {
        .argv = argv, .env = (const char *const *)env, .cwd = trial->dir};
    bool begun = neap_child_begin(place->loop, &opts, &trial->result, &trial->child, err);
    for (char **variable = env; *variable != NULL; variable++)
        free(*variable);
    free(text);
    return begun;
}

/* ---- one trial ---- */

static const char *command_of(const struct selftest_trial *trial)
{
    const json_t *commands = json_object_get(trial->entry, "commands");
    return commands == NULL ? "up" : json_string_value(json_array_get(commands, trial->command));
}

static bool is_judged(const struct selftest_trial *trial)
{
    const json_t *commands = json_object_get(trial->entry, "commands");
    return trial->command + 1 >= json_array_size(commands);
}

static enum selftest_state state_of(const json_t *entry)
{
    const json_t *expect = json_object_get(entry, "expect");
    const char *holds = json_string_value(json_object_get(entry, "holds"));
    if (holds == NULL)
        holds = json_is_string(expect) && strcmp(json_string_value(expect), "0") == 0 ? "applied"
                                                                                      : "nothing";
    if (strcmp(holds, "nothing") == 0)
        return SELFTEST_NOTHING;
    return strcmp(holds, "applied") == 0 ? SELFTEST_APPLIED : SELFTEST_ANY;
}

/* Asks for the databases of the next cases; does not wait. */
static bool create_ahead(struct run *run, struct neap_error *err)
{
    bool sent = true;
    while (sent && run->made < json_array_size(run->cases) && run->made < run->next + AHEAD) {
        char *sql = neap_format("create database case_%zu", run->made);
        const struct pg_statement statement = {.sql = sql, .call_id = -1};
        sent = pg_send(run->place->control, &statement, &run->making[run->made % AHEAD], err);
        run->made++;
        free(sql);
    }
    return sent;
}

/* Waits for the database of the case that is next, which is taken with it. */
static bool take_database(struct run *run, struct neap_error *err)
{
    if (!create_ahead(run, err))
        return false;
    struct pg_op **op = &run->making[run->next % AHEAD];
    bool done = pg_wait(run->place->control, *op, err);
    pg_op_free(*op);
    *op = NULL;
    run->next++;
    return done && create_ahead(run, err);
}

/* Only for the room on the disk: the server goes away at the end. */
static void drop_database(const struct selftest_place *place, const char *name)
{
    char *sql = neap_format("drop database %s with (force)", name);
    pg_failure_clear(place->sweeper);
    (void)pg_send_text(place->sweeper, sql, 0, NULL, NULL);
    free(sql);
}

/* "postgresql:///neap?host=…" with the trial's database. */
static char *url_of(const struct selftest_place *place, const char *database)
{
    const char *rest = strchr(place->url, '?');
    return neap_format("postgresql:///%s%s", database, rest == NULL ? "" : rest);
}

static bool begin_trial(struct run *run, struct selftest_trial *trial, struct neap_error *err)
{
    const struct selftest_place *place = run->place;
    *trial = (struct selftest_trial){.index = run->next};
    trial->entry = json_array_get(run->cases, trial->index);
    trial->state = state_of(trial->entry);
    trial->database = neap_format("case_%zu", trial->index);
    trial->url = url_of(place, trial->database);
    trial->dir = neap_path_join(place->dir, trial->database);
    return take_database(run, err) && selftest_write(trial, err) &&
           begin_command(place, trial, command_of(trial), err);
}

static void clear_trial(struct selftest_trial *trial)
{
    if (trial->child != NULL)
        neap_child_end(trial->child);
    neap_child_result_clear(&trial->result);
    free(trial->database);
    free(trial->url);
    free(trial->dir);
    free(trial->got);
    free(trial->why);
    *trial = (struct selftest_trial){0};
}

/* One row of the result, at the case's place in the corpus. */
static void report(struct run *run, struct selftest_trial *trial)
{
    json_t *row = json_object();
    const char *const copied[] = {"id", "attempt"};
    for (size_t i = 0; i < 2; i++)
        neap_json_set(row, copied[i], json_incref(json_object_get(trial->entry, copied[i])));
    neap_json_set(row, "expected", json_incref(json_object_get(trial->entry, "expect")));
    neap_json_set(row, "got", neap_json_text(trial->got));
    neap_json_set(row, "seconds", json_real((double)trial->took_ms / 1000));
    neap_json_set(row, "peak_bytes", json_integer(trial->peak_bytes));
    neap_json_set(row, "ok", json_boolean(trial->why == NULL));
    neap_json_set(row, "why", neap_json_text(trial->why));
    json_array_set_new(run->rows, trial->index, row);
    run->done++;
    if (trial->why != NULL) {
        run->failed++;
        neap_log(NEAP_LOG_ERROR, "selftest.failed", "%s: %s", id_of(trial), trial->why);
    }
}

static void end_trial(struct run *run, struct selftest_trial *trial)
{
    report(run, trial);
    drop_database(run->place, trial->database);
    clear_trial(trial);
}

/* The command ended: its judgement, and what comes next. */
static bool next_stage(struct run *run, struct selftest_trial *trial, struct neap_error *err)
{
    const struct selftest_place *place = run->place;
    bool is_last = is_judged(trial);
    int status = trial->result.exit_status;
    switch (trial->stage) {
    case TRIAL_COMMAND:
        if (!is_last && status == 0) {
            trial->command++;
            return begin_command(place, trial, command_of(trial), err);
        }
        selftest_judge(trial);
        selftest_look(place, trial, trial->state);
        trial->stage = TRIAL_MEND;
        if (json_is_true(json_object_get(trial->entry, "brief")))
            break;
        if (trial->state == SELFTEST_NOTHING)
            return selftest_write_innocent(trial, err) && begin_command(place, trial, "up", err);
        return next_stage(run, trial, err);
    case TRIAL_MEND:
        if (trial->state == SELFTEST_NOTHING && status != 0)
            selftest_blame_end(trial, "an innocent script after it");
        if (trial->state == SELFTEST_NOTHING)
            selftest_look(place, trial, SELFTEST_APPLIED);
        trial->stage = TRIAL_AUDIT;
        return begin_command(place, trial, "audit verify", err);
    case TRIAL_AUDIT:
        if (status != json_integer_value(json_object_get(trial->entry, "audit")))
            selftest_blame_end(trial, "`neap audit verify`");
        break;
    case TRIAL_END:
        break;
    }
    trial->stage = TRIAL_END;
    return true;
}

/* A child that ended, or ran for too long. */
static bool end_command(struct run *run, struct selftest_trial *trial, struct neap_error *err)
{
    if (!neap_child_is_over(trial->child))
        selftest_blame(trial, "it still ran after %d s", CHILD_LIMIT_MS / 1000);
    neap_child_end(trial->child);
    trial->child = NULL;
    if (trial->stage == TRIAL_COMMAND)
        trial->took_ms = neap_clock_ms() - trial->began_ms;
    if (!next_stage(run, trial, err))
        return false;
    if (trial->stage == TRIAL_END)
        end_trial(run, trial);
    return true;
}

/* ---- all of them ---- */

static bool is_due(const struct selftest_trial *trial)
{
    return trial->child != NULL &&
           (neap_child_is_over(trial->child) || neap_clock_ms() >= trial->limit_ms);
}

static bool is_any_due(void *arg)
{
    struct run *run = arg;
    for (size_t i = 0; i < run->slot_count; i++)
        if (is_due(&run->slots[i]))
            return true;
    return false;
}

static void on_tick(void *arg)
{
    (void)arg; /* the turn is what counts: limits are looked at after it */
}

/* What the wait is for, for people. */
static void describe(const struct run *run, char *text, size_t size)
{
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = 0; i < run->slot_count && length < size; i++)
        if (run->slots[i].entry != NULL)
            length += (size_t)snprintf(text + length, size - length, "%s%s", length > 0 ? ", " : "",
                                       id_of(&run->slots[i]));
}

static bool fill_slots(struct run *run, struct neap_error *err)
{
    for (size_t i = 0; i < run->slot_count; i++)
        if (run->slots[i].entry == NULL && run->next < json_array_size(run->cases) &&
            !begin_trial(run, &run->slots[i], err))
            return false;
    return true;
}

static bool turn(struct run *run, struct neap_error *err)
{
    char what[256];
    struct neap_wait wait = {.done = is_any_due, .arg = run, .what = what};
    if (!fill_slots(run, err))
        return false;
    describe(run, what, sizeof what);
    neap_log_progress("%zu of %zu tried, %zu failed; trying %s", run->done,
                      json_array_size(run->cases), run->failed, what);
    if (!neap_loop_wait(run->place->loop, &wait, err))
        return false;
    for (size_t i = 0; i < run->slot_count; i++)
        if (is_due(&run->slots[i]) && !end_command(run, &run->slots[i], err))
            return false;
    return true;
}

static size_t slot_count(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    size_t count = cpus < 1 ? 2 : (size_t)cpus * 4; /* many cases wait, and use no CPU */
    return count > AT_ONCE_MAX ? AT_ONCE_MAX : count;
}

bool selftest_run(const struct selftest_place *place, json_t *cases, json_t **out,
                  struct neap_error *err)
{
    struct run run = {
        .place = place, .cases = cases, .rows = json_array(), .slot_count = slot_count()};
    struct neap_timer *tick = neap_timer_begin(place->loop, 500, 500, on_tick, NULL);
    bool good = true;
    for (size_t i = 0; i < json_array_size(cases); i++)
        json_array_append_new(run.rows, json_null());
    while (good && run.done < json_array_size(cases))
        good = turn(&run, err);
    neap_log_progress_end();
    neap_timer_end(tick);
    for (size_t i = 0; i < run.slot_count; i++)
        clear_trial(&run.slots[i]);
    for (size_t i = 0; i < AHEAD; i++)
        pg_op_free(run.making[i]);
    *out = good ? run.rows : NULL;
    if (!good)
        json_decref(run.rows);
    return good;
}
