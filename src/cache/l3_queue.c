/* SPDX-License-Identifier: Apache-2.0 */
/* Records on their way to disk: a list that anybody adds to and the writer takes from. A record
 * that is replaced before the writer has it leaves the list at once, so that a key that is written
 * often does not fill the queue while the disk is in trouble. */
#include "cache/l3_internal.h"

mp__l3_pending *mp__l3_pending_alloc(mp__l3 *l3, uint64_t hash, unsigned kind, unsigned flags,
                                     uint32_t size)
{
    mp__l3_pending *pending = mp__malloc(sizeof(*pending) + size);

    if (!pending)
        return NULL;
    *pending = (mp__l3_pending){
        .hash = hash, .size = size, .kind = (uint8_t)kind, .flags = (uint8_t)flags};
    mp__l3_count(&l3->pending_bytes, size);
    return pending;
}

mp__l3_pending *mp__l3_pending_new(mp__l3 *l3, uint64_t hash, const mp__record *record,
                                   unsigned kind, unsigned flags)
{
    size_t size = mp__l3_record_size(record), seal = l3->key ? MP__L3_SEAL : 0;
    mp__l3_pending *pending =
        size ? mp__l3_pending_alloc(l3, hash, kind, flags, (uint32_t)(size + seal)) : NULL;

    if (pending) {
        pending->revision = record->revision;
        mp__l3_record_write(record, kind, flags, pending->bytes);
        if (seal)
            (void)mp__l3_record_make_room(pending->bytes);
    }
    return pending;
}

void mp__l3_pending_free(mp__l3 *l3, mp__l3_pending *pending)
{
    mp__l3_uncount(&l3->pending_bytes, pending->size);
    (void)mp__free(pending);
}

static void unlink_pending(mp__l3 *l3, mp__l3_pending *pending)
{
    if (pending->previous)
        pending->previous->next = pending->next;
    else
        l3->queue_first = pending->next;
    if (pending->next)
        pending->next->previous = pending->previous;
    else
        l3->queue_last = pending->previous;
}

/* It was replaced: out of the queue with it, or the writer sees to it. */
static void discard(mp__l3 *l3, mp__l3_pending *pending)
{
    bool is_taken;

    (void)pthread_mutex_lock(&l3->queue_lock);
    is_taken = pending->taken;
    if (is_taken)
        pending->unwanted = true;
    else
        unlink_pending(l3, pending);
    (void)pthread_mutex_unlock(&l3->queue_lock);
    if (!is_taken)
        mp__l3_pending_free(l3, pending);
}

static void enqueue(mp__l3 *l3, mp__l3_pending *pending)
{
    (void)pthread_mutex_lock(&l3->queue_lock);
    pending->next = NULL;
    pending->previous = l3->queue_last;
    if (l3->queue_last)
        l3->queue_last->next = pending;
    else
        l3->queue_first = pending;
    l3->queue_last = pending;
    (void)pthread_mutex_unlock(&l3->queue_lock);
}

void mp__l3_queue_kick(mp__l3 *l3)
{
    bool kick;

    if (atomic_load_explicit(&l3->waiting, memory_order_relaxed))
        return; /* the disk is in trouble: the writer comes back by itself */
    (void)pthread_mutex_lock(&l3->queue_lock);
    kick = !l3->kicked && l3->writer;
    l3->kicked |= kick;
    (void)pthread_mutex_unlock(&l3->queue_lock);
    if (kick)
        mp__worker_post(l3->writer, &l3->kick);
}

void mp__l3_queue_kicked(mp__l3 *l3)
{
    (void)pthread_mutex_lock(&l3->queue_lock);
    l3->kicked = false;
    (void)pthread_mutex_unlock(&l3->queue_lock);
}

void mp__l3_slot_take_pending(mp__l3 *l3, mp__l3_shard *shard, mp__l3_slot *slot,
                              mp__l3_pending *pending)
{
    mp__l3_pending *old = mp__l3_slot_pending(slot);

    /* The record on disk stays needed; its bytes are counted already. */
    if (old) {
        pending->instead_of = old->instead_of;
        old->instead_of = 0;
        discard(l3, old);
    } else if (mp__l3_slot_kind(slot)) {
        pending->instead_of = mp__l3_slot_place(slot);
    }
    pending->flags |= mp__l3_slot_is(slot, MP__L3_SLOT_FORCED) ? MP__L3_FORCED : 0;
    mp__l3_slot_set(shard, slot, pending->kind, pending->revision, pending->flags);
    slot->tag |= MP__L3_SLOT_PENDING;
    slot->at = (uintptr_t)pending;
    enqueue(l3, pending);
}

void mp__l3_slot_let_go(mp__l3 *l3, mp__l3_slot *slot)
{
    mp__l3_pending *pending = mp__l3_slot_pending(slot);

    if (pending) {
        mp__l3_index_release(&l3->index, pending->instead_of);
        pending->instead_of = 0;
        discard(l3, pending);
    } else {
        mp__l3_index_release(&l3->index, mp__l3_slot_place(slot));
    }
    slot->tag &= ~(uint64_t)MP__L3_SLOT_PENDING;
    slot->at = 0;
}

void mp__l3_slot_gone(mp__l3 *l3, mp__l3_shard *shard, mp__l3_slot *slot, uint64_t revision,
                      mp__l3_pending *marker)
{
    unsigned forced = mp__l3_slot_is(slot, MP__L3_SLOT_FORCED) ? MP__L3_FORCED : 0;

    if (marker) {
        marker->revision = revision;
        mp__l3_slot_take_pending(l3, shard, slot, marker);
        return;
    }
    mp__l3_slot_let_go(l3, slot);
    mp__l3_slot_set(shard, slot, MP__L3_GONE, revision, forced);
}

bool mp__l3_leave_out(mp__l3 *l3, mp_str address, uint64_t hash, mp__l3_place place)
{
    mp__record gone = {.address = address};
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, hash);
    bool is_left_out = false;
    mp__l3_slot *slot;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, hash);
    if (slot && mp__l3_slot_place(slot) == place) {
        is_left_out = mp__l3_slot_kind(slot) != MP__L3_GONE;
        gone.revision = slot->revision;
        mp__l3_slot_gone(l3, shard, slot, slot->revision,
                         address.size ? mp__l3_pending_new(l3, hash, &gone, MP__L3_GONE, 0) : NULL);
    }
    (void)pthread_mutex_unlock(&shard->lock);
    mp__l3_count(&l3->corrupt, is_left_out);
    mp__l3_queue_kick(l3);
    return is_left_out;
}

/* ---- the writer's side ---- */

uint32_t mp__l3_queue_next_size(mp__l3 *l3)
{
    uint32_t size;

    (void)pthread_mutex_lock(&l3->queue_lock);
    size = l3->queue_first ? l3->queue_first->size : 0;
    (void)pthread_mutex_unlock(&l3->queue_lock);
    return size;
}

mp__l3_pending *mp__l3_queue_take(mp__l3 *l3, uint64_t bytes_most, uint64_t room)
{
    mp__l3_pending *first, *last = NULL;
    uint64_t bytes = 0, taken = 0;

    (void)pthread_mutex_lock(&l3->queue_lock);
    first = l3->queue_first;
    for (mp__l3_pending *p = first; p; p = p->next) {
        bytes += p->size;
        taken += p->size + MP__L3_ROW;
        if ((last && bytes > bytes_most) || taken > room)
            break;
        p->taken = true;
        last = p;
    }
    if (last) {
        l3->queue_first = last->next;
        if (last->next)
            last->next->previous = NULL;
        else
            l3->queue_last = NULL;
        last->next = NULL;
    } else {
        first = NULL;
    }
    (void)pthread_mutex_unlock(&l3->queue_lock);
    return first;
}

void mp__l3_queue_return(mp__l3 *l3, mp__l3_pending *first)
{
    mp__l3_pending *last = NULL, *unwanted = NULL;

    (void)pthread_mutex_lock(&l3->queue_lock);
    for (mp__l3_pending *next, *p = first; p; p = next) {
        next = p->next;
        p->taken = false;
        if (p->unwanted) {
            p->next = unwanted;
            unwanted = p;
            continue;
        }
        /* in their order, before what came since */
        p->previous = last;
        p->next = last ? last->next : l3->queue_first;
        *(last ? &last->next : &l3->queue_first) = p;
        *(p->next ? &p->next->previous : &l3->queue_last) = p;
        last = p;
    }
    (void)pthread_mutex_unlock(&l3->queue_lock);
    for (mp__l3_pending *next, *p = unwanted; p; p = next) {
        next = p->next;
        mp__l3_pending_free(l3, p);
    }
}
