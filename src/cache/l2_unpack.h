/* SPDX-License-Identifier: Apache-2.0 */
/* Reading again what l2_pack.h packed, with the same dictionary.
 *
 * zstd could read it, too, but finds out each time what is known here: which tables, and that a
 * body is small and lies right behind its dictionary. Nothing is believed of the bytes read. */
#ifndef MP_CACHE_L2_UNPACK_H
#define MP_CACHE_L2_UNPACK_H

#include <stdbool.h>
#include <stddef.h>

enum {
    MP__L2_BLOCK_BEFORE = 8, /* bytes before a block that can be read, whatever they are, */
    MP__L2_BLOCK_SLACK = 16, /* and behind it; */
    MP__L2_BODY_SLACK = 96,  /* and behind a body that may be written */
};

typedef struct mp__l2_unpacker mp__l2_unpacker;

/* For @dictionary, which is referred to. NULL: no memory, or mp__l2_packer_new() refuses it, too.
 */
mp__l2_unpacker *mp__l2_unpacker_new(const unsigned char *dictionary, size_t size);
mp__l2_unpacker *mp__l2_unpacker_free(mp__l2_unpacker *unpacker); /* accepts NULL */
size_t mp__l2_unpacker_bytes(const mp__l2_unpacker *unpacker);    /* 0 for NULL */

/* Make @body, of @body_size bytes, of @block; it is right behind the dictionary's content, or
 * elsewhere, which is slower. False: that is not what @block is; the body is of no use then. Any
 * thread. */
bool mp__l2_unpacker_read(const mp__l2_unpacker *unpacker, const unsigned char *block, size_t size,
                          unsigned char *body, size_t body_size);
/* Go without what not every processor has, for the tests; nobody else has it yet. */
void mp__l2_unpacker_be_plain(mp__l2_unpacker *unpacker);
/* Of these it calls one (l2_wide.h). */
bool mp__l2_unpacker_read_plain(const mp__l2_unpacker *unpacker, const unsigned char *block,
                                size_t size, unsigned char *body, size_t body_size);
bool mp__l2_unpacker_read_wide(const mp__l2_unpacker *unpacker, const unsigned char *block,
                               size_t size, unsigned char *body, size_t body_size);

#endif
