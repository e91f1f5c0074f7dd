/* SPDX-License-Identifier: Apache-2.0 */
/* L2: taking what L1 evicts, hearing what L1 changes, reading. */
#include <string.h>

#include "cache/entry.h"
#include "cache/l2_internal.h"
#include "core/alloc.h"

enum { USES_MAX = 3, LINE = 64 };

/* ---- admission ---- */

static uint16_t *ghost_of(mp__l2 *l2, uint64_t hash)
{
    return &l2->ghosts[hash & (l2->ghost_count - 1)];
}

static uint16_t fingerprint(uint64_t hash)
{
    return (uint16_t)(hash >> 48 | 1);
}

void mp__l2_remember(mp__l2 *l2, uint64_t hash)
{
    *ghost_of(l2, hash) = fingerprint(hash);
}

static bool is_nearly_full(const mp__l2 *l2)
{
    size_t limit = atomic_load_explicit(&l2->ring.spans.limit, memory_order_relaxed);

    return l2->entries + l2->entries_max / 16 >= l2->entries_max ||
           atomic_load_explicit(&l2->ring.spans.pages, memory_order_relaxed) + MP__SPAN_BYTES >
               limit;
}

static bool is_low(const mp__l2 *l2, mp_str address)
{
    return mp__priority_is_used(l2->priorities, MP__PRIORITY_LOW) &&
           mp__priority_of(l2->priorities, address) == MP__PRIORITY_LOW;
}

/* While there is room, all may come. Then only what comes for the second time: most of what is read
 * once is never read again. Nothing of the class low pushes out what is of another,
 * which takes its room without being asked. */
static bool is_admitted(mp__l2 *l2, uint64_t hash, const mp__entry *entry, mp_str address)
{
    uint16_t *ghost = ghost_of(l2, hash);

    if (is_nearly_full(l2) && is_low(l2, address)) {
        l2->refused++;
        return false;
    }
    if (l2->low) /* there is room that another may have */
        return true;
    if (!is_nearly_full(l2) || *ghost == fingerprint(hash) || mp__entry_was_used(entry)) {
        *ghost = 0;
        return true;
    }
    *ghost = fingerprint(hash);
    l2->refused++;
    return false;
}

/* ---- taking ---- */

/* Of one that is not published yet. */
static void fill(mp__l2_pending *pending, const mp__record *record, uint64_t hash,
                 const mp__entry *entry)
{
    unsigned char meta[MP__L2_META_MAX];
    mp__l2_item *item = &pending->item;
    mp__l2_form form;

    mp__l2_meta_write(record, meta, &form);
    pending->bytes = mp__l2_queue_need(form.meta_size, form.body_size);
    *item = (mp__l2_item){
        .hash = hash,
        .form = form,
        .verified_ms = record->verified_ms,
        .generation = atomic_load_explicit(&entry->generation, memory_order_relaxed),
        .verify_by_s = atomic_load_explicit(&entry->verify_by_s, memory_order_relaxed),
        .flags = MP__L2_PENDING,
    };
    memcpy(item->bytes, meta, form.meta_size);
    mp__l2_body_write(record, item->bytes, item->bytes + form.meta_size, &item->form);
}

/* Where a copy is to be made. NULL: it is none that is wanted, or there is no room for one more. */
static mp__l2_pending *place_for(mp__l2 *l2, uint64_t hash, const mp__entry *entry,
                                 const mp__record *record)
{
    mp__l2_slot *slot = mp__l2_find(l2, hash);
    mp__l2_pending *place = NULL;
    size_t body_size;

    if (slot && slot->item->form.revision == record->revision) { /* it had been read from here */
        slot->item->flags &= (uint8_t)~MP__L2_WENT_UP;
        slot->item->uses = slot->item->uses < USES_MAX ? slot->item->uses + 1 : USES_MAX;
        slot->item->verified_ms = record->verified_ms;
        slot->item->generation = atomic_load_explicit(&entry->generation, memory_order_relaxed);
        slot->item->verify_by_s = atomic_load_explicit(&entry->verify_by_s, memory_order_relaxed);
        return NULL;
    }
    if (slot)
        mp__l2_drop(l2, slot);
    body_size = mp__l2_body_size(record);
    if (body_size > MP__L2_BODY_MAX) {
        l2->refused++;
        return NULL;
    }
    if (!is_admitted(l2, hash, entry, record->address))
        return NULL;
    while (l2->entries >= l2->entries_max && mp__l2_ring_evict_one(l2))
        ;
    if (l2->entries < l2->entries_max)
        place = mp__l2_queue_reserve(&l2->queue, mp__l2_queue_need(MP__L2_META_MAX, body_size),
                                     mp__l2_pending_most(l2));
    if (!place) {
        l2->dropped++;
        mp__l2_remember(l2, hash);
    }
    return place;
}

void mp__l2_take(mp__l2 *l2, const mp__entry *entry)
{
    uint64_t hash = mp__entry_cold_of(entry)->node.hash;
    mp__l2_pending *pending;
    __attribute__((uninitialized)) mp__record record;

    mp__entry_record(entry, &record);
    mp__l2_lock(l2);
    pending = place_for(l2, hash, entry, &record);
    mp__l2_unlock(l2);
    if (!pending)
        return;
    fill(pending, &record, hash, entry); /* only L1's lock brings others here */
    mp__l2_lock(l2);
    pending->item.group = mp__l2_group_of(l2, record.address);
    pending->item.flags |= is_low(l2, record.address) ? MP__L2_LOW : 0;
    mp__l2_index_add(l2, &pending->item);
    mp__l2_count_in(l2, &pending->item);
    l2->entries++;
    l2->inserts++;
    atomic_fetch_add_explicit(&l2->pending_weight, mp__l2_weight(pending), memory_order_relaxed);
    mp__l2_queue_publish(&l2->queue, pending);
    mp__l2_unlock(l2);
}

void mp__l2_wake(mp__l2 *l2)
{
    if (mp__l2_is_worth_it(l2) && !atomic_exchange(&l2->posted, true))
        mp__worker_post(l2->worker, &l2->task);
}

void mp__l2_flush(mp__l2 *l2)
{
    if (!atomic_load_explicit(&l2->pending_weight, memory_order_relaxed))
        return;
    atomic_store(&l2->flushing, true);
    if (!atomic_exchange(&l2->posted, true))
        mp__worker_post(l2->worker, &l2->task);
}

/* ---- what L1 says ---- */

bool mp__l2_outdate(mp__l2 *l2, uint64_t hash, uint64_t revision, bool force)
{
    mp__l2_slot *slot;
    bool may = true;

    mp__l2_lock(l2);
    slot = mp__l2_find(l2, hash);
    if (slot) {
        may = force || slot->item->form.revision <= revision;
        if (may) {
            mp__l2_drop(l2, slot);
            mp__l2_remember(l2, hash); /* what takes its place has earned its own here */
        }
    }
    mp__l2_unlock(l2);
    return may;
}

bool mp__l2_goes_up(mp__l2 *l2, uint64_t hash, uint64_t revision)
{
    mp__l2_slot *slot;
    bool is_so;

    mp__l2_lock(l2);
    slot = mp__l2_find(l2, hash);
    is_so = slot && slot->item->form.revision == revision;
    if (is_so)
        slot->item->flags |= MP__L2_WENT_UP;
    mp__l2_unlock(l2);
    return is_so;
}

void mp__l2_verified(mp__l2 *l2, uint64_t hash, uint64_t revision, int64_t verified_ms,
                     uint32_t generation, uint32_t verify_by_s)
{
    mp__l2_slot *slot;

    mp__l2_lock(l2);
    slot = mp__l2_find(l2, hash);
    if (slot && slot->item->form.revision == revision) {
        slot->item->verified_ms = verified_ms;
        slot->item->generation = generation;
        slot->item->verify_by_s = verify_by_s;
    }
    mp__l2_unlock(l2);
}

bool mp__l2_has(mp__l2 *l2, uint64_t hash)
{
    bool has;

    mp__l2_lock(l2);
    has = mp__l2_find(l2, hash) != NULL;
    mp__l2_unlock(l2);
    return has;
}

/* ---- reading ---- */

/* Room to read before it, meta, what is stored, and the body. */
static size_t scratch_need(const mp__l2_form *form)
{
    return MP__L2_BLOCK_BEFORE + (size_t)form->meta_size + form->stored_size +
           (form->raw ? 0 : form->body_size + MP__L2_BODY_SLACK);
}

/* Under the lock, which the next one to take it has, too; it is given back without. False: somebody
 * else has it, or it is too small for @form. */
static bool window_take(mp__l2_dictionary *d, const mp__l2_form *form, mp__l2_scratch *scratch)
{
    if (!d || form->raw || form->body_size + MP__L2_BODY_SLACK > MP__L2_WINDOW ||
        atomic_load_explicit(&d->window_taken, memory_order_acquire))
        return false;
    atomic_store_explicit(&d->window_taken, true, memory_order_relaxed);
    scratch->window_of = d;
    return true;
}

static void window_give(mp__l2_scratch *scratch)
{
    if (!scratch->window_of)
        return;
    atomic_store_explicit(&scratch->window_of->window_taken, false, memory_order_release);
    scratch->window_of = NULL;
}

void mp__l2_scratch_done(mp__l2_scratch *scratch)
{
    window_give(scratch);
    scratch->far = mp__free(scratch->far);
    scratch->far_size = 0;
}

int mp__l2_scratch_grow(mp__l2_scratch *scratch, const mp__l2_form *form)
{
    mp__l2_scratch_done(scratch);
    scratch->far = mp__malloc(scratch_need(form));
    if (!scratch->far)
        return MP_ENOMEM;
    scratch->far_size = scratch_need(form);
    return 0;
}

/* All but the dictionary. False: @scratch has not room enough. */
static bool copy_bytes(const mp__l2_item *item, mp__l2_scratch *scratch, mp__l2_copy *ret_copy)
{
    unsigned char *p = scratch->near;

    /* before its first line says how much more there is: two more lines are what most have */
    __builtin_prefetch((const unsigned char *)item + LINE);
    __builtin_prefetch((const unsigned char *)item + 2 * LINE);
    ret_copy->form = item->form;
    ret_copy->hash = item->hash;
    ret_copy->group = item->group;
    if (scratch_need(&item->form) > sizeof(scratch->near)) {
        if (scratch_need(&item->form) > scratch->far_size)
            return false;
        p = scratch->far;
    }
    p += MP__L2_BLOCK_BEFORE;
    memcpy(p, item->bytes, (size_t)item->form.meta_size + item->form.stored_size);
    ret_copy->meta = p;
    ret_copy->stored = p + item->form.meta_size;
    ret_copy->body = p + item->form.meta_size + item->form.stored_size;
    ret_copy->verified_ms = item->verified_ms;
    ret_copy->generation = item->generation;
    ret_copy->verify_by_s = item->verify_by_s;
    return true;
}

bool mp__l2_copy_item(mp__l2 *l2, const mp__l2_item *item, mp__l2_scratch *scratch,
                      mp__l2_copy *ret_copy)
{
    if (!copy_bytes(item, scratch, ret_copy))
        return false;
    ret_copy->dictionary = mp__l2_dictionary_ref(l2, item->dictionary);
    return true;
}

/* The same; instead of a reference @scratch has the window of the dictionary, where that is free.
 */
static bool copy_with_window(mp__l2 *l2, const mp__l2_item *item, mp__l2_scratch *scratch,
                             mp__l2_copy *ret_copy)
{
    mp__l2_dictionary *d = item->dictionary ? l2->dictionaries[item->dictionary - 1] : NULL;

    if (!copy_bytes(item, scratch, ret_copy))
        return false;
    if (window_take(d, &item->form, scratch))
        ret_copy->dictionary = d;
    else
        ret_copy->dictionary = mp__l2_dictionary_ref(l2, item->dictionary);
    return true;
}

int mp__l2_copy_read(mp__l2 *l2, mp__l2_copy *copy, mp__l2_scratch *scratch, mp__record *ret_record)
{
    const mp__l2_dictionary *d = copy->dictionary;
    mp__l2_from from = {.unpacker = d ? d->unpacker : NULL, .dictionary = d ? d->expand : NULL};
    bool is_zstd = !copy->form.raw && !from.unpacker;
    bool with_window = scratch && scratch->window_of;
    int rc = MP_ENOMEM;

    if (with_window)
        copy->body = copy->dictionary->content + copy->dictionary->size;
    if (is_zstd)
        from.dctx = mp__l2_pool_take(&l2->pool);
    if (from.dctx || !is_zstd)
        rc = mp__l2_read(&copy->form, copy->meta, copy->stored, copy->body, &from, ret_record);
    if (is_zstd)
        mp__l2_pool_give(&l2->pool, from.dctx);
    if (!with_window)
        mp__l2_dictionary_unref(l2, copy->dictionary, false);
    if (rc == 0)
        ret_record->verified_ms = copy->verified_ms;
    return rc;
}

/* Take out what was found bad or past its expiry, if it still is that. */
static void drop_if(mp__l2 *l2, uint64_t hash, const mp__l2_form *form, bool corrupt)
{
    mp__l2_slot *slot;

    mp__l2_lock(l2);
    slot = mp__l2_find(l2, hash);
    if (slot && slot->item->form.revision == form->revision && slot->item->form.sum == form->sum)
        mp__l2_drop(l2, slot);
    l2->corrupt += corrupt;
    mp__l2_unlock(l2);
}

/* The bytes of the item, copied, and a use counted. */
static int copy_out(mp__l2 *l2, uint64_t hash, mp__l2_scratch *scratch, mp__l2_copy *ret_copy)
{
    for (;;) {
        mp__l2_slot *slot;
        bool copied = false;
        int rc;

        mp__l2_lock(l2);
        slot = mp__l2_find(l2, hash);
        if (!slot) {
            l2->misses++;
        } else if ((copied = copy_with_window(l2, slot->item, scratch, ret_copy))) {
            l2->hits++;
            if (slot->item->uses < USES_MAX)
                slot->item->uses++;
        }
        mp__l2_unlock(l2);
        if (!slot)
            return MP_EUNKNOWN;
        if (copied)
            return 0;
        rc = mp__l2_scratch_grow(scratch, &ret_copy->form);
        if (rc)
            return rc;
    }
}

int mp__l2_get(mp__l2 *l2, mp_str address, uint64_t hash, mp__l2_scratch *scratch,
               mp__record *ret_record, uint32_t *ret_generation, uint32_t *ret_verify_by_s)
{
    __attribute__((uninitialized)) mp__l2_copy copy;
    uint32_t check;
    int rc;

    mp__l2_index_prefetch(l2, hash); /* it is on its way while the rest is made ready */
    check = mp__l2_check_of(address);
    window_give(scratch); /* of what was read into it before */
    rc = copy_out(l2, hash, scratch, &copy);
    if (rc)
        return rc;
    rc = mp__l2_copy_read(l2, &copy, scratch, ret_record);
    if (rc == MP_ECORRUPT) {
        drop_if(l2, hash, &copy.form, true);
        return rc;
    }
    if (rc)
        return rc;
    if (ret_record->expires_ms && ret_record->expires_ms <= mp__env_wall_ms(l2->env)) {
        drop_if(l2, hash, &copy.form, false);
        return MP_EUNKNOWN;
    }
    if (copy.form.check != check) /* another with the same 64 bits */
        return MP_EUNKNOWN;
    ret_record->address = address;
    *ret_generation = copy.generation;
    *ret_verify_by_s = copy.verify_by_s;
    return 0;
}
