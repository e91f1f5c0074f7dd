/* SPDX-License-Identifier: Apache-2.0 */
/* What the panel of the adaptive policy and the curve cost a running cache, in CPU time of reads,
 * what is missing put:
 *
 *     panel_cost [SECONDS [ENTRIES PERCENT]]
 *
 * SECONDS is what each cache is given in all, PERCENT the part of the requests that is for a hot
 * set of four fifths of the entries. All have turns of ten milliseconds, one after the other, so
 * that whatever else the machine does meets all of them. The reference is the adaptive policy whose
 * panel and curve stand still once it is warm, so that it goes on with the leader of then: the same
 * structure, and nothing learned. There are two of these, and what each takes of both says what
 * differs by chance and by where memory lies. Each ratio is told with its standard error, by
 * leaving out one round after the other.
 *
 * Learning comes in bursts, seconds apart: SECONDS must be some more. What one cache takes that
 * learns by turns from all requests and from none says what the limit on its time saves. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cache/cache.h"
#include "core/env_ops.h"

#define SHARE 0.01 /* as cache.panel_share */

enum { KEYS = 200000, BATCH = 1000, ROUNDS_MAX = 10000 };
enum { LRU, FIXED, AGAIN, ADAPTIVE, CURVE, SHARED, NONE = SHARED, ALL, KINDS };

static const double TURN_NS = 10e6, WARM_NS = 1e9;
static const double LEAD_IN_NS = 1e6; /* of a turn, in which the processor's caches fill */

static const struct {
    const char *name, *policy;
    size_t bytes; /* of L1: a curve is kept from 42 MiB on */
    double share; /* of the time to learn in, from when it is warm */
} kinds[KINDS] = {{"lru", "lru", (size_t)32 << 20, SHARE},
                  {"adaptive, leader fixed", "adaptive", (size_t)96 << 20, 0},
                  {"the same again", "adaptive", (size_t)96 << 20, 0},
                  {"adaptive", "adaptive", (size_t)32 << 20, SHARE},
                  {"adaptive, curve", "adaptive", (size_t)96 << 20, SHARE},
                  {"one of these: nothing", "adaptive", (size_t)96 << 20, 0},
                  {"by turns with all", "adaptive", (size_t)96 << 20, 1}};

static char keys[KEYS][16];

/* The clocks of a cache go only while it is asked: else it would learn in the others' turns for
 * nothing. */
typedef struct world {
    mp_env env;
    mp_cache *cache;
    uint64_t before_ns, began_ns; /* 0: it stands */
    double had_ns, from_ns;       /* of the CPU, likewise */
    uint64_t random;
} world;

/* What was measured of a kind. */
typedef struct record {
    double ns[ROUNDS_MAX], requests[ROUNDS_MAX];
    double hits;
} record;

static mp__env_ops world_ops;
static world worlds[SHARED + 1];
static record records[KINDS];

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

static uint64_t world_cpu_ns(mp_env *env)
{
    const world *w = (const world *)env;

    return (uint64_t)(w->had_ns + (w->began_ns ? cpu_ns() - w->from_ns : 0));
}

/* @percent of the requests are for a hot set, the others for anything. */
static mp_str choose(world *w, size_t hot, unsigned percent)
{
    uint64_t dice;

    w->random = w->random * 6364136223846793005ULL + 1442695040888963407ULL;
    dice = w->random >> 33;
    return mp_str_of(keys[(dice >> 7) % (dice % 100 < percent ? hot : KEYS)]);
}

/* A batch: how many were hits. */
static size_t ask(world *w, size_t hot, unsigned percent)
{
    size_t hits = 0;

    for (size_t i = 0; i < BATCH; i++) {
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

/* Ask for @ns; noted as round @round is what comes after @lead_in_ns. */
static void run(world *w, size_t hot, unsigned percent, double lead_in_ns, double ns, record *r,
                size_t round)
{
    double began = cpu_ns(), now = began, from = began;

    r->requests[round] = 0;
    w->from_ns = began;
    w->began_ns = mp__env_now_ns(mp__env_real());
    while (now < began + lead_in_ns + ns) {
        size_t hits = ask(w, hot, percent);

        now = cpu_ns();
        if (now < began + lead_in_ns) {
            from = now;
            continue;
        }
        r->hits += (double)hits;
        r->requests[round] += BATCH;
    }
    w->before_ns += mp__env_now_ns(mp__env_real()) - w->began_ns;
    w->began_ns = 0;
    w->had_ns += now - began;
    r->ns[round] = now - from;
}

/* Until it is warm, and what it may learn for nothing at the start is learned. */
static void world_open(world *w, size_t kind, size_t entries, unsigned percent)
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
    run(w, entries * 4 / 5, percent, WARM_NS, 0, &records[kind], 0);
    mp__cache_set_panel_share(w->cache, kinds[kind].share);
    run(w, entries * 4 / 5, percent, WARM_NS, 0, &records[kind], 0);
    records[kind] = (record){0};
}

/* A turn of each. */
static void round_run(size_t hot, unsigned percent, size_t round)
{
    for (size_t k = 0; k < KINDS; k++) {
        world *w = &worlds[k < SHARED ? k : SHARED];

        if (k >= SHARED)
            mp__cache_set_panel_share(w->cache, kinds[k].share);
        run(w, hot, percent, LEAD_IN_NS, TURN_NS, &records[k], round);
    }
}

/* ---- what it says ---- */

static double sum(const double *of, size_t n)
{
    double all = 0;

    for (size_t i = 0; i < n; i++)
        all += of[i];
    return all;
}

/* What a request takes of what one of the other takes; *ret_error is the standard error, by the
 * jackknife. */
static double ratio(const record *a, const record *b, size_t rounds, double *ret_error)
{
    double an = sum(a->ns, rounds), ar = sum(a->requests, rounds), bn = sum(b->ns, rounds);
    double br = sum(b->requests, rounds), all = an / ar / (bn / br), square = 0;

    for (size_t i = 0; i < rounds; i++) {
        double without =
            (an - a->ns[i]) / (ar - a->requests[i]) / ((bn - b->ns[i]) / (br - b->requests[i]));

        square += (without - all) * (without - all);
    }
    *ret_error = sqrt(square * (double)(rounds - 1) / (double)rounds);
    return all;
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* The median of the rounds' ratios. */
static double middle(const record *a, const record *b, size_t rounds)
{
    static double each[ROUNDS_MAX];

    for (size_t i = 0; i < rounds; i++)
        each[i] = a->ns[i] / a->requests[i] / (b->ns[i] / b->requests[i]);
    qsort(each, rounds, sizeof(*each), by_size);
    return each[rounds / 2];
}

/* Both that learn nothing, taken together. */
static const record *reference(size_t rounds)
{
    static record both;

    for (size_t i = 0; i < rounds; i++) {
        both.ns[i] = records[FIXED].ns[i] + records[AGAIN].ns[i];
        both.requests[i] = records[FIXED].requests[i] + records[AGAIN].requests[i];
    }
    return &both;
}

static void tell(size_t entries, unsigned percent, size_t rounds)
{
    const record *both = reference(rounds);

    for (size_t k = 0; k < KINDS; k++) {
        const record *r = &records[k], *other = k == ALL ? &records[NONE] : both;
        double requests = sum(r->requests, rounds), error, of = ratio(r, other, rounds, &error);

        printf("| %zu | %u | %s | %.4f | %.1f | %.3f | %.3f | %.3f |\n", entries, percent,
               kinds[k].name, r->hits / requests, sum(r->ns, rounds) / requests, of, error,
               middle(r, other, rounds));
    }
    (void)fflush(stdout);
}

static void measure(size_t entries, unsigned percent, double seconds)
{
    size_t rounds = (size_t)fmin(fmax(seconds * 1e9 / TURN_NS, 2), ROUNDS_MAX);

    for (size_t k = 0; k <= SHARED; k++)
        world_open(&worlds[k], k, entries, percent);
    for (size_t round = 0; round < rounds; round++)
        round_run(entries * 4 / 5, percent, round);
    tell(entries, percent, rounds);
    for (size_t k = 0; k <= SHARED; k++)
        worlds[k].cache = mp_cache_free(worlds[k].cache);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 10;

    world_ops = *mp__env_real()->ops;
    world_ops.now_ns = world_now_ns;
    world_ops.cpu_ns = world_cpu_ns;
    for (size_t i = 0; i < KEYS; i++)
        (void)snprintf(keys[i], sizeof(keys[i]), "e/n/%zu", i);
    puts(
        "| entries | hot, % | | hit ratio | ns a request | of the leader fixed | error | median of "
        "the rounds |");
    puts("|---:|---:|---|---:|---:|---:|---:|---:|");
    if (argc > 3) {
        measure(strtoul(argv[2], NULL, 10), (unsigned)strtoul(argv[3], NULL, 10), seconds);
        return 0;
    }
    for (size_t entries = 1000; entries <= 25000; entries *= 5)
        for (size_t i = 0; i < 3; i++)
            measure(entries, (const unsigned[]){99, 90, 60}[i], seconds);
    return 0;
}
