/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing short runs of bytes without a call: what a look-up does with every key. */
#ifndef MP_CORE_BYTES_H
#define MP_CORE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A word in which every bit that differs between the 16 bytes is set somewhere. */
static inline uint64_t mp__bytes16_differ(const unsigned char *a, const unsigned char *b)
{
    uint64_t x[2], y[2];

    memcpy(x, a, sizeof(x));
    memcpy(y, b, sizeof(y));
    return (x[0] ^ y[0]) | (x[1] ^ y[1]);
}

static inline bool mp__bytes_equal_long(const unsigned char *a, const unsigned char *b, size_t size)
{
    for (; size > 32; a += 16, b += 16, size -= 16)
        if (mp__bytes16_differ(a, b))
            return false;
    return !(mp__bytes16_differ(a, b) | mp__bytes16_differ(a + size - 16, b + size - 16));
}

static inline bool mp__bytes_equal_short(const unsigned char *a, const unsigned char *b,
                                         size_t size)
{
    uint64_t x[2], y[2];

    if (size < 8) {
        for (size_t i = 0; i < size; i++)
            if (a[i] != b[i])
                return false;
        return true;
    }
    memcpy(&x[0], a, 8);
    memcpy(&x[1], a + size - 8, 8);
    memcpy(&y[0], b, 8);
    memcpy(&y[1], b + size - 8, 8);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

/* 16 to 32 bytes, which are compared without a branch. */
static inline bool mp__bytes_are_middle(size_t size)
{
    return size - 16 <= 16;
}

/* Whether @size bytes are the same. The last step overlaps the one before instead of going byte by
 * byte, and up to 32 bytes there is one branch. Not in constant time: not for secrets. */
static inline bool mp__bytes_equal(const void *left, const void *right, size_t size)
{
    const unsigned char *a = (const unsigned char *)left, *b = (const unsigned char *)right;

    if (__builtin_expect(mp__bytes_are_middle(size), 1))
        return !(mp__bytes16_differ(a, b) | mp__bytes16_differ(a + size - 16, b + size - 16));
    return size < 16 ? mp__bytes_equal_short(a, b, size) : mp__bytes_equal_long(a, b, size);
}

#endif
