/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/newcomer.h"

#include <math.h>

#include "cache/policy/lfu.h"
#include "cache/policy/policies.h"
#include "cache/policy/sieve.h"

static const double LATELY = 1.0 / 512; /* weight of a request in the share of misses */

void mp__newcomer_init(mp__newcomer *n, double sample)
{
    *n = (mp__newcomer){.sample = sample, .random = 0x9E3779B97F4A7C15u};
}

/* xorshift64*; 0 to below 1. */
static double dice(mp__newcomer *n)
{
    n->random ^= n->random >> 12;
    n->random ^= n->random << 25;
    n->random ^= n->random >> 27;
    return (double)((n->random * 0x2545F4914F6CDD1Du) >> 11) * 0x1p-53;
}

static void note(mp__newcomer *n, bool miss)
{
    n->misses += LATELY * ((double)miss - n->misses);
}

/* When no sampled key is left before SIEVE's hand, 1 to 1 / sample keys are in the large cache.
 * With one of them the hand goes back to the oldest at the next miss. With more it stays until so
 * many newcomers have had hits, of which one is in the sample. Which of them is not known, so it is
 * one for all of the time: the times until the hit, 1 / between, add up to what they are together.
 */
void mp__newcomer_evicted(mp__newcomer *n, mp__policy *policy)
{
    if (policy->ops != &mp__policy_sieve || n->sample >= 1)
        return;
    if (!mp__sieve_evicted_newest(policy)) {
        n->between = 0;
        return;
    }
    if (n->between == 0)
        n->between = floor(1 + dice(n) / n->sample);
    if (n->between >= 2)
        mp__sieve_wait(policy);
    else
        n->between = 0;
}

void mp__newcomer_came(mp__newcomer *n, const mp__policy_node *node)
{
    n->node = node;
    n->passed = 0;
    note(n, true);
}

/* Of the requests that passed each is a miss by chance: under LFU none may be. */
static bool lives(mp__newcomer *n, const mp__policy *policy)
{
    if (policy->ops == &mp__policy_lfu)
        return !mp__lfu_is_next_newcomer(policy, n->node) ||
               dice(n) < pow(1 - n->misses, n->passed);
    if (policy->ops == &mp__policy_sieve && n->between >= 2)
        return !mp__sieve_is_next_newcomer(policy, n->node) ||
               n->passed * n->misses + 1 <= n->between;
    return true;
}

bool mp__newcomer_hit(mp__newcomer *n, const mp__policy *policy, const mp__policy_node *node)
{
    bool is_hit = n->sample >= 1 || node != n->node || lives(n, policy);

    note(n, !is_hit);
    if (!is_hit)
        n->passed = 0;
    return is_hit;
}
