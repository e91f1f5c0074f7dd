/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_workload.h"

#include <stdlib.h>

#include "mp_dice.h"

enum { AROUND = 24 }; /* times the entries of the cache a phase is long */

static uint64_t dice(mp_workload *w, uint64_t below)
{
    return mp_dice(&w->random, below);
}

static void ask(mp_workload *w, uint64_t key)
{
    if (w->requests == w->capacity) {
        w->capacity = w->capacity ? 2 * w->capacity : 65536;
        w->hashes = realloc(w->hashes, w->capacity * sizeof(*w->hashes));
        if (!w->hashes)
            abort();
    }
    w->hashes[w->requests++] = mp_mixed(key);
}

static void end_phase(mp_workload *w)
{
    w->ends[w->phases++] = w->requests;
}

/* Keys from @base on, each as likely. */
static void hot(mp_workload *w, uint64_t base, uint64_t keys)
{
    ask(w, base + dice(w, keys));
}

/* A key that was never asked for, and the one that came @distance of them before: again and never
 * more. */
static void pair(mp_workload *w, uint64_t distance)
{
    ask(w, (1ULL << 40) + w->fresh);
    ask(w, (1ULL << 40) + (w->fresh >= distance ? w->fresh - distance : 0));
    w->fresh++;
}

static void pairs(mp_workload *w, uint64_t distance, size_t requests)
{
    for (size_t i = 0; i < requests; i += 2)
        pair(w, distance);
}

static void loop(mp_workload *w, uint64_t base, uint64_t keys, size_t requests)
{
    for (size_t i = 0; i < requests; i++)
        ask(w, base + i % keys);
}

/* ---- the families ---- */

/* Recency, five times a loop that is larger than the cache, recency. */
static void recency_loop_recency(mp_workload *w, size_t n)
{
    pairs(w, n / 4 + 1, AROUND * n);
    end_phase(w);
    loop(w, 0, 2 * n, 5 * AROUND * n / 2);
    end_phase(w);
    pairs(w, n / 4 + 1, AROUND * n);
    end_phase(w);
}

static void hot_and_pairs(mp_workload *w, size_t n, size_t percent)
{
    for (size_t i = 0; i < 3 * AROUND * n / 4; i++) {
        hot(w, 0, n - n * percent / 100);
        hot(w, 0, n - n * percent / 100);
        pair(w, n * percent / 200 + 1);
    }
    end_phase(w);
}

static void hot_and_near_pairs(mp_workload *w, size_t n)
{
    hot_and_pairs(w, n, 2);
}

static void hot_and_far_pairs(mp_workload *w, size_t n)
{
    hot_and_pairs(w, n, 25);
}

static void loops_and_pairs(mp_workload *w, size_t n)
{
    for (int turn = 0; turn < 4; turn++) {
        loop(w, 0, n * 9 / 10, AROUND * n);
        end_phase(w);
        pairs(w, n / 4 + 1, AROUND * n);
        end_phase(w);
    }
}

/* One set of twice the cache's keys, skewed, and another, by turns. */
static void whole_sets(mp_workload *w, size_t n)
{
    for (uint64_t turn = 0; turn < 8; turn++) {
        for (size_t i = 0; i < AROUND * n; i++) {
            uint64_t key = dice(w, 2 * n);

            ask(w, (turn % 2 << 32) + key * dice(w, 2 * n) / (2 * n));
        }
        end_phase(w);
    }
}

/* Scans of twice the cache, and a small set that is asked for now and then meanwhile. */
static void scans_and_a_rider(mp_workload *w, size_t n)
{
    uint64_t rider = n / 50 + 2;

    for (int turn = 0; turn < 4; turn++) {
        for (size_t i = 0; i < AROUND * n / 2; i++)
            hot(w, 1000000, n / 2);
        end_phase(w);
        for (size_t i = 0; i < AROUND * n / 2; i++)
            if (i % 20 == 0)
                hot(w, 0, rider);
            else
                ask(w, (1ULL << 40) + w->fresh++);
        end_phase(w);
    }
}

static const struct {
    const char *name;
    void (*make)(mp_workload *w, size_t n);
} families[] = {
    {"recency, loop, recency", recency_loop_recency},
    {"hot set, pairs at 2 %", hot_and_near_pairs},
    {"hot set, pairs at 25 %", hot_and_far_pairs},
    {"loop by turns with pairs", loops_and_pairs},
    {"whole sets by turns", whole_sets},
    {"scans over a small rider", scans_and_a_rider},
};

const char *mp_workload_family(size_t i)
{
    return i < sizeof(families) / sizeof(*families) ? families[i].name : NULL;
}

void mp_workload_make(mp_workload *w, size_t i, size_t entries, uint64_t seed)
{
    *w = (mp_workload){.random = seed * 0x9e3779b97f4a7c15ULL + 1};
    w->fresh = seed << 32; /* other keys, so another sample */
    families[i].make(w, entries);
    for (size_t r = 0; r < w->requests; r++)
        w->hashes[r] ^= mp_mixed(seed);
}

void mp_workload_done(mp_workload *w)
{
    free(w->hashes);
    *w = (mp_workload){0};
}
