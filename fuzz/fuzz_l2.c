/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of L2. Random bytes are no frame, so that most inputs describe a record instead: it is
 * written down, packed, damaged where the input says, and read. What comes out is the record or
 * MP_ECORRUPT, never another record and never a byte outside. The rest goes in as it is. */
#define ZSTD_STATIC_LINKING_ONLY /* a dictionary that refers to its content, blocks alone */
#define ZSTD_DISABLE_DEPRECATE_WARNINGS
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zdict.h>

#include "cache/l2_code.h"
#include "core/core.h"

enum { VALUE_MAX = 8192, AREA = 3 * MP__L2_BODY_MAX };

static unsigned char area_with_room[MP__L2_BLOCK_BEFORE + AREA];
static unsigned char *const area = area_with_room + MP__L2_BLOCK_BEFORE;
static unsigned char body[MP__L2_BODY_MAX], back[MP__L2_BODY_MAX + MP__L2_BODY_SLACK];
static ZSTD_CCtx *cctx;
static ZSTD_DCtx *dctx;

/* A dictionary with code tables, as L2 has them, of a few lines of JSON; and the room right behind
 * its content, the last that there is. */
static ZSTD_CDict *pack;
static mp__l2_packer *packer, *plain_packer;
static mp__l2_unpacker *unpacker, *plain_unpacker;
static mp__l2_pack_room room;
static ZSTD_DDict *expand;
static unsigned char *behind;

static bool make_dictionary(void)
{
    enum { LINES = 64, LINE = 96 };
    static char text[LINES * LINE], bytes[2 * LINES * LINE];
    unsigned char *content;
    size_t sizes[LINES], size = 0, made;

    for (unsigned i = 0; i < LINES; i++) {
        sizes[i] = (size_t)snprintf(
            text + size, LINE, "production/feeds/f%uapplication/json{\"port\": %u, \"on\": %s}",
            i * 7, i * i * 31 % 9000, i % 3 ? "true" : "false");
        size += sizes[i];
    }
    made = ZDICT_finalizeDictionary(bytes, sizeof(bytes), text, size / 2, text, sizes, LINES,
                                    (ZDICT_params_t){0});
    if (ZDICT_isError(made))
        return false;
    content = malloc(made + MP__L2_BODY_MAX + MP__L2_BODY_SLACK);
    if (!content)
        return false;
    memcpy(content, bytes, made);
    behind = content + made;
    pack = ZSTD_createCDict(bytes, made, 1);
    packer = mp__l2_packer_new(content, made);
    unpacker = mp__l2_unpacker_new(content, made);
    plain_packer = mp__l2_packer_new(content, made);
    plain_unpacker = mp__l2_unpacker_new(content, made);
    expand = ZSTD_createDDict_byReference(content, made);
    if (!pack || !packer || !unpacker || !plain_packer || !plain_unpacker || !expand)
        return false;
    mp__l2_packer_be_plain(plain_packer);
    mp__l2_unpacker_be_plain(plain_unpacker);
    return true;
}

static bool same(const mp__record *a, const mp__record *b)
{
    return mp_str_equal(a->address, b->address) && mp_str_equal(a->value, b->value) &&
           mp_str_equal(a->media_type, b->media_type) && a->revision == b->revision &&
           a->created_revision == b->created_revision && a->version == b->version &&
           a->created_ms == b->created_ms && a->modified_ms == b->modified_ms &&
           a->fetched_ms == b->fetched_ms && a->expires_ms == b->expires_ms;
}

/* Head of an input: what to damage and the record's numbers; then address and value. */
static void described(const uint8_t *data, size_t size)
{
    unsigned char meta[MP__L2_META_MAX], *stored = area;
    mp__record record = {.kind = MP__RECORD_VALUE}, got;
    mp__l2_form form = {0};
    size_t address = (size_t)data[4] % 32 + 1, packed;
    const ZSTD_CDict *dictionary = data[5] & 2 ? pack : NULL;
    bool is_plain = data[5] & 64;
    mp__l2_packer *ours = is_plain ? plain_packer : packer;
    mp__l2_with with = {.packer = data[5] & 2 && data[5] & 16 ? ours : NULL,
                        .room = &room,
                        .cctx = cctx,
                        .dictionary = dictionary};
    /* zstd reads what our own packer made, too */
    mp__l2_unpacker *reader = data[5] & 128 ? plain_unpacker : unpacker;
    mp__l2_from from = {.unpacker = with.packer && data[5] & 32 ? reader : NULL,
                        .dctx = dctx,
                        .dictionary = data[5] & 2 ? expand : NULL};
    uint64_t numbers[4];
    int rc;

    if (size < 40 + address || size > VALUE_MAX)
        return;
    memcpy(numbers, data + 8, sizeof(numbers));
    record.address = mp_str_new((const char *)data + 40, address);
    record.value = mp_str_new((const char *)data + 40 + address, size - 40 - address);
    record.media_type = data[5] & 1   ? MP_STR("application/json")
                        : data[5] & 4 ? MP_STR("application/x-of-nobody")
                                      : MP_STR("");
    record.revision = numbers[0];
    record.created_revision = numbers[1];
    record.version = data[6];
    record.created_ms = (int64_t)numbers[2];
    record.modified_ms = (int64_t)numbers[3];
    record.fetched_ms = (int64_t)(numbers[2] ^ numbers[3]);
    record.expires_ms = data[7];
    mp__l2_meta_write(&record, meta, &form);
    mp__l2_body_write(&record, meta, body, &form);
    (void)ZSTD_CCtx_refCDict(cctx, dictionary);
    packed = mp__l2_pack(&with, body, form.body_size, stored, AREA);
    form.raw = packed == 0;
    form.stored_size = packed ? (uint32_t)packed : form.body_size;
    if (form.raw)
        memcpy(stored, body, form.body_size);
    for (unsigned flips = data[0] % 4, i = 0; i < flips; i++) {
        size_t at = ((size_t)data[1] * 251 + (size_t)data[2] * (i + 1)) %
                    (form.meta_size + (size_t)form.stored_size);
        unsigned char bit = (unsigned char)(1u << data[3] % 8);

        if (at < form.meta_size)
            meta[at] ^= bit;
        else
            stored[at - form.meta_size] ^= bit;
    }
    rc = mp__l2_read(&form, meta, stored, data[5] & 8 ? behind : back, &from, &got);
    got.address =
        rc == 0 && form.check == mp__l2_check_of(record.address) ? record.address : MP_STR("");
    if (rc == 0 ? !same(&record, &got) : rc != MP_ECORRUPT || data[0] % 4 == 0)
        abort();
}

static void raw(const uint8_t *data, size_t size)
{
    unsigned char meta[MP__L2_META_MAX], *stored = area;
    mp__l2_form form = {.revision = data[0], .meta_size = data[1], .raw = data[2] & 1};
    mp__l2_unpacker *reader = data[2] & 16 ? plain_unpacker : unpacker;
    mp__l2_from from = {.unpacker = data[2] & 8 ? reader : NULL,
                        .dctx = dctx,
                        .dictionary = data[2] & 2 ? expand : NULL};
    mp__record got;
    size_t left = size - 5;

    form.body_size = (uint32_t)data[3] | (uint32_t)data[4] << 8;
    if (form.meta_size > left)
        form.meta_size = (uint8_t)left;
    memcpy(meta, data + 5, form.meta_size < sizeof(meta) ? form.meta_size : sizeof(meta));
    left -= form.meta_size;
    form.stored_size = (uint32_t)(left < MP__L2_BODY_MAX ? left : MP__L2_BODY_MAX);
    memcpy(stored, data + 5 + form.meta_size, form.stored_size);
    if (mp__l2_read(&form, meta, stored, data[2] & 4 ? behind : back, &from, &got) == 0 &&
        got.media_type.size + got.value.size < form.body_size)
        abort();
}

/* Any bytes as a dictionary: where zstd takes it, too, both read what is packed with it. */
static void any_dictionary(const uint8_t *data, size_t size)
{
    mp__l2_packer *of = mp__l2_packer_new(data, size);
    ZSTD_DDict *with = of ? ZSTD_createDDict_byReference(data, size) : NULL;
    size_t body_size = size < VALUE_MAX ? size : VALUE_MAX, packed;
    mp__l2_unpacker *reader;

    if (with && body_size >= MP__L2_BODY_LEAST) {
        memcpy(body, data + size - body_size, body_size);
        body[body_size / 2] ^= 1;
        packed = mp__l2_packer_pack(of, &room, body, body_size, area, AREA);
        if (packed && (ZSTD_isError(ZSTD_decompressBegin_usingDDict(dctx, with)) ||
                       ZSTD_decompressBlock(dctx, back, sizeof(back), area, packed) != body_size ||
                       memcmp(back, body, body_size) != 0))
            abort();
        reader = packed ? mp__l2_unpacker_new(data, size) : NULL;
        if (reader && (!mp__l2_unpacker_read(reader, area, packed, back, body_size) ||
                       memcmp(back, body, body_size) != 0))
            abort();
        (void)mp__l2_unpacker_free(reader);
    }
    (void)ZSTD_freeDDict(with);
    (void)mp__l2_packer_free(of);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!cctx)
        cctx = mp__l2_cctx_new(1);
    if (!dctx)
        dctx = ZSTD_createDCtx();
    if (!pack && !make_dictionary())
        abort();
    if (!cctx || !dctx || size < 8)
        return 0;
    if (data[0] % 8 < 6)
        described(data, size);
    else if (data[0] % 8 == 6)
        any_dictionary(data + 1, size - 1);
    else
        raw(data + 1, size - 1);
    return 0;
}
