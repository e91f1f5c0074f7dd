/* SPDX-License-Identifier: Apache-2.0 */
/* Who is kept when there is hardly room. As long as there is, everything is: L3 is the last known
 * good. Once more than 90 % of it is needed, a fill of an address that nothing is kept of would
 * push out another that is; then it has to be asked for twice within a while first, as in TinyLFU
 * (Einziger, Friedman, Manes, "TinyLFU: a highly efficient cache admission policy", TOS 2017), so
 * that a scan of everything once does not empty what was kept. Writes are always kept.
 *
 * The sketch is a count-min sketch of two rows in one array. All are halved after a number of
 * fills: that is the while. It is a hint, so that its counters need not be exact under races. */
#include "cache/l3_internal.h"

enum { COUNT_MOST = 15, ASKED_ENOUGH = 2, WINDOW = MP__L3_SKETCH_BYTES / 2, FULL_PERCENT = 90 };

static void halve(mp__l3_sketch *sketch)
{
    for (size_t i = 0; i < MP__L3_SKETCH_BYTES; i++) {
        uint8_t count = atomic_load_explicit(&sketch->counts[i], memory_order_relaxed);

        atomic_store_explicit(&sketch->counts[i], count / 2, memory_order_relaxed);
    }
}

/* How often @hash was added lately, this time included. */
static unsigned sketch_add(mp__l3_sketch *sketch, uint64_t hash)
{
    size_t places[2] = {hash % MP__L3_SKETCH_BYTES, (hash >> 32) % MP__L3_SKETCH_BYTES};
    unsigned least = COUNT_MOST;

    if (atomic_fetch_add_explicit(&sketch->added, 1, memory_order_relaxed) % WINDOW == WINDOW - 1)
        halve(sketch);
    for (size_t i = 0; i < 2; i++) {
        uint8_t count = atomic_load_explicit(&sketch->counts[places[i]], memory_order_relaxed);

        if (count < COUNT_MOST)
            atomic_store_explicit(&sketch->counts[places[i]], ++count, memory_order_relaxed);
        least = count < least ? count : least;
    }
    return least;
}

/* Two segments are not for what is needed: the active one's rest, and the one that is kept free. */
void mp__l3_fullness_note(mp__l3 *l3)
{
    uint64_t room = l3->bytes_max - 2 * l3->segment_bytes, live = 0;

    for (const mp__l3_segment *s = l3->segments; s; s = s->next)
        live += atomic_load_explicit(&s->live_bytes, memory_order_relaxed);
    atomic_store_explicit(&l3->nearly_full, live > room / 100 * FULL_PERCENT, memory_order_relaxed);
}

bool mp__l3_admits(mp__l3 *l3, uint64_t hash)
{
    unsigned asked = sketch_add(&l3->sketch, hash);
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, hash);
    bool is_kept;

    if (!atomic_load_explicit(&l3->nearly_full, memory_order_relaxed) || asked >= ASKED_ENOUGH)
        return true;
    (void)pthread_mutex_lock(&shard->lock);
    is_kept = mp__l3_shard_find(shard, hash) != NULL;
    (void)pthread_mutex_unlock(&shard->lock);
    mp__l3_count(&l3->not_admitted, !is_kept);
    return is_kept;
}
