/* SPDX-License-Identifier: Apache-2.0 */
/* Making entries. One slab object: what only writers look at, then the entry as readers see it,
 * then address, media type and value, so that a hit reads forward from the entry's line. */
#ifndef MP_CACHE_ENTRY_H
#define MP_CACHE_ENTRY_H

#include "cache/cache.h"
#include "cache/policy/policy.h"
#include "cache/wheel.h"
#include "core/hazard.h"
#include "core/slab.h"

typedef struct mp__entry_cold {
    union {
        mp__policy_node node; /* while L1 holds it */
        mp__retired retired;  /* from then on; the node's hash and size stay readable */
    };
    uint64_t created_revision;
    _Atomic int64_t verified_ms;
    uint32_t version;      /* UINT32_MAX: that or more */
    _Atomic bool was_used; /* as far as uses were reported; those that were not are in frequency */
    _Atomic bool was_used_lately; /* the same, since the timer looked (l1_due.c) */
} __attribute__((aligned(64))) mp__entry_cold;

static inline mp__entry_cold *mp__entry_cold_of(const mp__entry *entry)
{
    mp__entry *e;

    memcpy(&e, &entry, sizeof(e)); /* entries are never const objects; readers only see them so */
    return (mp__entry_cold *)e - 1;
}

/* In the kind of an entry's node, while L1 holds it. */
enum {
    MP__ENTRY_CLASS = 0x07, /* enum mp__priority, or MP__L1_PINNED */
    MP__ENTRY_TIMED = 0x10, /* there is a timer behind the value: it expires or must be verified */
};

/* Before @entry is seen by anybody: it is used as often as @old, whose place it takes. */
static inline void mp__entry_inherit_use(mp__entry *entry, const mp__entry *old)
{
    atomic_init(&entry->frequency, atomic_load_explicit(&old->frequency, memory_order_relaxed));
}

/* @timed: with a timer. */
size_t mp__entry_bytes(const mp__record *record, bool timed);
/* Whether it will need one. */
static inline bool mp__entry_is_timed(const mp__record *record, uint32_t verify_by_s)
{
    return record->expires_ms != 0 || verify_by_s != 0;
}
/* Behind the value of an entry that needs one. */
typedef struct mp__entry_timer {
    mp__wheel_timer timer;
    mp__entry *entry;
} mp__entry_timer;
/* NULL: it has none. While L1 holds @entry, under its lock. */
mp__wheel_timer *mp__entry_timer_of(mp__entry *entry);

/* A copy of @record in @slab with one reference; NULL when the slab has no room. */
mp__entry *mp__entry_make(mp__slab *slab, uint64_t hash, const mp__record *record,
                          uint32_t generation, uint32_t verify_by_s);

/* Note when the origin last said that @entry is so, and how fresh that makes it. */
void mp__entry_verified(const mp__entry *entry, int64_t verified_ms, uint32_t generation,
                        uint32_t verify_by_s);

#endif
