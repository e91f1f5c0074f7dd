/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/wheel.h"

enum { BITS = 6 };
_Static_assert(MP__WHEEL_SLOTS == 1 << BITS, "a bit a slot");

static const uint64_t reach = (uint64_t)1 << (BITS * MP__WHEEL_LEVELS);

void mp__wheel_init(mp__wheel *wheel, uint64_t now)
{
    *wheel = (mp__wheel){.now = now};
}

static void list_add(mp__wheel_timer **head, mp__wheel_timer *timer)
{
    timer->next = *head;
    timer->from_here = head;
    if (*head)
        (*head)->from_here = &timer->next;
    *head = timer;
}

static void list_remove(mp__wheel_timer *timer)
{
    *timer->from_here = timer->next;
    if (timer->next)
        timer->next->from_here = timer->from_here;
    timer->from_here = NULL;
}

static void place(mp__wheel *wheel, mp__wheel_timer *timer)
{
    uint64_t due = timer->due > wheel->now ? timer->due : wheel->now + 1;
    uint64_t ahead = due - wheel->now;
    unsigned level = 0, slot;

    if (ahead >= reach) { /* looked at again when that time has come */
        due = wheel->now + reach - 1;
        ahead = reach - 1;
    }
    while (ahead >> (BITS * (level + 1)))
        level++;
    slot = (unsigned)(due >> (BITS * level)) % MP__WHEEL_SLOTS;
    wheel->taken[level] |= (uint64_t)1 << slot;
    list_add(&wheel->slots[level][slot], timer);
}

void mp__wheel_set(mp__wheel *wheel, mp__wheel_timer *timer, uint64_t due)
{
    timer->due = due;
    place(wheel, timer);
    wheel->count++;
}

void mp__wheel_stop(mp__wheel *wheel, mp__wheel_timer *timer)
{
    if (!timer->from_here)
        return;
    list_remove(timer); /* its slot's bit stays: that only costs a look */
    wheel->count--;
}

/* The lists that the hands come to with this tick. Only here a slot's list becomes pending, and
 * only once the one before is done. */
static void take_slots(mp__wheel *wheel)
{
    for (unsigned level = 0; level < MP__WHEEL_LEVELS; level++) {
        unsigned slot = (unsigned)(wheel->now >> (BITS * level)) % MP__WHEEL_SLOTS;
        mp__wheel_timer **list = &wheel->slots[level][slot];

        wheel->pending[level] = *list;
        if (*list)
            (*list)->from_here = &wheel->pending[level];
        *list = NULL;
        wheel->taken[level] &= ~((uint64_t)1 << slot);
        if (slot != 0) /* the wheel above moves when this one has gone round */
            return;
    }
}

/* The next tick at which there may be something to do, at most @now: the hand of the first wheel
 * goes on to its next slot that is taken, or to its end, where the wheel above moves. */
static uint64_t next_tick(const mp__wheel *wheel, uint64_t now)
{
    unsigned at = (unsigned)(wheel->now + 1) % MP__WHEEL_SLOTS;
    uint64_t ahead = wheel->taken[0] >> at;
    uint64_t tick = wheel->now + 1;

    if (at == 0) /* the wheel above moves */
        return tick;
    tick += ahead ? (unsigned)__builtin_ctzll(ahead) : MP__WHEEL_SLOTS - at;
    return tick < now ? tick : now;
}

static mp__wheel_timer *pending_pop(mp__wheel *wheel)
{
    for (unsigned level = 0; level < MP__WHEEL_LEVELS; level++) {
        mp__wheel_timer *timer = wheel->pending[level];

        if (timer) {
            list_remove(timer);
            return timer;
        }
    }
    return NULL;
}

mp__wheel_timer *mp__wheel_next(mp__wheel *wheel, uint64_t now, unsigned *steps)
{
    for (; *steps; --*steps) {
        mp__wheel_timer *timer = pending_pop(wheel);

        if (timer && timer->due <= wheel->now) {
            wheel->count--;
            --*steps;
            return timer;
        }
        if (timer) {
            place(wheel, timer);
            continue;
        }
        if (wheel->now >= now)
            return NULL;
        wheel->now = wheel->count ? next_tick(wheel, now) : now;
        if (wheel->count)
            take_slots(wheel);
    }
    return NULL;
}
