/* SPDX-License-Identifier: Apache-2.0 */
/* Durable writes a second of the sqlite origin with 1, 16 and 64 queued, and fetches, in a folder
 * on a real disk:
 *
 *     bench_origin [FOLDER] [SECONDS]
 *
 * The reference beside it is what one fdatasync of a small append costs there: no store that syncs
 * before it answers can be faster with one writer. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/core.h"
#include "origin/origin.h"

enum { QUEUED_MAX = 64, KEYS = 1000 };

static mp_env *env;
static mp__origin *origin;
static _Atomic uint64_t answered, failed;
static _Atomic bool stopping;
static _Atomic int running;

typedef struct slot {
    mp__write write;
    mp__change change;
    mp__fetch fetch;
    unsigned number;
    char address[32], value[100];
} slot;
static slot slots[QUEUED_MAX];

static void aim(slot *s)
{
    (void)snprintf(s->address, sizeof(s->address), "bench/default/key%u", s->number % KEYS);
    s->number += 7919;
    s->change.address = s->fetch.address = mp_str_of(s->address);
}

static void wrote(mp__write *write, int status)
{
    slot *s = (slot *)write;

    atomic_fetch_add(&answered, 1);
    if (status)
        atomic_fetch_add(&failed, 1);
    if (atomic_load(&stopping)) {
        atomic_fetch_sub(&running, 1);
        return;
    }
    aim(s);
    mp__origin_write(origin, write);
}

static void fetched(mp__fetch *fetch, int status, const mp__record *record)
{
    slot *s = (slot *)(void *)((char *)fetch - offsetof(slot, fetch));

    (void)record;
    atomic_fetch_add(&answered, 1);
    if (status)
        atomic_fetch_add(&failed, 1);
    if (atomic_load(&stopping)) {
        atomic_fetch_sub(&running, 1);
        return;
    }
    aim(s);
    mp__origin_fetch(origin, fetch);
}

static void begin(slot *s, unsigned number, bool writes)
{
    *s = (slot){.number = number};
    memset(s->value, 'v', sizeof(s->value));
    s->change.op = MP__CHANGE_PUT;
    s->change.value = mp_str_new(s->value, sizeof(s->value));
    s->write.changes = &s->change;
    s->write.count = 1;
    s->write.done = wrote;
    s->fetch.done = fetched;
    aim(s);
    if (writes)
        mp__origin_write(origin, &s->write);
    else
        mp__origin_fetch(origin, &s->fetch);
}

static double measure(int queued, double seconds, bool writes)
{
    uint64_t from = mp__env_now_ns(env), until = from + (uint64_t)(seconds * 1e9);
    double took;

    atomic_store(&answered, 0);
    atomic_store(&stopping, false);
    atomic_store(&running, queued);
    for (int i = 0; i < queued; i++)
        begin(&slots[i], (unsigned)i, writes);
    while (mp__env_now_ns(env) < until)
        usleep(1000);
    took = (double)(mp__env_now_ns(env) - from) / 1e9;
    atomic_store(&stopping, true);
    while (atomic_load(&running))
        usleep(100);
    return (double)atomic_load(&answered) / took;
}

static double reference(const char *folder, double seconds)
{
    char path[300], block[4096] = "";
    uint64_t until = mp__env_now_ns(env) + (uint64_t)(seconds * 1e9), from, offset = 0;
    mp__file *file;
    double rate;

    (void)snprintf(path, sizeof(path), "%s/reference", folder);
    if (mp__file_open(env, path, MP__OPEN_WRITE | MP__OPEN_CREATE, &file) != 0)
        return 0;
    from = mp__env_now_ns(env);
    while (mp__env_now_ns(env) < until) {
        if (mp__file_pwrite(file, block, sizeof(block), offset) != 0 || mp__file_sync(file) != 0)
            break;
        offset += sizeof(block);
    }
    rate = (double)(offset / sizeof(block)) * 1e9 / (double)(mp__env_now_ns(env) - from);
    mp__file_close(file);
    (void)mp__env_unlink(env, path);
    return rate;
}

static int remove_file(void *context, const char *name)
{
    char path[600];

    (void)snprintf(path, sizeof(path), "%s/%s", (const char *)context, name);
    return mp__env_unlink(env, path);
}

int main(int argc, char **argv)
{
    char folder[256] = "/var/tmp/mp-bench-XXXXXX", path[300];
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 2;
    mp__origin_options options = {.path = path};
    mp__diag diag = {0};

    env = options.env = mp__env_real();
    if (argc > 1)
        (void)snprintf(folder, sizeof(folder), "%s", argv[1]);
    else if (!mkdtemp(folder))
        return 1;
    (void)snprintf(path, sizeof(path), "%s/origin.db", folder);
    if (mp__origin_open("sqlite", &options, &origin, &diag) != 0) {
        (void)fprintf(stderr, "%s\n", diag.text);
        return 1;
    }
    (void)printf("fdatasync of 4 KiB appended: %.0f/s\n", reference(folder, seconds));
    for (int queued = 1; queued <= QUEUED_MAX; queued = queued == 1 ? 16 : queued * 4) {
        double rate = measure(queued, seconds, true);
        mp__origin_stats stats;

        mp__origin_stats_read(origin, &stats);
        (void)printf("durable writes, %2d queued: %8.0f/s  (last commit %.0f us for %d)\n", queued,
                     rate, (double)stats.commit_ns_last / 1e3, (int)stats.batch_last);
    }
    for (int queued = 1; queued <= QUEUED_MAX; queued *= 64)
        (void)printf("fetches, %2d queued: %8.0f/s\n", queued, measure(queued, seconds, false));
    (void)printf("failed: %d\n", (int)atomic_load(&failed));
    origin = mp__origin_close(origin);
    if (argc <= 1) {
        (void)mp__env_list(env, folder, remove_file, folder);
        (void)rmdir(folder);
    }
    return 0;
}
