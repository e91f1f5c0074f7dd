/* SPDX-License-Identifier: Apache-2.0 */
/* L2: a ring of spans, filled one after the other, and a hand that goes round and evicts.
 *
 * Entries lie one behind the other, whatever their size, so that nothing is lost between them. What
 * dies leaves a hole; a span that is half holes is closed up and filled again. Which entries go is
 * the CLOCK (Corbató, "A Paging Experiment with the Multics System", 1968) in the order in which
 * they came: one that was read since the hand came by is spared, one whose copy is in L1 is not.
 * Those of the class low are never spared, and go before all others, wherever they are. */
#include <assert.h>
#include <string.h>

#include "cache/l2_internal.h"
#include "core/alloc.h"

enum {
    SPARED_MAX = 16, /* in a row, when one has to go */
    LOOK_MAX = 64,   /* spans that are looked at for holes */
    LAPS_MAX = 2,
};

static mp__l2_item *item_at(mp__l2_chunk *chunk, uint32_t at)
{
    return (mp__l2_item *)((char *)chunk + MP__L2_CHUNK_HEAD + at);
}

static mp__l2_chunk *chunk_of(const mp__l2_item *item)
{
    return (mp__l2_chunk *)((uintptr_t)item & ~(uintptr_t)(MP__SPAN_BYTES - 1));
}

void mp__l2_ring_dead(mp__l2_item *item)
{
    item->flags |= MP__L2_DEAD;
    chunk_of(item)->dead += (uint32_t)mp__l2_item_bytes(&item->form);
}

void mp__l2_ring_count_low(const mp__l2_item *item, int by)
{
    chunk_of(item)->low += (uint32_t)by;
}

static bool is_spared(const mp__l2_item *item)
{
    return item->uses && !(item->flags & (MP__L2_WENT_UP | MP__L2_LOW));
}

static void evict(mp__l2 *l2, mp__l2_item *item)
{
    mp__l2_remember(l2, item->hash);
    mp__l2_drop(l2, mp__l2_find(l2, item->hash));
    l2->evictions++;
}

static void hand_on(mp__l2_ring *ring)
{
    ring->hand = ring->count ? (ring->hand + 1) % ring->count : 0;
    ring->hand_at = 0;
}

/* All of the class low in @chunk go, or one of them. */
static void evict_low(mp__l2 *l2, mp__l2_chunk *chunk, bool all)
{
    for (uint32_t at = 0; at < chunk->fill && chunk->low;) {
        mp__l2_item *item = item_at(chunk, at);

        at += (uint32_t)mp__l2_item_bytes(&item->form);
        if ((item->flags & (MP__L2_LOW | MP__L2_DEAD)) != MP__L2_LOW)
            continue;
        evict(l2, item);
        if (!all)
            return;
    }
}

/* One of the class low, from wherever it is; false: only the queue has any. */
static bool evict_a_low_one(mp__l2 *l2)
{
    mp__l2_ring *ring = &l2->ring;

    for (size_t i = 0; i < ring->count && l2->low; i++, ring->low_hand++) {
        mp__l2_chunk *chunk;

        ring->low_hand %= ring->count;
        chunk = ring->chunks[ring->low_hand];
        if (!chunk->low)
            continue;
        evict_low(l2, chunk, false);
        return true;
    }
    return false;
}

bool mp__l2_ring_evict_one(mp__l2 *l2)
{
    mp__l2_ring *ring = &l2->ring;
    size_t passed = 0;
    unsigned spared = 0;

    if (evict_a_low_one(l2))
        return true;
    while (passed <= ring->count * LAPS_MAX && ring->count) {
        mp__l2_chunk *chunk = ring->chunks[ring->hand];
        mp__l2_item *item = item_at(chunk, ring->hand_at);

        if (ring->hand_at >= chunk->fill) {
            hand_on(ring);
            passed++;
            continue;
        }
        ring->hand_at += (uint32_t)mp__l2_item_bytes(&item->form);
        if (item->flags & MP__L2_DEAD)
            continue;
        if (is_spared(item) && spared++ < SPARED_MAX) {
            item->uses--;
            continue;
        }
        evict(l2, item);
        return true;
    }
    return false;
}

/* Close the holes: what lives moves to the front. */
static void close_up(mp__l2 *l2, mp__l2_chunk *chunk)
{
    uint32_t to = 0;

    for (uint32_t at = 0; at < chunk->fill;) {
        mp__l2_item *item = item_at(chunk, at);
        uint32_t bytes = (uint32_t)mp__l2_item_bytes(&item->form);

        at += bytes;
        if (item->flags & MP__L2_DEAD)
            continue;
        mp__l2_find(l2, item->hash)->item = item_at(chunk, to);
        memmove(item_at(chunk, to), item, bytes);
        to += bytes;
    }
    chunk->fill = to;
    chunk->dead = 0;
}

/* Let go of what the hand would, and of whatever is more than half of the span. */
static void evict_half(mp__l2 *l2, mp__l2_chunk *chunk, size_t keep)
{
    size_t kept = 0;

    evict_low(l2, chunk, true);
    if (chunk->fill - chunk->dead <= keep)
        return;
    for (uint32_t at = 0; at < chunk->fill;) {
        mp__l2_item *item = item_at(chunk, at);
        uint32_t bytes = (uint32_t)mp__l2_item_bytes(&item->form);

        at += bytes;
        if (item->flags & MP__L2_DEAD)
            continue;
        if (is_spared(item) && kept + bytes <= keep) {
            item->uses--;
            kept += bytes;
        } else {
            evict(l2, item);
        }
    }
}

/* A span that is half holes, best one that the hand has just left. */
static mp__l2_chunk *find_holes(mp__l2_ring *ring)
{
    size_t look = ring->count < LOOK_MAX ? ring->count : LOOK_MAX;

    for (size_t i = 1; i < look; i++) {
        mp__l2_chunk *chunk = ring->chunks[(ring->hand + ring->count - i) % ring->count];

        if (chunk != ring->head && chunk->dead >= MP__L2_CHUNK / 2)
            return chunk;
    }
    return NULL;
}

static mp__l2_chunk *chunk_new(mp__l2_ring *ring)
{
    mp__l2_chunk *chunk, **chunks;
    size_t room;

    if (ring->count == ring->room) {
        room = ring->room ? ring->room * 2 : 16;
        chunks = mp__realloc_array(ring->chunks, room, sizeof(mp__l2_chunk *));
        if (!chunks)
            return NULL;
        ring->chunks = chunks;
        ring->room = room;
    }
    chunk = (mp__l2_chunk *)mp__span_take(&ring->spans);
    if (!chunk)
        return NULL;
    chunk->fill = chunk->dead = chunk->low = 0;
    ring->chunks[ring->count++] = chunk;
    return chunk;
}

static mp__l2_chunk *next_head(mp__l2 *l2)
{
    mp__l2_ring *ring = &l2->ring;
    mp__l2_chunk *chunk = find_holes(ring);

    if (!chunk)
        chunk = chunk_new(ring);
    if (!chunk && ring->count > 1) {
        if (ring->chunks[ring->hand] == ring->head)
            hand_on(ring);
        chunk = ring->chunks[ring->hand];
        evict_half(l2, chunk, MP__L2_CHUNK / 2);
        hand_on(ring);
    }
    if (chunk && chunk->dead)
        close_up(l2, chunk);
    return chunk;
}

mp__l2_item *mp__l2_ring_take(mp__l2 *l2, size_t bytes)
{
    mp__l2_ring *ring = &l2->ring;
    mp__l2_item *item;

    if (!ring->head || ring->head->fill + bytes > MP__L2_CHUNK) {
        mp__l2_chunk *head = next_head(l2);

        if (!head)
            return NULL;
        ring->head = head;
    }
    item = item_at(ring->head, ring->head->fill);
    ring->head->fill += (uint32_t)bytes;
    return item;
}

void mp__l2_ring_untake(mp__l2 *l2, mp__l2_item *item, size_t bytes)
{
    mp__l2_chunk *chunk = chunk_of(item);

    assert(chunk == l2->ring.head);
    chunk->fill -= (uint32_t)bytes;
}

void mp__l2_ring_shrink(mp__l2 *l2)
{
    mp__l2_ring *ring = &l2->ring;
    size_t limit = atomic_load_explicit(&ring->spans.limit, memory_order_relaxed);

    mp__span_limit_set(&ring->spans, limit);
    while (ring->count && atomic_load_explicit(&ring->spans.pages, memory_order_relaxed) > limit) {
        mp__l2_chunk *chunk = ring->chunks[ring->hand];

        evict_half(l2, chunk, 0);
        ring->count--;
        for (size_t i = ring->hand; i < ring->count; i++) {
            ring->chunks[i] = ring->chunks[i + 1];
        }
        if (chunk == ring->head)
            ring->head = NULL;
        ring->hand = ring->count ? ring->hand % ring->count : 0;
        ring->hand_at = 0;
        mp__span_give(&ring->spans, &chunk->span);
    }
}

void mp__l2_ring_done(mp__l2_ring *ring)
{
    for (size_t i = 0; i < ring->count; i++)
        mp__span_give(&ring->spans, &ring->chunks[i]->span);
    mp__span_store_done(&ring->spans);
    ring->chunks = mp__free(ring->chunks);
}
