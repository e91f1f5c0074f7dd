/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing short runs of bytes without a call: what a look-up does with every key. */
#ifndef MP_CORE_BYTES_H
#define MP_CORE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Two words of each; the compiler makes vector compares of it where there are any. */
static inline bool mp__bytes16_equal(const unsigned char *a, const unsigned char *b)
{
    uint64_t x[2], y[2];

    memcpy(x, a, sizeof(x));
    memcpy(y, b, sizeof(y));
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

static inline bool mp__bytes8_equal(const unsigned char *a, const unsigned char *b)
{
    uint64_t x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return x == y;
}

/* Whether @size bytes are the same; the last step overlaps the one before instead of going byte by
 * byte. Not in constant time: not for secrets. */
static inline bool mp__bytes_equal(const void *left, const void *right, size_t size)
{
    const unsigned char *a = (const unsigned char *)left, *b = (const unsigned char *)right;

    if (__builtin_expect(size >= 16, 1)) {
        const unsigned char *last = a + size - 16;

        for (; a < last; a += 16, b += 16)
            if (!mp__bytes16_equal(a, b))
                return false;
        return mp__bytes16_equal(last, b - (a - last));
    }
    if (size >= 8)
        return mp__bytes8_equal(a, b) && mp__bytes8_equal(a + size - 8, b + size - 8);
    for (size_t i = 0; i < size; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

#endif
