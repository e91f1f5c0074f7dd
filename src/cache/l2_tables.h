/* SPDX-License-Identifier: Apache-2.0 */
/* What the code tables say that a dictionary of zstd begins with (RFC 8878, 5).
 *
 * All that is packed with a dictionary goes by its tables, so that they are read once, when it
 * comes; l2_pack.c makes what writes with them, l2_unpack.c what reads. Pure. */
#ifndef MP_CACHE_L2_TABLES_H
#define MP_CACHE_L2_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MP__L2_FSE_LOG = 9,       /* bits of a state, at most; of offsets */
    MP__L2_OFFSET_LOG = 8,    /* this */
    MP__L2_MATCH_CODES = 53,  /* of the lengths of matches, the most of the three */
    MP__L2_LENGTH_CODES = 36, /* of runs of literals */
    MP__L2_OFFSET_CODES = 18, /* that are needed: of dictionary and body together */
    MP__L2_HUFFMAN_BITS = 11, /* of a literal, at most */
};

/* How many of 2^log states stand for each code; -1: for one, that is hardly ever met. */
typedef struct mp__l2_shares {
    unsigned log, count;
    int16_t of[MP__L2_MATCH_CODES];
} mp__l2_shares;

typedef struct mp__l2_tables {
    mp__l2_shares offsets, matches, lengths;
    unsigned longest;     /* bits of a literal, */
    uint8_t weights[256]; /* of which each has this and one less its weight */
    uint32_t repeats[3];  /* offsets that come first */
    size_t size;          /* bytes of the dictionary before its content */
} mp__l2_tables;

/* Bits of a number that each code is the beginning of (3.1.1.3.2.1.1). */
extern const uint8_t mp__l2_length_bits[MP__L2_LENGTH_CODES];
extern const uint8_t mp__l2_match_bits[MP__L2_MATCH_CODES];

/* From @size bytes of a dictionary, which may be damaged. False: it has no tables, or one that does
 * not know all codes that a body can need, so that it is for zstd; *ret_tables is of no use then.
 */
bool mp__l2_tables_read(const unsigned char *dictionary, size_t size, mp__l2_tables *ret_tables);
/* The same of a dictionary that matches can be looked for in, too (l2_match.h). */
bool mp__l2_tables_fit(const unsigned char *dictionary, size_t size, mp__l2_tables *ret_tables);

static inline unsigned mp__l2_states_of(int16_t share)
{
    return share < 0 ? 1 : (unsigned)share;
}
/* Which code each of the 2^log states stands for. */
void mp__l2_spread(const mp__l2_shares *shares, uint8_t *codes);

static inline unsigned mp__l2_log(uint32_t n)
{
    return 31 - (unsigned)__builtin_clz(n);
}

#endif
