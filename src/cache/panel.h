/* SPDX-License-Identifier: Apache-2.0 */
/* A panel of miniature caches that tells which policy would serve the requests best.
 *
 * Each member is a cache of hashes (cache/mini.h) that sees the same hash sample of the keys and is
 * as much smaller than the real cache as the sample is smaller than the keys (Waldspurger et al.,
 * "Cache Modeling and Optimization using Miniature Simulations", ATC 2017). So the real cache pays
 * nothing for trying a policy out. Not locked: one thread at a time. */
#ifndef MP_CACHE_PANEL_H
#define MP_CACHE_PANEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/mini.h"

/* Each has at most ENTRIES, or a SHARE-th of a large cache's, and never more than ENTRIES_MAX. */
enum {
    MP__PANEL_MEMBERS = 8,
    MP__PANEL_RECENCY = 0, /* the member that remembers only the order of use */
    MP__PANEL_ENTRIES = 512,
    MP__PANEL_SHARE = 208,
    MP__PANEL_ENTRIES_MAX = 4096,
};

typedef struct mp__panel mp__panel;

/* For a cache of @capacity entries. MP_ENOMEM. */
MP_MUST_USE int mp__panel_new(size_t capacity, mp__panel **ret_panel);
/* The same with members of at most @entries_max. */
MP_MUST_USE int mp__panel_new_within(size_t capacity, size_t entries_max, mp__panel **ret_panel);
mp__panel *mp__panel_free(mp__panel *panel); /* accepts NULL, returns NULL */

const mp__mini_shape *mp__panel_shape(size_t member);

/* A key is of the sample when its mixed hash is at most the panel's threshold. */
static inline uint32_t mp__panel_mix(uint64_t hash)
{
    return (uint32_t)((hash * 0xff51afd7ed558ccdULL) >> 32);
}
uint32_t mp__panel_threshold(const mp__panel *panel);

/* One request, and whether the cache itself had it. True: the leader has changed. */
bool mp__panel_see(mp__panel *panel, uint64_t hash, bool hit);
/* One request that is not judged: it only keeps the members at what is asked for now. */
void mp__panel_warm(mp__panel *panel, uint64_t hash);
/* One request that stands for @weight, where there is no cache: one that were always as its leader
 * had it, *ret_has. Hits of another cache [@hit] and misses may weigh differently. False: it is not
 * of the sample. */
bool mp__panel_follow(mp__panel *panel, uint64_t hash, bool hit, double weight, bool *ret_has);
/* From here on each hit of the cache itself that is told stands for @weight of them, 1 or more. */
void mp__panel_weigh(mp__panel *panel, double weight);
size_t mp__panel_leader(const mp__panel *panel);
/* Whether the leader changed the last time because what was asked for had changed as a whole, so
 * that what was counted before is of no use. */
bool mp__panel_is_past_gone(const mp__panel *panel);
/* The member, and whether it sees every key and is as large as the cache. */
const mp__mini *mp__panel_member(const mp__panel *panel, size_t member, bool *ret_whole);
/* The key of @hash was deleted. */
void mp__panel_forget(mp__panel *panel, uint64_t hash);

typedef struct mp__panel_view {
    double hit_ratio[MP__PANEL_MEMBERS]; /* lately, of the sample, corrected for its size */
    double requests;                     /* sampled, that these stand on */
    double sample;                       /* share of the keys, 0 to 1 */
    double seen;                         /* share of the requests lately, 0 to 1 */
    uint64_t switches;
    size_t leader;
    size_t entries; /* of each member */
} mp__panel_view;
void mp__panel_look(const mp__panel *panel, mp__panel_view *ret_view);

size_t mp__panel_bytes(const mp__panel *panel);

#endif
