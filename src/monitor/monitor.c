/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor/monitor.h"

#include <pthread.h>
#include <stdatomic.h>

#include "core/alloc.h"
#include "monitor/internal.h"

const char *const mp__operation_names[MP__OP_COUNT] = {
    "get", "set", "del", "list", "history", "fetch", "commit", "other",
};

/* A thread's shard of one monitor is remembered here; another monitor's use replaces it. */
static _Thread_local struct {
    uint64_t monitor; /* id, never used twice, so that a freed one's address cannot deceive */
    mp__shard *shard;
} mine;

static pthread_key_t thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic uint64_t next_id = 1;

/* ---- histograms ---- */

unsigned mp__histogram_step(uint64_t ns)
{
    unsigned shift;

    if (ns < MP__HISTOGRAM_PER_POWER)
        return (unsigned)ns;
    shift = 63 - (unsigned)__builtin_clzl(ns);
    if (shift > MP__HISTOGRAM_TOP)
        return MP__HISTOGRAM_STEPS - 1;
    return (shift - 3) * MP__HISTOGRAM_PER_POWER +
           (unsigned)(ns >> (shift - 4) & (MP__HISTOGRAM_PER_POWER - 1));
}

/* The middle of a step. */
uint64_t mp__histogram_value(unsigned step)
{
    unsigned shift;
    uint64_t low;

    if (step < MP__HISTOGRAM_PER_POWER)
        return step;
    shift = step / MP__HISTOGRAM_PER_POWER + 3;
    low = (uint64_t)(MP__HISTOGRAM_PER_POWER + step % MP__HISTOGRAM_PER_POWER) << (shift - 4);
    return low + ((uint64_t)1 << (shift - 4)) / 2;
}

/* ---- shards ---- */

static void thread_ends(void *shard)
{
    /* the counts stay; the next thread goes on with them */
    atomic_store_explicit(&((mp__shard *)shard)->taken, 0, memory_order_release);
}

static void key_make(void)
{
    (void)pthread_key_create(&thread_end, thread_ends);
}

static mp__shard *shard_adopt(mp__monitor *monitor)
{
    for (mp__shard *s = atomic_load(&monitor->shards); s; s = s->next) {
        int free_ = 0;

        if (atomic_compare_exchange_strong(&s->taken, &free_, 1))
            return s;
    }
    return NULL;
}

static mp__shard *shard_take(mp__monitor *monitor)
{
    mp__shard *shard = shard_adopt(monitor);

    (void)pthread_once(&once, key_make);
    if (!shard) {
        shard = mp__aligned_alloc(128, sizeof(*shard));
        if (!shard)
            return NULL; /* then this recording is lost, nothing else */
        memset((void *)shard, 0, sizeof(*shard));
        atomic_init(&shard->taken, 1);
        shard->next = atomic_load(&monitor->shards);
        while (!atomic_compare_exchange_weak(&monitor->shards, &shard->next, shard))
            ;
    }
    mine.monitor = monitor->id;
    mine.shard = shard;
    (void)pthread_setspecific(thread_end, shard);
    return shard;
}

static inline mp__shard *shard_of(mp__monitor *monitor)
{
    if (__builtin_expect(mine.monitor == monitor->id, 1))
        return mine.shard;
    return shard_take(monitor);
}

/* Only the owner writes, so a load and a store do. */
static inline void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

void mp__monitor_record(mp__monitor *monitor, enum mp__operation operation, unsigned tier,
                        uint64_t ns, uint64_t count)
{
    mp__shard *shard;

    if (!monitor || !(shard = shard_of(monitor)))
        return;
    add(&shard->operations[operation][tier], count);
    add(&shard->sums[operation][tier], ns * count);
    add(&shard->steps[operation][tier][mp__histogram_step(ns)], count);
}

void mp__monitor_hits(mp__monitor *monitor, enum mp__operation operation, unsigned tier,
                      uint64_t count)
{
    mp__shard *shard;

    if (monitor && (shard = shard_of(monitor)))
        add(&shard->operations[operation][tier], count);
}

void mp__monitor_count(mp__monitor *monitor, enum mp__event_counter event, uint64_t count)
{
    mp__shard *shard;

    if (monitor && (shard = shard_of(monitor)))
        add(&shard->events[event], count);
}

/* ---- making ---- */

int mp__monitor_new(mp__monitor **ret_monitor)
{
    mp__monitor *monitor = mp__calloc(1, sizeof(*monitor));

    if (!monitor)
        return MP_ENOMEM;
    monitor->id = atomic_fetch_add(&next_id, 1);
    (void)pthread_mutex_init(&monitor->lock, NULL);
    *ret_monitor = monitor;
    return 0;
}

mp__monitor *mp__monitor_free(mp__monitor *monitor)
{
    mp__shard *next;

    if (!monitor)
        return NULL;
    if (mine.monitor == monitor->id) { /* this thread's end must not touch its shard any more */
        mine.monitor = 0;
        (void)pthread_setspecific(thread_end, NULL);
    }
    for (mp__shard *s = atomic_load(&monitor->shards); s; s = next) {
        next = s->next;
        (void)mp__free(s);
    }
    (void)pthread_mutex_destroy(&monitor->lock);
    return mp__free(monitor);
}

int mp__monitor_add(mp__monitor *monitor, const mp__metric *metrics, size_t count,
                    double (*read)(void *context, size_t index), void *context)
{
    int rc = MP_ELIMIT;

    (void)pthread_mutex_lock(&monitor->lock);
    for (int i = 0; i < MP__MONITOR_TABLES && rc; i++)
        if (!monitor->tables[i].metrics) {
            monitor->tables[i] = (mp__metric_source){metrics, count, read, context};
            rc = 0;
        }
    (void)pthread_mutex_unlock(&monitor->lock);
    return rc;
}

void mp__monitor_remove(mp__monitor *monitor, void *context)
{
    (void)pthread_mutex_lock(&monitor->lock);
    for (int i = 0; i < MP__MONITOR_TABLES; i++)
        if (monitor->tables[i].context == context)
            monitor->tables[i] = (mp__metric_source){0};
    (void)pthread_mutex_unlock(&monitor->lock);
}

/* ---- asking ---- */

uint64_t mp__monitor_events(mp__monitor *monitor, enum mp__event_counter event)
{
    uint64_t n = 0;

    for (mp__shard *s = atomic_load(&monitor->shards); s; s = s->next)
        n += atomic_load_explicit(&s->events[event], memory_order_relaxed);
    return n;
}

uint64_t mp__monitor_operations(mp__monitor *monitor, enum mp__operation operation, int tier)
{
    uint64_t n = 0;

    for (mp__shard *s = atomic_load(&monitor->shards); s; s = s->next)
        for (int t = 0; t < MP__MONITOR_TIERS; t++)
            if (tier < 0 || t == tier)
                n += atomic_load_explicit(&s->operations[operation][t], memory_order_relaxed);
    return n;
}

void mp__monitor_steps(mp__monitor *monitor, enum mp__operation operation, int tier,
                       uint64_t ret_steps[MP__HISTOGRAM_STEPS], uint64_t *ret_sum_ns)
{
    memset(ret_steps, 0, MP__HISTOGRAM_STEPS * sizeof(*ret_steps));
    *ret_sum_ns = 0;
    for (mp__shard *s = atomic_load(&monitor->shards); s; s = s->next)
        for (int t = 0; t < MP__MONITOR_TIERS; t++) {
            if (tier >= 0 && t != tier)
                continue;
            *ret_sum_ns += atomic_load_explicit(&s->sums[operation][t], memory_order_relaxed);
            for (int i = 0; i < MP__HISTOGRAM_STEPS; i++)
                ret_steps[i] +=
                    atomic_load_explicit(&s->steps[operation][t][i], memory_order_relaxed);
        }
}

static uint64_t quantile(const uint64_t *steps, uint64_t count, double q)
{
    uint64_t rank = (uint64_t)(q * (double)count), seen = 0;

    for (unsigned i = 0; i < MP__HISTOGRAM_STEPS; i++) {
        seen += steps[i];
        if (seen > rank)
            return mp__histogram_value(i);
    }
    return 0;
}

void mp__monitor_latency(mp__monitor *monitor, enum mp__operation operation, int tier,
                         mp__latency *ret_latency)
{
    uint64_t steps[MP__HISTOGRAM_STEPS], count = 0, max = 0;
    mp__latency l = {0};

    mp__monitor_steps(monitor, operation, tier, steps, &l.sum_ns);
    for (unsigned i = 0; i < MP__HISTOGRAM_STEPS; i++) {
        count += steps[i];
        max = steps[i] ? mp__histogram_value(i) : max;
    }
    l.count = count;
    l.p50_ns = quantile(steps, count, 0.5);
    l.p90_ns = quantile(steps, count, 0.9);
    l.p99_ns = quantile(steps, count, 0.99);
    l.p999_ns = quantile(steps, count, 0.999);
    l.max_ns = max;
    *ret_latency = l;
}
