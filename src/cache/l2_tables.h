/* SPDX-License-Identifier: Apache-2.0 */
/* The code tables that a dictionary of zstd begins with (RFC 8878, 5), in a form to write with.
 *
 * All that is packed with a dictionary goes by its tables, so that they are read once, when it
 * comes. Pure. */
#ifndef MP_CACHE_L2_TABLES_H
#define MP_CACHE_L2_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MP__L2_FSE_LOG = 9,       /* bits of a state, at most */
    MP__L2_FSE_SYMBOLS = 53,  /* of the lengths of matches, the most of the three */
    MP__L2_HUFFMAN_BITS = 11, /* of a literal, at most */
    MP__L2_OFFSET_CODES = 18, /* that are needed: of dictionary and body together */
};

/* From the state behind a symbol to the one that stands for it: of the former, with 2^log added,
 * the lowest (it + bits) >> 16 bits are written; the rest says which of the symbol's states. */
typedef struct mp__l2_fse_symbol {
    uint32_t bits;
    int16_t first; /* in `states`, less its count of states */
    uint16_t more; /* bits of a number that the symbol is the beginning of; 0 here */
} mp__l2_fse_symbol;

typedef struct mp__l2_fse {
    unsigned log;
    mp__l2_fse_symbol symbols[MP__L2_FSE_SYMBOLS];
    uint16_t states[1 << MP__L2_FSE_LOG]; /* by symbol, then by number */
} mp__l2_fse;

typedef struct mp__l2_tables {
    mp__l2_fse offsets, matches, literals; /* the last one of their number */
    uint16_t codes[256]; /* of literals: four bits say how long it is, those above are it */
    uint32_t repeats[3]; /* offsets that come first */
    size_t size;         /* bytes of the dictionary before its content */
} mp__l2_tables;

/* From @size bytes of a dictionary, which may be damaged. False: it has no tables, or one that does
 * not know all codes that a body can need, so that it is for zstd; *ret_tables is of no use then.
 */
bool mp__l2_tables_read(const unsigned char *dictionary, size_t size, mp__l2_tables *ret_tables);

#endif
