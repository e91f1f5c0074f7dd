/* SPDX-License-Identifier: Apache-2.0 */
/* L3's index in memory: where the newest record of each address is, in the queue or on disk.
 *
 * 64 shards, each a lock and an open-addressing table with linear probing and backward-shift
 * deletion (Knuth, TAOCP 3, 6.4, algorithm R). Addresses are known by their 64-bit keyed hash, all
 * of which a slot has: its top bits are the shard, the others stand in the slot beside the flags. A
 * read compares the address. A slot is half a cache line.
 *
 * A segment counts the bytes that are still needed of it: of records that slots point to, and of
 * those whose successor is still in the queue. Not before that is zero may its file go, or a crash
 * would find neither. */
#ifndef MP_CACHE_L3_INDEX_H
#define MP_CACHE_L3_INDEX_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache/l3_format.h"
#include "core/env.h"

/* A segment on disk. Referenced by the list of segments and by readers under way. */
typedef struct mp__l3_segment {
    struct mp__l3_segment *next; /* by number, oldest first; the writer's */
    mp__l3_seed seed;            /* its number, and what its sums begin with */
    mp__file *file;
    _Atomic uint32_t refs;
    _Atomic uint64_t live_bytes;
    uint64_t size;    /* of the file so far; the writer's, as all below */
    uint64_t log_end; /* of a segment that was found without a footer; else 0 */
    size_t certain;   /* rows of it that were synced for sure */
    uint32_t id;      /* in the index */
    mp__l3_row *rows; /* of a segment without a footer; NULL: read them from there */
    size_t row_count, row_capacity;
    bool has_footer;
    bool is_stuck;         /* not all of it could be moved out: it waits until it is the oldest */
    bool is_kept_as_it_is; /* nothing more of it could be written anew under another key */
    bool has_damage;       /* found before log_end */
    bool is_ours;          /* the footer's hashes are made with this process's secret */
} mp__l3_segment;

/* Where a record is on disk, in one word: segment id 18 bits, offset/8 24 bits, size/8 22 bits. 0:
 * nowhere. */
typedef uint64_t mp__l3_place;
enum { MP__L3_IDS_MAX = 1 << 18 };

static inline mp__l3_place mp__l3_place_make(uint32_t id, uint32_t offset, uint32_t size)
{
    return (uint64_t)id << 46 | (uint64_t)(offset / 8) << 22 | size / 8;
}
static inline uint32_t mp__l3_place_id(mp__l3_place place)
{
    return (uint32_t)(place >> 46);
}
static inline uint32_t mp__l3_place_offset(mp__l3_place place)
{
    return (uint32_t)(place >> 22 & 0xffffff) * 8;
}
static inline uint32_t mp__l3_place_size(mp__l3_place place)
{
    return (uint32_t)(place & 0x3fffff) * 8;
}

/* A record on its way to disk. Owned by the queue, then by the writer; the index points to it until
 * it is written and synced. */
typedef struct mp__l3_pending {
    struct mp__l3_pending *next, *previous;
    uint64_t hash, revision;
    mp__l3_place instead_of; /* a record on disk that is needed until this one is there */
    mp__l3_place place;      /* where it was written, not yet for certain */
    uint32_t size;
    uint8_t kind, flags; /* as of a row */
    bool taken;          /* the writer has it: not in the queue */
    bool unwanted;       /* replaced while the writer had it */
    unsigned char bytes[];
} mp__l3_pending;

enum mp__l3_slot_bits {
    MP__L3_SLOT_KIND = 3, /* 0: the slot is empty */
    MP__L3_SLOT_PENDING = 4,
    MP__L3_SLOT_USED = 8, /* read since it was written */
    MP__L3_SLOT_FORCED = 16,
    MP__L3_SLOT_BITS = MP__L3_PART_BITS,
};

typedef struct mp__l3_slot {
    uint64_t tag; /* hash << 6 and bits */
    uint64_t at;  /* mp__l3_place, or the mp__l3_pending; GONE may be nowhere */
    uint64_t revision;
    uint32_t generation, verify_by_s; /* freshness, as of an entry; not on disk */
} mp__l3_slot;

enum { MP__L3_SHARDS = 1 << MP__L3_SLOT_BITS, MP__L3_FLOORS = 256 };

typedef struct mp__l3_shard {
    pthread_mutex_t lock;
    /* By the low bits of hashes: the newest revision that was known of an address which has no
     * slot, or perhaps of another with the same bits. So that what was forgotten is not followed
     * by something older. Of this life only: 128 KiB in all. */
    uint64_t floors[MP__L3_FLOORS];
    mp__l3_slot *slots;
    size_t capacity, count, gone; /* count: taken slots; gone: of these kind GONE */
    bool is_unloaded;             /* of what is on disk nothing is in here yet: see l3_load.c */
} __attribute__((aligned(128))) mp__l3_shard;

typedef struct mp__l3_index {
    mp__l3_shard shards[MP__L3_SHARDS];
    mp__l3_segment **segments; /* by id; an entry is set before the first slot points to it */
    uint32_t id_count;
} mp__l3_index;

/* Room for @id_count - 1 segments. */
MP_MUST_USE int mp__l3_index_init(mp__l3_index *index, uint32_t id_count);
void mp__l3_index_done(mp__l3_index *index);

static inline unsigned mp__l3_shard_number(uint64_t hash)
{
    return (unsigned)(hash >> (64 - MP__L3_SLOT_BITS));
}
static inline mp__l3_shard *mp__l3_index_shard(mp__l3_index *index, uint64_t hash)
{
    return &index->shards[mp__l3_shard_number(hash)];
}
static inline unsigned mp__l3_slot_kind(const mp__l3_slot *slot)
{
    return slot->tag & MP__L3_SLOT_KIND;
}
static inline bool mp__l3_slot_is(const mp__l3_slot *slot, enum mp__l3_slot_bits bit)
{
    return (slot->tag & bit) != 0;
}
static inline uint64_t mp__l3_slot_hash(unsigned shard_number, const mp__l3_slot *slot)
{
    return (uint64_t)shard_number << (64 - MP__L3_SLOT_BITS) | slot->tag >> MP__L3_SLOT_BITS;
}
/* The record in the queue that @slot points to, or NULL. */
static inline mp__l3_pending *mp__l3_slot_pending(const mp__l3_slot *slot)
{
    return mp__l3_slot_is(slot, MP__L3_SLOT_PENDING) ? (mp__l3_pending *)(uintptr_t)slot->at : NULL;
}
/* Where the record on disk is that @slot points to, or 0. */
static inline mp__l3_place mp__l3_slot_place(const mp__l3_slot *slot)
{
    return mp__l3_slot_is(slot, MP__L3_SLOT_PENDING) ? 0 : slot->at;
}

/* ---- under the shard's lock, or of a table that nobody else knows ---- */

/* Room for @count slots in all. MP_ENOMEM. */
MP_MUST_USE int mp__l3_shard_reserve(mp__l3_shard *shard, size_t count);
void mp__l3_shard_fit(mp__l3_shard *shard); /* give back what far fewer do not need */

/* Without the lock: bring the slot of @hash near. */
void mp__l3_shard_prefetch(const mp__l3_shard *shard, uint64_t hash);
mp__l3_slot *mp__l3_shard_find(mp__l3_shard *shard, uint64_t hash); /* or NULL */
/* The slot of @hash, made empty (kind 0) if missing; valid until the next change. MP_ENOMEM. */
MP_MUST_USE int mp__l3_shard_slot(mp__l3_shard *shard, uint64_t hash, mp__l3_slot **ret_slot);
static inline uint64_t *mp__l3_shard_floor(mp__l3_shard *shard, uint64_t hash)
{
    return &shard->floors[hash % MP__L3_FLOORS];
}
/* @revision of @hash was known, and no slot will say so. */
static inline void mp__l3_shard_note(mp__l3_shard *shard, uint64_t hash, uint64_t revision)
{
    uint64_t *floor = mp__l3_shard_floor(shard, hash);

    if (*floor < revision)
        *floor = revision;
}
/* Take the slot out, and note that it was there; what it points to must have been released. */
void mp__l3_shard_remove(mp__l3_shard *shard, mp__l3_slot *slot);

/* Kind, revision and flags, keeping the count of what is gone. */
void mp__l3_slot_set(mp__l3_shard *shard, mp__l3_slot *slot, unsigned kind, uint64_t revision,
                     unsigned flags);

/* A record at @place is needed, or no longer; 0 is left out. */
void mp__l3_index_need(mp__l3_index *index, mp__l3_place place);
void mp__l3_index_release(mp__l3_index *index, mp__l3_place place);

/* ---- the rest takes the locks ---- */

/* Slots taken, without those that are only GONE. */
size_t mp__l3_index_count(mp__l3_index *index);

/* A free id for @segment, which is entered; 0 when there is none. The writer's. */
uint32_t mp__l3_index_enter(mp__l3_index *index, mp__l3_segment *segment);
void mp__l3_index_leave(mp__l3_index *index, mp__l3_segment *segment);

#endif
