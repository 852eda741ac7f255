/* SPDX-License-Identifier: MIT
 *
 * Running the tool. It gets none of our environment but what every child gets: how it
 * reaches server and repository stands in its own configuration, secrets with it.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_pitr_parts.h"
#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/base/path.h"
#include "host/loop/child.h"

#define OUTPUT_MAX ((size_t)64 << 20) /* of an answer */
#define SAID_MAX ((size_t)256 << 10)  /* of what a long command tells on its way */
#define DETAIL_MAX 4000
#define TURN_MS 250
#define PROGRESS_MS 1000

/* What to do about words that say what is wrong; first that matches. */
static const struct {
    const char *words, *hint;
} causes[] = {
    {"unable to acquire lock",
     "Another one is at work on it: wait for its end, then run it again."},
    {"nother action is already in progress",
     "Another one is at work on it: wait for its end, then run it again."},
    {"does this stanza exist",
     "`stanza` of `archive` in neap.lua is its name in the configuration of pgBackRest."},
    {"missing stanza", "`pgbackrest stanza-create` makes it; see `neap help backups`."},
    {"Unknown server", "`server` of `archive` in neap.lua is its name in Barman's configuration."},
    {"was not archived before",
     "The server archives no WAL: look at archive_command, its log and pg_stat_archiver."},
    {"archive_mode must be enabled", "Set archive_mode = on and restart the server."},
    {"ermission denied", "Run it as who owns server and repository: `command` of `archive` in "
                         "neap.lua, with runuser or sudo in front."},
    {"cannot be run under the root user", "Run it as who owns server and repository: `command` of "
                                          "`archive` in neap.lua, with runuser or sudo in front."},
};

/* command… words… NULL; the caller frees the list alone. */
static const char **argv_of(const struct backup_pitr *rule, const char *const *words)
{
    size_t count = 0, at = 0;
    for (char **word = rule->command; *word != NULL; word++)
        count++;
    for (const char *const *word = words; *word != NULL; word++)
        count++;
    const char **argv = neap_alloc((count + 1) * sizeof *argv);
    for (char **word = rule->command; *word != NULL; word++)
        argv[at++] = *word;
    for (const char *const *word = words; *word != NULL; word++)
        argv[at++] = *word;
    return argv;
}

static const char *command_of(const char *const *words)
{
    while (*words != NULL && (*words)[0] == '-')
        words++;
    return *words == NULL ? "" : *words;
}

static void explain(const struct pitr *pitr, const char *command, int status, const char *said,
                    struct neap_error *err)
{
    size_t length = strlen(said);
    const char *name = backup_pitr_name(pitr->rule->tool);
    if (status > 128)
        neap_error_set(err, NEAP_ERR_ARCHIVE_FAILED, "%s %s was ended by signal %d", name, command,
                       status - 128);
    else
        neap_error_set(err, NEAP_ERR_ARCHIVE_FAILED, "%s %s failed with status %d", name, command,
                       status);
    if (length > 0)
        neap_error_detail(err, "%s", said + (length > DETAIL_MAX ? length - DETAIL_MAX : 0));
    for (size_t i = 0; i < sizeof causes / sizeof *causes; i++) {
        if (strstr(said, causes[i].words) == NULL)
            continue;
        neap_error_hint(err, "%s", causes[i].hint);
        return;
    }
}

static void explain_start(const struct pitr *pitr, struct neap_error *err)
{
    if (err->code != NEAP_ERR_FILE_IO)
        return;
    err->code = NEAP_ERR_ARCHIVE_FAILED;
    neap_error_hint(err,
                    "Install %s on this machine, or say in neap.lua how it is run: `command` of "
                    "`archive`.",
                    backup_pitr_name(pitr->rule->tool));
}

/* Takes the child's result; `out` gets its output. */
static bool judge(const struct pitr *pitr, const char *const *words, bool ran,
                  struct neap_child_result *result, struct neap_buffer *out, struct neap_error *err)
{
    bool good = ran && result->exit_status == 0;
    if (!ran)
        explain_start(pitr, err);
    else if (!good)
        /* Barman says on stdout what it found wrong. */
        explain(pitr, command_of(words), result->exit_status,
                neap_buffer_text(result->err.length > 0 ? &result->err : &result->out), err);
    if (out != NULL)
        neap_buffer_add(out, result->out.bytes, result->out.length);
    neap_child_result_clear(result);
    return good;
}

struct listening {
    const struct pitr *pitr;
    struct neap_child_result result;
    struct neap_buffer kept; /* of its output, without what tells only how far it is */
    double percent;
    int64_t told_ms;
};

/* Whole lines of what came; the rest stays for the next turn. */
static void read_lines(struct listening *listening)
{
    struct neap_buffer *out = &listening->result.out;
    size_t at = 0;
    for (char *end;
         at < out->length && (end = memchr(out->bytes + at, '\n', out->length - at)) != NULL;) {
        char *line = out->bytes + at;
        *end = '\0';
        double percent = listening->pitr->tool->percent(line);
        *end = '\n';
        if (percent >= 0)
            listening->percent = percent;
        else if (listening->kept.length < SAID_MAX)
            neap_buffer_add(&listening->kept, line, (size_t)(end - line) + 1);
        at = (size_t)(end - out->bytes) + 1;
    }
    if (at == 0)
        return;
    memmove(out->bytes, out->bytes + at, out->length - at);
    out->length -= at;
    out->bytes[out->length] = '\0';
}

static void on_turn(void *arg)
{
    struct listening *listening = arg;
    const struct backup_pitr_watch *watch = listening->pitr->watch;
    read_lines(listening);
    if (watch == NULL || watch->progress == NULL ||
        neap_clock_ms() - listening->told_ms < PROGRESS_MS)
        return;
    listening->told_ms = neap_clock_ms();
    watch->progress(watch->arg, listening->percent);
}

/* Until the child ends; what is waited for is the tool, not the runuser in front of it. */
static bool wait_for(const struct pitr *pitr, struct neap_child *child, struct neap_error *err)
{
    struct neap_wait wait = {.done = neap_child_is_over,
                             .arg = child,
                             .deadline_ms = NEAP_FOREVER,
                             .what = backup_pitr_name(pitr->rule->tool)};
    bool over = neap_loop_wait(pitr->loop, &wait, err);
    neap_child_end(child);
    return over;
}

bool backup_pitr_run(struct pitr *pitr, const char *const *words, struct neap_buffer *out,
                     struct neap_error *err)
{
    const char **argv = argv_of(pitr->rule, words);
    struct neap_child_opts opts = {.argv = argv, .output_max = OUTPUT_MAX};
    struct neap_child_result result = {0};
    struct neap_child *child = NULL;
    bool ran =
        neap_child_begin(pitr->loop, &opts, &result, &child, err) && wait_for(pitr, child, err);
    free(argv);
    return judge(pitr, words, ran, &result, out, err);
}

bool backup_pitr_run_json(struct pitr *pitr, const char *const *words, json_t **out,
                          struct neap_error *err)
{
    struct neap_buffer text = {0};
    *out = NULL;
    bool ran = backup_pitr_run(pitr, words, &text, err);
    if (ran) {
        *out = json_loadb(neap_buffer_text(&text), text.length, JSON_REJECT_DUPLICATES, NULL);
        ran = *out != NULL || backup_pitr_strange(pitr, command_of(words), err);
    }
    neap_buffer_clear(&text);
    return ran;
}

bool backup_pitr_run_long(struct pitr *pitr, const char *const *words, struct neap_buffer *out,
                          struct neap_error *err)
{
    const char **argv = argv_of(pitr->rule, words);
    struct listening listening = {.pitr = pitr, .percent = -1, .told_ms = neap_clock_ms()};
    struct neap_child_opts opts = {.argv = argv};
    struct neap_child *child = NULL;
    bool ran = neap_child_begin(pitr->loop, &opts, &listening.result, &child, err);
    free(argv);
    if (ran) {
        struct neap_timer *timer =
            neap_timer_begin(pitr->loop, TURN_MS, TURN_MS, on_turn, &listening);
        ran = wait_for(pitr, child, err);
        neap_timer_end(timer);
        read_lines(&listening);
        neap_buffer_add(&listening.kept, listening.result.out.bytes, listening.result.out.length);
        neap_buffer_clear(&listening.result.out);
        listening.result.out = listening.kept;
    }
    return judge(pitr, words, ran, &listening.result, out, err);
}

bool backup_pitr_strange(const struct pitr *pitr, const char *command, struct neap_error *err)
{
    neap_error_set(err, NEAP_ERR_ARCHIVE_FAILED, "%s %s answered what neap does not understand",
                   backup_pitr_name(pitr->rule->tool), command);
    neap_error_hint(err, "Look whether it is a version that neap knows: see `neap help backups`.");
    return false;
}

bool backup_pitr_check_identity(const struct pitr *pitr, const char *found, const char *wanted,
                                struct neap_error *err)
{
    const struct backup_pitr *rule = pitr->rule;
    if (found != NULL && strcmp(found, wanted) == 0)
        return true;
    neap_error_set(err, NEAP_ERR_TARGET_WRONG, "%s %s of %s keeps server %s, and the target is %s",
                   backup_pitr_server_word(rule->tool), rule->server, backup_pitr_name(rule->tool),
                   found == NULL ? "(none)" : found, wanted);
    neap_error_hint(err, "Look at `archive` of the environment in neap.lua.");
    return false;
}

int64_t backup_pitr_timeline(const char *segment)
{
    char hex[9] = "";
    if (segment == NULL || strlen(segment) != 24)
        return 0;
    memcpy(hex, segment, 8);
    return strtol(hex, NULL, 16);
}
