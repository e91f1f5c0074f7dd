/* SPDX-License-Identifier: Apache-2.0 */
/* Making entries. One slab object: what only writers look at, then the entry as readers see it,
 * then address, media type and value, so that a hit reads forward from the entry's line. */
#ifndef MP_CACHE_ENTRY_H
#define MP_CACHE_ENTRY_H

#include "cache/cache.h"
#include "cache/policy/policy.h"
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
} __attribute__((aligned(64))) mp__entry_cold;

static inline mp__entry_cold *mp__entry_cold_of(const mp__entry *entry)
{
    mp__entry *e;

    memcpy(&e, &entry, sizeof(e)); /* entries are never const objects; readers only see them so */
    return (mp__entry_cold *)e - 1;
}

/* Before @entry is seen by anybody: it is used as often as @old, whose place it takes. */
static inline void mp__entry_inherit_use(mp__entry *entry, const mp__entry *old)
{
    atomic_init(&entry->frequency, atomic_load_explicit(&old->frequency, memory_order_relaxed));
}

size_t mp__entry_bytes(const mp__record *record);

/* A copy of @record in @slab with one reference; NULL when the slab has no room. */
mp__entry *mp__entry_make(mp__slab *slab, uint64_t hash, const mp__record *record,
                          uint32_t generation, uint32_t verify_by_s);

/* Note when the origin last said that @entry is so, and how fresh that makes it. */
void mp__entry_verified(const mp__entry *entry, int64_t verified_ms, uint32_t generation,
                        uint32_t verify_by_s);

#endif
