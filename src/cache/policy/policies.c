/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/policy/policies.h"

#include <string.h>

const mp__policy_ops *const mp__policies[] = {
    &mp__policy_adaptive, &mp__policy_s3fifo, &mp__policy_lru,  &mp__policy_wtinylfu,
    &mp__policy_lirs,     &mp__policy_arc,    &mp__policy_twoq, &mp__policy_sieve,
    &mp__policy_lfu,      &mp__policy_fifo,   &mp__policy_ttl,  NULL};

const mp__policy_ops *mp__policy_find(const char *name)
{
    for (const mp__policy_ops *const *p = mp__policies; *p; p++)
        if (strcmp((*p)->name, name) == 0)
            return *p;
    return NULL;
}
