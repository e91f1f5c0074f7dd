/* SPDX-License-Identifier: Apache-2.0 */
#include "core/hash.h"

#include <xxhash.h>

#include "core/hash_internal.h"

uint64_t mp__checksum(uint64_t seed, const void *data, size_t size)
{
#ifdef MP__WITH_AVX2
    if (size >= MP__CHECKSUM_LONG && seed == 0 && __builtin_cpu_supports("avx2"))
        return mp__checksum_avx2(data, size);
#endif
    return XXH3_64bits_withSeed(data, size, seed);
}
