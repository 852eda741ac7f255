/* SPDX-License-Identifier: MIT
 *
 * Owns the self-test's place: a directory, a scratch server, this binary's path;
 * all of it is gone afterwards, also after a signal.
 */
#include "host/selftest/selftest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings/scratch/scratch.h"
#include "host/base/clock.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/selftest/selftest_parts.h"

#define REMOVE_LIMIT_MS 30000

static bool make_dir(struct selftest_place *place, struct neap_error *err)
{
    const char *temp = getenv("TMPDIR");
    char *dir = neap_format("%s/neap-selftest-XXXXXX", temp == NULL ? "/tmp" : temp);
    if (mkdtemp(dir) == NULL) {
        neap_error_errno(err, NEAP_ERR_FILE_IO, errno, "cannot make %s", dir);
        free(dir);
        return false;
    }
    place->dir = dir;
    return true;
}

static bool open_place(struct selftest_place *place, struct neap_error *err)
{
    struct scratch_status scratch = {0};
    place->program = neap_format("/proc/%d/exe", (int)getpid());
    if (!make_dir(place, err) || !scratch_start(place->loop, place->dir, &scratch, err))
        return false;
    place->url = neap_strdup(scratch.url);
    scratch_status_clear(&scratch);
    const struct pg_open_opts opts = {
        .conninfo = place->url, .application_name = "neap selftest", .name = "selftest"};
    return pg_open(place->loop, &opts, &place->control, err) &&
           pg_open(place->loop, &opts, &place->sweeper, err);
}

static void remove_dir(const struct selftest_place *place)
{
    const char *const argv[] = {"/bin/rm", "-rf", "--one-file-system", "--", place->dir, NULL};
    const struct neap_child_opts opts = {
        .argv = argv, .deadline_ms = neap_clock_ms() + REMOVE_LIMIT_MS, .cleanup = true};
    struct neap_child_result result;
    if (!neap_child_run(place->loop, &opts, &result, NULL) || result.exit_status != 0)
        neap_log(NEAP_LOG_WARN, "selftest.left", "cannot remove %s", place->dir);
    neap_child_result_clear(&result);
}

/* The stop is set aside meanwhile: it ends the trials, not the cleaning. A second
 * signal ends the process at once, as everywhere. */
static void close_place(struct selftest_place *place)
{
    struct neap_run *run = neap_loop_run(place->loop);
    sig_atomic_t number = run->stop_signal;
    struct neap_error err = {0};
    pg_close(place->control);
    pg_close(place->sweeper);
    run->stop_signal = 0;
    neap_error_clear(&run->stop);
    if (place->dir != NULL) {
        if (!scratch_stop(place->loop, place->dir, &err))
            neap_log(NEAP_LOG_WARN, "selftest.left", "the scratch server is still there: %s",
                     err.message);
        remove_dir(place);
    }
    run->stop_signal = number;
    neap_error_clear(&err);
    free(place->dir);
    free(place->program);
    free(place->url);
}

bool neap_selftest_limits(struct neap_loop *loop, const struct neap_selftest_opts *opts,
                          json_t **out, struct neap_error *err)
{
    struct selftest_place place = {.loop = loop};
    json_t *cases = selftest_corpus(loop, opts->corpus, err);
    *out = NULL;
    if (cases == NULL)
        return false;
    cases = selftest_select(cases, opts->only, err);
    if (cases == NULL)
        return false;
    bool done = open_place(&place, err) && selftest_run(&place, cases, out, err);
    close_place(&place);
    json_decref(cases);
    return done;
}
