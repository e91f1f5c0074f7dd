/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing short runs of bytes without a call, which a look-up does with every key; and laying
 * texts one behind the other. */
#ifndef MP_CORE_BYTES_H
#define MP_CORE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <marketprism/str.h>

/* A word in which every bit that differs between the 16 bytes is set somewhere. */
static inline uint64_t mp__words16_differ(const unsigned char *a, const unsigned char *b)
{
    uint64_t x[2], y[2];

    memcpy(x, a, sizeof(x));
    memcpy(y, b, sizeof(y));
    return (x[0] ^ y[0]) | (x[1] ^ y[1]);
}

/* Whether the 16 bytes at both ends of @size, 16 to 32, are the same, on any machine. */
static inline bool mp__words_equal_middle(const unsigned char *a, const unsigned char *b,
                                          size_t size)
{
    return !(mp__words16_differ(a, b) | mp__words16_differ(a + size - 16, b + size - 16));
}

/* The same by vectors where there are some: three registers and five instructions less. */
#ifdef __SSE2__
static inline __m128i mp__bytes16_same(const unsigned char *a, const unsigned char *b)
{
    __m128i x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return _mm_cmpeq_epi8(x, y);
}

static inline bool mp__bytes_equal_16(const unsigned char *a, const unsigned char *b)
{
    return _mm_movemask_epi8(mp__bytes16_same(a, b)) == 0xffff;
}

static inline bool mp__bytes_equal_middle(const unsigned char *a, const unsigned char *b,
                                          size_t size)
{
    return _mm_movemask_epi8(_mm_and_si128(
               mp__bytes16_same(a, b), mp__bytes16_same(a + size - 16, b + size - 16))) == 0xffff;
}
#else
static inline bool mp__bytes_equal_16(const unsigned char *a, const unsigned char *b)
{
    return !mp__words16_differ(a, b);
}

static inline bool mp__bytes_equal_middle(const unsigned char *a, const unsigned char *b,
                                          size_t size)
{
    return mp__words_equal_middle(a, b, size);
}
#endif

static inline bool mp__bytes_equal_long(const unsigned char *a, const unsigned char *b, size_t size)
{
    for (; size > 32; a += 16, b += 16, size -= 16)
        if (!mp__bytes_equal_16(a, b))
            return false;
    return mp__bytes_equal_middle(a, b, size);
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
        return mp__bytes_equal_middle(a, b, size);
    return size < 16 ? mp__bytes_equal_short(a, b, size) : mp__bytes_equal_long(a, b, size);
}

/* Copy @text to *at, where there is room for it, and let *at stand behind it. Returns the copy. */
static inline mp_str mp__bytes_lay(char **at, mp_str text)
{
    char *to = *at;

    if (text.size)
        memcpy(to, text.data, text.size);
    *at += text.size;
    return mp_str_new(to, text.size);
}

/* Byte by byte, what is the beginning of the other one first: below 0, 0 or above. */
static inline int mp__bytes_order(mp_str a, mp_str b)
{
    size_t least = a.size < b.size ? a.size : b.size;
    int order = least ? memcmp(a.data, b.data, least) : 0;

    return order ? order : (a.size > b.size) - (a.size < b.size);
}

#endif
