/* SPDX-License-Identifier: Apache-2.0 */
/* The loops that pack and read L2's blocks are built twice: as every processor can run them
 * (`_plain`), and with AVX2, BMI and LZCNT (`_wide`), where no shift needs a certain register and
 * 32 bytes are compared at once: a tenth of the time. Both make the same. Who makes a packer or an
 * unpacker asks once which it may be. */
#ifndef MP_CACHE_L2_WIDE_H
#define MP_CACHE_L2_WIDE_H

#include <stdbool.h>

#ifdef MP__L2_WIDE /* the second time: the loops alone */
#define MP__L2_BUILT(name) name##_wide
#else
#define MP__L2_BUILT(name) name##_plain
#endif

/* Whether the wide ones were built, and this processor and its system have what they need. Asking
 * takes as long as packing a value. Any thread. */
bool mp__l2_wide_is_here(void);

#endif
