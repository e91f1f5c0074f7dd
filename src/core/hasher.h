/* SPDX-License-Identifier: Apache-2.0 */
/* The keyed hash of addresses, by which every level of the cache knows them.
 *
 * Where the processor has AES and a multiplication without carries: each block of 16 bytes is xored
 * with a key of its own, and its halves are multiplied as polynomials over GF(2); so is the size
 * with another key; and all products are xored (the function PH: Lemire and Kaser, "Faster 64-bit
 * universal hashing using carry-less multiplications", 2016). Two addresses that are not the same
 * come to the same 128 bits with a probability of at most 2^-64 over the keys, whoever chose them
 * without knowing these, which is a theorem and no conjecture: what they differ in is multiplied by
 * a key. (Of keys that are random; these are made by SipHash as a pseudorandom function.)
 * Three rounds of AES with round keys of their own follow, and 64 bits of what comes of them are
 * the hash: so who learns by the time a look takes that two addresses share a bucket cannot make
 * more such pairs by giving both the same other end. A hash never leaves what holds its secret.
 *
 * Elsewhere it is SipHash-1-3. Which of both it is belongs to the secret that mp__hasher_secret()
 * makes, so that hashes on disk are never taken for those of the other. */
#ifndef MP_CORE_HASHER_H
#define MP_CORE_HASHER_H

#include <stdbool.h>

#include "core/hash.h"

#if defined(__x86_64__) && defined(__SSE2__)
#define MP__HASHER_WITH_AES 1
#include <emmintrin.h>
#endif

enum {
    MP__HASHER_BLOCK = 16,  /* bytes */
    MP__HASHER_BLOCKS = 64, /* have keys of their own; what is longer goes by SipHash */
    MP__HASHER_ROUNDS = 3,  /* of AES, at the end */
    MP__HASHER_KEYS = MP__HASHER_ROUNDS + 1 + MP__HASHER_BLOCKS, /* of 128 bits */
};

typedef struct mp__hasher {
    mp__hash_state sip;
    bool is_fast;
#ifdef MP__HASHER_WITH_AES
    __m128i rounds[MP__HASHER_ROUNDS];
    __m128i size;
    __m128i blocks[MP__HASHER_BLOCKS]; /* the last of an address, the one before it, then from its
                                        * beginning; what would be cut short overlaps instead */
#endif
} mp__hasher;

/* Whether this processor has what it takes. Any thread. */
bool mp__hasher_may_be_fast(void);
/* The secret of the hashes that a process makes whose folder has @secret: another one where they
 * are made by AES. */
mp__hash_key mp__hasher_secret(mp__hash_key secret, bool is_fast);
/* Of a secret that mp__hasher_secret() made with the same @is_fast, which must be false where the
 * processor cannot. */
void mp__hasher_init(mp__hasher *hasher, mp__hash_key secret, bool is_fast);

#ifdef MP__HASHER_WITH_AES
/* A round of AES: bytes substituted, rows shifted, columns mixed, @key added (FIPS 197); and the
 * product of the halves of @block. In line, where the compiler was not told that the processor has
 * them. */
#ifdef __AVX__
#define MP__AES_ROUND(block, key)  __asm__("vaesenc %1, %0, %0" : "+x"(block) : "xm"(key))
#define MP__HALVES_MULTIPLY(block) __asm__("vpclmulqdq $1, %0, %0, %0" : "+x"(block))
#else
#define MP__AES_ROUND(block, key)  __asm__("aesenc %1, %0" : "+x"(block) : "xm"(key))
#define MP__HALVES_MULTIPLY(block) __asm__("pclmulqdq $1, %0, %0" : "+x"(block))
#endif

static inline __attribute__((always_inline)) __m128i mp__hasher_product(__m128i block, __m128i key)
{
    block = _mm_xor_si128(block, key);
    MP__HALVES_MULTIPLY(block);
    return block;
}

static inline __m128i mp__hasher_load(const unsigned char *p)
{
    __m128i block;

    memcpy(&block, p, sizeof(block));
    return block;
}

/* The sum of the products of the blocks before the last two of @size bytes. */
static inline __m128i mp__hasher_before(const mp__hasher *hasher, const unsigned char *p,
                                        size_t size)
{
    __m128i sum = _mm_setzero_si128();

    for (size_t i = 2; i * MP__HASHER_BLOCK < size; i++, p += MP__HASHER_BLOCK)
        sum = _mm_xor_si128(sum, mp__hasher_product(mp__hasher_load(p), hasher->blocks[i]));
    return sum;
}

static inline __attribute__((always_inline)) uint64_t mp__hasher_fast(const mp__hasher *hasher,
                                                                      mp_str s)
{
    const unsigned char *p = (const unsigned char *)s.data;
    __m128i sum = mp__hasher_product(_mm_cvtsi64_si128((long long)s.size), hasher->size);
    __m128i a, b;

    if (__builtin_expect(s.size - MP__HASHER_BLOCK <= MP__HASHER_BLOCK, 1)) {
        a = mp__hasher_load(p);
        b = mp__hasher_load(p + s.size - MP__HASHER_BLOCK);
    } else if (s.size < MP__HASHER_BLOCK) {
        a = _mm_setzero_si128();
        b = s.size >= 8 ? _mm_set_epi64x((long long)mp__load_le64(p + s.size - 8),
                                         (long long)mp__load_le64(p))
                        : _mm_cvtsi64_si128((long long)mp__load_tail(p, s.size));
    } else {
        sum = _mm_xor_si128(sum, mp__hasher_before(hasher, p, s.size));
        p += s.size - 2 * MP__HASHER_BLOCK;
        a = mp__hasher_load(p);
        b = mp__hasher_load(p + MP__HASHER_BLOCK);
    }
    a = mp__hasher_product(a, hasher->blocks[1]);
    b = mp__hasher_product(b, hasher->blocks[0]);
    a = _mm_xor_si128(_mm_xor_si128(a, sum), b);
    for (int i = 0; i < MP__HASHER_ROUNDS; i++)
        MP__AES_ROUND(a, hasher->rounds[i]);
    return (uint64_t)_mm_cvtsi128_si64(a);
}
#endif

/* The hash of @s: a fraction of a cached read, and in line, since a call would keep its first loads
 * from overlapping what comes before. Reads nothing outside of @s. Pure. Any thread. */
static inline __attribute__((always_inline)) uint64_t mp__hasher_hash(const mp__hasher *hasher,
                                                                      mp_str s)
{
#ifdef MP__HASHER_WITH_AES
    if (__builtin_expect(hasher->is_fast && s.size <= MP__HASHER_BLOCKS * MP__HASHER_BLOCK, 1))
        return mp__hasher_fast(hasher, s);
#endif
    return mp__siphash13_from(&hasher->sip, s.data, s.size);
}

#endif
