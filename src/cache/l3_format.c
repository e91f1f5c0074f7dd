/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/l3_format.h"

#include <assert.h>

#include "cache/l3_key.h"

static const char segment_magic[8] = "MPL3SEG";
static const char trailer_magic[8] = "MPL3END";

/* Where the fields of a record's head stand. What is left out is zero. */
enum {
    AT_MAGIC = 0,
    AT_SIZE = 4,
    AT_SUM = 8,
    AT_HEAD_SUM = 16,
    AT_KIND = 20,
    AT_FLAGS = 21,
    AT_MEDIA_SIZE = 22,
    AT_ADDRESS_SIZE = 24,
    AT_VALUE_SIZE = 28,
    AT_REVISION = 32,
    AT_CREATED_REVISION = 40,
    AT_VERSION = 48,
    AT_CREATED = 56,
    AT_MODIFIED = 64,
    AT_EXPIRES = 72,
    AT_FETCHED = 80,
    AT_VERIFIED = 88,
    RECORD_MAGIC = 0x5243504d, /* "MPCR" */
};

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

/* ---- sums ---- */

/* A seed for one place: keyed, so that nobody who can only choose values can make a sum hold. */
static uint64_t seed_at(const mp__l3_seed *seed, uint64_t offset, uint64_t size)
{
    unsigned char place[24];

    put64(place, seed->number);
    put64(place + 8, offset);
    put64(place + 16, size);
    return mp__siphash13(seed->secret, place, sizeof(place));
}

static uint64_t footer_seed_at(const mp__l3_seed *seed, uint64_t offset, uint64_t size)
{
    mp__l3_seed own = {.secret = seed->footer, .number = seed->number};

    return seed_at(&own, offset, size);
}

static uint64_t sum_of_all(uint64_t seed, const unsigned char *data, size_t size)
{
    return mp__checksum(seed, data + AT_HEAD_SUM, size - AT_HEAD_SUM);
}

static uint32_t sum_of_head(uint64_t seed, const unsigned char *data)
{
    size_t address_size = get16(data + AT_ADDRESS_SIZE);

    return (uint32_t)mp__checksum(~seed, data + AT_KIND,
                                  MP__L3_RECORD_HEAD - AT_KIND + address_size);
}

/* ---- records ---- */

size_t mp__l3_record_size(const mp__record *record)
{
    size_t size =
        MP__L3_RECORD_HEAD + record->address.size + record->media_type.size + record->value.size;

    if (record->address.size == 0 || record->address.size > MP__L3_ADDRESS_MAX ||
        record->media_type.size > UINT8_MAX || record->value.size > MP__L3_RECORD_MAX ||
        size > MP__L3_RECORD_MAX)
        return 0;
    return (size + 7) & ~(size_t)7;
}

static unsigned char *put_str(unsigned char *p, mp_str s)
{
    if (s.size)
        memcpy(p, s.data, s.size);
    return p + s.size;
}

void mp__l3_record_write(const mp__record *record, unsigned kind, unsigned flags,
                         unsigned char *out)
{
    size_t size = mp__l3_record_size(record);
    unsigned char *p = out + MP__L3_RECORD_HEAD;

    memset(out, 0, MP__L3_RECORD_HEAD);
    memset(out + size - 8, 0, 8); /* the padding, before what is not padding */
    put32(out + AT_MAGIC, RECORD_MAGIC);
    put32(out + AT_SIZE, (uint32_t)size);
    out[AT_KIND] = (unsigned char)kind;
    out[AT_FLAGS] = (unsigned char)flags;
    out[AT_MEDIA_SIZE] = (unsigned char)record->media_type.size;
    put16(out + AT_ADDRESS_SIZE, (unsigned)record->address.size);
    put32(out + AT_VALUE_SIZE, (uint32_t)record->value.size);
    put64(out + AT_REVISION, record->revision);
    put64(out + AT_CREATED_REVISION, record->created_revision);
    put64(out + AT_VERSION, record->version);
    put64(out + AT_CREATED, (uint64_t)record->created_ms);
    put64(out + AT_MODIFIED, (uint64_t)record->modified_ms);
    put64(out + AT_EXPIRES, (uint64_t)record->expires_ms);
    put64(out + AT_FETCHED, (uint64_t)record->fetched_ms);
    put64(out + AT_VERIFIED, (uint64_t)record->verified_ms);
    p = put_str(p, record->address);
    p = put_str(p, record->media_type);
    (void)put_str(p, record->value);
}

uint32_t mp__l3_record_make_room(unsigned char *bytes)
{
    uint32_t size = get32(bytes + AT_SIZE);

    if (!(bytes[AT_FLAGS] & MP__L3_SEALED)) {
        memset(bytes + size, 0, MP__L3_SEAL);
        size += MP__L3_SEAL;
        put32(bytes + AT_SIZE, size);
        bytes[AT_FLAGS] |= MP__L3_SEALED;
    }
    return size;
}

/* What is not encrypted of a record, and must be as it was: its head but for the sums, and its
 * place. */
enum { SEAL_HEAD = MP__L3_RECORD_HEAD - AT_KIND, SEAL_ALONG = 16 + SEAL_HEAD };

static void put_along(const unsigned char *bytes, const mp__l3_seed *seed, uint32_t offset,
                      unsigned char along[SEAL_ALONG])
{
    put64(along, seed->number);
    put32(along + 8, offset);
    memcpy(along + 12, bytes + AT_SIZE, 4);
    memcpy(along + 16, bytes + AT_KIND, SEAL_HEAD);
}

static void encrypt(unsigned char *bytes, const mp__l3_seed *seed, uint32_t offset)
{
    uint32_t size = get32(bytes + AT_SIZE);
    unsigned char along[SEAL_ALONG], *tail = bytes + size - MP__L3_SEAL;

    assert(seed->key);
    put_along(bytes, seed, offset, along);
    mp__l3_key_encrypt(seed->key, bytes + MP__L3_RECORD_HEAD,
                       (size_t)(tail - bytes) - MP__L3_RECORD_HEAD, along, sizeof(along), tail);
}

int mp__l3_record_unseal(unsigned char *bytes, const mp__l3_seed *seed, mp__l3_found *found)
{
    unsigned char along[SEAL_ALONG], *tail = bytes + found->size - MP__L3_SEAL;
    uint32_t offset = found->offset;

    if (!(bytes[AT_FLAGS] & MP__L3_SEALED))
        return 0;
    put_along(bytes, seed, offset, along);
    if (!seed->key || !mp__l3_key_decrypt(seed->key, bytes + MP__L3_RECORD_HEAD,
                                          (size_t)(tail - bytes) - MP__L3_RECORD_HEAD, along,
                                          sizeof(along), tail))
        return MP_ECORRUPT;
    mp__l3_record_open(bytes, found);
    found->offset = offset;
    return 0;
}

void mp__l3_record_seal(unsigned char *bytes, const mp__l3_seed *seed, uint32_t offset,
                        unsigned flags)
{
    uint32_t size = get32(bytes + AT_SIZE);
    uint64_t place = seed_at(seed, offset, size);

    bytes[AT_FLAGS] = (unsigned char)((flags & MP__L3_FORCED) | (bytes[AT_FLAGS] & MP__L3_SEALED));
    if (bytes[AT_FLAGS] & MP__L3_SEALED)
        encrypt(bytes, seed, offset);
    put32(bytes + AT_HEAD_SUM, sum_of_head(place, bytes));
    put64(bytes + AT_SUM, sum_of_all(place, bytes, size));
}

void mp__l3_mark_write(const mp__l3_seed *seed, uint32_t offset,
                       unsigned char out[MP__L3_MARK_SIZE])
{
    static const mp__record mark = {.address = {"=", 1}};

    mp__l3_record_write(&mark, MP__L3_MARK, 0, out);
    mp__l3_record_seal(out, seed, offset, 0);
}

void mp__l3_record_open(const unsigned char *bytes, mp__l3_found *ret_found)
{
    const char *p = (const char *)bytes + MP__L3_RECORD_HEAD;
    size_t address_size = get16(bytes + AT_ADDRESS_SIZE), media_size = bytes[AT_MEDIA_SIZE];

    *ret_found = (mp__l3_found){
        .record =
            {
                .address = mp_str_new(p, address_size),
                .media_type = mp_str_new(p + address_size, media_size),
                .value = mp_str_new(p + address_size + media_size, get32(bytes + AT_VALUE_SIZE)),
                .revision = get64(bytes + AT_REVISION),
                .created_revision = get64(bytes + AT_CREATED_REVISION),
                .version = get64(bytes + AT_VERSION),
                .created_ms = (int64_t)get64(bytes + AT_CREATED),
                .modified_ms = (int64_t)get64(bytes + AT_MODIFIED),
                .expires_ms = (int64_t)get64(bytes + AT_EXPIRES),
                .fetched_ms = (int64_t)get64(bytes + AT_FETCHED),
                .verified_ms = (int64_t)get64(bytes + AT_VERIFIED),
            },
        .size = get32(bytes + AT_SIZE),
        .kind = bytes[AT_KIND],
        .flags = bytes[AT_FLAGS] & MP__L3_FORCED,
    };
    if (ret_found->kind <= MP__RECORD_ABSENT)
        ret_found->record.kind = ret_found->kind;
}

/* Whether the head at @data says what a head can say, and its sum holds. */
static bool head_holds(const unsigned char *data, size_t size, uint64_t place)
{
    size_t stored = get32(data + AT_SIZE), address_size = get16(data + AT_ADDRESS_SIZE);
    size_t content = address_size + data[AT_MEDIA_SIZE] + (size_t)get32(data + AT_VALUE_SIZE);
    size_t seal = data[AT_FLAGS] & MP__L3_SEALED ? MP__L3_SEAL : 0;

    return address_size != 0 && address_size <= MP__L3_ADDRESS_MAX &&
           MP__L3_RECORD_HEAD + address_size <= size && data[AT_KIND] >= MP__RECORD_VALUE &&
           data[AT_KIND] <= MP__L3_MARK &&
           stored == ((MP__L3_RECORD_HEAD + content + 7) & ~(size_t)7) + seal &&
           get32(data + AT_HEAD_SUM) == sum_of_head(place, data);
}

int mp__l3_record_read(const unsigned char *data, size_t size, const mp__l3_seed *seed,
                       uint32_t offset, mp__l3_found *ret_found)
{
    uint64_t place;
    size_t stored;

    if (size < MP__L3_RECORD_HEAD || get32(data + AT_MAGIC) != RECORD_MAGIC)
        return MP_ECORRUPT;
    stored = get32(data + AT_SIZE);
    if (stored > MP__L3_RECORD_MAX || stored % 8)
        return MP_ECORRUPT;
    place = seed_at(seed, offset, stored);
    if (!head_holds(data, size, place))
        return MP_ECORRUPT;
    if (stored > size)
        return MP_EAGAIN;
    mp__l3_record_open(data, ret_found);
    ret_found->offset = offset;
    if (get64(data + AT_SUM) != sum_of_all(place, data, stored)) {
        if (data[AT_FLAGS] & MP__L3_SEALED)
            return MP_ECORRUPT; /* whose it was cannot be told */
        ret_found->damaged = true;
        ret_found->record.media_type = ret_found->record.value = mp_str_new("", 0);
    }
    return 0;
}

/* Of a head whose address is cut, too, the sum cannot be had. */
bool mp__l3_record_is_cut(const unsigned char *data, size_t size, const mp__l3_seed *seed,
                          uint32_t offset)
{
    unsigned char head[MP__L3_RECORD_HEAD] = {0};
    size_t n = size < sizeof(head) ? size : sizeof(head);
    mp__l3_found found;

    put32(head, RECORD_MAGIC);
    if (memcmp(data, head, n < 4 ? n : 4) != 0)
        return false;
    if (size < sizeof(head))
        return true;
    if (size < sizeof(head) + get16(data + AT_ADDRESS_SIZE))
        return get16(data + AT_ADDRESS_SIZE) <= MP__L3_ADDRESS_MAX && get32(data + AT_SIZE) > size;
    return mp__l3_record_read(data, size, seed, offset, &found) == MP_EAGAIN;
}

/* ---- segment heads ---- */

void mp__l3_head_write(const mp__l3_segment_head *head, unsigned char out[MP__L3_SEGMENT_HEAD])
{
    memset(out, 0, MP__L3_SEGMENT_HEAD);
    memcpy(out, segment_magic, 8);
    put32(out + 8, head->key_id ? MP__L3_VERSION : 1); /* who knows no keys may read the others */
    put64(out + 16, head->number);
    memcpy(out + 24, head->folder, 16);
    put64(out + 40, head->secret.k0);
    put64(out + 48, head->secret.k1);
    put64(out + 56, (uint64_t)head->created_ms);
    put64(out + 64, head->key_id);
    put64(out + 72, head->made_of.k0);
    put64(out + 80, head->made_of.k1);
    put64(out + 120, mp__checksum(0, out, 120));
}

static bool segment_head_holds(const unsigned char data[MP__L3_SEGMENT_HEAD])
{
    return memcmp(data, segment_magic, 8) == 0 && get64(data + 120) == mp__checksum(0, data, 120);
}

/* The one bit that was flipped, if it is one, is the one that makes the sum hold when it is flipped
 * back. A head stands before a whole segment: so much is worth the look. */
static bool segment_head_mend(unsigned char data[MP__L3_SEGMENT_HEAD])
{
    for (unsigned bit = 0; bit < MP__L3_SEGMENT_HEAD * 8; bit++) {
        data[bit / 8] = (unsigned char)(data[bit / 8] ^ 1u << bit % 8);
        if (segment_head_holds(data))
            return true;
        data[bit / 8] = (unsigned char)(data[bit / 8] ^ 1u << bit % 8);
    }
    return false;
}

int mp__l3_head_read(const unsigned char *bytes, size_t size, mp__l3_segment_head *ret_head)
{
    unsigned char data[MP__L3_SEGMENT_HEAD];

    if (size < MP__L3_SEGMENT_HEAD)
        return MP_ECORRUPT;
    memcpy(data, bytes, sizeof(data));
    if (!segment_head_holds(data) && !segment_head_mend(data))
        return MP_ECORRUPT;
    if (get32(data + 8) > MP__L3_VERSION)
        return MP_EVERSION;
    ret_head->number = get64(data + 16);
    memcpy(ret_head->folder, data + 24, 16);
    ret_head->secret = (mp__hash_key){get64(data + 40), get64(data + 48)};
    ret_head->created_ms = (int64_t)get64(data + 56);
    ret_head->key_id = get64(data + 64);
    ret_head->made_of = (mp__hash_key){get64(data + 72), get64(data + 80)};
    if (!(ret_head->made_of.k0 | ret_head->made_of.k1)) /* of an older version */
        ret_head->made_of = ret_head->secret;
    return 0;
}

/* ---- footers ---- */

static void row_write(const mp__l3_row *row, unsigned char *p)
{
    put64(p, row->hash);
    put64(p + 8, row->revision);
    put32(p + 16, row->offset);
    put32(p + 20, row->size);
    p[24] = row->kind;
    p[25] = row->flags;
}

static mp__l3_row row_read(const unsigned char *p)
{
    return (mp__l3_row){
        .hash = get64(p),
        .revision = get64(p + 8),
        .offset = get32(p + 16),
        .size = get32(p + 20),
        .kind = p[24],
        .flags = p[25],
    };
}

/* What the seeds of a footer's sums have in the place of a record's size, which is a multiple of 8.
 */
enum { OF_DIRECTORY = 1, OF_PART = 2 };

static uint64_t sum_of_part(const mp__l3_seed *seed, unsigned part, uint32_t first,
                            const unsigned char *rows, size_t count)
{
    uint64_t place = (uint64_t)part << 32 | first;

    return mp__checksum(footer_seed_at(seed, place, OF_PART), rows, count * MP__L3_ROW);
}

/* directory = { sum(8) first(4) count(4) }(64) revision-max(8) sum(8) */
static void directory_write(const uint32_t first[MP__L3_PARTS + 1], uint64_t revision_max,
                            const mp__l3_seed *seed, unsigned char *out)
{
    const unsigned char *rows = out + MP__L3_DIRECTORY;
    unsigned char *tail = out + (size_t)16 * MP__L3_PARTS;
    uint32_t all = first[MP__L3_PARTS];

    for (unsigned i = 0; i < MP__L3_PARTS; i++) {
        unsigned char *p = out + (size_t)16 * i;
        uint32_t count = first[i + 1] - first[i];

        put64(p, sum_of_part(seed, i, first[i], rows + (size_t)first[i] * MP__L3_ROW, count));
        put32(p + 8, first[i]);
        put32(p + 12, count);
    }
    put64(tail, revision_max);
    put64(tail + 8,
          mp__checksum(footer_seed_at(seed, all, OF_DIRECTORY), out, MP__L3_DIRECTORY - 8));
}

static void count_parts(const mp__l3_row *rows, size_t count, uint32_t first[MP__L3_PARTS + 1])
{
    memset(first, 0, (MP__L3_PARTS + 1) * sizeof(*first));
    for (size_t i = 0; i < count; i++)
        first[mp__l3_part_of(rows[i].hash) + 1]++;
    for (unsigned i = 0; i < MP__L3_PARTS; i++)
        first[i + 1] += first[i];
}

void mp__l3_rows_by_part(const mp__l3_row *rows, size_t count, mp__l3_row *ret_rows,
                         uint32_t ret_first[MP__L3_PARTS + 1])
{
    uint32_t next[MP__L3_PARTS + 1];

    count_parts(rows, count, ret_first);
    memcpy(next, ret_first, sizeof(next));
    for (size_t i = 0; i < count; i++)
        ret_rows[next[mp__l3_part_of(rows[i].hash)]++] = rows[i];
}

void mp__l3_footer_write(const mp__l3_row *rows, size_t count, const mp__l3_seed *seed,
                         unsigned char *out)
{
    unsigned char *by_part = out + MP__L3_DIRECTORY, *trailer = by_part + count * MP__L3_ROW;
    uint32_t first[MP__L3_PARTS + 1], next[MP__L3_PARTS + 1];
    uint64_t revision_max = 0;

    assert(count <= MP__L3_SEGMENT_MAX / MP__L3_ROW);
    memset(out, 0, mp__l3_footer_size(count));
    count_parts(rows, count, first);
    memcpy(next, first, sizeof(next));
    for (size_t i = 0; i < count; i++) {
        row_write(&rows[i], by_part + (size_t)next[mp__l3_part_of(rows[i].hash)]++ * MP__L3_ROW);
        revision_max = rows[i].revision > revision_max ? rows[i].revision : revision_max;
    }
    directory_write(first, revision_max, seed, out);
    memcpy(trailer, trailer_magic, 8);
    put64(trailer + 8, count);
    put64(trailer + 16,
          mp__checksum(footer_seed_at(seed, count, MP__L3_ROW), by_part, count * MP__L3_ROW));
    put32(trailer + 24, MP__L3_DIRECTORY);
    put64(trailer + 56, mp__checksum(footer_seed_at(seed, count, MP__L3_TRAILER), trailer, 56));
}

int mp__l3_trailer_read(const unsigned char trailer[MP__L3_TRAILER], uint64_t file_size,
                        const mp__l3_seed *seed, mp__l3_footer *ret_footer)
{
    uint64_t count = get64(trailer + 8), directory = get32(trailer + 24), bytes;

    if (memcmp(trailer, trailer_magic, 8) != 0 ||
        get64(trailer + 56) !=
            mp__checksum(footer_seed_at(seed, count, MP__L3_TRAILER), trailer, 56))
        return MP_ECORRUPT;
    if (__builtin_mul_overflow(count, (uint64_t)MP__L3_ROW, &bytes) ||
        __builtin_add_overflow(bytes, directory + MP__L3_TRAILER + MP__L3_SEGMENT_HEAD, &bytes) ||
        bytes > file_size)
        return MP_ECORRUPT;
    *ret_footer = (mp__l3_footer){
        .count = (size_t)count,
        .rows_at = file_size - MP__L3_TRAILER - count * MP__L3_ROW,
        .rows_sum = get64(trailer + 16),
    };
    if (directory == MP__L3_DIRECTORY) /* of another size it says what we do not know */
        ret_footer->directory_at = ret_footer->rows_at - directory;
    return 0;
}

/* A row of a footer whose sum holds is right, unless the one who wrote it was wrong: then it must
 * not lead a reader outside of the segment. */
static bool row_is_sound(const mp__l3_row *row, uint64_t end)
{
    return row->offset >= MP__L3_SEGMENT_HEAD && row->offset % 8 == 0 && row->size % 8 == 0 &&
           row->size >= MP__L3_RECORD_HEAD && row->size <= MP__L3_RECORD_MAX &&
           (uint64_t)row->offset + row->size <= end && row->kind >= MP__RECORD_VALUE &&
           row->kind <= MP__L3_GONE;
}

int mp__l3_rows_read(const unsigned char *data, const mp__l3_footer *footer,
                     const mp__l3_seed *seed, mp__l3_row *ret_rows)
{
    size_t bytes = footer->count * MP__L3_ROW;

    if (footer->rows_sum !=
        mp__checksum(footer_seed_at(seed, footer->count, MP__L3_ROW), data, bytes))
        return MP_ECORRUPT;
    for (size_t i = 0; i < footer->count; i++) {
        ret_rows[i] = row_read(data + i * MP__L3_ROW);
        if (!row_is_sound(&ret_rows[i], footer->rows_at))
            return MP_ECORRUPT;
    }
    return 0;
}

int mp__l3_directory_read(const unsigned char data[MP__L3_DIRECTORY], const mp__l3_footer *footer,
                          const mp__l3_seed *seed, mp__l3_directory *ret_directory)
{
    const unsigned char *tail = data + (size_t)16 * MP__L3_PARTS;
    uint64_t all = 0;

    if (get64(tail + 8) !=
        mp__checksum(footer_seed_at(seed, footer->count, OF_DIRECTORY), data, MP__L3_DIRECTORY - 8))
        return MP_ECORRUPT;
    for (unsigned i = 0; i < MP__L3_PARTS; i++) {
        const unsigned char *p = data + (size_t)16 * i;

        if (get32(p + 8) != all)
            return MP_ECORRUPT;
        ret_directory->sums[i] = get64(p);
        ret_directory->first[i] = (uint32_t)all;
        all += get32(p + 12);
    }
    if (all != footer->count)
        return MP_ECORRUPT;
    ret_directory->first[MP__L3_PARTS] = (uint32_t)all;
    ret_directory->revision_max = get64(tail);
    return 0;
}

int mp__l3_part_read(const unsigned char *data, unsigned part, const mp__l3_directory *directory,
                     const mp__l3_footer *footer, const mp__l3_seed *seed, mp__l3_row *ret_rows)
{
    uint32_t first = directory->first[part];
    size_t count = directory->first[part + 1] - first;

    if (directory->sums[part] != sum_of_part(seed, part, first, data, count))
        return MP_ECORRUPT;
    for (size_t i = 0; i < count; i++) {
        ret_rows[i] = row_read(data + i * MP__L3_ROW);
        if (!row_is_sound(&ret_rows[i], footer->rows_at) ||
            mp__l3_part_of(ret_rows[i].hash) != part)
            return MP_ECORRUPT;
    }
    return 0;
}

/* ---- walking a segment ---- */

size_t mp__l3_segment_walk(mp__l3_walk *w, const unsigned char *data, size_t size, bool is_last,
                           const mp__l3_seed *seed,
                           void (*each)(void *context, const mp__l3_found *found), void *context)
{
    size_t base = w->at, end = base + size;
    mp__l3_found found;

    while (w->at < end && end - w->at >= MP__L3_RECORD_HEAD && w->at < MP__L3_SEGMENT_MAX) {
        const unsigned char *p = data + (w->at - base);
        int rc;

        if (!is_last && end - w->at < MP__L3_RECORD_HEAD + MP__L3_ADDRESS_MAX)
            break;
        rc = mp__l3_record_read(p, end - w->at, seed, (uint32_t)w->at, &found);
        if (rc == MP_EAGAIN && !is_last)
            return get32(p + AT_SIZE);
        if (rc) {
            w->pending += !w->in_gap;
            w->in_gap = true;
            w->at += 8;
            continue;
        }
        each(context, &found);
        w->at += found.size;
        w->in_gap = false;
        if (found.damaged) {
            w->pending++;
            continue;
        }
        w->good = w->at;
        w->damaged += w->pending; /* what nothing good follows is a torn tail, no damage */
        w->pending = 0;
    }
    return MP__L3_RECORD_HEAD + MP__L3_ADDRESS_MAX;
}

size_t mp__l3_segment_parse(const unsigned char *data, size_t size, const mp__l3_seed *seed,
                            void (*each)(void *context, const mp__l3_found *found), void *context,
                            size_t *ret_damaged)
{
    mp__l3_walk walk = mp__l3_walk_begin();

    if (size > walk.at)
        (void)mp__l3_segment_walk(&walk, data + walk.at, size - walk.at, true, seed, each, context);
    *ret_damaged = walk.damaged;
    return walk.good;
}
