/* SPDX-License-Identifier: Apache-2.0 */
/* What it costs to record a latency or to count, beside the least that could do it: one histogram
 * and one counter of the thread's own, found without any look-up. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "bench/benches.h"
#include "core/alloc.h"
#include "monitor/monitor.h"

enum { BATCH = 64, BATCHES = 20000, ROUNDS = 9, ROUNDS_MAX = 101, STEPS = 1024 };

/* The reference: the same histogram (16 steps a power of two), bare. */
typedef struct bare {
    uint64_t steps[STEPS], sum, counter;
} bare;

static double now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static uint64_t next_latency(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return 100 + (*random >> 50); /* 100 ns to 16 us */
}

/* Kept out of line, as the product's is: both answer a call. */
static void __attribute__((noinline)) bare_record(bare *b, uint64_t ns)
{
    unsigned power = 63u - (unsigned)__builtin_clzll(ns | 15);

    b->steps[(power - 3) * 16 + ((ns >> (power - 4 + (power < 4))) & 15)]++;
    b->sum += ns;
}

static void __attribute__((noinline)) bare_count(bare *b, uint64_t n)
{
    b->counter += n;
}

enum what { BARE_RECORD, RECORD, BARE_COUNT, COUNT, WHATS };

static double run_one(enum what what, mp__monitor *monitor, bare *b)
{
    uint64_t random = 1;
    double began = now_ns();

    for (unsigned i = 0; i < BATCHES; i++)
        for (unsigned k = 0; k < BATCH; k++) {
            uint64_t ns = next_latency(&random);

            if (what == BARE_RECORD)
                bare_record(b, ns);
            else if (what == RECORD)
                mp__monitor_record(monitor, MP__OP_GET, 1, ns, 1);
            else if (what == BARE_COUNT)
                bare_count(b, ns);
            else
                mp__monitor_count(monitor, MP__EVENT_BYTES_OUT, ns);
        }
    return (now_ns() - began) / BATCH / BATCHES;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The monitor must have counted all of it, or the figures are of something else. */
static int check(mp__monitor *monitor, unsigned rounds, mp__diag *diag)
{
    uint64_t want = (uint64_t)rounds * BATCH * BATCHES;
    uint64_t got = mp__monitor_operations(monitor, MP__OP_GET, 1);

    return got == want ? 0
                       : mp__diag_set(diag, MP_ECORRUPT, "%llu of %llu records were counted",
                                      (unsigned long long)got, (unsigned long long)want);
}

int mp__bench_record(const mp__bench_options *options, mp__buf *out, mp__diag *diag)
{
    unsigned rounds = options->rounds ? options->rounds : ROUNDS;
    double ns[WHATS][ROUNDS_MAX];
    bare *b = mp__calloc(1, sizeof(*b));
    mp__monitor *monitor = NULL;
    int rc = b ? mp__monitor_new(&monitor) : MP_ENOMEM;

    if (rounds > ROUNDS_MAX)
        rounds = ROUNDS_MAX;
    for (unsigned i = 0; i < rounds && rc == 0; i++)
        for (unsigned w = 0; w < WHATS; w++)
            ns[w][i] = run_one((enum what)w, monitor, b);
    if (rc == 0)
        rc = check(monitor, rounds, diag);
    for (unsigned w = 0; w < WHATS && rc == 0; w++)
        qsort(ns[w], rounds, sizeof(double), by_value);
    if (rc == 0)
        (void)mp__buf_printf(
            out,
            options->json ? "{\"bench\":\"record\",\"rounds\":%u,"
                            "\"reference\":\"a bare histogram, a bare counter, in turns\","
                            "\"record_ns\":%.2f,"
                            "\"bare_record_ns\":%.2f,\"record_ratio\":%.3f,\"count_ns\":%.2f,"
                            "\"bare_count_ns\":%.2f,\"count_ratio\":%.3f}\n"
                          : "median of %u rounds: a latency recorded %.2f ns (bare histogram %.2f "
                            "ns, %.2fx), counted %.2f ns (bare counter %.2f ns, %.2fx)\n",
            rounds, ns[RECORD][rounds / 2], ns[BARE_RECORD][rounds / 2],
            ns[RECORD][rounds / 2] / ns[BARE_RECORD][rounds / 2], ns[COUNT][rounds / 2],
            ns[BARE_COUNT][rounds / 2], ns[COUNT][rounds / 2] / ns[BARE_COUNT][rounds / 2]);
    (void)mp__monitor_free(monitor);
    (void)mp__free(b);
    return rc ? rc : out->error;
}
