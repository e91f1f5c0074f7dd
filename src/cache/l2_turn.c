/* SPDX-License-Identifier: Apache-2.0 */
/* L2: what it takes, and its limits, changed while it is used; its counters. */
#include "cache/l2_internal.h"
#include "core/alloc.h"

enum {
    PENDING_PART = 16,  /* of the bytes, at most MP__L2_QUEUE_BYTES, may wait to be compressed */
    TRAINING = 1 << 20, /* kept free for a training, where there are dictionaries */
    RING_LEAST = 8 * MP__SPAN_BYTES,
    BATCH_PART = 4, /* of what may wait */
};

/* ---- what it takes ---- */

/* All but the ring, what waits, and what a training takes. */
size_t mp__l2_fixed_bytes(const mp__l2 *l2)
{
    return sizeof(*l2) + l2->slot_count * sizeof(mp__l2_slot) + l2->ghost_count * sizeof(uint16_t) +
           MP__L2_FRAME + l2->ring.room * sizeof(mp__l2_chunk *) + l2->cctx_bytes +
           l2->dictionary_bytes_held + atomic_load_explicit(&l2->pool.bytes, memory_order_relaxed);
}

size_t mp__l2_pending_most(const mp__l2 *l2)
{
    size_t part = l2->bytes_max / PENDING_PART;

    return part < MP__L2_QUEUE_BYTES ? part : MP__L2_QUEUE_BYTES;
}

void mp__l2_ring_limit_update(mp__l2 *l2)
{
    size_t taken = mp__l2_fixed_bytes(l2) + mp__l2_pending_most(l2) +
                   (atomic_load(&l2->dictionary_bytes) ? TRAINING : 0);
    size_t limit = l2->bytes_max > taken + RING_LEAST ? l2->bytes_max - taken : RING_LEAST;

    atomic_store_explicit(&l2->batch_weight, mp__l2_pending_most(l2) / BATCH_PART,
                          memory_order_relaxed);
    if (limit == atomic_load_explicit(&l2->ring.spans.limit, memory_order_relaxed))
        return;
    atomic_store_explicit(&l2->ring.spans.limit, limit, memory_order_relaxed);
    mp__l2_ring_shrink(l2);
}

/* ---- turning ---- */

/* Under the lock. What waits is given up where evicting is not enough. */
static void evict_to(mp__l2 *l2, size_t entries)
{
    mp__l2_pending *p = NULL;

    while (l2->entries > entries && mp__l2_ring_evict_one(l2))
        ;
    for (size_t i = 0; i < l2->queue.count && l2->entries > entries; i++) {
        p = p ? mp__l2_queue_after(&l2->queue, l2->queue.wraps_at, p)
              : mp__l2_queue_first(&l2->queue);
        if (!(p->item.flags & MP__L2_DEAD)) {
            mp__l2_drop(l2, mp__l2_find(l2, p->item.hash));
            l2->dropped++;
        }
    }
}

/* Under the lock. */
static void index_change(mp__l2 *l2, size_t entries, mp__l2_slot **slots, uint16_t **ghosts)
{
    mp__l2_slot *old = l2->slots;
    uint16_t *old_ghosts = l2->ghosts;
    size_t old_count = l2->slot_count;

    evict_to(l2, entries);
    l2->entries_max = entries;
    mp__l2_index_set(l2, *slots, mp__l2_slots_for(entries));
    l2->ghosts = *ghosts;
    l2->ghost_count = mp__l2_ghosts_for(entries);
    for (size_t i = 0; i < old_count; i++)
        if (old[i].item)
            mp__l2_index_add(l2, old[i].item);
    *slots = old;
    *ghosts = old_ghosts;
    mp__l2_ring_limit_update(l2);
}

int mp__l2_set_entries(mp__l2 *l2, size_t entries_max)
{
    mp__l2_slot *slots;
    uint16_t *ghosts;
    int rc;

    rc = mp__l2_fits(entries_max, l2->bytes_max) ? mp__l2_index_new(entries_max, &slots, &ghosts)
                                                 : MP_EINVAL;
    if (rc)
        return rc;
    mp__l2_lock(l2);
    if (mp__l2_fits(entries_max, l2->bytes_max))
        index_change(l2, entries_max, &slots, &ghosts);
    else
        rc = MP_EINVAL;
    mp__l2_unlock(l2);
    (void)mp__free(slots);
    (void)mp__free(ghosts);
    return rc;
}

int mp__l2_set_bytes(mp__l2 *l2, size_t bytes_max)
{
    int rc = 0;

    mp__l2_lock(l2);
    if (mp__l2_fits(l2->entries_max, bytes_max)) {
        l2->bytes_max = bytes_max;
        mp__l2_ring_limit_update(l2);
    } else {
        rc = MP_EINVAL;
    }
    mp__l2_unlock(l2);
    return rc;
}

void mp__l2_set_level(mp__l2 *l2, unsigned level)
{
    atomic_store(&l2->level, level);
}

void mp__l2_set_dictionary(mp__l2 *l2, size_t bytes)
{
    mp__l2_lock(l2);
    atomic_store(&l2->dictionary_bytes, bytes);
    mp__l2_ring_limit_update(l2);
    mp__l2_unlock(l2);
}

unsigned mp__l2_level_get(const mp__l2 *l2)
{
    return atomic_load(&l2->level);
}

size_t mp__l2_dictionary_get(const mp__l2 *l2)
{
    return atomic_load(&l2->dictionary_bytes);
}

void mp__l2_stats_read(mp__l2 *l2, mp__l2_stats *ret_stats)
{
    mp__l2_stats s;

    mp__l2_lock(l2);
    s = (mp__l2_stats){
        .hits = l2->hits,
        .misses = l2->misses,
        .inserts = l2->inserts,
        .evictions = l2->evictions,
        .refused = l2->refused,
        .dropped = l2->dropped,
        .corrupt = l2->corrupt,
        .entries = l2->entries,
        .entries_max = l2->entries_max,
        .bytes = mp__l2_fixed_bytes(l2) + l2->queue.touched +
                 atomic_load_explicit(&l2->ring.spans.pages, memory_order_relaxed) +
                 atomic_load_explicit(&l2->training_bytes, memory_order_relaxed),
        .bytes_max = l2->bytes_max,
        .body_bytes = l2->body_bytes,
        .stored_bytes = l2->stored_bytes,
        .dictionary_bytes = l2->dictionary_bytes_held,
        .trainings = l2->trainings,
    };
    for (size_t i = 0; i < MP__L2_DICTIONARIES; i++)
        s.dictionaries += l2->dictionaries[i] != NULL;
    mp__l2_unlock(l2);
    *ret_stats = s;
}
