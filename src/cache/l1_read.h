/* SPDX-License-Identifier: Apache-2.0 */
/* The hot path: a hit in L1, inline from the announced table to the counted use.
 *
 * No lock, no clock, no shared write but the frequency until it is saturated. What a hit does not
 * need is out of line in l1_read.c. */
#ifndef MP_CACHE_L1_READ_H
#define MP_CACHE_L1_READ_H

#include "cache/l1_table.h"
#include "cache/l1_uses.h"
#include "core/hash.h"

/* What readers look at of an L1; its first member. Changed rarely, so that its line stays shared by
 * all cores. */
typedef struct mp__l1_front {
    _Atomic(mp__l1_table *) table;
    /* Another number, never used before by any L1, when @table is another or there is room for uses
     * again: a thread for which neither has changed since its last section need not ask. Stored
     * after what it tells of, loaded before. */
    _Atomic uint64_t turn;
    _Atomic int64_t wall_ms;      /* coarse; 0: nobody ticks, so the clock is asked */
    _Atomic uint64_t *counters;   /* MP__L1_SHARDS pairs of hits and misses, a shard a thread */
    _Atomic(mp__l1_uses *) *uses; /* a ring a shard, or NULL */
    _Atomic uint64_t uses_wanted; /* a bit a shard whose reader has none yet */
    /* Hints for a prefetch outside a section: of the table of just now, perhaps of two tables.
     * Never looked into. */
    _Atomic(mp__l1_bucket *) near_buckets;
    _Atomic size_t near_mask; /* its home_mask */
    mp_env *env;              /* behind the line */
} mp__l1_front;

enum {
    MP__L1_SHARDS = 64,       /* threads beyond share one and may lose a count */
    MP__L1_SHARD_STRIDE = 16, /* words: two lines, since neighbours are prefetched in pairs */
};

/* The slow part of entering a table: announce it, and let the section count for this L1. */
mp__l1_table *mp__l1_table_enter(mp__l1_front *front, mp__hazard_record *record);

/* The whole look-up, wherever the entry stands and whatever happens meanwhile; what mp__l1_read()
 * falls back to. */
mp__entry *mp__l1_read_slowly(mp__l1_front *front, mp__hazard_record *record, mp_str address,
                              uint64_t hash);

/* Announce @table and look again. False: it is another now. */
static inline bool mp__l1_table_announce(const mp__l1_front *front, mp__hazard_record *record,
                                         mp__l1_table *table)
{
    atomic_store_explicit(&record->table, table, memory_order_release);
    mp__hazard_barrier(record);
    return atomic_load_explicit(&front->table, memory_order_acquire) == table;
}

static inline size_t mp__l1_shard_of(const mp__hazard_record *record)
{
    return record->index % MP__L1_SHARDS;
}

static inline _Atomic uint64_t *mp__l1_counters_of(const mp__l1_front *front, size_t shard)
{
    return front->counters + shard * MP__L1_SHARD_STRIDE;
}

/* The ring of this thread, if it has one, and its room for this section. False: it has none, and
 * did not ask for one yet. */
static inline bool mp__l1_uses_enter(const mp__l1_front *front, mp__hazard_record *record,
                                     size_t shard)
{
    uint32_t held;
    mp__l1_uses *uses = atomic_load_explicit(&front->uses[shard], memory_order_acquire);

    record->uses = uses;
    record->uses_room = 0;
    if (!uses)
        return atomic_load_explicit(&front->uses_wanted, memory_order_relaxed) >> shard & 1;
    held = atomic_load_explicit(&uses->head, memory_order_relaxed) -
           atomic_load_explicit(&uses->tail, memory_order_acquire);
    if (__builtin_expect(held >= MP__L1_USES, 0) && mp__hazard_is_plain(record)) {
        /* It is believed until the next turn: report_ring() in l1_uses.c has the other half. */
        atomic_thread_fence(memory_order_seq_cst);
        held = atomic_load_explicit(&uses->head, memory_order_relaxed) -
               atomic_load_explicit(&uses->tail, memory_order_acquire);
    }
    if (held < MP__L1_USES)
        record->uses_room = MP__L1_USES - held;
    return true;
}

/* The section looks into @table, announced, of an L1 of whose @turn it is. The next ones may find
 * that so, unless they have uses to gather or a fence to pay for. */
static inline void mp__l1_table_entered(mp__hazard_record *record, const mp__l1_table *table,
                                        uint64_t turn)
{
    bool plain = record->uses_room == 0 && mp__hazard_is_plain(record);

    record->turn = turn;
    record->plain_turn = plain ? turn : 0;
    record->plain_table = plain ? table : NULL;
    record->plain_place = (char *)table->buckets;
    record->plain_mask = table->home_mask;
    if (!plain)
        record->state |= MP__HAZARD_ODD;
}

/* mp__l1_table_enter() for a section that has looked into nothing yet, in few instructions: for one
 * look a section they are a fifth of it. False: that one finds out. */
static inline bool mp__l1_table_enter_first(const mp__l1_front *front, mp__hazard_record *record,
                                            uint64_t turn)
{
    size_t shard = mp__l1_shard_of(record);
    mp__l1_table *table = atomic_load_explicit(&front->table, memory_order_acquire);

    if (__builtin_expect((uint16_t)record->state != 0, 0))
        return false;
    if (__builtin_expect(!mp__l1_uses_enter(front, record, shard), 0))
        return false;
    record->counters = mp__l1_counters_of(front, shard); /* for those before nothing waits */
    if (__builtin_expect(!mp__l1_table_announce(front, record, table), 0))
        return false;
    mp__l1_table_entered(record, table, turn);
    return true;
}

/* Announced once a section; a resize in between is noticed by the turn. */
static inline mp__l1_table *mp__l1_table_announced(mp__l1_front *front, mp__hazard_record *record)
{
    if (__builtin_expect(atomic_load_explicit(&front->turn, memory_order_acquire) != record->turn,
                         0))
        return mp__l1_table_enter(front, record);
    return (mp__l1_table *)atomic_load_explicit(&record->table, memory_order_relaxed);
}

/* Where an entry of @hash stands, if any, for a prefetch: no entry is announced, since a prefetch
 * of freed memory does no harm. Never looked into. */
static inline const char *mp__l1_hint(const mp__l1_table *table, uint64_t hash)
{
    mp__l1_bucket *bucket = mp__l1_home(table, hash);
    uint64_t match =
        mp__l1_match(atomic_load_explicit(&bucket->tags, memory_order_relaxed), mp__l1_tag(hash));

    if (__builtin_expect(!match, 0))
        return NULL;
    return (const char *)atomic_load_explicit(mp__l1_matched(bucket, match), memory_order_relaxed);
}

/* Announce the entry that stands at @place in @slot and look again: if it still stands there, then
 * whoever takes it out later sees the announcement. NULL: it is another now, or none. */
static inline mp__entry *mp__l1_announce(const mp__hazard_record *record, _Atomic(void *) *slot,
                                         const _Atomic(mp__entry *) *place)
{
    mp__entry *entry = atomic_load_explicit(place, memory_order_acquire);

    atomic_store_explicit(slot, entry, memory_order_release);
    mp__hazard_barrier(record);
    if (__builtin_expect(atomic_load_explicit(place, memory_order_acquire) != entry, 0))
        return NULL;
    return entry;
}

static inline void mp__l1_use_add(mp__hazard_record *record, uint64_t hash)
{
    mp__l1_uses *uses = record->uses;
    uint32_t head = atomic_load_explicit(&uses->head, memory_order_relaxed);

    record->uses_room--;
    atomic_store_explicit(&uses->hashes[head % MP__L1_USES], hash, memory_order_relaxed);
    atomic_store_explicit(&uses->head, head + 1, memory_order_release);
}

/* No write once the entry's counter is saturated: it would take the line away from every other
 * core.
 */
static inline void mp__l1_note_in_entry(mp__entry *entry)
{
    uint8_t f = atomic_load_explicit(&entry->frequency, memory_order_relaxed);

    if (__builtin_expect(f < 3, 0))
        atomic_store_explicit(&entry->frequency, (uint8_t)(f + 1), memory_order_relaxed);
}

/* In the thread's ring while there is room; else in the entry. */
static inline void mp__l1_note_use(mp__hazard_record *record, mp__entry *entry, uint64_t hash)
{
    if (__builtin_expect(record->uses_room != 0, 0))
        mp__l1_use_add(record, hash);
    else
        mp__l1_note_in_entry(entry);
}

/* What a look may leave out. */
enum mp__l1_look {
    MP__L1_LOOK_ANY,
    MP__L1_LOOK_VALUE, /* finds only a value that never expires */
    MP__L1_LOOK_PLAIN, /* the same, in record->plain_table */
};

/* The look into the home bucket of the announced @table: the entry of the first tag that matches,
 * if it is of @address and does not expire; announced in the @used slot, and a hit. NULL:
 * mp__l1_read_slowly() finds out. That is the common case: 97 of 100. Each step from the hash to
 * the entry is waited for, so that addresses are made by the loads themselves, and once more beside
 * them for what comes later. */
static inline __attribute__((always_inline)) mp__entry *
mp__l1_look(const mp__l1_table *table, mp__hazard_record *record, size_t used, mp_str address,
            uint64_t hash, enum mp__l1_look how)
{
    size_t home = hash & (how == MP__L1_LOOK_PLAIN ? record->plain_mask : table->home_mask), bit;
    char *buckets = how == MP__L1_LOOK_PLAIN ? record->plain_place : (char *)table->buckets;
    uint64_t match = mp__l1_match(
        atomic_load_explicit(&((mp__l1_bucket *)(buckets + home))->tags, memory_order_acquire),
        mp__l1_tag(hash));
    mp__l1_bucket *bucket;
    mp__entry *entry;

    if (__builtin_expect(!match, 0))
        return NULL;
    MP__ANEW(home);
    bucket = (mp__l1_bucket *)(buckets + home);
    bit = mp__l1_lowest(match);
    entry = atomic_load_explicit(mp__l1_at_bit(bucket, bit), memory_order_acquire);
    atomic_store_explicit(mp__hazard_slot(record, used), entry, memory_order_release);
    if (how == MP__L1_LOOK_PLAIN)
        mp__hazard_barrier_plain();
    else
        mp__hazard_barrier(record);
    MP__ANEW(bit);
    if (__builtin_expect(
            atomic_load_explicit(mp__l1_at_bit(bucket, bit), memory_order_acquire) != entry, 0))
        return NULL;
    if (__builtin_expect(!entry, 0))
        return NULL;
    if (__builtin_expect(how == MP__L1_LOOK_ANY ? !mp__entry_is(entry, address) || entry->expires
                                                : !mp__entry_is_plain(entry, address),
                         0))
        return NULL;
    mp__hazard_take(record); /* in memory, where it is a register less than @used and one */
    return entry;
}

/* Inside a read section of this thread's @record with a free slot: the entry, announced until the
 * section ends, or NULL. Counts a hit or a miss, not the use. */
static inline __attribute__((always_inline)) mp__entry *
mp__l1_read(mp__l1_front *front, mp__hazard_record *record, mp_str address, uint64_t hash)
{
    mp__l1_table *table = mp__l1_table_announced(front, record);
    mp__entry *entry =
        mp__l1_look(table, record, mp__hazard_used(record), address, hash, MP__L1_LOOK_ANY);

    return __builtin_expect(entry != NULL, 1) ? entry
                                              : mp__l1_read_slowly(front, record, address, hash);
}

#endif
