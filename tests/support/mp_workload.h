/* SPDX-License-Identifier: Apache-2.0 */
/* Workloads made to mislead a cache that adapts, in phases, from a seed.
 *
 * Families after those by which Caffeine judges its own adaptive window (a hot set beside pairs, a
 * loop a little smaller than the cache by turns with pairs, sets that change as a whole, bursts of
 * scans over a small set that must stay), and recency, a loop too large, and recency again. */
#ifndef MP_WORKLOAD_H
#define MP_WORKLOAD_H

#include <stddef.h>
#include <stdint.h>

enum { MP_WORKLOAD_PHASES = 12 };

typedef struct mp_workload {
    uint64_t *hashes; /* of the keys, one a request */
    size_t requests, capacity;
    size_t ends[MP_WORKLOAD_PHASES], phases; /* each phase's end, in requests */
    uint64_t random, fresh;                  /* the generator's state */
} mp_workload;

/* The i-th family's name; NULL: there is no i-th. */
const char *mp_workload_family(size_t i);
/* One of family @i for a cache of @entries. Aborts without memory. */
void mp_workload_make(mp_workload *workload, size_t i, size_t entries, uint64_t seed);
void mp_workload_done(mp_workload *workload);

#endif
