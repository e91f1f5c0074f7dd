/* SPDX-License-Identifier: Apache-2.0 */
/* Packing small bodies with one dictionary, as zstd reads them again.
 *
 * For each body zstd sets a context up, counts its codes, and chooses between tables, of which the
 * dictionary's always win where a body has a few hundred bytes. Here it is those tables, and
 * nothing is chosen: half of the time. What comes out is the inside of a block (RFC 8878, 3.1.1.3).
 */
#ifndef MP_CACHE_L2_PACK_H
#define MP_CACHE_L2_PACK_H

#include <stddef.h>

typedef struct mp__l2_packer mp__l2_packer;

/* For @dictionary, which is referred to. NULL: no memory, or it is one that only zstd can use. */
mp__l2_packer *mp__l2_packer_new(const unsigned char *dictionary, size_t size);
mp__l2_packer *mp__l2_packer_free(mp__l2_packer *packer); /* accepts NULL */
size_t mp__l2_packer_bytes(const mp__l2_packer *packer);  /* 0 for NULL */

/* What it takes meanwhile; all zero at first. One thread at a time. */
typedef struct mp__l2_pack_room {
    unsigned char *bytes;
    size_t size;
} mp__l2_pack_room;
void mp__l2_pack_room_done(mp__l2_pack_room *room);

/* Pack @body, of 8 bytes to 64 KiB, into @block of @capacity bytes. Returns the size, 0: it got no
 * smaller than @capacity less a few bytes, or there is no memory. Any thread, with its own room. */
size_t mp__l2_packer_pack(const mp__l2_packer *packer, mp__l2_pack_room *room,
                          const unsigned char *body, size_t size, unsigned char *block,
                          size_t capacity);
/* Go without what not every processor has, for the tests; nobody else has it yet. */
void mp__l2_packer_be_plain(mp__l2_packer *packer);
/* Of these it calls one (l2_wide.h). */
size_t mp__l2_packer_pack_plain(const mp__l2_packer *packer, mp__l2_pack_room *room,
                                const unsigned char *body, size_t size, unsigned char *block,
                                size_t capacity);
size_t mp__l2_packer_pack_wide(const mp__l2_packer *packer, mp__l2_pack_room *room,
                               const unsigned char *body, size_t size, unsigned char *block,
                               size_t capacity);

#endif
