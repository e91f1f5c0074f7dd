/* SPDX-License-Identifier: Apache-2.0 */
/* The adaptive policy on workloads made to mislead it, beside an oracle that in each phase is the
 * best of the fixed policies:
 *
 *     adversary [ENTRIES [SEEDS]]
 *
 * In points of the hit ratio: of all requests, and of the last third of each phase; the mean and
 * the worst of the seeds. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cache/replay.h"
#include "mp_workload.h"

enum { PARTS = 2 * MP_WORKLOAD_PHASES };

static const char *const fixed[] = {"lru",  "s3-fifo",     "2q",           "arc",
                                    "lirs", "w-tinylfu:1", "w-tinylfu:10", "w-tinylfu:40"};
enum { FIXED = sizeof(fixed) / sizeof(*fixed) };

typedef struct score {
    double whole, last;            /* points above the oracle of the phases */
    double ratio, oracle, at_best; /* hit ratios, and of the best that is one policy throughout */
} score;

/* The hits of the first two thirds and of the last one of each phase. */
static void run(const mp_workload *w, const mp__trace *trace, const char *policy, size_t entries,
                double hits[PARTS])
{
    mp__replay *replay = NULL;
    size_t from = 0;

    if (mp__replay_new(trace, policy, entries, &replay) != 0)
        abort();
    for (size_t p = 0; p < w->phases; p++) {
        size_t middle = from + (w->ends[p] - from) * 2 / 3;

        mp__replay_run(replay, from, middle);
        hits[2 * p] = (double)replay->hits;
        mp__replay_run(replay, middle, w->ends[p]);
        hits[2 * p + 1] = (double)replay->hits - hits[2 * p];
        replay->hits = 0;
        from = w->ends[p];
    }
    replay = mp__replay_free(replay);
}

static score judge(const mp_workload *w, const mp__trace *trace, size_t entries)
{
    double own[PARTS], others[FIXED][PARTS], all = (double)w->requests, oracle = 0, last_oracle = 0;
    double hits = 0, last = 0, best_single = 0;

    run(w, trace, "adaptive", entries, own);
    for (size_t f = 0; f < FIXED; f++)
        run(w, trace, fixed[f], entries, others[f]);
    for (size_t p = 0; p < w->phases; p++) {
        double best = 0, best_last = 0;

        for (size_t f = 0; f < FIXED; f++) {
            best = fmax(best, others[f][2 * p] + others[f][2 * p + 1]);
            best_last = fmax(best_last, others[f][2 * p + 1]);
        }
        oracle += best;
        last_oracle += best_last;
        hits += own[2 * p] + own[2 * p + 1];
        last += own[2 * p + 1];
    }
    for (size_t f = 0; f < FIXED; f++) {
        double sum = 0;

        for (size_t p = 0; p < 2 * w->phases; p++)
            sum += others[f][p];
        best_single = fmax(best_single, sum);
    }
    return (score){.whole = 100 * (hits - oracle) / all,
                   .last = 300 * (last - last_oracle) / all,
                   .ratio = hits / all,
                   .oracle = oracle / all,
                   .at_best = best_single / all};
}

static score measure(size_t family, size_t entries, uint64_t seed)
{
    mp__trace trace = {0};
    mp_workload w;
    score s;

    mp_workload_make(&w, family, entries, seed);
    for (size_t i = 0; i < w.requests; i++)
        if (mp__trace_add_hash(&trace, w.hashes[i]) != 0)
            abort();
    s = judge(&w, &trace, entries);
    mp__trace_done(&trace);
    mp_workload_done(&w);
    return s;
}

static void tell(size_t family, size_t entries, unsigned seeds)
{
    score sum = {0}, worst = {0};

    for (unsigned seed = 1; seed <= seeds; seed++) {
        score s = measure(family, entries, seed);

        sum.whole += s.whole / seeds;
        sum.last += s.last / seeds;
        sum.ratio += s.ratio / seeds;
        sum.oracle += s.oracle / seeds;
        sum.at_best += s.at_best / seeds;
        worst.whole = fmin(worst.whole, s.whole);
        worst.last = fmin(worst.last, s.last);
    }
    printf("| %s | %zu | %.4f | %.4f | %.4f | %+.2f | %+.2f | %+.2f | %+.2f |\n",
           mp_workload_family(family), entries, sum.ratio, sum.at_best, sum.oracle, sum.whole,
           worst.whole, sum.last, worst.last);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static const size_t standard[] = {512, 2048, 8192};
    const size_t given = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    const size_t count = given ? 1 : sizeof(standard) / sizeof(*standard);
    const unsigned seeds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 3;

    puts("| family | entries | adaptive | best fixed | oracle | whole | worst | last third | worst "
         "|");
    puts("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (size_t family = 0; mp_workload_family(family); family++)
        for (size_t s = 0; s < count; s++)
            tell(family, given ? given : standard[s], seeds);
    return 0;
}
