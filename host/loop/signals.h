/* SPDX-License-Identifier: MIT
 *
 * Signal handlers for the one open loop. They set flags, wake the loop and arm
 * the script host; nothing else, because nothing else is safe in a handler.
 */
#ifndef NEAP_LOOP_SIGNALS_H
#define NEAP_LOOP_SIGNALS_H

#include <stdbool.h>
#include <uv.h>

#include "host/base/run.h"

/* Two of these at least this far apart end the process: `timeout` and shells
 * send one signal twice, to the process and to its group. */
#define NEAP_SIGNAL_AGAIN_MS 100

/* Both are borrowed until neap_signals_close. An ignored HUP (nohup) stays
 * ignored. An ignored INT does not: a shell ignores it for each job that a
 * script starts with `&`, and an explicit `kill -INT` must still roll back. */
void neap_signals_open(struct neap_run *run, uv_async_t *wake);
void neap_signals_close(void); /* puts back what was there; idempotent */
/* While on, SIGTSTP only prints why it is refused. */
void neap_signals_hold_stop(bool hold);

#endif
