/* SPDX-License-Identifier: Apache-2.0 */
/* When those who learn beside a cache (the panel of its policy, its curve) see the requests, so
 * that they take at most a share of the time.
 *
 * While there is credit they see every request. What they spend is measured on one request in 61,
 * and credit comes with time, at the share. Without credit they see bursts: the first part of a
 * burst only brings their miniatures up to what is asked for now and is not judged; the rest is
 * longer than the longest horizon of a panel, so that what is decided is decided of requests that
 * were seen one after the other. Then nothing is seen until the burst is paid for. A slow request
 * rate pays for all of them, and where the clock stands still (a replay, a simulation) nothing
 * costs anything.
 *
 * Time in which the process wanted to run and could not, as others had the processor, pays for
 * nothing: beside others who leave it a third, a share of the time were three times that of what it
 * does. Nobody can tell that from idling, so time counts for at most half as much again as the CPU
 * time that the process had in it, or for a tenth of what it is. Not locked: whoever has the
 * cache's lock. */
#ifndef MP_CACHE_DUTY_H
#define MP_CACHE_DUTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MP__DUTY_EACH = 61, /* requests of which one is measured; no multiple of what a fill reports */
    /* Requests of a burst that are not judged, and that are, in entries of the cache. */
    MP__DUTY_WARM = 8,
    MP__DUTY_JUDGE = 24
};

enum mp__duty_state {
    MP__DUTY_ON,
    MP__DUTY_WARMING, /* seen, and not judged */
    MP__DUTY_OFF,
};

/* In the caller's storage. */
typedef struct mp__duty {
    uint64_t (*now_ns)(void *context), (*cpu_ns)(void *context);
    void *context;
    enum mp__duty_state state;
    bool is_timed;              /* this request is measured */
    unsigned until;             /* requests before the next that is */
    double share;               /* of the time, 0: never on, 1 and more: always */
    double credit;              /* ns, below 0 while a burst is paid for */
    uint64_t at_ns;             /* when credit last came */
    uint64_t looked_ns, had_ns; /* at the last look at the CPU time; and what that was */
    double worth;               /* of the time, 0 to 1: what of it counts */
    uint64_t clock_ns;          /* of reading the clock */
    double left;                /* requests before the state may change */
    size_t entries;
    double seen, passed; /* requests lately: that were seen, and all */
} mp__duty;

/* Begins with credit, and on, for a cache of @entries. @now_ns is a clock, @cpu_ns what the process
 * has had of it, both of @context. */
void mp__duty_init(mp__duty *duty, uint64_t (*now_ns)(void *context),
                   uint64_t (*cpu_ns)(void *context), void *context, size_t entries, double share);
/* The cache has another size, or others learn: they see what comes next, judged at once unless they
 * have just seen nothing. */
void mp__duty_renew(mp__duty *duty, size_t entries);
/* A change of it is one of the learners, too. */
void mp__duty_set_share(mp__duty *duty, double share);

/* The share of the requests that was seen lately; 1 before there were any. */
double mp__duty_seen(const mp__duty *duty);

void mp__duty_turn(mp__duty *duty);
void mp__duty_spent(mp__duty *duty, uint64_t began_ns);

/* A request comes: before it is told to any of those who learn. */
static inline void mp__duty_pass(mp__duty *duty)
{
    duty->is_timed = false;
    if (__builtin_expect(--duty->until == 0, 0))
        mp__duty_turn(duty);
}

/* Around what one of them does with it, unless they are off. */
static inline uint64_t mp__duty_begin(const mp__duty *duty)
{
    return __builtin_expect(duty->is_timed, 0) ? duty->now_ns(duty->context) : 0;
}
static inline void mp__duty_end(mp__duty *duty, uint64_t began_ns)
{
    if (__builtin_expect(duty->is_timed, 0))
        mp__duty_spent(duty, began_ns);
}

#endif
