/* SPDX-License-Identifier: Apache-2.0 */
/* Running the memory tier and the bare table in turns; what the benches of L1 are made of. */
#ifndef MP_BENCH_L1_RUN_H
#define MP_BENCH_L1_RUN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <marketprism/cache.h>

#include "bench/bare_table.h"
#include "bench/workload.h"

enum {
    MP__L1_RUN_ROUNDS_MAX = 101,
    MP__L1_RUN_THREADS_MAX = 2,
    MP__L1_RUN_REQUESTS = 1 << 20,
};

/* How a value is asked for. */
enum mp__l1_way {
    MP__L1_BARE,    /* of the reference */
    MP__L1_ALIKE,   /* of the same table, its keys hashed as the cache hashes them */
    MP__L1_SINGLE,  /* mp_cache_find(), 64 in a section */
    MP__L1_BATCHED, /* mp_cache_get_many(), 16 at a time */
    MP__L1_COPY,    /* mp_cache_copy(), each its own section */
    MP__L1_WAYS,
};

typedef struct mp__l1_run {
    mp__workload workload;
    mp__bare_table bare, alike;
    mp_cache *cache;
    unsigned rounds, threads;
    bool may_miss; /* somebody evicts meanwhile */
    pthread_barrier_t barrier;
    _Atomic bool wrong; /* a get did not find what it should: the figures mean nothing */
} mp__l1_run;

/* Medians over the rounds. */
typedef struct mp__l1_figures {
    double ns[MP__L1_WAYS];            /* CPU time of a thread, a get */
    double ratio[MP__L1_WAYS];         /* to the bare table in the same round */
    double to_alike[MP__L1_WAYS];      /* to the one that is hashed alike */
    double to_one_thread[MP__L1_WAYS]; /* to one thread alone in the same round */
} mp__l1_figures;

/* A cache and both bare tables with the same @keys keys. 0, MP_ENOMEM. */
int mp__l1_run_init(mp__l1_run *run, size_t keys);
void mp__l1_run_done(mp__l1_run *run);

/* One thread alone, then run->threads at once, in each round; *ret_many is not set when
 * run->threads is 1. 0, MP_ENOMEM, -errno. */
int mp__l1_run_rounds(mp__l1_run *run, mp__l1_figures *ret_one, mp__l1_figures *ret_many);

/* Lone gets, each waiting for the one before; ns. The cache's by mp_cache_find(), and @get_p50 by
 * mp_cache_get(). 0 or MP_ENOMEM. */
typedef struct mp__l1_lone {
    double bare_p50, alike_p50, cache_p50, get_p50, bare_p99, alike_p99, cache_p99;
} mp__l1_lone;
int mp__l1_run_lone(mp__l1_run *run, mp__l1_lone *ret_lone);

double mp__l1_run_median(double *values, size_t count); /* sorts them */

#endif
