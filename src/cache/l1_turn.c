/* SPDX-License-Identifier: Apache-2.0 */
/* L1: its limits and its policy, changed while it is used; its counters. */
#include "cache/l1_internal.h"
#include "cache/panel.h"
#include "cache/policy/policies.h"

void mp__l1_turn_next(mp__l1 *l1)
{
    static _Atomic uint64_t turns; /* of all L1 of the process; 0 is none */

    atomic_store_explicit(&l1->front.turn,
                          atomic_fetch_add_explicit(&turns, 1, memory_order_relaxed) + 1,
                          memory_order_release);
}

static size_t table_drop(mp__retired *retired)
{
    mp__l1_table *table = retired->pointer;
    size_t bytes = table->bytes;

    (void)mp__l1_table_free(table);
    return bytes;
}

/* Under the lock: move every entry into @next and let readers go over to it. A reader on the old
 * table sees all that was there until now. */
static void table_change(mp__l1 *l1, mp__l1_table *next)
{
    mp__l1_table *old = mp__l1_table_of(l1);

    for (size_t b = 0; b < old->count; b++)
        for (unsigned way = 0; way < MP__L1_WAYS; way++) {
            mp__entry *entry =
                atomic_load_explicit(&old->buckets[b].entries[way], memory_order_relaxed);

            if (entry)
                (void)mp__l1_table_insert(next, entry, mp__entry_cold_of(entry)->node.hash);
        }
    mp__l1_table_publish(l1, next);
    /* A reader still on the old table must not announce from it what is retired from now on. */
    for (size_t b = 0; b < old->count; b++)
        for (unsigned way = 0; way < MP__L1_WAYS; way++)
            atomic_store_explicit(&old->buckets[b].entries[way], NULL, memory_order_release);
    old->retired.pointer = old;
    old->retired.free_fn = table_drop;
    mp__hazard_retire(&old->retired, old->bytes);
}

static int set_entries_locked(mp__l1 *l1, size_t entries_max, mp__l1_table *next)
{
    size_t slab_bytes;
    int rc = mp__l1_classes_resize(l1, entries_max);

    if (rc)
        return rc;
    rc = mp__l1_slab_bytes(l1->bytes_max, next->bytes, mp__l1_beside(l1, mp__l1_policies_bytes(l1)),
                           &slab_bytes);
    if (rc) {
        (void)mp__l1_classes_resize(l1, l1->entries_max); /* best effort: its size is a hint */
        return rc;
    }
    l1->entries_max = entries_max;
    mp__l1_pins_shrink(l1); /* before they have to find a place in the smaller table */
    while (l1->entries > entries_max && mp__l1_evict_one(l1))
        ;
    table_change(l1, next);
    mp__l1_shrink(l1, slab_bytes);
    mp__l1_curve_renew(l1);
    return 0;
}

int mp__l1_set_entries(mp__l1 *l1, size_t entries_max)
{
    mp__l1_table *next;
    int rc;

    if (entries_max == 0 || entries_max > MP__L1_ENTRIES_MAX)
        return MP_EINVAL;
    rc = mp__l1_table_new(entries_max, &next);
    if (rc)
        return rc;
    mp__l1_lock(l1);
    rc = set_entries_locked(l1, entries_max, next);
    mp__l1_unlock(l1);
    if (rc)
        (void)mp__l1_table_free(next);
    (void)mp__hazard_flush(); /* the old table is large */
    return rc;
}

int mp__l1_set_bytes(mp__l1 *l1, size_t bytes_max)
{
    size_t slab_bytes;
    int rc;

    mp__l1_lock(l1);
    rc = mp__l1_slab_bytes(bytes_max, mp__l1_table_of(l1)->bytes,
                           mp__l1_beside(l1, mp__l1_policies_bytes(l1)), &slab_bytes);
    if (rc == 0) {
        l1->bytes_max = bytes_max;
        mp__l1_shrink(l1, slab_bytes);
        mp__l1_curve_renew(l1);
    }
    mp__l1_unlock(l1);
    return rc;
}

/* In the order in which the old one would have let them go, so that the first to go stays the
 * first. */
static void policy_change(mp__l1_class *class, mp__policy *next)
{
    mp__policy *old = class->policy;
    mp__policy_node *node;

    while ((node = old->ops->evict(old)))
        next->ops->insert(next, node);
    (void)old->ops->free(old);
    class->policy = next;
}

/* A policy of @ops for each class. */
static int policies_make(mp__l1 *l1, const mp__policy_ops *ops, mp__policy *made[MP__PRIORITIES],
                         size_t *ret_bytes)
{
    int rc = 0;

    *ret_bytes = 0;
    for (int i = 0; rc == 0 && i < MP__PRIORITIES; i++)
        if (l1->classes[i].policy) {
            rc = mp__l1_policy_make(l1, ops, l1->classes[i].capacity, &made[i]);
            *ret_bytes += rc == 0 ? ops->bytes(made[i]) : 0;
        }
    return rc;
}

int mp__l1_set_policy(mp__l1 *l1, const mp__policy_ops *ops)
{
    mp__policy *made[MP__PRIORITIES] = {NULL};
    size_t slab_bytes, bytes;
    int rc = 0;

    mp__l1_lock(l1);
    if (l1->ops != ops) {
        rc = policies_make(l1, ops, made, &bytes);
        if (rc == 0)
            rc = mp__l1_slab_bytes(l1->bytes_max, mp__l1_table_of(l1)->bytes,
                                   mp__l1_beside(l1, bytes), &slab_bytes);
        for (int i = 0; i < MP__PRIORITIES; i++)
            if (made[i] && rc == 0)
                policy_change(&l1->classes[i], made[i]);
            else if (made[i])
                (void)ops->free(made[i]);
        if (rc == 0) {
            l1->ops = ops;
            mp__l1_shrink(l1, slab_bytes);
            mp__l1_curve_renew(l1);
        }
    }
    mp__l1_unlock(l1);
    return rc;
}

void mp__l1_set_panel_share(mp__l1 *l1, double share)
{
    mp__l1_lock(l1);
    mp__duty_set_share(&l1->duty, share);
    mp__l1_unlock(l1);
}

const char *mp__l1_policy_name(mp__l1 *l1)
{
    const char *name;

    mp__l1_lock(l1);
    name = l1->ops->name;
    mp__l1_unlock(l1);
    return name;
}

bool mp__l1_panel_look(mp__l1 *l1, mp__panel_view *ret_view)
{
    const mp__l1_class *most = &l1->classes[MP__PRIORITY_NORMAL];
    bool is_adaptive;

    mp__l1_lock(l1);
    for (int i = 0; i < MP__PRIORITIES; i++)
        if (l1->classes[i].entries > most->entries)
            most = &l1->classes[i];
    is_adaptive = mp__adaptive_look(most->policy, ret_view);
    mp__l1_unlock(l1);
    return is_adaptive;
}

mp__l1_counts mp__l1_counts_read(const mp__l1 *l1)
{
    mp__l1_counts counts = {0};

    for (size_t i = 0; i < MP__L1_SHARDS; i++) {
        const _Atomic uint64_t *shard = &l1->counters[i * MP__L1_SHARD_STRIDE];

        counts.hits += atomic_load_explicit(&shard[0], memory_order_relaxed);
        counts.misses += atomic_load_explicit(&shard[1], memory_order_relaxed);
    }
    return counts;
}

void mp__l1_stats_read(mp__l1 *l1, mp__l1_stats *ret_stats)
{
    const mp__l1_counts counts = mp__l1_counts_read(l1);
    mp__l1_stats s = {.hits = counts.hits, .misses = counts.misses};

    mp__l1_lock(l1);
    s.inserts = l1->inserts;
    s.evictions = l1->evictions;
    s.expired = l1->expired;
    s.unlearned = l1->unlearned;
    s.timers = l1->wheel.count;
    s.entries = l1->entries;
    s.entries_max = l1->entries_max;
    s.bytes = mp__l1_pages_bytes(l1) + mp__l1_table_of(l1)->bytes +
              mp__l1_beside(l1, mp__l1_policies_bytes(l1)) + sizeof(*l1);
    s.bytes_max = l1->bytes_max;
    s.negative_bytes = l1->negative_bytes;
    mp__l1_unlock(l1);
    *ret_stats = s;
}
