/* SPDX-License-Identifier: Apache-2.0 */
/* How far forecasts of the curve are off, and how often their intervals hold:
 *
 *     forecast [-r] [-s SEEDS] [-p POLICY[,POLICY...]] TRACE...
 *
 * A trace is text, a key a line (zstd -dc for what is packed). Caches of a quarter to four times of
 * a few sizes replay it, each request told to a curve, as in a running cache. Four times on the way
 * what the curve says is compared with what the caches of the other sizes hit, of the same requests
 * and with the same weights. -r prints every forecast. Each seed is another process: it changes the
 * hashes of the keys, so which of them are sampled, and which meet in a sketch of frequencies. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/curve.h"
#include "cache/replay.h"
#include "core/alloc.h"
#include "traces.h"

enum { SIZES_MAX = 8, POINTS = MP__CURVE_POINTS, LOOKS = 4, AGE = 32, CELLS = 4096 };

typedef struct cell {
    char policy[32];
    size_t point, count, held, few;
    double error, bias, most, errors[CELLS];
} cell;

typedef struct run {
    const char *trace, *policy;
    const mp__trace *requests;
    size_t capacity, entries[POINTS];
    uint8_t *hits;               /* of each request, a bit a point */
    double truth[LOOKS][POINTS]; /* at each look */
} run;

static cell cells[1024];
static size_t cell_count;
static bool rows;

static cell *cell_of(const char *policy, size_t point)
{
    for (size_t i = 0; i < cell_count; i++)
        if (strcmp(cells[i].policy, policy) == 0 && cells[i].point == point)
            return &cells[i];
    cells[cell_count].point = point;
    (void)snprintf(cells[cell_count].policy, sizeof(cells[0].policy), "%s", policy);
    return &cells[cell_count++];
}

static void note(cell *c, double error, bool holds)
{
    if (c->count < CELLS)
        c->errors[c->count] = fabs(error);
    c->count++;
    c->held += holds;
    c->error += fabs(error);
    c->bias += error;
    c->most = fmax(c->most, fabs(error));
}

static void judge(const run *r, size_t look, size_t point, unsigned seed, const mp__prediction *is)
{
    double truth = r->truth[look][point], error = is->hit_ratio - truth;
    bool holds = truth >= is->low - 1e-9 && truth <= is->high + 1e-9;

    if (rows)
        printf("%s\t%s\t%zu\t%zu\t%zu\t%u\t%zu\t%llu\t%.4f\t%.4f\t%.4f\t%.4f\n", r->trace,
               r->policy, r->capacity, r->entries[point], look, seed, is->entries,
               (unsigned long long)is->requests, is->hit_ratio, truth, is->low, is->high);
    if (is->sample >= 1 || is->entries < 100 || point == POINTS / 2)
        return;
    note(cell_of(r->policy, point), error, holds);
    note(cell_of(r->policy, POINTS), error, holds);
    note(cell_of("all", point), error, holds);
    note(cell_of("all", POINTS), error, holds);
    note(cell_of(r->trace, POINTS), error, holds);
    note(cell_of(is->entries >= 256 ? "at least 256" : "100 to 255", POINTS), error, holds);
}

static size_t look_at(const run *r, size_t look)
{
    return r->requests->requests * (look + 1) / LOOKS;
}

/* What caches of all sizes hit, and the truth at each look, aged as the curve does. */
static void replay(run *r)
{
    mp__replay *caches[POINTS];
    double seen = 0, hits[POINTS] = {0};
    size_t look = 0;

    for (size_t p = 0; p < POINTS; p++)
        if (mp__replay_new(r->requests, r->policy, r->entries[p], &caches[p]) != 0)
            abort();
    for (size_t i = 0; i < r->requests->requests; i++) {
        r->hits[i] = 0;
        for (size_t p = 0; p < POINTS; p++) {
            uint64_t before = caches[p]->hits;

            mp__replay_run(caches[p], i, i + 1);
            if (caches[p]->hits > before) {
                r->hits[i] |= (uint8_t)(1U << p);
                hits[p]++;
            }
        }
        if (++seen >= AGE * (double)r->capacity) {
            seen /= 2;
            for (size_t p = 0; p < POINTS; p++)
                hits[p] /= 2;
        }
        while (look < LOOKS && i + 1 == look_at(r, look)) {
            for (size_t p = 0; p < POINTS; p++)
                r->truth[look][p] = hits[p] / seen;
            look++;
        }
    }
    for (size_t p = 0; p < POINTS; p++)
        caches[p] = mp__replay_free(caches[p]);
}

static void foretell(const run *r, unsigned seed)
{
    mp__curve *curve = NULL;
    size_t look = 0;

    if (mp__curve_new(r->policy, r->capacity, &curve) != 0)
        abort();
    for (size_t i = 0; i < r->requests->requests; i++) {
        uint64_t hash = r->requests->hashes[r->requests->ids[i]];

        mp__curve_see(curve, hash, r->hits[i] >> POINTS / 2 & 1, 1);
        while (look < LOOKS && i + 1 == look_at(r, look)) {
            for (size_t p = 0; p < POINTS; p++) {
                mp__prediction is;
                size_t entries;

                mp__curve_point(curve, p, &entries, &is);
                judge(r, look, p, seed, &is);
            }
            look++;
        }
    }
    curve = mp__curve_free(curve);
}

/* The trace as a process sees it whose hashes are others. */
static mp__trace seen_with(const mp__trace *trace, unsigned seed)
{
    mp__trace seen = *trace;

    seen.hashes = mp__malloc(trace->keys * sizeof(*seen.hashes));
    if (!seen.hashes)
        abort();
    for (size_t k = 0; k < trace->keys; k++)
        seen.hashes[k] = mixed_hash(trace->hashes[k], seed);
    return seen;
}

static void measure(const char *name, const mp__trace *trace, const char *policy, unsigned seed)
{
    size_t sizes[] = {500, 1000, 5000, 20000}; /* of those that the trace can fill */

    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
        run r = {.trace = name, .policy = policy, .requests = trace, .capacity = sizes[s]};

        if (2 * r.capacity > trace->keys)
            continue;
        for (size_t p = 0; p < POINTS; p++)
            r.entries[p] = (size_t)round((double)r.capacity * 0.25 * (double)(1U << p));
        r.hits = mp__calloc(trace->requests, 1);
        if (!r.hits)
            abort();
        replay(&r);
        foretell(&r, seed);
        (void)mp__free(r.hits);
    }
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void tell(void)
{
    static const char *const times[] = {"1/4", "1/2", "1", "2", "4", "all"};

    printf("%-22s %5s %9s %7s %7s %7s %7s %6s\n", "", "times", "forecasts", "error", "bias", "95th",
           "most", "held");
    for (size_t i = 0; i < cell_count; i++) {
        cell *c = &cells[i];
        size_t n = c->count < CELLS ? c->count : CELLS;

        qsort(c->errors, n, sizeof(double), by_size);
        printf("%-22s %5s %9zu %7.2f %7.2f %7.2f %7.2f %5.1f%%\n", c->policy, times[c->point],
               c->count, 100 * c->error / (double)c->count, 100 * c->bias / (double)c->count,
               100 * c->errors[n * 95 / 100], 100 * c->most,
               100 * (double)c->held / (double)c->count);
    }
}

/* Every policy of a list with commas. */
static void measure_all(const char *name, const mp__trace *trace, const char *policies,
                        unsigned seeds)
{
    char policy[32];

    for (size_t size; *policies; policies += size + (policies[size] == ',')) {
        size = strcspn(policies, ",");
        (void)snprintf(policy, sizeof(policy), "%.*s", (int)size, policies);
        for (unsigned seed = 1; seed <= seeds; seed++) {
            mp__trace seen = seen_with(trace, seed);

            measure(name, &seen, policy, seed);
            (void)mp__free(seen.hashes);
        }
    }
}

int main(int argc, char **argv)
{
    const char *policies = "lru,s3-fifo,w-tinylfu,lirs,arc,2q,adaptive";
    unsigned seeds = 3;
    int option;

    while ((option = getopt(argc, argv, "rs:p:")) != -1)
        if (option == 'r')
            rows = true;
        else if (option == 's')
            seeds = (unsigned)strtoul(optarg, NULL, 10);
        else if (option == 'p')
            policies = optarg;
        else
            return 2;
    for (int i = optind; i < argc; i++) {
        const char *slash = strrchr(argv[i], '/');
        mp__trace trace = {0};

        if (load_trace(argv[i], &trace) != 0)
            return 1;
        measure_all(slash ? slash + 1 : argv[i], &trace, policies, seeds);
        mp__trace_done(&trace);
    }
    tell();
    return 0;
}
