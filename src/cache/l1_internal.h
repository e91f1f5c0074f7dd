/* SPDX-License-Identifier: Apache-2.0 */
/* An L1 from the inside: what its files share. */
#ifndef MP_CACHE_L1_INTERNAL_H
#define MP_CACHE_L1_INTERNAL_H

#include <pthread.h>

#include "cache/duty.h"
#include "cache/l1.h"
#include "cache/l1_read.h"
#include "cache/pins.h"
#include "cache/priority.h"
#include "core/slab.h"

/* The entries of one priority, in pages of their own: so what a class holds is known to the page,
 * and letting go of one class's pages never touches another's entries (l1_class.c). */
typedef struct mp__l1_class {
    mp__policy *policy; /* NULL: there is nothing of this class */
    mp__slab *slab;
    size_t entries;
    size_t capacity;         /* that the policy is made for */
    uint64_t inserts_fitted; /* of L1, when it was */
    uint64_t evictions;
} mp__l1_class;

/* Beside the priorities: entries that are never evicted, in pages of their own and in no order
 * (l1_pin.c). */
enum { MP__L1_PINNED = MP__PRIORITIES, MP__L1_CLASSES };

typedef struct mp__l1_counts {
    uint64_t hits, misses;
} mp__l1_counts;

struct mp__l1 {
    mp__l1_front front; /* what readers look at */

    pthread_mutex_t lock __attribute__((aligned(128))); /* over everything below */
    const mp__policy_ops *ops;                          /* of all classes' policies */
    mp__l1_class classes[MP__L1_CLASSES];
    const mp__priorities *priorities; /* NULL: all are normal */
    bool is_divided;                  /* between more than one class */
    mp__pins *pins;                   /* NULL: there never were any */
    mp__policy_queue pinned;
    size_t pinned_bytes;
    uint64_t pins_left_out;     /* entries that should have been pinned, ever */
    size_t slab_bytes;          /* most that the pages of all classes take */
    mp__policy_queue negatives; /* ABSENT entries, oldest first out; in the normal pages */
    struct mp__l2 *below;       /* or NULL */
    struct mp__l3 *behind;      /* or NULL */
    size_t entries, entries_max, bytes_max, negative_bytes;
    unsigned negative_percent;
    uint64_t inserts, evictions, expired, unlearned;
    _Atomic uint64_t removals; /* by mp__l1_remove(), ever; written under the lock */
    mp__wheel wheel;           /* in coarse monotonic seconds: l1_due.c */
    uint32_t lead_s;           /* how long before its time to verify an entry's timer fires */
    uint64_t uses_looked_s;
    mp__l1_uses *rings[MP__L1_SHARDS]; /* those of @uses that were made */
    unsigned ring_count, ring_next, uses_credit;
    size_t uses_bytes;
    double use_weight;       /* hits that one which is reported stands for */
    mp__duty duty;           /* when the policies' panels and the curve see requests */
    struct mp__curve *curve; /* or NULL */
    size_t curve_bytes;
    mp__l1_counts curve_counted;                     /* when the curve was told of them */
    uint64_t misses_seen, misses_looked, misses_due; /* l1_curve.c */
    uint64_t uses_reported, uses_weighed, hits_weighed, fills_weighed;
    mp__l1 *next, **from_here; /* of all L1 of the process, for fork(); under all_lock */

    _Atomic(mp__l1_uses *) uses[MP__L1_SHARDS]; /* by shard; readers look once a section */

    _Atomic uint64_t counters[MP__L1_SHARDS * MP__L1_SHARD_STRIDE] __attribute__((aligned(128)));
};

static inline mp__l1_table *mp__l1_table_of(const mp__l1 *l1)
{
    return atomic_load_explicit(&l1->front.table, memory_order_relaxed);
}

/* A turn that no L1 of this process has had: readers that know @l1 from earlier sections look again
 * what table it has and what they have to gather. After either has changed, before what was there
 * is retired. Under the lock. */
void mp__l1_turn_next(mp__l1 *l1);

/* Let readers go over to @table. */
static inline void mp__l1_table_publish(mp__l1 *l1, mp__l1_table *table)
{
    table->front = &l1->front;
    atomic_store_explicit(&l1->front.table, table, memory_order_release);
    atomic_store_explicit(&l1->front.near_buckets, table->buckets, memory_order_relaxed);
    atomic_store_explicit(&l1->front.near_mask, table->home_mask, memory_order_relaxed);
    mp__l1_turn_next(l1);
}

static inline void mp__l1_lock(mp__l1 *l1)
{
    (void)pthread_mutex_lock(&l1->lock);
}

/* Also frees what was retired under the lock, as far as that is due. */
static inline void mp__l1_unlock(mp__l1 *l1)
{
    (void)pthread_mutex_unlock(&l1->lock);
    mp__hazard_tidy();
}

enum { MP__L1_BYTES_LEAST = 512 * 1024 }; /* for entries */

/* The bytes that @bytes_max leaves for entries beside an index of @table bytes and a policy of
 * @policy bytes, in *ret_bytes. MP_EINVAL: fewer than a cache can work with. */
MP_MUST_USE int mp__l1_slab_bytes(size_t bytes_max, size_t table, size_t policy, size_t *ret_bytes);

/* What else than entries and the table takes memory, @policies bytes of it the policies. */
static inline size_t mp__l1_beside(const mp__l1 *l1, size_t policies)
{
    return policies + l1->uses_bytes + l1->curve_bytes;
}

/* Under the lock: set the timer of @entry, which L1 holds from now on; stop it, before it goes. */
void mp__l1_timer_set(mp__l1 *l1, mp__entry *entry);
static inline void mp__l1_timer_stop(mp__l1 *l1, mp__entry *entry)
{
    mp__wheel_timer *timer = mp__entry_timer_of(entry);

    if (timer)
        mp__wheel_stop(&l1->wheel, timer);
}
/* ---- l1.c; under the lock ---- */

/* A copy of @record in the pages of @class, evicting where that has to be; NULL: no room. */
mp__entry *mp__l1_make(mp__l1 *l1, mp__l1_class *class, uint64_t hash, const mp__record *record,
                       uint32_t generation, uint32_t verify_by_s);
void mp__l1_replace(mp__l1 *l1, mp__l1_place place, mp__entry *present, mp__entry *entry);
static inline mp__entry *mp__l1_entry_at(mp__l1_place place)
{
    return atomic_load_explicit(&place.bucket->entries[place.way], memory_order_relaxed);
}
/* @entry, which L1 holds, leaves as if its policy had said so. */
void mp__l1_evict(mp__l1 *l1, mp__entry *entry);
/* Evict pinned entries, as an exception: they are more than half of what is left. */
void mp__l1_pins_shrink(mp__l1 *l1);

/* Under the lock: @entry is gone for all but those who hold it, and was not evicted. */
void mp__l1_take_out(mp__l1 *l1, mp__entry *entry);

/* The same of as many uses as is worth while when nothing is filled. */
void mp__l1_uses_catch_up(mp__l1 *l1);
/* Under the lock, before a fill: the policy sees what readers used meanwhile (l1_uses.c). */
void mp__l1_uses_report(mp__l1 *l1);
void mp__l1_uses_done(mp__l1 *l1);

/* Under the lock, after a change of size, bytes or policy: l1_curve.c. */
void mp__l1_curve_renew(mp__l1 *l1);
void mp__l1_curve_done(mp__l1 *l1);
/* What readers counted until now. Any thread. */
mp__l1_counts mp__l1_counts_read(const mp__l1 *l1);
/* Under the lock: there were so many requests until now. */
void mp__l1_curve_count(mp__l1 *l1, const mp__l1_counts *now);
/* Under the lock: a value comes that is not here. */
void mp__l1_curve_fill(mp__l1 *l1, uint64_t hash);
/* Under the lock: a request comes, which a policy and the curve may learn from. */
void mp__l1_curve_see(mp__l1 *l1, uint64_t hash, bool hit, double weight);

/* Under the lock. */
bool mp__l1_evict_one(mp__l1 *l1); /* false: there is nothing */
/* Evict, and free what nobody looks at, until the pages are at most @slab_bytes, which is the limit
 * from now on. */
void mp__l1_shrink(mp__l1 *l1, size_t slab_bytes);

/* ---- l1_class.c; under the lock ---- */

/* The class of @address; NORMAL where L1 is not divided. */
static inline mp__l1_class *mp__l1_class_of(mp__l1 *l1, mp_str address)
{
    return &l1->classes[l1->is_divided ? mp__priority_of(l1->priorities, address)
                                       : MP__PRIORITY_NORMAL];
}
static inline mp__l1_class *mp__l1_class_at(mp__l1 *l1, const mp__policy_node *node)
{
    return &l1->classes[node->kind & MP__ENTRY_CLASS];
}
static inline uint8_t mp__l1_class_number(const mp__l1 *l1, const mp__l1_class *class)
{
    return (uint8_t)(class - l1->classes);
}
/* What the policies of all classes take, and the pages. */
size_t mp__l1_policies_bytes(const mp__l1 *l1);
size_t mp__l1_pages_bytes(const mp__l1 *l1);
/* Who has to give when there is no room for an entry of @own (NULL: for nothing in particular) that
 * takes @pages bytes of pages, or, with 0, one of the entries. NULL: nobody may be asked to. */
mp__l1_class *mp__l1_class_to_give(mp__l1 *l1, const mp__l1_class *own, size_t pages);
/* What pinned entries may take at most, pages and number. */
static inline size_t mp__l1_pinned_most(size_t of_all)
{
    return of_all / 2;
}
/* The pages that @class may take now. @all: also those that others keep idle. */
void mp__l1_class_limit(mp__l1 *l1, mp__l1_class *class, bool all);
/* The policy of @class is made for about as many entries as it has. */
void mp__l1_class_fit(mp__l1 *l1, mp__l1_class *class);
/* A policy of @ops, which learns by L1's duty. MP_ENOMEM. */
MP_MUST_USE int mp__l1_policy_make(mp__l1 *l1, const mp__policy_ops *ops, size_t capacity,
                                   mp__policy **ret_policy);
/* All policies for an L1 of @entries_max. MP_ENOMEM: as before. */
MP_MUST_USE int mp__l1_classes_resize(mp__l1 *l1, size_t entries_max);

#endif
