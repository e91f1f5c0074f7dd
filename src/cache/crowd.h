/* SPDX-License-Identifier: Apache-2.0 */
/* How many keys too many or too few a miniature has to do with, and what that is worth.
 *
 * Of the keys in use a sample has more than its share, or fewer, and to those a miniature is a
 * cache that is so much smaller, or larger. The parts of the sample, which have one miniature in
 * common, do not show it in what they hit. But where keys are asked for alike, a part with more
 * requests has more keys; so what is known of all requests tells how many keys the sample should
 * have, as far as the keys that its parts hold follow their requests. What a key more costs is told
 * by how soon after it was evicted one is missed. Pure; in the caller's storage, zero to begin
 * with. */
#ifndef MP_CACHE_CROWD_H
#define MP_CACHE_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/tally.h"

enum { MP__CROWD_GONE = 128 };

typedef struct mp__crowd {
    float held[MP__TALLY_PARTS]; /* keys of each part, by LRU, summed over the looks */
    float misses;
    float back, since;  /* of these what was evicted before, and evictions until then */
    uint16_t turn;      /* requests since the last look */
    uint16_t evictions; /* of the last 65,535, which are more than are remembered */
    struct mp__crowd_gone {
        uint16_t tag, at;   /* at 1 and more; 0: none */
    } gone[MP__CROWD_GONE]; /* by hash, and how many had been by then; one forgets another */
} mp__crowd;

/* A request of the sample that stands for @weight, and whether the miniature had it. True: now add
 * the keys that LRU would hold to crowd->held, by the part that they are of. */
bool mp__crowd_see(mp__crowd *crowd, uint64_t hash, bool hit, double weight);
/* The miniature evicted the key of @hash; of a request that it was for, after that. */
void mp__crowd_evicted(mp__crowd *crowd, uint64_t hash);
/* Let what was seen until now count half. */
void mp__crowd_age(mp__crowd *crowd);

/* What is known where the forecast is made. */
typedef struct mp__crowd_at {
    const mp__tally *tally;
    size_t held, entries; /* of the miniature; room for so many */
    double slope;         /* of the hit ratio over the logarithm of the size, as far as is known */
} mp__crowd_at;

/* Move @is, read from the tally, to what as many keys as there should be would hit, and widen its
 * interval by what is not known of how many they are. */
void mp__crowd_correct(const mp__crowd *crowd, const mp__crowd_at *at, mp__prediction *is);

#endif
