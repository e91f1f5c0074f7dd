/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/l1_table.h"

#include <sys/mman.h>

#include "core/alloc.h"

enum { HUGE_BYTES = 2 * 1024 * 1024, PASSED_STICKS = 127 };

/* At most half of the ways are taken on average, so that few entries leave their home bucket. */
static size_t bucket_count(size_t entries_max)
{
    size_t count = 4;

    while (count * MP__L1_WAYS / 2 < entries_max)
        count *= 2;
    return count;
}

size_t mp__l1_table_bytes(size_t entries_max)
{
    return bucket_count(entries_max) * sizeof(mp__l1_bucket) + sizeof(mp__l1_table);
}

int mp__l1_table_new(size_t entries_max, mp__l1_table **ret_table)
{
    size_t count = bucket_count(entries_max), bytes = count * sizeof(mp__l1_bucket);
    mp__l1_table *table = mp__calloc(1, sizeof(*table));

    if (!table)
        return MP_ENOMEM;
    table->buckets = mp__aligned_alloc(bytes >= HUGE_BYTES ? HUGE_BYTES : 64, bytes);
    if (!table->buckets) {
        (void)mp__free(table);
        return MP_ENOMEM;
    }
    if (bytes >= HUGE_BYTES)
        (void)madvise(table->buckets, bytes, MADV_HUGEPAGE); /* a wish */
    memset((void *)table->buckets, 0, bytes);
    table->count = count;
    table->home_mask = (count - 1) * sizeof(mp__l1_bucket);
    table->bytes = bytes + sizeof(*table);
    table->retired.pointer = table;
    *ret_table = table;
    return 0;
}

mp__l1_table *mp__l1_table_free(mp__l1_table *table)
{
    if (table)
        (void)mp__free(table->buckets);
    return mp__free(table);
}

static void tags_set(mp__l1_bucket *bucket, unsigned byte, uint64_t value)
{
    uint64_t tags = atomic_load_explicit(&bucket->tags, memory_order_relaxed);

    tags = (tags & ~((uint64_t)0xff << (byte * 8))) | value << (byte * 8);
    atomic_store_explicit(&bucket->tags, tags, memory_order_release);
}

static void passed_over(mp__l1_bucket *bucket, int step)
{
    uint64_t count = atomic_load_explicit(&bucket->tags, memory_order_relaxed) >> 56;

    if (count != PASSED_STICKS)
        tags_set(bucket, 7, count + (uint64_t)(int64_t)step);
}

bool mp__l1_table_find(mp__l1_table *table, mp_str address, uint64_t hash, mp__l1_place *ret_place)
{
    uint64_t tag = mp__l1_tag(hash);

    for (mp__l1_bucket *bucket = mp__l1_home(table, hash);; bucket = mp__l1_after(table, bucket)) {
        uint64_t tags = atomic_load_explicit(&bucket->tags, memory_order_relaxed);

        for (uint64_t match = mp__l1_match(tags, tag); match; match &= match - 1) {
            unsigned way = (unsigned)__builtin_ctzl(match) >> 3;
            mp__entry *entry = atomic_load_explicit(&bucket->entries[way], memory_order_relaxed);

            if (entry && mp__entry_is(entry, address)) {
                *ret_place = (mp__l1_place){bucket, way};
                return true;
            }
        }
        if (!mp__l1_passed_over(tags))
            return false;
    }
}

mp__entry *mp__l1_table_find_hash(mp__l1_table *table, uint64_t hash)
{
    for (mp__l1_bucket *bucket = mp__l1_home(table, hash);; bucket = mp__l1_after(table, bucket)) {
        uint64_t tags = atomic_load_explicit(&bucket->tags, memory_order_relaxed);

        for (uint64_t match = mp__l1_match(tags, mp__l1_tag(hash)); match; match &= match - 1) {
            unsigned way = (unsigned)__builtin_ctzl(match) >> 3;
            mp__entry *entry = atomic_load_explicit(&bucket->entries[way], memory_order_relaxed);

            if (entry && mp__entry_cold_of(entry)->node.hash == hash)
                return entry;
        }
        if (!mp__l1_passed_over(tags))
            return NULL;
    }
}

bool mp__l1_table_insert(mp__l1_table *table, mp__entry *entry, uint64_t hash)
{
    mp__l1_bucket *bucket = mp__l1_home(table, hash);

    for (size_t n = 0; n < table->count; n++, bucket = mp__l1_after(table, bucket)) {
        uint64_t tags = atomic_load_explicit(&bucket->tags, memory_order_relaxed);

        for (unsigned way = 0; way < MP__L1_WAYS; way++) {
            if (tags >> (way * 8) & 0xff)
                continue;
            /* the entry first, so that whoever sees the tag finds it */
            atomic_store_explicit(&bucket->entries[way], entry, memory_order_release);
            tags_set(bucket, way, mp__l1_tag(hash));
            return true;
        }
        passed_over(bucket, 1);
    }
    for (size_t b = 0; b < table->count; b++)
        passed_over(&table->buckets[b], -1);
    return false;
}

void mp__l1_table_remove(mp__l1_table *table, mp__l1_place place, uint64_t hash)
{
    atomic_store_explicit(&place.bucket->entries[place.way], NULL, memory_order_release);
    tags_set(place.bucket, place.way, 0);
    for (mp__l1_bucket *b = mp__l1_home(table, hash); b != place.bucket; b = mp__l1_after(table, b))
        passed_over(b, -1);
}
