/* SPDX-License-Identifier: Apache-2.0 */
/* L2: where each hash is, and what goes with an entry that is taken out. */
#include "cache/l2_internal.h"
#include "core/alloc.h"

/* ---- its size ---- */

/* An index that is four fifths full at most; a ghost for every second entry to come. */
size_t mp__l2_slots_for(size_t entries)
{
    return entries + entries / 4 + 8;
}

size_t mp__l2_ghosts_for(size_t entries)
{
    size_t count = 1024;

    while (count < entries * 2)
        count *= 2;
    return count;
}

static size_t index_bytes(size_t entries)
{
    return mp__l2_slots_for(entries) * sizeof(mp__l2_slot) +
           mp__l2_ghosts_for(entries) * sizeof(uint16_t);
}

int mp__l2_index_new(size_t entries, mp__l2_slot **ret_slots, uint16_t **ret_ghosts)
{
    mp__l2_slot *slots = mp__calloc(mp__l2_slots_for(entries), sizeof(*slots));
    uint16_t *ghosts = mp__calloc(mp__l2_ghosts_for(entries), sizeof(*ghosts));

    if (!slots || !ghosts) {
        (void)mp__free(slots);
        (void)mp__free(ghosts);
        return MP_ENOMEM;
    }
    *ret_slots = slots;
    *ret_ghosts = ghosts;
    return 0;
}

size_t mp__l2_bytes_least(size_t entries)
{
    return index_bytes(entries) + MP__L2_BYTES_LEAST;
}

bool mp__l2_fits(size_t entries, size_t bytes)
{
    return entries > 0 && entries <= (size_t)1 << 32 && bytes >= mp__l2_bytes_least(entries);
}

/* ---- index: open addressing, the next free slot, no marks of what went ---- */

static size_t home_among(size_t slot_count, uint64_t hash)
{
    return (size_t)(((unsigned __int128)hash * slot_count) >> 64);
}

static size_t home_of(const mp__l2 *l2, uint64_t hash)
{
    return home_among(l2->slot_count, hash);
}

static size_t slot_after(const mp__l2 *l2, size_t i)
{
    return i + 1 == l2->slot_count ? 0 : i + 1;
}

void mp__l2_index_set(mp__l2 *l2, mp__l2_slot *slots, size_t count)
{
    l2->slots = slots;
    l2->slot_count = count;
    atomic_store_explicit(&l2->fetch_slots, slots, memory_order_relaxed);
    atomic_store_explicit(&l2->fetch_count, count, memory_order_relaxed);
}

void mp__l2_index_prefetch(const mp__l2 *l2, uint64_t hash)
{
    uintptr_t slots = (uintptr_t)atomic_load_explicit(&l2->fetch_slots, memory_order_relaxed);
    size_t count = atomic_load_explicit(&l2->fetch_count, memory_order_relaxed);

    /* a wish, so that nothing comes of it where there is no index any more */
    __builtin_prefetch((const void *)(slots + home_among(count, hash) * sizeof(mp__l2_slot)), 1);
}

mp__l2_slot *mp__l2_find(mp__l2 *l2, uint64_t hash)
{
    for (size_t i = home_of(l2, hash); l2->slots[i].item; i = slot_after(l2, i))
        if (l2->slots[i].hash == hash)
            return &l2->slots[i];
    return NULL;
}

void mp__l2_index_add(mp__l2 *l2, mp__l2_item *item)
{
    size_t i = home_of(l2, item->hash);

    while (l2->slots[i].item)
        i = slot_after(l2, i);
    l2->slots[i] = (mp__l2_slot){item->hash, item};
}

/* Close the gap: whatever stands behind it and would rather stand in it moves up (Knuth, "The Art
 * of Computer Programming", volume 3, 6.4, algorithm R). */
static void slot_remove(mp__l2 *l2, mp__l2_slot *slot)
{
    size_t gap = (size_t)(slot - l2->slots);

    for (size_t i = slot_after(l2, gap); l2->slots[i].item; i = slot_after(l2, i)) {
        size_t home = home_of(l2, l2->slots[i].hash);
        bool stays = gap < i ? home > gap && home <= i : home > gap || home <= i;

        if (!stays) {
            l2->slots[gap] = l2->slots[i];
            gap = i;
        }
    }
    l2->slots[gap].item = NULL;
}

static void count_low(mp__l2 *l2, const mp__l2_item *item, int by)
{
    if (!(item->flags & MP__L2_LOW))
        return;
    l2->low += (size_t)by;
    if (!(item->flags & MP__L2_PENDING))
        mp__l2_ring_count_low(item, by);
}

void mp__l2_count_in(mp__l2 *l2, const mp__l2_item *item)
{
    mp__l2_group *group = &l2->groups[item->group];

    l2->body_bytes += mp__l2_whole_size(&item->form);
    l2->stored_bytes += item->form.stored_size;
    group->entries++;
    count_low(l2, item, 1);
    group->body_bytes += item->form.body_size;
}

void mp__l2_count_out(mp__l2 *l2, const mp__l2_item *item)
{
    mp__l2_group *group = &l2->groups[item->group];

    l2->body_bytes -= mp__l2_whole_size(&item->form);
    l2->stored_bytes -= item->form.stored_size;
    group->entries--;
    count_low(l2, item, -1);
    group->body_bytes -= item->form.body_size;
}

void mp__l2_drop(mp__l2 *l2, mp__l2_slot *slot)
{
    mp__l2_item *item = slot->item;

    slot_remove(l2, slot);
    l2->entries--;
    mp__l2_count_out(l2, item);
    if (item->flags & MP__L2_PENDING) {
        item->flags |= MP__L2_DEAD; /* the worker frees it */
        return;
    }
    if (item->dictionary)
        mp__l2_dictionary_unref(l2, l2->dictionaries[item->dictionary - 1], true);
    mp__l2_ring_dead(item);
}
