/* SPDX-License-Identifier: Apache-2.0 */
/* L1's table: its form, and how those who hold L1's lock change it. Readers: cache/l1_read.h. */
#ifndef MP_CACHE_L1_TABLE_H
#define MP_CACHE_L1_TABLE_H

#include <stddef.h>

#include "cache/entry.h"
#include "core/bytes.h"

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
/* The entry of @hash, whatever its address; NULL: there is none. */
mp__entry *mp__l1_table_find_hash(mp__l1_table *table, uint64_t hash);
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

/* The place of the entry whose tag shows lowest in @match, which is not 0: eight bytes for each
 * eight bits, so that the bit's number needs no shift to become an offset. */
static inline _Atomic(mp__entry *) *mp__l1_matched(mp__l1_bucket *bucket, uint64_t match)
{
    _Static_assert(offsetof(mp__l1_bucket, entries) == 8 && sizeof(mp__entry *) == 8,
                   "bit 8 n + 7 stands for byte 8 n + 8");
    return (_Atomic(mp__entry *) *)((char *)bucket + 1 + (unsigned)__builtin_ctzl(match));
}

static inline bool mp__l1_passed_over(uint64_t tags)
{
    return (tags >> 56) != 0;
}

/* Of a value that never expires, with one comparison of all that is not the address. */
static inline bool mp__entry_is_plain(const mp__entry *entry, mp_str address)
{
    return entry->plain_size == address.size &&
           mp__bytes_equal(entry->address, address.data, address.size);
}

static inline bool mp__entry_is(const mp__entry *entry, mp_str address)
{
    return entry->address_size == address.size &&
           mp__bytes_equal(entry->address, address.data, address.size);
}

#endif
