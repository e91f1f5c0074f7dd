/* SPDX-License-Identifier: Apache-2.0 */
/* What L3 writes, pure: records, segment headers and footers as bytes and back.
 *
 *   segment  = header(64) record* [footer]         little endian, everything at multiples of 8
 *   record   = head(96) address media-type value padding
 *   footer   = row(32)* trailer(64)                only when the segment was sealed
 *
 * A record's XXH3-64 covers all of it but magic, size and the sum itself, seeded with the size. A
 * reader that meets damage goes on at the next multiple of 8 whose sum holds, so that a flipped bit
 * costs one record. */
#ifndef MP_CACHE_L3_FORMAT_H
#define MP_CACHE_L3_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/record.h"

enum {
    MP__L3_VERSION = 1,
    MP__L3_SEGMENT_HEAD = 64,
    MP__L3_RECORD_HEAD = 96,
    MP__L3_ROW = 32,
    MP__L3_TRAILER = 64,
    MP__L3_VALUE_MAX = 64 * 1024 * 1024,
};

typedef struct mp__l3_segment_head {
    uint64_t number;
    unsigned char folder[16]; /* of the folder it was written in */
    int64_t created_ms;
} mp__l3_segment_head;

/* One record as the footer and the index know it. */
typedef struct mp__l3_row {
    uint64_t hash, revision;
    uint32_t offset, size; /* in the segment, bytes */
    uint8_t kind;
} mp__l3_row;

/* Bytes that @record takes, 0 when it cannot be stored. */
size_t mp__l3_record_size(const mp__record *record);
/* Write it to @out, which holds mp__l3_record_size() bytes. */
void mp__l3_record_write(const mp__record *record, unsigned char *out);
/* The record at @data with all it should hold: 0, MP_ECORRUPT, or MP_EAGAIN when it is longer than
 * @size. Slices point into @data. */
int mp__l3_record_read(const unsigned char *data, size_t size, mp__record *ret_record,
                       size_t *ret_size);

void mp__l3_head_write(const mp__l3_segment_head *head, unsigned char out[MP__L3_SEGMENT_HEAD]);
/* 0, MP_ECORRUPT, or MP_EVERSION when a newer version wrote it. */
int mp__l3_head_read(const unsigned char *data, size_t size, mp__l3_segment_head *ret_head);

/* Rows and trailer into @out, which holds count * MP__L3_ROW + MP__L3_TRAILER bytes. @folder says
 * whose hashes they are. */
void mp__l3_footer_write(const mp__l3_row *rows, size_t count, const unsigned char folder[16],
                         unsigned char *out);
/* From the trailer at the end of a file of @file_size: how many rows, and where they begin. */
int mp__l3_trailer_read(const unsigned char trailer[MP__L3_TRAILER], uint64_t file_size,
                        const unsigned char folder[16], size_t *ret_count, uint64_t *ret_offset);
/* Check the rows against the trailer and read them. MP_ECORRUPT. */
int mp__l3_rows_read(const unsigned char *data, size_t count,
                     const unsigned char trailer[MP__L3_TRAILER], mp__l3_row *ret_rows);

/* Walk the bytes of a segment behind its header and call @each for each record whose sum holds.
 * Any bytes. Returns the offset behind the last good record; *ret_damaged counts the gaps. */
size_t mp__l3_segment_parse(const unsigned char *data, size_t size,
                            void (*each)(void *context, const mp__record *record, size_t offset,
                                         size_t record_size),
                            void *context, size_t *ret_damaged);

#endif
