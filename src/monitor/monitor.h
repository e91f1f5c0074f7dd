/* SPDX-License-Identifier: Apache-2.0 */
/* Counters and latency histograms in per-thread shards, and their exposition.
 *
 * A recording is two plain adds into memory of the thread's own; the reader sums the shards, so a
 * snapshot is not one instant. Histograms are log-linear (as HdrHistogram, Gil Tene): 16 steps a
 * power of two, so a quantile is at most 3.2 % off, from 1 ns to 68 s; what is slower counts in the
 * last step. */
#ifndef MP_MONITOR_MONITOR_H
#define MP_MONITOR_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/error.h"
#include "core/knob.h"

/* What is done and where it was answered. */
enum mp__operation {
    MP__OP_GET,
    MP__OP_SET,
    MP__OP_DEL,
    MP__OP_LIST,
    MP__OP_HISTORY,
    MP__OP_FETCH,
    MP__OP_COMMIT,
    MP__OP_OTHER,
    MP__OP_COUNT
};
/* As enum mp__tier of the cache: none, L1, L2, L3, L4, origin. */
enum { MP__MONITOR_TIERS = 6 };

/* Things that are only counted. */
enum mp__event_counter {
    MP__EVENT_STALE_SERVED,
    MP__EVENT_UNKNOWN,
    MP__EVENT_ABSENT,
    MP__EVENT_FLIGHTS,
    MP__EVENT_FLIGHT_WAITERS,
    MP__EVENT_REFRESHES_AHEAD,
    MP__EVENT_ERRORS,
    MP__EVENT_WRITES_REFUSED,
    MP__EVENT_CONNECTIONS,
    MP__EVENT_CONNECTIONS_REFUSED,
    MP__EVENT_CONNECTIONS_CUT,
    MP__EVENT_PROTOCOL_ERRORS,
    MP__EVENT_BYTES_IN,
    MP__EVENT_BYTES_OUT,
    MP__EVENT_HTTP_REQUESTS,
    MP__EVENT_COUNT
};

typedef struct mp__monitor mp__monitor;

MP_MUST_USE int mp__monitor_new(mp__monitor **ret_monitor);
mp__monitor *mp__monitor_free(mp__monitor *monitor);

/* Record @count operations of @ns each. @monitor may be NULL. Any thread; never blocks; a thread's
 * first recording takes a shard. */
void mp__monitor_record(mp__monitor *monitor, enum mp__operation operation, unsigned tier,
                        uint64_t ns, uint64_t count);
/* Count operations without a latency of their own (hits of a batch). */
void mp__monitor_hits(mp__monitor *monitor, enum mp__operation operation, unsigned tier,
                      uint64_t count);
void mp__monitor_count(mp__monitor *monitor, enum mp__event_counter event, uint64_t count);

typedef struct mp__latency {
    uint64_t count, sum_ns, p50_ns, p90_ns, p99_ns, p999_ns, max_ns;
} mp__latency;
/* Over all tiers with @tier < 0. */
void mp__monitor_latency(mp__monitor *monitor, enum mp__operation operation, int tier,
                         mp__latency *ret_latency);
uint64_t mp__monitor_operations(mp__monitor *monitor, enum mp__operation operation, int tier);
uint64_t mp__monitor_events(mp__monitor *monitor, enum mp__event_counter event);

/* ---- metrics that others hold: read when somebody scrapes ---- */

/* Add a module's gauges and counters: @read is called for each scrape with every index of the
 * table, from 0 on, one scrape at a time. The table and context must live as long as the monitor or
 * until removed. MP_ELIMIT above 16 tables. */
MP_MUST_USE int mp__monitor_add(mp__monitor *monitor, const mp__metric *metrics, size_t count,
                                double (*read)(void *context, size_t index), void *context);
void mp__monitor_remove(mp__monitor *monitor, void *context);

/* All of it in the Prometheus text format 0.0.4, the process's own figures included. */
int mp__monitor_expose(mp__monitor *monitor, mp__buf *out);

extern const char *const mp__operation_names[MP__OP_COUNT];
/* The metrics this module has itself, for docs and `marketprism metrics`. */
extern const mp__metric mp__monitor_metrics[];
extern const size_t mp__monitor_metric_count;

#endif
