/* SPDX-License-Identifier: Apache-2.0 */
/* What is checked between SQLite and the disk (contract: sqlite_vfs.h).
 *
 * Pages of the database file are sealed when they are written there: at creation and by
 * checkpoints. In the WAL they are not, since SQLite makes a frame's own checksum before it hands
 * the page over; there the frame's checksum, which SQLite itself looks at in recovery only, is
 * checked on each read. So a page that another program wrote through the WAL is as good as one of
 * ours. */
#include "origin/sqlite_pages.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/* ---- pages of the database ---- */

/* A database of SQLite that was not made by us: let it be seen, so that it can be told from a
 * damaged one; nothing is ever written to it. */
static bool is_foreign(const unsigned char *page)
{
    static const unsigned char application[] = {0x4d, 0x50, 0x52, 0x53};

    return memcmp(page, "SQLite format 3", 16) == 0 && page[20] != MP__VFS_RESERVED &&
           memcmp(page + 68, application, 4) != 0;
}

/* A page as it came from the disk: 0 if it may be believed. */
static int check_page(mp__sum_file *f, unsigned char *page, uint64_t number)
{
    mp__hopeless *known;
    uint64_t sum;

    if (mp__vfs_page_holds(page, number))
        return SQLITE_OK;
    if (f->unverified || f->foreign)
        return SQLITE_OK;
    if (number == 1 && is_foreign(page)) {
        f->foreign = true;
        return SQLITE_OK;
    }
    sum = mp__vfs_page_sum(page, number);
    known = &f->hopeless[number % MP__HOPELESS];
    if (known->page != number || known->sum != sum) {
        mp__vfs_count(&f->vfs->searched);
        if (mp__vfs_page_mend(page, number)) {
            mp__vfs_count(&f->vfs->mended);
            return SQLITE_OK;
        }
        *known = (mp__hopeless){number, sum};
    }
    mp__vfs_count(&f->vfs->damaged);
    return SQLITE_IOERR_DATA;
}

/* Part of page 1: only the whole page can be checked. Where it does not hold, a checkpoint may have
 * been cut short in it and the page stands whole in the WAL, which SQLite has not opened yet when
 * it asks for this: it takes the size of the pages from it and nothing else, so that it may have
 * it. Whatever is believed afterwards comes from the WAL, or from a page that is checked. */
static int read_part(mp__sum_file *f, void *data, int size, sqlite3_int64 offset)
{
    int rc = mp__vfs_read_below(f, f->page, MP__VFS_PAGE, 0);

    if (rc == SQLITE_IOERR_SHORT_READ) {
        sqlite3_int64 file_size = 0;

        /* An empty file is a new one. One that is shorter than a page was cut: as long as nothing
         * was copied into the database yet all of it stands in the WAL. */
        if (f->below->pMethods->xFileSize(f->below, &file_size) != SQLITE_OK)
            return SQLITE_IOERR_DATA;
        if (file_size != 0)
            return f->unverified || file_size >= offset + size
                       ? mp__vfs_read_below(f, data, size, offset)
                       : SQLITE_IOERR_DATA;
        memset(data, 0, (size_t)size);
        return rc;
    }
    if (rc == SQLITE_OK) {
        (void)check_page(f, f->page, 1);
        memcpy(data, f->page + offset, (size_t)size);
    }
    return rc;
}

int mp__vfs_read_database(mp__sum_file *f, void *data, int size, sqlite3_int64 offset)
{
    int rc;

    if (offset + size <= MP__HEADER_READ)
        return read_part(f, data, size, offset);
    rc = mp__vfs_read_below(f, data, size, offset);
    if (f->foreign || f->unverified)
        return rc;
    if (rc == SQLITE_IOERR_SHORT_READ || size != MP__VFS_PAGE || offset % MP__VFS_PAGE != 0) {
        mp__vfs_count(&f->vfs->damaged); /* SQLite asks for no page that is not there */
        return SQLITE_IOERR_DATA;
    }
    return rc == SQLITE_OK ? check_page(f, data, (uint64_t)(offset / MP__VFS_PAGE) + 1) : rc;
}

int mp__vfs_write_database(mp__sum_file *f, const void *data, int size, sqlite3_int64 offset)
{
    uint64_t number = (uint64_t)(offset / MP__VFS_PAGE) + 1, sum;

    if (f->foreign || size != MP__VFS_PAGE || offset % MP__VFS_PAGE != 0)
        return SQLITE_IOERR_WRITE;
    memcpy(f->page, data, MP__VFS_PAGE);
    if (number == 1 && f->page[20] != MP__VFS_RESERVED)
        return SQLITE_IOERR_WRITE;
    sum = htole64(mp__vfs_page_sum(f->page, number));
    memcpy(f->page + MP__VFS_PAGE - MP__VFS_RESERVED, &sum, sizeof(sum));
    return mp__vfs_write_below(f, f->page, MP__VFS_PAGE, offset);
}

/* ---- frames of the WAL ---- */

static uint32_t big_endian_at(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The checksum that the frame @frame goes on from, as it stands before it on the disk. */
static int read_before(mp__sum_file *f, int64_t frame, uint32_t sum[2])
{
    unsigned char stored[8];
    sqlite3_int64 offset =
        frame ? MP__WAL_HEADER + (frame - 1) * MP__WAL_FRAME + 16 : MP__WAL_HEADER - 8;
    int rc = mp__vfs_read_below(f, stored, sizeof(stored), offset);

    sum[0] = big_endian_at(stored);
    sum[1] = big_endian_at(stored + 4);
    return rc;
}

/* The same made from what that frame (or the header) holds, instead of what it says. */
static int make_before(mp__sum_file *f, int64_t frame, uint32_t sum[2])
{
    unsigned char header[MP__WAL_HEADER];
    uint32_t before[2];
    int rc;

    if (frame == 0) {
        rc = mp__vfs_read_below(f, header, MP__WAL_HEADER, 0);
        if (rc == SQLITE_OK && !mp__vfs_wal_header_holds(header) &&
            !mp__vfs_wal_header_mend(header))
            rc = SQLITE_IOERR_DATA;
        sum[0] = big_endian_at(header + 24);
        sum[1] = big_endian_at(header + 28);
        return rc;
    }
    rc = read_before(f, frame - 1, before);
    if (rc == SQLITE_OK)
        rc = mp__vfs_read_below(f, header, MP__FRAME_HEADER,
                                MP__WAL_HEADER + (frame - 1) * MP__WAL_FRAME);
    if (rc == SQLITE_OK)
        rc = mp__vfs_read_below(f, f->page, MP__VFS_PAGE,
                                MP__WAL_HEADER + (frame - 1) * MP__WAL_FRAME + MP__FRAME_HEADER);
    (void)mp__vfs_frame_holds(header, f->page, before, sum);
    return rc;
}

/* A frame that does not hold after what stands before it. @before is what the frame before it comes
 * to: if that is something else, the flipped bit was there; if not, it is in this frame. */
static int mend_frame(mp__sum_file *f, unsigned char header[MP__FRAME_HEADER], unsigned char *page,
                      const uint32_t before[2], uint32_t sum[2])
{
    if (!mp__vfs_frame_holds(header, page, before, sum) &&
        (!mp__vfs_frame_mend(header, page, before) ||
         !mp__vfs_frame_holds(header, page, before, sum)))
        return SQLITE_IOERR_DATA;
    mp__vfs_count(&f->vfs->mended);
    return SQLITE_OK;
}

static int check_frame(mp__sum_file *f, unsigned char header[MP__FRAME_HEADER], unsigned char *page,
                       int64_t frame)
{
    uint32_t before[2], sum[2];
    int rc = read_before(f, frame, before);

    if (rc != SQLITE_OK || mp__vfs_frame_holds(header, page, before, sum))
        return rc;
    rc = make_before(f, frame, before);
    return rc == SQLITE_OK ? mend_frame(f, header, page, before, sum) : rc;
}

/* The page of a frame, for a reader. */
static int read_wal_page(mp__sum_file *f, void *data, sqlite3_int64 offset)
{
    unsigned char header[MP__FRAME_HEADER];
    int rc = mp__vfs_read_below(f, data, MP__VFS_PAGE, offset);

    if (f->unverified)
        return rc;
    if (rc == SQLITE_OK)
        rc = mp__vfs_read_below(f, header, MP__FRAME_HEADER, offset - MP__FRAME_HEADER);
    if (rc == SQLITE_OK)
        rc = check_frame(f, header, data, (offset - MP__WAL_HEADER) / MP__WAL_FRAME);
    if (rc == SQLITE_IOERR_SHORT_READ)
        rc = SQLITE_IOERR_DATA; /* a frame that the index knows was cut off */
    if (rc == SQLITE_IOERR_DATA)
        mp__vfs_count(&f->vfs->damaged);
    return rc;
}

static int bits_between(const unsigned char *a, const unsigned char *b, size_t size)
{
    int bits = 0;

    for (size_t i = 0; i < size; i++)
        bits += __builtin_popcount((unsigned)(a[i] ^ b[i]));
    return bits;
}

/* A whole frame, for recovery, which ends the WAL at the first one that does not hold: so one
 * flipped bit would cost all that was committed after it. Frames that a WAL before this one left
 * there have other salts, and are none of its own. Recovery comes frame by frame from the first, so
 * that the checksum to go on from is known for certain. */
static void mend_for_recovery(mp__sum_file *f, unsigned char *frame, sqlite3_int64 offset)
{
    int64_t number = (offset - MP__WAL_HEADER) / MP__WAL_FRAME;
    unsigned char header[MP__WAL_HEADER], copy[MP__FRAME_HEADER];
    uint32_t before[2];

    if (mp__vfs_read_below(f, header, MP__WAL_HEADER, 0) != SQLITE_OK ||
        (!mp__vfs_wal_header_holds(header) && !mp__vfs_wal_header_mend(header)) ||
        bits_between(frame + 8, header + 16, 8) > 1)
        return;
    if (number == 0) {
        before[0] = big_endian_at(header + 24);
        before[1] = big_endian_at(header + 28);
    } else if (f->chain_frame == number - 1) {
        memcpy(before, f->chain, sizeof(before));
    } else {
        return;
    }
    memcpy(copy, frame, MP__FRAME_HEADER);
    memcpy(copy + 8, header + 16, 8);
    if (!mp__vfs_frame_holds(copy, frame + MP__FRAME_HEADER, before, f->chain) &&
        mend_frame(f, copy, frame + MP__FRAME_HEADER, before, f->chain) != SQLITE_OK)
        return;
    f->chain_frame = number;
    memcpy(frame, copy, MP__FRAME_HEADER);
}

int mp__vfs_read_wal(mp__sum_file *f, void *data, int size, sqlite3_int64 offset)
{
    int64_t within = (offset - MP__WAL_HEADER) % MP__WAL_FRAME;
    int rc;

    if (size == MP__VFS_PAGE && offset > MP__WAL_HEADER && within == MP__FRAME_HEADER)
        return read_wal_page(f, data, offset);
    rc = mp__vfs_read_below(f, data, size, offset);
    if (rc != SQLITE_OK || f->unverified)
        return rc;
    if (size == MP__WAL_HEADER && offset == 0 && !mp__vfs_wal_header_holds(data) &&
        mp__vfs_wal_header_mend(data))
        mp__vfs_count(&f->vfs->mended);
    else if (size == MP__WAL_FRAME && offset >= MP__WAL_HEADER && within == 0)
        mend_for_recovery(f, data, offset);
    return rc;
}

/* ---- looking over the whole file ---- */

static mp__sum_file *database_file(sqlite3 *db)
{
    sqlite3_file *file = NULL;

    (void)sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    return file && file->pMethods == &mp__vfs_methods ? mp__vfs_file(file) : NULL;
}

/* To look for the one flipped bit of a page costs some 10 ms. Flips are rare; where many pages do
 * not hold, another program wrote them, and further looking would only hold up the writer. */
enum { HOPELESS_MAX = 16 };

static int scrub_page(mp__sum_file *f, uint64_t number, bool reseal, uint64_t *hopeless,
                      uint64_t *ret_damaged)
{
    sqlite3_int64 offset = (sqlite3_int64)(number - 1) * MP__VFS_PAGE;
    int rc = mp__vfs_read_below(f, f->page, MP__VFS_PAGE, offset);

    if (rc == SQLITE_IOERR_SHORT_READ) {
        ++*ret_damaged;
        return SQLITE_OK;
    }
    if (rc != SQLITE_OK || mp__vfs_page_holds(f->page, number))
        return rc;
    if (*hopeless < HOPELESS_MAX && mp__vfs_page_mend(f->page, number)) {
        mp__vfs_count(&f->vfs->mended);
        return mp__vfs_write_below(f, f->page, MP__VFS_PAGE, offset);
    }
    ++*hopeless;
    if (reseal) {
        uint64_t sum = htole64(mp__vfs_page_sum(f->page, number));

        memcpy(f->page + MP__VFS_PAGE - MP__VFS_RESERVED, &sum, sizeof(sum));
        return mp__vfs_write_below(f, f->page, MP__VFS_PAGE, offset);
    }
    ++*ret_damaged;
    return SQLITE_OK;
}

int mp__vfs_scrub(sqlite3 *db, bool reseal, uint64_t *ret_damaged)
{
    mp__sum_file *f = database_file(db);
    sqlite3_int64 size = 0;
    uint64_t hopeless = 0;
    int rc;

    *ret_damaged = 0;
    if (!f || f->foreign)
        return -EIO;
    rc = f->below->pMethods->xFileSize(f->below, &size);
    for (sqlite3_int64 i = 0; rc == SQLITE_OK && i * MP__VFS_PAGE < size; i++)
        rc = scrub_page(f, (uint64_t)i + 1, reseal, &hopeless, ret_damaged);
    if (rc == SQLITE_OK)
        rc = f->below->pMethods->xSync(f->below, SQLITE_SYNC_NORMAL);
    return rc == SQLITE_OK ? 0 : -EIO;
}

/* The WAL that @db has open, below our layer; NULL: none yet. */
static sqlite3_file *wal_below(sqlite3 *db)
{
    sqlite3_file *wal = NULL;

    (void)sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
    if (!wal || wal->pMethods != &mp__vfs_methods || mp__vfs_file(wal)->kind != MP__FILE_WAL)
        return NULL;
    return mp__vfs_file(wal)->below;
}

static int sync_result(int code)
{
    return code == SQLITE_OK ? 0 : code == SQLITE_FULL ? -ENOSPC : -EIO;
}

int mp__vfs_sync_wal(sqlite3 *db)
{
    sqlite3_file *wal = wal_below(db);

    return wal ? sync_result(wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL)) : 0;
}

int mp__vfs_rewrite_wal(sqlite3 *db)
{
    mp__sum_file *f = database_file(db);
    sqlite3_file *wal = wal_below(db);
    sqlite3_int64 size = 0, at = 0;
    int rc = SQLITE_OK;

    if (!f || !wal)
        return 0;
    rc = wal->pMethods->xFileSize(wal, &size);
    for (; rc == SQLITE_OK && at < size; at += MP__VFS_PAGE) {
        int part = size - at < MP__VFS_PAGE ? (int)(size - at) : MP__VFS_PAGE;

        rc = wal->pMethods->xRead(wal, f->page, part, at);
        if (rc == SQLITE_OK)
            rc = wal->pMethods->xWrite(wal, f->page, part, at);
    }
    if (rc == SQLITE_OK)
        rc = wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL);
    return sync_result(rc);
}

int mp__vfs_cut_wal(sqlite3 *db)
{
    enum { INDEX_REGION = 32768, INDEX_LAST_FRAME = 16 }; /* sqlite.org/walformat.html, 2.1 */
    mp__sum_file *f = database_file(db);
    sqlite3_file *wal = NULL;
    void volatile *index = NULL;
    uint32_t frames;
    int rc = SQLITE_ERROR;

    (void)sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
    if (f && wal && wal->pMethods == &mp__vfs_methods && mp__vfs_file(wal)->kind == MP__FILE_WAL)
        rc = f->below->pMethods->xShmMap(f->below, 0, INDEX_REGION, 0, &index);
    if (rc != SQLITE_OK || !index)
        return -EIO;
    frames = *(volatile uint32_t *)((volatile char *)index + INDEX_LAST_FRAME);
    rc = wal->pMethods->xTruncate(
        wal, frames ? MP__WAL_HEADER + (sqlite3_int64)frames * MP__WAL_FRAME : 0);
    return rc == SQLITE_OK ? 0 : -EIO;
}
