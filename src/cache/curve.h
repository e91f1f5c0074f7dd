/* SPDX-License-Identifier: Apache-2.0 */
/* The curve of a running cache: what it would hit with a quarter to four times the entries, and
 * under other policies, lately. The optimizer's model of L1.
 *
 * Miniatures (cache/predict.h) see a sample of the requests that the policy sees; of the adaptive
 * policy, panels as it would have (cache/panel.h). Since the cache itself counts all, only that
 * must be guessed in which they differ from it. Not locked: one thread at a time. */
#ifndef MP_CACHE_CURVE_H
#define MP_CACHE_CURVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <marketprism/error.h>

#include "cache/tally.h"
#include "core/core.h"

enum { MP__CURVE_POINTS = 5 };

typedef struct mp__curve mp__curve;

/* For a cache of @capacity entries under @policy. MP_EINVAL: no such policy. MP_ENOMEM. */
MP_MUST_USE int mp__curve_new(const char *policy, size_t capacity, mp__curve **ret_curve);
mp__curve *mp__curve_free(mp__curve *curve); /* accepts NULL, returns NULL */

/* A request that stands for @weight of them, and whether the cache had it. */
void mp__curve_see(mp__curve *curve, uint64_t hash, bool hit, double weight);
/* The same where not every request is told of, but all are counted: some of them, and how many
 * there were. */
void mp__curve_sample(mp__curve *curve, uint64_t hash, bool hit, double weight);
void mp__curve_count(mp__curve *curve, double hits, double misses);

/* One that is not judged: it only keeps the miniatures at what is asked for now. */
void mp__curve_warm(mp__curve *curve, uint64_t hash);

/* Point @point of the curve, and its entries. */
void mp__curve_point(const mp__curve *curve, size_t point, size_t *ret_entries,
                     mp__prediction *ret_prediction);
/* Any number of entries within the curve, between its points. MP_EINVAL: outside. */
MP_MUST_USE int mp__curve_at(const mp__curve *curve, size_t entries,
                             mp__prediction *ret_prediction);
/* The i-th policy that is followed at the capacity itself; NULL: there is no i-th. */
const char *mp__curve_policy(const mp__curve *curve, size_t i, mp__prediction *ret_prediction);

size_t mp__curve_bytes(const mp__curve *curve);

#endif
