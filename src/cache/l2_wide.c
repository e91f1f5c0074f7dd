/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/l2_wide.h"

#ifdef MP__WITH_L2_WIDE
#include <cpuid.h>
#endif

bool mp__l2_wide_is_here(void)
{
#ifdef MP__WITH_L2_WIDE
    enum { OF_AMD = (int)0x80000001 }; /* the bits that AMD had first, LZCNT among them */
    unsigned a, b, c, d;

    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __get_cpuid((unsigned)OF_AMD, &a, &b, &c, &d) &&
           (c & bit_LZCNT) != 0;
#else
    return false;
#endif
}
