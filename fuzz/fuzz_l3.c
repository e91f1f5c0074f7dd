/* SPDX-License-Identifier: Apache-2.0 */
/* L3 segments. Random bytes never have a right checksum, so that most inputs describe a segment
 * instead: it is written, damaged where the input says, and read. Whatever comes out must be one of
 * the records that went in, at its place; nothing that was left whole may be lost or called
 * damaged; and a damaged one that still has a name must have its own. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cache/l3_format.h"
#include "core/core.h"

enum { RECORDS_MAX = 16, SEGMENT_MAX = 64 * 1024, ROWS_MAX = 256 };

typedef struct written {
    mp__record record;
    size_t offset, size;
    bool damaged, seen;
} written;

typedef struct segment {
    written records[RECORDS_MAX];
    size_t count, size;
    unsigned char bytes[SEGMENT_MAX];
} segment;

static segment made;
static const mp__l3_seed seed = {.secret = {1, 2}, .number = 7};

static bool same(const mp__record *a, const mp__record *b)
{
    return mp_str_equal(a->address, b->address) && mp_str_equal(a->value, b->value) &&
           mp_str_equal(a->media_type, b->media_type) && a->revision == b->revision &&
           a->version == b->version;
}

static void check(written *w, const mp__l3_found *found)
{
    if (w->size != found->size || !mp_str_equal(w->record.address, found->record.address) ||
        w->record.revision != found->record.revision)
        abort();
    if (found->damaged) {
        if (!w->damaged)
            abort();
        return;
    }
    if (!same(&w->record, &found->record) || (uint8_t)w->record.kind != found->kind)
        abort();
    w->seen = true;
}

static void each(void *context, const mp__l3_found *found)
{
    segment *s = context;

    for (size_t i = 0; i < s->count; i++) {
        if (s->records[i].offset == found->offset) {
            check(&s->records[i], found);
            return;
        }
    }
    abort(); /* a record that nobody wrote */
}

/* A record from the input: two sizes, then their bytes. Returns what it took, 0 at the end. */
static size_t add_record(segment *s, const uint8_t *data, size_t size)
{
    written *w = &s->records[s->count];
    size_t address, value;

    if (size < 4 || s->count == RECORDS_MAX)
        return 0;
    address = (size_t)data[0] % 64 + 1;
    value = (size_t)data[1] + (size_t)data[2] % 4 * 256;
    if (size < 4 + address + value)
        return 0;
    *w = (written){.offset = s->size};
    w->record = (mp__record){
        .address = mp_str_new(data + 4, address),
        .value = mp_str_new(data + 4 + address, data[3] % 2 ? 0 : value),
        .media_type = data[3] & 4 ? MP_STR("application/json") : MP_STR(""),
        .kind = data[3] % 2 ? MP__RECORD_ABSENT : MP__RECORD_VALUE,
        .revision = 1000 + s->count,
        .version = 1,
    };
    w->size = mp__l3_record_size(&w->record);
    if (w->size == 0 || w->size > SEGMENT_MAX - s->size)
        return 0;
    mp__l3_record_write(&w->record, w->record.kind, 0, s->bytes + s->size);
    mp__l3_record_seal(s->bytes + s->size, &seed, (uint32_t)s->size, 0);
    s->size += w->size;
    s->count++;
    return 4 + address + value;
}

/* Flip one bit and remember whose it was. */
static void damage(segment *s, size_t at, unsigned bit)
{
    s->bytes[at] ^= (unsigned char)(1u << bit);
    for (size_t i = 0; i < s->count; i++)
        if (at >= s->records[i].offset && at < s->records[i].offset + s->records[i].size)
            s->records[i].damaged = true;
}

static void described(const uint8_t *data, size_t size)
{
    segment *s = &made;
    size_t at = 4, took, damaged;
    unsigned flips = data[0] % 4;

    s->count = 0;
    s->size = MP__L3_SEGMENT_HEAD;
    while ((took = add_record(s, data + at, size - at)) != 0)
        at += took;
    if (s->count)
        for (unsigned i = 0; i < flips; i++)
            damage(s,
                   MP__L3_SEGMENT_HEAD + ((size_t)data[1] * 257 + (size_t)data[2] * (i + 1)) %
                                             (s->size - MP__L3_SEGMENT_HEAD),
                   data[3] % 8);
    (void)mp__l3_segment_parse(s->bytes, s->size, &seed, each, s, &damaged);
    for (size_t i = 0; i < s->count; i++)
        if (!s->records[i].damaged && !s->records[i].seen)
            abort();
}

static void ignored(void *context, const mp__l3_found *found)
{
    (void)context;
    (void)found;
}

static void same_rows(const mp__l3_row *a, const mp__l3_row *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (a[i].hash != b[i].hash || a[i].revision != b[i].revision ||
            a[i].offset != b[i].offset || a[i].size != b[i].size || a[i].kind != b[i].kind)
            abort();
}

/* A footer whose sums hold, of rows that the input describes, with one bit of it flipped or none:
 * its parts must be the rows, or be refused. */
static void footers(const uint8_t *data, size_t size)
{
    static mp__l3_row rows[ROWS_MAX], read[ROWS_MAX], by_part[ROWS_MAX];
    uint32_t first[MP__L3_PARTS + 1];
    size_t count = (size - 4) / 4 < ROWS_MAX ? (size - 4) / 4 : ROWS_MAX, bytes;
    unsigned char *out = made.bytes;
    mp__l3_directory directory;
    mp__l3_footer footer;

    for (size_t i = 0; i < count; i++) {
        const uint8_t *p = data + 4 + 4 * i;

        rows[i] = (mp__l3_row){.hash = (uint64_t)p[0] << 56 | p[1],
                               .revision = p[2],
                               .offset = MP__L3_SEGMENT_HEAD + 8u * (p[3] % 32),
                               .size = MP__L3_RECORD_HEAD,
                               .kind = MP__RECORD_VALUE};
    }
    memset(out, 0, 1024);
    bytes = 1024 + mp__l3_footer_size(count);
    mp__l3_footer_write(rows, count, &seed, out + 1024);
    if (data[0] % 2)
        out[1024 + ((size_t)data[1] * 257 + data[2] * 31u) % (bytes - 1024)] ^=
            (unsigned char)(1u << data[3] % 8);
    mp__l3_rows_by_part(rows, count, by_part, first);
    if (mp__l3_trailer_read(out + bytes - MP__L3_TRAILER, bytes, &seed, &footer) != 0)
        return;
    if (footer.directory_at != 1024 || footer.count != count ||
        mp__l3_directory_read(out + 1024, &footer, &seed, &directory) != 0) {
        if (data[0] % 2 == 0)
            abort();
        return;
    }
    for (unsigned part = 0; part < MP__L3_PARTS; part++) {
        const unsigned char *at = out + footer.rows_at + (size_t)first[part] * MP__L3_ROW;

        if (directory.first[part] != first[part])
            abort();
        if (mp__l3_part_read(at, part, &directory, &footer, &seed, read) != 0) {
            if (data[0] % 2 == 0)
                abort();
        } else {
            same_rows(read, by_part + first[part], first[part + 1] - first[part]);
        }
    }
}

static void raw(const uint8_t *data, size_t size)
{
    mp__l3_segment_head head;
    size_t damaged;
    mp__l3_footer footer;
    size_t end = mp__l3_segment_parse(data, size, &seed, ignored, NULL, &damaged);

    if (end > size && end != MP__L3_SEGMENT_HEAD) /* where the first record would begin */
        abort();
    if (end < size)
        (void)mp__l3_record_is_cut(data + end, size - end, &seed, (uint32_t)end);
    (void)mp__l3_head_read(data, size, &head);
    if (size >= MP__L3_TRAILER &&
        mp__l3_trailer_read(data + size - MP__L3_TRAILER, size, &seed, &footer) == 0 &&
        footer.rows_at > size)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 5)
        return 0;
    if (data[0] % 8 < 4)
        described(data, size);
    else if (data[0] % 8 < 6)
        footers(data, size);
    else
        raw(data + 1, size - 1);
    return 0;
}
