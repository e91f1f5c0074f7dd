/* SPDX-License-Identifier: Apache-2.0 */
#include "core/hash.h"

#include <xxhash.h>

uint64_t mp__checksum(uint64_t seed, const void *data, size_t size)
{
    return XXH3_64bits_withSeed(data, size, seed);
}
