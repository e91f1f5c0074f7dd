/* SPDX-License-Identifier: Apache-2.0 */
/* L1's table: its form, and how those who hold L1's lock change it. Readers: cache/l1_read.h. */
#ifndef MP_CACHE_L1_TABLE_H
#define MP_CACHE_L1_TABLE_H

#include <stddef.h>

#include "cache/entry.h"
#include "core/bytes.h"

enum { MP__L1_WAYS = 7 };

/* Seven tags (0 empty, else 1 to 127, of seven bits of the hash) and, in the top byte, how many
 * entries passed over this bucket because it was full (0 to 127; there it sticks). */
typedef struct mp__l1_bucket {
    _Atomic uint64_t tags;
    _Atomic(mp__entry *) entries[MP__L1_WAYS];
} __attribute__((aligned(64))) mp__l1_bucket;

typedef struct mp__l1_table {
    mp__retired retired;
    size_t count, bytes; /* of buckets, a power of two; of memory */
    size_t home_mask; /* of a hash's bits: how many bytes behind @buckets its home bucket begins */
    mp__l1_bucket *buckets;
    struct mp__l1_front *front; /* whose it is, for a look that knows no more than the table */
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

/* Where entries of @hash stand if there is room. The hash's bits are taken where they are an offset
 * as they are: what a get waits for is the way from the hash to the entry. */
static inline mp__l1_bucket *mp__l1_home(const mp__l1_table *table, uint64_t hash)
{
    return (mp__l1_bucket *)((char *)table->buckets + (hash & table->home_mask));
}

/* Where they go on when @bucket is full. */
static inline mp__l1_bucket *mp__l1_after(const mp__l1_table *table, mp__l1_bucket *bucket)
{
    return bucket + 1 == table->buckets + table->count ? table->buckets : bucket + 1;
}

static inline uint64_t mp__l1_tag(uint64_t hash)
{
    uint64_t tag = hash >> 57;

#ifdef __x86_64__
    __asm__("cmp $1, %0\n\tadc $0, %0" : "+r"(tag) : : "cc"); /* a register less */
    return tag;
#else
    return tag + (tag == 0);
#endif
}

/* A bit in the top of each of the seven bytes that equals @tag (after Warren, "Hacker's Delight",
 * 6-1; tags are below 128, so that only what was 0 goes there). A byte above a match may show
 * falsely; the comparison of addresses tells. */
static inline uint64_t mp__l1_match(uint64_t tags, uint64_t tag)
{
    uint64_t differ = tags ^ (tag * 0x0001010101010101u);

    return (differ - 0x0001010101010101u) & 0x0080808080808080u;
}

/* The number of the lowest bit of @match, which is not 0. The compiler's own makes an int of it and
 * widens that again, two steps more on the way to the entry. */
static inline size_t mp__l1_lowest(uint64_t match)
{
#ifdef __x86_64__
    size_t bit;

    __asm__("rep bsf %1, %0" : "=r"(bit) : "r"(match) : "cc"); /* TZCNT where there is one */
    return bit;
#else
    return (size_t)__builtin_ctzll(match);
#endif
}

/* The place of the entry whose tag is bit @bit of a match: eight bytes for each eight bits, so that
 * the bit's number needs no shift to become an offset. */
static inline _Atomic(mp__entry *) *mp__l1_at_bit(mp__l1_bucket *bucket, size_t bit)
{
    _Static_assert(offsetof(mp__l1_bucket, entries) == 8 && sizeof(mp__entry *) == 8,
                   "bit 8 n + 7 stands for byte 8 n + 8");
    return (_Atomic(mp__entry *) *)((char *)bucket + bit + 1);
}

/* That of the tag that shows lowest in @match, which is not 0. */
static inline _Atomic(mp__entry *) *mp__l1_matched(mp__l1_bucket *bucket, uint64_t match)
{
    return mp__l1_at_bit(bucket, mp__l1_lowest(match));
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
