/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers that are the same in each run: the generator of Knuth, "MMIX", in the caller's
 * state, of which the better half is taken. */
#ifndef MP_DICE_H
#define MP_DICE_H

#include <stdint.h>

static inline uint64_t mp_dice(uint64_t *state, uint64_t below)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (*state >> 33) % below;
}

/* Few keys often: the smallest of three throws. */
static inline uint64_t mp_dice_hot(uint64_t *state, uint64_t keys)
{
    uint64_t a = mp_dice(state, keys), b = mp_dice(state, keys), c = mp_dice(state, keys);

    a = a < b ? a : b;
    return a < c ? a : c;
}

/* A hash of a key's number, the same in each run: the last steps of SplitMix64 (Steele, Lea and
 * Flood, OOPSLA 2014). */
static inline uint64_t mp_mixed(uint64_t key)
{
    key = (key + 1) * 0x9e3779b97f4a7c15ULL;
    key = (key ^ key >> 30) * 0xbf58476d1ce4e5b9ULL;
    key = (key ^ key >> 27) * 0x94d049bb133111ebULL;
    return key ^ key >> 31;
}

#endif
