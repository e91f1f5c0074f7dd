/* SPDX-License-Identifier: Apache-2.0 */
/* What the miniature of a larger LFU asks of it (cache/newcomer.h). */
#ifndef MP_CACHE_POLICY_LFU_H
#define MP_CACHE_POLICY_LFU_H

#include "cache/policy/policy.h"

/* Whether @node alone was used only once, so that it makes room for the next key. */
bool mp__lfu_is_next_newcomer(const mp__policy *policy, const mp__policy_node *node);

#endif
