/* SPDX-License-Identifier: Apache-2.0 */
/* The layer between SQLite and the disk that checks what is read (contract: sqlite_vfs.h).
 *
 * Pages of the database file are sealed when they are written there: at creation and by
 * checkpoints. In the WAL they are not, since SQLite makes a frame's own checksum before it hands
 * the page over; there the frame's checksum, which SQLite itself looks at in recovery only, is
 * checked on each read. So a page that another program wrote through the WAL is as good as one of
 * ours. */
#include "origin/sqlite_vfs.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"

enum {
    WAL_HEADER = 32,
    FRAME_HEADER = 24,
    FRAME = FRAME_HEADER + MP__VFS_PAGE,
    HEADER_READ = 100, /* what SQLite reads of page 1 before it knows the page's size */
};

struct mp__vfs {
    sqlite3_vfs vfs; /* first: SQLite's pointer is ours */
    sqlite3_vfs *below;
    sqlite3_vfs *own_below; /* ours to free, or NULL */
    char name[40];
    _Atomic uint64_t mended, damaged;
};

enum file_kind { FILE_OTHER, FILE_DATABASE, FILE_WAL };

typedef struct sum_file {
    sqlite3_file base;
    mp__vfs *vfs;
    enum file_kind kind;
    bool unverified;
    bool foreign;        /* its pages have no room for checksums: not one of ours */
    int64_t chain_frame; /* FILE_WAL: the frame whose checksum is in chain, -1 none */
    uint32_t chain[2];
    uint64_t hopeless_page, hopeless_sum; /* that could not be mended, lately */
    unsigned char *page;                  /* to make and look at pages in */
    sqlite3_file *below;                  /* follows this struct */
} sum_file;

static sum_file *of(sqlite3_file *file)
{
    return (sum_file *)file;
}

static void count(_Atomic uint64_t *counter)
{
    (void)atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static int read_below(sum_file *f, void *data, int size, sqlite3_int64 offset)
{
    return f->below->pMethods->xRead(f->below, data, size, offset);
}

static int write_below(sum_file *f, const void *data, int size, sqlite3_int64 offset)
{
    return f->below->pMethods->xWrite(f->below, data, size, offset);
}

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
static int check_page(sum_file *f, unsigned char *page, uint64_t number)
{
    if (mp__vfs_page_holds(page, number))
        return SQLITE_OK;
    if (f->unverified || f->foreign)
        return SQLITE_OK;
    if (number == 1 && is_foreign(page)) {
        f->foreign = true;
        return SQLITE_OK;
    }
    if (f->hopeless_page != number || f->hopeless_sum != mp__vfs_page_sum(page, number)) {
        if (mp__vfs_page_mend(page, number)) {
            count(&f->vfs->mended);
            return SQLITE_OK;
        }
        f->hopeless_page = number; /* many keys of one page are asked for one after the other */
        f->hopeless_sum = mp__vfs_page_sum(page, number);
    }
    count(&f->vfs->damaged);
    return SQLITE_IOERR_DATA;
}

/* Part of page 1: only the whole page can be checked. */
static int read_part(sum_file *f, void *data, int size, sqlite3_int64 offset)
{
    int rc = read_below(f, f->page, MP__VFS_PAGE, 0);

    if (rc == SQLITE_IOERR_SHORT_READ) {
        sqlite3_int64 file_size = 0;

        /* an empty file is a new one; a shorter one than a page is none of anybody's */
        if (f->below->pMethods->xFileSize(f->below, &file_size) != SQLITE_OK || file_size != 0)
            return f->unverified ? read_below(f, data, size, offset) : SQLITE_IOERR_DATA;
        memset(data, 0, (size_t)size);
        return rc;
    }
    if (rc == SQLITE_OK)
        rc = check_page(f, f->page, 1);
    if (rc == SQLITE_OK)
        memcpy(data, f->page + offset, (size_t)size);
    return rc;
}

static int read_database(sum_file *f, void *data, int size, sqlite3_int64 offset)
{
    int rc;

    if (offset + size <= HEADER_READ)
        return read_part(f, data, size, offset);
    rc = read_below(f, data, size, offset);
    if (f->foreign || f->unverified)
        return rc;
    if (rc == SQLITE_IOERR_SHORT_READ || size != MP__VFS_PAGE || offset % MP__VFS_PAGE != 0) {
        count(&f->vfs->damaged); /* SQLite asks for no page that is not there */
        return SQLITE_IOERR_DATA;
    }
    return rc == SQLITE_OK ? check_page(f, data, (uint64_t)(offset / MP__VFS_PAGE) + 1) : rc;
}

static int write_database(sum_file *f, const void *data, int size, sqlite3_int64 offset)
{
    uint64_t number = (uint64_t)(offset / MP__VFS_PAGE) + 1, sum;

    if (f->foreign || size != MP__VFS_PAGE || offset % MP__VFS_PAGE != 0)
        return SQLITE_IOERR_WRITE;
    memcpy(f->page, data, MP__VFS_PAGE);
    if (number == 1 && f->page[20] != MP__VFS_RESERVED)
        return SQLITE_IOERR_WRITE;
    sum = htole64(mp__vfs_page_sum(f->page, number));
    memcpy(f->page + MP__VFS_PAGE - MP__VFS_RESERVED, &sum, sizeof(sum));
    return write_below(f, f->page, MP__VFS_PAGE, offset);
}

/* ---- frames of the WAL ---- */

static uint32_t big_endian_at(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The checksum that the frame @frame goes on from, as it stands before it on the disk. */
static int read_before(sum_file *f, int64_t frame, uint32_t sum[2])
{
    unsigned char stored[8];
    sqlite3_int64 offset = frame ? WAL_HEADER + (frame - 1) * FRAME + 16 : WAL_HEADER - 8;
    int rc = read_below(f, stored, sizeof(stored), offset);

    sum[0] = big_endian_at(stored);
    sum[1] = big_endian_at(stored + 4);
    return rc;
}

/* The same made from what that frame (or the header) holds, instead of what it says. */
static int make_before(sum_file *f, int64_t frame, uint32_t sum[2])
{
    unsigned char header[WAL_HEADER];
    uint32_t before[2];
    int rc;

    if (frame == 0) {
        rc = read_below(f, header, WAL_HEADER, 0);
        if (rc == SQLITE_OK && !mp__vfs_wal_header_holds(header) &&
            !mp__vfs_wal_header_mend(header))
            rc = SQLITE_IOERR_DATA;
        sum[0] = big_endian_at(header + 24);
        sum[1] = big_endian_at(header + 28);
        return rc;
    }
    rc = read_before(f, frame - 1, before);
    if (rc == SQLITE_OK)
        rc = read_below(f, header, FRAME_HEADER, WAL_HEADER + (frame - 1) * FRAME);
    if (rc == SQLITE_OK)
        rc = read_below(f, f->page, MP__VFS_PAGE, WAL_HEADER + (frame - 1) * FRAME + FRAME_HEADER);
    (void)mp__vfs_frame_holds(header, f->page, before, sum);
    return rc;
}

/* A frame that does not hold after what stands before it. @before is what the frame before it comes
 * to: if that is something else, the flipped bit was there; if not, it is in this frame. */
static int mend_frame(sum_file *f, unsigned char header[FRAME_HEADER], unsigned char *page,
                      const uint32_t before[2], uint32_t sum[2])
{
    if (!mp__vfs_frame_holds(header, page, before, sum) &&
        (!mp__vfs_frame_mend(header, page, before) ||
         !mp__vfs_frame_holds(header, page, before, sum)))
        return SQLITE_IOERR_DATA;
    count(&f->vfs->mended);
    return SQLITE_OK;
}

static int check_frame(sum_file *f, unsigned char header[FRAME_HEADER], unsigned char *page,
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
static int read_wal_page(sum_file *f, void *data, sqlite3_int64 offset)
{
    unsigned char header[FRAME_HEADER];
    int rc = read_below(f, data, MP__VFS_PAGE, offset);

    if (f->unverified)
        return rc;
    if (rc == SQLITE_OK)
        rc = read_below(f, header, FRAME_HEADER, offset - FRAME_HEADER);
    if (rc == SQLITE_OK)
        rc = check_frame(f, header, data, (offset - WAL_HEADER) / FRAME);
    if (rc == SQLITE_IOERR_SHORT_READ)
        rc = SQLITE_IOERR_DATA; /* a frame that the index knows was cut off */
    if (rc == SQLITE_IOERR_DATA)
        count(&f->vfs->damaged);
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
static void mend_for_recovery(sum_file *f, unsigned char *frame, sqlite3_int64 offset)
{
    int64_t number = (offset - WAL_HEADER) / FRAME;
    unsigned char header[WAL_HEADER], copy[FRAME_HEADER];
    uint32_t before[2];

    if (read_below(f, header, WAL_HEADER, 0) != SQLITE_OK ||
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
    memcpy(copy, frame, FRAME_HEADER);
    memcpy(copy + 8, header + 16, 8);
    if (!mp__vfs_frame_holds(copy, frame + FRAME_HEADER, before, f->chain) &&
        mend_frame(f, copy, frame + FRAME_HEADER, before, f->chain) != SQLITE_OK)
        return;
    f->chain_frame = number;
    memcpy(frame, copy, FRAME_HEADER);
}

static int read_wal(sum_file *f, void *data, int size, sqlite3_int64 offset)
{
    int64_t within = (offset - WAL_HEADER) % FRAME;
    int rc;

    if (size == MP__VFS_PAGE && offset > WAL_HEADER && within == FRAME_HEADER)
        return read_wal_page(f, data, offset);
    rc = read_below(f, data, size, offset);
    if (rc != SQLITE_OK || f->unverified)
        return rc;
    if (size == WAL_HEADER && offset == 0 && !mp__vfs_wal_header_holds(data) &&
        mp__vfs_wal_header_mend(data))
        count(&f->vfs->mended);
    else if (size == FRAME && offset >= WAL_HEADER && within == 0)
        mend_for_recovery(f, data, offset);
    return rc;
}

/* ---- the file's methods ---- */

static int sum_close(sqlite3_file *file)
{
    sum_file *f = of(file);
    int rc = f->below->pMethods ? f->below->pMethods->xClose(f->below) : SQLITE_OK;

    f->page = mp__free(f->page);
    return rc;
}

static int sum_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
    sum_file *f = of(file);

    switch (f->kind) {
    case FILE_DATABASE:
        return read_database(f, data, size, offset);
    case FILE_WAL:
        return read_wal(f, data, size, offset);
    case FILE_OTHER:
        break;
    }
    return read_below(f, data, size, offset);
}

static int sum_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    sum_file *f = of(file);

    if (f->kind == FILE_DATABASE)
        return write_database(f, data, size, offset);
    f->chain_frame = -1; /* it may be a frame that is written over */
    return write_below(f, data, size, offset);
}

static int sum_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    of(file)->chain_frame = -1;
    return of(file)->below->pMethods->xTruncate(of(file)->below, size);
}

static int sum_sync(sqlite3_file *file, int flags)
{
    return of(file)->below->pMethods->xSync(of(file)->below, flags);
}

static int sum_file_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    return of(file)->below->pMethods->xFileSize(of(file)->below, ret_size);
}

static int sum_lock(sqlite3_file *file, int level)
{
    return of(file)->below->pMethods->xLock(of(file)->below, level);
}

static int sum_unlock(sqlite3_file *file, int level)
{
    return of(file)->below->pMethods->xUnlock(of(file)->below, level);
}

static int sum_reserved(sqlite3_file *file, int *ret_reserved)
{
    return of(file)->below->pMethods->xCheckReservedLock(of(file)->below, ret_reserved);
}

static int sum_control(sqlite3_file *file, int what, void *argument)
{
    return of(file)->below->pMethods->xFileControl(of(file)->below, what, argument);
}

static int sum_sector_size(sqlite3_file *file)
{
    return of(file)->below->pMethods->xSectorSize(of(file)->below);
}

static int sum_characteristics(sqlite3_file *file)
{
    return of(file)->below->pMethods->xDeviceCharacteristics(of(file)->below);
}

static int sum_shm_map(sqlite3_file *file, int region, int size, int extend,
                       void volatile **ret_memory)
{
    return of(file)->below->pMethods->xShmMap(of(file)->below, region, size, extend, ret_memory);
}

static int sum_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return of(file)->below->pMethods->xShmLock(of(file)->below, offset, n, flags);
}

static void sum_shm_barrier(sqlite3_file *file)
{
    of(file)->below->pMethods->xShmBarrier(of(file)->below);
}

static int sum_shm_unmap(sqlite3_file *file, int delete_it)
{
    return of(file)->below->pMethods->xShmUnmap(of(file)->below, delete_it);
}

/* Version 2: no xFetch, so that every page comes through xRead. */
static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = sum_close,
    .xRead = sum_read,
    .xWrite = sum_write,
    .xTruncate = sum_truncate,
    .xSync = sum_sync,
    .xFileSize = sum_file_size,
    .xLock = sum_lock,
    .xUnlock = sum_unlock,
    .xCheckReservedLock = sum_reserved,
    .xFileControl = sum_control,
    .xSectorSize = sum_sector_size,
    .xDeviceCharacteristics = sum_characteristics,
    .xShmMap = sum_shm_map,
    .xShmLock = sum_shm_lock,
    .xShmBarrier = sum_shm_barrier,
    .xShmUnmap = sum_shm_unmap,
};

/* ---- the VFS ---- */

static _Thread_local bool open_unverified;

void mp__vfs_open_unverified(bool unverified)
{
    open_unverified = unverified;
}

static mp__vfs *vfs_of(sqlite3_vfs *vfs)
{
    return (mp__vfs *)vfs;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                    int *ret_flags)
{
    mp__vfs *v = vfs_of(vfs);
    sum_file *f = of(file);
    int rc;

    *f = (sum_file){.vfs = v,
                    .chain_frame = -1,
                    .unverified = open_unverified,
                    .below = (sqlite3_file *)(void *)(f + 1)};
    if (flags & SQLITE_OPEN_MAIN_DB)
        f->kind = FILE_DATABASE;
    else if (flags & SQLITE_OPEN_WAL)
        f->kind = FILE_WAL;
    if (f->kind != FILE_OTHER && !(f->page = mp__malloc(MP__VFS_PAGE)))
        return SQLITE_NOMEM;
    f->below->pMethods = NULL;
    rc = v->below->xOpen(v->below, name, f->below, flags, ret_flags);
    if (rc != SQLITE_OK && !f->below->pMethods) {
        f->page = mp__free(f->page);
        return rc;
    }
    f->base.pMethods = &methods; /* closed by SQLite also after an error */
    return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    return vfs_of(vfs)->below->xDelete(vfs_of(vfs)->below, name, sync_folder);
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
    return vfs_of(vfs)->below->xAccess(vfs_of(vfs)->below, name, flags, ret);
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *name, int size, char *ret)
{
    return vfs_of(vfs)->below->xFullPathname(vfs_of(vfs)->below, name, size, ret);
}

static int vfs_random(sqlite3_vfs *vfs, int size, char *ret)
{
    return vfs_of(vfs)->below->xRandomness(vfs_of(vfs)->below, size, ret);
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    return vfs_of(vfs)->below->xSleep(vfs_of(vfs)->below, microseconds);
}

static int vfs_now(sqlite3_vfs *vfs, double *ret)
{
    return vfs_of(vfs)->below->xCurrentTime(vfs_of(vfs)->below, ret);
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *ret)
{
    return vfs_of(vfs)->below->xGetLastError(vfs_of(vfs)->below, size, ret);
}

static int vfs_now_ms(sqlite3_vfs *vfs, sqlite3_int64 *ret)
{
    return vfs_of(vfs)->below->xCurrentTimeInt64(vfs_of(vfs)->below, ret);
}

int mp__vfs_new(mp_env *env, mp__vfs **ret_vfs)
{
    mp__vfs *v;
    int rc = 0;

    if (sqlite3_initialize() != SQLITE_OK)
        return MP_ENOMEM;
    v = mp__calloc(1, sizeof(*v));
    if (!v)
        return MP_ENOMEM;
    if (env == mp__env_real())
        v->below = sqlite3_vfs_find("unix");
    else
        rc = mp__vfs_env_new(env, &v->own_below);
    if (rc) {
        (void)mp__free(v);
        return rc;
    }
    if (v->own_below)
        v->below = v->own_below;
    (void)snprintf(v->name, sizeof(v->name), "marketprism-%p", (void *)v);
    v->vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = (int)sizeof(sum_file) + v->below->szOsFile,
        .mxPathname = v->below->mxPathname,
        .zName = v->name,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = vfs_random,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_now,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_now_ms,
    };
    (void)sqlite3_vfs_register(&v->vfs, 0);
    *ret_vfs = v;
    return 0;
}

mp__vfs *mp__vfs_free(mp__vfs *vfs)
{
    if (!vfs)
        return NULL;
    (void)sqlite3_vfs_unregister(&vfs->vfs);
    if (vfs->own_below)
        mp__vfs_env_free(vfs->own_below);
    return mp__free(vfs);
}

const char *mp__vfs_name(const mp__vfs *vfs)
{
    return vfs->name;
}

mp__vfs_stats mp__vfs_stats_read(const mp__vfs *vfs)
{
    return (mp__vfs_stats){atomic_load_explicit(&vfs->mended, memory_order_relaxed),
                           atomic_load_explicit(&vfs->damaged, memory_order_relaxed)};
}

/* ---- looking over the whole file ---- */

static sum_file *database_file(sqlite3 *db)
{
    sqlite3_file *file = NULL;

    (void)sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    return file && file->pMethods == &methods ? of(file) : NULL;
}

static int scrub_page(sum_file *f, uint64_t number, bool reseal, uint64_t *ret_damaged)
{
    sqlite3_int64 offset = (sqlite3_int64)(number - 1) * MP__VFS_PAGE;
    int rc = read_below(f, f->page, MP__VFS_PAGE, offset);

    if (rc == SQLITE_IOERR_SHORT_READ) {
        ++*ret_damaged;
        return SQLITE_OK;
    }
    if (rc != SQLITE_OK || mp__vfs_page_holds(f->page, number))
        return rc;
    if (mp__vfs_page_mend(f->page, number)) {
        count(&f->vfs->mended);
        return write_below(f, f->page, MP__VFS_PAGE, offset);
    }
    if (reseal) {
        uint64_t sum = htole64(mp__vfs_page_sum(f->page, number));

        memcpy(f->page + MP__VFS_PAGE - MP__VFS_RESERVED, &sum, sizeof(sum));
        return write_below(f, f->page, MP__VFS_PAGE, offset);
    }
    ++*ret_damaged;
    return SQLITE_OK;
}

int mp__vfs_scrub(sqlite3 *db, bool reseal, uint64_t *ret_damaged)
{
    sum_file *f = database_file(db);
    sqlite3_int64 size = 0;
    int rc;

    *ret_damaged = 0;
    if (!f || f->foreign)
        return -EIO;
    rc = f->below->pMethods->xFileSize(f->below, &size);
    for (sqlite3_int64 i = 0; rc == SQLITE_OK && i * MP__VFS_PAGE < size; i++)
        rc = scrub_page(f, (uint64_t)i + 1, reseal, ret_damaged);
    if (rc == SQLITE_OK)
        rc = f->below->pMethods->xSync(f->below, SQLITE_SYNC_NORMAL);
    return rc == SQLITE_OK ? 0 : -EIO;
}

int mp__vfs_cut_wal(sqlite3 *db)
{
    enum { INDEX_REGION = 32768, INDEX_LAST_FRAME = 16 }; /* sqlite.org/walformat.html, 2.1 */
    sum_file *f = database_file(db);
    sqlite3_file *wal = NULL;
    void volatile *index = NULL;
    uint32_t frames;
    int rc = SQLITE_ERROR;

    (void)sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
    if (f && wal && wal->pMethods == &methods && of(wal)->kind == FILE_WAL)
        rc = sum_shm_map(&f->base, 0, INDEX_REGION, 0, &index);
    if (rc != SQLITE_OK || !index)
        return -EIO;
    frames = *(volatile uint32_t *)((volatile char *)index + INDEX_LAST_FRAME);
    rc = sum_truncate(wal, frames ? WAL_HEADER + (sqlite3_int64)frames * FRAME : 0);
    return rc == SQLITE_OK ? 0 : -EIO;
}
