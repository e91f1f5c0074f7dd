/* SPDX-License-Identifier: Apache-2.0 */
/* The policies that mp__policies lists, each defined in the file of its name. */
#ifndef MP_CACHE_POLICY_POLICIES_H
#define MP_CACHE_POLICY_POLICIES_H

#include "cache/policy/policy.h"

extern const mp__policy_ops mp__policy_adaptive, mp__policy_arc, mp__policy_fifo, mp__policy_lfu,
    mp__policy_lirs, mp__policy_lru, mp__policy_s3fifo, mp__policy_sieve, mp__policy_ttl,
    mp__policy_twoq, mp__policy_wtinylfu;

struct mp__panel_view;
/* What the panel of @policy shows. False: it is another policy and has none. */
bool mp__adaptive_look(const mp__policy *policy, struct mp__panel_view *ret_view);

#endif
