/* SPDX-License-Identifier: Apache-2.0 */
/* A cache of hashes alone that follows one eviction policy: a member of the panel, or the order of
 * a whole cache.
 *
 * All of it lies in three arrays linked by numbers, so that one is copied by copying bytes, and a
 * panel of eight fits in 256 KiB. Ghosts (what a policy remembers and no longer keeps) are records
 * as the others. Not locked: one thread at a time. */
#ifndef MP_CACHE_MINI_H
#define MP_CACHE_MINI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <marketprism/error.h>

#include "core/core.h"

typedef struct mp__mini mp__mini;
typedef struct mp__mini_record mp__mini_place;

/* How the members of the panel evict. */
enum mp__mini_kind {
    MP__MINI_LRU,
    MP__MINI_S3FIFO,
    MP__MINI_QDLP, /* S3-FIFO that keeps what was used once more, not twice, while it was new */
    MP__MINI_TWOQ,
    MP__MINI_LIRS,
    MP__MINI_TINYLFU, /* with a window of @window_permille */
};

typedef struct mp__mini_shape {
    const char *name;
    enum mp__mini_kind kind;
    unsigned window_permille;
} mp__mini_shape;

/* @owners: keep a pointer of the owner's with each entry. @sketch: count uses although the shape
 * does not need it, so that another may take over. MP_ENOMEM. */
MP_MUST_USE int mp__mini_new(const mp__mini_shape *shape, size_t capacity, bool owners, bool sketch,
                             mp__mini **ret_mini);
mp__mini *mp__mini_free(mp__mini *mini); /* accepts NULL, returns NULL */

/* Soon there is a request for @hash: let its bucket come into the processor's cache, and a little
 * later, by that, its record. */
void mp__mini_fetch_bucket(const mp__mini *mini, uint64_t hash);
void mp__mini_fetch_record(const mp__mini *mini, uint64_t hash);
/* One request: whether it was a hit; after a miss it is cached. */
bool mp__mini_access(mp__mini *mini, uint64_t hash);
uint64_t mp__mini_gone(const mp__mini *mini); /* what went for it; 0: nothing */

bool mp__mini_holds(const mp__mini *mini, uint64_t hash);
/* A use of what is held; false when it is not. */
bool mp__mini_touch(mp__mini *mini, uint64_t hash);
/* Cache what is not held; there must be room (mp__mini_count < capacity). Returns its place. */
mp__mini_place *mp__mini_insert(mp__mini *mini, uint64_t hash, void *owner);
/* The owner of the next victim, which may be NULL; it stays. There must be one. */
void *mp__mini_next_victim(mp__mini *mini);
/* Let the policy's next victim go. False: nothing is held. *ret_owner may be NULL. */
bool mp__mini_evict(mp__mini *mini, void **ret_owner);
/* One has to go although only @held are: there is room for no more of them just then, whatever the
 * capacity, and what would keep a share of them has to know (LIRS). */
void mp__mini_fit(mp__mini *mini, size_t held);
/* It was deleted, not evicted. */
void mp__mini_forget(mp__mini *mini, uint64_t hash);

/* The place of what is held, which it keeps until it is evicted or forgotten: an owner that knows
 * it need not be looked up. NULL: it is not held. */
mp__mini_place *mp__mini_held(mp__mini *mini, uint64_t hash);
/* A use of what is held there. */
void mp__mini_touch_at(mp__mini *mini, mp__mini_place *place);
void *mp__mini_owner_at(const mp__mini *mini, const mp__mini_place *place); /* NULL: none */
void mp__mini_owner_set_at(mp__mini *mini, const mp__mini_place *place, void *owner);

/* Make the order of @mini, which is empty, out of the hashes and owners given in the order in which
 * another policy would evict them. The most used ones are those that have proved themselves. */
void mp__mini_seed(mp__mini *mini, const uint64_t *hashes, void *const *owners, size_t count);
/* Let @mini, without owners, forget all that it knows, and hold what @from does, an LRU of the same
 * capacity, as if all of it had come once and in that order. */
void mp__mini_begin_anew(mp__mini *mini, const mp__mini *from);
/* What @from, of the same shape and another capacity, has learned of its queues' sizes. */
void mp__mini_learn(mp__mini *mini, const mp__mini *from);
/* Make @mini, of the same shape and capacity, a copy of @from without its owners. */
void mp__mini_copy(mp__mini *mini, const mp__mini *from);
/* Let @to go on with the counts of use of @from (same capacity). */
void mp__mini_sketch_move(mp__mini *to, mp__mini *from);

/* About how many @of holds that @mini does not; at an eighth of the keys is looked. */
size_t mp__mini_lacks(const mp__mini *mini, const mp__mini *of);
/* Add what it holds to @parts by the lowest bits of the hash; @count is a power of two. */
void mp__mini_spread(const mp__mini *mini, float *parts, size_t count);
size_t mp__mini_count(const mp__mini *mini);
size_t mp__mini_capacity(const mp__mini *mini);
size_t mp__mini_bytes(const mp__mini *mini);
/* What one of @shape would take. */
size_t mp__mini_bytes_for(const mp__mini_shape *shape, size_t capacity, bool owners, bool sketch);

#endif
