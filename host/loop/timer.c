/* SPDX-License-Identifier: MIT
 *
 * Repeating timers. libuv gives a handle's memory back only in its close
 * callback, so an ended timer is freed there, one turn later.
 */
#include <stdlib.h>

#include "host/base/memory.h"
#include "host/loop/loop.h"
#include "host/loop/loop_timers.h"

struct neap_timer {
    uv_timer_t uv;
    void (*fn)(void *arg);
    void *arg;
    struct neap_timer *next, **link; /* in its loop's list */
};

static void on_time(uv_timer_t *uv)
{
    struct neap_timer *timer = uv->data;

    if (timer->fn)
        timer->fn(timer->arg);
}

struct neap_timer *neap_timer_begin(struct neap_loop *loop, int64_t first_ms, int64_t repeat_ms,
                                    void (*fn)(void *arg), void *arg)
{
    struct neap_timer *timer = neap_alloc(sizeof *timer);
    struct neap_timer **head = neap_loop_timers(loop);

    timer->fn = fn;
    timer->arg = arg;
    timer->uv.data = timer;
    timer->next = *head;
    timer->link = head;
    if (timer->next)
        timer->next->link = &timer->next;
    *head = timer;
    uv_timer_init(neap_loop_uv(loop), &timer->uv);
    uv_update_time(neap_loop_uv(loop)); /* or it counts from the last turn */
    uv_timer_start(&timer->uv, on_time, first_ms > 0 ? (uint64_t)first_ms : 0,
                   repeat_ms > 0 ? (uint64_t)repeat_ms : 0);
    return timer;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void neap_timer_end(struct neap_timer *timer)
{
    if (!timer)
        return;
    *timer->link = timer->next;
    if (timer->next)
        timer->next->link = timer->link;
    uv_close((uv_handle_t *)&timer->uv, on_closed);
}
