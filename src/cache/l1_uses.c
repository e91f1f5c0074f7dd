/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/l1_uses.h"

#include "cache/l1_internal.h"
#include "core/alloc.h"

enum {
    RINGS_AT_ONCE = 4, /* looked into at a fill */
    AHEAD = 8,         /* uses whose buckets are fetched before they are needed */
    CATCH_UP = 2048,   /* uses at once when there is no fill */
    WEIGH_EACH = 256,  /* fills between two looks at how many uses were lost */
};

static const double SHARE_LEAST = 1.0 / 64; /* a few uses must not stand for all of them */

/* A ring for the reader of @shard. False: there is no room for one now, or no memory. */
static bool make_ring(mp__l1 *l1, unsigned shard)
{
    const size_t bytes = sizeof(mp__l1_uses) + MP__L1_USES * sizeof(uint64_t);
    size_t limit = l1->slab_bytes;
    mp__l1_uses *ring = NULL;

    if (limit >= 4 * bytes)
        ring = mp__aligned_alloc(128, (bytes + 127) / 128 * 128);
    if (!ring)
        return false;
    memset(ring, 0, bytes);
    l1->rings[l1->ring_count++] = ring;
    l1->uses_bytes += bytes;
    atomic_store_explicit(&l1->uses[shard], ring, memory_order_release);
    mp__l1_turn_next(l1); /* for its reader, who knows that it has none */
    mp__l1_shrink(l1, limit - bytes);
    return true;
}

/* Rings for the readers that came since. A ring stays until L1 goes, as the thread's number does.
 * Who gets none now is thought of again at the next fill, since it asks no second time. */
static void make_rings(mp__l1 *l1)
{
    uint64_t wanted = atomic_exchange_explicit(&l1->front.uses_wanted, 0, memory_order_relaxed);
    uint64_t later = 0;

    for (; wanted; wanted &= wanted - 1) {
        unsigned shard = (unsigned)__builtin_ctzl(wanted);

        if (!atomic_load_explicit(&l1->uses[shard], memory_order_relaxed) && !make_ring(l1, shard))
            later |= (uint64_t)1 << shard;
    }
    if (later)
        atomic_fetch_or_explicit(&l1->front.uses_wanted, later, memory_order_relaxed);
}

/* The policy of what is cached sees a hit. What left meanwhile was one all the same, which the
 * policy may want to know; of what class it was nobody knows any more. */
static void report_use(mp__l1 *l1, uint64_t hash)
{
    mp__entry *entry = mp__l1_table_find_hash(mp__l1_table_of(l1), hash);
    const mp__policy_ops *ops = l1->ops;

    mp__l1_curve_see(l1, hash, true, l1->use_weight);
    if (!entry) {
        if (ops->hit_gone && !l1->is_divided)
            ops->hit_gone(l1->classes[MP__PRIORITY_NORMAL].policy, hash);
        return;
    }
    atomic_store_explicit(&mp__entry_cold_of(entry)->was_used_lately, true, memory_order_relaxed);
    if (entry->kind == MP__RECORD_VALUE) {
        atomic_store_explicit(&mp__entry_cold_of(entry)->was_used, true, memory_order_relaxed);
        if (mp__l1_class_at(l1, &mp__entry_cold_of(entry)->node)->policy) /* else it is pinned */
            ops->hit(mp__l1_class_at(l1, &mp__entry_cold_of(entry)->node)->policy,
                     &mp__entry_cold_of(entry)->node);
    }
}

/* Whoever filled @ring, also meanwhile, asks for room only in a new turn. Its reader stores the
 * head and then loads the tail, here it is the other way round, both with a fence between: so that
 * one of them at least sees what the other stored. */
static void report_ring(mp__l1 *l1, mp__l1_uses *ring)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed), count = head - tail;
    const uint32_t before = tail;
    const mp__l1_table *table = mp__l1_table_of(l1);

    if (count == 0)
        return;
    if (count > MP__L1_USES) { /* two readers share it: one put the head back, or both filled it */
        tail = head;
        count = 0;
    }
    if (count > l1->uses_credit)
        count = l1->uses_credit;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t ahead = (tail + i + AHEAD) % MP__L1_USES;
        uint64_t next = atomic_load_explicit(&ring->hashes[ahead], memory_order_relaxed);

        __builtin_prefetch(mp__l1_home(table, next));
        report_use(l1, atomic_load_explicit(&ring->hashes[(tail + i) % MP__L1_USES],
                                            memory_order_relaxed));
    }
    l1->uses_credit -= count;
    l1->uses_reported += count;
    atomic_store_explicit(&ring->tail, tail + count, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&ring->head, memory_order_relaxed) - before >= MP__L1_USES)
        mp__l1_turn_next(l1);
}

/* How many hits stand behind one that was reported, or is one of @pending. */
static void weigh(mp__l1 *l1, uint64_t pending)
{
    mp__l1_counts now = mp__l1_counts_read(l1);
    uint64_t more, reported = l1->uses_reported - l1->uses_weighed + pending;
    double share;

    l1->fills_weighed = l1->inserts;
    mp__l1_curve_count(l1, &now);
    more = now.hits - l1->hits_weighed;
    l1->hits_weighed = now.hits;
    l1->uses_weighed = l1->uses_reported;
    if (more == 0)
        return;
    share = (double)reported / (double)more;
    share = share > 1 ? 1 : share < SHARE_LEAST ? SHARE_LEAST : share;
    l1->use_weight = 1 / share;
    for (int i = 0; l1->ops->hits_share && i < MP__PRIORITIES; i++)
        if (l1->classes[i].policy)
            l1->ops->hits_share(l1->classes[i].policy, share);
}

void mp__l1_uses_report(mp__l1 *l1)
{
    if (atomic_load_explicit(&l1->front.uses_wanted, memory_order_relaxed))
        make_rings(l1);
    if (l1->ring_count == 0)
        return;
    l1->uses_credit += MP__L1_USES_CREDIT;
    if (l1->uses_credit > MP__L1_USES)
        l1->uses_credit = MP__L1_USES;
    for (unsigned i = 0; i < RINGS_AT_ONCE && i < l1->ring_count && l1->uses_credit; i++)
        report_ring(l1, l1->rings[l1->ring_next++ % l1->ring_count]);
    if (l1->inserts - l1->fills_weighed >= WEIGH_EACH)
        weigh(l1, 0);
}

void mp__l1_uses_catch_up(mp__l1 *l1)
{
    uint64_t pending = 0;

    if (atomic_load_explicit(&l1->front.uses_wanted, memory_order_relaxed))
        make_rings(l1);
    for (unsigned i = 0; i < l1->ring_count; i++) {
        uint32_t held = atomic_load_explicit(&l1->rings[i]->head, memory_order_relaxed) -
                        atomic_load_explicit(&l1->rings[i]->tail, memory_order_relaxed);

        pending += held <= MP__L1_USES ? held : 0;
    }
    l1->uses_credit = CATCH_UP;
    weigh(l1, pending < CATCH_UP ? pending : CATCH_UP);
    for (unsigned i = 0; i < l1->ring_count && l1->uses_credit; i++)
        report_ring(l1, l1->rings[l1->ring_next++ % l1->ring_count]);
    if (l1->uses_credit > MP__L1_USES)
        l1->uses_credit = MP__L1_USES;
    l1->uses_weighed = l1->uses_reported; /* they were weighed as pending */
}

void mp__l1_uses_settle(mp__l1 *l1)
{
    mp__l1_lock(l1);
    for (unsigned i = 0; i < l1->ring_count; i++) {
        mp__l1_uses *ring = l1->rings[i];
        uint32_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
        uint32_t at = atomic_load_explicit(&ring->tail, memory_order_relaxed);

        for (; head - at - 1 < MP__L1_USES; at++) {
            uint64_t hash =
                atomic_load_explicit(&ring->hashes[at % MP__L1_USES], memory_order_relaxed);
            mp__entry *entry = mp__l1_table_find_hash(mp__l1_table_of(l1), hash);

            if (entry)
                atomic_store_explicit(&mp__entry_cold_of(entry)->was_used, true,
                                      memory_order_relaxed);
        }
    }
    mp__l1_unlock(l1);
}

int mp__l1_expect(mp__l1 *l1, mp_str address, uint64_t hash, unsigned uses)
{
    mp__policy *policy;
    mp__l1_place place;
    int frequency = -1;

    mp__l1_lock(l1);
    if (mp__l1_table_find(mp__l1_table_of(l1), address, hash, &place)) {
        mp__entry *entry = mp__l1_entry_at(place);
        mp__policy_node *node = &mp__entry_cold_of(entry)->node;

        policy = entry->kind == MP__RECORD_VALUE ? mp__l1_class_at(l1, node)->policy : NULL;
        for (; policy && uses; uses--)
            l1->ops->hit(policy, node);
        frequency = atomic_load_explicit(&entry->frequency, memory_order_relaxed);
    }
    mp__l1_unlock(l1);
    return frequency;
}

void mp__l1_uses_done(mp__l1 *l1)
{
    while (l1->ring_count)
        (void)mp__free(l1->rings[--l1->ring_count]);
}
