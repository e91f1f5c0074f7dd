/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes: SipHash-1-3 with a secret key for tables whose keys come from outside (Aumasson and
 * Bernstein, "SipHash: a fast short-input PRF", 2012; the 1-3 variant as in Rust's and Python's
 * tables; that of the cache has core/hasher.h), XXH3-64 for checksums. */
#ifndef MP_CORE_HASH_H
#define MP_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <marketprism/str.h>

typedef struct mp__hash_key {
    uint64_t k0, k1;
} mp__hash_key;

/* What SipHash begins with, made of the key beforehand by those who hash all the time. */
typedef struct mp__hash_state {
    uint64_t v0, v1, v2, v3;
} mp__hash_state;

static inline mp__hash_state mp__hash_state_of(mp__hash_key key)
{
    return (mp__hash_state){key.k0 ^ 0x736f6d6570736575ULL, key.k1 ^ 0x646f72616e646f6dULL,
                            key.k0 ^ 0x6c7967656e657261ULL, key.k1 ^ 0x7465646279746573ULL};
}

/* A function that begins at a line of the cache, so that what it costs does not change with what is
 * linked before it. */
#define MP__AT_LINE __attribute__((aligned(64)))

#define MP__SIP_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define MP__SIP_ROUND(v0, v1, v2, v3)                                                              \
    do {                                                                                           \
        v0 += v1;                                                                                  \
        v1 = MP__SIP_ROTL(v1, 13) ^ v0;                                                            \
        v0 = MP__SIP_ROTL(v0, 32);                                                                 \
        v2 += v3;                                                                                  \
        v3 = MP__SIP_ROTL(v3, 16) ^ v2;                                                            \
        v0 += v3;                                                                                  \
        v3 = MP__SIP_ROTL(v3, 21) ^ v0;                                                            \
        v2 += v1;                                                                                  \
        v1 = MP__SIP_ROTL(v1, 17) ^ v2;                                                            \
        v2 = MP__SIP_ROTL(v2, 32);                                                                 \
    } while (0)

static inline uint64_t mp__load_le64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static inline void mp__store_le64(void *p, uint64_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    memcpy(p, &v, 8);
}

/* The last 0 to 7 bytes, little endian, the rest zero. Never reads outside the input. */
static inline uint64_t mp__load_tail(const unsigned char *p, size_t n)
{
    uint64_t v = 0;
    uint32_t a, b;

    if (n >= 4) {
        memcpy(&a, p, 4);
        memcpy(&b, p + n - 4, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        a = __builtin_bswap32(a);
        b = __builtin_bswap32(b);
#endif
        return (uint64_t)a | (uint64_t)b << (8 * (n - 4));
    }
    if (n) {
        v = p[0];
        v |= (uint64_t)p[n / 2] << (8 * (n / 2));
        v |= (uint64_t)p[n - 1] << (8 * (n - 1));
    }
    return v;
}

/* The compiler forgets that it knows @value, so that it makes it, or what comes of it, where it is
 * said and not elsewhere. */
#define MP__ANEW(value) __asm__("" : "+r"(value))

/* The last 0 to 7 of @size bytes, 8 and more, little endian; the size in the top byte. One load
 * that overlaps what was read before, and no branch: the count of bits is taken modulo 64. */
static inline uint64_t mp__sip_last(const unsigned char *p, size_t size)
{
    return mp__load_le64(p + size - 8) >> 1 >> (~(size * 8) & 63) | (uint64_t)size << 56;
}

#define MP__SIP_ABSORB(v0, v1, v2, v3, m)                                                          \
    do {                                                                                           \
        v3 ^= (m);                                                                                 \
        MP__SIP_ROUND(v0, v1, v2, v3);                                                             \
        v0 ^= (m);                                                                                 \
    } while (0)

/* SipHash-1-3 of @size bytes. Always inline, since it is a third of a cached read and a call would
 * keep its first loads from overlapping what comes before. What keys mostly have, 16 to 32 bytes,
 * goes without a count of words. Pure. */
static inline __attribute__((always_inline)) uint64_t
mp__siphash13_from(const mp__hash_state *state, const void *data, size_t size)
{
    const unsigned char *p = (const unsigned char *)data;
    uint64_t v0 = state->v0, v1 = state->v1, v2 = state->v2, v3 = state->v3;
    uint64_t m;

    if (__builtin_expect(size - 16 <= 16, 1)) {
        m = mp__load_le64(p);
        MP__SIP_ABSORB(v0, v1, v2, v3, m);
        m = mp__load_le64(p + 8);
        MP__SIP_ABSORB(v0, v1, v2, v3, m);
        if (__builtin_expect(size >= 24, 1)) {
            MP__ANEW(v0); /* nothing ahead for both ways: that costs registers */
            MP__ANEW(v1);
            m = mp__load_le64(p + 16);
            MP__SIP_ABSORB(v0, v1, v2, v3, m);
            if (__builtin_expect(size == 32, 0)) {
                MP__ANEW(v0);
                MP__ANEW(v1);
                m = mp__load_le64(p + 24);
                MP__SIP_ABSORB(v0, v1, v2, v3, m);
            }
        }
        m = mp__sip_last(p, size);
    } else {
        for (size_t at = 0; at + 8 <= size; at += 8) {
            m = mp__load_le64(p + at);
            MP__SIP_ABSORB(v0, v1, v2, v3, m);
        }
        m = size >= 8 ? mp__sip_last(p, size) : mp__load_tail(p, size) | (uint64_t)size << 56;
    }
    MP__SIP_ABSORB(v0, v1, v2, v3, m);
    v2 ^= 0xff;
    MP__SIP_ROUND(v0, v1, v2, v3);
    MP__SIP_ROUND(v0, v1, v2, v3);
    /* Of the last round and v0 ^ v1 ^ v2 ^ v3 what does not cancel out: v0 comes in v3, too. */
    v0 += v1;
    v1 = MP__SIP_ROTL(v1, 13) ^ v0;
    v2 += v3;
    v3 = MP__SIP_ROTL(v3, 16) ^ v2;
    v2 += v1;
    m = MP__SIP_ROTL(v1, 17) ^ MP__SIP_ROTL(v3, 21);
    MP__ANEW(m); /* first these, which are there before v2 is */
    return m ^ (v2 ^ MP__SIP_ROTL(v2, 32));
}

static inline __attribute__((always_inline)) uint64_t mp__siphash13(mp__hash_key key,
                                                                    const void *data, size_t size)
{
    mp__hash_state state = mp__hash_state_of(key);

    return mp__siphash13_from(&state, data, size);
}

static inline __attribute__((always_inline)) uint64_t mp__hash_str(mp__hash_key key, mp_str s)
{
    return mp__siphash13(key, s.data, s.size);
}

/* XXH3-64 of one run, or chained over several by passing the last result as @seed. Pure. */
uint64_t mp__checksum(uint64_t seed, const void *data, size_t size);

#endif
