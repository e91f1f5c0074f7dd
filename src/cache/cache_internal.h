/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the joint share: the cache itself. */
#ifndef MP_CACHE_CACHE_INTERNAL_H
#define MP_CACHE_CACHE_INTERNAL_H

#include "cache/cache.h"
#include "cache/l1.h"
#include "cache/l2.h"
#include "cache/l3.h"
#include "core/slab.h"

struct mp_cache {
    mp_env *env;
    mp__l1 *l1;
    mp__l2 *l2;                 /* or NULL */
    mp__l3 *l3;                 /* or NULL */
    mp__l3_keys *l3_keys;       /* or NULL */
    mp__priorities *priorities; /* or NULL */
    mp__hash_key hash_key;      /* L3's, if there is one */
    mp__hasher hasher;          /* of that key */
    mp__slab *heap;             /* entries that L1 does not take: too large for it, or no room */
    _Atomic uint64_t counted;   /* revisions that this cache counts itself: mp_cache_put() */
    _Atomic bool is_open;       /* L1 is there: L3's scrubber may look into it */
    _Atomic uint32_t flushed_s; /* when what waits for L2 was last seen to */
    void (*on_damaged)(void *context, mp_str address, uint64_t hash);
    void *context;
};

/* From L3, which must be there or it is MP_EUNKNOWN; @fill: into L1, too. As
 * mp__cache_load_nowait() where @nowait, else it may wait for the disk. */
MP_MUST_USE int mp__cache_load_disk(mp_cache *cache, mp_str address, uint64_t hash, bool nowait,
                                    bool fill, const mp__entry **ret_entry);

#endif
