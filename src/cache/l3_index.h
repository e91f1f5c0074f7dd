/* SPDX-License-Identifier: Apache-2.0 */
/* L3's index in memory: where the newest record of each address is, in the queue or on disk.
 *
 * 16 shards, each a lock and an open-addressing table with linear probing and backward-shift
 * deletion (Knuth, TAOCP 3, 6.4, algorithm R). Addresses are known by their 64-bit keyed hash; a
 * read compares the address. */
#ifndef MP_CACHE_L3_INDEX_H
#define MP_CACHE_L3_INDEX_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache/l3_format.h"
#include "core/env.h"

/* A segment on disk. Referenced by the list of segments and by readers under way. */
typedef struct mp__l3_segment {
    struct mp__l3_segment *next; /* by number, oldest first; the writer's */
    uint64_t number;
    mp__file *file;
    _Atomic uint32_t refs;
    _Atomic uint64_t live_bytes; /* of records that the index points to */
    uint64_t size;               /* of the file so far; the writer's */
    mp__l3_row *rows;            /* of the records, for the footer and for dropping; the writer's */
    size_t row_count, row_capacity;
    size_t synced_rows;
    bool sealed;
} mp__l3_segment;

/* A record on its way to disk. Owned by the queue; the index points to it until it is written. */
typedef struct mp__l3_pending {
    struct mp__l3_pending *next;
    uint64_t hash, revision;
    uint32_t size;
    uint8_t kind;
    bool readmitted; /* written for the second time: not a new append */
    unsigned char bytes[];
} mp__l3_pending;

typedef struct mp__l3_slot {
    uint64_t hash, revision;
    mp__l3_segment *segment; /* NULL: pending */
    mp__l3_pending *pending;
    uint32_t offset, size;
    uint8_t kind;                     /* 0: the slot is empty */
    uint8_t used;                     /* read since the writer last looked */
    uint32_t generation, verify_by_s; /* freshness, as of an entry; not on disk */
} mp__l3_slot;

enum { MP__L3_SHARDS = 16 };

typedef struct mp__l3_shard {
    pthread_mutex_t lock;
    mp__l3_slot *slots;
    size_t mask, count; /* slots - 1; taken */
} mp__l3_shard;

typedef struct mp__l3_index {
    mp__l3_shard shards[MP__L3_SHARDS];
} mp__l3_index;

MP_MUST_USE int mp__l3_index_init(mp__l3_index *index);
void mp__l3_index_done(mp__l3_index *index);

static inline mp__l3_shard *mp__l3_index_shard(mp__l3_index *index, uint64_t hash)
{
    return &index->shards[hash >> 60];
}

/* Under the shard's lock. */
mp__l3_slot *mp__l3_shard_find(mp__l3_shard *shard, uint64_t hash); /* or NULL */
/* The slot of @hash, made empty (kind 0) if missing; valid until the next change. MP_ENOMEM. */
MP_MUST_USE int mp__l3_shard_slot(mp__l3_shard *shard, uint64_t hash, mp__l3_slot **ret_slot);
void mp__l3_shard_remove(mp__l3_shard *shard, mp__l3_slot *slot);

/* Let @slot point to a record on disk or in the queue, keeping the segments' live bytes. */
void mp__l3_slot_set_disk(mp__l3_slot *slot, mp__l3_segment *segment, const mp__l3_row *row);
void mp__l3_slot_set_pending(mp__l3_slot *slot, mp__l3_pending *pending);
void mp__l3_slot_clear(mp__l3_slot *slot); /* before removing it */

size_t mp__l3_index_count(mp__l3_index *index);

#endif
