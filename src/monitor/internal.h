/* SPDX-License-Identifier: Apache-2.0 */
/* What the monitor's files share. */
#ifndef MP_MONITOR_INTERNAL_H
#define MP_MONITOR_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "monitor/monitor.h"

enum {
    MP__HISTOGRAM_PER_POWER = 16,
    MP__HISTOGRAM_TOP = 35, /* 2^36 ns are 68 s */
    MP__HISTOGRAM_STEPS = (MP__HISTOGRAM_TOP - 2) * MP__HISTOGRAM_PER_POWER,
    MP__MONITOR_TABLES = 16,
};

typedef struct mp__shard {
    struct mp__shard *next;
    _Atomic int taken;
    _Atomic uint64_t events[MP__EVENT_COUNT];
    _Atomic uint64_t operations[MP__OP_COUNT][MP__MONITOR_TIERS];
    _Atomic uint64_t sums[MP__OP_COUNT][MP__MONITOR_TIERS];
    _Atomic uint64_t steps[MP__OP_COUNT][MP__MONITOR_TIERS][MP__HISTOGRAM_STEPS];
} __attribute__((aligned(128))) mp__shard;

typedef struct mp__metric_source {
    const mp__metric *metrics;
    size_t count;
    double (*read)(void *context, size_t index);
    void *context;
} mp__metric_source;

struct mp__monitor {
    uint64_t id;
    _Atomic(mp__shard *) shards;
    pthread_mutex_t lock; /* over tables */
    mp__metric_source tables[MP__MONITOR_TABLES];
};

unsigned mp__histogram_step(uint64_t ns);
uint64_t mp__histogram_value(unsigned step);
void mp__monitor_steps(mp__monitor *monitor, enum mp__operation operation, int tier,
                       uint64_t ret_steps[MP__HISTOGRAM_STEPS], uint64_t *ret_sum_ns);

#endif
