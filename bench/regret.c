/* SPDX-License-Identifier: Apache-2.0 */
/* How far the adaptive policy is from the best fixed one, on traces with known hit ratios:
 *
 *     regret [-r] [-s SEEDS] HIT-RATIOS.tsv TRACE...
 *
 * The table has the columns trace, cache_entries, pct_of_uniques, algorithm and hit_ratio; a trace
 * is text, a key a line, in a file of the name that it has there. At each size of 100 entries and
 * more the trace is replayed once a seed, which changes what keys the panel samples. Told are the
 * mean hit ratio of all traces and of every second one by the order given, and the regret: points
 * below the best of the table, which is judged where a trace has at least 20 times as many requests
 * as the cache has entries. -r tells of every size, too. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/replay.h"
#include "core/alloc.h"
#include "traces.h"

enum { POINTS_MAX = 256, ENTRIES_LEAST = 100, WORST = 6, JUDGED = 20 };

typedef struct point {
    char trace[64];
    size_t entries;
    double best;  /* of the fixed ones */
    double ratio; /* of ours: the mean of the seeds */
    double low, high;
    bool is_judged;
} point;

static point points[POINTS_MAX];
static size_t point_count;

static double regret_of(const point *p)
{
    return 100 * (p->best - p->ratio);
}

static int known(const char *trace, size_t entries, double ratio)
{
    if (strlen(trace) >= sizeof(points->trace)) {
        (void)fprintf(stderr, "the name of a trace has more than %zu bytes: %s\n",
                      sizeof(points->trace) - 1, trace);
        return -1;
    }
    for (size_t i = 0; i < point_count; i++)
        if (points[i].entries == entries && strcmp(points[i].trace, trace) == 0) {
            points[i].best = fmax(points[i].best, ratio);
            return 0;
        }
    if (point_count == POINTS_MAX)
        abort();
    (void)snprintf(points[point_count].trace, sizeof(points->trace), "%s", trace);
    points[point_count].entries = entries;
    points[point_count++].best = ratio;
    return 0;
}

/* Belady and what was chosen afterwards are no policies. */
static bool is_policy(const char *algorithm)
{
    return strcmp(algorithm, "Belady") != 0 && !strstr(algorithm, "best-static");
}

/* The next of the columns, ended where it ends. */
static char *column(char **at)
{
    char *is = *at;
    size_t size = strcspn(is, "\t\r\n");

    *at += size + (is[size] == '\t');
    is[size] = 0;
    return is;
}

static int load_table(const char *path)
{
    FILE *file = fopen(path, "rbe");
    char line[512];
    int rc = 0;

    if (!file) {
        (void)fprintf(stderr, "cannot read %s: %s\n", path, strerror(errno));
        return -1;
    }
    while (rc == 0 && fgets(line, sizeof(line), file)) {
        char *at = line, *columns[5];
        size_t entries;

        for (size_t i = 0; i < 5; i++)
            columns[i] = column(&at);
        entries = strtoul(columns[1], NULL, 10); /* 0: the names of the columns */
        if (entries >= ENTRIES_LEAST && is_policy(columns[3]))
            rc = known(columns[0], entries, strtod(columns[4], NULL));
    }
    (void)fclose(file);
    return rc;
}

static double replay(const mp__trace *trace, size_t entries)
{
    mp__replay *replay = NULL;
    double ratio;

    if (mp__replay_new(trace, "adaptive", entries, &replay) != 0)
        abort();
    mp__replay_run(replay, 0, trace->requests);
    ratio = (double)replay->hits / (double)replay->requests;
    replay = mp__replay_free(replay);
    return ratio;
}

static void measure(point *p, const mp__trace *trace, mp__trace *seeded, unsigned seeds)
{
    p->is_judged = trace->requests >= JUDGED * p->entries;
    p->low = 1;
    for (unsigned seed = 0; seed < seeds; seed++) {
        double ratio;

        for (size_t i = 0; i < trace->keys; i++)
            seeded->hashes[i] = mixed_hash(trace->hashes[i], seed);
        ratio = replay(seeded, p->entries);
        p->ratio += ratio / seeds;
        p->low = fmin(p->low, ratio);
        p->high = fmax(p->high, ratio);
    }
}

/* The mean of the sizes of @trace; below 0: the table has none. */
static double measure_trace(const char *name, const mp__trace *trace, unsigned seeds, bool rows)
{
    mp__trace seeded = *trace;
    double sum = 0, count = 0;

    seeded.hashes = mp__calloc(trace->keys, sizeof(*seeded.hashes));
    if (!seeded.hashes)
        abort();
    for (size_t i = 0; i < point_count; i++)
        if (strcmp(points[i].trace, name) == 0) {
            measure(&points[i], trace, &seeded, seeds);
            sum += points[i].ratio;
            count++;
            if (rows)
                printf("%s\t%zu\t%.4f\t%.4f\t%+.2f\t%+.2f\t%+.2f%s\n", name, points[i].entries,
                       points[i].ratio, points[i].best, -regret_of(&points[i]),
                       100 * (points[i].low - points[i].best),
                       100 * (points[i].high - points[i].best),
                       points[i].is_judged ? "" : "\tshort");
        }
    (void)fflush(stdout);
    (void)mp__free(seeded.hashes);
    if (count > 0)
        return sum / count;
    (void)fprintf(stderr, "not in the table: %s\n", name);
    return -1;
}

static int by_regret(const void *a, const void *b)
{
    double x = regret_of(a), y = regret_of(b);

    return (x < y) - (x > y);
}

static void tell(const double *means, size_t traces)
{
    double sums[2] = {0}, counts[2] = {0}, regret = 0, judged = 0;
    size_t told = 0;

    for (size_t t = 0; t < traces; t++)
        if (means[t] >= 0) {
            sums[t % 2] += means[t];
            counts[t % 2]++;
        }
    qsort(points, point_count, sizeof(*points), by_regret);
    printf("mean %.4f, half A %.4f, half B %.4f; worst:",
           (sums[0] + sums[1]) / (counts[0] + counts[1]), sums[0] / fmax(counts[0], 1),
           sums[1] / fmax(counts[1], 1));
    for (size_t i = 0; i < point_count; i++)
        if (points[i].is_judged) {
            regret += fmax(regret_of(&points[i]), 0);
            judged++;
            if (told++ < WORST)
                printf(" %s %zu %+.2f", points[i].trace, points[i].entries, -regret_of(&points[i]));
        }
    printf("; mean regret %.3f of %.0f\n", regret / fmax(judged, 1), judged);
}

int main(int argc, char **argv)
{
    double means[POINTS_MAX];
    unsigned seeds = 3;
    bool rows = false;
    size_t traces = 0, measured = 0;
    int option;

    while ((option = getopt(argc, argv, "rs:")) != -1)
        if (option == 'r')
            rows = true;
        else if (option == 's')
            seeds = (unsigned)strtoul(optarg, NULL, 10);
        else
            return 2;
    if (optind >= argc || seeds == 0 || argc - optind > POINTS_MAX || load_table(argv[optind]) != 0)
        return 2;
    for (int i = optind + 1; i < argc; i++) {
        const char *slash = strrchr(argv[i], '/');
        mp__trace trace = {0};

        if (load_trace(argv[i], &trace) != 0)
            return 1;
        means[traces] = measure_trace(slash ? slash + 1 : argv[i], &trace, seeds, rows);
        measured += means[traces++] >= 0;
        mp__trace_done(&trace);
    }
    if (measured == 0)
        return 1;
    tell(means, traces);
    return 0;
}
