/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed memory: how small values become, what that costs, what reading them back costs.
 *
 * A cache with a tiny L1, so that everything comes down to L2. The first half of the values trains
 * the dictionaries; how small the second half becomes, other values of the same schemas, is seen in
 * a second cache, which found the dictionaries of the first in its folder and trains none. Beside
 * it, in turns and over the same bytes (address, media type, value): zstd at level 3 without a
 * dictionary, and memcpy. CPU time of the whole process, the compressing thread's included, less
 * that of the same puts into a cache without L2: of puts during which nothing was trained, with
 * both threads on one core, and as the system spreads them, where waking and the ways between cores
 * come on top; and what the trainings of the first puts took, for each of the values. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include "bench/benches.h"
#include "bench/config_values.h"
#include "bench/l1_run.h"
#include "bench/workload.h"
#include "cache/cache.h"
#include "core/alloc.h"

enum {
    VALUES = 8000,
    L1_ENTRIES = 1,
    STEP_BYTES = 512 * 1024, /* put between two waits for the compressing thread: half of what may
                                wait for it */
    HEAD = 160,              /* bytes that each takes beside its own while it waits, at most */
    PUTS = 4000,             /* that a figure is made of, at least, */
    TRIES = 16,              /* and how often that is tried, for one without a training */
    ROUNDS = 5,
    ROUNDS_MAX = 101,
    GETS = 1 << 16,
    BATCH = 64,
    ADDRESS = 128,
    LEVEL = 3,
    BODY = 16384,
    MEASURED = 600, /* of the second half, so few that nothing is trained from them */
};

typedef struct figures {
    double ratio, plain_ratio;
    double pack_ns, plain_pack_ns, copy_ns, get_ns, plain_get_ns;
    double ask_ns;    /* of a get, which get_ns is without: what gives a key to ask for */
    double spread_ns; /* packed, with the threads wherever the system puts them */
    double train_ns;  /* for each value, of the first puts */
    double mean_bytes;
    double value_ratio; /* of the values alone */
    double ratio_with;  /* of both halves in one cache, the dictionaries' own bytes included */
    size_t count, dictionaries, dictionary_bytes;
} figures;

static double cpu_ns(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- ours ---- */

static mp_str address_of(const mp__config_value *value)
{
    return mp_str_new(value->address, value->address_size);
}

/* In turns, each with newer revisions than the one before. */
typedef struct turns {
    uint64_t first, count;
} turns;

static const turns once = {.count = 1};

static int put_values(mp_cache *cache, const mp__config_values *v, size_t from, size_t to, turns in)
{
    size_t bytes = 0;
    int rc = 0;

    for (uint64_t turn = in.first; turn < in.first + in.count; turn++)
        for (size_t i = from; i < to && rc == 0; i++) {
            mp__record record = {.address = address_of(&v->values[i]),
                                 .value = mp_str_new(v->values[i].value, v->values[i].size),
                                 .media_type = MP_STR("application/json"),
                                 .kind = MP__RECORD_VALUE,
                                 .revision = turn * v->count + i + 1,
                                 .version = 1};

            rc = mp__cache_put_record(cache, &record, 0, 0, 0, NULL);
            bytes += record.address.size + record.media_type.size + record.value.size + HEAD;
            if (bytes >= STEP_BYTES) {
                mp__cache_settle(cache);
                bytes = 0;
            }
        }
    mp__cache_settle(cache);
    return rc;
}

static int cache_with(size_t l2_entries, const char *l3_dir, mp_cache **ret_cache)
{
    mp__cache_options options = {.env = mp__env_real(),
                                 .l1_entries = L1_ENTRIES,
                                 .policy = "fifo",
                                 .l3_dir = l3_dir,
                                 .l2_entries = l2_entries};

    return mp__cache_open(&options, ret_cache, NULL);
}

static uint64_t trainings_of(mp_cache *cache)
{
    mp_cache_stats s;

    mp_cache_stats_read(cache, &s);
    return s.l2_trainings;
}

/* Values from @from on into @cache. *ret_ns: CPU time for each. */
static int put_timed(mp_cache *cache, const mp__config_values *v, size_t from, turns in,
                     double *ret_ns)
{
    double began = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
    int rc = put_values(cache, v, from, v->count, in);

    *ret_ns =
        (cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - began) / (double)((v->count - from) * (size_t)in.count);
    return rc;
}

/* The second half into @cache once more, so often that it says something, until nothing was trained
 * meanwhile. */
static int put_again(mp_cache *cache, const mp__config_values *v, double *ret_ns)
{
    uint64_t each = PUTS / (v->count - v->known) + 1, before, after = trainings_of(cache);
    int rc = 0;

    for (unsigned try = 0; try < TRIES && rc == 0; try++) {
        before = after;
        rc = put_timed(cache, v, v->known, (turns){1 + try * each, each}, ret_ns);
        after = trainings_of(cache);
        if (before == after)
            return rc;
    }
    return rc ? rc : -ETIME;
}

typedef struct asked {
    size_t value; /* its index */
    mp_str address;
    char bytes[ADDRESS];
} asked;

/* Keys as they come: read into one buffer, some at a time, and not where the values' keys lie. */
static void ask(const mp__config_values *v, uint64_t *random, asked batch[BATCH])
{
    size_t count = v->count - v->known - L1_ENTRIES;

    for (size_t i = 0; i < BATCH; i++) {
        asked *a = &batch[i];
        const mp__config_value *value;

        a->value = v->known + mp__workload_random(random) % count;
        value = &v->values[a->value];
        a->address = mp_str_new(a->bytes, value->address_size);
        memcpy(a->bytes, value->address, value->address_size);
    }
}

/* *ret_ask_ns is what making up a key takes, which is not in *ret_ns: it looks at values and keys
 * that nothing else touches. By the clock of the wall, for the other one is a call of the kernel,
 * and the median of all batches, for that one goes on while others run. */
static int get_all(mp_cache *cache, const mp__config_values *v, double *ret_ns, double *ret_ask_ns)
{
    const mp__hasher *hasher = mp__cache_hasher(cache);
    static double asking[GETS / BATCH];
    asked batch[BATCH];
    uint64_t random = 3;
    size_t found = 0;
    double began;

    for (size_t i = v->known; i < v->count; i++)
        if (v->values[i].address_size > ADDRESS)
            return -E2BIG;
    began = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
    for (size_t i = 0; i < GETS; i++) {
        const asked *a = &batch[i % BATCH];
        const mp__config_value *value;
        const mp__entry *entry;

        if (i % BATCH == 0) {
            double asks = cpu_ns(CLOCK_MONOTONIC);

            ask(v, &random, batch);
            asking[i / BATCH] = cpu_ns(CLOCK_MONOTONIC) - asks;
        }
        value = &v->values[a->value];
        if (mp__cache_peek_memory(cache, a->address, mp__cache_hash(hasher, a->address), &entry) !=
            0)
            continue;
        found += i % BATCH != 0 ||
                 mp_str_equal(mp_blob_str(&entry->blob.pub), mp_str_new(value->value, value->size));
        (void)mp__entry_unref(entry);
    }
    *ret_ns = (cpu_ns(CLOCK_THREAD_CPUTIME_ID) - began) / GETS;
    *ret_ask_ns = mp__l1_run_median(asking, GETS / BATCH) / BATCH;
    *ret_ns -= *ret_ask_ns;
    return found >= GETS / 100 * 98 ? 0 : MP_ECORRUPT; /* a few may not have been admitted */
}

/* ---- the references ---- */

typedef struct plain {
    ZSTD_CCtx *cctx;
    ZSTD_DCtx *dctx;
    char *bodies, *frames, back[BODY];
    size_t count, *body_sizes, *frame_sizes;
} plain;

static void plain_done(plain *p)
{
    (void)ZSTD_freeCCtx(p->cctx);
    (void)ZSTD_freeDCtx(p->dctx);
    (void)mp__free(p->bodies);
    (void)mp__free(p->frames);
    (void)mp__free(p->body_sizes);
    (void)mp__free(p->frame_sizes);
}

/* What L2 compresses of each value, BODY apart. */
static int plain_init(plain *p, const mp__config_values *v)
{
    p->count = v->count - v->known;
    p->cctx = ZSTD_createCCtx();
    p->dctx = ZSTD_createDCtx();
    p->bodies = mp__realloc_array(NULL, p->count, BODY);
    p->frames = mp__realloc_array(NULL, p->count, BODY);
    p->body_sizes = mp__calloc(p->count, sizeof(size_t));
    p->frame_sizes = mp__calloc(p->count, sizeof(size_t));
    if (!p->cctx || !p->dctx || !p->bodies || !p->frames || !p->body_sizes || !p->frame_sizes)
        return MP_ENOMEM;
    for (size_t i = 0; i < p->count; i++) {
        const mp__config_value *one = &v->values[v->known + i];
        int size =
            snprintf(p->bodies + i * BODY, BODY, "%sapplication/json%s", one->address, one->value);

        p->body_sizes[i] = size < BODY ? (size_t)size : BODY - 1;
    }
    return 0;
}

static int plain_turn(plain *p, figures *f)
{
    double t0 = cpu_ns(CLOCK_THREAD_CPUTIME_ID), t1, t2, t3;
    size_t in = 0, out = 0;

    for (size_t i = 0; i < p->count; i++) {
        p->frame_sizes[i] = ZSTD_compressCCtx(p->cctx, p->frames + i * BODY, BODY,
                                              p->bodies + i * BODY, p->body_sizes[i], LEVEL);
        in += p->body_sizes[i];
        out += p->frame_sizes[i];
    }
    t1 = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
    for (size_t i = 0; i < p->count; i++)
        if (ZSTD_decompressDCtx(p->dctx, p->back, BODY, p->frames + i * BODY, p->frame_sizes[i]) !=
            p->body_sizes[i])
            return MP_ECORRUPT;
    t2 = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
    for (size_t i = 0; i < p->count; i++) {
        memcpy(p->back, p->bodies + i * BODY, p->body_sizes[i]);
        __asm__ volatile("" : : "r"(p->back) : "memory");
    }
    t3 = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
    f->plain_ratio = (double)in / (double)out;
    f->plain_pack_ns = (t1 - t0) / (double)p->count;
    f->plain_get_ns = (t2 - t1) / (double)p->count;
    f->copy_ns = (t3 - t2) / (double)p->count;
    f->mean_bytes = (double)in / (double)p->count;
    return 0;
}

/* ---- both, in turns ---- */

/* What a put into a cache with L2 takes more than one without. */
static int pack_turn(mp_cache *cache, const mp__config_values *v, double *ret_ns)
{
    mp_cache *bare = NULL;
    double with, without;
    int rc = cache_with(0, NULL, &bare);

    if (rc == 0)
        rc = put_again(cache, v, &with);
    if (rc == 0)
        rc = put_again(bare, v, &without);
    if (rc == 0)
        *ret_ns = with - without;
    (void)mp_cache_free(bare);
    return rc;
}

/* All values into *ret_cache, which is new; *ret_ns more than into one without L2. */
static int first_turn(const mp__config_values *v, mp_cache **ret_cache, double *ret_ns)
{
    mp_cache *bare = NULL;
    double with, without;
    int rc = cache_with(v->count * 2, NULL, ret_cache);

    if (rc == 0)
        rc = cache_with(0, NULL, &bare);
    if (rc == 0)
        rc = put_timed(*ret_cache, v, 0, once, &with);
    if (rc == 0)
        rc = put_timed(bare, v, 0, once, &without);
    if (rc == 0)
        *ret_ns = with - without;
    (void)mp_cache_free(bare);
    return rc;
}

static int ours_turn(const mp__config_values *v, figures *f)
{
    mp_cache *cache = NULL;
    mp_cache_stats s = {0};
    double first = 0;
    int rc = first_turn(v, &cache, &first);

    if (rc == 0)
        rc = pack_turn(cache, v, &f->pack_ns);
    if (rc == 0) {
        mp_cache_stats_read(cache, &s);
        f->ratio_with =
            (double)s.l2_body_bytes / (double)(s.l2_stored_bytes + s.l2_dictionary_bytes);
        f->train_ns = first - f->pack_ns;
        f->count = v->count - v->known;
        rc = get_all(cache, v, &f->get_ns, &f->ask_ns);
    }
    (void)mp_cache_free(cache);
    return rc;
}

/* With all threads on one core, then only the packing as the system spreads them. */
static int ours_on_one_and_spread(const mp__config_values *v, figures *f)
{
    cpu_set_t all, one;
    mp_cache *cache = NULL;
    double first;
    int rc;

    if (sched_getaffinity(0, sizeof(all), &all) != 0)
        return -errno;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    if (sched_setaffinity(0, sizeof(one), &one) != 0) /* threads made from now on, too */
        return -errno;
    rc = ours_turn(v, f);
    if (sched_setaffinity(0, sizeof(all), &all) != 0)
        return -errno;
    if (rc == 0)
        rc = first_turn(v, &cache, &first);
    if (rc == 0)
        rc = pack_turn(cache, v, &f->spread_ns);
    (void)mp_cache_free(cache);
    return rc;
}

static double value_bytes(const mp__config_values *v, size_t from, size_t to)
{
    double bytes = 0;

    for (size_t i = from; i < to; i++)
        bytes += (double)v->values[i].size;
    return bytes;
}

/* The first half in a cache that goes, then some of the second half in the one after it. */
static int ratio_in(const char *folder, const mp__config_values *v, figures *f)
{
    size_t most = v->known + MEASURED < v->count ? v->known + MEASURED : v->count;
    mp_cache_stats s = {0};
    mp_cache *cache = NULL;
    int rc = cache_with(v->count * 2, folder, &cache);

    if (rc == 0)
        rc = put_values(cache, v, 0, v->known, once);
    cache = mp_cache_free(cache);
    if (rc == 0)
        rc = cache_with(v->count * 2, folder, &cache);
    if (rc == 0)
        rc = put_values(cache, v, v->known, most, (turns){1, 1});
    if (rc == 0) {
        mp_cache_stats_read(cache, &s);
        f->ratio = (double)s.l2_body_bytes / (double)s.l2_stored_bytes;
        f->value_ratio = value_bytes(v, v->known, most) / (double)(most - v->known) *
                         (double)s.l2_entries / (double)s.l2_stored_bytes;
        f->dictionaries = s.l2_dictionaries;
        f->dictionary_bytes = s.l2_dictionary_bytes;
    }
    (void)mp_cache_free(cache);
    return rc;
}

static int ratio_of(const mp__config_values *v, figures *f)
{
    char folder[] = "/tmp/marketprism-bench-XXXXXX";
    int rc;

    if (!mkdtemp(folder))
        return -errno;
    rc = ratio_in(folder, v, f);
    mp__bench_folder_remove(folder);
    return rc;
}

static int measure(const mp__config_values *v, unsigned rounds, figures *ret_figures)
{
    double pack[ROUNDS_MAX] = {0}, spread[ROUNDS_MAX] = {0}, train[ROUNDS_MAX] = {0},
           get[ROUNDS_MAX] = {0}, asking[ROUNDS_MAX] = {0}, plain_pack[ROUNDS_MAX] = {0},
           plain_get[ROUNDS_MAX] = {0}, copy[ROUNDS_MAX] = {0};
    plain *p = mp__calloc(1, sizeof(*p));
    int rc = p ? 0 : MP_ENOMEM;

    *ret_figures = (figures){0};
    if (p)
        rc = plain_init(p, v);
    if (rc == 0)
        rc = ratio_of(v, ret_figures);
    for (unsigned i = 0; i < rounds && rc == 0; i++) {
        rc = ours_on_one_and_spread(v, ret_figures);
        if (rc == 0)
            rc = plain_turn(p, ret_figures);
        pack[i] = ret_figures->pack_ns;
        spread[i] = ret_figures->spread_ns;
        train[i] = ret_figures->train_ns;
        get[i] = ret_figures->get_ns;
        asking[i] = ret_figures->ask_ns;
        plain_pack[i] = ret_figures->plain_pack_ns;
        plain_get[i] = ret_figures->plain_get_ns;
        copy[i] = ret_figures->copy_ns;
    }
    if (p)
        plain_done(p);
    (void)mp__free(p);
    if (rc)
        return rc;
    ret_figures->pack_ns = mp__l1_run_median(pack, rounds);
    ret_figures->spread_ns = mp__l1_run_median(spread, rounds);
    ret_figures->train_ns = mp__l1_run_median(train, rounds);
    ret_figures->get_ns = mp__l1_run_median(get, rounds);
    ret_figures->ask_ns = mp__l1_run_median(asking, rounds);
    ret_figures->plain_pack_ns = mp__l1_run_median(plain_pack, rounds);
    ret_figures->plain_get_ns = mp__l1_run_median(plain_get, rounds);
    ret_figures->copy_ns = mp__l1_run_median(copy, rounds);
    return 0;
}

static unsigned rounds_of(const mp__bench_options *options)
{
    unsigned rounds = options->rounds ? options->rounds : ROUNDS;

    return rounds < ROUNDS_MAX ? rounds : ROUNDS_MAX;
}

static int made_values(const mp__bench_options *options, figures *ret_figures)
{
    mp__config_values values;
    int rc = mp__config_values_make(&values, VALUES);

    if (rc)
        return rc;
    rc = measure(&values, rounds_of(options), ret_figures);
    mp__config_values_done(&values);
    return rc;
}

static int print_json(const char *of, const figures *f, mp__buf *out)
{
    return mp__buf_printf(
        out,
        "{\"bench\":\"compress\",\"values\":\"%s\",\"count\":%zu,\"mean_bytes\":%.0f,"
        "\"reference\":\"zstd level 3 without a dictionary; memcpy\",\"ratio\":%.2f,"
        "\"value_ratio\":%.2f,\"reference_ratio\":%.2f,\"gain\":%.2f,"
        "\"ratio_with_dictionaries\":%.2f,\"compress_ns\":%.0f,\"spread_ns\":%.0f,"
        "\"train_ns\":%.0f,\"reference_ns\":%.0f,\"get_ns\":%.0f,\"reference_get_ns\":%.0f,"
        "\"asking_ns\":%.0f,\"memcpy_ns\":%.0f,\"dictionaries\":%zu,\"dictionary_bytes\":%zu}\n",
        of, f->count, f->mean_bytes, f->ratio, f->value_ratio, f->plain_ratio,
        f->ratio / f->plain_ratio, f->ratio_with, f->pack_ns, f->spread_ns, f->train_ns,
        f->plain_pack_ns, f->get_ns, f->plain_get_ns, f->ask_ns, f->copy_ns, f->dictionaries,
        f->dictionary_bytes);
}

static int print_head(unsigned rounds, mp__buf *out)
{
    return mp__buf_printf(
        out,
        "How much smaller L2 makes a value with all that belongs to it, and CPU time each, median "
        "of "
        "%u turns;\nreference: zstd level 3 without a dictionary, the same bytes\n\n"
        "                               smaller               into L2 (over cores)         "
        "read back\n"
        "                values  bytes     L2  reference        L2        reference             L2 "
        " "
        "reference\n",
        rounds);
}

static int print_row(const char *of, const figures *f, mp__buf *out)
{
    return mp__buf_printf(out,
                          "%-10s %11zu %6.0f %6.2f %5.2f %5.2fx %6.2f (%.2f) %6.2f us %5.2fx %6.2f "
                          "%5.2f us %5.2fx\n",
                          of, f->count, f->mean_bytes, f->ratio, f->plain_ratio,
                          f->ratio / f->plain_ratio, f->pack_ns / 1000, f->spread_ns / 1000,
                          f->plain_pack_ns / 1000, f->pack_ns / f->plain_pack_ns, f->get_ns / 1000,
                          f->plain_get_ns / 1000, f->get_ns / f->plain_get_ns);
}

/* What is not to be compared with the reference. */
static int print_rest(const char *of, const figures *f, mp__buf *out)
{
    return mp__buf_printf(
        out,
        "%-10s the value alone %.2f times smaller; all, with the dictionary's %zu "
        "bytes, %.2f times;\n           training %.1f us of each of the first; "
        "memcpy %.2f us\n",
        of, f->value_ratio, f->dictionary_bytes, f->ratio_with, f->train_ns / 1000,
        f->copy_ns / 1000);
}

int mp__bench_compress(const mp__bench_options *options, mp__buf *out, mp__diag *diag)
{
    static const struct {
        const char *name, *json;
    } of[] = {{"made", "made by five schemas"},
              {"blocks", "blocks of examples/config"},
              {"leaves", "leaves of examples/config"},
              {"documents", "documents of examples/config"}};
    enum { KINDS = sizeof(of) / sizeof(of[0]) };
    mp__config_values values;
    figures f[KINDS];
    size_t n = 1;
    int rc = made_values(options, &f[0]);

    for (; n < KINDS && rc == 0; n++) {
        if (mp__config_values_read(&values, "examples/config", (enum mp__config_cut)(n - 1)) != 0)
            break; /* run elsewhere than in the sources */
        rc = measure(&values, rounds_of(options), &f[n]);
        mp__config_values_done(&values);
    }
    if (rc)
        return mp__diag_set(diag, rc, "L2 gave no right value: %s", mp_strerror(rc));
    if (!options->json)
        rc = print_head(rounds_of(options), out);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = options->json ? print_json(of[i].json, &f[i], out) : print_row(of[i].name, &f[i], out);
    if (!options->json && rc == 0)
        rc = mp__buf_add(out, "\n", 1);
    for (size_t i = 0; i < n && rc == 0 && !options->json; i++)
        rc = print_rest(of[i].name, &f[i], out);
    if (!options->json && rc == 0 && n > 1)
        rc = mp__buf_printf(out, "(made: documents of five schemas; the others are cut from "
                                 "examples/config)\n");
    return rc;
}

int mp__bench_l2_get(const mp__bench_options *options, mp__buf *out, mp__diag *diag)
{
    figures f;
    int rc = made_values(options, &f);

    if (rc)
        return mp__diag_set(diag, rc, "L2 gave no right value: %s", mp_strerror(rc));
    return mp__buf_printf(
        out,
        options->json
            ? "{\"bench\":\"l2-get\",\"count\":%zu,\"mean_bytes\":%.0f,\"reference\":\"zstd level "
              "3 without a dictionary, expanding alone; memcpy\",\"get_ns\":%.0f,"
              "\"reference_ns\":%.0f,\"ratio\":%.3f,\"asking_ns\":%.0f,\"memcpy_ns\":%.0f,"
              "\"compression\":%.2f}\n"
            : "%zu values of %.0f bytes in compressed memory: a get %.0f ns of CPU, expanding "
              "plain "
              "zstd level 3 alone %.0f ns, %.2fx; what made up the key %.0f ns, which is not in "
              "it; "
              "memcpy %.0f ns; compressed %.2f times\n",
        f.count, f.mean_bytes, f.get_ns, f.plain_get_ns, f.get_ns / f.plain_get_ns, f.ask_ns,
        f.copy_ns, f.ratio);
}
