/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/l3_index.h"

#include "core/alloc.h"

enum { SLOTS_LEAST = 64 };

int mp__l3_index_init(mp__l3_index *index)
{
    memset(index, 0, sizeof(*index));
    for (int i = 0; i < MP__L3_SHARDS; i++) {
        mp__l3_shard *shard = &index->shards[i];

        shard->slots = mp__calloc(SLOTS_LEAST, sizeof(*shard->slots));
        if (!shard->slots || pthread_mutex_init(&shard->lock, NULL) != 0) {
            shard->slots = mp__free(shard->slots);
            mp__l3_index_done(index);
            return MP_ENOMEM;
        }
        shard->mask = SLOTS_LEAST - 1;
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
}

static size_t home(const mp__l3_shard *shard, uint64_t hash)
{
    return (size_t)hash & shard->mask;
}

mp__l3_slot *mp__l3_shard_find(mp__l3_shard *shard, uint64_t hash)
{
    for (size_t i = home(shard, hash); shard->slots[i].kind; i = (i + 1) & shard->mask)
        if (shard->slots[i].hash == hash)
            return &shard->slots[i];
    return NULL;
}

static mp__l3_slot *first_free(mp__l3_shard *shard, uint64_t hash)
{
    size_t i = home(shard, hash);

    while (shard->slots[i].kind)
        i = (i + 1) & shard->mask;
    return &shard->slots[i];
}

static int grow(mp__l3_shard *shard)
{
    size_t old_count = shard->mask + 1;
    mp__l3_slot *old = shard->slots, *slots = mp__calloc(old_count * 2, sizeof(*slots));

    if (!slots)
        return MP_ENOMEM;
    shard->slots = slots;
    shard->mask = old_count * 2 - 1;
    for (size_t i = 0; i < old_count; i++)
        if (old[i].kind)
            *first_free(shard, old[i].hash) = old[i];
    (void)mp__free(old);
    return 0;
}

int mp__l3_shard_slot(mp__l3_shard *shard, uint64_t hash, mp__l3_slot **ret_slot)
{
    mp__l3_slot *slot = mp__l3_shard_find(shard, hash);

    if (!slot) {
        if (shard->count + 1 > (shard->mask + 1) / 4 * 3 && grow(shard) != 0)
            return MP_ENOMEM;
        slot = first_free(shard, hash);
        *slot = (mp__l3_slot){.hash = hash};
        shard->count++;
    }
    *ret_slot = slot;
    return 0;
}

void mp__l3_shard_remove(mp__l3_shard *shard, mp__l3_slot *slot)
{
    size_t hole = (size_t)(slot - shard->slots), i = hole;

    mp__l3_slot_clear(slot);
    slot->kind = 0;
    shard->count--;
    for (;;) {
        size_t at;

        i = (i + 1) & shard->mask;
        if (!shard->slots[i].kind)
            return;
        at = home(shard, shard->slots[i].hash);
        /* it may fill the hole unless its home lies behind the hole on the way to it */
        if (((i - at) & shard->mask) < ((i - hole) & shard->mask))
            continue;
        shard->slots[hole] = shard->slots[i];
        shard->slots[i].kind = 0;
        hole = i;
    }
}

void mp__l3_slot_clear(mp__l3_slot *slot)
{
    if (slot->segment)
        (void)atomic_fetch_sub_explicit(&slot->segment->live_bytes, slot->size,
                                        memory_order_relaxed);
    slot->segment = NULL;
    slot->pending = NULL;
}

void mp__l3_slot_set_disk(mp__l3_slot *slot, mp__l3_segment *segment, const mp__l3_row *row)
{
    mp__l3_slot_clear(slot);
    slot->segment = segment;
    slot->revision = row->revision;
    slot->offset = row->offset;
    slot->size = row->size;
    slot->kind = row->kind;
    (void)atomic_fetch_add_explicit(&segment->live_bytes, row->size, memory_order_relaxed);
}

void mp__l3_slot_set_pending(mp__l3_slot *slot, mp__l3_pending *pending)
{
    mp__l3_slot_clear(slot);
    slot->pending = pending;
    slot->revision = pending->revision;
    slot->size = pending->size;
    slot->kind = pending->kind;
}

size_t mp__l3_index_count(mp__l3_index *index)
{
    size_t count = 0;

    for (int i = 0; i < MP__L3_SHARDS; i++) {
        (void)pthread_mutex_lock(&index->shards[i].lock);
        count += index->shards[i].count;
        (void)pthread_mutex_unlock(&index->shards[i].lock);
    }
    return count;
}
