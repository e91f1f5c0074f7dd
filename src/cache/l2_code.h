/* SPDX-License-Identifier: Apache-2.0 */
/* How L2 writes a record down: pure, bytes in and bytes out.
 *
 * The address is not kept: who reads brings it. 64 bits of a keyed hash find the record, 32 of
 * another say that it is of that address. What differs between any two records (times, revisions)
 * stands first and uncompressed, since it would only cost a compressor time; a usual media type is
 * a number there. The value, with a media type that is not usual before it, is the body, one zstd
 * frame. Of the frame only what is inside of its one block is kept: all before it follows from the
 * two sizes, and is a tenth of a small frame. XXH3-64 goes over all of it. */
#ifndef MP_CACHE_L2_CODE_H
#define MP_CACHE_L2_CODE_H

#include <stdbool.h>
#include <zstd.h>

#include "cache/l2_pack.h"
#include "cache/l2_unpack.h"
#include "core/error.h"
#include "core/record.h"

enum {
    MP__L2_META_LEAST = 7, /* a byte for each number */
    MP__L2_META_MAX = 80,
    MP__L2_BODY_MAX = 64 * 1024,   /* larger ones would take long on the reader's loop */
    MP__L2_STORED_MAX = 24 * 1024, /* and larger frames push out hundreds of others */
    MP__L2_FRAME_HEAD = 10,        /* bytes of a frame that are not kept, at most */
    MP__L2_BODY_LEAST = 32,        /* smaller bodies stay as they are; */
    MP__L2_BODY_LEAST_ALONE = 96,  /* and so many bytes where there is no dictionary */
    MP__L2_GAIN_LEAST = 10,        /* %, of the body; for less it stays as it is */
};

/* A record written down, without the bytes. */
typedef struct mp__l2_form {
    uint64_t revision;
    uint64_t sum;         /* over the rest, meta and body, but for stored_size and raw */
    uint32_t check;       /* of the address */
    uint32_t body_size;   /* at most MP__L2_BODY_MAX */
    uint32_t stored_size; /* at most that, too */
    uint16_t left_out;    /* bytes of address and media type that are not in the body */
    uint8_t meta_size;
    bool raw; /* what is stored is the body */
} mp__l2_form;

size_t mp__l2_body_size(const mp__record *record);
/* Write @record down: first what its form is, with the meta part, then its body, as it is, of
 * form->body_size, which completes the form. */
void mp__l2_meta_write(const mp__record *record, unsigned char meta[MP__L2_META_MAX],
                       mp__l2_form *ret_form);
void mp__l2_body_write(const mp__record *record, const unsigned char *meta, unsigned char *body,
                       mp__l2_form *form);
/* What the record takes as it is: address, media type and value. */
static inline size_t mp__l2_whole_size(const mp__l2_form *form)
{
    return (size_t)form->body_size + form->left_out;
}
/* A form's check is this of its address, and of one in 2^32 of others. */
uint32_t mp__l2_check_of(mp_str address);

/* What bodies are read with: an unpacker, where a packer packed them, or else zstd. */
typedef struct mp__l2_from {
    const mp__l2_unpacker *unpacker; /* or NULL */
    ZSTD_DCtx *dctx;
    const ZSTD_DDict *dictionary; /* NULL: they were packed with none */
} mp__l2_from;

/* Back from bytes that may be damaged. Unless it is raw, @body has room for form->body_size, and
 * MP__L2_BODY_SLACK behind it; right behind the dictionary's content it is made faster; before
 * @stored MP__L2_BLOCK_BEFORE bytes can be read, and behind it MP__L2_BLOCK_SLACK; and @from says
 * with what. Else that may be NULL.
 * *ret_record's slices lie in @stored or in @body. address and verified_ms are not part of it.
 * MP_ECORRUPT: it is not what was written. */
MP_MUST_USE int mp__l2_read(const mp__l2_form *form, const unsigned char *meta,
                            const unsigned char *stored, unsigned char *body,
                            const mp__l2_from *from, mp__record *ret_record);

/* What bodies are packed with: a packer, or else zstd. */
typedef struct mp__l2_with {
    const mp__l2_packer *packer; /* or NULL; its room then */
    mp__l2_pack_room *room;
    ZSTD_CCtx *cctx;
    const ZSTD_CDict *dictionary; /* to which cctx refers; NULL: to none */
} mp__l2_with;

/* Compress @body into @frame, as it is stored. Returns the size, 0: better left as it is. @frame
 * has room for ZSTD_compressBound(size). */
size_t mp__l2_pack(const mp__l2_with *with, const unsigned char *body, size_t size,
                   unsigned char *frame, size_t capacity);
/* Whether this is the zstd whose calls for single blocks we know: they are of the part of its
 * interface that may change with a version. */
static inline bool mp__l2_zstd_is_known(void)
{
    return ZSTD_versionNumber() / 100 == ZSTD_VERSION_NUMBER / 100;
}

/* A context to compress with: one at a time. NULL: no memory. */
ZSTD_CCtx *mp__l2_cctx_new(int level);

/* Contexts to expand with, shared by all readers: as many as ever were needed at once, at most
 * MP__L2_POOL are kept. */
enum { MP__L2_POOL = 16 };
typedef struct mp__l2_pool {
    _Atomic(ZSTD_DCtx *) idle[MP__L2_POOL];
    _Atomic size_t bytes;
} mp__l2_pool;
ZSTD_DCtx *mp__l2_pool_take(mp__l2_pool *pool); /* NULL: no memory. Any thread */
void mp__l2_pool_give(mp__l2_pool *pool, ZSTD_DCtx *dctx);
void mp__l2_pool_done(mp__l2_pool *pool);

/* For what zstd allocates itself: lets tests fail it like every other allocation. */
bool mp__l2_memory_fails(size_t size);

#endif
