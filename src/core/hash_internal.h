/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the hashes share. */
#ifndef MP_CORE_HASH_INTERNAL_H
#define MP_CORE_HASH_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

enum { MP__CHECKSUM_LONG = 241 }; /* bytes from which XXH3 goes by stripes */

/* XXH3-64 without a seed, where the processor has AVX2. Pure. */
uint64_t mp__checksum_avx2(const void *data, size_t size);

#endif
