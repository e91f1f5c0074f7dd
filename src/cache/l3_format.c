/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/l3_format.h"

#include "core/hash.h"

static const char segment_magic[8] = "MPL3SEG";
static const char trailer_magic[8] = "MPL3END";
enum { RECORD_MAGIC = 0x5243504d }; /* "MPCR" */

/* ---- little endian ---- */

static void put64(unsigned char *p, uint64_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    memcpy(p, &v, 8);
}

static void put32(unsigned char *p, uint32_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    memcpy(p, &v, 4);
}

static void put16(unsigned char *p, unsigned v)
{
    p[0] = (unsigned char)v;
    p[1] = (unsigned char)(v >> 8);
}

static uint64_t get64(const unsigned char *p)
{
    return mp__load_le64(p);
}

static uint32_t get32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static unsigned get16(const unsigned char *p)
{
    return (unsigned)p[0] | (unsigned)p[1] << 8;
}

/* ---- records ---- */

size_t mp__l3_record_size(const mp__record *record)
{
    size_t size =
        MP__L3_RECORD_HEAD + record->address.size + record->media_type.size + record->value.size;

    if (record->address.size == 0 || record->address.size > UINT16_MAX ||
        record->media_type.size > UINT8_MAX || record->value.size > MP__L3_VALUE_MAX)
        return 0;
    return (size + 7) & ~(size_t)7;
}

static uint64_t record_sum(const unsigned char *data, size_t size)
{
    return mp__checksum(size, data + 16, size - 16);
}

void mp__l3_record_write(const mp__record *record, unsigned char *out)
{
    size_t size = mp__l3_record_size(record);
    unsigned char *p = out + MP__L3_RECORD_HEAD;

    memset(out + size - 8, 0, 8); /* the padding, before what is not padding */
    put32(out, RECORD_MAGIC);
    put32(out + 4, (uint32_t)size);
    put64(out + 16, record->revision);
    put64(out + 24, record->created_revision);
    put64(out + 32, record->version);
    put64(out + 40, (uint64_t)record->created_ms);
    put64(out + 48, (uint64_t)record->modified_ms);
    put64(out + 56, (uint64_t)record->expires_ms);
    put64(out + 64, (uint64_t)record->fetched_ms);
    put64(out + 72, (uint64_t)record->verified_ms);
    put16(out + 80, (unsigned)record->address.size);
    out[82] = (unsigned char)record->media_type.size;
    out[83] = (unsigned char)record->kind;
    put32(out + 84, (uint32_t)record->value.size);
    put64(out + 88, 0);
    memcpy(p, record->address.data, record->address.size);
    p += record->address.size;
    if (record->media_type.size)
        memcpy(p, record->media_type.data, record->media_type.size);
    p += record->media_type.size;
    if (record->value.size)
        memcpy(p, record->value.data, record->value.size);
    put64(out + 8, record_sum(out, size));
}

int mp__l3_record_read(const unsigned char *data, size_t size, mp__record *ret_record,
                       size_t *ret_size)
{
    const char *p = (const char *)data + MP__L3_RECORD_HEAD;
    size_t stored, address_size, media_size, value_size;

    if (size < MP__L3_RECORD_HEAD)
        return MP_EAGAIN;
    stored = get32(data + 4);
    if (get32(data) != RECORD_MAGIC || stored < MP__L3_RECORD_HEAD || stored % 8)
        return MP_ECORRUPT;
    if (stored > size)
        return MP_EAGAIN;
    if (get64(data + 8) != record_sum(data, stored))
        return MP_ECORRUPT;
    address_size = get16(data + 80);
    media_size = data[82];
    value_size = get32(data + 84);
    if (MP__L3_RECORD_HEAD + address_size + media_size + value_size > stored || address_size == 0 ||
        (data[83] != MP__RECORD_VALUE && data[83] != MP__RECORD_ABSENT))
        return MP_ECORRUPT;
    *ret_record = (mp__record){
        .address = mp_str_new(p, address_size),
        .media_type = mp_str_new(p + address_size, media_size),
        .value = mp_str_new(p + address_size + media_size, value_size),
        .kind = data[83],
        .revision = get64(data + 16),
        .created_revision = get64(data + 24),
        .version = get64(data + 32),
        .created_ms = (int64_t)get64(data + 40),
        .modified_ms = (int64_t)get64(data + 48),
        .expires_ms = (int64_t)get64(data + 56),
        .fetched_ms = (int64_t)get64(data + 64),
        .verified_ms = (int64_t)get64(data + 72),
    };
    *ret_size = stored;
    return 0;
}

/* ---- segment heads ---- */

void mp__l3_head_write(const mp__l3_segment_head *head, unsigned char out[MP__L3_SEGMENT_HEAD])
{
    memset(out, 0, MP__L3_SEGMENT_HEAD);
    memcpy(out, segment_magic, 8);
    put32(out + 8, MP__L3_VERSION);
    put64(out + 16, head->number);
    memcpy(out + 24, head->folder, 16);
    put64(out + 40, (uint64_t)head->created_ms);
    put64(out + 56, mp__checksum(0, out, 56));
}

int mp__l3_head_read(const unsigned char *data, size_t size, mp__l3_segment_head *ret_head)
{
    if (size < MP__L3_SEGMENT_HEAD || memcmp(data, segment_magic, 8) != 0 ||
        get64(data + 56) != mp__checksum(0, data, 56))
        return MP_ECORRUPT;
    if (get32(data + 8) > MP__L3_VERSION)
        return MP_EVERSION;
    ret_head->number = get64(data + 16);
    memcpy(ret_head->folder, data + 24, 16);
    ret_head->created_ms = (int64_t)get64(data + 40);
    return 0;
}

/* ---- footers ---- */

void mp__l3_footer_write(const mp__l3_row *rows, size_t count, const unsigned char folder[16],
                         unsigned char *out)
{
    unsigned char *trailer = out + count * MP__L3_ROW;

    for (size_t i = 0; i < count; i++) {
        unsigned char *p = out + i * MP__L3_ROW;

        put64(p, rows[i].hash);
        put64(p + 8, rows[i].revision);
        put32(p + 16, rows[i].offset);
        put32(p + 20, rows[i].size);
        put64(p + 24, rows[i].kind);
    }
    memset(trailer, 0, MP__L3_TRAILER);
    memcpy(trailer, trailer_magic, 8);
    put64(trailer + 8, count);
    memcpy(trailer + 16, folder, 16);
    put64(trailer + 48, mp__checksum(count, out, count * MP__L3_ROW));
    put64(trailer + 56, mp__checksum(0, trailer, 56));
}

int mp__l3_trailer_read(const unsigned char trailer[MP__L3_TRAILER], uint64_t file_size,
                        const unsigned char folder[16], size_t *ret_count, uint64_t *ret_offset)
{
    uint64_t count = get64(trailer + 8), bytes;

    if (memcmp(trailer, trailer_magic, 8) != 0 || memcmp(trailer + 16, folder, 16) != 0 ||
        get64(trailer + 56) != mp__checksum(0, trailer, 56))
        return MP_ECORRUPT;
    if (__builtin_mul_overflow(count, (uint64_t)MP__L3_ROW, &bytes) ||
        __builtin_add_overflow(bytes, (uint64_t)MP__L3_TRAILER + MP__L3_SEGMENT_HEAD, &bytes) ||
        bytes > file_size)
        return MP_ECORRUPT;
    *ret_count = (size_t)count;
    *ret_offset = file_size - MP__L3_TRAILER - count * MP__L3_ROW;
    return 0;
}

int mp__l3_rows_read(const unsigned char *data, size_t count,
                     const unsigned char trailer[MP__L3_TRAILER], mp__l3_row *ret_rows)
{
    if (get64(trailer + 48) != mp__checksum(count, data, count * MP__L3_ROW))
        return MP_ECORRUPT;
    for (size_t i = 0; i < count; i++) {
        const unsigned char *p = data + i * MP__L3_ROW;

        ret_rows[i] = (mp__l3_row){
            .hash = get64(p),
            .revision = get64(p + 8),
            .offset = get32(p + 16),
            .size = get32(p + 20),
            .kind = p[24],
        };
    }
    return 0;
}

size_t mp__l3_segment_parse(const unsigned char *data, size_t size,
                            void (*each)(void *context, const mp__record *record, size_t offset,
                                         size_t record_size),
                            void *context, size_t *ret_damaged)
{
    size_t at = MP__L3_SEGMENT_HEAD, good = MP__L3_SEGMENT_HEAD, record_size, damaged = 0;
    mp__record record;
    bool in_gap = false;

    while (at < size && size - at >= MP__L3_RECORD_HEAD) {
        if (mp__l3_record_read(data + at, size - at, &record, &record_size) == 0) {
            each(context, &record, at, record_size);
            at += record_size;
            good = at;
            in_gap = false;
            continue;
        }
        damaged += !in_gap;
        in_gap = true;
        at += 8;
    }
    *ret_damaged = damaged;
    return good;
}
