/* SPDX-License-Identifier: Apache-2.0 */
/* What the limits of L1 and L2 must be at least, said before anything is opened with them. */
#include "cache/l1_internal.h"
#include "cache/l2.h"

enum {
    AMPLE_ENTRY = 512,      /* bytes: more than table, order and panel take of each */
    TRIED_ALWAYS = 1 << 22, /* entries: made to see, also where even the table has no room */
};
#define AMPLE ((size_t)8 << 20)

/* Of an L1 just made: what is not there for entries, and the least of these. */
static size_t least_of(const mp__l1 *l1)
{
    return sizeof(*l1) + mp__l1_table_of(l1)->bytes + mp__l1_beside(l1, mp__l1_policies_bytes(l1)) -
           l1->curve_bytes + MP__L1_BYTES_LEAST;
}

size_t mp__cache_l1_bytes_least(size_t entries, size_t bytes, const char *policy,
                                const mp__priorities *priorities)
{
    const mp__policy_ops *ops = mp__policy_find(policy);
    size_t least = sizeof(mp__l1) + mp__l1_table_bytes(entries) + MP__L1_BYTES_LEAST;
    size_t enough = least + entries * AMPLE_ENTRY + AMPLE, whole;
    mp__l1 *l1 = NULL;

    if (!ops || bytes >= enough || (bytes < least && entries > TRIED_ALWAYS) ||
        mp__l1_new(mp__env_real(), entries, enough, 0, ops, &l1) != 0)
        return least;
    whole = least_of(l1); /* a start makes it so first */
    least = mp__l1_divide(l1, priorities) == 0 ? least_of(l1) : whole;
    (void)mp__l1_free(l1);
    return least > whole ? least : whole;
}

size_t mp__cache_l2_bytes_least(size_t entries)
{
    return mp__l2_bytes_least(entries);
}
