/* SPDX-License-Identifier: Apache-2.0 */
/* What L3 writes, pure: records, segment heads and footers as bytes and back.
 *
 *   segment  = head(128) record* [footer]          little endian, everything at multiples of 8
 *   record   = head(96) address media-type value padding
 *   footer   = directory(1040) row(32)* trailer(64)      only when the segment was sealed
 *
 * The rows of a footer stand in 64 parts, by the top bits of their hashes, and within a part in the
 * order of the log. The directory says where each part is and has its sum, so that a part can be
 * read and believed alone. A footer without a directory is of an older version: its rows are in the
 * order of the log. The trailer's sum of the rows is over all of them, in both.
 *
 * All sums within a segment are XXH3-64 begun with a seed that only the folder's secret, the
 * segment's number and the place in it give. So a record that the disk brings from another place is
 * refused, and so is one that a client wrote into a value of its own, to be found there by the
 * search behind a damaged record.
 *
 * A record has two sums: one over all of it, and one over head and address alone. Where only the
 * first fails, it is known which address and revision was lost, and an older record of the address
 * need not be taken for the newest. Where the second fails too, the search goes on at the next
 * multiple of 8, so that a flipped bit costs one record.
 *
 * With a key a record is sealed: address, media type, value and padding are encrypted in their
 * place with XChaCha20-Poly1305, which also vouches for the head and for where it stands, and
 * behind them are a nonce of 24 random bytes and the tag of 16. The sums are over what stands on
 * disk, so that damage is found without the key. Where a sealed record is damaged its address is
 * not known. A segment in which records may be sealed says so by its version, and which key by that
 * key's id.
 *
 * The first 12 bytes of a segment head and the sum at its end keep their places in every version,
 * so that a newer file is told from a damaged one. */
#ifndef MP_CACHE_L3_FORMAT_H
#define MP_CACHE_L3_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/record.h"

typedef struct mp__l3_key mp__l3_key; /* cache/l3_key.h */

enum {
    MP__L3_VERSION = 2, /* of a segment with a key; one without is 1 */
    MP__L3_SEAL = 40,   /* bytes that sealing adds */
    MP__L3_SEGMENT_HEAD = 128,
    MP__L3_RECORD_HEAD = 96,
    MP__L3_ROW = 32,
    MP__L3_TRAILER = 64,
    MP__L3_PART_BITS = 6, /* of a hash say its part of a footer, and its shard of the index */
    MP__L3_PARTS = 1 << MP__L3_PART_BITS,
    MP__L3_DIRECTORY = 16 * MP__L3_PARTS + 16,
    MP__L3_RECORD_MAX = 32 * 1024 * 1024 - 8, /* bytes, head and padding included */
    MP__L3_SEGMENT_MAX = 128 * 1024 * 1024,
    MP__L3_ADDRESS_MAX = 4096, /* bounds what the search behind damage costs */
};

/* Kinds beside MP__RECORD_VALUE and _ABSENT. */
enum {
    MP__L3_GONE =
        3, /* something of this revision was here and is lost: what is older is outdated */
    MP__L3_MARK = 4, /* of no address: all before it in its segment was synced */
};
enum { MP__L3_MARK_SIZE = 104 };

enum mp__l3_flags {
    MP__L3_FORCED = 1, /* replaces what stands before it in the log, whatever its revision */
    MP__L3_SEALED = 2, /* of bytes: encrypted on disk; in memory there is room for what that adds */
};

/* What every sum in a segment depends on. */
typedef struct mp__l3_seed {
    mp__hash_key secret;
    uint64_t number;
    const mp__l3_key *key; /* of sealed records; NULL: none */
    mp__hash_key footer; /* in the place of the secret: what that was made of, so that whoever takes
                          * the secret for a folder's own believes no hash in the footer */
} mp__l3_seed;

typedef struct mp__l3_segment_head {
    uint64_t number;
    unsigned char folder[16]; /* of the folder it was written in */
    mp__hash_key secret;      /* of sums, and of the hashes in the footer */
    mp__hash_key made_of;     /* the folder's secret, mp__hasher_secret() */
    int64_t created_ms;
    uint64_t key_id; /* 0: no record is sealed */
} mp__l3_segment_head;

/* One record as the footer and the index know it. */
typedef struct mp__l3_row {
    uint64_t hash, revision;
    uint32_t offset, size; /* in the segment, bytes */
    uint8_t kind, flags;
} mp__l3_row;

/* A record as it was read. A damaged one has address, revision and size only. */
typedef struct mp__l3_found {
    mp__record record; /* record.kind is not set: see kind */
    uint32_t offset, size;
    uint8_t kind, flags;
    bool damaged;
} mp__l3_found;

/* Bytes that @record takes, 0 when it cannot be stored. */
size_t mp__l3_record_size(const mp__record *record);
/* Write it to @out, which holds mp__l3_record_size() bytes, all but its sums. @kind in place of
 * record->kind. */
void mp__l3_record_write(const mp__record *record, unsigned kind, unsigned flags,
                         unsigned char *out);
/* Give the bytes of a record in memory the room that sealing needs, behind them, or nothing when it
 * has it. They lie in MP__L3_SEAL bytes more. Its new size. */
uint32_t mp__l3_record_make_room(unsigned char *bytes);
/* Set its flags and the sums, which depend on where it will stand. Again for another place, unless
 * it is sealed: then its bytes are encrypted from here on. One with room for it is sealed; @seed
 * has a key then. */
void mp__l3_record_seal(unsigned char *bytes, const mp__l3_seed *seed, uint32_t offset,
                        unsigned flags);
/* A mark, with its sums. */
void mp__l3_mark_write(const mp__l3_seed *seed, uint32_t offset,
                       unsigned char out[MP__L3_MARK_SIZE]);
/* The fields of a record in memory that never left it: no sum is looked at. */
void mp__l3_record_open(const unsigned char *bytes, mp__l3_found *ret_found);
/* The record at @data, which was read at @offset of the segment. 0, also when it is damaged behind
 * its address; MP_ECORRUPT; MP_EAGAIN when it is longer than @size (its head holds). Any bytes. */
int mp__l3_record_read(const unsigned char *data, size_t size, const mp__l3_seed *seed,
                       uint32_t offset, mp__l3_found *ret_found);

/* Whether @data, the last @size bytes of a segment, from @offset on, begin a record that goes on
 * behind them, as far as they tell: the writer was ended while it wrote. */
bool mp__l3_record_is_cut(const unsigned char *data, size_t size, const mp__l3_seed *seed,
                          uint32_t offset);

/* Decrypt @bytes, of which @found was read, in their place, and set @found anew; one that is not
 * sealed stays. MP_ECORRUPT: not with this key, or somebody changed it who could make sums. */
MP_MUST_USE int mp__l3_record_unseal(unsigned char *bytes, const mp__l3_seed *seed,
                                     mp__l3_found *found);

void mp__l3_head_write(const mp__l3_segment_head *head, unsigned char out[MP__L3_SEGMENT_HEAD]);
/* 0, also where a single bit was flipped; MP_ECORRUPT, or MP_EVERSION when a newer version wrote
 * it.
 */
int mp__l3_head_read(const unsigned char *bytes, size_t size, mp__l3_segment_head *ret_head);

static inline size_t mp__l3_footer_size(size_t rows)
{
    return MP__L3_DIRECTORY + rows * MP__L3_ROW + MP__L3_TRAILER;
}
static inline unsigned mp__l3_part_of(uint64_t hash)
{
    return (unsigned)(hash >> (64 - MP__L3_PART_BITS));
}
/* Rows in the order of the log by parts, within which that order stays; and where each part begins,
 * with the number of rows at the end. */
void mp__l3_rows_by_part(const mp__l3_row *rows, size_t count, mp__l3_row *ret_rows,
                         uint32_t ret_first[MP__L3_PARTS + 1]);
/* Directory, rows and trailer into @out, which holds mp__l3_footer_size(count) bytes. @rows are in
 * the order of the log. */
void mp__l3_footer_write(const mp__l3_row *rows, size_t count, const mp__l3_seed *seed,
                         unsigned char *out);

/* Where what a footer has stands in its file. */
typedef struct mp__l3_footer {
    size_t count;          /* of rows */
    uint64_t rows_at;      /* the first of them */
    uint64_t directory_at; /* 0: it has none */
    uint64_t rows_sum;
} mp__l3_footer;

/* From the trailer at the end of a file of @file_size. MP_ECORRUPT. */
int mp__l3_trailer_read(const unsigned char trailer[MP__L3_TRAILER], uint64_t file_size,
                        const mp__l3_seed *seed, mp__l3_footer *ret_footer);
/* Check all the rows of @footer, which @data has, and read them, as they stand there. MP_ECORRUPT.
 */
int mp__l3_rows_read(const unsigned char *data, const mp__l3_footer *footer,
                     const mp__l3_seed *seed, mp__l3_row *ret_rows);

typedef struct mp__l3_directory {
    uint64_t revision_max;            /* of all rows */
    uint32_t first[MP__L3_PARTS + 1]; /* row of a part; the last is their number */
    uint64_t sums[MP__L3_PARTS];
} mp__l3_directory;

/* The directory of @footer, which @data has. MP_ECORRUPT. */
int mp__l3_directory_read(const unsigned char data[MP__L3_DIRECTORY], const mp__l3_footer *footer,
                          const mp__l3_seed *seed, mp__l3_directory *ret_directory);
/* Check the rows of @part, which @data has, and read them. MP_ECORRUPT. */
int mp__l3_part_read(const unsigned char *data, unsigned part, const mp__l3_directory *directory,
                     const mp__l3_footer *footer, const mp__l3_seed *seed, mp__l3_row *ret_rows);

/* A walk through a segment, by pieces of it. */
typedef struct mp__l3_walk {
    size_t at;      /* where the next piece begins */
    size_t good;    /* where the last good record ends */
    size_t damaged; /* gaps and damaged records before that, */
    size_t pending; /* and after it */
    bool in_gap;
} mp__l3_walk;

static inline mp__l3_walk mp__l3_walk_begin(void)
{
    return (mp__l3_walk){.at = MP__L3_SEGMENT_HEAD, .good = MP__L3_SEGMENT_HEAD};
}
/* Walk on with @size bytes from where the last piece ended, and call @each for each record whose
 * sum, or at least whose head's sum holds. Any bytes. Returns how many the next piece needs at
 * least; @is_last: there is none. */
size_t mp__l3_segment_walk(mp__l3_walk *walk, const unsigned char *data, size_t size, bool is_last,
                           const mp__l3_seed *seed,
                           void (*each)(void *context, const mp__l3_found *found), void *context);
/* The same with all the bytes of a segment, head included. Returns the offset behind the last
 * record of the first sort; *ret_damaged counts the gaps and the damaged records before it. */
size_t mp__l3_segment_parse(const unsigned char *data, size_t size, const mp__l3_seed *seed,
                            void (*each)(void *context, const mp__l3_found *found), void *context,
                            size_t *ret_damaged);

#endif
