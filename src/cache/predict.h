/* SPDX-License-Identifier: Apache-2.0 */
/* What a cache of another capacity, or with another policy, would hit: a miniature of it that sees
 * a hash sample of the same requests. The optimizer's model of the cache, and replay --predict.
 *
 * The miniature runs the very policy. Of its hits in 32 parts of the sample follow the estimate for
 * all requests and how sure it is; near a cliff, where some entries more or less are everything,
 * the interval spans it. Not locked: one thread at a time. */
#ifndef MP_CACHE_PREDICT_H
#define MP_CACHE_PREDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <marketprism/error.h>

#include "cache/tally.h"
#include "core/core.h"

typedef struct mp__predict mp__predict;

/* A model of @policy (as mp__policies, or "w-tinylfu:40") with room for @capacity entries, with a
 * half. MP_EINVAL: no such policy, or capacity 0. MP_ENOMEM. */
MP_MUST_USE int mp__predict_new(const char *policy, size_t capacity, mp__predict **ret_predict);
mp__predict *mp__predict_free(mp__predict *predict); /* accepts NULL, returns NULL */

/* The same with a miniature of at most @entries_max, 1 to 65,534: less sure, and less memory.
 * @has_half: beside it is one of half as many entries, for half as much memory and time, from whose
 * difference follows how much smallness falsifies. */
MP_MUST_USE int mp__predict_new_within(const char *policy, size_t capacity, size_t entries_max,
                                       bool has_half, mp__predict **ret_predict);

/* One request for the key of @hash. */
void mp__predict_see(mp__predict *predict, uint64_t hash);
/* One of @stratum (of requests that are alike in what is known of all of them, as whether another
 * cache had them; below MP__STRATA) that stands for @weight, where the others were not told. */
void mp__predict_see_many(mp__predict *predict, uint64_t hash, unsigned stratum, double weight);
/* One that is not counted: it only keeps the miniature at what is asked for now. */
void mp__predict_warm(mp__predict *predict, uint64_t hash);
/* Let what was seen until now count half. */
void mp__predict_age(mp__predict *predict);
size_t mp__predict_bytes(const mp__predict *predict);
void mp__predict_read(const mp__predict *predict, mp__prediction *ret_prediction);
/* The same where @passed requests of each stratum are known to have been, not all of them told. */
void mp__predict_read_as(const mp__predict *predict, const double passed[MP__STRATA],
                         mp__prediction *ret_prediction);
/* What the sample may have too many or too few keys in use is worth, in hit ratio to either side
 * (nine times of ten), beyond what the intervals of mp__predict_read() show of it: the slope of the
 * curve where the miniature stands. 0 under policies of which it tells nothing. */
double mp__predict_size_error(const mp__predict *predict);

#endif
