/* SPDX-License-Identifier: Apache-2.0 */
/* What a read of L1 needs rarely, and reads of many keys at once. */
#include "cache/l1_read.h"

#include <stddef.h>

#include "cache/l1.h"

/* An L1 begins with its front. */
static mp__l1_front *front_of(const mp__l1 *l1)
{
    mp__l1_front *front;

    memcpy(&front, &l1, sizeof(front));
    return front;
}

mp__l1_table *mp__l1_table_enter(mp__l1_front *front, mp__hazard_record *record)
{
    size_t shard = mp__l1_shard_of(record);
    _Atomic uint64_t *mine = mp__l1_counters_of(front, shard);
    mp__l1_table *table;
    uint64_t turn;

    if (record->counters != mine) /* the first look, or it goes on in another cache */
        mp__hazard_counts_begin(record, mine);
    do {
        turn = atomic_load_explicit(&front->turn, memory_order_acquire);
        table = atomic_load_explicit(&front->table, memory_order_acquire);
        if (!mp__l1_uses_enter(front, record, shard)) /* one is made for it at the next fill */
            atomic_fetch_or_explicit(&front->uses_wanted, (uint64_t)1 << shard,
                                     memory_order_relaxed);
    } while (!mp__l1_table_announce(front, record, table));
    mp__l1_table_entered(record, table, turn);
    return table;
}

static bool is_expired(mp__l1_front *front, const mp__entry *entry)
{
    int64_t now = atomic_load_explicit(&front->wall_ms, memory_order_relaxed);

    return entry->expires_ms <= (now ? now : mp__env_wall_ms(front->env));
}

/* The entry of @address in @bucket, announced, or NULL. */
static mp__entry *bucket_read(const mp__hazard_record *record, _Atomic(void *) *slot,
                              mp__l1_bucket *bucket, uint64_t match, mp_str address)
{
    for (; match; match &= match - 1) {
        const _Atomic(mp__entry *) *place = mp__l1_matched(bucket, match);

        while (atomic_load_explicit(place, memory_order_relaxed)) {
            mp__entry *entry = mp__l1_announce(record, slot, place);

            if (entry && mp__entry_is(entry, address))
                return entry;
            if (entry)
                break; /* another address of the same tag; NULL: replaced meanwhile, look again */
        }
    }
    return NULL;
}

static mp__entry *table_read(const mp__l1_table *table, mp__hazard_record *record, mp_str address,
                             uint64_t hash)
{
    _Atomic(void *) *slot = mp__hazard_slot(record, mp__hazard_used(record));

    for (mp__l1_bucket *bucket = mp__l1_home(table, hash);; bucket = mp__l1_after(table, bucket)) {
        uint64_t tags = atomic_load_explicit(&bucket->tags, memory_order_acquire);
        mp__entry *entry =
            bucket_read(record, slot, bucket, mp__l1_match(tags, mp__l1_tag(hash)), address);

        if (entry || !mp__l1_passed_over(tags))
            return entry;
    }
}

mp__entry *mp__l1_read_slowly(mp__l1_front *front, mp__hazard_record *record, mp_str address,
                              uint64_t hash)
{
    mp__l1_table *table = mp__l1_table_announced(front, record);

    for (;;) {
        mp__entry *entry = table_read(table, record, address, hash);
        mp__l1_table *now = atomic_load_explicit(&front->table, memory_order_acquire);

        if (entry && (!entry->expires || !is_expired(front, entry))) {
            mp__hazard_take(record);
            return entry;
        }
        if (entry)
            mp__l1_drop_expired((mp__l1 *)front, entry);
        if (now == table)
            break;
        /* What was not found may have moved before we looked. */
        table = mp__l1_table_enter(front, record);
    }
    atomic_store_explicit(mp__hazard_slot(record, mp__hazard_used(record)), NULL,
                          memory_order_release);
    mp__hazard_count(record, 0, 1);
    return NULL;
}

void mp__l1_tick(mp__l1 *l1, int64_t wall_ms)
{
    mp__l1_front *front = front_of(l1);

    if (atomic_load_explicit(&front->wall_ms, memory_order_relaxed) != wall_ms)
        atomic_store_explicit(&front->wall_ms, wall_ms, memory_order_relaxed);
}

const mp__entry *mp__l1_find(mp__l1 *l1, mp_str address, uint64_t hash)
{
    mp__hazard_record *record = mp__hazard_mine;
    mp__entry *entry;

    if (__builtin_expect(mp__hazard_used(record) >= MP__HAZARD_HELD, 0)) {
        mp__hazard_count(record, 0, 1); /* as mp__l1_read() counts one */
        return NULL;
    }
    entry = mp__l1_read(front_of(l1), record, address, hash);
    if (__builtin_expect(entry != NULL, 1))
        mp__l1_note_use(record, entry, hash);
    return entry;
}

const mp__entry *mp__l1_peek(mp__l1 *l1, mp_str address, uint64_t hash)
{
    mp__hazard_record *record = mp__hazard_mine;
    const mp__entry *entry;

    if (mp__hazard_used(record) >= MP__HAZARD_HELD)
        return NULL;
    entry = mp__l1_read(front_of(l1), record, address, hash);
    if (entry)
        mp__hazard_count(record, -1, 0);
    else
        mp__hazard_count(record, 0, -1);
    return entry;
}

const mp__entry *mp__l1_find_part(mp__l1 *l1, mp_str address, uint64_t hash)
{
    mp__hazard_record *record = mp__hazard_mine;
    mp__entry *entry;

    if (mp__hazard_used(record) >= MP__HAZARD_HELD)
        return NULL;
    entry = mp__l1_read(front_of(l1), record, address, hash);
    if (entry) {
        mp__l1_note_use(record, entry, hash);
        mp__hazard_count(record, -1, 0);
    } else {
        mp__hazard_count(record, 0, -1);
    }
    return entry;
}

void mp__l1_count(mp__l1 *l1, int hits, int misses)
{
    mp__hazard_record *record = mp__hazard_mine;

    (void)mp__l1_table_announced(front_of(l1), record); /* the counters of this one */
    mp__hazard_count(record, hits, misses);
}

void mp__l1_prefetch(const mp__l1 *l1, uint64_t hash)
{
    const mp__l1_front *front = front_of(l1);

    __builtin_prefetch((char *)atomic_load_explicit(&front->near_buckets, memory_order_relaxed) +
                       (hash & atomic_load_explicit(&front->near_mask, memory_order_relaxed)));
}

/* How much of an entry is fetched for who will copy it: head, address and most values. */
enum { MP__L1_WHOLE = 320 };

void mp__l1_prefetch_many(const mp__l1 *l1, const uint64_t *hashes, size_t count)
{
    mp__hazard_record *record = mp__hazard_mine;
    const mp__l1_table *table;

    if (mp__hazard_depth(record) == 0) /* nothing would keep the table */
        return;
    table = mp__l1_table_announced(front_of(l1), record);
    for (size_t i = 0; i < count; i++) {
        const char *entry = mp__l1_hint(table, hashes[i]);

        for (size_t at = 0; entry && at < MP__L1_WHOLE; at += 64)
            __builtin_prefetch(entry + at);
    }
}
