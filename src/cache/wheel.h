/* SPDX-License-Identifier: Apache-2.0 */
/* A hierarchical timer wheel (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", SOSP
 * 1987, scheme 7): setting and stopping a timer takes the same few steps however many there are,
 * and time goes on in steps that can be as small as the caller likes.
 *
 * Four wheels of 64 slots, of 1, 64, 4,096 and 262,144 ticks; what lies further ahead (194 days of
 * seconds) waits in the last and is looked at again. A timer is embedded in what it is for. Not
 * locked: one thread at a time. Pure: time is an argument. */
#ifndef MP_CACHE_WHEEL_H
#define MP_CACHE_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mp__wheel_timer {
    struct mp__wheel_timer *next, **from_here; /* from_here NULL: it is not set */
    uint64_t due;
} mp__wheel_timer;

enum { MP__WHEEL_LEVELS = 4, MP__WHEEL_SLOTS = 64 };

typedef struct mp__wheel {
    uint64_t now; /* up to and with which all is done, but for what is pending */
    size_t count;
    uint64_t taken[MP__WHEEL_LEVELS]; /* a bit a slot that may hold something */
    mp__wheel_timer *slots[MP__WHEEL_LEVELS][MP__WHEEL_SLOTS];
    mp__wheel_timer *pending[MP__WHEEL_LEVELS]; /* the slots that now has come to */
} mp__wheel;

void mp__wheel_init(mp__wheel *wheel, uint64_t now);
/* @timer must not be set. One that is due already fires at the next step. */
void mp__wheel_set(mp__wheel *wheel, mp__wheel_timer *timer, uint64_t due);
/* Does nothing to one that is not set. */
void mp__wheel_stop(mp__wheel *wheel, mp__wheel_timer *timer);
static inline bool mp__wheel_is_set(const mp__wheel_timer *timer)
{
    return timer->from_here != NULL;
}

/* Go on to @now and take out the next timer that is due, in at most *steps steps (a timer that is
 * looked at, a slot that is passed), which are taken off it. NULL: none is due, or no step is left.
 * Time does not go back. */
mp__wheel_timer *mp__wheel_next(mp__wheel *wheel, uint64_t now, unsigned *steps);

#endif
