/* SPDX-License-Identifier: Apache-2.0 */
/* From an L3 of 1 GB, left by a process that was killed with -9, to its first right answer: open
 * the folder, recover the index, read one value. Keys and values have the sizes of real
 * configuration (665 bytes a value in the mean). Beside it the least that any restart from footers
 * costs: open every segment, read as many bytes of its end and sum them. Both with the files in the
 * system's memory, in turns. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/benches.h"
#include "bench/l1_run.h"
#include "bench/workload.h"
#include "cache/cache.h"
#include "core/alloc.h"
#include "core/env.h"

enum { ROUNDS = 7, ROUNDS_MAX = 101, VALUE_MEAN = 665, VALUE_MOST = 2 * VALUE_MEAN, ROW = 32 };
#define KEPT_BYTES ((uint64_t)960 << 20) /* so that nothing is forgotten of the 1000 MiB */

typedef struct run {
    char folder[64];
    unsigned keys;
    uint64_t sum; /* of what the reference read, so that it is not left out */
    size_t files, end_bytes;
} run;

static double now_ms(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- what is kept ---- */

static mp_str name_key(unsigned i, char name[64])
{
    int n = snprintf(name, 64, "production/services/unit-%07u.endpoint.settings", i);

    return mp_str_new(name, (size_t)n);
}

static mp_str value_of(unsigned i, char value[VALUE_MOST])
{
    uint64_t state = i;
    size_t size = (size_t)(mp__workload_random(&state) % (VALUE_MOST - 32)) + 16;

    memset(value, 'a' + (int)(i % 26), size);
    (void)snprintf(value, 16, "%u", i);
    return mp_str_new(value, size);
}

static int open_cache(const run *r, mp_cache **ret_cache, mp__diag *diag)
{
    mp__cache_options options = {.env = mp__env_real(), .l1_entries = 1000, .l3_dir = r->folder};

    return mp__cache_open(&options, ret_cache, diag);
}

/* In a process of its own, which dies as by kill -9; how many keys there are goes to @out. */
static void fill_and_die(const run *r, int out)
{
    char name[64], value[VALUE_MOST];
    mp_cache *cache = NULL;
    uint64_t bytes = 0;
    unsigned i = 0;
    int rc = open_cache(r, &cache, NULL);

    for (; rc == 0 && bytes < KEPT_BYTES; i++) {
        mp__record record = {.address = name_key(i, name),
                             .value = value_of(i, value),
                             .media_type = MP_STR("text/plain"),
                             .kind = MP__RECORD_VALUE,
                             .revision = i + 1,
                             .version = 1};

        rc = mp__cache_put_record(cache, &record, 0, 0, 0, NULL);
        bytes += 96 + 32 + record.address.size + record.value.size;
        if (rc == 0 && i % 16384 == 16383)
            rc = mp__cache_flush(cache);
    }
    if (rc == 0)
        rc = mp__cache_flush(cache);
    if (rc == 0 && write(out, &i, sizeof(i)) == (ssize_t)sizeof(i))
        (void)raise(SIGKILL);
    _exit(1);
}

static int fill(run *r, mp__diag *diag)
{
    int ends[2], status = 0;
    ssize_t n;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return -errno;
    pid = fork();
    if (pid == 0)
        fill_and_die(r, ends[1]);
    (void)close(ends[1]);
    n = pid < 0 ? -1 : read(ends[0], &r->keys, sizeof(r->keys));
    (void)close(ends[0]);
    if (pid > 0)
        (void)waitpid(pid, &status, 0);
    return n == (ssize_t)sizeof(r->keys)
               ? 0
               : mp__diag_set(diag, -EIO, "cannot fill an L3 of 1 GB in %s: is there room?",
                              r->folder);
}

/* ---- the turns ---- */

static int recover_once(const run *r, unsigned round, double *ret_ms, double *ret_cpu_ms,
                        mp__diag *diag)
{
    unsigned i = (round * 2654435761u + 17u) % r->keys;
    char name[64], value[VALUE_MOST];
    mp_cache *cache = NULL;
    mp_blob *got = NULL;
    mp_str want = value_of(i, value);
    double began = now_ms(CLOCK_MONOTONIC), cpu_began = now_ms(CLOCK_PROCESS_CPUTIME_ID);
    int rc = open_cache(r, &cache, diag);

    if (rc == 0)
        rc = mp_cache_load(cache, name_key(i, name), &got);
    *ret_ms = now_ms(CLOCK_MONOTONIC) - began;
    *ret_cpu_ms = now_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu_began;
    if (rc == 0 && !mp_str_equal(mp_str_new(got->data, got->size), want))
        rc = mp__diag_set(diag, MP_ECORRUPT, "%s was answered wrongly", name);
    mp_blob_unref(got);
    (void)mp_cache_free(cache);
    return rc;
}

static int read_end(void *context, const char *name)
{
    run *r = context;
    MP__CLEANUP_FREE unsigned char *bytes = mp__malloc(r->end_bytes);
    char path[512];
    ssize_t n;
    off_t size;
    int file;

    if (!bytes)
        return MP_ENOMEM;
    if (!strstr(name, ".seg"))
        return 0;
    (void)snprintf(path, sizeof(path), "%s/%s", r->folder, name);
    file = open(path, O_RDONLY | O_CLOEXEC);
    size = file < 0 ? -1 : lseek(file, 0, SEEK_END);
    n = size < 0 ? -1
                 : pread(file, bytes, r->end_bytes,
                         size > (off_t)r->end_bytes ? size - (off_t)r->end_bytes : 0);
    if (file >= 0)
        (void)close(file);
    if (n < 0)
        return -errno;
    r->sum ^= mp__checksum(r->files++, bytes, (size_t)n);
    return 0;
}

static int bare_once(run *r, double *ret_ms)
{
    double began = now_ms(CLOCK_MONOTONIC);
    int rc;

    r->files = 0;
    r->end_bytes = (size_t)r->keys * ROW / 60 + 1; /* about as many segments */
    rc = mp__env_list(mp__env_real(), r->folder, read_end, r);
    *ret_ms = now_ms(CLOCK_MONOTONIC) - began;
    return rc;
}

int mp__bench_recover(const mp__bench_options *options, mp__buf *out, mp__diag *diag)
{
    unsigned rounds = options->rounds ? options->rounds : ROUNDS;
    double ours[ROUNDS_MAX], cpu[ROUNDS_MAX], bare[ROUNDS_MAX], longest = 0;
    run r = {.folder = "/tmp/marketprism-bench-XXXXXX"};
    int rc;

    if (!mkdtemp(r.folder))
        return mp__diag_set(diag, -errno, "cannot make a folder in /tmp: %s", mp_strerror(-errno));
    rounds = rounds < ROUNDS_MAX ? rounds : ROUNDS_MAX;
    rc = fill(&r, diag);
    for (unsigned i = 0; i < rounds && rc == 0; i++) {
        rc = recover_once(&r, i, &ours[i], &cpu[i], diag);
        if (rc == 0)
            rc = bare_once(&r, &bare[i]);
        longest = rc == 0 && ours[i] > longest ? ours[i] : longest;
    }
    mp__bench_folder_remove(r.folder);
    if (rc)
        return rc;
    return mp__buf_printf(
        out,
        options->json
            ? "{\"bench\":\"recover\",\"keys\":%u,\"rounds\":%u,"
              "\"reference\":\"the ends of the segments read and summed, in turns\","
              "\"median_ms\":%.1f,\"max_ms\":%.1f,\"cpu_ms\":%.1f,\"reference_ms\":%.1f}\n"
            : "L3 of 1 GB, %u keys, %u turns: from opening it to the first right value %.1f ms, at "
              "most %.1f ms, %.1f ms of them CPU; reading and summing the ends of its segments "
              "takes %.1f ms\n",
        r.keys, rounds, mp__l1_run_median(ours, rounds), longest, mp__l1_run_median(cpu, rounds),
        mp__l1_run_median(bare, rounds));
}
