/* SPDX-License-Identifier: MIT
 *
 * What loop.c and timer.c share: the list of a loop's timers, so that the
 * loop's end frees those that nobody ended.
 */
#ifndef NEAP_LOOP_LOOP_TIMERS_H
#define NEAP_LOOP_LOOP_TIMERS_H

#include "host/loop/loop.h"

/* The head of the list; timer.c alone changes it. */
struct neap_timer **neap_loop_timers(struct neap_loop *loop);

#endif
