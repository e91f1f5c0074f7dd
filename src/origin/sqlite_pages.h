/* SPDX-License-Identifier: Apache-2.0 */
/* Between sqlite_vfs.c (what SQLite calls) and sqlite_pages.c (what is checked on the way). */
#ifndef MP_ORIGIN_SQLITE_PAGES_H
#define MP_ORIGIN_SQLITE_PAGES_H

#include "origin/sqlite_vfs.h"

enum {
    MP__WAL_HEADER = 32,
    MP__FRAME_HEADER = 24,
    MP__WAL_FRAME = MP__FRAME_HEADER + MP__VFS_PAGE,
    MP__HEADER_READ = 100, /* what SQLite reads of page 1 before it knows the page's size */
};

struct mp__vfs {
    sqlite3_vfs vfs; /* first: SQLite's pointer is ours */
    sqlite3_vfs *below;
    sqlite3_vfs *own_below; /* ours to free, or NULL */
    char name[40];
    _Atomic uint64_t mended, damaged, failed, searched;
};

/* Pages that could not be mended, lately. Reads that look for several keys come back to the same
 * few damaged pages again and again, and to look for the one flipped bit of a page costs some 10
 * ms. */
enum { MP__HOPELESS = 64 };

typedef struct mp__hopeless { /* its place is the page's number modulo MP__HOPELESS */
    uint64_t page, sum;       /* 0: none; of what is on it */
} mp__hopeless;

enum mp__file_kind { MP__FILE_OTHER, MP__FILE_DATABASE, MP__FILE_WAL };

typedef struct mp__sum_file {
    sqlite3_file base;
    mp__vfs *vfs;
    enum mp__file_kind kind;
    bool unverified;
    bool foreign;        /* its pages have no room for checksums: not one of ours */
    int64_t chain_frame; /* MP__FILE_WAL: the frame whose checksum is in chain, -1 none */
    uint32_t chain[2];
    mp__hopeless hopeless[MP__HOPELESS];
    unsigned char *page; /* to make and look at pages in */
    sqlite3_file *below; /* follows this struct */
} mp__sum_file;

static inline mp__sum_file *mp__vfs_file(sqlite3_file *file)
{
    return (mp__sum_file *)file;
}

static inline void mp__vfs_count(_Atomic uint64_t *counter)
{
    (void)atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static inline int mp__vfs_read_below(mp__sum_file *f, void *data, int size, sqlite3_int64 offset)
{
    int rc = f->below->pMethods->xRead(f->below, data, size, offset);

    if (rc != SQLITE_OK && rc != SQLITE_IOERR_SHORT_READ)
        mp__vfs_count(&f->vfs->failed);
    return rc;
}

static inline int mp__vfs_write_below(mp__sum_file *f, const void *data, int size,
                                      sqlite3_int64 offset)
{
    return f->below->pMethods->xWrite(f->below, data, size, offset);
}

/* xRead and xWrite of the database file, xRead of a WAL. */
int mp__vfs_read_database(mp__sum_file *f, void *data, int size, sqlite3_int64 offset);
int mp__vfs_write_database(mp__sum_file *f, const void *data, int size, sqlite3_int64 offset);
int mp__vfs_read_wal(mp__sum_file *f, void *data, int size, sqlite3_int64 offset);

extern const sqlite3_io_methods mp__vfs_methods;

#endif
