/* SPDX-License-Identifier: Apache-2.0 */
/* Pins: entries of an L1 that are never evicted, at most half of it, in pages of their own.
 *
 * A pin is a pattern; an entry is pinned when it comes and some pin fits, or when a pin comes that
 * fits an entry that is there. What is there is copied into the pages where it belongs from then
 * on, so that no page holds both what may go and what may not. */
#include <stddef.h>

#include "cache/l1_internal.h"

static mp__entry *entry_of_node(mp__policy_node *node)
{
    return (mp__entry *)((mp__entry_cold *)((char *)node - offsetof(mp__entry_cold, node)) + 1);
}

static bool is_pinned(const mp__entry *entry)
{
    return (mp__entry_cold_of(entry)->node.kind & MP__ENTRY_CLASS) == MP__L1_PINNED;
}

/* Let @entry, which L1 holds, lie in the pages of @class. False: there is no room. */
static bool move(mp__l1 *l1, mp__entry *entry, mp__l1_class *class)
{
    const mp__entry *held = mp__entry_ref(entry); /* making room must not free what is copied */
    uint64_t hash = mp__entry_cold_of(entry)->node.hash;
    mp__l1_place place;
    mp__entry *copy;
    mp__record record;

    mp__entry_record(entry, &record);
    copy = mp__l1_make(l1, class, hash, &record,
                       atomic_load_explicit(&entry->generation, memory_order_relaxed),
                       atomic_load_explicit(&entry->verify_by_s, memory_order_relaxed));
    if (copy && mp__l1_table_find(mp__l1_table_of(l1), record.address, hash, &place) &&
        mp__l1_entry_at(place) == entry) {
        mp__entry_inherit_use(copy, entry);
        atomic_store_explicit(&mp__entry_cold_of(copy)->was_used, mp__entry_was_used(entry),
                              memory_order_relaxed);
        mp__l1_replace(l1, place, entry, copy);
    } else {
        copy = (mp__entry *)(uintptr_t)mp__entry_unref(copy);
    }
    (void)mp__entry_unref(held);
    return copy != NULL;
}

/* Call @each for every value that @pattern means and that is not pinned. */
static void each_unpinned(mp__l1 *l1, mp_str pattern, void (*each)(void *context, mp__entry *entry),
                          void *context)
{
    mp__l1_table *table = mp__l1_table_of(l1);

    for (size_t b = 0; b < table->count; b++)
        for (unsigned way = 0; way < MP__L1_WAYS; way++) {
            mp__entry *entry =
                atomic_load_explicit(&table->buckets[b].entries[way], memory_order_relaxed);

            if (entry && entry->kind != MP__RECORD_ABSENT && !is_pinned(entry) &&
                mp__pin_fits(pattern, mp__entry_address(entry)))
                each(context, entry);
        }
}

typedef struct sum {
    mp__l1 *l1;
    size_t bytes, count;
} sum;

static void add(void *context, mp__entry *entry)
{
    sum *s = context;

    s->bytes += mp__entry_cold_of(entry)->node.size;
    s->count++;
}

static void pin_one(void *context, mp__entry *entry)
{
    sum *s = context;

    if (!move(s->l1, entry, &s->l1->classes[MP__L1_PINNED]))
        s->l1->pins_left_out++;
}

static int pins_begin(mp__l1 *l1)
{
    mp__l1_class *pinned = &l1->classes[MP__L1_PINNED];
    int rc = 0;

    if (!pinned->slab)
        rc = mp__slab_new(1, &pinned->slab);
    if (rc == 0 && !l1->pins)
        rc = mp__pins_new(&l1->pins);
    if (rc == 0)
        l1->is_divided = true;
    return rc;
}

/* Half of L1 stays for what comes and goes. */
static int has_room(const mp__l1 *l1, const sum *more, mp__diag *diag)
{
    size_t bytes = l1->pinned_bytes + more->bytes, count = l1->pinned.count + more->count;

    if (bytes <= mp__l1_pinned_most(l1->slab_bytes) && count <= mp__l1_pinned_most(l1->entries_max))
        return 0;
    return mp__diag_set(diag, MP_ELIMIT,
                        "%zu entries of %zu bytes would be pinned; half of L1 can be, %zu entries "
                        "of %zu bytes: take a pin away (MP.UNPIN), or raise cache.l1_bytes and "
                        "cache.l1_size",
                        count, bytes, mp__l1_pinned_most(l1->entries_max),
                        mp__l1_pinned_most(l1->slab_bytes));
}

int mp__l1_pin(mp__l1 *l1, mp_str pattern, mp__diag *diag)
{
    sum s = {.l1 = l1};
    bool added = false;
    int rc;

    mp__l1_lock(l1);
    rc = pins_begin(l1);
    if (rc == 0)
        rc = mp__pins_add(l1->pins, pattern, &added, diag);
    if (rc == 0 && added) {
        each_unpinned(l1, pattern, add, &s);
        rc = has_room(l1, &s, diag);
        if (rc)
            (void)mp__pins_remove(l1->pins, pattern);
        else
            each_unpinned(l1, pattern, pin_one, &s);
    }
    mp__l1_unlock(l1);
    return rc;
}

int mp__l1_unpin(mp__l1 *l1, mp_str pattern)
{
    mp__policy_node *node, *next;
    int rc = MP_EABSENT;

    mp__l1_lock(l1);
    if (l1->pins && mp__pins_remove(l1->pins, pattern)) {
        rc = 0;
        for (node = l1->pinned.oldest; node; node = next) {
            mp__entry *entry = entry_of_node(node);
            mp_str address = mp__entry_address(entry);

            next = node->newer;
            if (!mp__pins_match(l1->pins, address) &&
                !move(l1, entry, mp__l1_class_of(l1, address)))
                mp__l1_evict(l1, entry);
        }
    }
    mp__l1_unlock(l1);
    return rc;
}

void mp__l1_pins_fill(mp__l1 *l1)
{
    mp__l1_table *table;
    size_t most;
    uint64_t left;

    mp__l1_lock(l1);
    table = mp__l1_table_of(l1);
    most = l1->pins ? mp__l1_pinned_most(l1->entries_max) : 0;
    left = l1->pins_left_out;
    for (size_t b = 0; b < table->count && l1->pins_left_out == left; b++)
        for (unsigned way = 0; way < MP__L1_WAYS && l1->pinned.count < most; way++) {
            mp__entry *entry =
                atomic_load_explicit(&table->buckets[b].entries[way], memory_order_relaxed);

            if (entry && entry->kind != MP__RECORD_ABSENT && !is_pinned(entry) &&
                mp__pins_match(l1->pins, mp__entry_address(entry)))
                pin_one(&(sum){.l1 = l1}, entry);
        }
    mp__l1_unlock(l1);
}

void mp__l1_pins_read(mp__l1 *l1, mp__cache_pins *ret_pins)
{
    mp__l1_lock(l1);
    *ret_pins = (mp__cache_pins){
        .pins = l1->pins ? mp__pins_count(l1->pins) : 0,
        .entries = l1->pinned.count,
        .bytes = l1->pinned_bytes,
        .entries_max = mp__l1_pinned_most(l1->entries_max),
        .bytes_max = mp__l1_pinned_most(l1->slab_bytes),
        .left_out = l1->pins_left_out,
    };
    mp__l1_unlock(l1);
}

int mp__l1_pins_each(mp__l1 *l1, int (*each)(void *context, mp_str pattern), void *context)
{
    int rc = 0;

    mp__l1_lock(l1);
    for (size_t i = 0; l1->pins && rc == 0 && i < mp__pins_count(l1->pins); i++)
        rc = each(context, mp__pins_at(l1->pins, i));
    mp__l1_unlock(l1);
    return rc;
}

enum mp__pinned mp__l1_pinned(mp__l1 *l1, mp_str address, uint64_t hash)
{
    enum mp__pinned is = MP__PINNED_NOT;
    mp__l1_place place;

    mp__l1_lock(l1);
    if (l1->pins && mp__pins_match(l1->pins, address))
        is = mp__l1_table_find(mp__l1_table_of(l1), address, hash, &place) &&
                     is_pinned(mp__l1_entry_at(place))
                 ? MP__PINNED
                 : MP__PINNED_WHEN_READ;
    mp__l1_unlock(l1);
    return is;
}
