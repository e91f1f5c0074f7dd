/* SPDX-License-Identifier: Apache-2.0 */
/* What of a body is in a dictionary, or earlier in itself: pure.
 *
 * zstd's own search is guessed wrongly by the processor four times a match, and finds the first
 * match rather than the long one. Configuration has long ones: a value differs from what the
 * dictionary knows of its schema in a few places. So a match of 16 bytes and more is looked for
 * first, also behind the beginning of a short one, and what follows a match is compared where it
 * would go on behind one or two bytes that differ. */
#ifndef MP_CACHE_L2_MATCH_H
#define MP_CACHE_L2_MATCH_H

#include <stddef.h>
#include <stdint.h>

enum {
    MP__L2_MATCH_LOG = 13,             /* places of each table */
    MP__L2_MATCH_LEAST = 4,            /* bytes */
    MP__L2_MATCH_CONTENT = 16,         /* bytes, at least, and then */
    MP__L2_MATCH_DICTIONARY = 1 << 16, /* of all of it, at most: places have 16 bits */
    MP__L2_MATCH_BODY = 1 << 16,
};

/* Where in @dictionary, which is referred to, long and short pieces are. */
typedef struct mp__l2_places {
    const unsigned char *dictionary;
    size_t content, size; /* where its content begins, and all of it */
    uint16_t longs[1 << MP__L2_MATCH_LOG], shorts[1 << MP__L2_MATCH_LOG];
} mp__l2_places;

/* @literals bytes as they are, then @length bytes that stand @offset bytes before; the dictionary's
 * content goes right before the body. */
typedef struct mp__l2_match {
    uint32_t offset;
    uint16_t literals, length;
} mp__l2_match;

/* Of a content of at least MP__L2_MATCH_CONTENT bytes. */
void mp__l2_places_make(mp__l2_places *places, const unsigned char *dictionary, size_t content,
                        size_t size);
/* The matches of @body, of @size bytes, at least 8, into @matches, which has room for size /
 * MP__L2_MATCH_LEAST, and all literals, those behind the last match too, into @literals, which has
 * room for @size + 16. *ret_literals: how many. Returns the number of matches. */
size_t mp__l2_match_all_plain(const mp__l2_places *places, const unsigned char *body, size_t size,
                              mp__l2_match *matches, unsigned char *literals, size_t *ret_literals);
/* The same, where mp__l2_wide_is_here(). */
size_t mp__l2_match_all_wide(const mp__l2_places *places, const unsigned char *body, size_t size,
                             mp__l2_match *matches, unsigned char *literals, size_t *ret_literals);

#endif
