/* SPDX-License-Identifier: Apache-2.0 */
/* Uses on their way from readers to the policy: a ring a thread, which its reader fills and the
 * next fills of L1 empty.
 *
 * A hit writes the key's hash into its own thread's ring while there is room, else it only raises
 * the entry's counter of two bits, which the policy sees when it evicts. Rings are emptied when
 * something is brought in, since only then the order matters: as long as everything hits, they are
 * full and a hit writes nothing. What is lost is lost by time and never by key. A hash sample here,
 * which would write less, makes the order unfair to the keys outside of it: 4.7 points on one
 * trace (docs/cache.md). */
#ifndef MP_CACHE_L1_USES_H
#define MP_CACHE_L1_USES_H

#include <stdatomic.h>
#include <stdint.h>

enum {
    MP__L1_USES = 512,      /* in a ring: hits between two fills that are seen */
    MP__L1_USES_CREDIT = 24 /* reported at each fill on average, so that a fill stays cheap */
};

/* One writer, the reader whose it is (threads beyond MP__L1_SHARDS share one and may lose uses),
 * and whoever holds L1's lock, who reads. */
typedef struct mp__l1_uses {
    _Atomic uint32_t head, tail; /* counts without end; full when they are MP__L1_USES apart */
    _Atomic uint64_t hashes[];
} mp__l1_uses;

#endif
