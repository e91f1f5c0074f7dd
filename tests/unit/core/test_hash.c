/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include <stdlib.h>
#include <xxhash.h>

#include "core/hash.h"

enum { LONGEST = 70000 };

/* Files outlive the processor that wrote them: whichever way it is computed, it is XXH3-64. */
static void a_checksum_is_xxh3_of_every_length_at_every_place(void **state)
{
    unsigned char *bytes = malloc(LONGEST + 64);

    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < LONGEST + 64; i++)
        bytes[i] = (unsigned char)(i * 2654435761u >> 13);
    for (size_t size = 0; size <= LONGEST; size += size < 3000 ? 1 : 997)
        for (size_t at = 0; at < 64; at += size < 300 ? 1 : 21)
            for (uint64_t seed = 0; seed <= 1; seed++)
                assert_int_equal(mp__checksum(seed, bytes + at, size),
                                 XXH3_64bits_withSeed(bytes + at, size, seed));
    free(bytes);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(a_checksum_is_xxh3_of_every_length_at_every_place),
};

MP_TEST_MAIN(tests)
