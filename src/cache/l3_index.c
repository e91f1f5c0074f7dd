/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/l3_index.h"

#include <assert.h>

#include "core/alloc.h"

enum { SLOTS_LEAST = 32 };

int mp__l3_index_init(mp__l3_index *index, uint32_t id_count)
{
    memset(index, 0, sizeof(*index));
    index->segments = mp__calloc(id_count, sizeof(mp__l3_segment *));
    index->id_count = id_count;
    if (!index->segments)
        return MP_ENOMEM;
    for (int i = 0; i < MP__L3_SHARDS; i++) {
        mp__l3_shard *shard = &index->shards[i];

        shard->slots = mp__calloc(SLOTS_LEAST, sizeof(*shard->slots));
        if (!shard->slots || pthread_mutex_init(&shard->lock, NULL) != 0) {
            shard->slots = mp__free(shard->slots);
            mp__l3_index_done(index);
            return MP_ENOMEM;
        }
        shard->capacity = SLOTS_LEAST;
    }
    return 0;
}

void mp__l3_index_done(mp__l3_index *index)
{
    for (int i = 0; i < MP__L3_SHARDS; i++) {
        if (!index->shards[i].slots)
            continue;
        (void)pthread_mutex_destroy(&index->shards[i].lock);
        index->shards[i].slots = mp__free(index->shards[i].slots);
    }
    index->segments = mp__free(index->segments);
}

/* ---- slots ---- */

static uint64_t tag_of(uint64_t hash)
{
    return hash << MP__L3_SLOT_BITS;
}

/* Where the search for @tag begins: its high bits spread over any capacity (Lemire, "Fast random
 * integer generation in an interval", 2019), so that tables can grow by less than twice. */
static size_t home(const mp__l3_shard *shard, uint64_t tag)
{
    return (size_t)((unsigned __int128)tag * shard->capacity >> 64);
}

static size_t after(const mp__l3_shard *shard, size_t i)
{
    return i + 1 == shard->capacity ? 0 : i + 1;
}

void mp__l3_shard_prefetch(const mp__l3_shard *shard, uint64_t hash)
{
    __builtin_prefetch(&shard->slots[home(shard, tag_of(hash))], 1);
}

mp__l3_slot *mp__l3_shard_find(mp__l3_shard *shard, uint64_t hash)
{
    uint64_t tag = tag_of(hash);

    for (size_t i = home(shard, tag); mp__l3_slot_kind(&shard->slots[i]); i = after(shard, i))
        if ((shard->slots[i].tag ^ tag) >> MP__L3_SLOT_BITS == 0)
            return &shard->slots[i];
    return NULL;
}

static mp__l3_slot *first_free(mp__l3_shard *shard, uint64_t tag)
{
    size_t i = home(shard, tag);

    while (mp__l3_slot_kind(&shard->slots[i]))
        i = after(shard, i);
    return &shard->slots[i];
}

static int resize(mp__l3_shard *shard, size_t capacity)
{
    size_t old_capacity = shard->capacity;
    mp__l3_slot *old = shard->slots, *slots = mp__calloc(capacity, sizeof(*slots));

    if (!slots)
        return MP_ENOMEM;
    shard->slots = slots;
    shard->capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++)
        if (mp__l3_slot_kind(&old[i]))
            *first_free(shard, old[i].tag) = old[i];
    (void)mp__free(old);
    return 0;
}

/* A shard is full at four fifths of its capacity. */
static size_t capacity_for(size_t count)
{
    size_t capacity = count + count / 4 + count / 16 + 1;

    return capacity < SLOTS_LEAST ? SLOTS_LEAST : capacity;
}

int mp__l3_shard_reserve(mp__l3_shard *shard, size_t count)
{
    return count > shard->capacity / 5 * 4 ? resize(shard, capacity_for(count)) : 0;
}

void mp__l3_shard_fit(mp__l3_shard *shard)
{
    if (shard->capacity > SLOTS_LEAST && shard->count < shard->capacity / 3)
        (void)resize(shard, capacity_for(shard->count)); /* without memory it stays large */
}

int mp__l3_shard_slot(mp__l3_shard *shard, uint64_t hash, mp__l3_slot **ret_slot)
{
    mp__l3_slot *slot = mp__l3_shard_find(shard, hash);

    if (!slot) {
        /* by a third, since the table of a full L3 is large */
        if ((shard->count + 1) * 5 > shard->capacity * 4 &&
            resize(shard, shard->capacity + shard->capacity / 3) != 0)
            return MP_ENOMEM;
        slot = first_free(shard, tag_of(hash));
        *slot = (mp__l3_slot){.tag = tag_of(hash)};
    }
    *ret_slot = slot;
    return 0;
}

void mp__l3_slot_set(mp__l3_shard *shard, mp__l3_slot *slot, unsigned kind, uint64_t revision,
                     unsigned flags)
{
    unsigned old = mp__l3_slot_kind(slot);

    shard->count += old == 0;
    shard->gone += (size_t)(kind == MP__L3_GONE) - (old == MP__L3_GONE);
    slot->revision = revision;
    slot->tag &= ~(uint64_t)(MP__L3_SLOT_KIND | MP__L3_SLOT_FORCED | MP__L3_SLOT_USED);
    slot->tag |= kind | (flags & MP__L3_FORCED ? MP__L3_SLOT_FORCED : 0);
}

void mp__l3_shard_remove(mp__l3_shard *shard, mp__l3_slot *slot)
{
    size_t hole = (size_t)(slot - shard->slots), capacity = shard->capacity;

    mp__l3_shard_note(shard, slot->tag >> MP__L3_SLOT_BITS, slot->revision);
    shard->count--;
    shard->gone -= mp__l3_slot_kind(slot) == MP__L3_GONE;
    slot->tag = 0;
    for (size_t i = after(shard, hole); mp__l3_slot_kind(&shard->slots[i]); i = after(shard, i)) {
        size_t from = home(shard, shard->slots[i].tag);

        /* it moves back unless that would put it before its home */
        if ((i + capacity - from) % capacity < (i + capacity - hole) % capacity)
            continue;
        shard->slots[hole] = shard->slots[i];
        shard->slots[i].tag = 0;
        hole = i;
    }
}

/* ---- what is needed of segments ---- */

void mp__l3_index_need(mp__l3_index *index, mp__l3_place place)
{
    if (place)
        (void)atomic_fetch_add_explicit(&index->segments[mp__l3_place_id(place)]->live_bytes,
                                        mp__l3_place_size(place), memory_order_relaxed);
}

/* Release order: the writer may free the segment once it has seen zero. */
void mp__l3_index_release(mp__l3_index *index, mp__l3_place place)
{
    if (place) {
        uint32_t size = mp__l3_place_size(place);
        uint64_t before = atomic_fetch_sub_explicit(
            &index->segments[mp__l3_place_id(place)]->live_bytes, size, memory_order_acq_rel);

        assert(before >= size);
        (void)before;
    }
}

/* ---- whole ---- */

size_t mp__l3_index_count(mp__l3_index *index)
{
    size_t count = 0;

    for (int i = 0; i < MP__L3_SHARDS; i++) {
        (void)pthread_mutex_lock(&index->shards[i].lock);
        count += index->shards[i].count - index->shards[i].gone;
        (void)pthread_mutex_unlock(&index->shards[i].lock);
    }
    return count;
}

uint32_t mp__l3_index_enter(mp__l3_index *index, mp__l3_segment *segment)
{
    for (uint32_t id = 1; id < index->id_count; id++)
        if (!index->segments[id]) {
            index->segments[id] = segment;
            segment->id = id;
            return id;
        }
    return 0;
}

void mp__l3_index_leave(mp__l3_index *index, mp__l3_segment *segment)
{
    index->segments[segment->id] = NULL;
}
