/* SPDX-License-Identifier: Apache-2.0 */
/* Hits in memory, measured as docs/benchmarks.md says: in turns with the bare table, CPU time of
 * the thread over whole turns, median of the turns. */
#include "bench/l1_run.h"

#include <stdlib.h>
#include <time.h>

#include "core/alloc.h"

enum {
    BATCH = 64,     /* gets in one read section */
    TOGETHER = 16,  /* keys in one mp_cache_get_many() */
    CHAIN = 16,     /* lone gets in one reading of the clock, which costs as much as one */
    CHAINS = 20000, /* of them, for the median of a lone get */
    PART = MP__L1_RUN_REQUESTS / 4, /* requests in a turn */
};

enum { ALONE, AT_ONCE, PHASES };

/* What one writes is in no line that another reads, nor beside one. */
typedef struct worker {
    mp__l1_run *run;
    unsigned number;
    double ns[PHASES][MP__L1_WAYS][MP__L1_RUN_ROUNDS_MAX];
    uint64_t sum; /* of what was read, so that no compiler leaves the reading out */
} __attribute__((aligned(128))) worker;

/* ---- one turn ---- */

/* What a caller would do at least: look at the beginning of the value, and its size. */
static inline uint64_t touch(const void *data, size_t size)
{
    uint64_t word;

    memcpy(&word, data, sizeof(word));
    return word + size;
}

typedef mp_str (*table_get)(const mp__bare_table *table, mp_str key);

static inline __attribute__((always_inline)) void turn_table(worker *w, const mp__bare_table *table,
                                                             table_get get,
                                                             const uint32_t *sequence, size_t count)
{
    const mp__workload *workload = &w->run->workload;

    for (size_t i = 0; i < count; i++) {
        mp_str value = get(table, mp__workload_key(workload, sequence[i]));

        w->sum += touch(value.data, value.size);
    }
}

static void turn_bare(worker *w, const uint32_t *sequence, size_t count)
{
    turn_table(w, &w->run->bare, mp__bare_table_get, sequence, count);
}

static void turn_alike(worker *w, const uint32_t *sequence, size_t count)
{
    turn_table(w, &w->run->alike, mp__bare_table_get_alike, sequence, count);
}

static void missed(mp__l1_run *run)
{
    if (!run->may_miss)
        atomic_store(&run->wrong, true);
}

static void turn_single(worker *w, const uint32_t *sequence, size_t count)
{
    mp__l1_run *run = w->run;

    for (size_t i = 0; i < count; i += BATCH) {
        if (mp_read_begin() != 0)
            break;
        for (size_t j = i; j < i + BATCH; j++) {
            const mp_blob *value =
                mp_cache_find(run->cache, mp__workload_key(&run->workload, sequence[j]));

            if (mp_cache_error(value) == 0)
                w->sum += touch(value->data, value->size);
            else
                missed(run);
        }
        mp_read_end();
    }
}

static void turn_batched(worker *w, const uint32_t *sequence, size_t count)
{
    mp__l1_run *run = w->run;

    for (size_t i = 0; i < count; i += TOGETHER) {
        mp_str keys[TOGETHER];
        const mp_blob *values[TOGETHER];

        for (size_t j = 0; j < TOGETHER; j++)
            keys[j] = mp__workload_key(&run->workload, sequence[i + j]);
        if (mp_read_begin() != 0)
            break;
        if (mp_cache_get_many(run->cache, keys, TOGETHER, values, NULL) != TOGETHER)
            missed(run);
        for (size_t j = 0; j < TOGETHER; j++)
            if (values[j])
                w->sum += touch(values[j]->data, values[j]->size);
        mp_read_end();
    }
}

static void turn_copy(worker *w, const uint32_t *sequence, size_t count)
{
    mp__l1_run *run = w->run;
    char buffer[MP__WORKLOAD_VALUE_BYTES];
    size_t size;

    for (size_t i = 0; i < count; i++) {
        if (mp_cache_copy(run->cache, mp__workload_key(&run->workload, sequence[i]), buffer,
                          sizeof(buffer), &size) == 0)
            w->sum += touch(buffer, size);
        else
            missed(run);
    }
}

static void (*const turns[MP__L1_WAYS])(worker *, const uint32_t *, size_t) = {
    [MP__L1_BARE] = turn_bare,       [MP__L1_ALIKE] = turn_alike, [MP__L1_SINGLE] = turn_single,
    [MP__L1_BATCHED] = turn_batched, [MP__L1_COPY] = turn_copy,
};

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- rounds ---- */

/* Each thread its own part of the requests, another one each round. */
static double turn_ns(worker *w, enum mp__l1_way way, unsigned round)
{
    size_t from = (round * MP__L1_RUN_THREADS_MAX + w->number) % 4 * PART;
    uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);

    turns[way](w, w->run->workload.sequence + from, PART);
    return (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - start) / PART;
}

static void *worker_main(void *context)
{
    worker *w = context;
    int phases = w->run->threads > 1 ? PHASES : 1;

    for (unsigned round = 0; round <= w->run->rounds; round++)
        for (int phase = 0; phase < phases; phase++)
            for (enum mp__l1_way way = 0; way < MP__L1_WAYS; way++) {
                double ns = 0;

                (void)pthread_barrier_wait(&w->run->barrier);
                if (phase == AT_ONCE || w->number == 0)
                    ns = turn_ns(w, way, round);
                if (round > 0) /* the first warms up */
                    w->ns[phase][way][round - 1] = ns;
            }
    return NULL;
}

static int compare_doubles(const void *a, const void *b)
{
    double x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

double mp__l1_run_median(double *values, size_t count)
{
    /* cppcheck-suppress uninitvar ; all callers fill @count of them, one at least */
    qsort(values, count, sizeof(*values), compare_doubles);
    return values[count / 2];
}

/* Fold @threads workers' rounds of @phase; each round of each thread is a sample. */
static void fold(const worker *workers, unsigned threads, int phase, mp__l1_figures *figures)
{
    double ns[MP__L1_RUN_THREADS_MAX * MP__L1_RUN_ROUNDS_MAX] = {0};
    double ratio[MP__L1_RUN_THREADS_MAX * MP__L1_RUN_ROUNDS_MAX] = {0};
    double alike[MP__L1_RUN_THREADS_MAX * MP__L1_RUN_ROUNDS_MAX] = {0};
    double alone[MP__L1_RUN_THREADS_MAX * MP__L1_RUN_ROUNDS_MAX] = {0};
    unsigned rounds = workers[0].run->rounds;

    for (enum mp__l1_way way = 0; way < MP__L1_WAYS; way++) {
        size_t n = 0;

        for (unsigned t = 0; t < threads; t++)
            for (unsigned r = 0; r < rounds; r++, n++) {
                ns[n] = workers[t].ns[phase][way][r];
                ratio[n] = ns[n] / workers[t].ns[phase][MP__L1_BARE][r];
                alike[n] = ns[n] / workers[t].ns[phase][MP__L1_ALIKE][r];
                alone[n] = ns[n] / workers[0].ns[ALONE][way][r];
            }
        figures->ns[way] = mp__l1_run_median(ns, n);
        figures->ratio[way] = mp__l1_run_median(ratio, n);
        figures->to_alike[way] = mp__l1_run_median(alike, n);
        figures->to_one_thread[way] = mp__l1_run_median(alone, n);
    }
}

static int start_workers(mp__l1_run *run, worker *workers)
{
    pthread_t other = {0};
    int rc = -pthread_barrier_init(&run->barrier, NULL, run->threads);

    if (rc)
        return rc;
    for (unsigned i = 0; i < run->threads; i++)
        workers[i] = (worker){.run = run, .number = i};
    if (run->threads > 1) /* at most one more, so that none waits for one that did not start */
        rc = -pthread_create(&other, NULL, worker_main, &workers[1]);
    if (rc == 0) {
        (void)worker_main(&workers[0]);
        if (run->threads > 1)
            (void)pthread_join(other, NULL);
    }
    (void)pthread_barrier_destroy(&run->barrier);
    return rc;
}

int mp__l1_run_rounds(mp__l1_run *run, mp__l1_figures *ret_one, mp__l1_figures *ret_many)
{
    MP__CLEANUP_FREE worker *workers = mp__aligned_alloc(128, run->threads * sizeof(*workers));
    int rc;

    if (!workers)
        return MP_ENOMEM;
    rc = start_workers(run, workers);
    if (rc)
        return rc;
    fold(workers, 1, ALONE, ret_one);
    if (run->threads > 1)
        fold(workers, run->threads, AT_ONCE, ret_many);
    return 0;
}

/* ---- lone gets ---- */

/* Which key comes next is known, as it is to who asks for one; but where its bytes lie is told by
 * the answer before, whose ninth byte is '0', as that of every value: so no get begins before the
 * last has ended, and none waits for what chooses the keys. */
static inline mp_str key_after(const mp__l1_run *run, size_t at, size_t answer)
{
    mp_str key = mp__workload_key(&run->workload, run->workload.sequence[at]);

    return mp_str_new(key.data + answer, key.size);
}

static inline size_t answer_of(const void *data)
{
    return (size_t)(((const unsigned char *)data)[8] - '0');
}

static inline __attribute__((always_inline)) double
chain_table(const mp__l1_run *run, const mp__bare_table *table, table_get get, size_t from)
{
    uint64_t start = clock_ns(CLOCK_MONOTONIC);
    size_t answer = 0;

    for (size_t i = 0; i < CHAIN; i++)
        answer = answer_of(get(table, key_after(run, from + i, answer)).data);
    return (double)(clock_ns(CLOCK_MONOTONIC) - start + answer) / CHAIN;
}

static double chain_bare(mp__l1_run *run, size_t from)
{
    return chain_table(run, &run->bare, mp__bare_table_get, from);
}

static double chain_alike(mp__l1_run *run, size_t from)
{
    return chain_table(run, &run->alike, mp__bare_table_get_alike, from);
}

/* Each in a section of its own, as somebody does who wants one value. */
static double chain_cache(mp__l1_run *run, size_t from)
{
    uint64_t start = clock_ns(CLOCK_MONOTONIC);
    size_t answer = 0;

    for (size_t i = 0; i < CHAIN; i++) {
        const mp_blob *v;

        if (mp_read_begin() != 0)
            break;
        v = mp_cache_find(run->cache, key_after(run, from + i, answer));
        if (mp_cache_error(v) == 0)
            answer = answer_of(v->data);
        else
            missed(run);
        mp_read_end();
    }
    return (double)(clock_ns(CLOCK_MONOTONIC) - start + answer) / CHAIN;
}

/* The same with the value in memory. */
static double chain_cache_get(mp__l1_run *run, size_t from)
{
    uint64_t start = clock_ns(CLOCK_MONOTONIC);
    size_t answer = 0;

    for (size_t i = 0; i < CHAIN; i++) {
        const mp_blob *v;

        if (mp_read_begin() != 0)
            break;
        if (mp_cache_get(run->cache, key_after(run, from + i, answer), &v) == 0)
            answer = answer_of(v->data);
        else
            missed(run);
        mp_read_end();
    }
    return (double)(clock_ns(CLOCK_MONOTONIC) - start + answer) / CHAIN;
}

/* By turns with a bare table, so that both find the caches of the processor alike. */
static void lone_turns(mp__l1_run *run, double (*bare)(mp__l1_run *run, size_t from),
                       double (*chain)(mp__l1_run *run, size_t from), double *ret_bare,
                       double *ret_cache)
{
    for (size_t i = 0; i < CHAINS; i++) {
        size_t from = i * CHAIN * 3 % (MP__L1_RUN_REQUESTS - CHAIN);

        ret_bare[i] = bare(run, from);
        ret_cache[i] = chain(run, (from + MP__L1_RUN_REQUESTS / 2) % (MP__L1_RUN_REQUESTS - CHAIN));
    }
}

int mp__l1_run_lone(mp__l1_run *run, mp__l1_lone *ret_lone)
{
    MP__CLEANUP_FREE double *bare = mp__realloc_array(NULL, CHAINS, sizeof(*bare));
    MP__CLEANUP_FREE double *cache = mp__realloc_array(NULL, CHAINS, sizeof(*cache));

    if (!bare || !cache)
        return MP_ENOMEM;
    lone_turns(run, chain_alike, chain_cache_get, bare, cache);
    ret_lone->get_p50 = mp__l1_run_median(cache, CHAINS);
    ret_lone->alike_p50 = mp__l1_run_median(bare, CHAINS);
    ret_lone->alike_p99 = bare[CHAINS / 100 * 99];
    lone_turns(run, chain_bare, chain_cache, bare, cache);
    ret_lone->bare_p50 = mp__l1_run_median(bare, CHAINS);
    ret_lone->cache_p50 = mp__l1_run_median(cache, CHAINS);
    ret_lone->bare_p99 = bare[CHAINS / 100 * 99];
    ret_lone->cache_p99 = cache[CHAINS / 100 * 99];
    return 0;
}

/* ---- one size ---- */

static int fill(mp__l1_run *run)
{
    char bytes[MP__WORKLOAD_VALUE_BYTES];
    int rc = 0;

    for (size_t i = 0; i < run->workload.keys && rc == 0; i++) {
        mp_str key = mp__workload_key(&run->workload, i);
        mp_str value = mp__workload_value(i, bytes);

        rc = mp__bare_table_put(&run->bare, key, value);
        if (rc == 0)
            rc = mp__bare_table_put(&run->alike, key, value);
        if (rc == 0)
            rc = mp_cache_put(run->cache, key, value, 0);
    }
    return rc;
}

void mp__l1_run_done(mp__l1_run *run)
{
    run->cache = mp_cache_free(run->cache);
    mp__bare_table_done(&run->bare);
    mp__bare_table_done(&run->alike);
    mp__workload_done(&run->workload);
}

int mp__l1_run_init(mp__l1_run *run, size_t keys)
{
    /* Fixed, so that two runs of the reference probe alike; the cache has its own secret. */
    static const mp__hash_key key = {0x243f6a8885a308d3ULL, 0x13198a2e03707344ULL};
    mp_cache_config config = {.l1_entries = keys, .l1_bytes = keys * 1024 + ((size_t)8 << 20)};
    int rc = mp__workload_init(&run->workload, keys, MP__L1_RUN_REQUESTS, 42);

    if (rc == 0)
        rc = mp__bare_table_init(&run->bare, key, false, keys,
                                 MP__WORKLOAD_KEY_BYTES + MP__WORKLOAD_VALUE_BYTES);
    if (rc == 0)
        rc = mp__bare_table_init(&run->alike, key, true, keys,
                                 MP__WORKLOAD_KEY_BYTES + MP__WORKLOAD_VALUE_BYTES);
    if (rc == 0)
        rc = mp_cache_new(&config, &run->cache);
    if (rc == 0)
        rc = fill(run);
    if (rc)
        mp__l1_run_done(run);
    return rc;
}
