/* SPDX-License-Identifier: Apache-2.0 */
/* L1's table, read side inline. Writers hold L1's lock. */
#ifndef MP_CACHE_L1_TABLE_H
#define MP_CACHE_L1_TABLE_H

#include "cache/entry.h"

enum { MP__L1_WAYS = 7 };

/* Seven tags (0 empty, else 0x80 and seven bits of the hash) and, in the top byte, how many entries
 * passed over this bucket because it was full (0 to 127; there it sticks). */
typedef struct mp__l1_bucket {
    _Atomic uint64_t tags;
    _Atomic(mp__entry *) entries[MP__L1_WAYS];
} __attribute__((aligned(64))) mp__l1_bucket;

typedef struct mp__l1_table {
    mp__retired retired;
    size_t mask, bytes;
    mp__l1_bucket *buckets;
} mp__l1_table;

/* Where an entry stands. */
typedef struct mp__l1_place {
    mp__l1_bucket *bucket;
    unsigned way;
} mp__l1_place;

MP_MUST_USE int mp__l1_table_new(size_t entries_max, mp__l1_table **ret_table);
mp__l1_table *mp__l1_table_free(mp__l1_table *table);
size_t mp__l1_table_bytes(size_t entries_max);

/* Writers. */
bool mp__l1_table_find(mp__l1_table *table, mp_str address, uint64_t hash, mp__l1_place *ret_place);
/* False when every bucket is full (then the table was sized wrongly). */
bool mp__l1_table_insert(mp__l1_table *table, mp__entry *entry, uint64_t hash);
void mp__l1_table_remove(mp__l1_table *table, mp__l1_place place, uint64_t hash);
static inline void mp__l1_table_replace(mp__l1_place place, mp__entry *entry)
{
    atomic_store_explicit(&place.bucket->entries[place.way], entry, memory_order_release);
}

static inline uint64_t mp__l1_tag(uint64_t hash)
{
    return hash >> 57 | 0x80;
}

/* A bit in the top of each of the seven bytes that equals @tag (Warren, "Hacker's Delight", 6-1).
 * A byte above a match may show falsely; the comparison of addresses tells. */
static inline uint64_t mp__l1_match(uint64_t tags, uint64_t tag)
{
    uint64_t x = tags ^ (tag * 0x0001010101010101u);

    return (x - 0x0001010101010101u) & ~x & 0x0080808080808080u;
}

static inline bool mp__l1_passed_over(uint64_t tags)
{
    return (tags >> 56) != 0;
}

static inline bool mp__entry_is(const mp__entry *entry, mp_str address)
{
    return entry->address_size == address.size &&
           memcmp(entry->address, address.data, address.size) == 0;
}

/* Announce the entry that stands at @way and make sure that it still stood there afterwards. NULL:
 * it has gone. */
static inline mp__entry *mp__l1_announce(mp__l1_bucket *bucket, unsigned way, _Atomic(void *) *slot)
{
    mp__entry *entry = atomic_load_explicit(&bucket->entries[way], memory_order_acquire);

    while (entry) {
        mp__entry *again;

        __builtin_prefetch((const char *)entry + 64);
        atomic_store_explicit(slot, entry, memory_order_release);
        mp__hazard_barrier();
        again = atomic_load_explicit(&bucket->entries[way], memory_order_acquire);
        if (again == entry)
            break;
        entry = again;
    }
    return entry;
}

/* Readers: the entry of @address, announced in @slot, or NULL (the slot may then announce
 * anything). */
static inline mp__entry *mp__l1_table_read(const mp__l1_table *table, mp_str address, uint64_t hash,
                                           _Atomic(void *) *slot)
{
    uint64_t tag = mp__l1_tag(hash);

    for (size_t b = hash & table->mask;; b = (b + 1) & table->mask) {
        mp__l1_bucket *bucket = &table->buckets[b];
        uint64_t tags = atomic_load_explicit(&bucket->tags, memory_order_acquire);

        for (uint64_t match = mp__l1_match(tags, tag); match; match &= match - 1) {
            mp__entry *entry = mp__l1_announce(bucket, (unsigned)__builtin_ctzl(match) >> 3, slot);

            if (entry && mp__entry_is(entry, address))
                return entry;
        }
        if (__builtin_expect(!mp__l1_passed_over(tags), 1))
            return NULL;
    }
}

#endif
