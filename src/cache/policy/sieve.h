/* SPDX-License-Identifier: Apache-2.0 */
/* What the miniature of a larger SIEVE asks of it (cache/newcomer.h). */
#ifndef MP_CACHE_POLICY_SIEVE_H
#define MP_CACHE_POLICY_SIEVE_H

#include "cache/policy/policy.h"

/* Whether the hand is at @node, and that is the newest. */
bool mp__sieve_is_next_newcomer(const mp__policy *policy, const mp__policy_node *node);
/* Whether the last victim was the newest key, so that the hand begins anew with the oldest. */
bool mp__sieve_evicted_newest(const mp__policy *policy);
/* Let it wait for the next key instead. Between evict() and insert(). */
void mp__sieve_wait(mp__policy *policy);

#endif
