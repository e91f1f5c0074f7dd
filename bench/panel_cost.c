/* SPDX-License-Identifier: Apache-2.0 */
/* What the panel of the adaptive policy and the curve cost a running cache: CPU time of reads, what
 * is missing put, under lru and adaptive, with and without a curve, by turns:
 *
 *     panel_cost [REQUESTS]
 *
 * The reference is lru without a curve, of the same requests, in the same run. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cache/cache.h"

enum { KEYS = 200000, TURNS = 5, KINDS = 4 };

static const struct {
    const char *policy;
    size_t bytes; /* of L1: a curve is kept from 42 MiB on */
} kinds[KINDS] = {{"lru", (size_t)32 << 20},
                  {"lru", (size_t)96 << 20},
                  {"adaptive", (size_t)32 << 20},
                  {"adaptive", (size_t)96 << 20}};

static char keys[KEYS][16];
static uint64_t random_state = 1;

static double now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* @percent of the requests are for a hot set, the others for anything. */
static mp_str choose(size_t hot, unsigned percent)
{
    uint64_t dice;

    random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
    dice = random_state >> 33;
    return mp_str_of(keys[(dice >> 7) % (dice % 100 < percent ? hot : KEYS)]);
}

static size_t ask(mp_cache *cache, size_t hot, unsigned percent, size_t requests)
{
    size_t hits = 0;

    for (size_t i = 0; i < requests; i++) {
        mp_str key = choose(hot, percent);
        const mp_blob *value;
        int rc;

        if (mp_read_begin() != 0)
            abort();
        rc = mp_cache_get(cache, key, &value);
        mp_read_end();
        hits += rc == 0;
        if (rc && mp_cache_put(cache, key, key, 0) != 0)
            abort();
    }
    return hits;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void measure(size_t entries, unsigned percent, size_t requests)
{
    mp_cache *caches[KINDS];
    double ns[KINDS][TURNS], hits[KINDS] = {0};
    mp__diag diag;

    for (size_t k = 0; k < KINDS; k++) {
        const mp__cache_options options = {.env = mp__env_real(),
                                           .l1_entries = entries,
                                           .l1_bytes = kinds[k].bytes,
                                           .policy = kinds[k].policy};

        if (mp__cache_open(&options, &caches[k], &diag) != 0)
            abort();
        (void)ask(caches[k], entries * 4 / 5, percent, requests);
    }
    for (size_t turn = 0; turn < TURNS; turn++)
        for (size_t k = 0; k < KINDS; k++) {
            double began;

            random_state = turn + 2;
            began = now_ns();
            hits[k] += (double)ask(caches[k], entries * 4 / 5, percent, requests) /
                       (double)requests / TURNS;
            ns[k][turn] = (now_ns() - began) / (double)requests;
        }
    for (size_t k = 0; k < KINDS; k++) {
        qsort(ns[k], TURNS, sizeof(double), by_size);
        printf("| %zu | %u | %s%s | %.4f | %.0f | %.2f |\n", entries, percent, kinds[k].policy,
               k % 2 ? ", curve" : "", hits[k], ns[k][TURNS / 2],
               ns[k][TURNS / 2] / ns[0][TURNS / 2]);
        caches[k] = mp_cache_free(caches[k]);
    }
}

int main(int argc, char **argv)
{
    size_t requests = argc > 1 ? strtoul(argv[1], NULL, 10) : 400000;

    for (size_t i = 0; i < KEYS; i++)
        (void)snprintf(keys[i], sizeof(keys[i]), "e/n/%zu", i);
    puts("| entries | hot, % | | hit ratio | ns a request | of lru alone |");
    puts("|---:|---:|---|---:|---:|---:|");
    for (size_t entries = 1000; entries <= 25000; entries *= 5)
        for (size_t i = 0; i < 3; i++)
            measure(entries, (const unsigned[]){99, 90, 60}[i], requests);
    return 0;
}
