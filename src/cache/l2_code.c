/* SPDX-License-Identifier: Apache-2.0 */
#define ZSTD_STATIC_LINKING_ONLY        /* for one block alone, see pack_block() and expand() */
#define ZSTD_DISABLE_DEPRECATE_WARNINGS /* since it may change: mp__l2_zstd_is_known() */
#include "cache/l2_code.h"

#include <stdatomic.h>

#include "core/alloc.h"
#include "core/hash.h"

/* ---- numbers: seven bits a byte, the least first; signed ones zigzag ---- */

static size_t put_number(unsigned char *p, uint64_t v)
{
    size_t n = 0;

    for (; v >= 0x80; v >>= 7)
        p[n++] = (unsigned char)(v | 0x80);
    p[n++] = (unsigned char)v;
    return n;
}

static size_t put_signed(unsigned char *p, uint64_t v)
{
    return put_number(p, v << 1 ^ (0 - (v >> 63)));
}

typedef struct reader {
    const unsigned char *at, *end;
    bool bad;
} reader;

static __attribute__((noinline)) uint64_t get_long_number(reader *r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        unsigned char c = *r->at++;

        v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80))
            return v;
    }
    r->bad = true;
    return 0;
}

/* Most are below 128. */
static inline uint64_t get_number(reader *r)
{
    return r->at < r->end && *r->at < 0x80 ? *r->at++ : get_long_number(r);
}

static inline uint64_t get_signed(reader *r)
{
    uint64_t v = get_number(r);

    return v >> 1 ^ (0 - (v & 1));
}

/* ---- the parts ---- */

/* Media types that are a number in the meta part; their order is that of these numbers. */
static const mp_str usual_types[] = {
    {"", 0},
    {"text/plain", 10},
    {"application/json", 16},
    {"application/yaml", 16},
    {"application/toml", 16},
    {"text/plain; charset=utf-8", 25},
    {"application/octet-stream", 24},
    {"application/xml", 15},
};
enum { USUAL = sizeof(usual_types) / sizeof(usual_types[0]) };

/* USUAL: it is none of them. */
static size_t usual_type(mp_str type)
{
    size_t i = 0;

    while (i < USUAL && !mp_str_equal(usual_types[i], type))
        i++;
    return i;
}

static size_t numbers_write(const mp__record *record, size_t type, unsigned char *meta)
{
    size_t n = 0;

    n += put_number(meta + n, type < USUAL ? type : USUAL + record->media_type.size);
    n += put_signed(meta + n, record->revision - record->created_revision);
    n += put_number(meta + n, record->version);
    n += put_signed(meta + n, (uint64_t)record->modified_ms);
    n += put_signed(meta + n, (uint64_t)record->modified_ms - (uint64_t)record->created_ms);
    n += put_signed(meta + n, (uint64_t)record->fetched_ms - (uint64_t)record->modified_ms);
    n += put_signed(meta + n, (uint64_t)record->expires_ms);
    return n;
}

size_t mp__l2_body_size(const mp__record *record)
{
    return (usual_type(record->media_type) < USUAL ? 0 : record->media_type.size) +
           record->value.size;
}

uint32_t mp__l2_check_of(mp_str address)
{
    return (uint32_t)mp__checksum(0, address.data, address.size);
}

static uint64_t sum_of(const mp__l2_form *form, const void *meta, const void *body)
{
    /* the long part without a seed: XXH3 makes a secret of 192 bytes from one, each time */
    uint64_t sum = mp__checksum(0, body, form->body_size) + form->revision;

    return mp__checksum(sum + ((uint64_t)form->left_out << 32 | form->check), meta,
                        form->meta_size);
}

void mp__l2_meta_write(const mp__record *record, unsigned char meta[MP__L2_META_MAX],
                       mp__l2_form *ret_form)
{
    size_t type = usual_type(record->media_type);
    size_t media_size = type < USUAL ? 0 : record->media_type.size;

    *ret_form = (mp__l2_form){
        .revision = record->revision,
        .check = mp__l2_check_of(record->address),
        .body_size = (uint32_t)(media_size + record->value.size),
        .left_out = (uint16_t)(record->address.size + record->media_type.size - media_size),
        .meta_size = (uint8_t)numbers_write(record, type, meta),
        .raw = true,
    };
    ret_form->stored_size = ret_form->body_size;
}

void mp__l2_body_write(const mp__record *record, const unsigned char *meta, unsigned char *body,
                       mp__l2_form *form)
{
    size_t media_size = form->body_size - record->value.size;

    if (media_size)
        memcpy(body, record->media_type.data, media_size);
    if (record->value.size)
        memcpy(body + media_size, record->value.data, record->value.size);
    form->sum = sum_of(form, meta, body);
}

/* Take type and times out of @meta, and the slices out of @body. */
static int record_of(const mp__l2_form *form, const unsigned char *meta, const unsigned char *body,
                     mp__record *ret_record)
{
    reader r = {.at = meta, .end = meta + form->meta_size};
    uint64_t type = get_number(&r), media = type < USUAL ? 0 : type - USUAL;
    uint64_t created_revision = form->revision - get_signed(&r), version = get_number(&r);
    uint64_t modified_ms = get_signed(&r), created_ms = modified_ms - get_signed(&r);
    uint64_t fetched_ms = modified_ms + get_signed(&r), expires_ms = get_signed(&r);

    if (r.bad || media > form->body_size)
        return MP_ECORRUPT;
    *ret_record = (mp__record){
        /* each of them, or all of it would be set to zero before */
        .address = {"", 0},
        .value = {(const char *)body + media, form->body_size - (size_t)media},
        .media_type =
            type < USUAL ? usual_types[type] : mp_str_new((const char *)body, (size_t)media),
        .kind = MP__RECORD_VALUE,
        .revision = form->revision,
        .created_revision = created_revision,
        .version = version,
        .created_ms = (int64_t)created_ms,
        .modified_ms = (int64_t)modified_ms,
        .expires_ms = (int64_t)expires_ms,
        .fetched_ms = (int64_t)fetched_ms,
        .verified_ms = 0,
        .is_worth_keeping = false,
    };
    return 0;
}

/* The inside of one block, as it is kept. For zstd to write a head before it, for zstd to read it
 * again, took a tenth of the time. */
static bool expand(const mp__l2_form *form, const unsigned char *stored, unsigned char *body,
                   const mp__l2_from *from)
{
    if (from->unpacker)
        return mp__l2_unpacker_read(from->unpacker, stored, form->stored_size, body,
                                    form->body_size);
    return !ZSTD_isError(ZSTD_decompressBegin_usingDDict(from->dctx, from->dictionary)) &&
           ZSTD_decompressBlock(from->dctx, body, form->body_size + MP__L2_BODY_SLACK, stored,
                                form->stored_size) == form->body_size;
}

int mp__l2_read(const mp__l2_form *form, const unsigned char *meta, const unsigned char *stored,
                unsigned char *body, const mp__l2_from *from, mp__record *ret_record)
{
    const unsigned char *whole = form->raw ? stored : body;

    if (form->meta_size > MP__L2_META_MAX || form->body_size > MP__L2_BODY_MAX ||
        form->stored_size > MP__L2_BODY_MAX || (form->raw && form->stored_size != form->body_size))
        return MP_ECORRUPT;
    if (!form->raw && !expand(form, stored, body, from))
        return MP_ECORRUPT;
    if (sum_of(form, meta, whole) != form->sum)
        return MP_ECORRUPT;
    return record_of(form, meta, whole, ret_record);
}

/* All before the content of a frame's one block (RFC 8878, 3.1.1): magic number, a descriptor that
 * says "a single segment, no checksum, no dictionary's number", the size of the body, and a block's
 * header that says "the last one, compressed". Returns its size. */
static size_t frame_head(size_t body_size, size_t stored_size,
                         unsigned char head[MP__L2_FRAME_HEAD])
{
    static const unsigned char magic[4] = {0x28, 0xb5, 0x2f, 0xfd};
    bool is_small = body_size < 256;
    size_t block = stored_size << 3 | 2 << 1 | 1, n = 4;

    memcpy(head, magic, 4);
    head[n++] = is_small ? 0x20 : 0x60;
    body_size -= is_small ? 0 : 256;
    head[n++] = (unsigned char)body_size;
    if (!is_small)
        head[n++] = (unsigned char)(body_size >> 8);
    head[n++] = (unsigned char)block;
    head[n++] = (unsigned char)(block >> 8);
    head[n++] = (unsigned char)(block >> 16);
    return n;
}

/* A frame, of which the inside of the block is left. 0: it is of a sort that we do not ask for. */
static size_t pack_frame(ZSTD_CCtx *cctx, const unsigned char *body, size_t size,
                         unsigned char *frame, size_t capacity)
{
    unsigned char head[MP__L2_FRAME_HEAD];
    size_t head_size = frame_head(size, 0, head);
    size_t packed = ZSTD_compress2(cctx, frame, capacity, body, size);

    if (ZSTD_isError(packed) || packed <= head_size)
        return 0;
    packed -= head_size;
    (void)frame_head(size, packed, head);
    if (memcmp(frame, head, head_size) != 0)
        return 0;
    memmove(frame, frame + head_size, packed);
    return packed;
}

/* The block alone. That a frame is begun, written and cut again took 0.14 us of 1.5 to 4. */
static size_t pack_block(ZSTD_CCtx *cctx, const ZSTD_CDict *dictionary, const unsigned char *body,
                         size_t size, unsigned char *frame, size_t capacity)
{
    const ZSTD_frameParameters plain = {.contentSizeFlag = 1, .noDictIDFlag = 1};
    size_t packed;

    if (ZSTD_isError(ZSTD_compressBegin_usingCDict_advanced(cctx, dictionary, plain, size)))
        return 0;
    packed = ZSTD_compressBlock(cctx, frame, capacity, body, size);
    return ZSTD_isError(packed) ? 0 : packed;
}

static size_t pack_with(const mp__l2_with *with, const unsigned char *body, size_t size,
                        unsigned char *frame, size_t capacity)
{
    if (with->packer)
        return mp__l2_packer_pack(with->packer, with->room, body, size, frame, capacity);
    return with->dictionary && mp__l2_zstd_is_known()
               ? pack_block(with->cctx, with->dictionary, body, size, frame, capacity)
               : pack_frame(with->cctx, body, size, frame, capacity);
}

size_t mp__l2_pack(const mp__l2_with *with, const unsigned char *body, size_t size,
                   unsigned char *frame, size_t capacity)
{
    bool is_known = with->packer || with->dictionary;
    size_t packed;

    if (size < (is_known ? MP__L2_BODY_LEAST : MP__L2_BODY_LEAST_ALONE))
        return 0;
    packed = pack_with(with, body, size, frame, capacity);
    return packed * 100 > size * (100 - MP__L2_GAIN_LEAST) ? 0 : packed;
}

/* ---- contexts ---- */

bool mp__l2_memory_fails(size_t size)
{
    return mp__alloc_fail_hook && mp__alloc_fail_hook(size);
}

ZSTD_CCtx *mp__l2_cctx_new(int level)
{
    ZSTD_CCtx *cctx = mp__l2_memory_fails(1) ? NULL : ZSTD_createCCtx();

    if (!cctx)
        return NULL;
    /* entries name their dictionary themselves, and the sum is ours */
    if (ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_dictIDFlag, 0)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_checksumFlag, 0))) {
        (void)ZSTD_freeCCtx(cctx);
        return NULL;
    }
    return cctx;
}

ZSTD_DCtx *mp__l2_pool_take(mp__l2_pool *pool)
{
    ZSTD_DCtx *dctx;

    for (size_t i = 0; i < MP__L2_POOL; i++) {
        if (!atomic_load_explicit(&pool->idle[i], memory_order_relaxed))
            continue;
        dctx = atomic_exchange_explicit(&pool->idle[i], NULL, memory_order_acquire);
        if (dctx)
            return dctx;
    }
    dctx = mp__l2_memory_fails(1) ? NULL : ZSTD_createDCtx();
    if (dctx)
        atomic_fetch_add_explicit(&pool->bytes, ZSTD_sizeof_DCtx(dctx), memory_order_relaxed);
    return dctx;
}

void mp__l2_pool_give(mp__l2_pool *pool, ZSTD_DCtx *dctx)
{
    if (!dctx)
        return;
    for (size_t i = 0; i < MP__L2_POOL; i++) {
        ZSTD_DCtx *none = NULL;

        if (!atomic_load_explicit(&pool->idle[i], memory_order_relaxed) &&
            atomic_compare_exchange_strong_explicit(&pool->idle[i], &none, dctx,
                                                    memory_order_release, memory_order_relaxed))
            return;
    }
    atomic_fetch_sub_explicit(&pool->bytes, ZSTD_sizeof_DCtx(dctx), memory_order_relaxed);
    (void)ZSTD_freeDCtx(dctx);
}

void mp__l2_pool_done(mp__l2_pool *pool)
{
    for (size_t i = 0; i < MP__L2_POOL; i++)
        (void)ZSTD_freeDCtx(atomic_exchange(&pool->idle[i], NULL));
}
