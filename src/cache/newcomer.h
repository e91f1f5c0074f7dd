/* SPDX-License-Identifier: Apache-2.0 */
/* How long a new key lives in a large cache, for its miniature (cache/predict.h).
 *
 * Most queues of a miniature are as much shorter as its keys are fewer, so that one stays in them
 * for as long. Not so where new keys make room for each other, one by one: under LFU, when all
 * others were used twice, the next miss evicts what the last one brought, however large the cache.
 * And under SIEVE, whose hand comes so close to the newest key that only a few are between them: it
 * passes them by hits alone, and each lives for as many misses as they are. In a miniature that
 * would be as many misses of its own, of which there are one in two, or one in a hundred.
 *
 * So a hit of such a newcomer is one only where it would have lived until then in the large cache,
 * by the requests that were not in the sample and by the share of the sampled ones that missed. Not
 * locked. */
#ifndef MP_CACHE_NEWCOMER_H
#define MP_CACHE_NEWCOMER_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/policy/policy.h"

typedef struct mp__newcomer {
    const mp__policy_node *node; /* the last that came; NULL: none */
    double sample;               /* share of the keys in the miniature */
    double passed;               /* requests since it came that were not sampled */
    double misses;               /* of a request, lately */
    double between; /* keys between SIEVE's hand and the newest, of the large cache; 0: many */
    uint64_t random;
} mp__newcomer;

void mp__newcomer_init(mp__newcomer *newcomer, double sample);
/* A request that is not of the sample. */
static inline void mp__newcomer_pass(mp__newcomer *newcomer)
{
    newcomer->passed++;
}
/* @policy has evicted one to make room. */
void mp__newcomer_evicted(mp__newcomer *newcomer, mp__policy *policy);
/* @node came after a miss. */
void mp__newcomer_came(mp__newcomer *newcomer, const mp__policy_node *node);
/* A hit of @node, in a full miniature, which the policy was not told of yet. False: the large cache
 * would have missed it; then it is there anew, and the policy need not be told. */
bool mp__newcomer_hit(mp__newcomer *newcomer, const mp__policy *policy,
                      const mp__policy_node *node);

#endif
