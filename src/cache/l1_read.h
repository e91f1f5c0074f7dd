/* SPDX-License-Identifier: Apache-2.0 */
/* The hot path: a hit in L1, inline from the announced table to the counted use.
 *
 * No lock, no clock, no shared write but the frequency until it is saturated. What a hit does not
 * need is out of line in l1_read.c. */
#ifndef MP_CACHE_L1_READ_H
#define MP_CACHE_L1_READ_H

#include "cache/l1_table.h"

/* What readers look at of an L1; its first member. Changed rarely, so that its line stays shared by
 * all cores. */
typedef struct mp__l1_front {
    _Atomic(mp__l1_table *) table;
    _Atomic int64_t wall_ms;    /* coarse; 0: nobody ticks, so the clock is asked */
    _Atomic uint64_t *counters; /* MP__L1_SHARDS pairs of hits and misses, a shard a thread */
    mp_env *env;
} mp__l1_front;

enum {
    MP__L1_SHARDS = 64,       /* threads beyond share one and may lose a count */
    MP__L1_SHARD_STRIDE = 16, /* words: two lines, since neighbours are prefetched in pairs */
};

/* The slow part of entering a table: announce it, and let the section count for this L1. */
mp__l1_table *mp__l1_table_enter(mp__l1_front *front, mp__hazard_record *record);

/* Nothing was found: clear the slot, count. NULL, or the table to look into again, since it was
 * changed in the meantime. */
mp__l1_table *mp__l1_missed(mp__l1_front *front, mp__hazard_record *record, mp__l1_table *table);

/* Whether an entry that has an expiry is past it; counted. */
bool mp__l1_is_expired(mp__l1_front *front, const mp__entry *entry);

/* Announced once a section; a resize in between is noticed by the comparison. */
static inline mp__l1_table *mp__l1_table_announced(mp__l1_front *front, mp__hazard_record *record)
{
    mp__l1_table *table = atomic_load_explicit(&front->table, memory_order_acquire);

    if (__builtin_expect(
            atomic_load_explicit(&record->table, memory_order_relaxed) != (void *)table, 0))
        return mp__l1_table_enter(front, record);
    return table;
}

/* Announce the entry that stands at @way and make sure that it still stood there afterwards: then
 * whoever takes it out later sees the announcement. NULL: it has gone. */
static inline mp__entry *mp__l1_announce(const mp__hazard_record *record, _Atomic(void *) *slot,
                                         mp__l1_bucket *bucket, unsigned way)
{
    mp__entry *entry = atomic_load_explicit(&bucket->entries[way], memory_order_acquire);

    while (__builtin_expect(entry != NULL, 1)) {
        mp__entry *again;

        __builtin_prefetch((const char *)entry + 64); /* the key's end, the value's beginning */
        atomic_store_explicit(slot, entry, memory_order_release);
        mp__hazard_barrier(record);
        again = atomic_load_explicit(&bucket->entries[way], memory_order_acquire);
        if (__builtin_expect(again == entry, 1))
            break;
        entry = again;
    }
    return entry;
}

static inline __attribute__((always_inline)) mp__entry *mp__l1_table_read(const mp__l1_table *table,
                                                                          mp__hazard_record *record,
                                                                          mp_str address,
                                                                          uint64_t hash)
{
    _Atomic(void *) *slot = &record->slots[record->used];
    uint64_t tag = mp__l1_tag(hash);

    for (size_t b = hash & table->mask;; b = (b + 1) & table->mask) {
        mp__l1_bucket *bucket = &table->buckets[b];
        uint64_t tags = atomic_load_explicit(&bucket->tags, memory_order_acquire);

        for (uint64_t match = mp__l1_match(tags, tag); match; match &= match - 1) {
            unsigned way = (unsigned)__builtin_ctzl(match) >> 3;
            mp__entry *entry = mp__l1_announce(record, slot, bucket, way);

            if (entry && __builtin_expect(mp__entry_is(entry, address), 1))
                return entry;
        }
        if (__builtin_expect(!mp__l1_passed_over(tags), 1))
            return NULL;
    }
}

/* No write once it is saturated: that write would take the line away from every other core. */
static inline void mp__l1_note_use(mp__entry *entry)
{
    uint8_t f = atomic_load_explicit(&entry->frequency, memory_order_relaxed);

    if (__builtin_expect(f < 3, 0))
        atomic_store_explicit(&entry->frequency, (uint8_t)(f + 1), memory_order_relaxed);
}

/* Inside a read section of this thread's @record with a free slot: the entry, announced until the
 * section ends, or NULL. Counts a hit or a miss, not the use. */
static inline __attribute__((always_inline)) mp__entry *
mp__l1_read(mp__l1_front *front, mp__hazard_record *record, mp_str address, uint64_t hash)
{
    mp__l1_table *table = mp__l1_table_announced(front, record);

    do {
        mp__entry *entry = mp__l1_table_read(table, record, address, hash);

        if (__builtin_expect(entry != NULL, 1) &&
            (__builtin_expect(entry->expires_ms == 0, 1) || !mp__l1_is_expired(front, entry))) {
            record->used++;
            return entry;
        }
        table = mp__l1_missed(front, record, table);
    } while (table);
    return NULL;
}

#endif
