/* SPDX-License-Identifier: Apache-2.0 */
/* Reads from L3 that the system's page cache can answer: look-up, pread, checksum, the entry made
 * and brought into L1. Beside it the least that any checked read of a file costs: one pread of as
 * many bytes, from a file of the same size, and XXH3-64 over them. Both in the order of the same
 * requests, in turns, CPU time of the one thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/benches.h"
#include "bench/l1_run.h"
#include "cache/cache.h"
#include "core/alloc.h"
#include "core/env.h"

/* A record is its head of 96 bytes, address, media type and value, padded to 8. */
enum {
    KEYS = 100000,
    REQUESTS = 1 << 17,
    ROUNDS = 11,
    ROUNDS_MAX = 101,
    MEDIA_BYTES = sizeof("text/plain") - 1,
    RECORD = (96 + MP__WORKLOAD_KEY_BYTES + MEDIA_BYTES + MP__WORKLOAD_VALUE_BYTES + 7) / 8 * 8,
};

typedef struct run {
    char folder[64];
    mp_cache *cache;
    mp__workload workload;
    int bare;
    uint64_t sum; /* of what the reference read, so that it is not left out */
    size_t waits; /* reads that would have waited for the disk, and say so */
} run;

static double cpu_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int fill_cache(run *r)
{
    char bytes[MP__WORKLOAD_VALUE_BYTES];
    int rc = 0;

    for (size_t i = 0; i < KEYS && rc == 0; i++) {
        mp__record record = {.address = mp__workload_key(&r->workload, i),
                             .value = mp__workload_value(i, bytes),
                             .media_type = MP_STR("text/plain"),
                             .kind = MP__RECORD_VALUE,
                             .revision = i + 1,
                             .version = 1};

        rc = mp__cache_put_record(r->cache, &record, 0, 0, 0, NULL);
    }
    return rc ? rc : mp__cache_flush(r->cache);
}

static int fill_bare(run *r)
{
    unsigned char bytes[RECORD];

    memset(bytes, 'x', sizeof(bytes));
    for (size_t i = 0; i < KEYS; i++)
        if (pwrite(r->bare, bytes, sizeof(bytes), (off_t)(i * RECORD)) != RECORD)
            return errno ? -errno : -EIO;
    return 0;
}

static int run_init(run *r, mp__diag *diag)
{
    mp__cache_options options = {.env = mp__env_real(), .l1_entries = 1000, .l3_dir = r->folder};
    char path[128];
    int rc = mp__workload_init(&r->workload, KEYS, REQUESTS, 42);

    if (rc == 0)
        rc = mp__cache_open(&options, &r->cache, diag);
    if (rc == 0)
        rc = fill_cache(r);
    (void)snprintf(path, sizeof(path), "%s/bare", r->folder);
    r->bare = rc ? -1 : open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (rc == 0)
        rc = r->bare < 0 ? -errno : fill_bare(r);
    return rc;
}

static void run_done(run *r)
{
    (void)mp_cache_free(r->cache);
    mp__workload_done(&r->workload);
    if (r->bare >= 0)
        (void)close(r->bare);
    mp__bench_folder_remove(r->folder);
}

/* ---- the turns ---- */

static bool is_right(const mp__entry *entry, size_t index)
{
    char bytes[MP__WORKLOAD_VALUE_BYTES];

    return mp_str_equal(mp_str_new(entry->blob.pub.data, entry->blob.pub.size),
                        mp__workload_value(index, bytes));
}

/* Each request reads L3, whatever L1 holds. One answer of 64 is compared whole. What is not in the
 * system's memory just now would go to the reader thread: it is counted and passed over. */
static int turn_ours(run *r, double *ret_ns, mp__diag *diag)
{
    const mp__hasher *hasher = mp__cache_hasher(r->cache);
    double began = cpu_ns();

    for (size_t i = 0; i < REQUESTS; i++) {
        size_t index = r->workload.sequence[i];
        mp_str address = mp__workload_key(&r->workload, index);
        const mp__entry *entry;
        int rc = mp__cache_load_nowait(r->cache, address, mp__cache_hash(hasher, address), &entry);
        bool right = rc == MP_EAGAIN || (rc == 0 && (i % 64 != 0 || is_right(entry, index)));

        if (rc == 0)
            (void)mp__entry_unref(entry);
        r->waits += rc == MP_EAGAIN;
        if (!right)
            return mp__diag_set(diag, rc ? rc : MP_ECORRUPT, "L3 gave no right value: %s",
                                mp_strerror(rc ? rc : MP_ECORRUPT));
    }
    *ret_ns = (cpu_ns() - began) / REQUESTS;
    return 0;
}

static int turn_bare(run *r, double *ret_ns)
{
    unsigned char bytes[RECORD];
    double began = cpu_ns();

    for (size_t i = 0; i < REQUESTS; i++) {
        if (pread(r->bare, bytes, RECORD, (off_t)r->workload.sequence[i] * RECORD) != RECORD)
            return -EIO;
        r->sum ^= mp__checksum(i, bytes, RECORD);
    }
    *ret_ns = (cpu_ns() - began) / REQUESTS;
    return 0;
}

int mp__bench_l3_get(const mp__bench_options *options, mp__buf *out, mp__diag *diag)
{
    unsigned rounds = options->rounds ? options->rounds : ROUNDS;
    double ours[ROUNDS_MAX] = {0}, bare[ROUNDS_MAX] = {0}, ratio[ROUNDS_MAX] = {0};
    run r = {.folder = "/tmp/marketprism-bench-XXXXXX", .bare = -1};
    int rc;

    if (!mkdtemp(r.folder))
        return mp__diag_set(diag, -errno, "cannot make a folder in /tmp: %s", mp_strerror(-errno));
    rounds = rounds < ROUNDS_MAX ? rounds : ROUNDS_MAX;
    rc = run_init(&r, diag);
    for (unsigned i = 0; i < rounds && rc == 0; i++) {
        rc = turn_ours(&r, &ours[i], diag);
        if (rc == 0)
            rc = turn_bare(&r, &bare[i]);
        if (rc == 0)
            ratio[i] = ours[i] / bare[i];
    }
    run_done(&r);
    if (rc == 0 && r.waits > (size_t)REQUESTS * rounds / 2)
        rc =
            mp__diag_set(diag, MP_EAGAIN,
                         "the file system of /tmp does not say what it has in memory (RWF_NOWAIT), "
                         "or has too little of it");
    if (rc)
        return rc;
    return mp__buf_printf(
        out,
        options->json
            ? "{\"bench\":\"l3-get\",\"keys\":%d,\"record_bytes\":%d,\"rounds\":%u,"
              "\"reference\":\"pread and XXH3-64 of as many bytes, in turns\","
              "\"get_ns\":%.0f,\"reference_ns\":%.0f,\"ratio\":%.3f,\"would_wait\":%.6f}\n"
            : "%d keys on disk, records of %d bytes, in the system's memory, %u turns: a get %.0f "
              "ns of CPU, a bare pread and XXH3-64 %.0f ns, %.2fx; %.4f %% would have waited for "
              "the disk\n",
        KEYS, RECORD, rounds, mp__l1_run_median(ours, rounds), mp__l1_run_median(bare, rounds),
        mp__l1_run_median(ratio, rounds),
        (double)r.waits / REQUESTS / rounds * (options->json ? 1 : 100));
}
