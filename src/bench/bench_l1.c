/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/bench_l1.h"

#include <time.h>
#include <unistd.h>

#include "bench/l1_run.h"

enum { ROUNDS = 11, WRITES_A_MS = 20 };

static const size_t sizes[] = {1000, 100000};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

/* What one size showed. */
typedef struct result {
    size_t keys;
    mp__l1_figures one, many;
    mp__l1_lone lone;
} result;

static void options_apply(const mp__bench_options *options, mp__l1_run *run)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned threads = options->threads ? options->threads : MP__L1_RUN_THREADS_MAX;

    run->rounds = options->rounds ? options->rounds : ROUNDS;
    if (run->rounds > MP__L1_RUN_ROUNDS_MAX)
        run->rounds = MP__L1_RUN_ROUNDS_MAX;
    run->threads = threads < MP__L1_RUN_THREADS_MAX ? threads : MP__L1_RUN_THREADS_MAX;
    if (cores < (long)run->threads) /* a figure with more threads than cores compares nothing */
        run->threads = 1;
}

static int nothing_wrong(const mp__l1_run *run, mp__diag *diag)
{
    return atomic_load(&run->wrong)
               ? mp__diag_set(diag, MP_EUNKNOWN, "a value was not found; the figures mean nothing")
               : 0;
}

/* ---- l1-get ---- */

/* What the cache hashes addresses with on this machine. */
static const char *hash_name(void)
{
    return mp__hasher_may_be_fast() ? "PH and three rounds of AES" : "SipHash-1-3";
}

static void print_json_figures(mp__buf *out, const result *r, unsigned threads,
                               const mp__l1_figures *f)
{
    (void)mp__buf_printf(out,
                         "{\"keys\":%zu,\"threads\":%u,\"reference_ns\":%.2f,\"single_ns\":%.2f,"
                         "\"single_ratio\":%.3f,\"batched_ns\":%.2f,\"batched_ratio\":%.3f,"
                         "\"copy_ns\":%.2f,\"copy_ratio\":%.3f,\"alike_ns\":%.2f,"
                         "\"single_to_alike\":%.3f,\"batched_to_alike\":%.3f,"
                         "\"copy_to_alike\":%.3f",
                         r->keys, threads, f->ns[MP__L1_BARE], f->ns[MP__L1_SINGLE],
                         f->ratio[MP__L1_SINGLE], f->ns[MP__L1_BATCHED], f->ratio[MP__L1_BATCHED],
                         f->ns[MP__L1_COPY], f->ratio[MP__L1_COPY], f->ns[MP__L1_ALIKE],
                         f->to_alike[MP__L1_SINGLE], f->to_alike[MP__L1_BATCHED],
                         f->to_alike[MP__L1_COPY]);
    if (threads > 1)
        (void)mp__buf_printf(out,
                             ",\"single_to_one_thread\":%.3f,\"batched_to_one_thread\":%.3f,"
                             "\"reference_to_one_thread\":%.3f}",
                             f->to_one_thread[MP__L1_SINGLE], f->to_one_thread[MP__L1_BATCHED],
                             f->to_one_thread[MP__L1_BARE]);
    else
        (void)mp__buf_printf(
            out,
            ",\"lone_p50_ns\":%.1f,\"lone_get_p50_ns\":%.1f,"
            "\"lone_reference_p50_ns\":%.1f,\"lone_alike_p50_ns\":%.1f,\"lone_p99_ns\":%.1f,"
            "\"lone_reference_p99_ns\":%.1f}",
            r->lone.cache_p50, r->lone.get_p50, r->lone.bare_p50, r->lone.alike_p50,
            r->lone.cache_p99, r->lone.bare_p99);
}

static void print_json(mp__buf *out, const mp__l1_run *run, const result results[SIZES])
{
    (void)mp__buf_printf(
        out,
        "{\"bench\":\"l1-get\",\"key_bytes\":%d,\"value_bytes\":%d,"
        "\"distribution\":\"zipf 1.0\",\"rounds\":%u,\"reference\":\"read-only table, "
        "open addressing, same keys by SipHash-1-3, in turns; alike: the same table with the "
        "cache's hash\",\"hash\":\"%s\",\"results\":[",
        MP__WORKLOAD_KEY_BYTES, MP__WORKLOAD_VALUE_BYTES, run->rounds, hash_name());
    for (size_t i = 0; i < SIZES; i++) {
        if (i)
            (void)mp__buf_add_char(out, ',');
        print_json_figures(out, &results[i], 1, &results[i].one);
        if (run->threads > 1) {
            (void)mp__buf_add_char(out, ',');
            print_json_figures(out, &results[i], run->threads, &results[i].many);
        }
    }
    (void)mp__buf_printf(out, "]}\n");
}

static void print_row(mp__buf *out, size_t keys, unsigned threads, const mp__l1_figures *f)
{
    (void)mp__buf_printf(out, "%8zu %7u %8.1f ns %8.1f ns %5.2fx %8.1f ns %5.2fx %8.1f ns %5.2fx",
                         keys, threads, f->ns[MP__L1_BARE], f->ns[MP__L1_SINGLE],
                         f->ratio[MP__L1_SINGLE], f->ns[MP__L1_BATCHED], f->ratio[MP__L1_BATCHED],
                         f->ns[MP__L1_COPY], f->ratio[MP__L1_COPY]);
    if (threads > 1)
        (void)mp__buf_printf(out, "   %.2fx of one thread", f->to_one_thread[MP__L1_SINGLE]);
    (void)mp__buf_printf(out, "\n");
}

static void print_alike(mp__buf *out, size_t keys, unsigned threads, const mp__l1_figures *f)
{
    (void)mp__buf_printf(out, "%8zu %7u %8.1f ns %17.2fx %18.2fx %18.2fx\n", keys, threads,
                         f->ns[MP__L1_ALIKE], f->to_alike[MP__L1_SINGLE],
                         f->to_alike[MP__L1_BATCHED], f->to_alike[MP__L1_COPY]);
}

static void print_table(mp__buf *out, const mp__l1_run *run, const result results[SIZES])
{
    (void)mp__buf_printf(
        out,
        "A get in memory: CPU time a thread, median of %u turns, and the ratio to a bare "
        "read-only table\n(keys of %d bytes, values of %d, Zipf 1.0)\n\n"
        "    keys threads   bare table      get             get_many of 16       copy\n",
        run->rounds, MP__WORKLOAD_KEY_BYTES, MP__WORKLOAD_VALUE_BYTES);
    for (size_t i = 0; i < SIZES; i++) {
        print_row(out, results[i].keys, 1, &results[i].one);
        if (run->threads > 1)
            print_row(out, results[i].keys, run->threads, &results[i].many);
    }
    (void)mp__buf_printf(
        out, "\nThe same table with the cache's own hash (%s), and the ratios to it\n\n",
        hash_name());
    for (size_t i = 0; i < SIZES; i++) {
        print_alike(out, results[i].keys, 1, &results[i].one);
        if (run->threads > 1)
            print_alike(out, results[i].keys, run->threads, &results[i].many);
    }
    (void)mp__buf_printf(out,
                         "\nA lone get, each waiting for the one before (median, 99 of 100):\n");
    for (size_t i = 0; i < SIZES; i++)
        (void)mp__buf_printf(out,
                             "%8zu keys: %.1f ns, %.1f ns; by mp_cache_get() %.1f ns; bare table "
                             "%.1f ns, %.1f ns; with the cache's hash %.1f ns\n",
                             results[i].keys, results[i].lone.cache_p50, results[i].lone.cache_p99,
                             results[i].lone.get_p50, results[i].lone.bare_p50,
                             results[i].lone.bare_p99, results[i].lone.alike_p50);
}

static int measure(mp__l1_run *run, size_t keys, result *ret_result, mp__diag *diag)
{
    int rc = mp__l1_run_init(run, keys);

    if (rc)
        return rc;
    ret_result->keys = keys;
    rc = mp__l1_run_rounds(run, &ret_result->one, &ret_result->many);
    if (rc == 0)
        rc = mp__l1_run_lone(run, &ret_result->lone);
    mp__l1_run_done(run);
    return rc ? rc : nothing_wrong(run, diag);
}

int mp__bench_l1_get(const mp__bench_options *options, mp__buf *out, mp__diag *diag)
{
    result results[SIZES] = {0};
    mp__l1_run run = {0};
    int rc = 0;

    options_apply(options, &run);
    for (size_t i = 0; i < SIZES && rc == 0; i++)
        rc = measure(&run, sizes[i], &results[i], diag);
    if (rc)
        return rc;
    if (options->json)
        print_json(out, &run, results);
    else
        print_table(out, &run, results);
    return out->error;
}

/* ---- l1-mixed ---- */

typedef struct writer {
    mp__l1_run *run;
    _Atomic bool stop;
    uint64_t writes;
} writer;

/* Twenty writes each millisecond: nine of ten replace a value, one is a new key, which evicts. */
static void *writer_main(void *context)
{
    static const struct timespec pause = {.tv_nsec = 1000000};
    writer *w = context;
    char bytes[MP__WORKLOAD_VALUE_BYTES], name[MP__WORKLOAD_KEY_STRIDE];
    uint64_t random = 1;

    while (!atomic_load(&w->stop)) {
        for (int i = 0; i < WRITES_A_MS; i++, w->writes++) {
            size_t index = mp__workload_random(&random) % w->run->workload.keys;
            mp_str key = mp__workload_key(&w->run->workload, index);

            if (w->writes % 10 == 9) {
                /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): its size is in key */
                memcpy(name, key.data, key.size);
                name[0] = '#'; /* no key of the workload begins so */
                key.data = name;
            }
            if (mp_cache_put(w->run->cache, key, mp__workload_value(index, bytes), 0) != 0)
                atomic_store(&w->run->wrong, true);
        }
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

/* What one size showed, without and with the writer. */
typedef struct mixed {
    result quiet, busy;
    uint64_t writes;
    double seconds;
} mixed;

static double now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int measure_busy(mp__l1_run *run, mixed *m)
{
    writer w = {.run = run};
    pthread_t thread;
    int rc = -pthread_create(&thread, NULL, writer_main, &w);

    if (rc)
        return rc;
    m->seconds = -now_s();
    rc = mp__l1_run_rounds(run, &m->busy.one, &m->busy.many);
    if (rc == 0)
        rc = mp__l1_run_lone(run, &m->busy.lone);
    m->seconds += now_s();
    atomic_store(&w.stop, true);
    (void)pthread_join(thread, NULL);
    m->writes = w.writes;
    return rc;
}

static int measure_mixed(mp__l1_run *run, size_t keys, mixed *m, mp__diag *diag)
{
    int rc = mp__l1_run_init(run, keys);

    if (rc)
        return rc;
    m->quiet.keys = m->busy.keys = keys;
    rc = mp__l1_run_rounds(run, &m->quiet.one, &m->quiet.many);
    if (rc == 0)
        rc = mp__l1_run_lone(run, &m->quiet.lone);
    run->may_miss = true; /* from here on some are evicted */
    if (rc == 0)
        rc = measure_busy(run, m);
    run->may_miss = false;
    mp__l1_run_done(run);
    return rc ? rc : nothing_wrong(run, diag);
}

static void print_mixed(mp__buf *out, const mixed *m, bool json)
{
    (void)mp__buf_printf(
        out,
        json ? "{\"keys\":%zu,\"writes_per_second\":%.0f,\"quiet_ns\":%.2f,\"quiet_ratio\":%.3f,"
               "\"busy_ns\":%.2f,\"busy_ratio\":%.3f,\"quiet_lone_p50_ns\":%.1f,"
               "\"busy_lone_p50_ns\":%.1f,\"quiet_lone_p99_ns\":%.1f,\"busy_lone_p99_ns\":%.1f}"
             : "%zu keys, %.0f writes/s: a get quiet %.1f ns (%.2fx of the bare table), with the "
               "writer %.1f ns (%.2fx);\n  lone, median %.1f and %.1f ns, 99 of 100 %.1f and "
               "%.1f ns\n",
        m->quiet.keys, (double)m->writes / m->seconds, m->quiet.one.ns[MP__L1_SINGLE],
        m->quiet.one.ratio[MP__L1_SINGLE], m->busy.one.ns[MP__L1_SINGLE],
        m->busy.one.ratio[MP__L1_SINGLE], m->quiet.lone.cache_p50, m->busy.lone.cache_p50,
        m->quiet.lone.cache_p99, m->busy.lone.cache_p99);
}

int mp__bench_l1_mixed(const mp__bench_options *options, mp__buf *out, mp__diag *diag)
{
    mixed results[SIZES] = {0};
    mp__l1_run run = {0};
    int rc = 0;

    options_apply(options, &run);
    run.threads = 1; /* the writer is the other */
    for (size_t i = 0; i < SIZES && rc == 0; i++)
        rc = measure_mixed(&run, sizes[i], &results[i], diag);
    if (rc)
        return rc;
    if (options->json)
        (void)mp__buf_printf(
            out,
            "{\"bench\":\"l1-mixed\",\"rounds\":%u,\"reference\":\"the same table read "
            "only, and the same gets without a writer\",\"results\":[",
            run.rounds);
    for (size_t i = 0; i < SIZES; i++) {
        if (i && options->json)
            (void)mp__buf_add_char(out, ',');
        print_mixed(out, &results[i], options->json);
    }
    if (options->json)
        (void)mp__buf_printf(out, "]}\n");
    return out->error;
}
