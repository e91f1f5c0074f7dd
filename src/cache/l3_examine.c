/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at an L3 folder from outside, without its lock and without changing anything: for
 * `marketprism doctor`, also beside a daemon that writes to it. The newest segments come first,
 * since they are what a restart needs most. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cache/l3_internal.h"

typedef struct examining {
    mp__cache_examined *into;
    uint64_t *numbers;
    size_t count, capacity;
} examining;

static int note_name(void *context, const char *name)
{
    examining *e = context;
    char *end = NULL;
    unsigned long long number;

    if (strncmp(name, "l3-", 3) != 0 || name[3] < '0' || name[3] > '9')
        return 0;
    number = strtoull(name + 3, &end, 10);
    if (strcmp(end, ".seg.bad") == 0)
        e->into->set_aside++;
    if (strcmp(end, ".seg") != 0)
        return 0;
    if (mp__grow(&e->numbers, e->count, &e->capacity, sizeof(*e->numbers)) != 0)
        return MP_ENOMEM;
    e->numbers[e->count++] = number;
    return 0;
}

static int newest_first(const void *a, const void *b)
{
    uint64_t x, y;

    memcpy(&x, a, 8);
    memcpy(&y, b, 8);
    return (x < y) - (x > y);
}

static void count_record(void *context, const mp__l3_found *found)
{
    mp__cache_examined *into = context;

    into->records += !found->damaged && found->kind != MP__L3_MARK;
}

static void note_tail(mp__cache_tail *tail, const char *name, uint64_t bytes, uint64_t records)
{
    if (tail->name[0])
        return;
    (void)snprintf(tail->name, sizeof(tail->name), "%s", name);
    tail->bytes = bytes;
    tail->records_kept = records;
}

/* Where a footer says that the records end, everything before it was whole once. Without one, what
 * nothing good follows may never have been: in the newest, since those before it were synced to
 * their end. Returns places that are damaged. */
static size_t examine_records(const char *name, const unsigned char *data, size_t size,
                              const mp__l3_seed *seed, mp__cache_examined *into)
{
    bool is_newest = into->segments_read == 1;
    uint64_t before = into->records;
    size_t end = size, damaged, good;
    mp__l3_footer footer;
    bool is_sealed = size >= MP__L3_SEGMENT_HEAD + MP__L3_TRAILER &&
                     mp__l3_trailer_read(data + size - MP__L3_TRAILER, size, seed, &footer) == 0;

    if (is_sealed)
        end = footer.directory_at ? footer.directory_at : footer.rows_at;
    good = mp__l3_segment_parse(data, end, seed, count_record, into, &damaged);
    if (good == end)
        return damaged;
    if (is_sealed)
        return damaged + 1;
    note_tail(is_newest && mp__l3_record_is_cut(data + good, end - good, seed, (uint32_t)good)
                  ? &into->torn
                  : &into->spoilt,
              name, end - good, into->records - before);
    return damaged;
}

static void examine_bytes(const char *name, const unsigned char *data, size_t size,
                          mp__cache_examined *into)
{
    mp__l3_segment_head head;
    size_t damaged = 0;
    int rc = mp__l3_head_read(data, size, &head);

    into->newer |= rc == MP_EVERSION;
    if (rc == 0) {
        mp__l3_seed seed = {head.secret, head.number, NULL, head.made_of};

        damaged = examine_records(name, data, size, &seed, into);
    }
    into->damaged_records += damaged;
    into->damaged_segments += damaged > 0 || rc == MP_ECORRUPT;
    if ((damaged || rc) && !into->first_damaged[0])
        (void)snprintf(into->first_damaged, sizeof(into->first_damaged), "%s", name);
}

/* A segment that is being begun has no head yet; one that is gone now was reclaimed. A head is
 * synced before a record follows, so that nothing is lost with a part of one. */
static int examine_segment(mp_env *env, const char *dir, uint64_t number, mp__cache_examined *into)
{
    char path[MP__L3_PATH_MAX], name[64];
    MP__CLEANUP_FREE char *data = NULL;
    size_t size = 0;
    mp__stat stat;
    int rc;

    (void)snprintf(name, sizeof(name), "l3-%010" PRIu64 ".seg", number);
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    rc = mp__env_stat(env, path, &stat);
    if (rc == 0 && stat.size < MP__L3_SEGMENT_HEAD) {
        if (!into->headless[0])
            (void)snprintf(into->headless, sizeof(into->headless), "%s", name);
        return 0;
    }
    if (rc == 0)
        rc = mp__env_read_file(env, path, MP__L3_SEGMENT_MAX + (16u << 20), &data, &size);
    if (rc == -ENOENT)
        return 0;
    if (rc == MP_ENOMEM)
        return rc;
    into->segments_read++;
    into->bytes_read += size;
    if (rc == 0) {
        examine_bytes(name, (const unsigned char *)data, size, into);
        return 0;
    }
    into->damaged_segments++;
    if (!into->first_damaged[0])
        (void)snprintf(into->first_damaged, sizeof(into->first_damaged), "%s", name);
    return 0;
}

int mp__cache_examine(mp_env *env, const char *l3_dir, uint64_t bytes_most,
                      mp__cache_examined *ret_examined)
{
    mp__cache_examined found = {0};
    examining e = {.into = &found};
    int rc = mp__env_list(env, l3_dir, note_name, &e);

    if (e.count)
        qsort(e.numbers, e.count, sizeof(*e.numbers), newest_first);
    found.segments = e.count;
    for (size_t i = 0; i < e.count && rc == 0 && found.bytes_read < bytes_most; i++)
        rc = examine_segment(env, l3_dir, e.numbers[i], &found);
    (void)mp__free(e.numbers);
    if (rc == 0)
        *ret_examined = found;
    return rc;
}
