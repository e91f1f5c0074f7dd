/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums of pages and WAL frames, and setting one flipped bit right.
 *
 * A page that does not hold its checksum, and does with exactly one bit inverted, is the page that
 * was written but for odds of about one in 2^49 (2^15 candidates against 64 bits). Memory and disks
 * that lose single bits are the commonest damage, so that this is worth its 200 lines. */
#include "origin/sqlite_vfs.h"

#include <string.h>

#include "core/hash.h"

enum { BODY = MP__VFS_PAGE - MP__VFS_RESERVED };

uint64_t mp__vfs_page_sum(const unsigned char *page, uint64_t number)
{
    return mp__checksum(number, page, BODY);
}

static uint64_t stored_sum(const unsigned char *page)
{
    return mp__load_le64(page + BODY);
}

bool mp__vfs_page_holds(const unsigned char *page, uint64_t number)
{
    return stored_sum(page) == mp__vfs_page_sum(page, number);
}

static void flip(unsigned char *data, size_t bit)
{
    data[bit / 8] = (unsigned char)(data[bit / 8] ^ (1u << (bit % 8)));
}

bool mp__vfs_page_mend(unsigned char *page, uint64_t number)
{
    uint64_t wrong = stored_sum(page) ^ mp__vfs_page_sum(page, number);

    if (wrong && (wrong & (wrong - 1)) == 0) {
        flip(page + BODY, (size_t)__builtin_ctzll(wrong)); /* of the checksum itself */
        return true;
    }
    for (size_t bit = 0; bit < (size_t)BODY * 8; bit++) {
        flip(page, bit);
        if (mp__vfs_page_holds(page, number))
            return true;
        flip(page, bit);
    }
    return false;
}

/* ---- WAL frames: SQLite's own checksum, which goes on from the frame before ---- */

static uint32_t word_at(const unsigned char *p, bool swapped)
{
    uint32_t word;

    memcpy(&word, p, sizeof(word));
    return swapped ? __builtin_bswap32(word) : word;
}

static uint32_t big_endian_at(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* "Checksum Algorithm" of sqlite.org/fileformat2.html, section 4.2; @size is a multiple of 8. */
static void wal_sum(uint32_t sum[2], const unsigned char *data, size_t size, bool swapped)
{
    uint32_t a = sum[0], b = sum[1];

    for (size_t i = 0; i < size; i += 8) {
        a += word_at(data + i, swapped) + b;
        b += word_at(data + i + 4, swapped) + a;
    }
    sum[0] = a;
    sum[1] = b;
}

static bool frame_holds(const unsigned char header[24], const unsigned char *page,
                        const uint32_t before[2], uint32_t sum[2], bool swapped)
{
    sum[0] = before[0];
    sum[1] = before[1];
    wal_sum(sum, header, 8, swapped);
    wal_sum(sum, page, MP__VFS_PAGE, swapped);
    return sum[0] == big_endian_at(header + 16) && sum[1] == big_endian_at(header + 20);
}

bool mp__vfs_frame_holds(const unsigned char header[24], const unsigned char *page,
                         const uint32_t before[2], uint32_t ret_sum[2])
{
    /* the order of bytes is that of the machine that began the WAL: mostly this one */
    return frame_holds(header, page, before, ret_sum, false) ||
           frame_holds(header, page, before, ret_sum, true);
}

bool mp__vfs_wal_header_holds(const unsigned char header[32])
{
    uint32_t sum[2] = {0, 0};
    uint32_t magic = big_endian_at(header);

    if ((magic != 0x377f0682 && magic != 0x377f0683) || big_endian_at(header + 4) != 3007000 ||
        big_endian_at(header + 8) != MP__VFS_PAGE)
        return false;
    wal_sum(sum, header, 24, (magic & 1) != (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__));
    return sum[0] == big_endian_at(header + 24) && sum[1] == big_endian_at(header + 28);
}

/* As for frames below, only a sole answer is one. */
bool mp__vfs_wal_header_mend(unsigned char header[32])
{
    size_t found = 0, which = 0;

    for (size_t bit = 0; bit < 256; bit++) {
        flip(header, bit);
        if (mp__vfs_wal_header_holds(header)) {
            found++;
            which = bit;
        }
        flip(header, bit);
    }
    if (found == 1)
        flip(header, which);
    return found == 1;
}

/* Inverted bits of a frame that make it hold. */
typedef struct finding {
    unsigned char *at; /* the last one found that matters */
    size_t bit;
    int matter;   /* how many change what SQLite reads */
    int harmless; /* in the checksum itself, or in the page's reserved bytes */
} finding;

static void try_bits(finding *f, unsigned char *data, size_t size, bool matters,
                     unsigned char header[24], unsigned char *page, const uint32_t before[2])
{
    uint32_t sum[2];

    for (size_t bit = 0; bit < size * 8; bit++) {
        flip(data, bit);
        if (frame_holds(header, page, before, sum, false)) {
            f->matter += matters;
            f->harmless += !matters;
            if (matters || !f->at) {
                f->at = data;
                f->bit = bit;
            }
        }
        flip(data, bit);
    }
}

bool mp__vfs_frame_mend(unsigned char header[24], unsigned char *page, const uint32_t before[2])
{
    finding f = {0};

    /* SQLite's checksum is a sum: inverting the highest bit of one word or of another can come to
     * the same. So all bits are tried, and only a sole answer is one. */
    try_bits(&f, header + 16, 8, false, header, page, before);
    try_bits(&f, page + BODY, MP__VFS_RESERVED, false, header, page, before);
    try_bits(&f, header, 8, true, header, page, before);
    try_bits(&f, page, BODY, true, header, page, before);
    if (f.matter + (f.harmless > 0) != 1)
        return false;
    flip(f.at, f.bit);
    return true;
}
