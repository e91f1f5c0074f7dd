/* SPDX-License-Identifier: Apache-2.0 */
/* W-TinyLFU with a window whose size can be moved, for the adaptive policy. */
#ifndef MP_CACHE_POLICY_WTINYLFU_H
#define MP_CACHE_POLICY_WTINYLFU_H

#include "cache/policy/policy.h"

enum { MP__WINDOW_STANDARD = 10 }; /* percent of the cache */

/* As make() of the policy, with a window of @percent, 1 to 99, of the capacity. */
MP_MUST_USE int mp__wtinylfu_make(size_t capacity, unsigned percent, mp__policy **ret_policy);
/* @policy is to be the miniature of a cache of @capacity entries: its counters of frequency are as
 * many for a key as that one's, which are rounded up to a power of two, and it counts on
 * mp__wtinylfu_pass(). Before its first use. MP_ENOMEM. */
MP_MUST_USE int mp__wtinylfu_stand_for(mp__policy *policy, size_t capacity);
/* For the miniature of a larger cache: it forgets when that would, by all requests, of which each
 * is worth @requests here, and not by those of its sample, of which there may be many more or less.
 */
void mp__wtinylfu_pass(mp__policy *policy, double requests);
/* Move the window of such a policy; what is cached stays. */
void mp__wtinylfu_set_window(mp__policy *policy, unsigned percent);

#endif
