/* SPDX-License-Identifier: Apache-2.0 */
/* What the panel of the adaptive policy and the curve cost a running cache: CPU time of reads, what
 * is missing put, by turns, of requests of the same kind in the same run:
 *
 *     panel_cost [MS [ENTRIES PERCENT]]
 *
 * MS is the length of a turn, PERCENT the part of the requests that is for a hot set of four fifths
 * of the entries. Two references: lru without a curve, and the adaptive policy whose
 * panel and curve stand still once it is warm, so that it goes on with the leader of then: the same
 * structure, and nothing learned. "All" is what it costs when every request is learned from. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cache/cache.h"
#include "core/env_ops.h"

#define SHARE 0.01 /* as cache.panel_share */

enum { KEYS = 200000, TURNS = 12, KINDS = 6, LRU = 0, FIXED = 2, BATCH = 20000 };

static const struct {
    const char *name, *policy;
    size_t bytes; /* of L1: a curve is kept from 42 MiB on */
    double share; /* of the time to learn in, from when it is warm */
} kinds[KINDS] = {{"lru", "lru", (size_t)32 << 20, SHARE},
                  {"lru, curve", "lru", (size_t)96 << 20, SHARE},
                  {"adaptive, leader fixed", "adaptive", (size_t)32 << 20, 0},
                  {"adaptive", "adaptive", (size_t)32 << 20, SHARE},
                  {"adaptive, curve", "adaptive", (size_t)96 << 20, SHARE},
                  {"adaptive, curve, all", "adaptive", (size_t)96 << 20, 1}};

static char keys[KEYS][16];

/* The clock of a cache goes only while it is asked: else it would learn in the others' turns for
 * nothing. */
typedef struct world {
    mp_env env;
    mp_cache *cache;
    uint64_t before_ns, began_ns; /* 0: it stands */
    uint64_t random;
    double cpu_ns, requests, hits;
} world;

static mp__env_ops world_ops;

static uint64_t world_now_ns(mp_env *env)
{
    const world *w = (const world *)env;

    return w->before_ns + (w->began_ns ? mp__env_now_ns(mp__env_real()) - w->began_ns : 0);
}

static double cpu_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* @percent of the requests are for a hot set, the others for anything. */
static mp_str choose(world *w, size_t hot, unsigned percent)
{
    uint64_t dice;

    w->random = w->random * 6364136223846793005ULL + 1442695040888963407ULL;
    dice = w->random >> 33;
    return mp_str_of(keys[(dice >> 7) % (dice % 100 < percent ? hot : KEYS)]);
}

static size_t ask(world *w, size_t hot, unsigned percent, size_t requests)
{
    size_t hits = 0;

    for (size_t i = 0; i < requests; i++) {
        mp_str key = choose(w, hot, percent);
        const mp_blob *value;
        int rc;

        if (mp_read_begin() != 0)
            abort();
        rc = mp_cache_get(w->cache, key, &value);
        mp_read_end();
        hits += rc == 0;
        if (rc && mp_cache_put(w->cache, key, key, 0) != 0)
            abort();
    }
    return hits;
}

static void run(world *w, size_t hot, unsigned percent, double ms)
{
    double began = cpu_ns(), end = began + ms * 1e6, now = began;

    w->began_ns = mp__env_now_ns(mp__env_real());
    while (now < end) {
        w->hits += (double)ask(w, hot, percent, BATCH);
        w->requests += BATCH;
        now = cpu_ns();
    }
    w->cpu_ns += now - began;
    w->before_ns += mp__env_now_ns(mp__env_real()) - w->began_ns;
    w->began_ns = 0;
}

/* Until it is warm, and what it may learn for nothing at the start is learned. */
static void world_open(world *w, size_t kind, size_t entries, unsigned percent, double ms)
{
    const mp__cache_options options = {.env = &w->env,
                                       .l1_entries = entries,
                                       .l1_bytes = kinds[kind].bytes,
                                       .policy = kinds[kind].policy};
    mp__diag diag;

    *w = (world){.env = {.ops = &world_ops}, .random = 1};
    if (mp__cache_open(&options, &w->cache, &diag) != 0)
        abort();
    mp__cache_set_panel_share(w->cache, 1); /* so that all of them follow the same */
    run(w, entries * 4 / 5, percent, 6 * ms);
    mp__cache_set_panel_share(w->cache, kinds[kind].share);
    run(w, entries * 4 / 5, percent, 4 * ms);
    w->cpu_ns = w->requests = w->hits = 0;
}

static double each_ns(const world *w)
{
    return w->cpu_ns / w->requests;
}

static void measure(size_t entries, unsigned percent, double ms)
{
    world worlds[KINDS];

    for (size_t k = 0; k < KINDS; k++)
        world_open(&worlds[k], k, entries, percent, ms);
    for (size_t turn = 0; turn < TURNS; turn++)
        for (size_t k = 0; k < KINDS; k++)
            run(&worlds[k], entries * 4 / 5, percent, ms);
    for (size_t k = 0; k < KINDS; k++) {
        world *w = &worlds[k];
        mp__cache_panel panel;

        mp__cache_panel_read(w->cache, &panel);
        printf("| %zu | %u | %s | %s | %.3f | %.4f | %.0f | %.2f | %.3f |\n", entries, percent,
               kinds[k].name, panel.count ? panel.leader : "", panel.seen, w->hits / w->requests,
               each_ns(w), each_ns(w) / each_ns(&worlds[LRU]),
               each_ns(w) / each_ns(&worlds[FIXED]));
        w->cache = mp_cache_free(w->cache);
    }
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    double ms = argc > 1 ? strtod(argv[1], NULL) : 250;

    world_ops = *mp__env_real()->ops;
    world_ops.now_ns = world_now_ns;
    for (size_t i = 0; i < KEYS; i++)
        (void)snprintf(keys[i], sizeof(keys[i]), "e/n/%zu", i);
    puts("| entries | hot, % | | follows | sees | hit ratio | ns a request | of lru alone | of the "
         "leader fixed |");
    puts("|---:|---:|---|---|---:|---:|---:|---:|---:|");
    if (argc > 3) {
        measure(strtoul(argv[2], NULL, 10), (unsigned)strtoul(argv[3], NULL, 10), ms);
        return 0;
    }
    for (size_t entries = 1000; entries <= 25000; entries *= 5)
        for (size_t i = 0; i < 3; i++)
            measure(entries, (const unsigned[]){99, 90, 60}[i], ms);
    return 0;
}
