/* SPDX-License-Identifier: Apache-2.0 */
/* From the hits of a hash sample of keys to the hit ratio of all requests, and how sure that is.
 *
 * The requests are counted in strata that are known of all of them, sampled or not, as whether a
 * cache had them, and in parts by the hash of the key, whose scatter tells the error. Pure; in the
 * caller's storage, zero to begin with but for the sample. */
#ifndef MP_CACHE_TALLY_H
#define MP_CACHE_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MP__STRATA = 2, MP__TALLY_PARTS = 32 };

typedef struct mp__prediction {
    double hit_ratio;  /* 0 to 1, since the first request, or lately where it ages */
    double low, high;  /* nine times out of ten the truth lies between */
    double sample;     /* share of the keys that it saw */
    size_t entries;    /* of the miniature; below 100 do not show a number */
    uint64_t requests; /* sampled */
} mp__prediction;

typedef struct mp__tally {
    double sample;          /* share of the keys, above 0, at most 1 */
    double all[MP__STRATA]; /* requests, sampled or not */
    double requests[MP__STRATA][MP__TALLY_PARTS], hits[MP__STRATA][MP__TALLY_PARTS];
} mp__tally;

/* Requests that stand for @weight of @stratum; sampled or not. */
static inline void mp__tally_pass(mp__tally *tally, unsigned stratum, double weight)
{
    tally->all[stratum] += weight;
}
/* One of them was sampled; @hash must be mixed well in its lowest bits. */
void mp__tally_add(mp__tally *tally, uint64_t hash, unsigned stratum, bool hit, double weight);
/* Let what was seen until now count half. */
void mp__tally_age(mp__tally *tally);
/* Exact where the sample is everything; 0 to 1 where it is of hardly any keys. The number of
 * entries stays the caller's to tell. */
void mp__tally_read(const mp__tally *tally, mp__prediction *ret_prediction);
/* The same where it is known that of each stratum there were @passed requests, of which not all
 * were told: those that were stand for the others of their stratum. Of one of which none were told
 * it is taken that the second has all hits and the first none, and the interval has either. */
void mp__tally_read_as(const mp__tally *tally, const double passed[MP__STRATA],
                       mp__prediction *ret_prediction);
/* A fifth and 0.2 points wider: when a panel changes its leader hangs on a few requests, which the
 * scatter between parts of the sample does not show. */
void mp__tally_loosen(mp__prediction *is);
/* What is said of @requests, all in all, is said of as many others of the same kind: so chance has
 * its part in it, too. */
void mp__tally_spread(mp__prediction *is, double requests);

#endif
