/* SPDX-License-Identifier: Apache-2.0 */
/* The classes of an L1: who may use how much, and who gives it back.
 *
 * Each class in use owns a share of the entries and of the pages. What a class leaves idle the
 * others use (the division conserves work, as generalized processor sharing does; Parekh and
 * Gallager 1993); when room is needed it comes from the lowest class that holds more than it owns,
 * and only if there is none from the class that needs it. So a flood of any class ends at what the
 * others own. Within a class its policy alone decides. */
#include "cache/l1_internal.h"

enum { CAPACITY_LEAST = 16 };

static size_t owned(const mp__l1 *l1, const mp__l1_class *class, size_t of_all)
{
    unsigned share = mp__priority_share(l1->priorities, (enum mp__priority)(class - l1->classes));

    return of_all / 1000 * share + of_all % 1000 * share / 1000;
}

static size_t unpinned_pages(const mp__l1 *l1)
{
    const mp__slab *slab = l1->classes[MP__L1_PINNED].slab;
    size_t pinned = slab ? mp__slab_pages_bytes(slab) : 0;

    return l1->slab_bytes > pinned ? l1->slab_bytes - pinned : 0;
}

size_t mp__l1_policies_bytes(const mp__l1 *l1)
{
    size_t bytes = 0;

    for (int i = 0; i < MP__PRIORITIES; i++)
        if (l1->classes[i].policy)
            bytes += l1->ops->bytes(l1->classes[i].policy);
    return bytes;
}

size_t mp__l1_pages_bytes(const mp__l1 *l1)
{
    size_t bytes = 0;

    for (int i = 0; i < MP__L1_CLASSES; i++)
        if (l1->classes[i].slab)
            bytes += mp__slab_pages_bytes(l1->classes[i].slab);
    return bytes;
}

/* ---- who gives ---- */

static bool holds_any(const mp__l1 *l1, const mp__l1_class *class)
{
    return class->entries ||
           (class == &l1->classes[MP__PRIORITY_NORMAL] && l1->negatives.count != 0);
}

/* With what comes, if it is @class's own. */
static bool holds_more_than_it_owns(const mp__l1 *l1, const mp__l1_class *class,
                                    const mp__l1_class *own, size_t pages)
{
    size_t values = l1->entries - l1->negatives.count - l1->pinned.count;

    if (pages)
        return mp__slab_pages_bytes(class->slab) + (class == own ? pages : 0) >
               owned(l1, class, unpinned_pages(l1));
    return class->entries + (class == own) > owned(l1, class, values);
}

mp__l1_class *mp__l1_class_to_give(mp__l1 *l1, const mp__l1_class *own, size_t pages)
{
    mp__l1_class *lowest = NULL;

    for (int i = MP__PRIORITIES - 1; i >= 0; i--) {
        mp__l1_class *class = &l1->classes[i];

        if (!class->policy || !holds_any(l1, class))
            continue;
        if (!l1->is_divided || holds_more_than_it_owns(l1, class, own, pages))
            return class;
        lowest = lowest ? lowest : class;
    }
    if (!own || own == &l1->classes[MP__L1_PINNED])
        return lowest;
    if (holds_any(l1, own))
        return &l1->classes[own - l1->classes];
    /* what is larger than all that its class owns must not push out what others own */
    return pages > owned(l1, own, unpinned_pages(l1)) ? NULL : lowest;
}

void mp__l1_class_limit(mp__l1 *l1, mp__l1_class *class, bool all)
{
    size_t others = 0, left;

    if (!l1->is_divided)
        return;
    for (int i = 0; i < MP__L1_CLASSES; i++) {
        mp__l1_class *other = &l1->classes[i];

        if (!other->slab || other == class)
            continue;
        if (all)
            mp__slab_limit_set(other->slab, 1); /* gives back what is idle; set again when used */
        others += mp__slab_pages_bytes(other->slab);
    }
    left = l1->slab_bytes > others ? l1->slab_bytes - others : 0;
    if (class == &l1->classes[MP__L1_PINNED] && left > mp__l1_pinned_most(l1->slab_bytes))
        left = mp__l1_pinned_most(l1->slab_bytes);
    mp__slab_limit_set(class->slab, left ? left : 1);
}

/* ---- how large the policies think it is ---- */

/* A policy whose queues are shares of its capacity works badly with far more or fewer entries. */
static size_t capacity_for(const mp__l1 *l1, const mp__l1_class *class, size_t entries_max)
{
    size_t own = owned(l1, class, entries_max), held = class->entries + class->entries / 4;
    size_t capacity = own > held ? own : held;

    capacity = capacity > CAPACITY_LEAST ? capacity : CAPACITY_LEAST;
    return capacity < entries_max ? capacity : entries_max;
}

void mp__l1_class_fit(mp__l1 *l1, mp__l1_class *class)
{
    size_t capacity, was = class->capacity, slab_bytes;

    /* once per so many inserts, so that each of them pays for one entry that is moved */
    if (!l1->is_divided || l1->inserts - class->inserts_fitted < was)
        return;
    capacity = capacity_for(l1, class, l1->entries_max);
    if (capacity <= was + was / 4 && capacity >= was / 2)
        return;
    class->inserts_fitted = l1->inserts;
    if (l1->ops->resize(class->policy, capacity) != 0)
        return; /* it goes on as it is */
    class->capacity = capacity;
    if (mp__l1_slab_bytes(l1->bytes_max, mp__l1_table_of(l1)->bytes,
                          mp__l1_beside(l1, mp__l1_policies_bytes(l1)), &slab_bytes) == 0)
        mp__l1_shrink(l1, slab_bytes);
    else if (l1->ops->resize(class->policy, was) == 0)
        class->capacity = was;
}

int mp__l1_policy_make(mp__l1 *l1, const mp__policy_ops *ops, size_t capacity,
                       mp__policy **ret_policy)
{
    int rc = ops->make(capacity, ret_policy);

    if (rc == 0 && ops->learns_by)
        ops->learns_by(*ret_policy, &l1->duty);
    return rc;
}

int mp__l1_classes_resize(mp__l1 *l1, size_t entries_max)
{
    int rc = 0, i;

    for (i = 0; rc == 0 && i < MP__PRIORITIES; i++)
        if (l1->classes[i].policy)
            rc = l1->ops->resize(l1->classes[i].policy,
                                 l1->is_divided ? capacity_for(l1, &l1->classes[i], entries_max)
                                                : entries_max);
    if (rc) { /* best effort: its size is a hint */
        while (i-- > 0)
            if (l1->classes[i].policy)
                (void)l1->ops->resize(l1->classes[i].policy, l1->classes[i].capacity);
        return rc;
    }
    for (i = 0; i < MP__PRIORITIES; i++)
        l1->classes[i].capacity =
            l1->is_divided ? capacity_for(l1, &l1->classes[i], entries_max) : entries_max;
    return 0;
}

/* ---- dividing ---- */

static int class_make(mp__l1 *l1, mp__l1_class *class)
{
    int rc;

    class->capacity = capacity_for(l1, class, l1->entries_max);
    if (class->policy)
        return l1->ops->resize(class->policy, class->capacity);
    rc = mp__slab_new(1, &class->slab);
    return rc ? rc : mp__l1_policy_make(l1, l1->ops, class->capacity, &class->policy);
}

int mp__l1_divide(mp__l1 *l1, const mp__priorities *priorities)
{
    unsigned in_use = 0;
    int rc = 0;

    for (int i = 0; i < MP__PRIORITIES; i++)
        in_use += mp__priority_is_used(priorities, (enum mp__priority)i);
    if (in_use <= 1)
        return 0;
    mp__l1_lock(l1);
    l1->priorities = priorities;
    l1->is_divided = true;
    for (int i = 0; rc == 0 && i < MP__PRIORITIES; i++)
        if (mp__priority_is_used(priorities, (enum mp__priority)i))
            rc = class_make(l1, &l1->classes[i]);
    if (rc == 0)
        rc = mp__l1_slab_bytes(l1->bytes_max, mp__l1_table_of(l1)->bytes,
                               mp__l1_beside(l1, mp__l1_policies_bytes(l1)), &l1->slab_bytes);
    mp__l1_unlock(l1);
    return rc;
}

void mp__l1_classes_read(mp__l1 *l1, mp__cache_class ret_classes[MP__PRIORITIES])
{
    mp__l1_lock(l1);
    for (int i = 0; i < MP__PRIORITIES; i++) {
        const mp__l1_class *class = &l1->classes[i];

        ret_classes[i] = (mp__cache_class){0};
        if (!class->policy)
            continue;
        ret_classes[i] = (mp__cache_class){
            .entries = class->entries,
            .entries_owned = owned(l1, class, l1->entries_max),
            .bytes = mp__slab_pages_bytes(class->slab),
            .bytes_owned = owned(l1, class, l1->slab_bytes),
            .evictions = class->evictions,
        };
    }
    mp__l1_unlock(l1);
}
