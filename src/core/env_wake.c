/* SPDX-License-Identifier: Apache-2.0 */
/* Waking the thread behind a queue, now or with others once the poster has posted all it has.
 *
 * What is posted to a thread that sleeps wakes it, and where cores are few it takes the poster's at
 * once: then fifty posts are fifty turns of one task each, and as many changes of threads.
 *
 * Of those that were held back the loops are woken first: they have clients to answer, while what a
 * worker is to do can wait for the 50 us that a wake-up and its change of threads may take. */
#include <sched.h>

#include "core/env_real.h"

enum { HELD_MAX = 16 };

static _Thread_local struct {
    unsigned depth, count;
    mp__real_wake *wakes[HELD_MAX];
} held;

void mp__real_hold_wakes(mp_env *env)
{
    (void)env;
    held.depth++;
}

static void wake(mp__real_wake *waking)
{
    waking->fn(waking);
    mp__real_wake_end(waking);
}

static void wake_held(void)
{
    mp__real_wake *later[HELD_MAX];
    unsigned count = held.count, later_count = 0;

    held.count = 0;
    for (unsigned i = 0; i < count; i++)
        if (held.wakes[i]->is_first)
            wake(held.wakes[i]);
        else
            later[later_count++] = held.wakes[i];
    for (unsigned i = 0; i < later_count; i++)
        wake(later[i]);
}

void mp__real_release_wakes(mp_env *env)
{
    (void)env;
    if (--held.depth == 0)
        wake_held();
}

void mp__real_flush_wakes(void)
{
    wake_held();
}

void mp__real_wake_begin(mp__real_wake *wake)
{
    (void)atomic_fetch_add_explicit(&wake->posters, 1, memory_order_relaxed);
}

void mp__real_wake_end(mp__real_wake *wake)
{
    (void)atomic_fetch_sub_explicit(&wake->posters, 1, memory_order_release);
}

void mp__real_wake_up(mp__real_wake *waking)
{
    if (held.depth && held.count < HELD_MAX)
        held.wakes[held.count++] = waking;
    else
        wake(waking);
}

void mp__real_wake_done(mp__real_wake *wake)
{
    wake_held(); /* it may be one of ours */
    while (atomic_load_explicit(&wake->posters, memory_order_acquire))
        (void)sched_yield(); /* it is only a few instructions, or a group of answers, away */
}
