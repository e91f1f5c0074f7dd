/* SPDX-License-Identifier: Apache-2.0 */
/* The policies that mp__policies lists, each defined in the file of its name. */
#ifndef MP_CACHE_POLICY_POLICIES_H
#define MP_CACHE_POLICY_POLICIES_H

#include "cache/policy/policy.h"

extern const mp__policy_ops mp__policy_lru, mp__policy_s3fifo;

#endif
